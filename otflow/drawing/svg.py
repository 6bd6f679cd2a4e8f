"""SVG: a picture as one still image, with colours for light and dark.

Every text of a user is escaped, and what no XML can hold is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from otflow.drawing.layers import Box, Layout
from otflow.drawing.line import clean
from otflow.drawing.picture import Edge, Node, Picture

__all__ = ["HUES", "STYLE", "draw_svg", "hues_of", "label_of", "route", "shorten"]

HUES = 8
"""So many colours tell steps apart."""
_MAX_LABEL = 18
_TEXT = 6.6  # pixels of a character
_REMARK = 1000  # pixels of a remark

STYLE = """
.otf{--ink:#1c2430;--soft:#5b6675;--line:#8b97a6;--box:#ffffff;--edge:#d3dae3;--page:#f6f8fa;--good:#1a7f4b;
--bad:#c62f3b;--badbox:#fdf0f0;--wait:#a15c00;--waitbox:#fff7e8;--goodbox:#edf8f1;--hit:#ffd84d;--accent:#2563eb;
--h0:#4c78c9;--h1:#d0782a;--h2:#3d9a6a;--h3:#9b62c3;--h4:#c0527f;--h5:#2b98a8;--h6:#8a8a2e;--h7:#7a6a5a}
@media (prefers-color-scheme:dark){.otf{--ink:#e4e9f0;--soft:#9aa7b7;--line:#6d7a8b;--box:#1d242e;--edge:#3a4553;
--page:#12171e;--good:#4cc38a;--bad:#ff7b81;--badbox:#331b20;--wait:#f0b35a;--waitbox:#2e2617;--goodbox:#17291f;
--hit:#8a6d00;--accent:#7aa7ff;--h0:#7ba2ea;--h1:#eda05c;--h2:#67c596;--h3:#c193e4;--h4:#e584ab;--h5:#5cc3d2;
--h6:#c0c05c;--h7:#b3a08c}}
.otf text{font-family:-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans","Liberation Sans",
"DejaVu Sans",system-ui,sans-serif;fill:var(--ink)}
.otf .box{fill:var(--box);stroke:var(--edge);stroke-width:1.2}
.otf .name{font-size:13px;font-weight:600}.otf .note{font-size:11px;fill:var(--soft)}
.otf .label{font-size:10.5px;fill:var(--soft);paint-order:stroke;
stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
.otf .bad .box{fill:var(--badbox);stroke:var(--bad)}.otf .bad .note,.otf .bad .name{fill:var(--bad)}
.otf .good .box{fill:var(--goodbox);stroke:var(--good)}.otf .good .name{fill:var(--good)}
.otf .wait .box{fill:var(--waitbox);stroke:var(--wait);stroke-dasharray:5 3}.otf .wait .note{fill:var(--wait)}
.otf .k-wait .box{stroke:var(--wait)}
.otf .k-aside .box{fill:var(--page)}
.otf .faint .box{fill:none;stroke-dasharray:2 3;stroke:var(--line)}.otf .faint .name{fill:var(--soft);font-weight:400}
.otf .edge{fill:none;stroke:var(--line);stroke-width:1.4}.otf .tip{fill:var(--line)}
.otf .retry{stroke:var(--bad);stroke-dasharray:6 4}.otf .error{stroke:var(--bad)}
.otf .collect{stroke:var(--h5)}.otf .answer{stroke:var(--wait);stroke-dasharray:2 3}
.otf .gap{stroke:var(--wait);stroke-dasharray:7 5}
.otf .h0{fill:var(--h0)}.otf .h1{fill:var(--h1)}.otf .h2{fill:var(--h2)}.otf .h3{fill:var(--h3)}
.otf .h4{fill:var(--h4)}.otf .h5{fill:var(--h5)}.otf .h6{fill:var(--h6)}.otf .h7{fill:var(--h7)}
"""
"""The colours and lines of a picture; the page shares them."""


def hues_of(picture: Picture) -> dict[str, int]:
    """Give each step its colour, in the order in which they come."""
    lanes = dict.fromkeys(node.lane for node in picture.nodes if node.lane)
    return {lane: place % HUES for place, lane in enumerate(lanes)}


def shorten(text: str, width: float) -> str:
    """Cut a text to a width in pixels."""
    most = max(1, int(width / _TEXT))
    text = clean(text)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def route(layout: Layout, place: int, edge: Edge) -> str:
    """Give the path of an arrow: from the right side of a box to the left side of another.

    Args:
        layout: where everything stands.
        place: which arrow of the picture it is.
        edge: the arrow.
    """
    source, target = layout.boxes[edge.source], layout.boxes[edge.target]
    x, y = source.x + source.width, source.y + source.height / 2
    end, level = target.x - 5, target.y + target.height / 2
    if place in layout.back or end <= x:
        low = max(source.y + source.height, target.y + target.height) + 26
        out, into = _bend(x, y, x, low, 50, -50), _bend(end, low, end, level, -50, 50)
        return f"M{x:g} {y:g}{out}L{end:g} {low:g}{into}"
    path = f"M{x:g} {y:g}"
    for way in layout.ways.get(place, ()):
        path += _curve(x, y, way.left, way.y) + f"H{way.right:g}"
        x, y = way.right, way.y
    return path + _curve(x, y, end, level)


def _curve(x: float, y: float, end: float, level: float) -> str:
    bend = min(max(0.0, (end - x) / 2), 130.0)
    return _bend(x, y, end, level, bend, bend)


def _bend(x: float, y: float, end: float, level: float, out: float, into: float) -> str:
    return f"C{x + out:g} {y:g} {end - into:g} {level:g} {end:g} {level:g}"


def label_of(layout: Layout, place: int, edge: Edge) -> str:
    """Give the label of an arrow; none where there is no room for it, between the columns of a folded layer."""
    ways = layout.ways.get(place, ())
    return "" if ways and ways[-1].right > layout.boxes[edge.target].x - 40 else clean(edge.label)


def draw_svg(picture: Picture, layout: Layout) -> str:
    """Draw a picture as an SVG document.

    Args:
        picture: the picture.
        layout: where everything stands.
    """
    top = 64 + 18 * len(picture.remarks)
    width, height = max(420.0, layout.width), layout.height + top
    hues = hues_of(picture)
    size = f'width="{width:g}" height="{height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="otf" role="img" {size} viewBox="0 0 {width:g} {height:g}">',
        f"<title>{_text(picture.title)} · {_text(picture.subtitle)}</title>",
        f"<style>{escape(STYLE, quote=False)}</style>",
        f'<rect width="{width:g}" height="{height:g}" fill="var(--page)"/>',
        *_draw_head(picture),
        f'<g transform="translate(0 {top})">',
        *(line for place, edge in enumerate(picture.edges) for line in _draw_edge(layout, place, edge)),
        *(
            line
            for node, box in zip(picture.nodes, layout.boxes, strict=True)
            for line in _draw_node(node, box, hues.get(node.lane))
        ),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return escape(clean(text))


def _draw_head(picture: Picture) -> Iterator[str]:
    yield f'<text x="30" y="32" font-size="17" font-weight="700">{_text(picture.title)}</text>'
    tone = f' style="fill:var(--{picture.tone})"' if picture.tone in ("good", "bad", "wait") else ""
    yield f'<text x="30" y="52" font-size="12"{tone}>{_text(picture.subtitle)}</text>'
    for place, remark in enumerate(picture.remarks):
        text = escape(shorten(remark, _REMARK))
        yield f'<text x="30" y="{72 + 18 * place}" font-size="12" style="fill:var(--wait)">{text}</text>'


def _draw_edge(layout: Layout, place: int, edge: Edge) -> Iterator[str]:
    target = layout.boxes[edge.target]
    yield f'<path class="edge {edge.style}" d="{route(layout, place, edge)}"/>'
    x, y = target.x - 1, target.y + target.height / 2
    yield f'<path class="tip" d="M{x:g} {y:g}l-7 -3.5v7z"/>'
    if label := label_of(layout, place, edge):
        label = escape(label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…")
        yield f'<text class="label" x="{x - 12:g}" y="{y - 5:g}" text-anchor="end">{label}</text>'


def _draw_node(node: Node, box: Box, hue: int | None) -> Iterator[str]:
    corner = {"step": 6, "gap": 2}.get(node.kind, box.height / 2)
    yield f'<g class="node k-{node.kind} {node.tone}" transform="translate({box.x:g} {box.y:g})">'
    yield f"<title>{_text(node.title)} {_text(node.note)}</title>"
    yield f'<rect class="box" width="{box.width:g}" height="{box.height:g}" rx="{corner:g}"/>'
    if hue is not None:
        if node.kind == "step":
            yield f'<rect class="h{hue}" x="5" y="7" width="4" height="{box.height - 14:g}" rx="2"/>'
        else:
            yield f'<circle class="h{hue}" cx="13" cy="{box.height / 2:g}" r="3.5"/>'
    left, room = (18, box.width - 24) if node.kind == "step" else (22, box.width - 30)
    middle = box.height / 2
    name = escape(shorten(node.title, room / 1.12))
    yield f'<text class="name" x="{left}" y="{middle - 3 if node.note else middle + 4:g}">{name}</text>'
    if node.note:
        yield f'<text class="note" x="{left}" y="{middle + 12:g}">{escape(shorten(node.note, room * 1.12))}</text>'
    yield "</g>"
