"""What a span takes from its end to the exporter, and what the processor never does to the code that ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.pipeline.exporter import Exporter
from otflow.pipeline.http import HttpSender
from otflow.pipeline.processor import Outlet
from otflow.pipeline.target import Limits, Target
from otflow.sinks.spans import attach
from tests.pipeline.receiver import GENEROUS, Receiver, Reply, receiving
from tests.pipeline.test_sending import serving


class Draft(Event):
    number: int


class Fan(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Draft | None:
        for number in range(ev.width):
            ctx.send_event(Draft(number=number))

    @step(num_workers=4)
    async def gather(self, ctx: Context, ev: Draft) -> StopEvent | None:
        found = ctx.collect_events(ev, [Draft] * 500)
        return StopEvent(result=len(found)) if found else None


def connected(receiver: Receiver, **limits: object) -> tuple[TracerProvider, Outlet, Exporter]:
    """Make a provider whose spans go to a receiver."""
    exporter = Exporter(lambda: HttpSender(Target(receiver.endpoint)), receiver.endpoint, Limits(**limits))
    outlet = Outlet()
    outlet.exporter = exporter
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outlet)
    return provider, outlet, exporter


async def test_every_span_of_a_run_arrives() -> None:
    """A run of 500 attempts, and the spans of users beside it, arrive whole; each span once."""
    with receiving() as receiver:
        provider, _, exporter = connected(receiver, interval=0.001)
        dispatcher = Dispatcher()
        detach = attach(dispatcher, provider)
        with provider.get_tracer("mine").start_as_current_span("request"):
            assert await Fan(dispatcher=dispatcher).run(width=500) == 500
        detach()
        assert provider.force_flush()
        assert sorted(receiver.names) == sorted(
            ["step split", *["step gather"] * 500, "invoke_workflow Fan", "request"]
        )
        assert exporter.status() == (503, 503, 0, 0, {}, True)
        exporter.close(GENEROUS)


def test_spans_of_many_threads_arrive() -> None:
    """Spans that end in many threads at once arrive, each once."""
    with receiving() as receiver:
        provider, _, exporter = connected(receiver, interval=0.001, batch_spans=50)
        tracer = provider.get_tracer("mine")

        def work(who: int) -> None:
            for number in range(200):
                with tracer.start_as_current_span(f"{who}:{number}"):
                    pass

        threads = [Thread(target=work, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert provider.force_flush()
        assert sorted(receiver.names) == sorted(f"{who}:{number}" for who in range(8) for number in range(200))
        exporter.close(GENEROUS)


class Recording(Sampler):
    """Records all, and samples nothing."""

    def should_sample(self, *arguments: object, **more: object) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "recording"


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, Recording()], ids=["off", "recording"])
async def test_what_is_not_sampled_is_not_sent(sampler: Sampler) -> None:
    """Spans that are not sampled go nowhere, neither those of runs nor others."""
    with receiving() as receiver:
        _, outlet, exporter = connected(receiver)
        provider, dispatcher = TracerProvider(sampler, shutdown_on_exit=False), Dispatcher()
        provider.add_span_processor(outlet)
        detach = attach(dispatcher, provider)
        with provider.get_tracer("mine").start_as_current_span("request"):
            await Fan(dispatcher=dispatcher).run(width=500)
        detach()
        provider.force_flush()
        assert exporter.status().accepted == 0
        exporter.close(GENEROUS)


def test_a_span_that_cannot_be_written_is_counted() -> None:
    """A span that nobody can write down is counted as lost, and the code that ends it goes on."""
    with receiving() as receiver:
        provider, _, exporter = connected(receiver, interval=0.001)
        span = provider.get_tracer("mine").start_span("odd")
        span._kind = None
        span.end()
        provider.get_tracer("mine").start_span("even").end()
        assert not provider.force_flush()
        assert receiver.names == ["even"]
        assert exporter.status() == (2, 1, 0, 0, {"unencodable": 1}, True)
        exporter.close(GENEROUS)


def test_many_origins() -> None:
    """Spans of thousands of scopes arrive, each under its own."""
    with receiving() as receiver:
        provider, outlet, exporter = connected(receiver, interval=0.001)
        for number in range(2500):
            provider.get_tracer(f"scope {number}").start_span(str(number)).end()
        assert provider.force_flush()
        assert receiver.names == [str(number) for number in range(2500)]
        assert len(outlet._origins) <= 1000
        exporter.close(GENEROUS)


def test_no_exporter() -> None:
    """Without an exporter spans go nowhere, and a flush has nothing to do."""
    provider, outlet = TracerProvider(shutdown_on_exit=False), Outlet()
    provider.add_span_processor(outlet)
    provider.get_tracer("mine").start_span("a").end()
    assert provider.force_flush()
    outlet.settle()
    outlet.shutdown()


async def test_large_spans_do_not_gather() -> None:
    """Only small spans gather before they are handed over, so that what waits is in the account of memory."""
    with receiving() as receiver:
        provider, _, exporter = connected(receiver)
        dispatcher = Dispatcher()
        detach = attach(dispatcher, provider)

        class Large(Workflow):
            @step
            async def one(self, ev: StartEvent) -> Draft:
                return Draft(number=1)

            @step
            async def two(self, ev: Draft) -> StopEvent:
                return StopEvent(result="x" * 20_000)

        seen: list[int] = []
        put_all = exporter.put_all
        exporter.put_all = lambda row: (seen.append(len(row)), put_all(row))
        for _ in range(3):
            await Large(dispatcher=dispatcher).run(text="y" * 20_000)
        assert sum(seen) == 9
        assert max(seen) < 4
        detach()
        exporter.close(GENEROUS)


# ---------------------------------------------------------------- processes


PROGRAM = """
import asyncio, os, sys, multiprocessing
import otflow
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.telemetry import status

