"""Matching: which parts of two runs are the same part, told by what caused them and not by when they came.

Two events belong together if matched work sent them, they are of one type, and they say the same (or else stand at
the same place among those that are left). Work belongs together if it is of one step on matched events. What a step
sends after it has completed a collection belongs to the collection: whichever event happened to come last completes it,
and that is a matter of order alone.

This room decides what belongs together; what the differences are is found by `otflow.records.diff`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from otflow.records.history import Event, Invocation, Run
from otflow.records.record import ContextWritten, EventsCollected, StreamWritten
from otflow.records.values import write_key

__all__ = ["Act", "Matching", "list_acts", "match"]


class Act(msgspec.Struct, frozen=True):
    """What causes events: an invocation up to its first collection, a collection, or the outside (0).

    Args:
        id: the invocation, or the number of the record by which the collection was complete.
        invocation: the invocation.
        collected: the collection.
        sent: the events, by id.
        written: the writes to the state.
        streamed: what was written to the stream.
    """

    id: int
    invocation: Invocation | None
    collected: EventsCollected | None
    sent: tuple[int, ...]
    written: tuple[ContextWritten, ...]
    streamed: tuple[StreamWritten, ...]


class Matching(NamedTuple):
    """What belongs together in two runs; ids of the first run lead to ids of the second.

    Args:
        acts: what was done.
        events: what was sent.
        invocations: who worked on it.
        lost, added: events of matched acts that only the first or only the second run has.
        undone, done: invocations on matched events that only the first or only the second run has.
        uncollected, collected: collections likewise.
    """

    acts: dict[int, int]
    events: dict[int, int]
    invocations: dict[int, int]
    lost: list[int]
    added: list[tuple[int, int]]
    undone: list[int]
    done: list[tuple[int, int]]
    uncollected: list[int]
    collected: list[int]


def list_acts(run: Run) -> dict[int, Act]:
    """Divide a run into acts, by id."""
    outside = tuple(event.id for event in run.events.values() if not event.source)
    acts = {0: Act(0, None, None, outside, run.written, run.streamed)}
    aside: defaultdict[int, list[int]] = defaultdict(list)
    for event in run.events.values():
        if event.aside:
            aside[event.source].append(event.id)
    for invocation in run.invocations.values():
        acts.update((act.id, act) for act in _divide(invocation, aside[invocation.id]))
    return acts


def _divide(invocation: Invocation, aside: Sequence[int]) -> Iterable[Act]:
    collected = [each for attempt in invocation.attempts for each in attempt.collected]
    starts = sorted(each.seq for each in collected)
    parts: list[tuple[list[int], list[ContextWritten], list[StreamWritten]]] = [([], [], []) for _ in (0, *starts)]
    for id in aside:
        parts[0][0].append(id)
    for attempt in invocation.attempts:
        for id in attempt.sent:
            parts[bisect_left(starts, id)][0].append(id)
        for write in attempt.written:
            parts[bisect_left(starts, write.seq)][1].append(write)
        for item in attempt.streamed:
            parts[bisect_left(starts, item.seq)][2].append(item)
    heads = [(invocation.id, None), *((each.seq, each) for each in collected)]
    for (id, head), (sent, written, streamed) in zip(heads, parts, strict=True):
        yield Act(id, invocation, head, tuple(sent), tuple(written), tuple(streamed))


class _Search:
    """The matching, while it is being found."""

    def __init__(self, a: Run, b: Run) -> None:
        self.a, self.b = a, b
        self.acts_a, self.acts_b = list_acts(a), list_acts(b)
        self.found = Matching({}, {}, {}, [], [], [], [], [], [])
        self.next: list[int] = []
        self.free = {id: act for id, act in self.acts_b.items() if act.collected is not None}
        self.same: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for id, act in self.free.items():
            self.same[_place(act), tuple(sorted(_members(act)))].append(id)

    def join(self, one: int, other: int) -> None:
        """Match two acts; what they caused is looked at in the order of the first run."""
        self.found.acts[one] = other
        heappush(self.next, one)

    def follow(self) -> None:
        """Match what the matched acts caused."""
        while self.next:
            one = heappop(self.next)
            self.join_events(one, self.acts_a[one].sent, self.acts_b[self.found.acts[one]].sent)

    def join_events(self, act: int, ours: Sequence[int], theirs: Sequence[int]) -> None:
        found = self.found
        mine, others = _group(self.a, ours), _group(self.b, theirs)
        for kind, ids in mine.items():
            pairs, lost, added = _pair(self.a, self.b, ids, others.pop(kind, []))
            found.events.update(pairs)
            found.lost.extend(lost)
            found.added.extend((act, id) for id in added)
            for one, other in pairs:
                self.join_takers(self.a.events[one], self.b.events[other])
        found.added.extend((act, id) for ids in others.values() for id in ids)

    def join_takers(self, one: Event, other: Event) -> None:
        found = self.found
        mine, others = _by_step(self.a, one.takers), _by_step(self.b, other.takers)
        for step, ids in mine.items():
            theirs = others.pop(step, [])
            for left, right in zip(ids, theirs, strict=False):
                found.invocations[left] = right
                self.join(left, right)
            found.undone.extend(ids[len(theirs) :])
            found.done.extend((one.id, id) for id in theirs[len(ids) :])
        found.done.extend((one.id, id) for ids in others.values() for id in ids)

    def join_collections(self) -> None:
        """Match collections: those of the same events first, then in order."""
        waiting = [act for act in self.acts_a.values() if act.collected is not None]
        while waiting:
            rest = [act for act in waiting if not self.join_same(act)]
            if len(rest) == len(waiting):
                self.join_any(rest.pop(0))
            waiting = rest

    def join_same(self, act: Act) -> bool:
        wanted = tuple(sorted(self.found.events.get(id, min(0, id)) for id in _members(act)))
        return self.join_collection(act, self.same.get((_place(act), wanted), ()))

    def join_any(self, act: Act) -> None:
        if not self.join_collection(act, [id for id, other in self.free.items() if _place(other) == _place(act)]):
            self.found.uncollected.append(act.id)

    def join_collection(self, act: Act, ids: Iterable[int]) -> bool:
        """Match a collection with the first of these that is free."""
        for id in ids:
            if self.free.pop(id, None) is not None:
                self.join(act.id, id)
                self.follow()
                return True
        return False


def match(a: Run, b: Run) -> Matching:
    """Find what belongs together in two runs."""
    search = _Search(a, b)
    search.join(0, 0)
    search.follow()
    search.join_collections()
    search.found.collected.extend(search.free)
    return search.found


def _place(act: Act) -> tuple[str, str]:
    """Name the step and the buffer of a collection."""
    step = act.invocation.step if act.invocation is not None else ""
    return step, act.collected.buffer if act.collected is not None else ""


def _members(act: Act) -> tuple[int, ...]:
    return act.collected.events if act.collected is not None else ()


def _group(run: Run, ids: Sequence[int]) -> dict[tuple[object, ...], list[int]]:
    groups: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for id in ids:
        event = run.events[id]
        # an event of an earlier run has nothing but its number
        groups[event.type, event.target, event.aside, 0 if event.type else id].append(id)
    return groups


def _by_step(run: Run, ids: Sequence[int]) -> dict[str, list[int]]:
    steps: defaultdict[str, list[int]] = defaultdict(list)
    for id in ids:
        steps[run.invocations[id].step].append(id)
    return steps


def _pair(
    a: Run, b: Run, ours: Sequence[int], theirs: Sequence[int]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pair events of one kind: those that say the same first, the others in order."""
    if len(ours) == len(theirs) == 1:
        return [(ours[0], theirs[0])], [], []
    pairs: dict[int, int] = {}
    taken = set()
    known = _by_content(b.events, theirs)
    for one in ours:
        same = known.get(write_key(a.events[one].body))
        if same:
            pairs[one] = same.pop()
            taken.add(pairs[one])
    left = [id for id in ours if id not in pairs]
    right = [id for id in theirs if id not in taken]
    pairs.update(zip(left, right, strict=False))
    return sorted(pairs.items()), left[len(right) :], right[len(left) :]


def _by_content(events: Mapping[int, Event], ids: Sequence[int]) -> dict[bytes, list[int]]:
    known: defaultdict[bytes, list[int]] = defaultdict(list)
    for id in reversed(ids):  # the first one is taken first
        known[write_key(events[id].body)].append(id)
    return known
