"""The causal tree of a run as lines of text.

A step stands under the step whose event it works on: `Event > step #number`. Where several hang under one, they branch
off; where only one does, it follows below (`v`), however long the chain is. Two columns at the right say how long each
waited and worked. Many that look alike are drawn as the first of them and a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from otflow.drawing.details import Row, describe, describe_error, describe_root, describe_writes, head_of, times_of
from otflow.drawing.figure import Figure, Group, chain_of, group_alike, lay_out
from otflow.drawing.line import UNICODE, Line, Piece, Signs, clean, cut, measure, measure_line, wrap
from otflow.drawing.quantities import count, enumerate_some, format_duration
from otflow.records.history import Event, Run, summarize

__all__ = ["draw_run", "draw_summary"]

_COLUMN = 10
_NARROW = 52  # columns; below that there is no room for the time that was waited
_MIN_ASIDE = 12
_LONG_CHAIN = 12
_KEPT = (6, 4)  # of a long chain: how many are drawn at its beginning and at its end
_MAX_ROWS = 3


class _Sheet:
    """The lines so far, and the room that there is for them."""

    def __init__(self, figure: Figure, width: int, signs: Signs) -> None:
        self.figure = figure
        self.signs = signs
        self.width = width
        self.columns = 2 if width >= _NARROW else 1
        self.room = width - self.columns * _COLUMN
        self.lines: list[Line] = []

    def add(self, prefix: str, row: Row, below: str = "", *, bound: str = "") -> None:
        """Add a row: one line, or as many as it needs if something stands below its first line."""
        timed = row.waited or row.took or row.aside
        room = max(1, (self.room if timed else self.width) - max(measure(prefix), measure(below)))
        lines = wrap(row.line, room)
        most = _MAX_ROWS if below else 1
        if len(lines) > most:
            lines = lines[:most]
            lines[-1] = cut((*lines[-1], Piece(f" {self.signs.more}")), room, self.signs.more)
        if row.aside:
            lines[0] = (*lines[0], *self._fit(row.aside, self.room - measure(prefix) - measure_line(lines[0])))
        first = (Piece(prefix, "faint"), *lines[0])
        self.lines.append((*first, *self._times(measure_line(first), row, bound)))
        self.lines += [(Piece(below, "faint"), *line) for line in lines[1:]]

    def _fit(self, words: Sequence[str], room: int) -> Line:
        """Take as many words as there is room for; if there is none for the first, what fits of it."""
        kept = ""
        for word in words:
            longer = f"{kept} {word}" if kept else f"  {word}"
            if measure(longer) > room:
                break
            kept = longer
        if not kept and room >= _MIN_ASIDE:
            return cut((Piece(f"  {words[0]}", "faint"),), room, self.signs.more)
        return (Piece(kept, "faint"),)

    def _times(self, used: int, row: Row, bound: str) -> Iterator[Piece]:
        times = [_show_time(time, bound) for time in (row.waited, row.took)][-self.columns :]
        if any(times):
            yield Piece(" " * max(0, self.room - used))
            yield Piece("".join(f"{time:>{_COLUMN}}" for time in times)[max(0, used - self.room) :], "faint")


def _show_time(nanoseconds: int, bound: str) -> str:
    text = format_duration(nanoseconds)
    return "" if text == "0 ms" else f"{bound}{text}"


def draw_run(run: Run, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw the causal tree of a run.

    Args:
        run: the run.
        width: the columns that a line may take; default 80, at least 40 are assumed.
        signs: what it is drawn with; default `UNICODE`.
    """
    sheet = _Sheet(lay_out(run), max(40, width), signs)
    _draw_title(sheet, run)
    for id in sheet.figure.roots:
        _draw_root(sheet, id)
    for row in _describe_outside(run):
        sheet.add("", row, "  ")
    for row in _describe_end(run, signs):
        sheet.add("", row, "  ")
    return sheet.lines


