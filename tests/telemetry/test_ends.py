"""What happens at the end, in forks, and to what somebody said himself: telemetry never harms who uses it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otflow
from otflow import StartEvent, StopEvent, Workflow, configure, step
from otflow.dispatcher import Dispatcher
from otflow.pipeline.target import Target
from otflow.records.codec import encode
from otflow.redaction import Redaction, Redactor
from otflow.telemetry import _wiring, flush, tracing
from otflow.telemetry.choices import Choices, aim
from otflow.telemetry.process import Bound
from tests.otlp_sink import receiving
from tests.pipeline.receiver import GENEROUS


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end with no provider and nothing attached."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace._TRACER_PROVIDER_SET_ONCE, "_done", False)
    for name in ("provider", "outlet"):
        monkeypatch.setattr(tracing._Global, name, None)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    configure()
    yield
    configure()


class Flow(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        logging.getLogger("flow").warning("working")
        return StopEvent(result="done")


FORKING = """
import asyncio, os, sys, threading
import otflow
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.telemetry import _wiring
from opentelemetry.sdk.trace import TracerProvider

class Flow(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="done")

async def main():
    return await Flow().run()

def fork():
    child = os.fork()
    if not child:
        work()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


def python(code: str) -> str:
    """Run a program that forks, and give what it prints; one that hangs fails."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("OTEL_", "OTFLOW_", "COV"))}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "ignore", "-c", FORKING + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GENEROUS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("then", ["None", "otflow.configure()", "asyncio.run(main())"])
def test_a_child_ends_that_inherited_an_endpoint_for_metrics(then: str) -> None:
    """A forked process ends in time although its parent serves metrics, and the parent goes on serving them."""
    code = f"""
import socket, urllib.request
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
otflow.configure(prometheus_port=port)
asyncio.run(main())
work = lambda: {then}
fork()
text = urllib.request.urlopen(f"http://127.0.0.1:{{port}}/metrics").read().decode()
print('otflow_run_duration_seconds_count{{' in text)
"""
    assert python(code) == "0\nTrue\n"


def test_a_child_begins_anew_with_a_provider_of_the_user() -> None:
    """A fork in the middle of another thread's setting up leaves no child behind that waits for this thread."""
    code = """
otflow.configure(tracer_provider=TracerProvider())
held, done = threading.Event(), threading.Event()
def hold():
    with _wiring.lock:
        held.set()
        done.wait()
threading.Thread(target=hold).start()
held.wait()
def work():
    with _wiring.lock:
        pass
fork()
done.set()
"""
    assert python(code) == "0\n"


@pytest.mark.parametrize("name", ["run", "session"])
async def test_half_characters_harm_nobody(name: str) -> None:
    """A run whose id or session is no proper text is told of all the same, and so are the others; nothing is kept."""
    half = "order-\udcff"
    with receiving() as sink:
        undo = configure(endpoint=sink.endpoint)
        with otflow.tagged(session=half if name == "session" else "chat"):
            await Flow().run(run_id=half if name == "run" else "order")
        await Flow().run()
        assert flush(GENEROUS)
        assert _wiring.spans._sink._runs == {}
        undo()
    assert len(sink.spans) == 4
    assert all("otflow.records" in each.attributes for each in sink.spans)


async def test_a_run_that_cannot_be_folded_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A fault in the fold of one run neither grows in memory nor stops what is closed after it."""
    with receiving() as sink:
        undo = configure(endpoint=sink.endpoint)
        await Flow().run()
        spans = _wiring.spans._sink
        spans._runs["broken"] = object()  # its `close` raises
        undo()
        assert len(sink.spans) == 2
    assert "The spans of run broken that were open are lost." in caplog.text


@pytest.mark.parametrize("configured", [True, False])
async def test_the_policy_of_a_dispatcher_stays(configured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program told a dispatcher to hide stays hidden, unless `configure` names another policy."""
    told = []
    dispatcher = Dispatcher()
    dispatcher.redact = Redactor(Redaction(extra_keys=("iban",)))
    dispatcher.attach(told.extend)
    monkeypatch.setattr(_wiring, "choices", Choices(dispatcher=dispatcher))
    if configured:
        configure(dispatcher=dispatcher, capture="preview")
    await Flow(dispatcher=dispatcher).run(iban="DE89370400440532013000")
    assert "DE8937" not in str([encode(record) for record in told])
    configure(dispatcher=dispatcher, redact=False)
    await Flow(dispatcher=dispatcher).run(iban="DE89370400440532013000")
    assert "DE8937" in str([encode(record) for record in told])


async def test_hidden_inputs_add_to_the_policy_of_a_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the program can have more hidden, not less."""
    monkeypatch.setenv("OPENINFERENCE_HIDE_INPUTS", "true")
    dispatcher = Dispatcher()
    dispatcher.redact = Redactor(Redaction(extra_keys=("iban",)))
    configure(dispatcher=dispatcher)
    assert dispatcher.redact.policy == Redaction(extra_keys=("iban",), hide_inputs=True)


async def test_log_records_say_where_they_were_made_for_the_provider_of_the_user(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a global provider of the user, and nothing configured, records of `logging` have the ids of their span."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    await Flow().run()
    [record] = [each for each in caplog.records if each.name == "flow"]
    [span] = [each for each in exporter.get_finished_spans() if each.name == "step only"]
    assert record.otelSpanID == f"{span.context.span_id:016x}"


@pytest.mark.parametrize(
    "wanted", [{"capture": "preview"}, {"metrics": True}, {"endpoint": "", "metrics": True, "logs": True}]
)
async def test_a_disabled_sdk_sends_nothing(wanted: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED=true is stronger than the other variables, and than `configure`."""
    with receiving() as sink:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
        undo = configure(**{**wanted, **({"endpoint": sink.endpoint} if "endpoint" in wanted else {})})
        assert await Flow().run() == "done"
        flush(GENEROUS)
        undo()
        assert sink.paths == []


def test_headers_stay_with_their_receiver() -> None:
    """Headers and certificates of the environment go to no other receiver than the one that it names."""
    theirs = Target("https://a.example/v1/traces", headers={"authorization": "t"}, client_key="k", named=True)
    same = aim(Choices(endpoint="https://a.example/other"), theirs, "traces")
    assert (same.headers, same.client_key) == ({"authorization": "t"}, "k")
    other = aim(Choices(endpoint="https://b.example"), theirs, "traces")
    assert (other.endpoint, other.headers, other.client_key) == ("https://b.example/v1/traces", {}, "")
    unnamed = theirs._replace(named=False)
    assert aim(Choices(endpoint="https://b.example"), unnamed, "traces").headers == {"authorization": "t"}
    assert aim(Choices(endpoint="https://b.example", headers={}), unnamed, "traces").headers == {}


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("http://user:pa55@host:4318/v1/traces", "http://host:4318/v1/traces"),
        ("https://host/v1/traces?key=pa55", "https://host/v1/traces"),
        ("user:pa@55@host:4317", "host:4317"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_a_place_has_no_login(endpoint: str, place: str) -> None:
    """What is told of an endpoint, in log lines too, has neither login nor query."""
    assert Target(endpoint).place == place


def test_all_ends_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of an end have the time together that is allowed for it, and the last one a moment at least."""
    now = [100.0]
    monkeypatch.setattr("otflow.telemetry.process.monotonic", lambda: now[0])
    bound = Bound(3.0)
    assert bound.left() == 3.0
    bound.begin()
    now[0] += 2
    assert bound.left() == 1.0
    now[0] += 2
    assert bound.left() == 0.05
    assert (Bound(0).left(), Bound(None).left()) == (0.0, 5.0)
