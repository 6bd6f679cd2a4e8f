"""The picture of a run: every arrow in it is something that happened, and all that happened is in it."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from otflow.drawing.execution import picture_run
from otflow.drawing.facts import Payloads
from otflow.drawing.layers import lay_out_picture, rank_nodes
from otflow.drawing.line import plain
from otflow.drawing.picture import Bar, Node, Picture
from otflow.drawing.timeline import lay_out_time
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.body import Body
from otflow.records.history import Run, read_runs
from otflow.records.record import StepStarted
from tests.drawing.runs import RUNS
from tests.laws.strategies import restored_histories


@cache
def history(name: str) -> Run:
    """Make a run and read its history."""
    (run,) = read_runs(RUNS[name]())
    return run


@cache
def picture(name: str) -> Picture:
    """Make the picture of a run."""
    return picture_run(history(name))


def arrows(picture: Picture, style: str) -> list[tuple[str, str]]:
    """Name the ends of all arrows of a style."""
    nodes = picture.nodes
    return [(nodes[edge.source].title, nodes[edge.target].title) for edge in picture.edges if edge.style == style]


def owners(run: Run) -> dict[int, int]:
    """Give the invocation of each wait."""
    return {wait.id: each.id for each in run.invocations.values() for one in each.attempts for wait in one.waits}


@given(restored_histories(inputs=30), st.data())
def test_all_that_happened_is_drawn(records, data):
    """Each attempt is a node, and from the source of each event an arrow leads to each invocation that took it."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (run,) = read_runs(kept)
    drawn = picture_run(run)
    attempts = [node.of[1:] for node in drawn.nodes if node.of[0] == "attempt"]
    assert attempts == [(each.id, place) for each in run.invocations.values() for place in range(len(each.attempts))]
    mine = owners(run)
    led = set()
    for edge in drawn.edges:
        kind, number, _ = drawn.nodes[edge.source].of
        source = mine.get(number, 0) if kind == "wait" else number if kind == "attempt" else 0
        led.add((source, *drawn.nodes[edge.target].of))
    known = {each.id for each in run.invocations.values() if each.attempts}  # of others a retry may be recorded
    for event in run.events.values():
        source = event.source if event.source in known else 0
        for taker in event.takers:
            assert (source, "attempt", taker, 0) in led


