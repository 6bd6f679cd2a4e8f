"""Runs that go on from the data of another one: where they begin, and what they know of it."""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.emitted import begins
from otflow.records.history import read_runs
from otflow.records.identity import Identity, Whereabouts
from otflow.records.record import (
    EventBuffered,
    EventReceived,
    EventSent,
    RunCompleted,
    RunResumed,
    RunStarted,
    StepStarted,
)
from otflow.records.semconv import FORKED_FROM, ORIGIN_RUN_ID, ORIGIN_SEQ, RESUMED_FROM, SEGMENT
from otflow.records.spans import to_spans

ANCHOR = f"00-{5:032x}-{6:016x}-01"


def data(run: str = "old", **more: object) -> Body:
    """Make saved data, as far as readers look at it."""
    return Body(
        json=msgspec.json.encode({"run": run, "seq": 7, "workflow": "Shop", **more}, enc_hook=lambda b: b.content)
    )


EVENTS = [
    EventReceived(2, "old", 1, "m:A", Body(json=b"{}")),
    EventSent(4, "old", 1, 3, "m:B", Body(json=b"{}")),
    EventBuffered(6, "old", 1, 3, "default", 6, (), "m:C", Body(json=b"{}")),
    EventBuffered(7, "old", 1, 3, "default", 4),
    EventReceived(-1, "older", 1, "m:A", Body(json=b"{}")),
]


def test_a_run_begins_with_its_start_or_with_another_run():
    """Data of another run is a beginning; data of the run itself is not, nor is data that does not say whose it is."""
    assert begins(RunStarted(1, "new", 0, "Shop", "digest"))
    assert begins(RunResumed(8, "new", 0, data()))
    assert not begins(RunResumed(8, "new", 0, data("new")))
    assert not begins(RunResumed(8, "new", 0, Body(json=b'{"$truncated": 5}')))
    assert not begins(RunResumed(8, "new", 0))


def test_what_it_went_on_with_is_known():
    """Such a run has no gap before its first record, and knows the workflow and the events of the data."""
    saved = data(events=[*EVENTS, {"record": "Unknown"}])
    [run] = read_runs(
        [RunResumed(8, "new", 9, saved), StepStarted(9, "new", 9, 9, 1, "a", 2), RunCompleted(10, "new", 9, 4)]
    )
    assert (run.workflow, run.gaps, run.faults) == ("Shop", (), ())
    assert {id: event.type for id, event in run.events.items()} == {2: "m:A", 4: "m:B", 6: "m:C"}
    assert run.events[6].aside
    [run] = read_runs([RunResumed(8, "new", 9, data("new"))])
    assert run.gaps == ((1, 7),)


def test_a_fork_has_a_trace_of_its_own():
    """A fork links to where the other run stood, and counts its own segments; what goes on does neither."""
    place = Whereabouts(ANCHOR, ANCHOR, 3, 1)
    for forked in (True, False):
        saved = data(trace=msgspec.structs.replace(place, forked=forked))
        first = RunResumed(8, "new", 9, saved)
        assert (Identity(first).trace_id == 5) is not forked
        [segment] = to_spans([first])
        [link] = segment.links
        assert link.kind == (FORKED_FROM if forked else RESUMED_FROM)
        assert segment.attributes[SEGMENT] == (0 if forked else 4)
        assert (segment.attributes[ORIGIN_RUN_ID], segment.attributes[ORIGIN_SEQ]) == ("old", 7)
