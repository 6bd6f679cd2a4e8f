"""Diff text: what differs between two runs, as lines of styled text.

It is given what was found and lays it out; the first difference stands at the top, in a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

from otflow.drawing.line import UNICODE, Line, Piece, Signs, Style, clean, cut, measure, wrap
from otflow.drawing.quantities import count, format_duration
from otflow.records.diff import Difference, Side
from otflow.records.points import Point

__all__ = ["draw_difference"]

_STYLES: dict[str, Style] = {"same": "good", "order": "wait", "different": "bad", "unknown": "wait"}
_WORTH_TELLING = (0.8, 1.25)  # an attempt that took between so many times as long took as long


def draw_difference(difference: Difference, *, width: int = 80, signs: Signs = UNICODE, most: int = 20) -> list[Line]:
    """Draw what differs between two runs.

    Args:
        difference: what was found.
        width: the columns that a line may take; default 80, at least 40 are assumed.
        signs: what it is drawn with; default `UNICODE`.
        most: how many differences, moves, steps and notes are shown of each; default 20.
    """
    width = max(40, width)
    lines = [_head("first ", difference.a), _head("second", difference.b), ()]
    lines += _say((Piece(clean(difference.sentence), _STYLES[difference.verdict]),), "", width)
    lines += _list("differences", difference.points[:most], len(difference.points) + difference.more, width, signs)
    doubtful = len(difference.unproven) + difference.more_unproven
    lines += _list("possible differences", difference.unproven[:most], doubtful, width, signs)
    lines += _list("moves", difference.moves[:most], len(difference.moves) + difference.more_moves, width, signs)
    lines += _draw_timing(difference, most, signs)
    for note in difference.notes[:most]:
        lines += _say((Piece(f"{signs.note} {clean(note)}", "wait"),), "  ", width)
    return [cut(line, width, signs.more) for line in lines]


def _head(which: str, side: Side) -> Line:
    style: Style = "good" if side.outcome == "completed" else "wait" if side.outcome in ("open", "paused") else "bad"
    told = f"  {count(side.records, 'record')}  {'?' if side.astray else format_duration(side.duration)}"
    return (
        Piece(f"{which}  ", "faint"),
        Piece(clean(side.workflow) or "?", "title"),
        Piece(f"  run {clean(side.run)[:8]}  ", "faint"),
        Piece(side.outcome, style),
        Piece(told, "faint"),
    )


def _list(what: str, points: tuple[Point, ...], number: int, width: int, signs: Signs) -> Iterator[Line]:
    if not points:
        return
    yield ()
    yield (Piece(f"{number:,} {what[:-1] if number == 1 else what}", "title"),)
    widest = max(len(point.kind) for point in points)
    for point in points:
        head = f"{_number(point):>9}  {point.kind:<{widest}}  "
        first, *rest = wrap((Piece(clean(point.sentence)),), max(16, width - measure(head)))
        yield (Piece(head[:9], "mark"), Piece(head[9:], "event"), *first)
        for line in rest:
            yield (Piece(" " * measure(head)), *line)
    if number > len(points):
        yield (Piece(f"{signs.more} {number - len(points):,} more", "faint"),)


def _number(point: Point) -> str:
    return f"{point.a or '-'}:{point.b or '-'}"


def _draw_timing(difference: Difference, most: int, signs: Signs) -> Iterator[Line]:
    changed = [each for each in difference.timing if each.ratio is not None and _is_other(each.ratio)]
    if difference.ratio is not None and difference.verdict != "same":
        yield ()
        yield (Piece(f"The second run took {difference.ratio:.3g} times as long.", "title"),)
    if not changed:
        return
    widest = max(measure(clean(each.step)) for each in changed[:most])
    for each in changed[:most]:
        worked = f"{format_duration(each.worked[0])}{signs.into}{format_duration(each.worked[1])}"
        yield (
            Piece(f"  {clean(each.step)}{' ' * (widest - measure(clean(each.step)))}", "step"),
            Piece(f"  {signs.times} {each.ratio:.3g}"),
            Piece(f"  worked {worked}  {each.attempts[0]}{signs.into}{count(each.attempts[1], 'attempt')}", "faint"),
        )


def _is_other(ratio: float) -> bool:
    low, high = _WORTH_TELLING
    return not low <= ratio <= high


def _say(line: Line, below: str, width: int) -> Iterator[Line]:
    first, *rest = wrap(line, width - len(below))
    yield first
    for each in rest:
        yield (Piece(below), *each)
