"""Type names of the followed API."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from otflow.events import StopEvent

__all__ = ["RunResultT", "StopEventT"]

StopEventT = TypeVar("StopEventT", bound=StopEvent)

RunResultT: TypeAlias = Any
"""What `await handler` gives: the `result` of a plain stop event, or the event itself if it is a subclass."""
