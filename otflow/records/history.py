"""History: the records of runs as a tree that can be asked questions.

A run holds its invocations, these their attempts, and these what they sent, wrote, collected and waited for; events say
who emitted and who took them. Records may come in any order, more than once, and with holes: what is missing is named
and never guessed. This room knows no core: what it tells was derived from the meaning of the records alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import assert_never

import msgspec

from otflow.records.body import Body
from otflow.records.codec import encode
from otflow.records.deliveries import Event, make_aside, make_ready, make_received, make_sent, read_kept
from otflow.records.emitted import begins, read_saved
from otflow.records.holes import Holes
from otflow.records.invocations import Attempt, Invocation, OfInvocation, Wait, distrust, read_invocation
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    Ending,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventSent,
    Failure,
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StreamWritten,
)

__all__ = [
    "Attempt",
    "Event",
    "Invocation",
    "Pause",
    "Run",
    "Summary",
    "Wait",
    "leave_open",
    "read_runs",
    "summarize",
    "tell_astray",
]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which nothing executed.

    `ended` is 0 if it goes on. Where records are missing in which it may have ended, it is the time of the last one
    before these.
    """

    reason: str
    started: int
    ended: int = 0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run; times in nanoseconds since the epoch.

    Args:
        id: its id.
        workflow: the name of the workflow; empty if its start is missing.
        started: the time of its first record.
        ended: the time of its last record.
        outcome: "completed", "failed", "cancelled", "timed out", "paused" or "open".
        error: why it failed.
        failed: the invocation that made it fail; 0 if none did.
        reason: why it was cancelled or is paused; the steps that were running when it timed out.
        result: the stop event, by id; 0 if it has none.
        parent_run, parent_invocation: the step of another run that started it.
        events: its events, by id.
        invocations: its invocations, by id.
        pauses: when nothing executed.
        checkpoints: when it was saved.
        written, streamed: what came from outside its steps.
        gaps: the first and the last number of each stretch of missing records.
        faults: what is missing or does not fit together, one sentence each.
        astray: the number of the first record that has an earlier time than the one before it, so that the times of
            the run do not tell how long anything took; 0 if there is none.
    """

    id: str
    workflow: str
    started: int
    ended: int
    outcome: str
    error: Failure | None
    failed: int
    reason: str
    result: int
    parent_run: str
    parent_invocation: int
    events: Mapping[int, Event]
    invocations: Mapping[int, Invocation]
    pauses: tuple[Pause, ...]
    checkpoints: tuple[CheckpointTaken, ...]
    written: tuple[ContextWritten, ...]
    streamed: tuple[StreamWritten, ...]
    gaps: tuple[tuple[int, int], ...]
    faults: tuple[str, ...]
    astray: int = 0

    @property
    def duration(self) -> int:
        """Nanoseconds from its first record to its last; 0 if its times cannot tell."""
        return 0 if self.astray else self.ended - self.started

    def since_start(self, at: int) -> int | None:
        """Return the nanoseconds from its first record to a time; None if its times cannot tell."""
        return None if self.astray else at - self.started


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in numbers; `duration` is in nanoseconds, `steps` counts those that were invoked."""

    steps: int
    invocations: int
    attempts: int
    retries: int
    events: int
    writes: int
    duration: int


def summarize(run: Run) -> Summary:
    """Count what a run was made of."""
    attempts = [attempt for invocation in run.invocations.values() for attempt in invocation.attempts]
    return Summary(
        steps=len({invocation.step for invocation in run.invocations.values()}),
        invocations=len(run.invocations),
        attempts=len(attempts),
        retries=sum(attempt.number > 1 for attempt in attempts),
        events=len(run.events),
        writes=len(run.written) + sum(len(attempt.written) for attempt in attempts),
        duration=run.duration,
    )


