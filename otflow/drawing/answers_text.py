"""Answers text: what was found out about runs, as lines of styled text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from otflow.drawing.line import UNICODE, Line, Piece, Signs, Style, clean, cut, measure, wrap
from otflow.drawing.quantities import count, format_duration, name_type, show_value
from otflow.records.answers import Advice, Blame, Coverage, CriticalPath, Spent, StepTime, Write

__all__ = ["draw_advice", "draw_blame", "draw_coverage", "draw_path", "draw_spent"]

_DOING: dict[str, Style] = {"running": "good", "queued": "wait", "waiting": "wait", "delayed": "bad", "paused": "faint"}


def draw_path(path: CriticalPath, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw the critical path of a run, one part a line.

    Args:
        path: the path.
        width: the columns that a line may take; default 80.
        signs: what it is drawn with; default `UNICODE`.
    """
    if path.doubts:
        return [(Piece("critical path: not known", "title"),), *_draw_doubts(path.doubts, width)]
    share = f" of {format_duration(path.wall)}" if path.wall else ""
    lines: list[Line] = [(Piece(f"critical path: {format_duration(path.duration)}{share}", "title"),)]
    for each in path.segments:
        part = f"{100 * each.duration / path.wall:4.0f} %" if path.wall else ""
        name = f"{clean(each.step)} #{each.invocation}" if each.step else "the outside"
        again = f" attempt {each.attempt}" if each.attempt > 1 else ""
        lines.append(
            (
                Piece(f"{format_duration(each.duration):>9} {part}  ", "faint"),
                Piece(f"{each.doing:<8} ", _DOING[each.doing]),
                Piece(name, "step"),
                Piece(again, "faint"),
            )
        )
    if not path.whole:
        lines.append((Piece("This is not the whole path: not all of it is recorded.", "bad"),))
    return [cut(line, width, signs.more) for line in lines]


