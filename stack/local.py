"""The stack of this machine: up, down, and where to look.

What was started is written down in a folder of state, so that exactly that is ended again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.process import Process, StackError, find_busy_ports, is_running, lock, stop_process
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
)

__all__ = [
    "APP_METRICS",
    "PORTS",
    "Stack",
    "end_stack",
    "is_up",
    "locate_state",
    "plan_stack",
    "show_stack",
    "start_stack",
]

APP_METRICS = 9464
"""Where a program with otflow offers its own metrics; Prometheus looks there."""

_LAST_PORT = 65535
PORTS = {
    "OTLP_GRPC": 4317,
    "OTLP_HTTP": 4318,
    "HEALTH": 13133,
    "METRICS": 8889,
    "OWN_METRICS": 8888,
    "JAEGER": 16686,
    "JAEGER_GRPC": 14317,
    "JAEGER_HTTP": 14318,
    "PHOENIX": 6006,
    "PHOENIX_GRPC": 16317,
    "PROMETHEUS": 9090,
    "APP_METRICS": APP_METRICS,
}


@dataclass(frozen=True)
class Stack:
    """Where the servers of the stack are."""

    collector: Collector
    jaeger: Jaeger
    phoenix: Phoenix
    prometheus: Prometheus
    app_metrics: int


def locate_state() -> Path:
    """Name the folder of state: $OTFLOW_STACK_STATE, or `otflow-stack` in the user's folder for state."""
    states = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(os.environ.get("OTFLOW_STACK_STATE") or Path(states, "otflow-stack")).absolute()


def _read_ports() -> dict[str, int]:
    """Read the ports: $OTFLOW_STACK_PORT_JAEGER and so on, or the usual ones."""
    ports = {}
    for name, usual in PORTS.items():
        text = os.environ.get(f"OTFLOW_STACK_PORT_{name}") or str(usual)
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_PORT):
            raise StackError(
                f"OTFLOW_STACK_PORT_{name} is {text!r}; it has to be a port, a number from 1 to {_LAST_PORT}"
            )
        ports[name] = int(text)
    return ports


def plan_stack(state: Path) -> tuple[list[Plan], Stack]:
    """Plan all servers, in the order in which they are started: the collector last, so that it finds its backends."""
    ports = _read_ports()
    work = state / "servers"
    first, jaeger = plan_jaeger(work, ports["JAEGER"], ports["JAEGER_GRPC"], ports["JAEGER_HTTP"])
    second, phoenix = plan_phoenix(work, ports["PHOENIX"], ports["PHOENIX_GRPC"])
    inner = [ports[name] for name in ("OTLP_GRPC", "OTLP_HTTP", "HEALTH", "METRICS", "OWN_METRICS")]
    settings = {"COLLECTOR_JAEGER": jaeger.otlp_grpc.removeprefix("http://"), "COLLECTOR_PHOENIX": phoenix.url}
    last, collector = plan_collector(work, "laptop", inner, settings)
    targets = {
        "otflow": [f"127.0.0.1:{ports['APP_METRICS']}"],
        "collector": [collector.metrics],
        "collector-itself": [collector.own_metrics],
    }
    third, prometheus = plan_prometheus(work, ports["PROMETHEUS"], targets)
    return [first, third, second, last], Stack(collector, jaeger, phoenix, prometheus, ports["APP_METRICS"])


def _read_processes(state: Path) -> list[Process]:
    try:
        rows = json.loads((state / "processes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Process(row["name"], row["pid"], row["began"], Path(row["log"])) for row in rows]


def _write_processes(state: Path, processes: list[Process]) -> None:
    state.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(process), "log": str(process.log)} for process in processes]
    beside = state / "processes.new"
    beside.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    beside.rename(state / "processes.json")


def is_up(state: Path) -> bool:
    """Tell whether all servers run that were started here, if any were."""
    processes = _read_processes(state)
    return bool(processes) and all(is_running(process) for process in processes)


def start_stack(tell: Callable[[str], None]) -> str:
    """Start what does not run yet, wait until all of it is ready, and give the table of where to look.

    Args:
        tell: takes a line about what is done.

    Raises:
        StackError: a port is taken by somebody else, or a server does not start; what was started here is ended then.
    """
    state = locate_state()
    with lock(state / "lock"):
        plans, stack = plan_stack(state)
        kept = [process for process in _read_processes(state) if is_running(process)]
        missing = [plan for plan in plans if plan.name not in {process.name for process in kept}]
        if not missing:
            tell("it is up already")
        _refuse_taken_ports(missing)
        _start(missing, kept, state, tell)
    return _draw_table(stack)


def _start(plans: list[Plan], kept: list[Process], state: Path, tell: Callable[[str], None]) -> None:
    """Start servers beside those that run; each is written down before it is waited for."""
    started: list[Process] = []

    def note(process: Process) -> None:
        started.append(process)
        _write_processes(state, kept + started)

    try:
        for plan in plans:
            (plan.folder / f"{plan.name}.log").unlink(missing_ok=True)  # what was said last time tells nothing now
            tell(f"starting {plan.name}" + (", which takes half a minute" if plan.name == "phoenix" else ""))
            launch(plan, note)
    except BaseException:
        for process in reversed(started):
            stop_process(process)
        _write_processes(state, kept)
        raise


def _refuse_taken_ports(plans: list[Plan]) -> None:
    taken = [f"{port} ({plan.name})" for plan in plans for port in find_busy_ports(plan.ports)]
    if taken:
        raise StackError(
            f"taken by a program that is not part of this stack: port {', '.join(taken)}."
            "\n  End that program, or move the stack with OTFLOW_STACK_PORT_..., see docs/stack.md."
        )


def end_stack(tell: Callable[[str], None]) -> None:
    """End what was started here and still runs, and nothing else; what Phoenix and Prometheus keep stays."""
    state = locate_state()
    with lock(state / "lock"):
        processes = _read_processes(state)
        ended = [process.name for process in reversed(processes) if stop_process(process)]
        (state / "processes.json").unlink(missing_ok=True)
    tell(f"ended {', '.join(ended)}" if ended else "nothing of it runs")


def show_stack() -> str:
    """Give the table of where to look.

    Raises:
        StackError: it is not up.
    """
    state = locate_state()
    if not is_up(state):
        raise StackError("it is not up, or not all of it: `make stack` starts it")
    return _draw_table(plan_stack(state)[1])


def _draw_table(stack: Stack) -> str:
    rows = (
        ("Phoenix", stack.phoenix.url, "traces, with what went in and out"),
        ("Prometheus", stack.prometheus.url, "metrics"),
        ("Jaeger API", f"{stack.jaeger.url}/api/services", "traces; no page here"),
        ("OTLP, HTTP", stack.collector.otlp_http, "for OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTLP, gRPC", stack.collector.otlp_grpc, "or here"),
        ("metrics", f"http://127.0.0.1:{stack.app_metrics}/metrics", "asked by Prometheus, if served"),
    )
    lines = [f"  {name:<11} {url:<31} {what}" for name, url, what in rows]
    lines.append(f"  spans       {_shorten(stack.collector.archive)}")
    lines.append(f"  logs        {_shorten(locate_state() / 'servers')}/*.log")
    lines.append("  Jaeger is API only; its page is in docker compose.")
    return "\n".join(["", *lines, "", "`make demo-traced` runs the demo into it, `make stack-down` ends it."])


def _shorten(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
