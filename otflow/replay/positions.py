"""Positions: where in its records a run can be taken up, and what of them counts there.

What one input led to belongs together: a step has not returned without what it returned. So a position is moved on to
the end of that, and back from the end of a run and from the failure that ended it: whoever takes the run up there
comes to the end again, or calls the failed step again. This room knows records, and no workflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from otflow.records.body import Body
from otflow.records.record import (
    EventReceived,
    EventReleased,
    EventSent,
    Record,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)

__all__ = ["Changed", "Position", "find_position"]


class Changed(NamedTuple):
    """What is to stand in the place of the event that a record brought: a type key and a payload."""

    seq: int
    type: str
    body: Body


class Position(NamedTuple):
    """A point at which a run can be taken up.

    Args:
        records: those that lead to it, from the first one on.
        skipped: the numbers of those among them that do not count.
        at: the number of the last one that counts; it may be smaller than the one that was asked for.
    """

    records: tuple[Record, ...]
    skipped: frozenset[int]
    at: int


def find_position(records: Sequence[Record], at: int, changed: Changed | None = None) -> Position:
    """Find what of the records counts at a position.

    An event that ends the run, or that is changed, is held: the run that goes on sends it on its way.

    Args:
        records: the records of the run, in order.
        at: the number of a record; the position is behind it.
        changed: an event that is to be another one; it belongs to what the record `at` says. Default None.
    """
    end = sum(1 for record in records if record.seq <= at)
    kept, coming = list(records[:end]), list(records[end:])
    held = {changed.seq} if changed is not None else set()
    _go_back(kept, held)
    while coming and _belongs(kept, coming[0]):
        kept.append(coming.pop(0))
    if coming and isinstance(coming[0], RunCompleted):
        held.add(coming[0].event)
    if kept and isinstance(kept[-1], StepFailed):  # that ended the run, or nobody knows what followed
        kept.pop()
    while kept and isinstance(kept[-1], EventReleased) and kept[-1].event in held:
        kept.pop()
    skipped = {record.seq for record in kept if _follows(record, held)}
    shown = tuple(_hold(record, changed) if record.seq in held else record for record in kept)
    return Position(shown, frozenset(skipped), kept[-1].seq if kept else 0)


def _go_back(kept: list[Record], held: set[int]) -> None:
    """Leave out the end of a run, which nothing can go on from."""
    match kept[-1] if kept else None:
        case RunCompleted(event=event):
            held.add(event)
            kept.pop()
        case RunFailed() | RunCancelled() | RunTimedOut():
            kept.pop()
        case _:
            pass


def _belongs(kept: list[Record], record: Record) -> bool:
    """Tell whether a record says what else the input led to of which the last ones speak."""
    if not kept:
        return False
    last = kept[-1]
    match record:
        case EventReceived():
            return isinstance(last, RunStarted)
        case EventSent(invocation=id, returned=True):
            return _returning(kept) == id
        case EventSent(invocation=id) | RetryScheduled(invocation=id):
            return isinstance(last, StepFailed) and last.invocation == id
        case WaitEnded(event=event):
            return event != 0
        case StreamWritten(seq=seq) if isinstance(last, WaitStarted):
            return last.asked and last.seq == seq - 1
        case StreamWritten(invocation=id, type=kind):
            return isinstance(last, EventSent) and last.returned and (last.invocation, last.type) == (id, kind)
        case EventReleased():
            return isinstance(last, RunResumed) and last.snapshot is not None
        case _:
            return False


def _returning(kept: list[Record]) -> int:
    """Return the invocation that has returned, if the last records say what it returned; else 0."""
    for record in reversed(kept):
        match record:
            case StepCompleted(invocation=id):
                return id
            case EventSent(returned=True) | StreamWritten() | WaitEnded():
                continue
            case _:
                return 0
    return 0


def _follows(record: Record, held: set[int]) -> bool:
    """Tell whether a record says what became of an event that is held."""
    return isinstance(record, EventReleased | WaitEnded) and record.event in held


def _hold(record: Record, changed: Changed | None) -> Record:
    match record:
        case EventSent():
            record = msgspec.structs.replace(record, held=True)
        case EventReceived(seq=seq, run=run, at=at, type=kind, body=body, target=target):
            record = EventSent(seq, run, at, 0, kind, body, target, held=True)
        case _:
            return record
    if changed is not None and changed.seq == record.seq:
        record = msgspec.structs.replace(record, type=changed.type, body=changed.body)
    return record
