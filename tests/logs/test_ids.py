"""Log records know where they were made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.logs import add_ids
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.telemetry import configure

LOG = logging.getLogger("app")
FORMAT = "%(otelTraceID)s|%(otelSpanID)s|%(otelTraceSampled)s|%(otflowRunID)s|%(otflowWorkflow)s|%(otflowStep)s"


@pytest.fixture(autouse=True)
def _everything_is_back() -> Iterator[None]:
    """Put the record factory and the wiring back."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)
    configure()


@pytest.fixture
def traced() -> None:
    """Trace all runs."""
    configure(tracer_provider=TracerProvider(shutdown_on_exit=False))


def current() -> str:
    """Give the current span as log records shall."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}|{span.span_id:016x}|{span.trace_flags.sampled}"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Format what was logged by the application."""
    formatter = logging.Formatter(FORMAT)
    return [formatter.format(record) for record in caplog.records if record.name == "app"]


class Page(Event):
    number: int


class Book(Workflow):
    """Each page says under which span it is read."""

    @step
    async def open(self, ctx: Context, ev: StartEvent) -> Page | None:
        for number in range(3):
            ctx.send_event(Page(number=number))

    @step(num_workers=3)
    async def read(self, ctx: Context, ev: Page) -> Page | StopEvent | None:
        LOG.warning("%s", current())
        await asyncio.sleep(0)
        LOG.warning("%s", current())
        return StopEvent() if ctx.collect_events(ev, [Page] * 3) else None


async def test_a_step_says_where_it_is(caplog, traced):
    """Before and after it stands still, each of several workers logs under its own span, its run and its step."""
    add_ids()
    handler = Book().run()
    await handler
    shown = lines(caplog)
    said = [record.getMessage() for record in caplog.records if record.name == "app"]
    assert shown == [f"{span}|{handler.run_id}|Book|read" for span in said]
    assert len(said) == 6
    assert len(set(said)) == 3
    assert all(span.endswith("|True") for span in said)


class Outer(Workflow):
    @step
    async def delegate(self, ev: StartEvent) -> StopEvent:
        LOG.warning("before")
        inner = Inner().run()
        await inner
        LOG.warning("after")
        return StopEvent(result=inner.run_id)


class Inner(Workflow):
    @step
    def work(self, ev: StartEvent) -> StopEvent:
        LOG.warning("in a thread")
        with trace.get_tracer("mine", tracer_provider=TracerProvider()).start_as_current_span("think"):
            LOG.warning("in a span: %s", current())
        return StopEvent()


async def test_threads_and_nested_runs(caplog, traced):
    """A plain step logs from its thread, a nested run as itself, and the step around it as before."""
    add_ids()
    handler = Outer().run()
    inner = await handler
    ends = [tuple(line.split("|")[3:]) for line in lines(caplog)]
    outer = (handler.run_id, "Outer", "delegate")
    assert ends == [outer, (inner, "Inner", "work"), (inner, "Inner", "work"), outer]
    assert len({line.split("|")[0] for line in lines(caplog)}) == 1
    within = next(record for record in caplog.records if record.getMessage().startswith("in a span"))
    assert within.getMessage() == f"in a span: {within.otelTraceID}|{within.otelSpanID}|True"


class Stubborn(Workflow):
    @step(retry_policy=ConstantDelayRetryPolicy(delay=0, maximum_attempts=3))
    async def push(self, ev: StartEvent) -> StopEvent:
        LOG.warning("pushing")
        if len([record for record in ev.seen.records if record.name == "app"]) < 3:
            raise ValueError("stuck")
        return StopEvent()


async def test_each_attempt_has_its_own_span(caplog, traced):
    """The log lines of a retried step are told apart by their span, not by their step."""
    add_ids()
    await Stubborn().run(seen=caplog)
    shown = [line.split("|") for line in lines(caplog)]
    assert len({line[1] for line in shown}) == 3
    assert {line[5] for line in shown} == {"push"}


async def test_without_tracing(caplog):
    """A step that is not traced still says its run; the ids of its span are empty."""
    configure(tracer_provider=trace.NoOpTracerProvider())
    add_ids()
    handler = Book().run()
    await handler
    assert set(lines(caplog)) == {f"||False|{handler.run_id}|Book|read"}


async def test_what_is_not_sampled_says_so(caplog):
    """The ids of a run that is not sampled are there, beside the word that nobody will find it."""
    configure(tracer_provider=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    add_ids()
    await Book().run()
    for trace_id, span_id, sampled, *_ in (line.split("|") for line in lines(caplog)):
        assert (len(trace_id), len(span_id), sampled) == (32, 16, "False")


def test_outside_they_are_empty(caplog):
    """Outside of all steps and spans a format string finds every name, and nothing in it."""
    add_ids("shop")
    LOG.warning("alone")
    assert lines(caplog) == ["||False|||"]
    assert caplog.records[0].otelServiceName == "shop"


def test_a_span_outside_of_steps_counts(caplog):
    """Around a run there is no step, but there may be a span."""
    add_ids()
    with trace.get_tracer("mine", tracer_provider=TracerProvider()).start_as_current_span("request"):
        expected = current()
        LOG.warning("request")
    assert lines(caplog) == [f"{expected}|||"]


def test_who_was_there_first_stays(caplog):
    """Ids that another factory gave stay as they are."""
    before = logging.getLogRecordFactory()

    def theirs(*args, **fields):
        record = before(*args, **fields)
        record.otelTraceID, record.otelSpanID, record.otelTraceSampled = "0", "0", False
        return record

    logging.setLogRecordFactory(theirs)
    add_ids("shop")
    LOG.warning("alone")
    assert lines(caplog) == ["0|0|False|||"]
    assert not hasattr(caplog.records[0], "otelServiceName")


def test_undoing_puts_the_factory_back():
    """What was there before is there again, once and for all."""
    before = logging.getLogRecordFactory()
    undo = add_ids()
    assert logging.getLogRecordFactory() is not before
    undo()
    assert logging.getLogRecordFactory() is before
    again = add_ids()
    undo()
    assert logging.getLogRecordFactory() is not before
    again()
    assert logging.getLogRecordFactory() is before


def test_undoing_leaves_others_alone(caplog):
    """A factory that someone put around ours stays, and ours does nothing more."""
    undo = add_ids()
    ours = logging.getLogRecordFactory()

    def theirs(*args, **fields):
        record = ours(*args, **fields)
        record.mine = True
        return record

    logging.setLogRecordFactory(theirs)
    undo()
    assert logging.getLogRecordFactory() is theirs
    LOG.warning("after")
    assert caplog.records[0].mine
    assert not hasattr(caplog.records[0], "otflowRunID")


def test_records_from_elsewhere_keep_their_ids():
    """A record that comes over a socket or a queue says where it was made, not where it is read."""
    add_ids()
    sent = {"name": "app", "otelTraceID": "a" * 32, "otelSpanID": "b" * 16, "otflowRunID": "there"}
    record = logging.makeLogRecord(sent)
    assert (record.otelTraceID, record.otelSpanID, record.otflowRunID) == ("a" * 32, "b" * 16, "there")
