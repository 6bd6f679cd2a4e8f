"""What is attached when a run starts, by whose wish, and how it is taken off again."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow import StartEvent, StopEvent, Workflow, configure, step
from otflow import telemetry as public
from otflow.dispatcher import default_dispatcher
from otflow.errors import WorkflowConfigurationError
from otflow.telemetry import flush, status, tracing, wire
from tests.otlp_sink import receiving as taking_all
from tests.pipeline.receiver import GENEROUS, Receiver, receiving

LOG = "otflow.telemetry"


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
        with trace.get_tracer("mine").start_as_current_span("inside"):
            return StopEvent(result="done")


RUN = ["inside", "step only", "invoke_workflow Flow"]


def base(receiver: Receiver) -> str:
    """Return the base URL of a receiver."""
    return receiver.endpoint.removesuffix("/v1/traces")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what otflow's telemetry said in the log."""
    return [record.getMessage() for record in caplog.records if record.name == LOG]


def make_provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    """Make a provider that exports to memory."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


# ---------------------------------------------------------------- the environment


async def test_an_endpoint_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_EXPORTER_OTLP_ENDPOINT a run is sent, and the spans of users in it, and those outside of runs."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        assert status() is None
        assert await Flow().run() == "done"
        trace.get_tracer("mine").start_span("outside").end()
        assert flush(GENEROUS)
        assert sorted(receiver.names) == sorted([*RUN, "outside"])
        assert status() == (4, 4, 0, 0, {}, True)


async def test_the_provider_of_the_user_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A global provider of the user gets the spans whatever the environment says; also one that comes later."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        provider, exporter = make_provider()
        await Flow().run()
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        await Flow().run()
        assert [span.name for span in exporter.get_finished_spans()] == RUN
        assert status() is None
        assert sorted(receiver.names) == sorted(RUN)


@pytest.mark.parametrize(
    "settings", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "unheard"}]
)
async def test_no_traces(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Where traces are forbidden, or there is no exporter, a run makes none."""
    with receiving() as receiver:
        for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": base(receiver), **settings}.items():
            monkeypatch.setenv(name, value)
        assert await Flow().run() == "done"
        assert status() is None
        assert flush(GENEROUS)
        assert receiver.sizes == []
        assert default_dispatcher.patient == ()


