"""Whoever set up telemetry for a program gets its runs, with no line of configuration for otflow."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instrumentation.launch import launch
from tests.instrumentation.stub import answering
from tests.otlp_sink import Sink, receiving

TREE = {
    "invoke_workflow Shop": "",
    "step order": "invoke_workflow Shop",
    "step fetch": "invoke_workflow Shop",
    "step pack": "invoke_workflow Shop",
    "GET": "step fetch",
}
COUNTS = {"invoke_workflow Shop": 1, "step order": 1, "step fetch": 2, "step pack": 2, "GET": 2}


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Receive OTLP over HTTP."""
    with receiving() as sink:
        yield sink


def check_shop(sink: Sink) -> None:
    """Assert that one run of the shop arrived, whole, in one trace, each request under another attempt."""
    assert sink.tree() == TREE
    assert Counter(each.data.name for each in sink.spans) == COUNTS
    assert len({each.data.trace_id for each in sink.spans}) == 1
    assert len({each.data.parent_span_id for each in sink.spans if each.data.name == "GET"}) == 2
    scopes = {each.scope for each in sink.spans}
    assert scopes == {"otflow", "opentelemetry.instrumentation.httpx"}


def test_opentelemetry_instrument(stub, sink):
    """Under `opentelemetry-instrument` a run is traced, its requests too, and its log lines belong to its steps."""
    out, err = launch(
        "shop",
        stub.url,
        under=(str(Path(sys.executable).with_name("opentelemetry-instrument")),),
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_SERVICE_NAME="shop",
    )
    assert (out, err) == ("['hello', 'hello']\n", "")
    check_shop(sink)
    assert {each.resource["service.name"] for each in sink.spans} == {"shop"}
    assert all("telemetry.auto.version" in each.resource for each in sink.spans)
    [line] = sink.logs
    assert line.data.body.string_value == "ordering"
    assert line.ids in {each.ids for each in sink.spans if each.data.name == "step order"}


def test_opentelemetry_instrument_without_otlp(stub):
    """What the variables say of exporters is done: spans on the console, everything of the program beside them."""
    out, err = launch(
        "shop",
        stub.url,
        under=(str(Path(sys.executable).with_name("opentelemetry-instrument")),),
        OTEL_TRACES_EXPORTER="console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    assert err == ""
    assert "['hello', 'hello']\n" in out
    assert out.count('"name": "step fetch"') == 2


def test_phoenix(stub, sink):
    """The provider that Phoenix's `register` makes is followed: everything is in its project."""
    out, err = launch("with_phoenix", sink.endpoint, stub.url)
    assert (out, err) == ("['hello', 'hello']\n", "ordering\n")
    check_shop(sink)
    assert {each.resource["openinference.project.name"] for each in sink.spans} == {"shop"}
    kinds = {each.attributes["openinference.span.kind"] for each in sink.spans if each.scope == "otflow"}
    assert kinds == {"CHAIN"}


@pytest.fixture(scope="module")
def logfire() -> list[list[dict[str, object]]]:
    """Run the program with Logfire: what its exporter got, under its first and its second configuration."""
    with answering() as stub:
        out, err = launch("with_logfire", stub.url)
    assert err == "ordering\nordering\n"  # Logfire says here what goes wrong within it
    return json.loads(out)


@pytest.mark.parametrize("time", [0, 1])
def test_logfire(logfire, time):
    """Logfire's wrapped provider is followed, also when it is configured again: its spans and ours nest."""
    spans = {span["id"]: span for span in logfire[time] if not span["pending"]}
    names = {id: span["name"] for id, span in spans.items()} | {0: ""}
    tree = {span["name"]: names[span["parent"]] for span in spans.values()}
    assert tree == {**TREE, "request {path}": "", "invoke_workflow Shop": "request {path}"}
    assert Counter(span["name"] for span in spans.values()) == {**COUNTS, "request {path}": 1}
    assert len({span["trace"] for span in spans.values()}) == 1
    assert {span["service"] for span in spans.values()} == {"shop"}
    steps = {span["attributes"]["otflow.step.name"] for span in spans.values() if span["name"].startswith("step ")}
    assert steps == {"order", "fetch", "pack"}


@pytest.mark.parametrize("time", [0, 1])
def test_logfire_sees_what_is_still_open(logfire, time):
    """Each span, of otflow too, was shown as pending when it began, under the parent that it has in the end."""
    real = {span["id"]: span for span in logfire[time] if not span["pending"]}
    shown = {span["parent"]: int(span["real"], 16) for span in logfire[time] if span["pending"]}
    assert shown == {id: span["parent"] for id, span in real.items()}
