"""Clues: what is known about records that are missing, found for each gap without looking at every clue.

Whoever reads records meets spans that are cut and lines that cannot be read, and says so. Of all that may be about a
gap the narrowest is told first: it is the most likely to be the reason.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

__all__ = ["Gap", "explain"]

_MOST = 3  # sentences that are told about one gap


class Gap(NamedTuple):
    """Something that is missing.

    Args:
        first: the number of the first record that is missing, or is not whole.
        last: the number of the last one; 0 if nobody knows.
        reason: a sentence that tells what is missing, and why as far as that is known.
    """

    first: int
    last: int
    reason: str


def explain(clues: Sequence[Gap], holes: Iterable[tuple[int, int]]) -> list[str]:
    """Choose what is known about each of some stretches of missing records. O(log n) for each, seen over all.

    Args:
        clues: what is known: a sentence, and the first and the last number that it may be about; one without a last
            number may be about any.
        holes: the first and the last numbers of the stretches, in order and apart; 0 for the last one if nobody knows.

    Returns:
        A text for each of them, which may be empty.
    """
    anywhere = [clue.reason for clue in clues if not clue.last]
    ranged = sorted((min(clue[:2]), max(clue[:2]), place) for place, clue in enumerate(clues) if clue.last)
    firsts, lasts = [first for first, _, _ in ranged], sorted(last for _, last, _ in ranged)
    open_ones: list[tuple[int, int, int]] = []  # by how much each is about, and by its place; then where it ends
    taken = 0
    texts = []
    for first, last in holes:
        while taken < len(ranged) and ranged[taken][0] <= last:
            begin, end, place = ranged[taken]
            heappush(open_ones, (end - begin, place, end))
            taken += 1
        chosen = _choose(open_ones, first) if last else []
        number = bisect_right(firsts, last) - bisect_left(lasts, first) if last else 0
        told = [*(clues[place].reason for place in chosen), *anywhere][:_MOST]
        more = number + len(anywhere) - len(told)
        texts.append(" ".join([*told, *([f"And {more} more such."] if more > 0 else [])]))
    return texts


def _choose(open_ones: list[tuple[int, int, int]], first: int) -> list[int]:
    """Return the places of the narrowest clues that reach up to a number; those that do not are dropped for good."""
    found: list[tuple[int, int, int]] = []
    while open_ones and len(found) < _MOST:
        each = heappop(open_ones)
        if each[2] >= first:
            found.append(each)
    for each in found:
        heappush(open_ones, each)
    return [place for _, place, _ in found]
