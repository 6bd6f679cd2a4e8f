"""Where the spans of this process go: nowhere, until someone has a provider."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.errors import WorkflowConfigurationError
from otflow.records.record import EventSent, Record
from otflow.records.spans import from_spans
from otflow.telemetry import configure, wire


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end with no provider and nothing attached."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    configure()
    yield
    configure()


def make_provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    """Make a provider that exports to memory."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


class Draft(Event):
    text: str


class Poem(Workflow):
    @step
    async def write(self, ctx: Context, ev: StartEvent) -> Draft:
        with trace.get_tracer("mine").start_as_current_span("think"):
            await ctx.store.set("lines", 2)
        return Draft(text=ev.topic)

    @step
    def print(self, ev: Draft) -> StopEvent:
        with trace.get_tracer("mine").start_as_current_span("press"):
            return StopEvent(result=ev.text.upper())


def python(code: str) -> str:
    """Run code in a new interpreter, and give what it prints."""
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout


# --- the automatic way --------------------------------------------------------------------------------------


def test_import_loads_no_sdk():
    """Neither importing nor wiring loads the SDK or an exporter, and nothing is attached without a provider."""
    shown = python(
        "import sys, otflow.telemetry\n"
        "from otflow.dispatcher import default_dispatcher\n"
        "otflow.telemetry.wire()\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])\n"
        "print(default_dispatcher.patient, default_dispatcher.scopes)\n"
    )
    assert shown.splitlines() == ["[]", "() ()"]


async def test_a_run_is_traced(monkeypatch):
    """With a global provider of the SDK a run makes spans that hold all its records; those of its steps nest."""
    provider, exporter = make_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    seen: list[Record] = []
    detach = default_dispatcher.attach(seen.extend)
    assert await Poem().run(topic="tea") == "TEA"
    detach()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"think", "step write", "press", "step print", "invoke_workflow Poem"}
    assert spans["think"].parent.span_id == spans["step write"].context.span_id
    assert spans["press"].parent.span_id == spans["step print"].context.span_id
    assert from_spans(spans.values()) == seen
    assert not default_dispatcher.failures


class Chapters(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Draft | None:
        for number in range(400):
            ctx.send_event(Draft(text=str(number)))

    @step(num_workers=1)
    async def bind(self, ctx: Context, ev: Draft) -> StopEvent | None:
        return StopEvent() if ctx.collect_events(ev, [Draft] * 400) else None


async def test_spans_do_not_depend_on_when_they_are_made():
    """Each of many short attempts shows what it took, however long its run has let go of that."""
    provider, exporter = make_provider()
    configure(tracer_provider=provider)
    await Chapters().run()
    spans = [span for span in exporter.get_finished_spans() if span.name == "step bind"]
    assert [span.attributes["input.value"] for span in spans] == [f'{{"text":"{number}"}}' for number in range(400)]
    assert spans[-1].attributes["otflow.in.types"] == (f"{__name__}:Draft",) * 400
    assert {link.context.span_id for link in spans[-1].links} == {
        span.context.span_id for span in exporter.get_finished_spans() if span.name == "step split"
    }


async def test_a_run_stands_under_the_span_around_it(monkeypatch):
    """A run that is started within a span is part of its trace."""
    provider, exporter = make_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with provider.get_tracer("mine").start_as_current_span("request"):
        await Poem().run(topic="tea")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans["invoke_workflow Poem"].parent.span_id == spans["request"].context.span_id
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_the_global_provider_is_followed(monkeypatch):
    """The sink is that of the global provider: none for one that is not of the SDK, another one for another."""
    wire()
    assert default_dispatcher.patient == ()
    provider, _ = make_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    wire()
    [first] = default_dispatcher.patient
    wire()
    assert default_dispatcher.patient == default_dispatcher.scopes == (first,)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    wire()
    [second] = default_dispatcher.patient
    assert second is not first
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", trace.NoOpTracerProvider())
    wire()
    assert default_dispatcher.patient == default_dispatcher.scopes == ()


# --- by name ------------------------------------------------------------------------------------------------


def test_a_named_provider_wins(monkeypatch):
    """A provider that was named is used whatever the global one is, until that is taken back."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", make_provider()[0])
    undo = configure(tracer_provider=make_provider()[0])
    [named] = default_dispatcher.patient
    wire()
    assert default_dispatcher.patient == (named,)
    undo()
    assert default_dispatcher.patient == ()
    wire()
    [found] = default_dispatcher.patient
    assert found is not named


def test_each_call_replaces_the_one_before():
    """There is one sink at a time, and taking back an old call does nothing to a new one."""
    undo = configure(tracer_provider=make_provider()[0])
    configure(tracer_provider=make_provider()[0])
    [sink] = default_dispatcher.patient
    undo()
    assert default_dispatcher.patient == (sink,)


def test_no_spans_at_all(monkeypatch):
    """A NoOpTracerProvider switches spans off."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", make_provider()[0])
    configure(tracer_provider=trace.NoOpTracerProvider())
    wire()
    assert default_dispatcher.patient == ()


async def test_another_dispatcher_and_less_payload():
    """The runs of another dispatcher can be traced, and payloads left out."""
    dispatcher, (provider, exporter) = Dispatcher(), make_provider()
    configure(tracer_provider=provider, dispatcher=dispatcher, capture="none")
    await Poem(dispatcher=dispatcher).run(topic="tea")
    await Poem().run(topic="coffee")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["step write", "step print", "invoke_workflow Poem"]
    assert "input.value" not in spans["step write"].attributes
    sent = [record for record in from_spans(spans.values()) if isinstance(record, EventSent)]
    assert [record.body.json for record in sent] == [b'{"$truncated":14}', b'{"$truncated":16}']


class Switch(Workflow):
    @step
    async def switch(self, ev: StartEvent) -> StopEvent:
        configure()
        return StopEvent(result="off")


async def test_what_stands_open_is_exported():
    """A provider that is replaced in the middle of a run gets what there is until then."""
    provider, exporter = make_provider()
    configure(tracer_provider=provider)
    assert await Switch().run() == "off"
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert list(spans) == ["step switch", "invoke_workflow Switch"]
    assert [record.seq for record in from_spans(spans.values())] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"capture": "some"}, r"configure\(capture='some'\): no such level; use one of 'full', 'preview', 'none'\."),
        ({"dispatcher": print}, r"this is no dispatcher; pass an otflow.dispatcher.Dispatcher"),
        ({"tracer_provider": object()}, r"spans can only be given to an opentelemetry.sdk.trace.TracerProvider"),
        ({"tracer_provider": trace.ProxyTracerProvider()}, r"leave it out to follow the global provider"),
    ],
)
def test_wrong_arguments_are_refused(arguments, text):
    """Each wrong argument is refused with what to do, and what was in force stays."""
    configure(tracer_provider=make_provider()[0])
    before = default_dispatcher.patient
    with pytest.raises(WorkflowConfigurationError, match=text):
        configure(**arguments)
    assert default_dispatcher.patient == before
