"""Told: saved data of a run with what may be told of it.

What that is, whoever calls it says; this room knows only where in the data payloads stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import msgspec

from otflow.core.snapshot import read_saved
from otflow.core.state import Question
from otflow.records.body import Body
from otflow.records.codec import write_body
from otflow.records.record import EventBuffered, EventReceived, EventSent

__all__ = ["Tell", "tell_event", "tell_saved"]

Tell: TypeAlias = Callable[[str, Body], Body]
"""Takes the type and the payload of an event, and returns a payload that tells no more than it may."""

_E = TypeVar("_E", bound=EventSent | EventReceived | EventBuffered | Question)
_TELLER = msgspec.json.Encoder(enc_hook=write_body)


def tell_saved(snapshot: Body, tell: Tell, tell_requirements: Tell, state: Body | None = None) -> bytes:
    """Write saved data with what may be told of it.

    Args:
        snapshot: the data.
        tell: takes the type and the payload of an event, and returns a payload that tells no more than it may; the
            type is "" for what the run belongs to.
        tell_requirements: takes the type of an event, and the attributes that are required of it.
        state: the state in it, with what may be told of that.

    Raises:
        ContextSerdeError: the data has another shape or version.
    """
    saved = read_saved(snapshot)
    saved.state = state
    saved.events = [tell_event(event, tell) for event in saved.events]
    saved.asked = [tell_event(each, tell) for each in saved.asked]
    saved.waits = [
        msgspec.structs.replace(wait, requirements=tell_requirements(wait.type, wait.requirements))
        if wait.requirements is not None
        else wait
        for wait in saved.waits
    ]
    if saved.about is not None and saved.about.metadata is not None:
        saved.about = msgspec.structs.replace(saved.about, metadata=tell("", saved.about.metadata))
    return _TELLER.encode(saved)


def tell_event(event: _E, tell: Tell) -> _E:
    """Return the record of a saved event with what may be told of its payload."""
    return event if event.body is None else msgspec.structs.replace(event, body=tell(event.type, event.body))
