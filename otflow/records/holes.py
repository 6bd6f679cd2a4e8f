"""Holes: where in the numbers of a run records are missing, and what that leaves unknown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["Holes"]

_ENDLESS = 1 << 62


class Holes:
    """The missing numbers of a run.

    Args:
        ranges: the first and the last number of each stretch, 0 for the last one if nobody knows; in order, and apart.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        pairs = [(first, last or _ENDLESS) for first, last in ranges]
        self._firsts = [first for first, _ in pairs]
        self._lasts = [last for _, last in pairs]

    def between(self, first: int, last: int = 0) -> bool:
        """Tell whether a number may be missing from one number to another, these two included. O(log n).

        Args:
            first: the first number.
            last: the last number; default 0: there is none.
        """
        place = bisect_right(self._firsts, last or _ENDLESS)
        return place > 0 and self._lasts[place - 1] >= first
