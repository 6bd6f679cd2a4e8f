"""Fan-in: a step puts events aside until it has one of each that it expects.

Per type, events leave in the order in which they came. What is too much stays for the next collection. A step that
asks again about an event that is already in the buffer, or already collected (in a further attempt, say), gets the
same answer again and nothing is counted twice.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from otflow.core.inputs import Collect
from otflow.core.state import Buffer, Collectable, Invocation, RunState
from otflow.records.record import EventBuffered, EventsCollected, Record

__all__ = ["collect", "may_complete"]


def may_complete(state: RunState, invocation: int, buffer: str, need: int) -> bool:
    """Tell whether the next event could complete a collection of `need`, begins one, or may not belong to it. O(1).

    Only then is it worth to spell out the expected types.
    """
    found = state.running.get(invocation)
    if found is None:
        return False
    kept = state.lanes[found.step].buffers.get(buffer)
    if kept is None or kept.total + 1 >= need:
        return True
    return all(kind != found.event.type for kind, _ in kept.expected)


def collect(state: RunState, input: Collect, after: int) -> list[Record]:
    """Decide what follows when a step offers an event to a buffer."""
    invocation = state.running.get(input.invocation)
    if invocation is None:
        return []
    foreign = input.body is not None
    if not foreign and invocation.collected is not None and input.buffer in invocation.collected:
        return []
    again = not foreign and invocation.buffered is not None and input.buffer in invocation.buffered
    buffer = state.lanes[invocation.step].buffers.get(input.buffer)
    if input.expected is not None:
        if (input.type if foreign else invocation.event.type) not in input.expected:
            return []
        if records := _complete(state, input, invocation, buffer, again, after):
            return records
    return _put(state, input, invocation, buffer, again, after)


def _put(
    state: RunState, input: Collect, invocation: Invocation, buffer: Buffer | None, again: bool, after: int
) -> list[Record]:
    if again:
        return []
    seq, run, at = after + 1, state.run, input.at
    expected: tuple[tuple[str, int], ...] = ()
    if buffer is None and input.expected is not None:
        expected = tuple(Counter(input.expected).items())
    if input.body is None:
        return [EventBuffered(seq, run, at, invocation.id, input.buffer, invocation.event.seq, expected)]
    return [EventBuffered(seq, run, at, invocation.id, input.buffer, seq, expected, input.type, input.body)]


def _complete(
    state: RunState, input: Collect, invocation: Invocation, buffer: Buffer | None, again: bool, after: int
) -> list[Record]:
    """Give the records of a complete collection, or none when a type is still missing. O(need)."""
    expected = input.expected or ()
    events: dict[str, list[Collectable | None]] = {}
    for kind, count in Counter(expected).items():
        kept = buffer.events.get(kind) if buffer is not None else None
        events[kind] = list(islice(kept or (), count))
    own: Collectable | None = None if input.body is not None else invocation.event
    if not again:
        kind = input.type if input.body is not None else invocation.event.type
        if len(events[kind]) < expected.count(kind):
            events[kind].append(own)
    if any(len(events[kind]) < count for kind, count in Counter(expected).items()):
        return []
    return _collected(state, input, invocation, events, again, after)


def _collected(
    state: RunState,
    input: Collect,
    invocation: Invocation,
    events: dict[str, list[Collectable | None]],
    again: bool,
    after: int,
) -> list[Record]:
    records: list[Record] = []
    taken = [event for some in events.values() for event in some]
    # an event that no delivery brought, or one that is not among those taken, has to be in the buffer first
    if input.body is not None or (not again and all(event is not invocation.event for event in taken)):
        records += _put(state, input, invocation, Buffer(), again, after)
    mine = after + 1
    heads = {kind: iter(some) for kind, some in events.items()}
    order = tuple(mine if (event := next(heads[kind])) is None else event.seq for kind in input.expected or ())
    seq = after + 1 + len(records)
    records.append(EventsCollected(seq, state.run, input.at, invocation.id, input.buffer, order))
    return records