def draw_spent(spent: Spent, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw where the time of a run went, one step a line.

    Args:
        spent: the times.
        width: the columns that a line may take; default 80.
        signs: what it is drawn with; default `UNICODE`.
    """
    if spent.doubts:
        numbers = [[clean(each.step) or "?", f"{each.attempts:,}"] for each in (*spent.steps, spent.total)]
        numbers[-1][0] = "all steps"
        head: Line = (Piece("where time went: not known", "title"),)
        return [cut(line, width, signs.more) for line in (head, *_table(["step", "attempts"], numbers))]
    names = ("running", "queued", "waiting", "delayed", "paused")
    rows = [[clean(each.step) or "?", *_times(each, names)] for each in spent.steps]
    rows.append(["all steps", *_times(spent.total, names)])
    lines: list[Line] = [
        (Piece(f"{format_duration(spent.wall)}, at least one step running for {format_duration(spent.busy)}", "title"),)
    ]
    lines += _table(["step", *names], rows)
    lines += [(Piece(f"{reason} for {format_duration(time)}: nothing ran", "wait"),) for reason, time in spent.pauses]
    return [cut(line, width, signs.more) for line in lines]


def _draw_doubts(doubts: Iterable[str], width: int) -> Iterator[Line]:
    for doubt in doubts:
        yield from wrap((Piece(clean(doubt), "wait"),), width)


def _times(time: StepTime, names: Iterable[str]) -> list[str]:
    return [format_duration(value) if (value := getattr(time, name)) else "" for name in names]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    widths = [max(map(measure, column)) for column in zip(heads, *rows, strict=True)]
    for style, row in (("faint", heads), *(("", row) for row in rows)):
        first, *rest = row
        right = "".join(f"  {' ' * (size - measure(cell))}{cell}" for cell, size in zip(rest, widths[1:], strict=True))
        name: Style = "faint" if style else "step"
        yield (Piece(first + " " * (widths[0] - measure(first)), name), Piece(right, "faint" if style else ""))


def draw_blame(blame: Blame, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw who wrote to a place of the state, the last write first.

    Args:
        blame: the writes.
        width: the columns that a line may take; default 80.
        signs: what it is drawn with; default `UNICODE`.
    """
    place = clean(blame.path) or "the state"
    if not blame.writes:
        lines: list[Line] = [(Piece(f"Nothing is recorded that was written to {place}.", "title"),)]
    else:
        start = None if blame.astray else blame.writes[0].at
        lines = [(Piece(f"{place}: {count(len(blame.writes), 'write')}, the last one first", "title"),)]
        lines += [_draw_write(write, blame.path, start) for write in reversed(blame.writes)]
    for gap in blame.doubts:
        lines += wrap((Piece(clean(gap.reason), "wait"),), width)
    return [cut(line, width, signs.more) for line in lines]


def _draw_write(write: Write, path: str, start: int | None) -> Line:
    by = f"{clean(write.step) or '?'} #{write.invocation}" if write.invocation else "outside"
    who = "brought along" if write.carried else by
    again = f" attempt {write.attempt}" if write.attempt > 1 else ""
    value = show_value(write.value) if write.value is not None else "taken away"
    where = f"{clean(write.path) or 'the whole state'} = " if write.path != path and not write.carried else ""
    after = f"+{format_duration(write.at - start)}" if start is not None else "?"
    return (
        Piece(f"{write.seq:>6}  {after:<9}  ", "mark"),
        Piece(who, "step"),
        Piece(f"{again}  ", "faint"),
        Piece(where, "place"),
        Piece(value, "value"),
    )


def draw_coverage(coverage: Coverage, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw which ways runs have taken; those that none has taken stand first.

    Args:
        coverage: the ways.
        width: the columns that a line may take; default 80.
        signs: what it is drawn with; default `UNICODE`.
    """
    known = [edge for edge in coverage.edges if edge.known]
    taken = len(known) - len(coverage.never)
    lines: list[Line] = [
        (Piece(f"{taken} of {count(len(known), 'edge')} taken by {count(coverage.runs, 'run')}", "title"),)
    ]
    for edge in coverage.edges:
        mark = Piece(f"{signs.good} ", "good") if edge.taken else Piece(f"{signs.bad} ", "bad")
        told = f"  {edge.taken:,} {signs.times} in {count(edge.runs, 'run')}" if edge.taken else "  never"
        old = "" if edge.known else ", which the graph does not have"
        lines.append(
            (
                mark,
                Piece(clean(name_type(edge.event)), "event"),
                Piece(signs.into, "faint"),
                Piece(clean(edge.step), "step"),
                Piece(f"{told}{old}", "faint"),
            )
        )
    if coverage.partial:
        text = f"{count(coverage.partial, 'run')} not known in full: what was never taken may be missing there."
        lines.append((Piece(text, "wait"),))
    return [cut(line, width, signs.more) for line in lines]


def draw_advice(advice: Sequence[Advice], *, width: int = 80) -> list[Line]:
    """Draw what recorded failures say about trying again.

    Args:
        advice: the advice, step by step.
        width: the columns that a line may take; default 80.
    """
    lines: list[Line] = []
    for each in advice:
        lines += [(Piece(clean(each.step), "step"), Piece(f"  {count(each.failed, 'invocation')} failed", "faint"))]
        for row in each.errors:
            told = f": {row.failures:,} failures, {row.retried:,} retried, {row.recovered:,} recovered"
            lines.append((Piece("  "), Piece(clean(name_type(row.type)), "bad"), Piece(told, "faint")))
        lines += [(Piece("  "), *line) for line in wrap((Piece(clean(each.reason)),), max(20, width - 2))]
        if each.policy:
            style: Style = "good" if each.enough else "wait"
            lines += [(Piece("    "), *line) for line in wrap((Piece(each.policy, style),), max(20, width - 4))]
    return lines or [(Piece("No recorded step has failed.", "good"),)]
