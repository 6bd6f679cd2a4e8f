"""The servers: how each is launched on given ports, and at which addresses it is found then.

Every listener of every server is placed on loopback, also those that their own settings do not reach. A plan is data:
planning starts nothing, and the same plan starts the same server again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.install import find_tool, locate_tools
from stack.process import LOOPBACK, Process, StackError, start_process, stop_process, wait_until_ready
from stack.recipes import ROOT

__all__ = [
    "Collector",
    "Jaeger",
    "Phoenix",
    "Plan",
    "Prometheus",
    "launch",
    "plan_collector",
    "plan_jaeger",
    "plan_phoenix",
    "plan_prometheus",
    "scrape",
]

PROMETHEUS_CONFIG = ROOT / "stack" / "prometheus.yml"
RULES = ROOT / "grafana" / "prometheus" / "rules"

_NOT_FOR_SERVERS = ("OTEL_", "OTFLOW_", "PHOENIX_", "JAEGER_", "COLLECTOR_", "QUERY_", "SPAN_", "GRPC_", "PROMETHEUS_")


@dataclass(frozen=True)
class Plan:
    """How a server is started: its program, which variables it gets on top, the URL that answers when it is ready."""

    name: str
    command: tuple[str, ...]
    folder: Path
    ready: str
    ports: tuple[int, ...]
    environment: Mapping[str, str]
    patience: float = 60.0


@dataclass(frozen=True)
class Jaeger:
    """Where Jaeger is: `url` for both query APIs; the endpoints take traces. It has no page: see `plan_jaeger`."""

    url: str
    otlp_grpc: str
    otlp_http: str


@dataclass(frozen=True)
class Phoenix:
    """Where Phoenix is: `url` for its page and APIs, also the base for OTLP over HTTP; `otlp_grpc` takes traces too."""

    url: str
    otlp_grpc: str


@dataclass(frozen=True)
class Prometheus:
    """Where Prometheus is, and the folder with the lists of what it scrapes, which it reads again when they change."""

    url: str
    targets: Path


@dataclass(frozen=True)
class Collector:
    """Where a collector is: what takes OTLP, what Prometheus scrapes (of spans, of itself), and the file of spans."""

    otlp_grpc: str
    otlp_http: str
    metrics: str
    own_metrics: str
    health: str
    archive: Path


def launch(plan: Plan, note: Callable[[Process], None] = lambda _: None) -> Process:
    """Start a server and return when it is ready.

    Args:
        plan: what is started.
        note: takes the process as soon as there is one, before it is ready.

    Raises:
        StackError: it cannot be started, or does not become ready; nothing of it runs then.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_SERVERS)}
    process = start_process(plan.name, plan.command, {**kept, **plan.environment}, plan.folder)
    try:
        note(process)
        wait_until_ready(process, plan.ready, plan.patience)
    except BaseException:
        stop_process(process, patience=2)
        raise
    return process


def _program(name: str) -> str:
    found = find_tool(name)
    if found is None:
        raise StackError(f"{name} is not on this machine; `python -m stack install {name}` makes it")
    return str(found)


