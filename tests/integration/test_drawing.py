"""Drawn pages in a real browser: what is clicked, typed and turned does what it should, also on a page of thousands.

A page is driven by a script that is put into a copy of it, sends it the events that a mouse and a keyboard send, and
writes down what it saw. `OTFLOW_REWRITE=1 make integration ARGS=tests/integration/test_drawing.py` takes the pictures
in docs/pictures anew; look at them.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

from otflow.drawing.execution import picture_run
from otflow.drawing.flows import picture_flows
from otflow.drawing.layers import lay_out_picture
from otflow.drawing.page import draw_page
from otflow.drawing.picture import Bar, Edge, Fact, Node, Picture
from otflow.records.history import read_runs
from stack.recipes import ROOT
from tests.drawing import runs
from tests.integration.readback.browser import read_page, take_picture

REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 300 * 1024  # bytes of a picture in the repository
MANY = 2_500
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

# a browser that only dumps a document paints nothing, and gives no frames
FRAMES = "<script>window.requestAnimationFrame = (go) => setTimeout(go, 8);</script>"
# what a test script may use: eyes and hands
HANDS = """
const seen = {};
const $ = (id) => document.getElementById(id);
const frame = () => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
const boxes = () => [...document.querySelectorAll("#view [data-node]")];
const box = (word) => boxes().find((each) => each.querySelector("title").textContent.includes(word));
const mouse = (it, type, x, y, more) => it.dispatchEvent(new PointerEvent(type, {bubbles: true, cancelable: true,
  clientX: x, clientY: y, pointerId: 1, isPrimary: true, ...more}));
const click = (it) => { const at = it.getBoundingClientRect();
  const x = at.left + at.width / 2, y = at.top + at.height / 2;
  mouse(it, "pointerdown", x, y); mouse(it, "pointerup", x, y); mouse(it, "click", x, y); };
