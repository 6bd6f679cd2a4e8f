"""What is open for long is announced: once, by spans in which readers find nothing."""

from __future__ import annotations

from otflow.core.decide import advance
from otflow.core.inputs import Cancel, Input, Receive, Send, Start, StepReturned, Wait
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.capture import FULL, NONE, Capture
from otflow.records.pending import MAX_MARKED
from otflow.records.record import ContextWritten
from otflow.records.span import SpanData
from otflow.records.spans import from_spans
from otflow.records.trace import RunTrace

NS = 1_000_000_000
PATIENCE = 5 * NS
PLAN = Plan(
    "Flow",
    "digest",
    {"a": StepPlan("a"), "b": StepPlan("b", 100)},
    {"S": Route(("a",)), "M": Route(("b",)), "Stop": Route(stop=True)},
    frozenset("XM"),
)
START = Start(NS, "S", Body({"topic": "tea"}))


class Watched:
    """A run whose trace is looked at."""

    def __init__(self, *inputs: Input, capture: Capture = FULL) -> None:
        self.state = new_state(PLAN, "run")
        records = advance(self.state, START)
        self.trace = RunTrace(records[0], capture)
        self.records, self.spans = records, self.trace.feed(records)
        self.feed(*inputs)

    def feed(self, *inputs: Input) -> None:
        """Go on."""
        for input in inputs:
            records = advance(self.state, input)
            self.records += records
            self.spans += self.trace.feed(records)

    def look(self, at: int) -> tuple[list[SpanData], int]:
        """Look at the trace at a time."""
        return self.trace.mark_pending(at, PATIENCE)


def test_what_is_open_for_long_is_announced_once():
    """The segment and its attempt are announced together, below themselves and without length; and never again."""
    run = Watched()
    assert run.look(6 * NS - 1) == ([], 6 * NS)
    markers, following = run.look(6 * NS)
    assert [(span.name, span.start, span.end) for span in markers] == [
        ("run_started Flow", NS, NS),
        ("step_started a", NS, NS),
    ]
    assert following == 11 * NS  # what opens right now
    assert run.look(60 * NS) == ([], 65 * NS)
    run.feed(StepReturned(61 * NS, 3, 1, "Stop", Body({})))
    step, segment = run.spans
    assert [span.parent_id for span in markers] == [segment.span_id, step.span_id]
    assert len({span.span_id for span in (*markers, step, segment)}) == 4
    assert {span.trace_id for span in markers} == {segment.trace_id}
    assert run.look(70 * NS) == ([], 0)
    assert from_spans([*markers, *run.spans]) == run.records
    assert from_spans(markers) == []


def test_a_marker_says_what_is_known_at_the_start():
    """It has the attributes of its span that are known at the start, and none of those of its end."""
    run, bare = Watched(), Watched(capture=NONE)
    segment, step = run.look(9 * NS)[0]
    assert segment.attributes == {
        "openinference.span.kind": "CHAIN",
        "otflow.workflow.name": "Flow",
        "otflow.run.id": "run",
        "otflow.segment": 0,
        "otflow.graph.hash": "digest",
        "gen_ai.workflow.name": "Flow",
        "session.id": "run",
        "otflow.pending": True,
        "otflow.seq.start": 1,
        "input.value": '{"topic":"tea"}',
        "input.mime_type": "application/json",
    }
    assert {key: value for key, value in step.attributes.items() if key not in segment.attributes} == {
        "otflow.step.name": "a",
        "otflow.invocation.id": 3,
        "otflow.attempt": 1,
    }
    assert not [span for span in bare.look(9 * NS)[0] if "input.value" in span.attributes]


def test_what_begins_later_is_announced_later():
    """Each attempt has its own time; the next look is due when the next one is."""
    run = Watched(Send(4 * NS, 3, "M", Body({})))
    assert [span.name for span in run.look(6 * NS)[0]] == ["run_started Flow", "step_started a"]
    assert run.look(7 * NS) == ([], 9 * NS)
    assert [span.name for span in run.look(9 * NS)[0]] == ["step_started b"]


def test_the_number_of_markers_is_bounded():
    """Of a segment with very many open attempts some are announced, and then nobody looks any more."""
    run = Watched(*(Send(NS, 3, "M", Body({"n": n})) for n in range(MAX_MARKED + 20)))
    markers, following = run.look(9 * NS)
    assert (len(markers), following) == (MAX_MARKED + 1, 0)
    assert run.look(60 * NS) == ([], 0)


def test_each_segment_is_announced():
    """In a pause nothing is open; what goes on is announced anew, the attempt that waited too."""
    run = Watched(Wait(2 * NS, 3, "w", "X"))
    assert run.look(60 * NS) == ([], 0)
    run.feed(Receive(70 * NS, "X", Body({})))
    run.trace.feed([ContextWritten(run.state.seq + 1, "run", 70 * NS, 3, "k", Body(1))])
    markers, _ = run.look(75 * NS)
    assert [(span.name, span.start, "input.value" in span.attributes) for span in markers] == [
        ("run_started Flow", 70 * NS, True),
        ("step_started a", 70 * NS, True),
    ]
    run.feed(Cancel(80 * NS))
    assert run.look(90 * NS) == ([], 0)
