"""What a provider of the SDK gets, and what step code sees of its span."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Status, StatusCode

from otflow.core.decide import advance
from otflow.core.inputs import Cancel, Input, Receive, Start, StepRaised, StepReturned, Wait
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.state import new_state
from otflow.dispatcher import Dispatcher
from otflow.records.body import Body
from otflow.records.record import Failure, Record, StepStarted
from otflow.records.spans import from_spans, to_spans
from otflow.sinks import spans as spans_module
from otflow.sinks import traced as traced_module
from otflow.sinks.spans import SpanSink, attach

NS = 1_000_000_000
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
PLAN = Plan(
    "Flow",
    "digest",
    {"a": StepPlan("a"), "b": StepPlan("b")},
    {"S": Route(("a",)), "M": Route(("b",)), "Stop": Route(stop=True)},
    frozenset("X"),
)

Code = Callable[[], None]


class House:
    """A provider with an exporter in memory, a sink for it, and runs that are driven by hand."""

    def __init__(self, processor: SpanProcessor | None = None, **options: object) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        if processor is not None:
            self.provider.add_span_processor(processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink = SpanSink(self.provider)
        self.contexts: dict[tuple[str, int], contextvars.Context] = {}
        self.records: list[Record] = []

    def run(self, *inputs: Input | Code, run: str = "run", state: object = None) -> None:
        """Feed inputs a second apart; code among them runs in the context of the step that started last."""
        state = state or new_state(PLAN, run)
        context, at = contextvars.copy_context(), 0
        for input in inputs:
            if callable(input):
                context.run(input)
                continue
            at += NS
            input.at = at
            records = advance(state, input)
            self.records += records
            self.sink(records)
            for record in records:
                if isinstance(record, StepStarted):
                    context = contextvars.copy_context()
                    context.run(self.sink.enter, record)

    def spans(self) -> dict[str, ReadableSpan]:
        """Give the exported spans by name; a number stands behind a name that was there before."""
        found: dict[str, ReadableSpan] = {}
        for span in self.exporter.get_finished_spans():
            number = sum(name.partition("#")[0] == span.name for name in found)
            found[span.name if not number else f"{span.name}#{number + 1}"] = span
        return found


def start(**fields: object) -> Start:
    """Begin a run."""
    input = Start(0, "S", Body({"topic": "tea"}))
    for name, value in fields.items():
        setattr(input, name, value)
    return input


def returned(invocation: int, kind: str, attempt: int = 1) -> StepReturned:
    """Return an event."""
    return StepReturned(0, invocation, attempt, kind, Body({"n": invocation}))


def note(**attributes: str) -> Code:
    """Make code that sets attributes of the current span."""
    return lambda: trace.get_current_span().set_attributes(attributes)


WAIT = Wait(0, 3, "w", "X")
ANSWER = Receive(0, "X", Body({"yes": True}))


# --- what is exported ---------------------------------------------------------------------------------------


def test_exported_spans_are_the_spans_of_the_records():
    """The exporter gets what the pure function makes of the same records: ids, parents, times, links and all."""
    house = House()
    house.run(start(), returned(3, "M"), StepRaised(0, 6, 1, Failure("builtins.ValueError", "bad", "stack")))
    exported = house.exporter.get_finished_spans()
    for span, data in zip(exported, to_spans(house.records), strict=True):
        context = span.get_span_context()
        assert (span.name, context.trace_id, context.span_id) == (data.name, data.trace_id, data.span_id)
        assert (span.parent.span_id if span.parent else 0) == data.parent_id
        assert (span.start_time, span.end_time) == (data.start, data.end)
        assert dict(span.attributes) == data.attributes
        assert [(e.name, e.timestamp, dict(e.attributes)) for e in span.events] == [
            (e.name, e.at, e.attributes) for e in data.events
        ]
        assert [(link.context.span_id, dict(link.attributes)) for link in span.links] == [
            (link.span_id, link.attributes) for link in data.links
        ]
        assert span.status.status_code.name.lower() == data.status
        assert (span.status.description or "") == data.status_message
        assert span.kind is trace.SpanKind.INTERNAL
        assert span.resource is house.provider.resource
        assert span.instrumentation_scope.name == "otflow"
    assert from_spans(exported) == house.records


def test_exporters_can_write_the_spans():
    """The SDK's own encoders take the spans like any other, and find all of them in one scope."""
    house = House()
    house.run(start(), note(mine="yes"), returned(3, "M"), returned(6, "Stop"))
    exported = house.exporter.get_finished_spans()
    [resource] = encode_spans(exported).resource_spans
    [scope] = resource.scope_spans
    assert [span.name for span in scope.spans] == ["step a", "step b", "invoke_workflow Flow"]
    assert [len(span.links) for span in scope.spans] == [0, 1, 0]
    assert '"mine": "yes"' in exported[0].to_json()


