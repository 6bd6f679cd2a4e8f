"""The closed set of facts about a run: everything that can be true of it.

A record is past tense, frozen, and numbered by its run. `seq` is the only order there is; `at` (nanoseconds since
the epoch) is for people. The id of an event is the `seq` of the record that brought it (`EventReceived` or
`EventSent`), the id of an invocation the `seq` of its first `StepStarted`, the id of a wait that of `WaitStarted`;
0 stands for "none". Records know no clock, no span, no user class: a payload is an opaque `Body` beside a type key
("module:Class").

A new record has to be understood in `core.evolve`, `records.spans` and the docs; the type checker leads the way.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from otflow.records.body import Body

__all__ = [
    "ENDINGS",
    "FORMAT",
    "About",
    "CheckpointTaken",
    "ContextWritten",
    "Ending",
    "EventBuffered",
    "EventReceived",
    "EventReleased",
    "EventSent",
    "EventsCollected",
    "Failure",
    "Record",
    "RetryQueued",
    "RetryScheduled",
    "RunCancelled",
    "RunCompleted",
    "RunFailed",
    "RunPaused",
    "RunResumed",
    "RunStarted",
    "RunTimedOut",
    "StepCompleted",
    "StepFailed",
    "StepStarted",
    "StreamWritten",
    "WaitEnded",
    "WaitStarted",
]

FORMAT = 1
"""The version of this vocabulary, written into `RunStarted` and snapshots; another one is refused."""


# no weakref slot: three records are made for every step, and what holds no container is no work for the collector
class _Fact(msgspec.Struct, frozen=True, tag_field="record", omit_defaults=True):
    """What all records have: number, run, time."""

    seq: int
    run: str
    at: int


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception as data: qualified type name, message, and the formatted stack (may be cut)."""

    type: str
    message: str
    stack: str = ""


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run belongs to, in the words of who started it: a conversation, a user, tags, and further values."""

    session: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    metadata: Body | None = None


class RunStarted(_Fact, frozen=True, tag=True):
    """A run began.

    `graph` is the digest of the workflow's step and event table, `parent` the span it was started under (W3C
    traceparent), `parent_run` and `parent_invocation` the step that started it; `carried` is the state that the
    context brought along, `about` what its caller says that it belongs to.
    """

    workflow: str
    graph: str
    timeout: float | None = None
    stepwise: bool = False
    parent: str = ""
    parent_run: str = ""
    parent_invocation: int = 0
    carried: Body | None = None
    format: int = FORMAT
    about: About | None = None


class RunResumed(_Fact, frozen=True, tag=True):
    """A paused run goes on; or, with a snapshot, a run goes on from saved data."""

    snapshot: Body | None = None


class RunPaused(_Fact, frozen=True, tag=True):
    """Nothing executes: the run waits for an event ("waiting"), a retry delay ("delayed"), its caller ("stepwise")."""

    reason: str


class RunCompleted(_Fact, frozen=True, tag=True):
    """A stop event ended the run; `event` is its id."""

    event: int


class RunFailed(_Fact, frozen=True, tag=True):
    """The run ended by an error: of a step without retries left, or of the run itself (`step` is empty)."""

    error: Failure
    step: str = ""
    invocation: int = 0
    attempts: int = 0


class RunCancelled(_Fact, frozen=True, tag=True):
    """The run was cancelled."""

    reason: str = ""


class RunTimedOut(_Fact, frozen=True, tag=True):
    """The run did not end in `timeout` seconds; `active` are the steps that were running."""

    timeout: float
    active: tuple[str, ...] = ()


class EventReceived(_Fact, frozen=True, tag=True):
    """An event came in from outside: the start event, an answer, a message.

    `sender` is the span in which it was sent (W3C traceparent), unless that is the one that the run stands under.
    """

    type: str
    body: Body
    target: str = ""
    sender: str = ""


class EventSent(_Fact, frozen=True, tag=True):
    """A step emitted an event, by returning it or by `send_event`.

    `target` restricts it to one step. `held` means that a stepwise run keeps it until its caller sends it.
    `recoveries` names the error handlers in its ancestry, which bounds them.
    """

    invocation: int
    type: str
    body: Body
    target: str = ""
    returned: bool = False
    held: bool = False
    recoveries: tuple[str, ...] = ()


class EventReleased(_Fact, frozen=True, tag=True):
    """The caller of a stepwise run sent a held event on its way."""

    event: int


class EventBuffered(_Fact, frozen=True, tag=True):
    """A collecting step put an event aside, because others are missing.

    `expected` counts the types it collects; it is given by the first event of a collection only. `type` and
    `body` are given when the event is not the one that the step was called with.
    """

    invocation: int
    buffer: str
    event: int
    expected: tuple[tuple[str, int], ...] = ()
    type: str = ""
    body: Body | None = None


class EventsCollected(_Fact, frozen=True, tag=True):
    """A collection is complete: the ids of its events, in the order that the step asked for."""

    invocation: int
    buffer: str
    events: tuple[int, ...]


class StepStarted(_Fact, frozen=True, tag=True, gc=False):
    """An attempt of a step began to work on an event."""

    invocation: int
    attempt: int
    step: str
    event: int


class StepCompleted(_Fact, frozen=True, tag=True, gc=False):
    """An attempt returned. What it returned is an `EventSent`, if it was an event."""

    invocation: int
    attempt: int


class StepFailed(_Fact, frozen=True, tag=True):
    """An attempt raised."""

    invocation: int
    attempt: int
    error: Failure


class RetryScheduled(_Fact, frozen=True, tag=True):
    """Attempt number `attempt` will begin after `delay` seconds, at `due`."""

    invocation: int
    attempt: int
    delay: float
    due: int


class RetryQueued(_Fact, frozen=True, tag=True):
    """The delay of a retry is over; the attempt may begin as soon as a worker is free."""

    invocation: int
    attempt: int


class ContextWritten(_Fact, frozen=True, tag=True):
    """A value was written to the state under a dotted path; the empty path is the whole state."""

    invocation: int
    path: str
    value: Body
    deleted: bool = False


class StreamWritten(_Fact, frozen=True, tag=True):
    """A step wrote an event to the stream."""

    invocation: int
    type: str
    body: Body


class WaitStarted(_Fact, frozen=True, tag=True):
    """A step waits for an event: the `occurrence`-th time (from 0) under this name in its invocation.

    `due` is when the wait ends unanswered (0: never); `bounded` says that the step chose that time itself or waits
    beside other work, `asked` that a question to the outside goes with it.
    """

    invocation: int
    waiter: str
    type: str
    requirements: Body | None = None
    due: int = 0
    bounded: bool = False
    occurrence: int = 0
    asked: bool = False


class WaitEnded(_Fact, frozen=True, tag=True):
    """A wait ended: with the event `event`, or by its timeout (0)."""

    invocation: int
    wait: int
    event: int = 0


class CheckpointTaken(_Fact, frozen=True, tag=True):
    """The run was saved after an invocation; the position is this record's `seq`."""

    invocation: int
    name: str = ""


Record: TypeAlias = (
    StepStarted
    | StepCompleted
    | EventSent
    | ContextWritten
    | StreamWritten
    | EventReceived
    | EventBuffered
    | EventsCollected
    | EventReleased
    | StepFailed
    | RetryScheduled
    | RetryQueued
    | WaitStarted
    | WaitEnded
    | RunStarted
    | RunPaused
    | RunResumed
    | CheckpointTaken
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTimedOut
)

Ending: TypeAlias = RunCompleted | RunFailed | RunCancelled | RunTimedOut
"""The last record of a run that is over."""

ENDINGS = (RunCompleted, RunFailed, RunCancelled, RunTimedOut)
"""The classes of `Ending`, to ask for with `isinstance`."""
