"""Ten thousand runs with a receiver that is absent, refuses, is slow, or is killed: results, memory, and the account.

Each program and each receiver is a process. What is missing at the receiver is what the program counts as lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from stack.process import Process, find_free_ports, kill_process, poll, start_process, stop_process, wait_until_ready
from stack.servers import Plan

HERE = Path(__file__).parent
RUNS, SPANS = 10_000, 4  # of each run
MIB = 1 << 20
SLACK = 2.0  # seconds for which a busy machine may not let a thread go on
ENOUGH = 128 * MIB  # memory for all spans of a program, however far the machine lets its sender fall behind
LIBRARIES = 48 * MIB  # for what is loaded to send, requests on their way, and what the allocator keeps
PATIENCE = 300.0


class Report(NamedTuple):
    """What a program tells at its end."""

    right: int
    grown: int
    peak: int
    longest: float
    status: dict[str, object]
    log: str

    @property
    def lost(self) -> int:
        """How many spans it counts as lost."""
        return sum(self.status["dropped"].values())


class Program:
    """A program with many runs.

    Args:
        runs: how many.
        stops: after how many of them it waits to be told to go on.
        settings: what `otflow.configure` gets.
        flush: for how many seconds it waits at its end until all is sent.
        environment: further variables.
    """

    def __init__(
        self,
        runs: int = RUNS,
        *,
        stops: tuple[int, ...] = (),
        settings: Mapping[str, object] | None = None,
        flush: float = 0.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        wanted = {"runs": runs, "stops": stops, "settings": settings, "flush": flush}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OTFLOW_", "COV"))}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "faults_program.py"), json.dumps(wanted)],
            env={**kept, "OTEL_METRICS_EXPORTER": "none", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, stop: int) -> None:
        """Wait until it has done so many runs, and waits."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{stop}\n"

    def go_on(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def finish(self) -> Report:
        """Wait for its end, and read its report."""
        output, log = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, log
        report = Report(**json.loads(output.splitlines()[-1]), log=log)
        assert report.right >= 0
        return report


class Keeper:
    """A receiver in a process of its own, which can be killed and started again.

    Args:
        folder: where it writes what it took.
        manner: what it does with requests.
    """

    def __init__(self, folder: Path, manner: str = "keep") -> None:
        [self._port] = find_free_ports(1)
        self._folder, self._manner = folder, manner
        self._file = folder / "ids.txt"
        self._process: Process | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, HERE / "keeper.py", str(self._port), str(self._file), self._manner]
        self._process = start_process("keeper", command, {**os.environ}, self._folder)
        wait_until_ready(self._process, f"{self.endpoint}/", 60)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        kill_process(self._process)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            stop_process(self._process, patience=2)

    def ids(self) -> set[str]:
        """Return the ids of the spans that it took."""
        return set(self._file.read_text().split()) if self._file.exists() else set()


@contextmanager
def keeping(folder: Path, manner: str = "keep") -> Iterator[Keeper]:
    """Run a receiver, until the block ends."""
    keeper = Keeper(folder, manner)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


@pytest.fixture(scope="module")
def bare() -> Report:
    """Run the program without telemetry."""
    report = Program().finish()
    assert (report.right, report.status) == (RUNS, None)
    return report


def check(report: Report, bare: Report, memory: int, kept: int, runs: int = RUNS) -> None:
    """See to it that all results are right, the memory is bounded, and the account is that of the receiver."""
    status = report.status
    assert report.right == runs
    assert status["accepted"] == runs * SPANS
    assert status["waiting"] == 0
    assert status["sent"] + status["spooled"] + report.lost == runs * SPANS
    assert runs * SPANS - kept == report.lost + status["spooled"]
    assert report.peak <= bare.peak + memory + LIBRARIES


def test_nobody_is_there(bare: Report) -> None:
    """Without a receiver runs are not held up, a bounded number of spans is kept, and all are counted as lost."""
    [port] = find_free_ports(1)
    settings = {"endpoint": f"http://127.0.0.1:{port}", "memory": 4 * MIB}
    report = Program(settings=settings).finish()
    check(report, bare, 4 * MIB, 0)
    assert {*report.status["dropped"]} == {"full", "exit"}
    assert report.longest < SLACK
    assert len(report.log.splitlines()) == 2


def test_it_refuses(bare: Report, tmp_path: Path) -> None:
    """A receiver that is overloaded at first, and then wants nothing of it, gets no span, and all are counted."""
    with keeping(tmp_path, "503:3:400") as keeper:
        report = Program(settings={"endpoint": keeper.endpoint, "memory": 4 * MIB}, flush=60).finish()
        check(report, bare, 4 * MIB, 0)
    assert {*report.status["dropped"]} <= {"refused", "full"}
    assert "refused" in report.status["dropped"]
    assert report.longest < 2.0 + SLACK


def test_it_is_slow(bare: Report, tmp_path: Path) -> None:
    """Runs that are faster than the receiver wait for it, never longer than they may, and nothing is lost."""
    with keeping(tmp_path, "slow:0.05") as keeper:
        settings = {"endpoint": keeper.endpoint, "memory": 2 * MIB, "max_block": 20.0}
        report = Program(settings=settings, flush=60).finish()
        check(report, bare, 2 * MIB, len(keeper.ids()))
    assert report.lost == 0
    assert report.longest < 20.0