def test_nothing_is_kept():
    """When a run has ended the sink knows nothing of it; of a paused one it knows it for a while."""
    house = House()
    house.run(start(), returned(3, "Stop"))
    house.run(start(), WAIT, ANSWER, Cancel(0), run="other")
    assert (house.sink._runs, house.sink._paused) == ({}, {})


def test_paused_runs_are_forgotten_in_the_end(monkeypatch):
    """Of too many paused runs the oldest is forgotten; it can go on, but does not refer to what was before."""
    monkeypatch.setattr(spans_module, "KEPT_PAUSED", 2)
    house, states = House(), {}
    for run in ("one", "two", "three"):
        states[run] = new_state(PLAN, run)
        house.run(start(), WAIT, run=run, state=states[run])
    assert list(house.sink._runs) == ["two", "three"]
    house.run(ANSWER, run="two", state=states["two"])
    house.run(start(), WAIT, run="four")
    assert list(house.sink._runs) == ["two", "three", "four"]  # the second is at work again
    house.run(ANSWER, returned(3, "Stop"), run="one", state=states["one"])
    last = house.exporter.get_finished_spans()[-1]
    assert (last.name, last.links, last.parent) == ("invoke_workflow", (), None)
    one = [record for record in house.records if record.run == "one"]
    assert [record for record in from_spans(house.exporter.get_finished_spans()) if record.run == "one"] == one


def test_closing_exports_what_is_open():
    """A sink that is taken away loses nothing, and does not say how things would have ended."""
    house, dispatcher = House(), Dispatcher()
    house.run(start())
    house.sink.close()
    spans = house.spans()
    assert list(spans) == ["step a", "invoke_workflow Flow"]
    assert ["otflow.outcome" in span.attributes for span in spans.values()] == [False, False]
    assert from_spans(spans.values()) == house.records
    house.sink.close()
    attach(dispatcher, house.provider)()
    assert (dispatcher.observers, dispatcher.scopes, len(house.spans())) == ((), (), 2)


def test_a_run_id_that_is_used_again():
    """A run whose id comes again before it ended is shown as crashed, and the other one on its own."""
    house = House()
    house.run(start())
    house.run(start(), returned(3, "Stop"))
    outcomes = [span.attributes["otflow.outcome"] for span in house.exporter.get_finished_spans()]
    assert outcomes == ["crashed", "crashed", "ok", "ok"]


def test_no_records_are_no_run():
    """An empty batch does nothing."""
    house = House()
    house.sink([])
    house.sink.enter(StepStarted(3, "unknown", 0, 3, 1, "a", 2))
    assert (house.sink._runs, house.spans()) == ({}, {})
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_only_providers_of_the_sdk_are_attached():
    """Spans cannot be given to a provider of another kind."""
    with pytest.raises(TypeError, match="no TracerProvider of the OpenTelemetry SDK"):
        attach(Dispatcher(), trace.NoOpTracerProvider())


# --- what step code sees ------------------------------------------------------------------------------------


