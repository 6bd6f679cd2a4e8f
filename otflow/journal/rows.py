"""From records to rows: what a journal writes of one batch, made before anybody has to wait for the file.

It knows records and numbers, and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from otflow.events import StopEvent
from otflow.journal.precise import note_value
from otflow.journal.schema import BITS
from otflow.records.body import ATOMS
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
)

__all__ = ["Batch", "Row", "make_batches"]


class Row(NamedTuple):
    """A record, for the table; `seq` becomes a part of the id."""

    seq: int
    at: int
    kind: str
    data: str
    precise: str | None


class Batch(NamedTuple):
    """Records of one run that are written together.

    Args:
        run: the id of the run.
        rows: the records.
        begins: the record by which the run began or went on from saved data, if it is the first.
        outcome, reason: where the run stands after them; outcome None: as before.
        ends: whether the run has ended.
        received: the events from outside, for an inbox to know which have been taken.
    """

    run: str
    rows: list[Row]
    begins: RunStarted | RunResumed | None
    outcome: str | None
    reason: str
    ends: bool
    received: tuple[EventReceived, ...]


_NOTED = frozenset(
    {RunStarted, RunResumed, RunPaused, RunCompleted, RunFailed, RunCancelled, RunTimedOut, EventReceived}
)


def make_batches(records: Sequence[Record], encode: Callable[[Record], bytes], *, noted: bool) -> Iterator[Batch]:
    """Make the rows of records, one batch for each run in a row.

    Args:
        records: the records; those of one run are in order.
        encode: writes one as JSON.
        noted: whether to note the classes of values, too.
    """
    first = records[0].run
    if all(record.run == first for record in records):  # nearly always
        yield _make_batch(first, records, encode, noted=noted)
        return
    for run, some in groupby(records, attrgetter("run")):
        yield _make_batch(run, list(some), encode, noted=noted)


def _make_batch(run: str, records: Sequence[Record], encode: Callable[[Record], bytes], *, noted: bool) -> Batch:
    rows = [Row(r.seq, r.at, type(r).__name__, encode(r).decode(), _note(r) if noted else None) for r in records]
    begins, outcome, reason, ends = None, None, "", False
    received: tuple[EventReceived, ...] = ()
    for record in records:
        if type(record) not in _NOTED:
            continue
        match record:
            case EventReceived():
                received = (*received, record)
            case RunStarted() | RunResumed():
                if record is records[0] and (isinstance(record, RunStarted) or record.snapshot is not None):
                    begins = record
                outcome, reason = "open", ""
            case RunPaused(reason=reason):
                outcome = "paused"
            case _:
                outcome, reason = _name_end(record)
                ends = True
    return Batch(run, rows, begins, outcome, reason, ends, received)


def _name_end(record: Record) -> tuple[str, str]:
    match record:
        case RunFailed(error=error):
            return "failed", f"{error.type}: {error.message}"
        case RunCancelled(reason=reason):
            return "cancelled", reason
        case RunTimedOut(active=active):
            return "timed out", ", ".join(active)
        case _:
            return "completed", ""


def _note(record: Record) -> str | None:
    if type(record) is EventSent and isinstance(record.body.live, StopEvent):
        live = record.body.live  # the result of a run may be anything, and a step that began the run gets it
        return note_value({**live.__dict__, **(live.__pydantic_extra__ or {})})
    if type(record) is not ContextWritten or type(record.value.live) in ATOMS:
        return None
    return note_value(record.value.live)


def span_of(number: int) -> tuple[int, int]:
    """Return the first and the last id that records of a run can have, by the number of the run."""
    return number << BITS, (number << BITS) | ((1 << BITS) - 1)


def ids(number: int, rows: Iterable[Row]) -> list[tuple[int, int, str, str, str | None]]:
    """Return rows with the ids that records have in the table."""
    base = number << BITS
    return [(base + row.seq, row.at, row.kind, row.data, row.precise) for row in rows]
