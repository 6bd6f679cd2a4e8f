"""A run that goes on: the same trace or another one, in this process or in the next, for a provider of the SDK."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from otflow.core.decide import advance
from otflow.core.inputs import Cancel, Input, Receive, Restore, Start, StepReturned, Wait
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.snapshot import save
from otflow.core.state import new_state
from otflow.dispatcher import Dispatcher
from otflow.pipeline.encoding import encode_span
from otflow.records.body import Body
from otflow.records.identity import WINDOW
from otflow.records.record import Record
from otflow.records.spans import from_spans, to_spans
from otflow.sinks.spans import SpanSink, attach

NS = 1_000_000_000
LONG = WINDOW + NS
SENDER = "00-aaaabbbbccccddddeeeeffff00001111-abcdabcdabcdabcd-01"
PLAN = Plan("Flow", "digest", {"a": StepPlan("a")}, {"S": Route(("a",)), "Stop": Route(stop=True)}, frozenset("X"))
START, WAIT = Start(NS, "S", Body({})), Wait(2 * NS, 3, "w", "X")


class Process:
    """A provider of its own, with a sink and an exporter in memory."""

    def __init__(self, processor: SpanProcessor | None = None, **options: object) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
        if processor is not None:
            provider.add_span_processor(processor)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink, self.state, self.records = SpanSink(provider), new_state(PLAN, "run"), list[Record]()

    def run(self, *inputs: Input) -> Process:
        """Feed inputs."""
        for input in inputs:
            records = advance(self.state, input)
            self.records += records
            self.sink(records)
        return self

    def leave(self, now: int = 3 * NS) -> Body:
        """Save the run."""
        return save(self.state, self.sink.locate("run", now))

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Give the exported spans."""
        return self.exporter.get_finished_spans()


def show(spans: tuple[ReadableSpan, ...]) -> list[tuple[object, ...]]:
    """Say where spans stand and what they refer to."""
    return [
        (
            span.name,
            span.context.trace_id,
            span.context.span_id,
            span.parent.span_id if span.parent else 0,
            [(link.context.trace_id, link.context.span_id) for link in span.links],
        )
        for span in spans
    ]


class Listener(SpanProcessor):
    """Hears of spans that start."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def on_start(self, span, parent_context=None) -> None:
        self.heard.append((span.name, span.get_span_context().trace_id))


@pytest.mark.parametrize("pause", [NS, LONG])
@pytest.mark.parametrize("listener", [None, Listener()])
def test_exported_spans_are_those_of_the_records(pause, listener):
    """After a short pause and after a long one the exporter gets what the pure function makes of the records."""
    process = Process(listener)
    goes_on = 2 * NS + pause
    process.run(START, WAIT, Receive(goes_on, "X", Body({}), sender=SENDER), Wait(goes_on + 1, 3, "v", "X"))
    process.run(Receive(goes_on * 2, "X", Body({})), StepReturned(goes_on * 2, 3, 1, "Stop", Body({})))
    expected = [
        (s.name, s.trace_id, s.span_id, s.parent_id, [(x.trace_id or s.trace_id, x.span_id) for x in s.links])
        for s in to_spans(process.records)
    ]
    assert show(process.spans()) == expected
    assert len({span.context.trace_id for span in process.spans()}) == (3 if pause == LONG else 1)
    assert from_spans(process.spans()) == process.records
    if listener is not None:
        assert sorted(listener.heard) == sorted((name, trace_id) for name, trace_id, *_ in expected)
        listener.heard.clear()


def test_links_to_other_traces_are_exported():
    """The encoder of the SDK and our own write a link to another trace alike, without the state of this one."""
    process = Process().run(START, WAIT, Receive(3 * NS, "X", Body({}), sender=SENDER), Cancel(4 * NS))
    for span in process.spans():
        [expected] = encode_spans([span]).resource_spans[0].scope_spans[0].spans
        assert list(ScopeSpans.FromString(encode_span(span)).spans) == [expected]
    told = [link for span in process.spans() for link in span.links if link.attributes["otflow.link.kind"] == "sent_by"]
    assert {link.context.trace_id for link in told} == {0xAAAABBBBCCCCDDDDEEEEFFFF00001111}
    assert [link.context.trace_state.to_header() for link in told] == ["", ""]


def test_a_run_goes_on_in_the_next_process():
    """Restored soon after, it stands in the same trace, under the first segment, after the last one."""
    first, second = Process().run(START, WAIT), Process()
    second.run(Restore(60 * NS, first.leave()), Cancel(61 * NS))
    (old,) = [span for span in first.spans() if span.name.startswith("invoke")]
    (new,) = [span for span in second.spans() if span.name.startswith("invoke")]
    assert (new.context.trace_id, new.parent.span_id) == (old.context.trace_id, old.context.span_id)
    assert [link.context.span_id for link in new.links] == [old.context.span_id]
    assert new.attributes["otflow.segment"] == 1


def test_the_window_can_be_set():
    """Who wants one trace for ever, or one for each segment, says so to the sink."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sink, state = SpanSink(provider, window=0.5), new_state(PLAN, "run")
    for input in (START, WAIT, Receive(3 * NS, "X", Body({})), Cancel(4 * NS)):
        sink(advance(state, input))
    assert len({span.context.trace_id for span in exporter.get_finished_spans()}) == 2


