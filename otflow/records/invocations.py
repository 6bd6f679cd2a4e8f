"""Invocations: what became of one delivery of an event to a step, read from the records that name it.

The first floor of a history. Records come sorted, each once, but any of them may be missing. This room knows one
invocation at a time: which events there are in a run, and who took them, is known in `otflow.records.history`.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventsCollected,
    EventSent,
    Failure,
    RetryQueued,
    RetryScheduled,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)

__all__ = ["Attempt", "Invocation", "OfInvocation", "Wait", "distrust", "read_invocation"]

_Rest: TypeAlias = (
    EventSent | ContextWritten | StreamWritten | EventBuffered | EventsCollected | WaitStarted | WaitEnded
)
OfInvocation: TypeAlias = StepStarted | StepCompleted | StepFailed | RetryScheduled | RetryQueued | _Rest
"""Records that name an invocation and belong to it."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A wait of a step for an event.

    Args:
        id: its number in the run.
        type: the type key of what was waited for; empty if the start of the wait is missing.
        waiter: its name.
        started, ended: nanoseconds since the epoch; 0 if it goes on, or if that record is missing.
        event: the event that ended it, by id; 0 if there is none.
        astray: whether the times of the run do not tell how long anything took.
    """

    id: int
    type: str = ""
    waiter: str = ""
    started: int = 0
    ended: int = 0
    event: int = 0
    astray: bool = False

    @property
    def took(self) -> int:
        """Nanoseconds from its start to its end; 0 if unknown."""
        return max(0, self.ended - self.started) if self.started and self.ended and not self.astray else 0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of an invocation; times in nanoseconds since the epoch, 0 where there is none or it is unknown.

    Args:
        number: which try it is, from 1; 0 if unknown.
        first, last: the numbers of the records of its start and of its end; 0 likewise.
        readied: the number of the record that made it ready; 0 likewise.
        ready: when it could have begun, had a worker been free; 0 also if it may have been made ready by a record that
            is missing.
        started: when it began.
        ended: when it returned or raised.
        outcome: "completed", "failed", or "open" if neither is recorded.
        error: what it raised.
        delay: the seconds of the retry delay before it, 0 before the first; None if the record that says so is missing.
        sent: the events that it emitted, by id.
        written: its writes to the state.
        streamed: what it wrote to the stream.
        kept: what it put aside.
        collected: its complete collections.
        waits: what it waited for.
        torn: whether records between its start and its end are missing, which may be of it.
        astray: whether the times of the run do not tell how long anything took.
    """

    number: int
    first: int = 0
    last: int = 0
    readied: int = 0
    ready: int = 0
    started: int = 0
    ended: int = 0
    outcome: str = "open"
    error: Failure | None = None
    delay: float | None = 0.0
    sent: tuple[int, ...] = ()
    written: tuple[ContextWritten, ...] = ()
    streamed: tuple[StreamWritten, ...] = ()
    kept: tuple[EventBuffered, ...] = ()
    collected: tuple[EventsCollected, ...] = ()
    waits: tuple[Wait, ...] = ()
    torn: bool = False
    astray: bool = False

    @property
    def unclear(self) -> bool:
        """Whether nobody knows how long it stood still: of a wait the begin or the end may be missing."""
        return self.astray or (self.torn and not all(wait.started and wait.ended for wait in self.waits))

    @property
    def queued(self) -> int:
        """Nanoseconds for which it waited for a worker; 0 if unknown."""
        return max(0, self.started - self.ready) if self.started and self.ready and not self.astray else 0

    @property
    def stood(self) -> int:
        """Nanoseconds for which it stood still until an event came; waits at the same time count once."""
        total = until = 0
        if self.astray:
            return 0
        for wait in sorted(self.waits, key=lambda wait: wait.started):
            end = wait.ended or (0 if self.unclear else self.ended)
            if wait.started and end:
                total += max(0, end - max(wait.started, until))
                until = max(until, end)
        return total

    @property
    def worked(self) -> int:
        """Nanoseconds from its start to its end, without those in which it stood still; 0 if unknown."""
        known = self.started and self.ended and not self.unclear
        return max(0, self.ended - self.started - self.stood) if known else 0


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of an event to a step, with all tries of it.

    Args:
        id: its number in the run.
        step: the name of the step; empty if every start is missing.
        event: the event, by id; 0 if every start is missing.
        attempts: the tries, in order.
        retry: what was scheduled for a try that is not there.
    """

    id: int
    step: str = ""
    event: int = 0
    attempts: tuple[Attempt, ...] = ()
    retry: RetryScheduled | None = None


def distrust(invocation: Invocation) -> Invocation:
    """Return an invocation of a run whose times do not tell how long anything took."""
    attempts = tuple(
        replace(attempt, astray=True, waits=tuple(replace(wait, astray=True) for wait in attempt.waits))
        for attempt in invocation.attempts
    )
    return replace(invocation, attempts=attempts)


class _Try(msgspec.Struct):
    """The records of one attempt; `number` is 0 until one of them says it."""

    number: int = 0
    started: StepStarted | None = None
    ended: StepCompleted | StepFailed | None = None
    rest: list[_Rest] = []


def read_invocation(id: int, records: Sequence[OfInvocation], turns: Sequence[int] = ()) -> Invocation:
    """Build an invocation from the records that name it.

    A record that does not say to which attempt it belongs is taken for one of the attempt before it, unless that one
    had failed by then.

    Args:
        id: the number of the invocation.
        records: the records, sorted by number.
        turns: the numbers of the records with which the run went on from saved data: no attempt outlives one. Default
            none.
    """
    tries: list[_Try] = []
    scheduled: dict[int, RetryScheduled] = {}
    queued: dict[int, RetryQueued] = {}
    lives = 0
    for record in records:
        before, lives = lives, bisect(turns, record.seq)
        if lives > before and tries and not isinstance(record, StepStarted | RetryScheduled | RetryQueued):
            tries.append(_Try())
        match record:
            case StepStarted(attempt=number):
                tries.append(_Try(number, record))
            case StepCompleted(attempt=number) | StepFailed(attempt=number):
                if not tries or tries[-1].number not in (0, number) or tries[-1].ended is not None:
                    tries.append(_Try())
                tries[-1].number, tries[-1].ended = number, record
            case RetryScheduled(attempt=number):
                scheduled[number] = record
            case RetryQueued(attempt=number):
                queued[number] = record
            case _:
                if not tries or _has_failed(tries[-1], record):
                    tries.append(_Try())
                tries[-1].rest.append(record)
    started = next((each.started for each in tries if each.started is not None), None)
    attempts = [_read_attempt(each, scheduled.get(each.number), queued.get(each.number)) for each in tries]
    open_retry = scheduled.get(max(scheduled, default=0))
    if open_retry is not None and any(each.number >= open_retry.attempt for each in tries):
        open_retry = None
    return Invocation(
        id=id,
        step=started.step if started is not None else "",
        event=started.event if started is not None else 0,
        attempts=tuple(attempts),
        retry=open_retry,
    )


def _has_failed(found: _Try, record: _Rest) -> bool:
    """Tell whether an attempt had failed before a record: of its own is only what it sent to an error handler then."""
    ended = found.ended
    return isinstance(ended, StepFailed) and not (isinstance(record, EventSent) and record.seq == ended.seq + 1)


def _read_attempt(found: _Try, retry: RetryScheduled | None, queued: RetryQueued | None) -> Attempt:
    started, ended = found.started, found.ended
    rest = found.rest
    readied = queued or retry
    return Attempt(
        number=found.number,
        first=started.seq if started is not None else 0,
        last=ended.seq if ended is not None else 0,
        readied=readied.seq if readied is not None else 0,
        ready=readied.due if isinstance(readied, RetryScheduled) else readied.at if readied is not None else 0,
        started=started.at if started is not None else 0,
        ended=ended.at if ended is not None else 0,
        outcome=_OUTCOMES[type(ended)],
        error=ended.error if isinstance(ended, StepFailed) else None,
        delay=retry.delay if retry is not None else 0.0 if found.number == 1 else None,
        sent=tuple(each.seq for each in rest if isinstance(each, EventSent)),
        written=tuple(each for each in rest if isinstance(each, ContextWritten)),
        streamed=tuple(each for each in rest if isinstance(each, StreamWritten)),
        kept=tuple(each for each in rest if isinstance(each, EventBuffered)),
        collected=tuple(each for each in rest if isinstance(each, EventsCollected)),
        waits=_read_waits(rest),
    )


_OUTCOMES: dict[type, str] = {StepCompleted: "completed", StepFailed: "failed", type(None): "open"}


def _read_waits(records: Sequence[_Rest]) -> tuple[Wait, ...]:
    found: dict[int, Wait] = {}
    for record in records:
        match record:
            case WaitStarted(seq=id, type=kind, waiter=waiter, at=at):
                found[id] = Wait(id=id, type=kind, waiter=waiter, started=at)
            case WaitEnded(wait=id, event=event, at=at):
                found[id] = replace(found.get(id) or Wait(id=id), ended=at, event=event)
            case EventSent() | ContextWritten() | StreamWritten() | EventBuffered() | EventsCollected():
                pass
            case _:
                assert_never(record)
    return tuple(found.values())
