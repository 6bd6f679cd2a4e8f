"""The pages of real servers, as a browser shows them after a run: what people see.

`OTFLOW_REWRITE=1 make integration ARGS=tests/integration/test_pages.py` takes the pictures in docs/pictures anew; look
at them. For a graph with some history in it, that takes minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from otflow.records.semconv import ATTEMPT
from stack.process import Process, find_free_ports
from stack.recipes import ROOT
from stack.servers import Phoenix, Plan, Prometheus, plan_prometheus
from tests.integration.readback.browser import crop_picture, read_page, take_picture
from tests.integration.readback.seen import tell
from tests.integration.reading import ask_prometheus, read_json, read_phoenix, wait_for, wait_for_spans

REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 300 * 1024  # bytes of a picture in the repository
HIDDEN = 140  # pixels at the lower end of a window that are not drawn
HISTORY = 150 if REWRITE else 5  # scrapes, one a second
LATENCY = (
    "histogram_quantile(0.95, sum by (le, otflow_step_name) "
    '(rate(otflow_step_duration_seconds_bucket{otflow_workflow_name="Checkout"}[15s])))'
)


def keep(chromium: Path, url: str, name: str, folder: Path, area: tuple[int, int, int, int]) -> None:
    """Take a picture of a page, and keep it in the documentation if that is wanted."""
    left, top, width, height = area
    file = folder / f"{name}.png"
    take_picture(chromium, url, file, left + width, top + height + HIDDEN)
    crop_picture(chromium, file, area)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert 10_000 < file.stat().st_size < LARGEST
    if REWRITE:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / file.name).write_bytes(file.read_bytes())


def test_phoenix_shows_the_demo(chromium: Path, phoenix: Phoenix, tmp_path: Path) -> None:
    """The page of a trace has every step of the demo in its tree, and what went wrong with the first search."""
    told = tell("demo", phoenix.url, "http/protobuf", tmp_path)
    spans = wait_for_spans(lambda: read_phoenix(phoenix, told.service), len(told.spans))
    [first] = [each for each in told.named("step search") if each.error and each.attributes[ATTEMPT] == 1]
    [node] = [each["id"] for each in spans if each["context"]["span_id"] == first.span]
    project = read_json(f"{phoenix.url}/v1/projects/{told.service}")["data"]["id"]
    url = f"{phoenix.url}/projects/{project}/traces/{first.trace}?selectedSpanNodeId={node}"
    names = {each.name for each in told.spans.values()}

    def look() -> list[str]:
        texts = read_page(chromium, url)
        return texts if names <= {*texts} else []

    texts = wait_for(look, patience=180)
    for name in ("step read", "step search", "invoke_workflow AskFiles"):
        assert texts.count(name) >= len(told.named(name)), name
    assert first.message in texts
    keep(chromium, url, "phoenix", tmp_path, (374, 46, 1126, 810))


@pytest.fixture
def busy() -> Iterator[str]:
    """Start a program with much to do, and give the address of its metrics."""
    [port] = find_free_ports(1)
    command = [sys.executable, "-m", "tests.integration.busy_program", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}) as program:
        try:
            yield f"127.0.0.1:{port}"
            assert program.poll() is None, "the busy program ended by itself"
        finally:
            program.kill()


def test_prometheus_draws_latencies(
    chromium: Path, busy: str, start: Callable[[Plan], Process], work: Path, tmp_path: Path
) -> None:
    """The page of a graph has a line for each step of a workflow, and the dashboard of all workflows has its names."""
    plan, prometheus = plan_prometheus(work, find_free_ports(1)[0], {"otflow": [busy]}, interval="1s")
    start(plan)
    wait_for(lambda: len(ask_prometheus(prometheus, f"({LATENCY}) > 0")) == 3)
    wait_for(lambda: ask_prometheus(prometheus, f"count_over_time(up[1h]) > {HISTORY}"), patience=HISTORY * 2 + 60)
    url = draw(prometheus, LATENCY)

    def look() -> list[str]:
        texts = read_page(chromium, url)
        return texts if {"price", "split", "total"} <= _labels(texts) else []

    wait_for(look, patience=180)
    keep(chromium, url, "prometheus", tmp_path, (0, 0, 1300, 900))
    drawn = tmp_path / "overview.svg"
    preview = [sys.executable, "grafana/preview.py", "grafana/dashboards/otflow-overview.json", prometheus.url, drawn]
    subprocess.run(preview, cwd=ROOT, check=True)
    assert "Checkout" in drawn.read_text(encoding="utf-8")
    keep(chromium, drawn.as_uri(), "dashboard", tmp_path, (0, 0, 1200, 722))


def _labels(texts: list[str]) -> set[str]:
    return {found for text in texts for found in re.findall(r'"(\w+)"', text)}


def draw(prometheus: Prometheus, query: str) -> str:
    """Give the address of a graph."""
    settings = {"g0.expr": query, "g0.tab": "0", "g0.stacked": "0", "g0.range_input": "2m"}
    return f"{prometheus.url}/graph?{urlencode(settings)}"