def test_spans_of_users_are_children_of_the_attempt():
    """A span that step code starts stands under the span of its attempt; outside of it nothing is current."""
    house = House()
    tracer = house.provider.get_tracer("mine")
    house.run(start(), lambda: tracer.start_span("inner").end(), returned(3, "M"), returned(6, "Stop"))
    spans = house.spans()
    assert spans["inner"].parent.span_id == spans["step a"].context.span_id
    assert spans["inner"].context.trace_id == spans["step a"].context.trace_id
    assert spans["step a"].parent.span_id == spans["invoke_workflow Flow"].context.span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_step_code_can_add_to_its_span():
    """What step code says to its span is exported with it; it cannot end it, nor change what otflow says."""

    def speak() -> None:
        span = trace.get_current_span()
        assert span.is_recording()
        span.set_attribute("mine", 1)
        span.set_attribute("otflow.attempt", 99)
        span.set_attribute("input.value", "mine")
        span.add_event("seen", {"where": "here"}, 5)
        span.record_exception(ValueError("caught"), {"more": 1})
        span.add_link(trace.SpanContext(1, 2, is_remote=False), {"kind": "mine"})
        span.add_link(trace.INVALID_SPAN_CONTEXT)
        span.update_name("renamed")
        span.set_status(StatusCode.UNSET)
        span.set_status(Status(StatusCode.ERROR, "not so good"))
        assert dict(span.attributes) == {"mine": 1, "otflow.attempt": 99, "input.value": "mine"}
        span.start()
        span.end()
        assert span.is_recording()

    house = House()
    house.run(start(), speak, returned(3, "M"))
    [span] = house.exporter.get_finished_spans()
    assert span.name == "renamed"
    assert (span.attributes["mine"], span.attributes["input.value"], span.attributes["otflow.attempt"]) == (
        1,
        "mine",
        1,
    )
    assert [event.name for event in span.events] == ["seen", "exception"]
    assert (span.events[0].timestamp, dict(span.events[0].attributes)) == (5, {"where": "here"})
    assert span.events[1].attributes["exception.type"] == "ValueError"
    assert "caught" in span.events[1].attributes["exception.stacktrace"]
    assert span.events[1].attributes["more"] == 1
    assert [(link.context.span_id, dict(link.attributes)) for link in span.links] == [(2, {"kind": "mine"})]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "not so good")
    assert not span.is_recording()


def test_exceptions_of_users_are_bounded():
    """However much an exception says, and however deep its stack is, its event stays small; it may even refuse."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no word")

    def fall(depth: int) -> None:
        if depth:
            fall(depth - 1)
        raise ValueError("x" * 100_000)

    def speak() -> None:
        for call in (lambda: fall(300), lambda: (_ for _ in ()).throw(Mute())):
            try:
                call()
            except Exception as error:
                trace.get_current_span().record_exception(error)

    house = House()
    house.run(start(), speak, returned(3, "Stop"))
    long, mute = house.spans()["step a"].events
    assert long.attributes["exception.message"] == "x" * 8192
    assert len(long.attributes["exception.stacktrace"]) == 8192
    assert "cannot be had" in mute.attributes["exception.message"]


def test_a_status_of_ok_stays():
    """Who says that all is well is believed, unless the attempt fails."""

    def approve() -> None:
        trace.get_current_span().set_status(StatusCode.OK)
        trace.get_current_span().set_status(StatusCode.ERROR)

    house = House()
    house.run(start(), approve, returned(3, "M"), approve, StepRaised(0, 6, 1, Failure("E", "bad")))
    assert house.spans()["step a"].status.status_code is StatusCode.OK
    assert house.spans()["step b"].status.status_code is StatusCode.ERROR


def test_a_span_that_is_done_hears_nothing():
    """What is said after the end of an attempt is lost, and does no harm."""
    house, kept = House(), []
    house.run(start(), lambda: kept.append(trace.get_current_span()), returned(3, "M"))
    [span] = kept
    assert not span.is_recording()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.add_link(trace.SpanContext(1, 2, is_remote=False))
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    exported = house.spans()["step a"]
    assert "late" not in exported.attributes
    assert (exported.events, exported.links, exported.status.status_code) == ((), (), StatusCode.UNSET)


def test_a_waiting_attempt_speaks_to_its_open_part():
    """After a pause the same span is current in the step, and what is said to it goes to the part that is open."""
    house = House()
    tracer = house.provider.get_tracer("mine")

    def inner() -> None:
        tracer.start_span("inner").end()
        assert trace.get_current_span().is_recording()

    before = [start(), note(first="1"), WAIT, note(paused="2"), ANSWER, note(third="3")]
    house.run(*before, Wait(0, 3, "v", "X"), Receive(0, "X", Body({})), inner, returned(3, "Stop"))
    spans = house.spans()
    parts = [spans["step a"], spans["step a#2"], spans["step a#3"]]
    mine = [
        {key: part.attributes[key] for key in ("first", "paused", "third") if key in part.attributes} for part in parts
    ]
    assert mine == [{"first": "1"}, {"paused": "2", "third": "3"}, {}]
    assert [part.attributes["otflow.outcome"] for part in parts] == ["waiting", "waiting", "ok"]
    assert len({part.context.span_id for part in parts}) == 3
    assert from_spans(spans.values()) == house.records


def test_limits_of_the_provider_hold_for_users():
    """What users add passes the limits of the provider; what otflow says stays readable under them."""
    limits = SpanLimits(max_span_attributes=2, max_events=1, max_links=1, max_span_attribute_length=300)

    def speak() -> None:
        span = trace.get_current_span()
        span.set_attributes({"one": "x" * 500, "two": "2", "three": "3"})
        span.add_event("one")
        span.add_event("two")
        for number in (1, 2):
            span.add_link(trace.SpanContext(1, number, is_remote=False))

    house = House(span_limits=limits)
    house.run(start(), speak, returned(3, "M"))
    span = house.spans()["step a"]
    assert ("one" in span.attributes, span.attributes["two"]) == (False, "2")
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (1, 1, 1)
    assert [event.name for event in span.events] == ["two"]
    assert all(len(value) <= 300 for value in span.attributes.values() if isinstance(value, str))
    assert span.attributes["otflow.omitted"] == 2
    assert [type(record) for record in from_spans([span])] == [StepStarted]


# --- parents and sampling -----------------------------------------------------------------------------------


def test_the_current_span_is_the_origin():
    """A run that begins in a step, or under any other span, stands under it, in its trace."""
    house = House()
    origins: list[str] = []
    house.run(start(), lambda: origins.append(house.sink.origin()), returned(3, "Stop"))
    house.run(start(parent=origins[0]), run="inner")
    house.sink.close()
    spans = house.spans()
    assert spans["invoke_workflow Flow#2"].parent.span_id == spans["step a"].context.span_id
    assert len({span.context.trace_id for span in spans.values()}) == 1
    assert house.sink.origin() == ""


class Choosy(Sampler):
    """Keeps what it was asked, and decides as told."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.asked: list[tuple[object, ...]] = []

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        parent = trace.get_current_span(parent_context).get_span_context()
        self.asked.append((parent.span_id, trace_id, name, dict(attributes)))
        return SamplingResult(self.decision, {"sampler.said": 1}, trace.TraceState([("k", "v")]))

    def get_description(self):
        return "choosy"


