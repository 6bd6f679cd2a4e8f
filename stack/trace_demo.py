"""`otflow demo` with the stack behind it, and links to the run that it made.

The demo is an ordinary program: it learns of the stack from the environment, and nothing else is done to it. Its run is
then asked for by a mark that only this one carries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from typing import cast

from stack.local import Stack, is_up, locate_state, plan_stack
from stack.process import StackError, poll

__all__ = ["read_json", "trace_demo"]

SERVICE = "otflow-demo"
_PATIENCE = 30.0  # seconds until a span that was sent can be read everywhere


def trace_demo(tell: Callable[[str], None]) -> int:
    """Run the demo into the stack, tell where its run can be seen, and give the demo's exit code.

    Raises:
        StackError: the stack is not up, or the run does not arrive.
    """
    state = locate_state()
    if not is_up(state):
        raise StackError("it is not up, or not all of it: `make stack` starts it")
    stack = plan_stack(state)[1]
    mark = uuid.uuid4().hex
    code = subprocess.run([sys.executable, "-m", "otflow", "demo"], env=_point_to(stack, mark), check=False).returncode
    if code:
        return code
    print()
    tell("the demo is over; looking for its run")
    trace = _find_trace(stack, mark)
    print(f"\n  Phoenix     {_find_page(stack, trace)}")
    print(f"  Prometheus  {stack.prometheus.url}/graph?{urllib.parse.urlencode(_METRICS)}")
    print(f"  Jaeger API  {stack.jaeger.url}/api/traces/{trace}\n")
    return 0


_METRICS = {
    "g0.expr": f'sum by (span_name) (traces_span_metrics_calls_total{{service_name="{SERVICE}"}})',
    "g0.tab": "1",
}


def _point_to(stack: Stack, mark: str) -> dict[str, str]:
    """Make the environment in which a program sends everything to the stack, and nothing anywhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    marks = {"service.instance.id": mark, "openinference.project.name": SERVICE}
    return {
        **kept,
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.collector.otlp_http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{name}={value}" for name, value in marks.items()),
    }


def read_json(url: str, **query: str) -> Mapping[str, object]:
    """Read a JSON object from a URL; an empty one when there is none."""
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return cast(Mapping[str, object], json.load(answer))
    except urllib.error.HTTPError as answer:
        answer.close()
        return {}
    except (OSError, ValueError):
        return {}


def _find_trace(stack: Stack, mark: str) -> str:
    """Find the trace id of the run that carries a mark."""
    found: list[str] = []

    def look() -> bool:
        tags = json.dumps({"service.instance.id": mark})
        answer = read_json(f"{stack.jaeger.url}/api/traces", service=SERVICE, tags=tags, limit="5")
        traces = cast(list[Mapping[str, object]], answer.get("data") or [])
        found[:] = [str(trace["traceID"]).zfill(32) for trace in traces]
        return bool(found)

    if not poll(look, _PATIENCE):
        raise StackError(
            f"no span of the demo came to Jaeger within {_PATIENCE:.0f} s; see the logs that `make stack` names"
        )
    return found[0]


def _find_page(stack: Stack, trace: str) -> str:
    """Find the page of a trace in Phoenix, which names its projects by ids of its own."""
    project: list[str] = []

    def look() -> bool:
        answer = read_json(f"{stack.phoenix.url}/v1/projects/{SERVICE}").get("data")
        project[:] = [str(cast(Mapping[str, object], answer)["id"])] if answer else []
        return bool(project)

    if not poll(look, _PATIENCE):
        raise StackError(
            f"no span of the demo came to Phoenix within {_PATIENCE:.0f} s; see the logs that `make stack` names"
        )
    return f"{stack.phoenix.url}/projects/{project[0]}/traces/{trace}"