const type = (text) => { $("search").value = text; $("search").dispatchEvent(new Event("input")); };
const key = (name, it) => (it || document.body).dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
const later = (ms) => new Promise((go) => setTimeout(go, ms));
const scale = () => +/scale\\(([^)]+)\\)/.exec($("view").firstChild.getAttribute("transform"))[1];
addEventListener("error", (ev) => { seen.error = ev.message; });
(async () => { await frame();
try { %s } catch (fault) { seen.error = String(fault); }
const out = document.createElement("p"); out.textContent = "SEEN " + JSON.stringify(seen);
document.body.append(out); })();
"""


@cache
def page(name: str) -> str:
    """Draw a known run, or the workflow of one."""
    if name.startswith("flow-"):
        picture = picture_flows(getattr(runs, name.removeprefix("flow-"))().graph)
    else:
        (run,) = read_runs(runs.RUNS[name]())
        picture = picture_run(run)
    return draw_page(picture, lay_out_picture(picture))


@cache
def huge() -> str:
    """Draw a fan of thousands that is gathered again."""
    facts = (Fact("took", '{\n  "n": 1\n}', "json"),)
    start = Node("step", "start", "#1")
    work = [Node("step", "work", f"#{number}", lane="work", facts=facts) for number in range(MANY)]
    kept = [Node("aside", "gather", f"kept {number}", lane="gather") for number in range(MANY)]
    end = Node("end", "StopEvent", "the result", "good")
    edges = [Edge(0, 1 + number, "Item") for number in range(MANY)]
    edges += [Edge(1 + number, 1 + MANY + number, "Done") for number in range(MANY)]
    edges += [Edge(1 + MANY + number, 1 + 2 * MANY, "", "collect") for number in range(MANY)]
    bars = tuple(Bar(1 + n, "work", n * 1000, n * 1000, n * 1000 + 50_000, "") for n in range(MANY))
    picture = Picture("Huge", "a fan", (start, *work, *kept, end), tuple(edges), bars)
    return draw_page(picture, lay_out_picture(picture))


def drive(chromium: Path, folder: Path, text: str, script: str) -> dict:
    """Open a page, let a script use it, and give what it saw."""
    # the page forbids every script but its own, so this one stands in a copy that does not
    file = folder / "driven.html"
    file.write_text(_POLICY.sub(FRAMES, text).replace("</body>", f"<script>{HANDS % script}</script></body>"), "utf-8")
    (seen,) = [each for each in read_page(chromium, file.as_uri()) if each.startswith("SEEN ")]
    return json.loads(seen.removeprefix("SEEN "))


def test_a_click_shows_a_step(chromium, tmp_path):
    """A click on a step shows its outcome, its payloads and its neighbours; another one beside it closes that."""
    seen = drive(
        chromium,
        tmp_path,
        page("trip"),
        """
        click(box("attempt 1")); await frame();
        seen.name = $("name").textContent; seen.facts = $("facts").textContent;
        seen.lit = document.querySelectorAll("#view .lit").length;
        seen.near = [...$("near").querySelectorAll("button")].map((each) => each.textContent);
        $("near").querySelectorAll("button")[1].click(); await frame();
        seen.then = $("name").textContent;
        key("Escape"); await frame(); seen.closed = $("panel").hidden;
        """,
    )
    assert "error" not in seen
    assert seen["name"] == "look_up · attempt 1"
    assert all(word in seen["facts"] for word in ("failed", "TimeoutError", "Traceback", '"name": "Oslo"', "queued"))
    assert seen["lit"] == 2
    assert (seen["near"][0], seen["then"], seen["closed"]) == ("plan · #3 · 2 ms", "look_up · attempt 2", True)


def test_search_finds_payloads(chromium, tmp_path):
    """What is typed is found in names and payloads; Enter goes from one to the next."""
    seen = drive(
        chromium,
        tmp_path,
        page("trip"),
        """
        key("/"); seen.focus = document.activeElement === $("search");
        type("Lima"); await later(200); await frame();
        seen.found = $("found").value; seen.hits = document.querySelectorAll("#view .hit").length;
        key("Enter", $("search")); await frame(); seen.first = [$("found").value, $("name").textContent];
        key("Enter", $("search")); await frame(); seen.second = $("found").value;
        type("no such word"); await later(200); seen.none = $("found").value;
        key("Escape", $("search")); await frame();
        seen.cleared = [$("search").value, document.querySelectorAll("#view .hit, #view .dim").length];
        """,
    )
    assert "error" not in seen
    assert (seen["focus"], seen["none"], seen["cleared"]) == (True, "none", ["", 0])
    number = int(seen["found"])
    assert 3 <= seen["hits"] <= number
    assert seen["first"][0] == f"1 of {number}"
    assert seen["second"] == f"2 of {number}"


def test_the_page_moves(chromium, tmp_path):
    """The wheel zooms around the pointer, dragging pans and selects nothing, and `f` shows all again."""
    seen = drive(
        chromium,
        tmp_path,
        page("interview"),
        """
        const at = $("graph").getBoundingClientRect(), x = at.left + 300, y = at.top + 200;
        seen.before = scale();
        $("graph").dispatchEvent(new WheelEvent("wheel", {deltaY: -120, clientX: x, clientY: y, cancelable: true}));
        await frame(); seen.larger = scale();
        const it = boxes()[0], from = it.getBoundingClientRect().left;
        mouse($("graph"), "pointerdown", x, y);
        $("graph").setPointerCapture = () => {};
        for (let i = 1; i <= 5; i++) mouse($("graph"), "pointermove", x + 10 * i, y);
        mouse($("graph"), "pointerup", x + 50, y); mouse($("graph"), "click", x + 50, y);
        await frame(); seen.moved = Math.round(it.getBoundingClientRect().left - from); seen.closed = $("panel").hidden;
        key("f"); await frame(); seen.fit = scale();
        """,
    )
    assert "error" not in seen
    assert seen["larger"] > seen["before"] * 1.2
    assert (seen["moved"], seen["closed"]) == (50, True)
    assert seen["fit"] == pytest.approx(seen["before"], rel=0.2)


def test_the_timeline_is_drawn_and_clicked(chromium, tmp_path):
    """The timeline shows bars, and a click on one shows the attempt."""
    seen = drive(
        chromium,
        tmp_path,
        page("trip"),
        """
        await frame();
        const c = $("bars"), at = c.getBoundingClientRect();
        const dots = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        seen.drawn = new Set(new Uint32Array(dots.buffer)).size;
        mouse(c, "click", at.left + 134, at.top + 28); await frame();
        seen.name = $("name").textContent;
        """,
    )
    assert "error" not in seen
    assert seen["drawn"] > 4
    assert seen["name"] == "plan"


def test_thousands_of_nodes_stay_usable(chromium, tmp_path):
    """On a page of thousands of nodes only what is in sight is in the document, near and far; search finds one."""
    seen = drive(
        chromium,
        tmp_path,
        huge(),
        """
        key("f"); await frame(); seen.far = [$("view").dataset.mode, document.querySelectorAll("*").length];
        type("kept 1234"); await later(300); key("Enter", $("search")); await frame();
        seen.near = [$("view").dataset.mode, document.querySelectorAll("*").length];
        seen.name = $("about").textContent; seen.there = !!box("kept 1234");
        for (let i = 0; i < 40; i++) {
          $("graph").dispatchEvent(new WheelEvent("wheel", {deltaX: 90, shiftKey: true, deltaY: 90, cancelable: true}));
          await frame();
        }
        seen.after = document.querySelectorAll("*").length;
        """,
    )
    assert "error" not in seen
    assert seen["far"][0] == "far"
    assert seen["near"][0] == "near"
    assert (seen["name"], seen["there"]) == ("kept 1234", True)
    assert max(seen["far"][1], seen["near"][1], seen["after"]) < 9 * 700 + 300


def test_hostile_pages_do_nothing(chromium, tmp_path):
    """A browser shows hostile names and payloads as text; no script of theirs runs, and none is let in."""
    word = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    nodes = (Node("step", word, word, "bad", word, (Fact(word, word, "json"),)), Node("event", word, word))
    picture = Picture(word, word, nodes, (Edge(0, 1, word),), (Bar(0, word, 1, 1, 2, "bad"),), (), (word,))
    text = draw_page(picture, lay_out_picture(picture))
    seen = drive(chromium, tmp_path, text, "click(boxes()[0]); await frame(); seen.title = document.title;")
    assert seen["title"].startswith("</script>")
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", "<script>document.title='owned'</script></body>"), "utf-8")
    texts = read_page(chromium, file.as_uri())
    assert "owned" not in texts
    assert texts.count(word) >= 3  # and its own script did run


@pytest.mark.parametrize(
    ("name", "picture", "wish"),
    [
        ("trip", "drawing-light", "theme=light&node=3"),
        ("interview", "drawing-dark", "theme=dark&node=4"),
        ("flow-Trip", "", "theme=light"),
    ],
)
def test_pages_can_be_seen(chromium, tmp_path, name, picture, wish):
    """A page is not blank, in light and in dark."""
    file = tmp_path / f"{name}.html"
    file.write_text(page(name), "utf-8")
    shot = tmp_path / "shot.png"
    take_picture(chromium, f"{file.as_uri()}#{wish}", shot, 1400, 860)
    assert 15_000 < shot.stat().st_size < LARGEST
    if REWRITE and picture:
        (PICTURES / f"{picture}.png").write_bytes(shot.read_bytes())
