"""Log records leave the process by OTLP."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otflow import StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError
from otflow.logs import add_ids, attach_handler
from otflow.logs.provider import build_provider
from otflow.telemetry import configure
from tests.otlp_sink import GENEROUS, Sink, receiving

LOG = logging.getLogger("app.orders")


@pytest.fixture(autouse=True)
def _everything_is_back() -> Iterator[None]:
    """Put handlers, the record factory and the wiring back."""
    root, before = logging.getLogger(), logging.getLogRecordFactory()
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    logging.setLogRecordFactory(before)
    configure()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Receive OTLP over HTTP."""
    with receiving() as sink:
        yield sink


class Order(Workflow):
    @step
    def pay(self, ev: StartEvent) -> StopEvent:
        LOG.warning("paying %s", ev.amount, extra={"items": [1, 2]})
        return StopEvent()


async def test_over_http(sink):
    """What a receiver decodes is the message, under its span, with its run, the resource and the headers asked for."""
    configure(tracer_provider=TracerProvider(shutdown_on_exit=False))
    add_ids()
    provider = build_provider(
        endpoint=f"{sink.endpoint}/", headers={"x-team": "shop"}, resource=Resource.create({"service.name": "shop"})
    )
    attach_handler(provider)
    handler = Order().run(amount=12)
    await handler
    assert provider.force_flush()
    [record] = sink.logs
    assert record.data.body.string_value == "paying 12"
    assert record.scope == "app.orders"
    assert record.resource["service.name"] == "shop"
    assert record.attributes["otflow.run.id"] == handler.run_id
    assert record.attributes["items"] == [1, 2]
    assert any(record.data.trace_id)
    assert any(record.data.span_id)
    assert record.data.flags == 1
    assert (sink.paths[0], sink.headers[0]["x-team"]) == ("/v1/logs", "shop")
    provider.shutdown()


def test_hostile_records_cost_no_others(sink):
    """Whatever is logged, those that are logged beside it arrive too."""
    provider = build_provider(endpoint=sink.endpoint)
    attach_handler(provider)
    LOG.warning("before")
    LOG.warning("\ud800 \x00", extra={"\udcff": 2**70, "deep": {1: {2: b"\xff"}}, "otelTraceID": "f" * 99})
    logging.getLogger("\ud800").warning("odd name")
    LOG.warning("after")
    provider.shutdown()
    assert [record.data.body.string_value for record in sink.logs] == ["before", "? \x00", "after", "odd name"]


def test_variables_are_read(sink, monkeypatch):
    """What is not said is what the variables of OpenTelemetry say."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=shop")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "till")
    provider = build_provider()
    attach_handler(provider)
    LOG.warning("here")
    provider.shutdown()
    [record] = sink.logs
    assert record.resource["service.name"] == "till"
    assert sink.headers[0]["x-team"] == "shop"


class Service(logs_service_pb2_grpc.LogsServiceServicer):
    def __init__(self) -> None:
        self.bodies: list[str] = []

    def Export(self, request, context):  # noqa: N802 - the name is that of the protocol
        self.bodies += [
            record.body.string_value
            for group in request.resource_logs
            for scoped in group.scope_logs
            for record in scoped.log_records
        ]
        return logs_service_pb2.ExportLogsServiceResponse()


@pytest.mark.parametrize("variable", [None, "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"])
def test_over_grpc(monkeypatch, variable):
    """The same over gRPC, asked for by an argument or a variable."""
    if variable:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setenv(variable, "grpc")
    service, server = Service(), grpc.server(futures.ThreadPoolExecutor(1))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    provider = build_provider(endpoint=f"http://127.0.0.1:{port}", protocol=None if variable else "grpc")
    attach_handler(provider)
    LOG.warning("by gRPC")
    provider.shutdown()
    server.stop(0).wait(GENEROUS)
    assert service.bodies == ["by gRPC"]


def test_an_unknown_protocol():
    """What cannot be spoken is refused, and the error says what can."""
    with pytest.raises(WorkflowConfigurationError, match=r"'http/json'.*'grpc', 'http/protobuf'"):
        build_provider(protocol="http/json")


def run(code: str, *arguments: str) -> str:
    """Run code in a new interpreter, and give what it says on stderr."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, timeout=GENEROUS).stderr


HELLO = """
import logging, sys
from otflow.logs import attach_handler
from otflow.logs.provider import build_provider
attach_handler(build_provider(endpoint=sys.argv[1], timeout=3600, exit_timeout=float(sys.argv[2])))
logging.getLogger("urllib3").setLevel("DEBUG")
logging.warning("last words")
"""


def test_the_last_words_arrive(sink):
    """What is logged right before the process ends is exported, and the client's own debugging is not."""
    run(HELLO, sink.endpoint, str(GENEROUS))
    assert [record.data.body.string_value for record in sink.logs] == ["last words"]


def test_a_process_ends_without_its_receiver(sink):
    """With a receiver that never answers, and an hour to wait for it, the process still ends as it would without."""
    sink.silent.add("/v1/logs")
    run(HELLO, sink.endpoint, "0.5")
    assert sink.logs == []


def test_a_process_ends_when_it_is_refused(sink):
    """With a receiver that always refuses, and an hour to try again, it does too."""
    sink.answers["/v1/logs"] = 503
    run(HELLO, sink.endpoint, "0.5")
    assert sink.logs == []
    assert sink.paths


def test_loading_is_late():
    """Ids and the handler need neither the SDK nor an exporter."""
    code = "import sys, otflow.logs; print(*sys.modules, file=sys.stderr)"
    loaded = run(code).split()
    assert "otflow.logs.handler" in loaded
    assert [name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "grpc"))] == []
