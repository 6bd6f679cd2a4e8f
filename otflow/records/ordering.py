"""Ordering: what happened in both of two runs, but in another order.

Of the work that both runs did, the longest series that came in the same order stands still; what is not in it has
moved. So the fewest possible moves are told.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from otflow.records.history import Run
from otflow.records.matching import Matching
from otflow.records.points import Point, name_invocation

__all__ = ["find_moves", "find_still"]


def find_moves(a: Run, b: Run, found: Matching) -> Iterator[Point]:
    """Find the invocations that began in another order.

    Args:
        a: the first run.
        b: the second run.
        found: what belongs together in them.
    """
    pairs = sorted(found.invocations.items())
    still = find_still([other for _, other in pairs])
    firsts, seconds = [pairs[place][0] for place in still], [pairs[place][1] for place in still]
    staying = set(still)
    for place, (one, other) in enumerate(pairs):
        if place in staying:
            continue
        here, there = bisect_left(firsts, one), bisect_left(seconds, other)
        # it has passed at least one of those that stand still, or it would be one of them
        passed = here if here < there else here - 1
        order = ("before", "after") if here < there else ("after", "before")
        sentence = (
            f"{name_invocation(a, one)} began {order[0]} {name_invocation(a, firsts[passed])}; in the second run "
            f"{name_invocation(b, other)} began {order[1]} {name_invocation(b, seconds[passed])}."
        )
        yield Point(kind="order", sentence=sentence, at=one, a=one, b=other)


def find_still(numbers: Sequence[int]) -> list[int]:
    """Return the places of the longest rising series in a row of different numbers."""
    tails: list[int] = []  # the smallest number in which a series of each length ends
    places: list[int] = []
    before: list[int] = []
    for place, number in enumerate(numbers):
        length = bisect_left(tails, number)
        before.append(places[length - 1] if length else -1)
        tails[length : length + 1] = [number]
        places[length : length + 1] = [place]
    found = []
    place = places[-1] if places else -1
    while place >= 0:
        found.append(place)
        place = before[place]
    return found[::-1]