@given(restored_histories(inputs=30), st.data())
def test_nothing_else_is_drawn(records, data):
    """Each arrow between two invocations is an event that one sent and the other took, put aside, or waited for."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (run,) = read_runs(kept)
    drawn = picture_run(run)
    mine = owners(run)
    real = {(event.source, taker) for event in run.events.values() for taker in event.takers}
    real |= {(event.source, mine[wait]) for event in run.events.values() for wait in event.answered}
    for invocation in run.invocations.values():
        for attempt in invocation.attempts:
            collected = {event for each in attempt.collected for event in each.events}
            real |= {(run.events[event].source, invocation.id) for event in collected if event in run.events}
            for other in run.invocations.values():
                if any(each.event in collected for one in other.attempts for each in one.kept):
                    real.add((other.id, invocation.id))
    for edge in drawn.edges:
        ends = [drawn.nodes[edge.source].of, drawn.nodes[edge.target].of]
        source, target = (
            mine[number] if kind == "wait" else number if kind == "attempt" else 0 for kind, number, _ in ends
        )
        assert not (source and target) or source == target or (source, target) in real


@given(restored_histories(inputs=30))
def test_no_arrow_leads_back(records):
    """In the picture of a run that is recorded whole, every arrow leads to the right, and no two nodes overlap."""
    (run,) = read_runs(records)
    drawn = picture_run(run)
    layout = lay_out_picture(drawn)
    assert layout.back == frozenset()
    layers, _ = rank_nodes(len(drawn.nodes), drawn.edges)
    assert all(layers[edge.source] < layers[edge.target] for edge in drawn.edges)
    boxes = sorted(layout.boxes)
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            beside = one.x + one.width <= other.x or one.y + one.height <= other.y or other.y + other.height <= one.y
            assert beside


def test_fan_out_and_fan_in():
    """What `send_event` sent hangs at who sent it, and what was put aside leads to where it was collected."""
    drawn = picture("trip")
    events = arrows(drawn, "event")
    assert events.count(("plan", "look_up")) + events.count(("plan", "look_up · attempt 1")) == 12
    assert arrows(drawn, "collect") == [("choose", "choose")] * 11
    (gathered,) = {edge.target for edge in drawn.edges if edge.style == "collect"}
    assert "collected 12" in drawn.nodes[gathered].note
    (end,) = [node for node in drawn.nodes if node.kind == "end"]
    assert (end.title, end.tone) == ("StopEvent", "good")


def test_attempts_stand_apart():
    """A failed attempt is red and says its error; the retry follows it by an arrow that says the delay."""
    drawn = picture("trip")
    (edge,) = [edge for edge in drawn.edges if edge.style == "retry"]
    failed, again = drawn.nodes[edge.source], drawn.nodes[edge.target]
    assert (failed.tone, again.tone, edge.label) == ("bad", "", "after 500 ms")
    assert failed.note.startswith("TimeoutError: no answer")
    assert {fact.name for fact in failed.facts} >= {"error", "stack", "outcome", "took City #9"}


def test_waits_stand_apart():
    """A wait is a node: the answer leads into it, and what the step did afterwards leads out of it."""
    drawn = picture("interview")
    (wait,) = [place for place, node in enumerate(drawn.nodes) if node.kind == "wait"]
    into = {drawn.nodes[edge.source].title for edge in drawn.edges if edge.target == wait}
    out = {drawn.nodes[edge.target].title for edge in drawn.edges if edge.source == wait}
    assert (into, out) == ({"begin", "Reply"}, {"Ask"})
    assert [reason for _, reason in drawn.pauses].count("waiting") >= 1


def test_what_is_missing_is_said():
    """Records that are missing are named, and what follows from them hangs at a dashed arrow."""
    drawn = picture("torn")
    assert any("Missing records 2\u20134, 20\u201323, 40\u201341." in remark for remark in drawn.remarks)
    assert {source for source, _ in arrows(drawn, "gap")} == {"not recorded"}


def test_an_end_that_is_not_recorded_is_not_made_up():
    """A bar without a recorded end is open where records are missing; where none are, it lasts to the last record."""
    torn = picture("torn")
    open_bars = [bar for bar in torn.bars if bar.open]
    assert open_bars
    assert all(bar.end == bar.start and "no end" in torn.nodes[bar.node].note for bar in open_bars)
    whole = RUNS["trip"]()
    started = next(place for place, record in enumerate(whole) if isinstance(record, StepStarted))
    (run,) = read_runs(whole[: started + 2])
    assert not run.gaps
    assert [(bar.open, bar.end) for bar in picture_run(run).bars] == [(False, run.ended)]


def test_open_bars_do_not_hide_each_other():
    """Open bars that begin one after the other within a stub of each other lie in rows of their own."""
    bars = tuple(Bar(n, "a", at, at, at, "wait", (), True) for n, at in enumerate((0, 1, 2, 500, 1000)))
    rows = lay_out_time(Picture("p", nodes=tuple(Node("step", "a") for _ in bars), bars=bars)).rows
    assert rows == (0, 1, 2, 0, 0)


def test_state_and_payloads_can_be_read():
    """What an attempt took, sent and wrote stands in its facts, indented."""
    drawn = picture("trip")
    (plan,) = [node for node in drawn.nodes if node.title == "plan"]
    facts = {fact.name: fact.text for fact in plan.facts}
    assert facts["wrote cities"].startswith('[\n  "Rome",')
    assert facts["sent City #5, taken by look_up #6"] == '{\n  "name": "Rome",\n  "place": 0\n}'


@pytest.mark.parametrize(("limit", "budget", "most"), [(50, 10_000, 50), (4_000, 0, 200)])
def test_payloads_are_bounded(limit, budget, most):
    """A payload is cut at its limit, and says how long it is; what is beyond the budget is cut shorter."""
    text = Payloads(limit, budget).write(Body(json=b'"' + b"a" * 9_998 + b'"'))
    first, _, rest = text.partition("\n")
    assert len(first) == most
    assert rest == "… cut off here; the whole is 10,000 bytes"


def test_payloads_that_are_no_json():
    """Whatever stands in the place of JSON is shown as it is."""
    assert Payloads().write(Body(json=b"{<\xff")) == "{<�"


MEASURED = {"queued", "began after", "stood still", "worked", "waited", "after", "due after"}
DURATION = re.compile(r"\d\s(µs|ms|s|min|h|d)\b")


@pytest.mark.parametrize("name", RUNS)
def test_clocks_that_differ_are_drawn_without_times(name):
    """If the times of a run run against its numbers, no picture of it tells how long anything took, and it says why."""
    records = RUNS[name]()
    middle = records[len(records) // 2].seq
    assert any(DURATION.search(plain(line)) for line in draw_run(history(name)))
    (run,) = read_runs([replace(each, at=each.at + 10**12 * (each.seq < middle)) for each in records])
    drawn = picture_run(run)
    assert any("the clocks of who wrote them differ" in remark for remark in drawn.remarks)
    assert (drawn.bars, drawn.pauses) == ((), ())
    assert not MEASURED & {fact.name for node in drawn.nodes for fact in node.facts}
    texts = [drawn.subtitle, *(node.note for node in drawn.nodes if node.tone != "bad")]
    texts += [plain(line) for line in (*draw_run(run), *draw_summary(run))]
    said = [re.sub(r"after a delay of [\d.]+\s\w+", "", text) for text in texts]  # which is what the policy wanted
    assert not [text for text in said if DURATION.search(text)]
    assert "clocks differ" in texts[-1]