def test_a_run_is_sampled_once():
    """The sampler is asked once for a run, with its trace id and its parent; what it wants to add is added."""
    sampler = Choosy(Decision.RECORD_AND_SAMPLE)
    house = House(sampler=sampler)
    house.run(start(parent=PARENT), returned(3, "M"), returned(6, "Stop"))
    [(parent, trace_id, name, attributes)] = sampler.asked
    assert (parent, trace_id, name) == (0x0123456789ABCDEF, 0x0123456789ABCDEF0123456789ABCDEF, "invoke_workflow Flow")
    assert attributes["otflow.workflow.name"] == "Flow"
    said = {name: span.attributes.get("sampler.said") for name, span in house.spans().items()}
    assert said == {"step a": None, "step b": None, "invoke_workflow Flow": 1}
    for span in house.spans().values():
        assert span.context.trace_flags.sampled
        assert span.context.trace_state.to_header() == "k=v"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, TraceIdRatioBased(0.0), ParentBased(ALWAYS_OFF)])
def test_a_run_that_is_dropped_makes_no_spans(sampler):
    """Of a run that is not sampled nothing is exported, not even what its steps start; a context is passed on."""
    house = House(sampler=sampler)
    seen: list[trace.Span] = []

    def look() -> None:
        seen.append(trace.get_current_span())
        house.provider.get_tracer("mine").start_span("inner").end()

    state = new_state(PLAN, "run")
    house.run(start(), look, WAIT, state=state)
    assert list(house.sink._paused) == ["run"]
    house.run(ANSWER, returned(3, "Stop"), state=state)
    house.run(start(), run="open")
    house.sink.close()
    assert (house.spans(), house.sink._runs) == ({}, {})
    assert not seen[0].is_recording()
    assert seen[0].get_span_context().is_valid
    assert not seen[0].get_span_context().trace_flags.sampled


