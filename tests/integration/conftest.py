"""Real servers for the tests in this folder, one of each for the whole session, on loopback and free ports.

Every test in this folder is marked `integration`; `make integration` puts the servers onto the machine and runs them.
A test that asks for a server which this machine cannot have is skipped with the reason; with CI=true it fails.

* `jaeger` (`servers.Jaeger`): `url` for page, `/api/traces` and `/api/v3/traces`; `otlp_grpc`, `otlp_http`.
* `phoenix` (`servers.Phoenix`): `url` for page, `/v1/...` and `/graphql`, and as base of OTLP over HTTP; `otlp_grpc`.
* `prometheus` (`servers.Prometheus`): `url`. It scrapes every second what `scrape(prometheus, "otflow", [address])`
  names; the job "collector" is the collector's. It loads the rules of `grafana/prometheus/rules`.
* `collector` (`servers.Collector`): the laptop variant in front of the other three: `otlp_grpc`, `otlp_http`,
  `metrics`, `own_metrics`, and `archive`, a file with one OTLP-JSON object per line.
* `chromium` (`Path`): a script that runs a headless browser:
  `subprocess.run([chromium, "--screenshot=a.png", "--window-size=1400,900", "--virtual-time-budget=15000", url])`.
* `tool("compose")` (`Path`): the program of any tool in `stack.recipes`; `promtool` lies beside `tool("prometheus")`.
* `start(plan)` (`Process`): launches a `servers.Plan` for one test. Such a process can be killed with `kill_process`,
  and the same plan started again: it has the same ports and finds its files.
* `work` (`Path`): a folder for the servers of one test.

All endpoints are URLs with scheme and port; the address for a gRPC exporter is the same with `insecure=True`. Servers
are shared: use a service name of your own (`unique("name")`), never ask for "all traces". What a server shows late is
waited for with `stack.process.poll(condition, seconds)` or `tests.integration.reading.wait_for`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stack.browser import write_launcher
from stack.install import find_tool
from stack.process import Process, StackError, find_free_ports, read_tail, stop_process
from stack.servers import (
    Collector,
    Jaeger,
    Phoenix,
    Plan,
    Prometheus,
    launch,
    plan_collector,
    plan_jaeger,
    plan_phoenix,
    plan_prometheus,
    scrape,
)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("integration")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers of a failed test said last: nobody can look into the logs of a machine for tests."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for folder in (item.funcargs.get(name) for name in ("session_folder", "work")):
            for log in sorted(folder.rglob("*.log")) if isinstance(folder, Path) else ():
                report.sections.append((f"end of {log.relative_to(folder)}", read_tail(log)))
    return report


def give_up(reason: str) -> None:
    """Skip a test for want of a server; fail where servers have to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true: every server is wanted)")
    pytest.skip(reason)


def run(plan: Plan, stack: ExitStack) -> Process:
    """Launch a server and end it with the stack; a server that does not start is a reason to give up."""
    try:
        process = launch(plan)
    except StackError as error:
        give_up(str(error))
        raise
    stack.callback(stop_process, process, patience=5)  # what it would save by ending slowly, nobody reads
    return process


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Find the program of a tool."""

    def find(name: str) -> Path:
        program = find_tool(name)
        if program is None:
            give_up(f"{name} is not on this machine: `make integration` puts it there")
            raise AssertionError(name)
        return program

    return find


@pytest.fixture(scope="session")
def servers() -> Iterator[ExitStack]:
    """Hold what runs for the whole session."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the folder for the servers of the session, with their logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def jaeger(tool: Callable[[str], Path], servers: ExitStack, session_folder: Path) -> Jaeger:
    """Start a Jaeger."""
    tool("jaeger")
    plan, found = plan_jaeger(session_folder, *find_free_ports(3))
    run(plan, servers)
    return found


@pytest.fixture(scope="session")
def phoenix(tool: Callable[[str], Path], servers: ExitStack, session_folder: Path) -> Phoenix:
    """Start a Phoenix; it takes half a minute."""
    tool("phoenix")
    plan, found = plan_phoenix(session_folder, *find_free_ports(2))
    run(plan, servers)
    return found


@pytest.fixture(scope="session")
def prometheus(tool: Callable[[str], Path], servers: ExitStack, session_folder: Path) -> Prometheus:
    """Start a Prometheus that scrapes every second, and nothing at first."""
    tool("prometheus")
    plan, found = plan_prometheus(session_folder, find_free_ports(1)[0], {}, interval="1s")
    run(plan, servers)
    return found


@pytest.fixture(scope="session")
def collector(
    tool: Callable[[str], Path],
    jaeger: Jaeger,
    phoenix: Phoenix,
    prometheus: Prometheus,
    servers: ExitStack,
    session_folder: Path,
) -> Collector:
    """Start a collector as on a laptop, in front of the other servers."""
    tool("collector")
    settings = {
        "COLLECTOR_JAEGER": jaeger.otlp_grpc.removeprefix("http://"),
        "COLLECTOR_PHOENIX": phoenix.url,
        "COLLECTOR_SPAN_METRICS_INTERVAL": "1s",
    }
    plan, found = plan_collector(session_folder, "laptop", find_free_ports(5), settings)
    run(plan, servers)
    scrape(prometheus, "collector", [found.metrics])
    scrape(prometheus, "collector-itself", [found.own_metrics])
    return found


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Name a new folder for the servers of one test."""
    return tmp_path / "servers"


@pytest.fixture
def start(
    tool: Callable[[str], Path], request: pytest.FixtureRequest, work: Path
) -> Iterator[Callable[[Plan], Process]]:
    """Launch servers for one test."""
    with ExitStack() as stack:
        yield lambda plan: run(plan, stack)


@pytest.fixture(scope="session")
def chromium(tool: Callable[[str], Path], session_folder: Path) -> Path:
    """Write a script that runs a headless Chromium."""
    return write_launcher(tool("chromium"), session_folder / "chromium")