async def test_an_exporter_that_is_not_there(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that nobody has is said once, and the others work."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "unheard,otlp")
        for _ in range(3):
            assert await Flow().run() == "done"
        assert flush(GENEROUS)
        assert receiver.names.count("step only") == 3
        missing = "OTEL_TRACES_EXPORTER names 'unheard', but no package that is installed has such an exporter."
        assert said(caplog) == [f"{missing} It is left out."]


async def test_nonsense_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A variable that makes no sense is said once, and runs go on."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
        for _ in range(3):
            await Flow().run()
        assert flush(GENEROUS)
        [line] = said(caplog)
        assert line.startswith("This variable is left out: OTEL_EXPORTER_OTLP_TIMEOUT='soon': ")


async def test_a_spool_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A folder that cannot be used is said, and spans wait in memory; one that can be is used."""
    (tmp_path / "file").write_text("")
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        monkeypatch.setenv("OTFLOW_SPOOL", str(tmp_path / "file"))
        await Flow().run()
        assert flush(GENEROUS)
        [line] = said(caplog)
        assert "cannot be used" in line
        assert "Spans wait in memory only" in line
    configure()
    monkeypatch.setenv("OTFLOW_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    await Flow().run()
    configure()
    assert len([*(tmp_path / "spool").glob("*.otlp")]) == 1


async def test_a_port_of_the_environment_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be had of what the environment asks for is said, and everything else works."""
    with receiving() as receiver, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("OTFLOW_PROMETHEUS_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        for _ in range(2):
            assert await Flow().run() == "done"
        assert flush(GENEROUS)
        assert receiver.names.count("step only") == 2
        assert len(said(caplog)) == 1


async def test_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES describe the service, and `service_name` comes before them."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "of the environment")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with taking_all() as found:
        configure(endpoint=found.endpoint)
        await Flow().run()
        assert flush(GENEROUS)
        configure(endpoint=found.endpoint, service_name="of the call")
        await Flow().run()
        assert flush(GENEROUS)
    names = {span.resource["service.name"] for span in found.spans if span.data.name == "step only"}
    assert names == {"of the environment", "of the call"}
    assert {span.resource["deployment.environment"] for span in found.spans} == {"test"}


async def test_a_sampler_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_SAMPLER counts for otflow's own provider."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with receiving() as receiver:
        configure(endpoint=base(receiver))
        await Flow().run()
        assert flush(GENEROUS)
        assert receiver.names == []


def python(code: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with a workflow in a new interpreter."""
    program = f"""
import asyncio
from otflow import StartEvent, StopEvent, Workflow, step
class Flow(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="done")
async def main():
    print(await Flow().run())
{code}"""
    path = os.pathsep.join(filter(None, [str(folder) if folder else "", os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=GENEROUS,
    )


def test_the_console() -> None:
    """OTEL_TRACES_EXPORTER=console prints spans."""
    done = python("asyncio.run(main())", OTEL_TRACES_EXPORTER="console")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"name": "step only"' in done.stdout


FOREIGN = """
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
class Mine(SpanExporter):
    def export(self, spans):
        with open({file!r}, "a") as file:
            file.writelines(span.name + "\\n" for span in spans)
        return SpanExportResult.SUCCESS
class Hanging(SpanExporter):
    def export(self, spans):
        import threading
        threading.Event().wait(600)
def broken():
    raise RuntimeError("no")
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Install a package with exporters into a folder."""
    (tmp_path / "foreign.py").write_text(FOREIGN.format(file=str(tmp_path / "spans.txt")))
    about = tmp_path / "foreign-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[opentelemetry_traces_exporter]\nmine = foreign:Mine\nhanging = foreign:Hanging\nbroken = foreign:broken\n"
    )
    return tmp_path


def test_an_exporter_of_another_package(package: Path) -> None:
    """An exporter of another package gets all spans, at the latest at the end of the process."""
    done = python("asyncio.run(main())", package, OTEL_TRACES_EXPORTER="mine,broken")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "'broken', but it cannot be made: RuntimeError: no" in done.stderr
    assert (package / "spans.txt").read_text().split("\n") == ["step only", "invoke_workflow Flow", ""]


def test_an_exporter_that_hangs_does_not_hold_up_the_end(package: Path) -> None:
    """The end of a process takes no longer than it may, whatever the exporter of another package does."""
    code = "import otflow; otflow.configure(exit_timeout=0.2)\nasyncio.run(main())"
    done = python(code, package, OTEL_TRACES_EXPORTER="hanging")
    assert (done.returncode, done.stdout) == (0, "done\n")


# ---------------------------------------------------------------- by call


async def test_configure_and_undo() -> None:
    """What was configured can be taken back and configured again; the global provider stays, and serves the next."""
    with receiving() as first, receiving() as second:
        undo = configure(endpoint=base(first))
        provider = trace.get_tracer_provider()
        await Flow().run()
        undo()
        assert first.names == RUN
        await Flow().run()
        trace.get_tracer("mine").start_span("between").end()
        assert first.names == RUN
        configure(endpoint=base(second))
        assert trace.get_tracer_provider() is provider
        undo()  # does nothing any more
        await Flow().run()
        trace.get_tracer("mine").start_span("outside").end()
        assert flush(GENEROUS)
        assert sorted(second.names) == sorted([*RUN, "outside"])
        assert first.names == RUN


async def test_spans_of_users_follow_another_service() -> None:
    """The global provider cannot be exchanged, so spans of users go to the receiver of now by way of the first."""
    with receiving() as first, receiving() as second:
        configure(endpoint=base(first), service_name="one")
        configure(endpoint=base(second), service_name="two")
        await Flow().run()
        trace.get_tracer("mine").start_span("outside").end()
        assert flush(GENEROUS)
        assert sorted(second.names) == sorted([*RUN, "outside"])
        assert first.names == []


async def test_an_endpoint_wins_over_the_global_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names an endpoint wants the spans of runs there."""
    provider, exporter = make_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with receiving() as receiver:
        configure(endpoint=base(receiver), headers={"Authorization": "Bearer x"})
        await Flow().run()
        assert flush(GENEROUS)
        assert receiver.names == ["step only", "invoke_workflow Flow"]
        assert receiver.headers[0]["authorization"] == "Bearer x"
        assert [span.name for span in exporter.get_finished_spans()] == ["inside"]


async def test_an_end_in_the_middle_of_a_run() -> None:
    """Taking back in the middle of a run sends what there is until then."""
    with receiving() as receiver:
        undo = configure(endpoint=base(receiver))

        class Switch(Workflow):
            @step
            async def switch(self, ev: StartEvent) -> StopEvent:
                undo()
                return StopEvent(result="off")

        assert await Switch().run() == "off"
        assert receiver.names == ["step switch", "invoke_workflow Switch"]


def test_all_faults_at_once() -> None:
    """Everything that is wrong with the arguments is said in one error, and what was in force stays."""
    undo = configure(tracer_provider=make_provider()[0])
    before = default_dispatcher.patient
    with pytest.raises(WorkflowConfigurationError) as caught:
        configure(
            endpoint="localhost",
            protocol="carrier pigeon",
            headers={"a": 1},
            service_name=1,
            capture="some",
            redact="no",
            payload_store=1,
            spool=1,
            memory=True,
            max_block=-1,
            exit_timeout=float("nan"),
            metrics="yes",
            prometheus_port=0,
            prometheus_host=1,
            logs="all",
            journal=1,
            dispatcher="dispatcher",
            tracer_provider="provider",
            meter_provider="provider",
            logger_provider="provider",
        )
    lines = str(caught.value).splitlines()
    named = {line.split("(")[1].split("=")[0] for line in lines[1:]}
    everything = set(public.configure.__kwdefaults__)
    assert everything - named == set()
    assert default_dispatcher.patient == before
    undo()


def test_a_folder_that_cannot_be_used_leaves_nothing_half_done(tmp_path: Path) -> None:
    """A spool that cannot be used is an error, after which nothing is attached, and a better call works."""
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkflowConfigurationError, match="cannot be used"):
        configure(endpoint="http://127.0.0.1:9", spool=tmp_path / "file")
    assert default_dispatcher.patient == default_dispatcher.scopes == ()
    assert status() is None
    wire()
    assert default_dispatcher.patient == ()
    undo = configure(endpoint="http://127.0.0.1:9", spool=tmp_path / "spool")
    assert status() == (0, 0, 0, 0, {}, True)
    undo()


def test_a_flush_without_telemetry() -> None:
    """Where nothing is sent, everything is."""
    assert flush(0.0)


async def test_a_flush_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush reaches the provider of the user."""
    provider, _ = make_provider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    await Flow().run()
    assert flush(GENEROUS)


def test_runs_in_threads() -> None:
    """Runs that start in many threads at once build one way out, and all of them arrive."""
    with receiving() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base(receiver))
        threads = [Thread(target=lambda: asyncio.run(go())) for _ in range(8)]

        async def go() -> None:
            assert await Flow().run() == "done"

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert flush(GENEROUS)
        assert sorted(receiver.names) == sorted(RUN * 8)
        assert len(default_dispatcher.patient) == 1


def test_a_log_of_its_own() -> None:
    """All that telemetry says goes to one logger, which can be silenced."""
    assert logging.getLogger(LOG).handlers == []
