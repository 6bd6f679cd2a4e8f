"""Log records become those of OpenTelemetry."""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from otflow import StartEvent, StopEvent, Workflow, step
from otflow.logs import add_ids, attach_handler
from otflow.logs.handler import OtelHandler
from otflow.telemetry import configure

LOG = logging.getLogger("app.orders")


@pytest.fixture(autouse=True)
def _everything_is_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put handlers, levels, the record factory and the wiring back."""
    root, before = logging.getLogger(), logging.getLogRecordFactory()
    handlers = list(root.handlers)
    monkeypatch.setattr(LOG, "level", logging.DEBUG)
    LOG.manager._clear_cache()
    yield
    root.handlers[:] = handlers
    logging.setLogRecordFactory(before)
    configure()


@pytest.fixture
def exporter() -> InMemoryLogRecordExporter:
    """Keep what is exported."""
    return InMemoryLogRecordExporter()


@pytest.fixture
def provider(exporter) -> LoggerProvider:
    """Export at once."""
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return provider


def exported(exporter: InMemoryLogRecordExporter) -> list[object]:
    """Give the log records themselves."""
    return [each.log_record for each in exporter.get_finished_logs()]


class Order(Workflow):
    @step
    async def pay(self, ev: StartEvent) -> StopEvent:
        LOG.info("paying %s", ev.amount, extra={"currency": "EUR"})
        return StopEvent(result=trace.get_current_span().get_span_context())


async def test_a_log_line_of_a_step(provider, exporter):
    """It stands under the span of its attempt, and says its run, its workflow, its step and its place in the code."""
    configure(tracer_provider=TracerProvider(shutdown_on_exit=False))
    attach_handler(provider)
    handler = Order().run(amount=12)
    span = await handler
    [record] = exported(exporter)
    assert record.body == "paying 12"
    assert (record.trace_id, record.span_id, record.trace_flags) == (span.trace_id, span.span_id, span.trace_flags)
    assert (record.severity_number, record.severity_text) == (SeverityNumber.INFO, "INFO")
    place = Order.pay.__code__
    assert dict(record.attributes) == {
        "currency": "EUR",
        "otflow.run.id": handler.run_id,
        "otflow.workflow.name": "Order",
        "otflow.step.name": "pay",
        "code.file.path": place.co_filename,
        "code.function.name": "pay",
        "code.line.number": place.co_firstlineno + 2,
    }
    assert exporter.get_finished_logs()[0].instrumentation_scope.name == "app.orders"


def test_times_are_those_of_the_record(provider, exporter):
    """A log record keeps the time at which it was made, to the microsecond."""
    attach_handler(provider)
    record = logging.makeLogRecord({"name": "app", "msg": "late", "levelno": 30, "created": 1_700_000_000.25})
    logging.getLogger().handle(record)
    [shown] = exported(exporter)
    assert abs(shown.timestamp - 1_700_000_000_250_000_000) < 1000
    assert shown.observed_timestamp > shown.timestamp


@pytest.mark.parametrize(
    ("level", "number", "text"),
    [
        (0, SeverityNumber.UNSPECIFIED, "NOTSET"),
        (5, SeverityNumber.TRACE4, "Level 5"),
        (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
        (15, SeverityNumber.DEBUG4, "Level 15"),
        (logging.INFO, SeverityNumber.INFO, "INFO"),
        (21, SeverityNumber.INFO2, "Level 21"),
        (logging.WARNING, SeverityNumber.WARN, "WARN"),
        (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
        (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
        (999, SeverityNumber.FATAL4, "Level 999"),
    ],
)
def test_severities(provider, exporter, level, number, text):
    """Each level has a severity, also those that nobody gave a name."""
    OtelHandler(provider, 0).handle(
        logging.makeLogRecord({"levelno": level, "levelname": logging.getLevelName(level), "msg": "x"})
    )
    [record] = exported(exporter)
    assert (record.severity_number, record.severity_text) == (number, text)


def test_levels(provider, exporter):
    """What is below the level stays here."""
    attach_handler(provider, logging.WARNING)
    LOG.info("quiet")
    LOG.warning("loud")
    assert [record.body for record in exported(exporter)] == ["loud"]


class Unpaid(Exception):
    pass


def fail() -> None:
    """Fail with an exception that has a cause."""
    try:
        {}["card"]
    except KeyError as error:
        raise Unpaid("no card") from error


def test_exceptions(provider, exporter):
    """An exception comes with its qualified type, its text and its stack, cause included."""
    attach_handler(provider)
    try:
        fail()
    except Unpaid:
        LOG.exception("cannot pay")
    [record] = exported(exporter)
    assert record.body == "cannot pay"
    assert record.attributes["exception.type"] == f"{__name__}.Unpaid"
    assert record.attributes["exception.message"] == "no card"
    stack = record.attributes["exception.stacktrace"]
    assert "KeyError: 'card'" in stack
    assert stack.rstrip().endswith("Unpaid: no card")


def test_no_exception(provider, exporter):
    """Asking for an exception where there is none is no fault."""
    attach_handler(provider)
    LOG.error("nothing happened", exc_info=(None, None, None))
    [record] = exported(exporter)
    assert not [key for key in record.attributes if key.startswith("exception.")]


def test_long_texts_are_cut(provider, exporter):
    """A text has at most 64 Ki characters, a stack the last 8 Ki."""
    attach_handler(provider)
    LOG.error("y" * 100_000, exc_info=ValueError("x" * 100_000 + "end"))
    [record] = exported(exporter)
    assert record.body == "y" * 65_536
    assert len(record.attributes["exception.message"]) == 65_536
    assert len(record.attributes["exception.stacktrace"]) == 8192
    assert record.attributes["exception.stacktrace"].endswith("end\n")


def scrub(text: str) -> str:
    """Hide what is secret here."""
    return text.replace("s3cret", "[redacted]")


def test_scrubbing(provider, exporter):
    """Every text of users passes the scrubber: message, exception, stack and what came along, at any depth."""
    attach_handler(provider, scrub=scrub)
    extra = {"token": "s3cret", "deep": {"list": ["s3cret"]}, "what": Loud()}
    LOG.error("key %s", "s3cret", exc_info=ValueError("s3cret"), stack_info=True, extra=extra)
    [record] = exported(exporter)
    assert "s3cret" not in repr((record.body, dict(record.attributes)))
    assert record.body == "key [redacted]"
    assert record.attributes["deep"] == {"list": ("[redacted]",)}
    assert record.attributes["what"] == "loud [redacted]"
    assert "[redacted]" in record.attributes["exception.stacktrace"]
    assert "test_scrubbing" in record.attributes["code.stacktrace"]


def test_hidden_names(provider, exporter):
    """What came along under a name that is secret stays here, at any depth; its neighbours go."""
    attach_handler(provider, hides=lambda name: "token" in name)
    LOG.info("x", extra={"token": ["abc"], "user": {"id": 7, "my_token": {"deep": "abc"}}, "plain": "abc"})
    [record] = exported(exporter)
    shown = {key: value for key, value in record.attributes.items() if not key.startswith("code.")}
    assert shown == {
        "token": "__REDACTED__",
        "user": {"id": 7, "my_token": "__REDACTED__"},
        "plain": "abc",
    }


class Loud:
    def __str__(self) -> str:
        return "loud s3cret"


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_any_value_can_come_along(provider, exporter):
    """What OTLP cannot carry goes as text; what has no text says so; None is left out."""
    attach_handler(provider)
    extra = {"big": 2**64, "small": -1, "ratio": 0.5, "flag": True, "none": None, "many": (1, 2), "mute": Mute()}
    LOG.info("odd %s", "\udcff", extra={**extra, "odd\udcff": "\ud800"})
    [record] = exported(exporter)
    assert record.body == "odd ?"
    shown = {key: value for key, value in record.attributes.items() if not key.startswith("code.")}
    assert shown == {
        "big": "18446744073709551616",
        "small": -1,
        "ratio": 0.5,
        "flag": True,
        "many": (1, 2),
        "mute": "<Mute without a text>",
        "odd?": "?",
    }


@contextmanager
def as_exporter() -> Iterator[None]:
    """Do as whoever exports does."""
    token = otel.attach(otel.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        otel.detach(token)


@pytest.mark.parametrize("name", ["opentelemetry", "opentelemetry.exporter.x", "otflow.pipeline", "otflow.telemetry.x"])
def test_exporters_are_left_out(provider, exporter, name):
    """What exporters say is never exported."""
    attach_handler(provider)
    logging.getLogger(name).error("cannot export")
    assert exported(exporter) == []


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "requests", "grpc", "mine"])
def test_clients_are_left_out_while_exporting(provider, exporter, name):
    """What an exporter's client says is left out, and only then."""
    attach_handler(provider)
    with as_exporter():
        logging.getLogger(name).error("retrying")
    logging.getLogger(name).error("for the user")
    assert [record.body for record in exported(exporter)] == ["for the user"]