def tell_astray(run: Run) -> str:
    """Say in a sentence why the times of a run do not tell how long anything took.

    Args:
        run: a run of which `astray` is not 0.
    """
    return (
        f"Record {run.astray} tells an earlier time than the record before it: the clocks of who wrote them differ, so "
        "nobody knows how long anything took."
    )


def leave_open(run: Run) -> Run:
    """Return a paused run as one that may have gone on since, because records after the pause are missing.

    Args:
        run: the run, of which the pause is the last thing that is known.
    """
    *before, last = run.pauses
    pauses = (*before, msgspec.structs.replace(last, ended=run.ended))
    return msgspec.structs.replace(run, outcome="open", reason="", pauses=pauses)


def read_runs(records: Iterable[Record]) -> tuple[Run, ...]:
    """Build the runs that records tell of, the earliest first.

    Args:
        records: records of any number of runs, in any order; repeated ones count once, missing ones are named.
    """
    of: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        of[record.run].append(record)
    runs = [_read_run(name, some) for name, some in of.items()]
    return tuple(sorted(runs, key=lambda run: (run.started, run.id)))


class _Sorted(msgspec.Struct):
    """The records of a run, by what they belong to."""

    of: defaultdict[int, list[OfInvocation]]
    outside: list[ContextWritten | StreamWritten] = []
    started: RunStarted | None = None
    end: Ending | None = None
    paused: RunPaused | None = None
    pauses: list[Pause] = []
    checkpoints: list[CheckpointTaken] = []
    received: list[EventReceived] = []
    released: dict[int, EventReleased] = {}
    restored: list[RunResumed] = []
    saved: Body | None = None
    last: int = 0
    at: int = 0


def _read_run(name: str, records: list[Record]) -> Run:
    ordered, faults = _order(records)
    found = _sort(ordered)
    turns = [each.seq for each in found.restored]
    invocations = {id: read_invocation(id, found.of[id], turns) for id in sorted(found.of)}
    events = _read_events(found, invocations)
    gaps = _find_gaps(ordered)
    holes = Holes(gaps)
    invocations = {id: make_ready(each, events, found.restored, holes) for id, each in invocations.items()}
    astray = next((late.seq for early, late in pairwise(ordered) if late.at < early.at), 0)
    if astray:
        invocations = {id: distrust(each) for id, each in invocations.items()}
    started, end = found.started, found.end
    workflow = started.workflow if started is not None else read_saved(found.saved).workflow if found.saved else ""
    outcome, reason = _read_outcome(found)
    return Run(
        id=name,
        workflow=workflow,
        started=ordered[0].at,
        ended=ordered[-1].at,
        outcome=outcome,
        error=end.error if isinstance(end, RunFailed) else None,
        failed=end.invocation if isinstance(end, RunFailed) else 0,
        reason=reason,
        result=end.event if isinstance(end, RunCompleted) else 0,
        parent_run=started.parent_run if started is not None else "",
        parent_invocation=started.parent_invocation if started is not None else 0,
        events=events,
        invocations=invocations,
        pauses=tuple(found.pauses),
        checkpoints=tuple(found.checkpoints),
        written=tuple(each for each in found.outside if isinstance(each, ContextWritten)),
        streamed=tuple(each for each in found.outside if isinstance(each, StreamWritten)),
        gaps=gaps,
        faults=(*faults, *_find_faults(invocations, events)),
        astray=astray,
    )


def _order(records: list[Record]) -> tuple[list[Record], list[str]]:
    """Sort by number; of different records with one number the first by time, then by content, counts."""
    kept: dict[int, Record] = {}
    twice: set[int] = set()
    for record in records:
        other = kept.setdefault(record.seq, record)
        if other is not record and other != record:
            twice.add(record.seq)
            kept[record.seq] = min(other, record, key=lambda each: (each.at, encode(each)))
    faults = [f"There are different records with the number {seq}; the first one counts." for seq in sorted(twice)]
    return [kept[seq] for seq in sorted(kept)], faults


