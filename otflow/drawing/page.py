"""Page: a picture as one HTML file that needs nothing else: no server, no network, no script of anybody else.

The page is a frame, the picture as data, and a script that shows it. The data is JSON in which no character can end the
element that it stands in; the script puts it into the page as text, never as markup; and the page itself forbids
everything but this script and this style, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files
from typing import NamedTuple

from otflow.drawing.layers import Layout
from otflow.drawing.line import clean
from otflow.drawing.picture import Fact, Picture
from otflow.drawing.svg import STYLE, hues_of, label_of, route
from otflow.drawing.timeline import lay_out_time

__all__ = ["draw_page", "frame_page"]

_MAX_NAME = 300  # characters of a name; no name is longer, but hostile ones
_FORMS = {"": 0, "json": 1, "stack": 2}

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="otf">
<header>
<div class="what"><h1 id="title"></h1><p id="subtitle"></p></div>
<div class="tools" role="toolbar" aria-label="Tools">
<label class="find"><input id="search" type="search" placeholder="Search  ( / )" autocomplete="off" \
aria-label="Search steps, events and payloads"><output id="found"></output></label>
<button id="out" type="button" title="Smaller ( - )" aria-label="Smaller">&#8722;</button>
<button id="in" type="button" title="Larger ( + )" aria-label="Larger">+</button>
<button id="fit" type="button" title="Show all ( f )">Fit</button>
<button id="theme" type="button" title="Light or dark">Theme</button>
</div>
</header>
<ul id="remarks"></ul>
<main>
<section id="graph" aria-label="Graph" tabindex="0"><svg id="view" xmlns="http://www.w3.org/2000/svg"></svg>\
<ul id="legend"></ul></section>
<aside id="panel" hidden><button id="close" type="button" aria-label="Close">&#215;</button><h2 id="name"></h2>\
<p id="about"></p><dl id="facts"></dl><div id="near"></div></aside>
</main>
<section id="timeline" aria-label="Timeline" hidden><div id="rows"><canvas id="bars"></canvas></div></section>
<noscript><p>This page needs its script to show the picture.</p></noscript>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


class _Sources(NamedTuple):
    style: str
    script: str
    policy: str


@cache
def _read_sources() -> _Sources:
    here = files("otflow.drawing")
    style = STYLE + here.joinpath("page.css").read_text("utf-8")
    parts = "".join(here.joinpath(f"page_{name}.js").read_text("utf-8") for name in ("graph", "panel", "timeline"))
    script = f'(() => {{\n"use strict";\n{parts}}})();\n'
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; {_allow('style', style)}; {_allow('script', script)}"
    )
    return _Sources(style, script, policy)


def _allow(kind: str, text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"{kind}-src 'sha256-{digest}'"


def draw_page(picture: Picture, layout: Layout) -> str:
    """Draw a picture as an interactive HTML page.

    Args:
        picture: the picture.
        layout: where everything stands.
    """
    sources = _read_sources()
    title = clean(f"{picture.title} · {picture.subtitle}" if picture.subtitle else picture.title)
    return _FRAME.format(
        policy=escape(sources.policy),
        title=escape(title[:_MAX_NAME]),
        style=sources.style,
        data=_write_data(_collect(picture, layout)),
        script=sources.script,
    )


def frame_page(page: str, height: int = 620) -> str:
    """Put a page into a frame of its own, for a notebook.

    Args:
        page: the page.
        height: pixels; default 620.
    """
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" width="100%" height="{int(height)}" '
        'style="border:1px solid #8884;border-radius:6px"></iframe>'
    )


def _write_data(data: object) -> str:
    """Write JSON that can stand in a script element: nothing in it can end the element or begin another."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Texts:
    """Texts, each once: a payload is sent by one and taken by many."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))

    def write(self, facts: Iterable[Fact]) -> list[tuple[int, int, int]]:
        return [(self.place(fact.name), self.place(fact.text), _FORMS[fact.form]) for fact in facts]


def _collect(picture: Picture, layout: Layout) -> dict[str, object]:
    """Give what the script shows; short names, because a page may hold thousands of each."""
    texts = _Texts()
    hues = hues_of(picture)
    nodes = [
        [
            *(round(value) for value in box),
            node.kind,
            node.tone,
            texts.place(clean(node.title)[:_MAX_NAME]),
            texts.place(clean(node.note)[:_MAX_NAME]),
            hues.get(node.lane, -1),
            texts.write(node.facts),
        ]
        for node, box in zip(picture.nodes, layout.boxes, strict=True)
    ]
    edges = [
        [
            edge.source,
            edge.target,
            texts.place(label_of(layout, place, edge)[:_MAX_NAME]),
            edge.style,
            route(layout, place, edge),
        ]
        for place, edge in enumerate(picture.edges)
    ]
    return {
        "title": clean(picture.title)[:_MAX_NAME],
        "subtitle": clean(picture.subtitle)[:_MAX_NAME],
        "tone": picture.tone,
        "remarks": [clean(remark)[: 4 * _MAX_NAME] for remark in picture.remarks],
        "size": [round(layout.width), round(layout.height)],
        "nodes": nodes,
        "edges": edges,
        "lanes": [[clean(lane)[:_MAX_NAME], hue] for lane, hue in hues.items()],
        "time": _collect_time(picture, hues),
        "texts": list(texts.places),
    }


def _collect_time(picture: Picture, hues: dict[str, int]) -> dict[str, object] | None:
    if not picture.bars:
        return None
    time = lay_out_time(picture)
    zero = time.stretches[0].start

    def since(at: int) -> float:
        return round((at - zero) / 1e6, 4)  # milliseconds: a page counts no nanoseconds since the epoch

    bars = [
        [
            bar.node,
            row,
            since(bar.ready),
            since(bar.start),
            since(bar.end),
            bar.tone,
            hues.get(bar.lane, -1),
            [[since(each.start), since(each.end)] for each in bar.stood],
            int(bar.open),
        ]
        for bar, row in zip(picture.bars, time.rows, strict=True)
    ]
    return {
        "bars": bars,
        "lanes": [[clean(lane.name)[:_MAX_NAME], lane.first, lane.rows] for lane in time.lanes],
        "scale": [[since(each.start), since(each.end), each.left, each.right, each.cut] for each in time.stretches],
        "pauses": [[since(span.start), since(span.end), clean(reason)[:_MAX_NAME]] for span, reason in picture.pauses],
    }