def _base(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def plan_jaeger(folder: Path, query: int, otlp_grpc: int, otlp_http: int) -> tuple[Plan, Jaeger]:
    """Plan a Jaeger that keeps traces in memory.

    It is built from its Go module, which does not hold the page that the project's own builds bring along. Its other
    listeners, old protocols among them, get ports that nobody else has, because none of them can be left out.
    """
    anywhere = f"{LOOPBACK}:0"
    others = (
        "admin.http.host-port",
        "http-server.host-port",
        "query.grpc-server.host-port",
        "collector.http-server.host-port",
        "collector.grpc-server.host-port",
        "processor.jaeger-binary.server-host-port",
        "processor.jaeger-compact.server-host-port",
        "processor.zipkin-compact.server-host-port",
    )
    command = (
        _program("jaeger"),
        "--collector.otlp.enabled=true",
        f"--collector.otlp.grpc.host-port={LOOPBACK}:{otlp_grpc}",
        f"--collector.otlp.http.host-port={LOOPBACK}:{otlp_http}",
        f"--query.http-server.host-port={LOOPBACK}:{query}",
        *(f"--{name}={anywhere}" for name in others),
        "--query.enable-tracing=false",  # or it sends spans of its own to whoever listens on 4317
        "--memory.max-traces=50000",
        "--log-level=warn",
    )
    ports, url = (query, otlp_grpc, otlp_http), _base(query)
    environment = {
        "SPAN_STORAGE_TYPE": "memory",
        # not all of it hears of the switch above; and where a span is made after all, nobody listens for it
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:1",
    }
    plan = Plan("jaeger", command, folder, f"{url}/api/services", ports, environment)
    return plan, Jaeger(url, _base(otlp_grpc), _base(otlp_http))


def plan_phoenix(folder: Path, http: int, grpc: int) -> tuple[Plan, Phoenix]:
    """Plan a Phoenix with its database in the folder, which asks nobody anything and runs nothing for anybody."""
    environment = {
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        "PHOENIX_HOST": LOOPBACK,
        "PHOENIX_PORT": str(http),
        "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
        "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
        "PHOENIX_AGENTS_DISABLE_BASH": "true",
        "PHOENIX_LOGGING_LEVEL": "warning",
        "PHOENIX_LOG_MIGRATIONS": "false",
        "PYTHONPATH": "",
    }
    command = (_program("phoenix"), str(Path(__file__).with_name("phoenix_loopback.py")))
    url = _base(http)
    (folder / "phoenix").mkdir(parents=True, exist_ok=True)
    plan = Plan("phoenix", command, folder, f"{url}/readyz", (http, grpc), environment, patience=180)
    return plan, Phoenix(url, _base(grpc))


def plan_prometheus(
    folder: Path, port: int, targets: Mapping[str, Sequence[str]], *, rules: Path = RULES, interval: str = "5s"
) -> tuple[Plan, Prometheus]:
    """Plan a Prometheus that keeps exemplars.

    Args:
        folder: where its data and its configuration go.
        port: where it listens.
        targets: the addresses that each job of the configuration scrapes.
        rules: the folder with rule files, which may be missing.
        interval: how often it scrapes and evaluates.
    """
    home = folder / "prometheus"
    (home / "targets").mkdir(parents=True, exist_ok=True)
    config = PROMETHEUS_CONFIG.read_text(encoding="utf-8").replace("interval: 5s", f"interval: {interval}")
    (home / "prometheus.yml").write_text(config, encoding="utf-8")
    (home / "rules").unlink(missing_ok=True)
    (home / "rules").symlink_to(rules)
    url = _base(port)
    found = Prometheus(url, home / "targets")
    for job, addresses in targets.items():
        scrape(found, job, addresses)
    program = _program("prometheus")
    command = (
        program,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--web.enable-lifecycle",
        "--enable-feature=exemplar-storage",
        "--storage.tsdb.retention.time=15d",
        "--log.level=warn",
        *_find_pages(Path(program)),
    )
    return Plan("prometheus", command, folder, f"{url}/-/ready", (port,), {}), found


def scrape(prometheus: Prometheus, job: str, addresses: Sequence[str]) -> None:
    """Let a job of Prometheus scrape these addresses from now on: "host:port", or the URL that has it in it."""
    listed = [address.removeprefix("http://").partition("/")[0] for address in addresses]
    text = json.dumps([{"targets": listed}])
    beside = prometheus.targets / f".{job}.new"
    beside.write_text(text, encoding="utf-8")
    beside.rename(prometheus.targets / f"{job}.json")  # at once: it is read whenever it changes


def _find_pages(program: Path) -> tuple[str, ...]:
    """Name the pages of a Prometheus that was unpacked and not installed: it would look for them in the system."""
    root = next((parent for parent in program.parents if parent.parent == locate_tools()), None)
    return () if root is None else (f"--web.local-assets={root}/usr/share/prometheus/web",)


def plan_collector(
    folder: Path,
    configuration: str,
    ports: Sequence[int],
    settings: Mapping[str, str],
) -> tuple[Plan, Collector]:
    """Plan a collector with one of the configurations of the repository.

    Args:
        folder: where its queue and its archive go.
        configuration: the variant: "laptop", "production-gateway" or "production-sampler".
        ports: five, for OTLP over gRPC and over HTTP, health, metrics, and its own metrics.
        settings: further variables of the configuration, by their names: COLLECTOR_JAEGER and so on.
    """
    grpc, http, health, metrics, own = ports
    environment = {
        "COLLECTOR_OTLP_GRPC": f"{LOOPBACK}:{grpc}",
        "COLLECTOR_OTLP_HTTP": f"{LOOPBACK}:{http}",
        "COLLECTOR_HEALTH": f"{LOOPBACK}:{health}",
        "COLLECTOR_METRICS": f"{LOOPBACK}:{metrics}",
        "COLLECTOR_OWN_METRICS_HOST": LOOPBACK,
        "COLLECTOR_OWN_METRICS_PORT": str(own),
        "COLLECTOR_QUEUE": str(folder / "queue"),
        "COLLECTOR_ARCHIVE": str(folder / "archive"),
        **settings,
    }
    files = [ROOT / "collector" / f"{name}.yaml" for name in ("protection", configuration)]
    command = (_program("collector"), *(f"--config={file}" for file in files))
    found = Collector(
        otlp_grpc=_base(grpc),
        otlp_http=_base(http),
        metrics=f"{_base(metrics)}/metrics",
        own_metrics=f"{_base(own)}/metrics",
        health=f"{_base(health)}/",
        archive=folder / "archive" / "spans.jsonl",
    )
    return Plan("collector", command, folder, found.health, tuple(ports), environment), found
