"""Inputs: what happens to a run. Each carries the time it happened, in nanoseconds since the epoch.

Inputs of a step name its invocation and attempt, so that a late word of an attempt that no longer counts changes
nothing. Ids inside are ids of records.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.record import About, Failure

__all__ = [
    "Cancel",
    "Checkpoint",
    "Collect",
    "DelayOver",
    "Fail",
    "Input",
    "Receive",
    "Release",
    "Restore",
    "Send",
    "Start",
    "StepRaised",
    "StepReturned",
    "TimeOut",
    "Wait",
    "WaitExpired",
    "Write",
    "WriteStream",
]


class Start(msgspec.Struct):
    """The run begins with a start event."""

    at: int
    type: str
    body: Body
    timeout: float | None = None
    stepwise: bool = False
    parent: str = ""
    parent_run: str = ""
    parent_invocation: int = 0
    carried: Body | None = None
    about: About | None = None


class Restore(msgspec.Struct):
    """The run goes on from saved data."""

    at: int
    snapshot: Body


class Receive(msgspec.Struct):
    """The outside sends an event; in a stepwise run `held` names the held event that it is.

    `sender` is the span in which it was sent, if the run does not stand under it.
    """

    at: int
    type: str
    body: Body
    target: str = ""
    held: int = 0
    sender: str = ""


class Release(msgspec.Struct):
    """The caller of a stepwise run lets one step go."""

    at: int


class StepReturned(msgspec.Struct):
    """An attempt returned an event, or nothing (`body` is None), or several (`more` are the further ones).

    `hold` keeps the events back until they are sent again by their ids.
    """

    at: int
    invocation: int
    attempt: int
    type: str = ""
    body: Body | None = None
    more: tuple[tuple[str, Body], ...] = ()
    hold: bool = False


class StepRaised(msgspec.Struct):
    """An attempt raised; its policy asks for another one after `delay` seconds, or for none.

    `recovery` is the event for the error handler of the step, when there is one.
    """

    at: int
    invocation: int
    attempt: int
    error: Failure
    delay: float | None = None
    recovery_type: str = ""
    recovery: Body | None = None


class Send(msgspec.Struct):
    """A running attempt sends an event."""

    at: int
    invocation: int
    type: str
    body: Body
    target: str = ""


class Write(msgspec.Struct):
    """The state is written, by a running attempt or from outside (0)."""

    at: int
    invocation: int
    path: str
    value: Body
    deleted: bool = False


class WriteStream(msgspec.Struct):
    """An attempt, or the outside (0), writes an event to the stream."""

    at: int
    invocation: int
    type: str
    body: Body


class Collect(msgspec.Struct):
    """An attempt puts an event into a buffer and asks whether `need` events of the expected types are there.

    `expected` may be None when `may_complete` says so: comparing types costs O(need). `type` and `body` are given
    when it is not the event that the step was called with; such an event has to be of an expected type.
    """

    at: int
    invocation: int
    buffer: str
    need: int
    expected: tuple[str, ...] | None = None
    type: str = ""
    body: Body | None = None


class Wait(msgspec.Struct):
    """An attempt waits for an event; `question` is streamed unless it already was.

    `bounded` says that the step chose the timeout itself, and so expects that nobody may answer, or that it waits
    beside other work of its own.
    """

    at: int
    invocation: int
    waiter: str
    type: str
    occurrence: int = 0
    requirements: Body | None = None
    due: int = 0
    bounded: bool = False
    question_type: str = ""
    question: Body | None = None


class WaitExpired(msgspec.Struct):
    """The time of a wait is over."""

    at: int
    wait: int


class DelayOver(msgspec.Struct):
    """The delay before a retry is over."""

    at: int
    invocation: int


class TimeOut(msgspec.Struct):
    """The time of the run is over."""

    at: int
    timeout: float


class Cancel(msgspec.Struct):
    """Someone wants the run to end."""

    at: int
    reason: str = ""


class Fail(msgspec.Struct):
    """The run cannot go on for a reason outside the core: its journal refused a record."""

    at: int
    error: Failure


class Checkpoint(msgspec.Struct):
    """The run was saved after an invocation."""

    at: int
    invocation: int
    name: str = ""


Input: TypeAlias = (
    StepReturned
    | Send
    | Write
    | WriteStream
    | Collect
    | Receive
    | Wait
    | StepRaised
    | DelayOver
    | WaitExpired
    | Release
    | Start
    | Restore
    | Checkpoint
    | TimeOut
    | Cancel
    | Fail
)
