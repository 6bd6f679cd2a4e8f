"""Certainty: what belongs together in two runs for certain, although records of them are missing.

A thing is sure if it would be laid beside the same thing, were all records there. Where a record may be missing that
changes this, it is not; nothing that follows from it is then either. It decides nothing about differences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from otflow.records.execution import Execution
from otflow.records.holes import Holes
from otflow.records.matching import Act, Matching
from otflow.records.record import EventReceived, EventSent, RunFailed, RunStarted, StreamWritten, WaitEnded
from otflow.records.values import write_key

__all__ = ["Certainty"]


class _Side:
    """What may be missing of one of the runs."""

    def __init__(self, execution: Execution) -> None:
        self.run = execution.history
        self.whole = execution.complete
        self.holes = Holes((gap.first, gap.last) for gap in execution.gaps)
        self.records = {record.seq: record for record in execution.records}
        first, second = [*execution.records[:2], None, None][:2]
        begun = isinstance(first, RunStarted) and isinstance(second, EventReceived) and second.seq == first.seq + 1
        self.start = second.seq if begun and second is not None else 0
        self._closed: dict[int, bool] = {0: self.whole}

    def is_closed(self, invocation: int) -> bool:
        """Tell whether all is recorded that an invocation did; of the outside (0) too."""
        if invocation not in self._closed:
            self._closed[invocation] = not self.holes.between(invocation, self._find_end(invocation))
        return self._closed[invocation]

    def _find_end(self, invocation: int) -> int:
        """Return the number up to which an invocation may have records; 0 if it may always have more."""
        attempt = self.run.invocations[invocation].attempts[-1]  # what is laid beside something was begun
        seq = attempt.last
        if attempt.outcome == "completed":
            following = self.records.get(seq + 1)
            while isinstance(
                following, EventSent | StreamWritten | WaitEnded
            ):  # what it returned, and what that led to
                seq += 1
                following = self.records.get(seq + 1)
            return seq + 1
        ends = attempt.outcome == "failed" and isinstance(self.records.get(seq + 1), EventSent | RunFailed)
        return seq + 1 if ends else 0


class Certainty:
    """What is certain of two runs.

    Args:
        a, b: the runs.
        found: what belongs together in them, as far as is known.
        acts: what was done in both.

    Attributes:
        whole: whether all records of both are there, so that everything is certain.
    """

    def __init__(
        self, a: Execution, b: Execution, found: Matching, acts: tuple[Mapping[int, Act], Mapping[int, Act]]
    ) -> None:
        self._sides = _Side(a), _Side(b)
        self._found, self._acts = found, acts
        self.whole = a.complete and b.complete
        self._acts_sure: set[int] = set()
        self._events: set[int] = set()
        self._invocations: set[int] = set()
        if not self.whole:
            self._spread()

    def has_act(self, act: int) -> bool:
        """Tell whether an act of the first run belongs to that of the second one for certain."""
        return self.whole or act in self._acts_sure

    def has_event(self, event: int) -> bool:
        """Tell whether an event of the first run belongs to that of the second one for certain."""
        return self.whole or event in self._events

    def has_invocation(self, invocation: int) -> bool:
        """Tell whether an invocation of the first run belongs to that of the second one for certain."""
        return self.whole or invocation in self._invocations

    def is_closed(self, side: int, invocation: int) -> bool:
        """Tell whether all is recorded that an invocation of a side (0 or 1) did."""
        return self.whole or self._sides[side].is_closed(invocation)

    def is_placed(self, side: int, invocation: int, seq: int) -> bool:
        """Tell whether it is certain to which act of an invocation a record belongs: that no collection is missing."""
        return self.whole or not invocation or not self._sides[side].holes.between(invocation, seq)

    def is_complete(self, side: int) -> bool:
        """Tell whether all records of a side are there."""
        return self._sides[side].whole

    def is_known(self, side: int, first: int) -> bool:
        """Tell whether all records of a side are there from a number on."""
        return self.whole or not self._sides[side].holes.between(first)

    def is_start(self, one: int, other: int) -> bool:
        """Tell whether two events are those with which the runs began."""
        return bool(one) and (one, other) == (self._sides[0].start, self._sides[1].start)

    def _spread(self) -> None:
        """Follow the causes from the outside, as long as each step is certain."""
        waiting: defaultdict[int, set[int]] = defaultdict(set)  # the events of which it is not certain, by collection
        members: defaultdict[int, list[int]] = defaultdict(list)
        for each in self._acts[0].values():
            for event in each.collected.events if each.collected is not None and each.id in self._found.acts else ():
                waiting[each.id].add(event)
                members[event].append(each.id)
        following = [0]
        while following:
            act = following.pop()
            self._acts_sure.add(act)
            for event in self._spread_events(act):
                self._events.add(event)
                following += self._spread_work(event)
                for collection in members[event]:
                    waiting[collection].discard(event)
                    if not waiting[collection] and self._is_same_collection(collection):
                        following.append(collection)

    def _spread_events(self, act: int) -> list[int]:
        """Return the events of an act that belong to their others for certain."""
        ours, theirs = self._acts[0][act], self._acts[1][self._found.acts[act]]
        ids = [each.invocation.id if each.invocation is not None else 0 for each in (ours, theirs)]
        closed = [side.is_closed(id) for side, id in zip(self._sides, ids, strict=True)]
        pairs = self._found.events
        paired = [(id, pairs[id]) for id in ours.sent if id in pairs]
        if all(closed):
            return [one for one, _ in paired]
        counts = [Counter(self._key(number, id) for id in each.sent) for number, each in enumerate((ours, theirs))]
        return [
            one
            for one, other in paired
            if self.is_start(one, other)
            or (
                self._sides[0].run.events[one].type
                and self._key(0, one) == self._key(1, other)
                and self.is_placed(0, ids[0], one)
                and self.is_placed(1, ids[1], other)
                and any(shut and some[self._key(0, one)] == 1 for shut, some in zip(closed, counts, strict=True))
            )
        ]

    def _key(self, side: int, id: int) -> tuple[str, str, bool, bytes]:
        event = self._sides[side].run.events[id]
        return event.type, event.target, event.aside, write_key(event.body)

    def _spread_work(self, event: int) -> list[int]:
        """Return the invocations on an event that belong to their others for certain: one for each step."""
        runs = self._sides[0].run, self._sides[1].run
        takers = [run.events[id].takers for run, id in zip(runs, (event, self._found.events[event]), strict=True)]
        steps = [Counter(run.invocations[id].step for id in ids) for run, ids in zip(runs, takers, strict=True)]
        sure = []
        for id in takers[0]:
            step = runs[0].invocations[id].step
            if id in self._found.invocations and steps[0][step] == steps[1][step] == 1:
                sure.append(id)
        self._invocations.update(sure)
        return sure

    def _is_same_collection(self, id: int) -> bool:
        """Tell whether two collections are of the same events, of which each belongs to its other for certain."""
        ours, theirs = self._acts[0][id].collected, self._acts[1][self._found.acts[id]].collected
        assert ours is not None
        assert theirs is not None
        wanted = sorted(self._found.events.get(event, 0) for event in ours.events)
        return wanted == sorted(theirs.events)
