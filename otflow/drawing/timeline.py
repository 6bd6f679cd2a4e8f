"""Timeline: the attempts of a run as bars in rows, and a scale on which long silence is short.

Attempts of one step that go on at once lie in rows below each other. A stretch in which nothing worked, because the run
waited for a person or for a retry, may be days between milliseconds: it is drawn short, and marked.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from otflow.drawing.picture import Bar, Picture, Span

__all__ = ["Lane", "Stretch", "Timeline", "lay_out_time"]

_LONG = 0.3  # of all the time in which something worked: a silence that is longer is shortened
_SHORT = 0.08  # to so much of it
_STUB = 0.02  # of all the time: the room of a bar whose end nobody knows


class Lane(NamedTuple):
    """The rows of one step: from `first` on, `rows` of them."""

    name: str
    first: int
    rows: int


class Stretch(NamedTuple):
    """A stretch of time and the part of the scale on which it is drawn; `cut` if it is drawn shorter than it was."""

    start: int
    end: int
    left: float
    right: float
    cut: bool


class Timeline(NamedTuple):
    """Bars in rows.

    Args:
        lanes: the steps, in the order in which they began.
        rows: the row of each bar of the picture.
        stretches: the scale, without holes, from 0 to 1.
    """

    lanes: tuple[Lane, ...]
    rows: tuple[int, ...]
    stretches: tuple[Stretch, ...]


def lay_out_time(picture: Picture) -> Timeline:
    """Say in which rows the bars of a picture lie, and on which scale."""
    of: defaultdict[str, list[int]] = defaultdict(list)
    order = sorted(range(len(picture.bars)), key=lambda place: (picture.bars[place].start, place))
    for place in order:
        of[picture.bars[place].lane].append(place)
    rows = [0] * len(picture.bars)
    lanes: list[Lane] = []
    first = 0
    times = [time for bar in picture.bars for time in (bar.start, bar.end)]
    stub = int((max(times) - min(times)) * _STUB) if times else 0
    for name, places in of.items():
        number = _pack([picture.bars[place] for place in places], places, rows, first, stub)
        lanes.append(Lane(name, first, number))
        first += number
    return Timeline(tuple(lanes), tuple(rows), _scale(picture.bars))


def _pack(bars: Sequence[Bar], places: Sequence[int], rows: list[int], first: int, stub: int) -> int:
    """Put bars, sorted by start, into the fewest rows; return how many."""
    busy: list[tuple[int, int]] = []  # until when, and which row
    free: list[int] = []
    used = 0
    for bar, place in zip(bars, places, strict=True):
        while busy and busy[0][0] <= bar.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            row = heapq.heappop(free)
        else:
            row, used = used, used + 1
        rows[place] = first + row
        heapq.heappush(busy, (max(bar.end, bar.start + (stub if bar.open else 0), bar.start + 1), row))
    return used


def _scale(bars: Sequence[Bar]) -> tuple[Stretch, ...]:
    if not bars:
        return ()
    start = min(bar.start for bar in bars)
    end = max(start + 1, *(bar.end for bar in bars))
    spans = sorted(span for bar in bars for span in _working(bar))
    busy: list[Span] = []
    for span in spans:
        if busy and span.start <= busy[-1].end:
            busy[-1] = Span(busy[-1].start, max(busy[-1].end, span.end))
        else:
            busy.append(span)
    worked = sum(span.end - span.start for span in busy)
    cuts = [
        Span(before.end, after.start)
        for before, after in pairwise(busy)
        if worked and after.start - before.end > worked * _LONG
    ]
    if busy and worked and end - busy[-1].end > worked * _LONG:
        cuts.append(Span(busy[-1].end, end))
    return _stretch(start, end, cuts, worked * _SHORT)


def _working(bar: Bar) -> list[Span]:
    """Give the times in which an attempt did not stand still."""
    spans: list[Span] = []
    at = bar.start
    for stood in sorted(bar.stood):
        if stood.start > at:
            spans.append(Span(at, min(stood.start, bar.end)))
        at = max(at, stood.end)
    if at <= bar.end:
        spans.append(Span(at, bar.end))
    return spans


def _stretch(start: int, end: int, cuts: Sequence[Span], short: float) -> tuple[Stretch, ...]:
    found: list[tuple[int, int, float, bool]] = []
    at = start
    for cut in cuts:
        if cut.start > at:
            found.append((at, cut.start, float(cut.start - at), False))
        found.append((cut.start, cut.end, short, True))
        at = cut.end
    if at < end:
        found.append((at, end, float(end - at), False))
    total = sum(size for _, _, size, _ in found)
    stretches = []
    left = 0.0
    for first, last, size, cut_short in found:
        right = left + size / total
        stretches.append(Stretch(first, last, left, right, cut_short))
        left = right
    return tuple(stretches)
