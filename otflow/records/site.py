"""The site on which two runs lie beside each other: what is certain of them, and what was met while comparing them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.certainty import Certainty
from otflow.records.execution import Execution
from otflow.records.history import Invocation, Run
from otflow.records.matching import Act, Matching, list_acts
from otflow.records.points import Point
from otflow.records.values import Change, compare, write_key

__all__ = ["Site", "doubt", "invocation_of"]

_Written: TypeAlias = tuple[str, bytes, bool]
"""A write to the state: the step, the value, and whether it took something away."""


class Site:
    """Two runs beside each other.

    Args:
        a, b: the runs.
        found: what belongs together in them.
        ignore: fields of payloads that may differ.

    Attributes:
        acts: what was done in both runs.
        sure: what is certain of that.
        moved: differences of order that were met on the way.
        unknown: of how many payloads something was not compared, by the reason.
        vague: how many differences were met of which it is not certain that they are of things that belong together.
    """

    def __init__(self, a: Execution, b: Execution, found: Matching, ignore: frozenset[str]) -> None:
        self.a, self.b, self.found, self.ignore = a.history, b.history, found, ignore
        self.acts = list_acts(self.a), list_acts(self.b)
        self.sure = Certainty(a, b, found, self.acts)
        self.moved: list[Point] = []
        self.unknown: Counter[str] = Counter()
        self.vague = 0 if self.sure.whole else _count_lost(self.a) + _count_lost(self.b)

    @cached_property
    def _writes(self) -> tuple[dict[str, list[_Written]], dict[str, list[_Written]]]:
        return _tell_writes(self.a), _tell_writes(self.b)

    def is_only_order(self, path: str) -> bool:
        """Tell whether the same steps gave a path of the state the same values in both runs, one after the other."""
        return self.sure.whole and self._writes[0].get(path) == self._writes[1].get(path)

    def may_be_order(self, path: str) -> bool:
        """Tell whether that may be so, had all been recorded."""
        ours, theirs = (side.get(path, []) for side in self._writes)
        if self.sure.is_complete(0):
            return _is_part(theirs, ours)
        return not self.sure.is_complete(1) or _is_part(ours, theirs)

    def is_closed(self, one: Act | Invocation, other: Act | Invocation) -> bool:
        """Tell whether all is recorded that was done by an invocation in both runs, or by those of two acts."""
        return all(self.sure.is_closed(side, invocation_of(each)) for side, each in enumerate((one, other)))

    def skip(self) -> None:
        """Count a difference about which nothing can be told for certain, because records are missing."""
        self.vague += not self.sure.whole

    def tell_if(self, point: Point, *, closed: bool) -> Iterator[Point]:
        """Tell a difference between two things that stand at one place, unless one before them may be missing."""
        if closed:
            yield point
        else:
            self.skip()

    def compare(self, left: Body | None, right: Body | None) -> Change | None:
        """Find the first difference of two payloads, and count what cannot be compared."""
        change, unknown = compare(left, right, self.ignore)
        if unknown:
            self.unknown[unknown] += 1
        return change


def _count_lost(run: Run) -> int:
    """Count the work of which nobody knows what it was done on, so that nothing is laid beside it."""
    return sum(not (each.event and run.events[each.event].type) for each in run.invocations.values())


def doubt(point: Point, *, proven: bool) -> Point:
    """Return a difference as one that is proven, or is not."""
    return msgspec.structs.replace(point, proven=proven)


def invocation_of(each: Act | Invocation) -> int:
    """Return the id of the invocation that did something; 0 for the outside."""
    if isinstance(each, Invocation):
        return each.id
    return each.invocation.id if each.invocation is not None else 0


def _is_part(some: Sequence[_Written], others: Sequence[_Written]) -> bool:
    """Tell whether writes come in this order among others; a step that is not known may be any."""
    rest = iter(others)
    return all(
        any(step in ("", other[0]) and told == other[1:] for other in rest)
        for step, told in ((each[0], each[1:]) for each in some)
    )


def _tell_writes(run: Run) -> dict[str, list[_Written]]:
    writes = [("", write) for write in run.written]
    for each in run.invocations.values():
        writes += [(each.step, write) for attempt in each.attempts for write in attempt.written]
    told: defaultdict[str, list[_Written]] = defaultdict(list)
    for step, write in sorted(writes, key=lambda each: each[1].seq):
        told[write.path].append((step, write_key(write.value), write.deleted))
    return told