def draw_summary(run: Run, *, width: int = 80, signs: Signs = UNICODE) -> list[Line]:
    """Draw the summary of a run: its steps, attempts, retries, events and writes, and how long it took.

    Args:
        run: the run.
        width: the columns that a line may take; default 80.
        signs: what it is drawn with; default `UNICODE`.
    """
    sums = summarize(run)
    parts = [
        count(sums.steps, "step"),
        count(sums.attempts, "attempt"),
        count(sums.retries, "retry"),
        count(sums.events, "event"),
        count(sums.writes, "write"),
        "times unknown, for the clocks differ" if run.astray else format_duration(sums.duration),
    ]
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} {signs.dot} {part}" if lines[-1] else part
        if lines[-1] and measure(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return [(Piece(line, "title"),) for line in lines]


def _draw_title(sheet: _Sheet, run: Run) -> None:
    ended = run.outcome not in ("open", "paused")
    verb = {"open": "has no end", "paused": "is paused"}.get(run.outcome, run.outcome)
    title = Row(
        (
            Piece(clean(run.workflow) or "?", "title"),
            Piece(f"  run {clean(run.id)[:8]}  ", "faint"),
            Piece(verb, "good" if run.outcome == "completed" else "bad" if ended else "wait"),
        )
    )
    sheet.add("", title, "  ")
    heads = "".join(f"{head:>{_COLUMN}}" for head in ["waited", "worked"][-sheet.columns :])
    line: Line = sheet.lines.pop() if measure_line(sheet.lines[-1]) <= sheet.room else ()
    sheet.lines.append((*line, Piece(" " * (sheet.room - measure_line(line))), Piece(heads, "faint")))


def _draw_root(sheet: _Sheet, id: int) -> None:
    figure = sheet.figure
    sheet.add("", describe_root(figure.run, figure.run.events.get(id) or Event(id=id)))
    _draw_groups(sheet, group_alike(figure, figure.roots[id]), "", {})


def _draw_groups(sheet: _Sheet, groups: Sequence[Group], prefix: str, seen: dict[str, str]) -> None:
    signs = sheet.signs
    for place, group in enumerate(groups):
        at_end = place == len(groups) - 1
        _draw_branch(sheet, group.first, prefix, dict(seen), last=at_end and not group.others)
        if group.others:
            times = [times_of(sheet.figure.run.invocations[id]) for id in group.others]
            row = Row(
                (Piece(f"{signs.more} {len(group.others):,} more like this", "faint"),),
                max(waited for waited, _ in times),
                max(took for _, took in times),
            )
            sheet.add(prefix + (signs.last if at_end else signs.fork), row, bound=signs.upto)


def _draw_branch(sheet: _Sheet, id: int, prefix: str, seen: dict[str, str], *, last: bool) -> None:
    """Draw an invocation and what hangs under it: below it while that is only one, as branches then."""
    figure, signs = sheet.figure, sheet.signs
    head = prefix + (signs.last if last else signs.fork)
    below = prefix + (signs.gap if last else signs.bar)
    chain = chain_of(figure, id)
    ends = set(chain) if len(chain) <= _LONG_CHAIN else {*chain[: _KEPT[0]], *chain[-_KEPT[1] :]}
    for place, one in enumerate(chain):
        if one in ends:
            _draw_one(sheet, one, head, below, seen)
        elif chain[place - 1] in ends:
            steps = Counter(figure.run.invocations[each].step for each in chain if each not in ends)
            names = ", ".join(f"{number:,} {signs.times} {step}" for step, number in steps.items())
            sheet.add(below, Row((Piece(f"{signs.more} {names} in between", "faint"),)))
        head = below + signs.then
    branches = figure.children.get(chain[-1], ())
    if branches and measure(below) > sheet.room // 2:
        more = sum(figure.sizes[each] for each in branches)
        sheet.add(below, Row((Piece(f"{signs.more} {count(more, 'invocation')} under it", "faint"),)))
    else:
        _draw_groups(sheet, group_alike(figure, branches), below, seen)


def _draw_one(sheet: _Sheet, id: int, head: str, below: str, seen: dict[str, str]) -> None:
    run, signs = sheet.figure.run, sheet.signs
    invocation = run.invocations[id]
    sheet.add(head, head_of(run, invocation, signs, seen))
    margin = below + (signs.bar if sheet.figure.children.get(id) else signs.gap)
    for row in describe(run, invocation, signs):
        sheet.add(margin, row, f"{margin}  ")


def _describe_outside(run: Run) -> Iterator[Row]:
    if run.written:
        yield Row((Piece("outside of steps: ", "faint"), *describe_writes(run.written)))


def _describe_end(run: Run, signs: Signs) -> Iterator[Row]:
    match run.outcome:
        case "failed" if run.error is not None:
            by = f" by {run.invocations[run.failed].step} #{run.failed}" if run.failed in run.invocations else ""
            yield Row((Piece(f"The run failed{by}: "), Piece(describe_error(run.error), "bad")))
        case "cancelled":
            yield Row((Piece("The run was cancelled"), Piece(f": {clean(run.reason)}" if run.reason else ".")))
        case "timed out":
            busy = f" while these steps were running: {run.reason}" if run.reason else ""
            yield Row((Piece(f"The run timed out{busy}."),))
        case "paused":
            yield Row((Piece(f"Nothing executes: the run is {run.reason}.", "wait"),))
        case _:
            pass
    if run.gaps:
        stretches = [str(a) if a == b else f"{a}{signs.dash}{b}" for a, b in run.gaps]
        yield Row((Piece(f"Missing records: {enumerate_some(stretches, signs.more)}.", "bad"),))
    for fault in run.faults[:3]:
        yield Row((Piece(fault, "bad"),))
    if len(run.faults) > 3:  # noqa: PLR2004  # as many as are shown
        yield Row((Piece(f"{len(run.faults) - 3:,} more like this.", "bad"),))