class Flow(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=os.getpid())

def run(times=1):
    async def main():
        for _ in range(times):
            await Flow().run()
    asyncio.run(main())
"""


def run_program(receiver: Receiver | str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program, or a file, whose spans go to a receiver."""
    endpoint = receiver if isinstance(receiver, str) else receiver.endpoint.removesuffix("/v1/traces")
    settings = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRICS_EXPORTER": "none",
        **environment,
    }
    command = [code] if code.endswith(".py") else ["-c", PROGRAM + code]
    return subprocess.run(
        [sys.executable, *command], env=settings, capture_output=True, text=True, check=False, timeout=GENEROUS
    )


def count(receiver: Receiver) -> int:
    """Count the runs that arrived."""
    assert receiver.names.count("invoke_workflow Flow") == receiver.names.count("step only")
    return receiver.names.count("step only")


def test_a_process_sends_at_its_end() -> None:
    """What a program did arrives, though it ends at once and says nothing of telemetry."""
    with receiving() as receiver:
        done = run_program(receiver, "run(3)")
        assert (done.returncode, done.stderr) == (0, "")
        assert count(receiver) == 3


def test_nothing_runs_before_the_first_run() -> None:
    """A program that imports otflow and runs nothing has no thread and makes no connection."""
    with receiving() as receiver:
        done = run_program(receiver, "import threading; print(threading.active_count(), status())")
        assert done.stdout == "1 None\n"
        assert receiver.sizes == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_forks() -> None:
    """The spans of a child go out by a thread of its own, those of the parent once; though both had begun before."""
    with receiving() as receiver:
        code = """
run(5)
child = os.fork()
run(7)
if child:
    os.waitpid(child, 0)
print(status().accepted)
"""
        done = run_program(receiver, code)
        assert (done.returncode, done.stderr) == (0, "")
        assert count(receiver) == 5 + 7 + 7
        assert sorted(map(int, done.stdout.split())) == [14, 24]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_forks_after_sending(protocol: str) -> None:
    """A fork after spans were sent has no connection of its parent's, and neither process hangs."""
    with receiving() as receiver, serving() as service:
        target = service.endpoint if protocol == "grpc" else receiver
        code = """
from otflow.telemetry import flush
run(2)
assert flush(60)
child = os.fork()
run(3)
assert flush(60)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
        done = run_program(target, code, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "fork" not in line]) == (0, [])
        names = service.names if protocol == "grpc" else receiver.names
        assert names.count("step only") == 2 + 3 + 3


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("before", [0, 2])
def test_worker_processes(method: str, before: int, tmp_path: Path) -> None:
    """What the workers of a pool did arrives when they end, whether their parent had begun to send or not."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("there are no forks here")
    file = tmp_path / "program.py"
    code = f"""
if __name__ == "__main__":
    run({before})
    context = multiprocessing.get_context({method!r})
    workers = [context.Process(target=run, args=(3,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    run(1)
"""
    file.write_text(PROGRAM + code)
    with receiving() as receiver:
        done = run_program(receiver, str(file))
        assert (done.returncode, done.stderr) == (0, "")
        assert count(receiver) == before + 2 * 3 + 1


def test_an_end_while_the_receiver_hangs() -> None:
    """A program whose receiver never answers ends within its bound, with its own result, and says what was lost."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: Reply(0)
        code = """
import atexit, time
otflow.configure(exit_timeout=0.2, endpoint=os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"])
run(2)
start = time.monotonic()
atexit._run_exitfuncs()
print(time.monotonic() - start)
"""
        done = run_program(receiver, code)
        assert done.returncode == 0
        assert 0.2 <= float(done.stdout) < 9  # a request may take 10 seconds, and the receiver a minute
        assert "these are lost: 4 could not be sent in time" in done.stderr


def test_an_end_while_the_receiver_is_away() -> None:
    """A program whose receiver is away ends with its own result, and says once each what is wrong and what was lost."""
    done = run_program("http://127.0.0.1:9", "run(2)")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("http://127.0.0.1:9/v1/traces does not take spans (ConnectionError:")
    assert lines[1].endswith("these are lost: 4 could not be sent in time.")