def test_it_is_far_too_slow(bare: Report, tmp_path: Path) -> None:
    """A receiver that is hopelessly slow costs a run no more than the bound, and spans that are counted."""
    with keeping(tmp_path, "slow:3") as keeper:
        settings = {"endpoint": keeper.endpoint, "memory": 2 * MIB, "max_block": 0.2}
        report = Program(settings=settings, flush=60).finish()
        check(report, bare, 2 * MIB, len(keeper.ids()))
    assert report.lost > 0
    assert report.longest < 0.2 + SLACK


@pytest.mark.parametrize("way", ["memory", "little memory", "spool"])
def test_it_is_killed_and_comes_back(bare: Report, tmp_path: Path, way: str) -> None:
    """A receiver that is killed and started again has all spans at the end, but for those that are counted."""
    memory = ENOUGH if way == "memory" else MIB
    with keeping(tmp_path) as keeper:
        settings = {"endpoint": keeper.endpoint, "memory": memory, "exit_timeout": 30.0}
        if way == "spool":
            settings["spool"] = str(tmp_path / "spool")
        program = Program(stops=(5000, 8000), settings=settings, flush=120)
        program.wait_for(5000)
        keeper.kill()
        program.go_on()
        program.wait_for(8000)
        keeper.start()
        program.go_on()
        report = program.finish()
        more = 0
        while any((tmp_path / "spool").glob("*.*")) and more < RUNS * SPANS:  # later processes send what lies in files
            Program(200, settings=settings, flush=60).finish()
            more += 200 * SPANS
        if more:
            report = report._replace(status={**report.status, "sent": RUNS * SPANS, "spooled": 0})
        check(report, bare, memory, len(keeper.ids()) - more)
    assert bool(report.lost) == (way == "little memory")
    assert report.longest < 2.0 + SLACK


COLLECTOR = {
    "receivers": {
        "otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:{http}"}, "grpc": {"endpoint": "127.0.0.1:{grpc}"}}}
    },
    "extensions": {
        "health_check": {"endpoint": "127.0.0.1:{health}"},
        "file_storage": {"directory": "{folder}/queue", "create_directory": True},
    },
    "exporters": {
        "file": {"path": "{folder}/spans.jsonl"},
        "otlp_http": {
            "endpoint": "{keeper}",
            "compression": "none",
            "sending_queue": {"storage": "file_storage", "queue_size": 100_000},
            "retry_on_failure": {"initial_interval": "100ms", "max_interval": "1s", "max_elapsed_time": "0s"},
        },
    },
    "service": {
        "extensions": ["health_check", "file_storage"],
        "telemetry": {"metrics": {"level": "none"}},
        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["{exporter}"]}},
    },
}


def plan(
    tool: Callable[[str], Path], folder: Path, exporter: str, keeper: str = "http://127.0.0.1:9"
) -> tuple[Plan, dict[str, int]]:
    """Plan a real collector that hands spans to one exporter."""
    http, grpc, health = find_free_ports(3)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(COLLECTOR)
    names = {"http": http, "grpc": grpc, "health": health, "folder": folder, "keeper": keeper, "exporter": exporter}
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", str(value))
    configuration = json.loads(text)
    exporters = configuration["exporters"]
    configuration["exporters"] = {exporter: exporters[exporter]}
    file = folder / "collector.yaml"
    file.write_text(json.dumps(configuration))
    command = (str(tool("collector")), f"--config={file}")
    ready = f"http://127.0.0.1:{health}/"
    return Plan("collector", command, folder, ready, (http, grpc, health), {}), {"http": http, "grpc": grpc}


def count_spans(file: Path) -> int:
    """Count the spans in the file of a collector, each once."""
    with file.open() as lines:
        return len(
            {
                span["spanId"]
                for line in lines
                for group in json.loads(line)["resourceSpans"]
                for scoped in group["scopeSpans"]
                for span in scoped["spans"]
            }
        )


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_nothing_is_lost_at_full_speed(
    tool: Callable[[str], Path], start: Callable[[Plan], Process], tmp_path: Path, protocol: str
) -> None:
    """With default settings and a real collector, 100,000 spans at full speed all arrive, in little memory."""
    planned, ports = plan(tool, tmp_path / "collector", "file")
    process = start(planned)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports[protocol]}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
    }
    report = Program(25_000, environment=environment, flush=60).finish()
    assert report.right == 25_000
    assert report.status["sent"] == 100_000
    assert report.lost == 0
    stop_process(process)
    assert count_spans(tmp_path / "collector" / "spans.jsonl") == 100_000
    assert report.grown <= 64 * MIB


def test_a_collector_is_killed_and_comes_back(
    tool: Callable[[str], Path], start: Callable[[Plan], Process], bare: Report, tmp_path: Path
) -> None:
    """A real collector with a persistent queue, killed and started again in the middle, loses nothing.

    The program has room for all spans: what finds none while the collector is away is lost rightly, and counted.
    """
    with keeping(tmp_path) as keeper, ExitStack() as stack:
        planned, ports = plan(tool, tmp_path / "collector", "otlp_http", keeper.endpoint)
        process = start(planned)
        settings = {"endpoint": f"http://127.0.0.1:{ports['http']}", "memory": ENOUGH, "exit_timeout": 30.0}
        program = Program(stops=(5000, 8000), settings=settings, flush=120)
        program.wait_for(5000)
        kill_process(process)
        program.go_on()
        program.wait_for(8000)
        stack.callback(stop_process, start(planned))
        program.go_on()
        report = program.finish()
        assert report.lost == 0, report.log
        assert poll(lambda: len(keeper.ids()) >= RUNS * SPANS, PATIENCE)
        check(report, bare, ENOUGH, len(keeper.ids()))
