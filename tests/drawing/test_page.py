"""The forms of a picture: page, still image, Mermaid; and that no text of a user is ever obeyed.

`OTFLOW_REWRITE=1 python -m pytest tests/drawing` writes the golden files anew; review the difference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.execution import picture_run
from otflow.drawing.flows import picture_flows
from otflow.drawing.layers import lay_out_picture
from otflow.drawing.mermaid import draw_mermaid
from otflow.drawing.page import draw_page, frame_page
from otflow.drawing.picture import Bar, Edge, Fact, Node, Picture, Span
from otflow.drawing.svg import draw_svg, shorten
from otflow.drawing.timeline import lay_out_time
from otflow.records.history import read_runs
from tests.drawing import runs

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
VOID = {"meta", "input", "br", "img", "link", "hr"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]><!--",
    "'); alert(1); //",
    'a"]:::bad; click n0 call alert(1)',
    "%%{init: {'securityLevel': 'loose'}}%%",
    "\x00\x1b[31m\u202e\ud800",
    "{{constructor}} ${7*7} &lt;b&gt;",
]


class _Reader(HTMLParser):
    """Reads a page as a browser does: what elements there are, and whether each one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] == self.elements[-1][0]:
            self.texts[len(self.elements) - 1] = self.texts.get(len(self.elements) - 1, "") + data


def read(page: str) -> _Reader:
    """Read a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader


def hostile(*words: str) -> Picture:
    """Make a picture in which every text is hostile."""
    text = " ".join(words)
    facts = (Fact(text, text), Fact(text, text, "json"), Fact(text, text, "stack"))
    nodes = (Node("step", text, text, "bad", text, facts), Node("event", text, text), Node("end", text))
    edges = (Edge(0, 1, text), Edge(1, 2, text, "retry"), Edge(2, 0, text, "gap"))
    bars = (Bar(0, text, 1, 2, 5, "bad", (Span(3, 4),)),)
    return Picture(text, text, nodes, edges, bars, ((Span(2, 3), text),), (text,), "bad")


def known(name: str) -> Picture:
    """Make the picture of a known run, or of its workflow."""
    if name.startswith("flow-"):
        return picture_flows(getattr(runs, name.removeprefix("flow-"))().graph)
    (run,) = read_runs(runs.RUNS[name]())
    return picture_run(run)


@pytest.mark.parametrize("name", ["trip", "interview", "torn", "flow-Trip", "flow-Interview", "flow-Loop"])
@pytest.mark.parametrize("form", ["svg", "mmd"])
def test_golden_drawings(name, form):
    """Known runs and workflows are drawn as they were when somebody looked at them."""
    picture = known(name)
    text = draw_svg(picture, lay_out_picture(picture)) if form == "svg" else draw_mermaid(picture)
    file = GOLDEN / f"{name}.{form}"
    if REWRITE:
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text("utf-8")


@pytest.mark.parametrize("name", ["trip", "interview", "torn", "loop", "flow-Trip"])
def test_pages_are_valid(name):
    """Every element of a page is closed, every id is there once, and nothing is loaded from anywhere."""
    picture = known(name)
    page = draw_page(picture, lay_out_picture(picture))
    reader = read(page)
    assert (reader.faults, reader.open) == ([], [])
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.startswith("<!doctype html>\n")
    assert [name for _, attributes in reader.elements for name in attributes if name in {"src", "href"}] == []
    assert re.findall(r"https?://[^\"' ]+", page.replace("http://www.w3.org/2000/svg", "")) == []


def test_the_page_forbids_what_it_does_not_need():
    """Only the script and the style of the page itself may run, named by their digests."""
    picture = known("trip")
    reader = read(draw_page(picture, lay_out_picture(picture)))
    (policy,) = [found["content"] or "" for _, found in reader.elements if "http-equiv" in found]
    assert policy.startswith("default-src 'none'")
    for place, (tag, attributes) in enumerate(reader.elements):
        if tag == "style" or (tag == "script" and "type" not in attributes):
            digest = base64.b64encode(hashlib.sha256(reader.texts[place].encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def check_page(picture: Picture) -> None:
    """Check that a picture's texts add nothing to its page, and come out of its data as they went in."""
    plain = read(draw_page(Picture("a", "b"), lay_out_picture(Picture("a", "b"))))
    page = draw_page(picture, lay_out_picture(picture))
    reader = read(page)
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in plain.elements]
    assert (reader.faults, reader.open) == ([], [])
    (place,) = [place for place, (_, found) in enumerate(reader.elements) if found.get("id") == "data"]
    data = json.loads(reader.texts[place])
    texts = [data["texts"][text] for node in data["nodes"] for _, text, _ in node[9]]
    assert texts == [fact.text for node in picture.nodes for fact in node.facts]
    page.encode()


