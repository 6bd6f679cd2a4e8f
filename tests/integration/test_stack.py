"""`make stack`, `make demo-traced` and `make stack-down`, and the same in containers as far as it can be checked."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stack.process import Process, find_free_ports, is_running, is_serving
from stack.recipes import RECIPES, ROOT, Builder
from stack.servers import Jaeger
from tests.integration.reading import read_json, wait_for

PORTS = (
    *("OTLP_GRPC", "OTLP_HTTP", "HEALTH", "METRICS", "OWN_METRICS", "JAEGER", "JAEGER_GRPC", "JAEGER_HTTP"),
    *("PHOENIX", "PHOENIX_GRPC", "PROMETHEUS", "APP_METRICS"),
)


@pytest.fixture
def environment(tool: Callable[[str], Path], work: Path) -> dict[str, str]:
    """Give the variables for a stack on free ports, with a state of its own."""
    for name in ("collector", "jaeger", "phoenix", "prometheus"):
        tool(name)
    ports = dict(zip(PORTS, find_free_ports(len(PORTS)), strict=True))
    own = {f"OTFLOW_STACK_PORT_{name}": str(port) for name, port in ports.items()}
    return {**os.environ, **own, "OTFLOW_STACK_STATE": str(work)}


def stack(environment: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the stack."""
    return subprocess.run(
        [sys.executable, "-m", "stack", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def up(environment: dict[str, str], work: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """Start the stack, where it ran before, and end it."""
    (work / "servers").mkdir(parents=True)
    (work / "servers" / "phoenix.log").write_text("what was said the last time\n")
    yield stack(environment, "up")
    stack(environment, "down")


def read_processes(work: Path) -> list[dict]:
    """Read what the stack has written down about its processes."""
    return json.loads((work / "processes.json").read_text())


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""The addresses of loopback as Linux writes them: IPv4, the same in IPv6, and IPv6."""


def find_listeners(processes: list[dict]) -> set[tuple[str, str]]:
    """Give the addresses at which processes listen, by TCP or UDP, with the names of the processes."""
    owners = {}
    for process in processes:
        for link in Path(f"/proc/{process['pid']}/fd").iterdir():
            with suppress(FileNotFoundError):
                owners[str(link.readlink())] = process["name"]
    found = set()
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            name = owners.get(f"socket:[{fields[9]}]")
            if name and fields[3] in states:
                found.add((name, fields[1].rpartition(":")[0]))
    return found


def test_the_stack_comes_and_goes(
    up: subprocess.CompletedProcess[str], environment: dict[str, str], work: Path, jaeger: Jaeger
) -> None:
    """What is started can be looked at where the table says, takes the demo, and is ended: that, and nothing else."""
    assert (up.returncode, up.stderr) == (0, "")
    assert max(len(line) for line in up.stdout.splitlines() if str(work) not in line) <= 80
    pages = re.findall(r"(?:Jaeger API|Phoenix|Prometheus) +(http\S+)", up.stdout)
    assert [is_serving(page) for page in pages] == [True] * 3
    assert pages[2].endswith("/api/services")  # it has no page that one could be sent to
    processes = read_processes(work)
    assert {process["name"] for process in processes} == {"collector", "jaeger", "phoenix", "prometheus"}
    assert {name for name, where in find_listeners(processes) if where not in LOOPBACK} == set()
    assert {name for name, _ in find_listeners(processes)} == {process["name"] for process in processes}

    again = stack(environment, "up")
    assert "it is up already" in again.stdout
    assert read_processes(work) == processes

    demo = stack(environment, "demo")
    assert (demo.returncode, demo.stderr) == (0, "")
    in_phoenix, in_jaeger = re.findall(r"^  (?:Jaeger API|Phoenix) +(http\S+)$", demo.stdout, re.MULTILINE)
    base, _, trace = in_jaeger.rpartition("/api/traces/")
    [found] = read_json(in_jaeger)["data"]
    assert any(span["operationName"].startswith("invoke_workflow") for span in found["spans"])
    assert in_phoenix.endswith(f"/traces/{trace}")
    assert is_serving(in_phoenix)
    assert read_json(f"{base}/api/services")["data"] == ["otflow-demo"]  # nothing of it traces itself
    log = (work / "servers" / "phoenix.log").read_text()
    assert not re.search(r"sqlalchemy|GET /|POST /", log)
    assert "the last time" not in log

    down = stack(environment, "down")
    assert down.stdout == "stack: ended collector, phoenix, prometheus, jaeger\n"
    assert [process["name"] for process in processes if is_running(Process(**process))] == []
    assert is_serving(f"{jaeger.url}/api/services")  # which was not part of it
    assert stack(environment, "down").stdout == "stack: nothing of it runs\n"


def test_a_taken_port_is_told(environment: dict[str, str], work: Path) -> None:
    """Where somebody else listens, nothing is started, and the message names the port and whose it would be."""
    port = environment["OTFLOW_STACK_PORT_PROMETHEUS"]
    with socket.create_server(("127.0.0.1", int(port))):
        shown = stack(environment, "up")
    assert shown.returncode == 1
    assert f"port {port} (prometheus)" in shown.stderr
    assert not (work / "processes.json").exists()


def test_nobody_else_is_ended(environment: dict[str, str], work: Path) -> None:
    """A process that got the id of a server which is gone is not ended."""
    work.mkdir(parents=True)
    row = {"name": "jaeger", "pid": os.getpid(), "began": "another boot/1", "log": "jaeger.log"}
    (work / "processes.json").write_text(json.dumps([row]))
    assert stack(environment, "down").stdout == "stack: nothing of it runs\n"


def test_the_demo_needs_the_stack(environment: dict[str, str]) -> None:
    """Without a stack the demo is not run, and the message says how to start one."""
    shown = stack(environment, "demo")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "`make stack` starts it" in shown.stderr


# --- in containers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def compose(tool: Callable[[str], Path]) -> dict[str, dict]:
    """Read docker-compose.yml as Compose understands it."""
    command = [tool("compose"), "-f", ROOT / "docker-compose.yml", "config", "--format", "json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)["services"]


def test_compose_has_everything(compose: dict[str, dict]) -> None:
    """The file names all parts, each image in a fixed version, and those that have one here in the same."""
    images = {name: service["image"].rpartition(":") for name, service in compose.items() if "image" in service}
    assert {*images, "demo"} == {
        *("demo", "collector", "collector-ready", "grafana", "jaeger", "jaeger-ready", "phoenix", "prometheus"),
    }
    assert [name for name, (_, _, tag) in images.items() if not re.search(r"\d+\.\d+", tag)] == []
    collector = RECIPES["collector"]
    assert isinstance(collector, Builder)
    assert images["collector"][2] == collector.release
    assert images["phoenix"][2] == f"version-{RECIPES['phoenix'].version}"


def test_compose_is_for_this_machine_only(compose: dict[str, dict]) -> None:
    """Every port is opened on loopback."""
    ports = [port for service in compose.values() for port in service.get("ports", ())]
    assert ports
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_compose_waits_for_health(compose: dict[str, dict]) -> None:
    """Every server says whether it is well; those that may have no shell are asked by another one, and waited for."""
    silent = {name for name, service in compose.items() if "healthcheck" not in service}
    asked = {"collector", "jaeger"}
    assert silent == asked | {f"{name}-ready" for name in asked}
    waited = {name for service in compose.values() for name in service.get("depends_on", ())}
    assert {f"{name}-ready" for name in asked} <= waited
    for name in asked:
        assert f"http://{name}:13133/" in " ".join(compose[f"{name}-ready"]["command"])


def test_compose_mounts_what_is_there(compose: dict[str, dict]) -> None:
    """Every file and folder that a container is given is in the repository."""
    given = [
        volume["source"]
        for service in compose.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    ]
    assert given
    assert [path for path in given if not Path(path).exists()] == []


def test_prometheus_takes_its_configuration(tool: Callable[[str], Path]) -> None:
    """The configuration of Prometheus, with the targets for containers, is valid."""
    promtool = tool("prometheus").with_name("promtool")
    shown = subprocess.run(
        [promtool, "check", "config", ROOT / "stack" / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (0, "")


def test_prometheus_finds_everybody(collector: object, prometheus: object) -> None:
    """The collector and what it counts are scraped under the names that rules and dashboards use."""

    def ask() -> dict[str, str]:
        targets = read_json(f"{prometheus.url}/api/v1/targets")["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    wait_for(lambda: ask() == {"collector": "up", "collector-itself": "up"})