class Curious(Sampler):
    """Keeps what it was asked."""

    def __init__(self, decision: Decision = Decision.RECORD_AND_SAMPLE) -> None:
        self.decision = decision
        self.asked: list[tuple[trace.SpanContext, int]] = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        parent = trace.get_current_span(parent_context).get_span_context()
        self.asked.append((parent, trace_id))
        return SamplingResult(self.decision, None, trace.TraceState([("k", "v")]))

    def get_description(self):
        return "curious"


@pytest.mark.parametrize("at", [60 * NS, 2 * LONG])
def test_a_restored_run_is_asked_about_as_a_child(at):
    """The sampler hears of its last segment, in the trace of that one, with its flags and its state."""
    first, sampler = Process(sampler=Curious()).run(START, WAIT), Curious()
    Process(sampler=sampler).run(Restore(at, first.leave()))
    [(parent, trace_id)] = sampler.asked
    last = first.spans()[-1].context
    assert (parent.trace_id, parent.span_id, trace_id) == (last.trace_id, last.span_id, last.trace_id)
    assert (parent.is_remote, parent.trace_flags.sampled, parent.trace_state.to_header()) == (True, True, "k=v")


@pytest.mark.parametrize("at", [60 * NS, 2 * LONG])
@pytest.mark.parametrize("root", [ALWAYS_ON, ALWAYS_OFF])
def test_the_decision_of_the_first_process_holds(root, at):
    """By the usual sampler a restored run is traced if it was traced before, whatever would be decided now."""
    first = Process(sampler=ParentBased(root)).run(START, WAIT)
    other = ALWAYS_OFF if root is ALWAYS_ON else ALWAYS_ON
    second = Process(sampler=ParentBased(other)).run(Restore(at, first.leave()), Cancel(at + NS))
    assert bool(first.spans()) == bool(second.spans()) == (root is ALWAYS_ON)


def test_a_sampler_that_counts_by_trace_ids_decides_as_before():
    """The id it is asked about is that of the trace before, even where another one begins."""
    kept = 0
    for rate in (0.2, 0.4, 0.6, 0.8):
        first = Process(sampler=TraceIdRatioBased(rate)).run(START, WAIT)
        second = Process(sampler=TraceIdRatioBased(rate)).run(Restore(2 * LONG, first.leave()), Cancel(3 * LONG))
        assert bool(first.spans()) == bool(second.spans())
        kept += bool(second.spans())
    assert 0 < kept < 4


def test_a_dropped_run_says_so_when_it_is_saved():
    """Of a run that is not sampled the place says that, and when it was paused; markers there are none."""
    process = Process(sampler=ALWAYS_OFF).run(START)
    assert process.sink.reveal(60 * NS) == 0
    at_work = process.sink.locate("run", 9 * NS)
    process.run(WAIT)
    paused = process.sink.locate("run", 9 * NS)
    assert at_work is not None
    assert paused is not None
    assert (at_work.at, paused.at, paused.anchor[-3:], paused.segment) == (9 * NS, 2 * NS, "-00", 0)
    process.run(Receive(3 * NS, "X", Body({})))
    again = process.sink.locate("run", 9 * NS)
    assert again is not None
    assert again.at == 9 * NS
    assert process.sink.locate("other", NS) is None


def test_the_dispatcher_asks_those_who_know():
    """The first scope that knows where a run stands says so; others are passed over, and faults are reported."""
    dispatcher = Dispatcher()
    process = Process().run(START, WAIT)

    class Silent:
        def enter(self, started) -> None: ...

        def origin(self) -> str:
            return ""

    class Broken(Silent):
        def locate(self, run: str, now: int) -> None:
            raise ValueError("gone")

    dispatcher.attach(lambda _: None, scope=Silent())
    dispatcher.attach(lambda _: None, scope=Broken())
    assert dispatcher.locate("run", NS) is None
    assert list(dispatcher.failures.values()) == [1]
    dispatcher.attach(process.sink, scope=process.sink)
    assert dispatcher.locate("run", NS) == process.sink.locate("run", NS)
    attach(dispatcher, TracerProvider(shutdown_on_exit=False))()


def test_markers_are_exported():
    """Spans that are open for long are announced to exporters, and processors hear of the markers as of any span."""
    listener = Listener()
    process = Process(listener).run(START)
    assert process.sink.reveal(60 * NS) > 60 * NS
    segment, step = process.spans()
    assert (segment.name, step.name) == ("run_started Flow", "step_started a")
    process.run(StepReturned(61 * NS, 3, 1, "Stop", Body({})))
    *_, done, last = process.spans()
    assert (segment.parent.span_id, step.parent.span_id) == (last.context.span_id, done.context.span_id)
    assert segment.status.is_unset
    assert segment.end_time == segment.start_time
    assert sorted(name for name, _ in listener.heard) == sorted(span.name for span in process.spans())
    assert from_spans(process.spans()) == process.records