def check_svg(picture: Picture) -> None:
    """Check that an SVG is XML of known elements, none of which does anything."""
    root = ET.fromstring(draw_svg(picture, lay_out_picture(picture)))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "g", "path", "text", "circle"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not any(name.startswith("on") or "href" in name for name in names)


def check_mermaid(picture: Picture) -> None:
    """Check that each line of a Mermaid text is one that is meant."""
    known = re.compile(
        r"flowchart LR|    (%% [^{}<>\"]*|n\d+[\[({/]+\"([^\"<>]|<br/>)*\"[\])}/]+(:::\w+)?|"
        r"n\d+ (-->|-\.->|==>)(\|\"[^\"<>]*\"\|)? n\d+|linkStyle [\d,]+ stroke:#\w+|classDef \w+ [\w:,# -]+)"
    )
    assert [line for line in draw_mermaid(picture).splitlines() if not known.fullmatch(line)] == []


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("check", [check_page, check_svg, check_mermaid])
def test_hostile_texts_are_shown(check, word):
    """Texts that would end an element, an attribute or a line are texts."""
    check(hostile(word))


@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE)), max_size=4))
def test_any_text_is_shown(words):
    """Whatever stands in a run, nothing in a drawing obeys it."""
    for check in (check_page, check_svg, check_mermaid):
        check(hostile(*words))


def test_frames_hold_pages():
    """A page in a notebook stands in a frame that cannot reach the notebook."""
    reader = read(frame_page('<p title="a">&amp;</p>', 300))
    ((tag, attributes),) = reader.elements
    assert (tag, attributes["srcdoc"], attributes["height"]) == ("iframe", '<p title="a">&amp;</p>', "300")
    assert attributes["sandbox"] == "allow-scripts"


def test_mermaid_is_bounded():
    """Of many nodes only the first are drawn, and how many more there are is said."""
    text = draw_mermaid(known("loop"), max_nodes=10, max_label_length=3)
    assert len(re.findall(r"^    n\d+[\[({]", text, re.MULTILINE)) == 10
    assert 'more["… ' in text
    assert '"St…<br/>fr…"' in text


def test_texts_are_cut():
    """A text that is too long for its box is cut, and the cut is shown."""
    assert (shorten("short", 100), shorten("much too long", 40)) == ("short", "much…")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from("ab")), max_size=20))
def test_bars_do_not_overlap(spans):
    """Attempts that go on at once lie in different rows, and a row belongs to one step."""
    bars = tuple(Bar(0, lane, min(a, b), min(a, b), max(a, b), "") for a, b, lane in spans)
    time = lay_out_time(Picture("p", bars=bars))
    placed = sorted(zip(time.rows, bars, strict=True), key=lambda pair: (pair[0], pair[1].start, pair[1].end))
    for (row, bar), (other_row, other) in pairwise(placed):
        assert row != other_row or (max(bar.end, bar.start + 1) <= other.start and bar.lane == other.lane)
    assert sum(lane.rows for lane in time.lanes) == len(set(time.rows))


@given(st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**6)), min_size=1, max_size=20))
def test_scales_have_no_holes(spans):
    """A scale covers all bars from 0 to 1, in order; long silence takes little room on it."""
    bars = tuple(Bar(0, "a", start, start, start + size, "") for start, size in spans)
    scale = lay_out_time(Picture("p", bars=bars)).stretches
    assert (scale[0].start, scale[0].left) == (min(bar.start for bar in bars), 0.0)
    assert scale[-1].end >= max(bar.end for bar in bars)
    assert scale[-1].right == pytest.approx(1)
    for one, other in pairwise(scale):
        assert (one.end, one.right) == (other.start, other.left)
    for each in scale:
        assert each.start < each.end
        assert not each.cut or each.right - each.left < 0.3
