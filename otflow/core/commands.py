"""Commands: what the core asks of the world. All of them follow from the state, so none is ever lost."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["Command", "EndRun", "RunStep", "StartTimer"]


class RunStep(msgspec.Struct, frozen=True):
    """Execute an attempt of a step."""

    invocation: int
    attempt: int
    step: str


class StartTimer(msgspec.Struct, frozen=True):
    """Say when `due` (nanoseconds since the epoch) has come, for a delayed invocation or a wait."""

    kind: str
    id: int
    due: int


class EndRun(msgspec.Struct, frozen=True):
    """Stop what still runs and tell the caller: the record with this `seq` ended the run."""

    seq: int


Command: TypeAlias = RunStep | StartTimer | EndRun