def test_a_run_may_be_recorded_only():
    """Who records without sampling gets spans that say so: processors in the process see them, exporters do not."""
    seen: list[ReadableSpan] = []

    class Watcher(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            seen.append(span)

    house = House(Watcher(), sampler=Choosy(Decision.RECORD_ONLY))
    house.run(start(), returned(3, "Stop"))
    assert [span.name for span in seen] == ["step a", "invoke_workflow Flow"]
    assert house.spans() == {}


def test_a_parent_decides_if_it_is_asked():
    """Under a parent that is not sampled, a run is not either, as the usual sampler has it."""
    house = House(sampler=ParentBased(Choosy(Decision.RECORD_AND_SAMPLE)))
    house.run(start(parent=PARENT[:-1] + "0"), returned(3, "Stop"))
    assert house.spans() == {}
    house.run(start(parent=PARENT), returned(3, "Stop"), run="other")
    assert list(house.spans()) == ["step a", "invoke_workflow Flow"]


def test_a_sdk_that_is_switched_off(monkeypatch):
    """With OTEL_SDK_DISABLED nothing is exported."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    house = House()
    house.run(start(), returned(3, "Stop"))
    assert house.spans() == {}


# --- processors that listen ---------------------------------------------------------------------------------


class Listener(SpanProcessor):
    """Hears of spans that start, and adds to them; wants to see a real span."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, object]] = []

    def on_start(self, span: Span, parent_context: otel.Context | None = None) -> None:
        assert isinstance(span, Span)
        assert isinstance(span.attributes["otflow.run.id"], str)
        parent = trace.get_current_span(parent_context).get_span_context().span_id
        assert parent == (span.parent.span_id if span.parent else 0)
        self.heard.append(("start", span.name, baggage.get_baggage("who", parent_context)))
        span.set_attribute("heard", len(self.heard))

    def on_end(self, span: ReadableSpan) -> None:
        self.heard.append(("end", span.name, None))


@pytest.mark.parametrize("nested", [False, True])
def test_processors_hear_of_starts(nested):
    """A processor with an `on_start` of its own hears of each span before it ends, with its parent and baggage."""
    listener = Listener()
    processor: SpanProcessor = listener
    if nested:
        processor = TracerProvider(shutdown_on_exit=False)._active_span_processor
        processor.add_span_processor(listener)  # type: ignore[attr-defined]
    house = House(processor)
    token = otel.attach(baggage.set_baggage("who", "me"))
    house.run(start(), note(mine="1"), WAIT, ANSWER, note(mine="2"), returned(3, "Stop"))
    otel.detach(token)
    assert listener.heard == [
        ("start", "invoke_workflow Flow", "me"),
        ("start", "step a", "me"),
        ("end", "step a", None),
        ("end", "invoke_workflow Flow", None),
        ("start", "invoke_workflow Flow", "me"),
        ("start", "step a", "me"),
        ("end", "step a", None),
        ("end", "invoke_workflow Flow", None),
    ]
    spans = house.spans()
    assert [span.attributes["heard"] for span in spans.values()] == [2, 1, 6, 5]
    assert [spans[name].attributes["mine"] for name in ("step a", "step a#2")] == ["1", "2"]
    assert from_spans(spans.values()) == house.records


def test_processors_hear_once_of_a_late_start():
    """Of an attempt whose code begins before its record comes, processors hear when it begins, and once."""
    listener = Listener()
    house, state = House(listener), new_state(PLAN, "run")
    house.sink(advance(state, start()))
    late = advance(state, returned(3, "M"))
    contextvars.copy_context().run(house.sink.enter, late[-1])
    assert listener.heard[-1] == ("start", "step b", None)
    house.sink(late)
    house.sink(advance(state, returned(6, "Stop")))
    assert [name for what, name, _ in listener.heard if what == "start"] == ["invoke_workflow Flow", "step a", "step b"]
    assert house.spans()["step b"].attributes["heard"] == 3


def test_a_run_under_a_parent_is_told_of_it():
    """A processor learns under which span of another process a run stands."""
    listener = Listener()
    House(listener).run(start(parent=PARENT))
    assert [name for _, name, _ in listener.heard] == ["invoke_workflow Flow", "step a"]


def test_quiet_processors_are_not_told():
    """The stock processors do nothing when a span starts, so they are not asked to."""
    provider = TracerProvider(shutdown_on_exit=False)
    batch = BatchSpanProcessor(InMemorySpanExporter())
    provider.add_span_processor(batch)
    assert not traced_module._listens(provider._active_span_processor)
    provider.add_span_processor(Listener())
    assert traced_module._listens(provider._active_span_processor)
    batch.shutdown()


def test_spans_reach_a_processor_of_any_kind():
    """A provider may have a processor of its own in the place of the usual ones."""
    seen: list[str] = []

    class Only(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            seen.append(span.name)

    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=Only())  # type: ignore[arg-type]
    sink, state = SpanSink(provider), new_state(PLAN, "run")
    batches: list[Sequence[Record]] = [advance(state, start()), advance(state, returned(3, "Stop"))]
    for batch in batches:
        sink(batch)
    assert seen == ["step a", "invoke_workflow Flow"]