@pytest.mark.parametrize("name", ["opentelemetrist", "otflow", "otflow.pipelines"])
def test_names_that_only_look_alike_go_out(provider, exporter, name):
    """A logger is not left out because its name begins like another one."""
    attach_handler(provider)
    logging.getLogger(name).error("here")
    assert len(exported(exporter)) == 1


class Talking(LogRecordProcessor):
    """Logs whatever it gets."""

    def __init__(self) -> None:
        self.bodies: list[object] = []

    def on_emit(self, log_record) -> None:
        self.bodies.append(log_record.log_record.body)
        LOG.warning("got one")

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do nothing."""
        return True


def test_a_processor_that_logs(provider):
    """What a processor logs about a record makes no other one."""
    talking = Talking()
    provider.add_log_record_processor(talking)
    attach_handler(provider)
    LOG.warning("one")
    LOG.warning("two")
    assert talking.bodies == ["one", "two"]


async def test_a_record_that_is_read_in_another_thread(provider, exporter):
    """Behind a queue a record still stands under the span in which it was made."""
    configure(tracer_provider=TracerProvider(shutdown_on_exit=False))
    add_ids()
    lines: queue.Queue[logging.LogRecord] = queue.Queue()
    listener = logging.handlers.QueueListener(lines, OtelHandler(provider))
    sender = logging.handlers.QueueHandler(lines)
    LOG.addHandler(sender)
    listener.start()
    try:
        handler = Order().run(amount=12)
        span = await handler
    finally:
        LOG.removeHandler(sender)
        listener.stop()
    [record] = exported(exporter)
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.attributes["otflow.run.id"] == handler.run_id


def test_a_record_from_another_process(provider, exporter):
    """Where the exception itself stayed behind, its stack came along."""
    record = logging.makeLogRecord({"name": "app", "msg": "cannot pay", "levelno": 40, "exc_text": "Unpaid: s3cret"})
    OtelHandler(provider, scrub=scrub).handle(record)
    [shown] = exported(exporter)
    assert shown.attributes["exception.stacktrace"] == "Unpaid: [redacted]"


@pytest.mark.parametrize(
    "ids", [{"otelTraceID": "what?"}, {"otelTraceID": 7}, {"otelTraceID": "f" * 40, "otelSpanID": "1"}]
)
def test_ids_that_are_none(provider, exporter, ids):
    """What others put in the place of ids is not taken for them."""
    OtelHandler(provider).handle(logging.makeLogRecord({"msg": "x", "levelno": 20, **ids}))
    [record] = exported(exporter)
    assert (record.trace_id, record.span_id) == (0, 0)


def test_a_record_made_outside_of_all_spans(provider, exporter):
    """A record that says it has no span gets none, whoever reads it."""
    add_ids()
    record = logging.makeLogRecord({"msg": "x", "levelno": 20})
    with trace.get_tracer("mine", tracer_provider=TracerProvider()).start_as_current_span("reading"):
        OtelHandler(provider).handle(record)
    [shown] = exported(exporter)
    assert (shown.trace_id, shown.span_id) == (0, 0)


def test_a_scrubber_that_fails(provider, exporter, capsys, monkeypatch):
    """What cannot be scrubbed is not sent, and who logs does not fail."""
    monkeypatch.setattr(logging, "raiseExceptions", True)

    def refuse(text: str) -> str:
        raise ValueError("cannot tell")

    attach_handler(provider, scrub=refuse)
    LOG.info("s3cret")
    assert exported(exporter) == []
    assert "cannot tell" in capsys.readouterr().err


def test_undoing(provider, exporter):
    """Afterwards nothing goes out, and the root logger has the handlers that it had."""
    before = list(logging.getLogger().handlers)
    undo = attach_handler(provider)
    undo()
    LOG.warning("too late")
    assert exported(exporter) == []
    assert logging.getLogger().handlers == before
    undo()


class Theirs(logging.Handler):
    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._logger_provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        self._logger_provider.get_logger("theirs").emit(body=record.getMessage())


def test_nothing_goes_out_twice(provider, exporter):
    """Where someone else's handler feeds the same provider, there is no second one; for another provider there is."""
    logging.getLogger().addHandler(Theirs(provider))
    undo = attach_handler(provider)
    LOG.warning("once")
    assert len(exported(exporter)) == 1
    attach_handler(LoggerProvider(shutdown_on_exit=False))
    assert any(isinstance(handler, OtelHandler) for handler in logging.getLogger().handlers)
    undo()
