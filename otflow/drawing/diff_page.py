"""Diff page: what differs between two runs, as one HTML page that needs nothing else.

It follows the light or dark setting of whoever looks at it. Everything that comes from a run is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from otflow.drawing.line import clean
from otflow.drawing.quantities import count, format_duration
from otflow.records.diff import Difference, Side, StepTiming
from otflow.records.points import Point

__all__ = ["draw_difference_page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfbfa; --faint: #667085; --line: #d9dee5; --bad: #b42318;
  --good: #1a7f37; --wait: #9a6700; --card: #ffffff; --left: #ffebe9; --right: #dafbe1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14171c; --faint: #98a2b3; --line: #333a45;
  --bad: #ff7b72; --good: #56d364; --wait: #e3b341; --card: #1b1f26; --left: #4a1f1d; --right: #163d22; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.verdict { border-left: .3rem solid var(--line); background: var(--card); padding: .8rem 1rem;
  overflow-wrap: anywhere; }
.different { border-color: var(--bad); }
.order, .unknown { border-color: var(--wait); } .same { border-color: var(--good); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .87em ui-monospace, monospace; overflow-wrap: anywhere; }
code.left { background: var(--left); } code.right { background: var(--right); }
.faint { color: var(--faint); } .note { color: var(--wait); }
"""


def draw_difference_page(difference: Difference) -> str:
    """Draw what differs between two runs as an HTML page.

    Args:
        difference: what was found.
    """
    body = "\n".join(
        (
            f"<h1>{_text(difference.a.workflow or '?')}: two runs</h1>",
            *_draw_sides(difference),
            f'<p class="verdict {difference.verdict}">{_text(difference.sentence)}</p>',
            *_draw_points("What differs", difference.points, difference.more),
            *_draw_points(
                "What may differ: records are missing that would tell", difference.unproven, difference.more_unproven
            ),
            *_draw_points("What came in another order", difference.moves, difference.more_moves),
            *_draw_timing(difference),
            *(f'<p class="note">{_text(note)}</p>' for note in difference.notes),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(difference.a.workflow or '?')}: two runs</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return escape(clean(text))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield '<div class="scroll"><table>'
    yield f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(row)}</tr>"
    yield "</table></div>"


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{_text(text)}</td>' if kind else f"<td>{_text(text)}</td>"


def _draw_sides(difference: Difference) -> Iterator[str]:
    heads = ("", "run", "outcome", "records", "took")
    yield from _table(heads, (_side("first", difference.a), _side("second", difference.b)))


def _side(which: str, side: Side) -> Iterator[str]:
    yield _cell(which)
    yield f"<td><code>{_text(side.run)}</code></td>"
    yield _cell(side.outcome)
    yield _cell(f"{side.records:,}", "number")
    yield _cell("?" if side.astray else format_duration(side.duration), "number")


def _draw_points(title: str, points: tuple[Point, ...], more: int) -> Iterator[str]:
    if not points:
        return
    yield f'<h2>{title} <span class="faint">{len(points) + more:,}</span></h2>'
    yield from _table(("record", "what", "difference", "first", "second"), map(_point, points))
    if more:
        yield f'<p class="faint">{more:,} more are not shown.</p>'


def _point(point: Point) -> Iterator[str]:
    yield _cell(f"{point.a or '-'} : {point.b or '-'}", "number")
    yield _cell(point.kind)
    yield _cell(point.sentence)
    for side, text in (("left", point.left), ("right", point.right)):
        yield f'<td>{f"""<code class="{side}">{_text(text)}</code>""" if text else ""}</td>'


def _draw_timing(difference: Difference) -> Iterator[str]:
    if not difference.timing:
        return
    yield "<h2>Time</h2>"
    heads = ("step", "times as long", "attempts", "worked", "queued", "waited for events")
    unknown = difference.a.astray, difference.b.astray
    yield from _table(heads, (_step(timing, unknown) for timing in difference.timing))


def _step(timing: StepTiming, unknown: tuple[bool, bool]) -> Iterator[str]:
    yield _cell(timing.step or "?")
    yield _cell(f"{timing.ratio:.3g}" if timing.ratio is not None else "", "number")
    yield _cell(f"{timing.attempts[0]:,} → {count(timing.attempts[1], 'attempt')}", "number")
    for times in (timing.worked, timing.queued, timing.stood):
        before, after = ("?" if lost else format_duration(time) for time, lost in zip(times, unknown, strict=True))
        yield _cell(f"{before} → {after}", "number")
