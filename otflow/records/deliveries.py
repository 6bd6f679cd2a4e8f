"""Deliveries: the events of a run, as the records tell of them, and since when the work on them could begin.

A room of the history of a run. It knows single events and single invocations; who belongs to whom is known in
`otflow.records.history`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import msgspec

from otflow.records.body import Body
from otflow.records.emitted import events_of, read_saved
from otflow.records.holes import Holes
from otflow.records.invocations import Invocation
from otflow.records.record import EventBuffered, EventReceived, EventReleased, EventSent, RunResumed

__all__ = ["Event", "make_aside", "make_ready", "make_received", "make_sent", "read_kept"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a run.

    Args:
        id: its number in the run; negative if an earlier run left it to this one.
        type: its type key; empty if the record that brought it is missing, or is one of an earlier run.
        body: its payload; None if that record is missing.
        at: when it was emitted, in nanoseconds since the epoch; 0 if unknown.
        source: the invocation that emitted it; 0 if it came from outside, or if that is unknown.
        target: the only step that was to get it; empty if it was for all.
        outside: whether it came from outside.
        aside: whether a step made it only to put it aside, so that it was never delivered.
        held: whether it was kept back for the caller of a stepwise run, or until it was saved.
        released: when it was sent on its way after that; 0 if never.
        ready: the number of the record that sent it on its way; 0 if unknown.
        takers: the invocations that worked on it.
        answered: the waits that it ended.
    """

    id: int
    type: str = ""
    body: Body | None = None
    at: int = 0
    source: int = 0
    target: str = ""
    outside: bool = False
    aside: bool = False
    held: bool = False
    released: int = 0
    ready: int = 0
    takers: tuple[int, ...] = ()
    answered: tuple[int, ...] = ()


def read_kept(snapshot: Body, released: Mapping[int, EventReleased]) -> dict[int, Event]:
    """Read the events that the run went on with; those of an earlier run of the context are known by name only."""
    known: dict[int, Event] = {}
    for record in events_of(read_saved(snapshot)):
        match record:
            case EventReceived():
                known[record.seq] = make_received(record)
            case EventSent():
                known[record.seq] = make_sent(record, released.get(record.seq))
            case EventBuffered():
                known[record.seq] = make_aside(record)
            case _:
                assert_never(record)
    return {id: event for id, event in known.items() if id > 0}


def make_aside(record: EventBuffered) -> Event:
    """Give the event that a step made to put it aside."""
    id, type, body, at = record.seq, record.type, record.body, record.at
    return Event(id=id, type=type, body=body, at=at, source=record.invocation, aside=True)


def make_received(record: EventReceived) -> Event:
    """Give an event that came from outside."""
    id, type, body, at = record.seq, record.type, record.body, record.at
    return Event(id=id, type=type, body=body, at=at, target=record.target, outside=True, ready=id)


def make_sent(record: EventSent, released: EventReleased | None) -> Event:
    """Give an event that a step emitted, and that was held back until the record `released` if that is given."""
    return Event(
        id=record.seq,
        type=record.type,
        body=record.body,
        at=record.at,
        source=record.invocation,
        target=record.target,
        held=record.held,
        released=released.at if released is not None else 0,
        ready=released.seq if released is not None else record.seq,
    )


def make_ready(
    invocation: Invocation, events: Mapping[int, Event], restored: Sequence[RunResumed], holes: Holes
) -> Invocation:
    """Say of the attempts when they could have begun, unless a record that is missing may have made them ready."""
    event = events.get(invocation.event)
    attempts = []
    for attempt in invocation.attempts:
        ready, by = attempt.ready, attempt.readied
        if not by and attempt.number == 1 and event is not None:
            ready, by = event.released or event.at, event.ready
        for resumed in restored:
            if by < resumed.seq < attempt.first:  # before that, nobody was there to begin it
                ready, by = max(ready, resumed.at), resumed.seq
        if not by or holes.between(by, attempt.first or by):
            ready = by = 0
        torn = attempt.first > 0 and attempt.last > 0 and holes.between(attempt.first, attempt.last)
        attempts.append(msgspec.structs.replace(attempt, ready=ready, readied=by, torn=torn))
    return msgspec.structs.replace(invocation, attempts=tuple(attempts))