def _sort(records: Sequence[Record]) -> _Sorted:
    found = _Sorted(defaultdict(list))
    for record in records:
        if found.paused is not None and record.seq > found.last + 1:
            found.pauses[-1], found.paused = msgspec.structs.replace(found.pauses[-1], ended=found.at), None
        found.last, found.at = record.seq, record.at
        match record:
            case RunStarted():
                found.started = record
            case RunPaused() | RunResumed():
                _note_pause(found, record)
            case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
                found.end = record
            case EventReceived():
                found.received.append(record)
            case EventReleased():
                found.released[record.event] = record
            case CheckpointTaken():
                found.checkpoints.append(record)
            case ContextWritten(invocation=0) | StreamWritten(invocation=0):
                found.outside.append(record)
            case _:
                found.of[record.invocation].append(record)
    return found


def _note_pause(found: _Sorted, record: RunPaused | RunResumed) -> None:
    match record:
        case RunPaused():
            found.paused = record
            found.pauses.append(Pause(reason=record.reason, started=record.at))
        case RunResumed():
            if found.paused is not None:
                found.pauses[-1] = msgspec.structs.replace(found.pauses[-1], ended=record.at)
            found.paused = None
            if record.snapshot is not None:
                found.restored.append(record)
                found.saved = record.snapshot
        case _:
            assert_never(record)


def _read_outcome(found: _Sorted) -> tuple[str, str]:
    """Return how a run ended, or where it stands, and the reason that was given."""
    match found.end:
        case RunCompleted():
            return "completed", ""
        case RunFailed():
            return "failed", ""
        case RunCancelled(reason=reason):
            return "cancelled", reason
        case RunTimedOut(active=active):
            return "timed out", ", ".join(active)
        case None:
            return ("paused", found.paused.reason) if found.paused is not None else ("open", "")
        case _:
            assert_never(found.end)


def _read_events(found: _Sorted, invocations: Mapping[int, Invocation]) -> dict[int, Event]:
    takers: defaultdict[int, list[int]] = defaultdict(list)
    answered: defaultdict[int, list[int]] = defaultdict(list)
    named = {found.end.event} if isinstance(found.end, RunCompleted) else set()
    for invocation in invocations.values():
        takers[invocation.event].append(invocation.id)
        for attempt in invocation.attempts:
            for wait in attempt.waits:
                answered[wait.event].append(wait.id)
            named.update(id for collected in attempt.collected for id in collected.events)
    known = read_kept(found.saved, found.released) if found.saved is not None else {}
    known |= {event.seq: make_received(event) for event in found.received}
    for records in found.of.values():
        for record in records:
            if isinstance(record, EventSent):
                known[record.seq] = make_sent(record, found.released.get(record.seq))
            elif isinstance(record, EventBuffered) and record.body is not None:
                known[record.seq] = make_aside(record)
    events = {}
    for id in sorted({*known, *takers, *answered, *named} - {0}):
        taken, ended = tuple(takers[id]), tuple(answered[id])
        events[id] = msgspec.structs.replace(known.get(id) or Event(id=id), takers=taken, answered=ended)
    return events


def _find_gaps(records: Sequence[Record]) -> tuple[tuple[int, int], ...]:
    numbers = [record.seq for record in records]
    before = numbers[0] - 1 if begins(records[0]) else 0
    pairs = zip((before, *numbers), numbers, strict=False)
    return tuple((before + 1, after - 1) for before, after in pairs if after - before > 1)


def _find_faults(invocations: Mapping[int, Invocation], events: Mapping[int, Event]) -> list[str]:
    faults = [
        f"The start of attempt {attempt.number or '?'} of invocation {each.id} is missing."
        for each in invocations.values()
        for attempt in each.attempts
        if not attempt.started
    ]
    lost = [event.id for event in events.values() if not event.type and event.id > 0]
    return faults + [f"The record of event {id} is missing." for id in lost]
