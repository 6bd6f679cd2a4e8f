"""What servers answer is kept in files, for who reads traces without a server; here they are compared with servers.

`OTFLOW_REWRITE=1 make integration ARGS=tests/integration/test_golden.py` writes the files anew; review the difference.

They show one small run, whose ids and times are the same each time. What depends on the machine is replaced: stacks,
versions, the id of the process, and numbers that the servers draw.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import pytest

from otflow.records.record import RunCompleted
from stack.servers import Collector, Jaeger, Phoenix
from tests.integration.readback import jaeger as adapter
from tests.integration.readback.phoenix import show
from tests.integration.readback.seen import Seen, Told, records_of, tell
from tests.integration.reading import read_archive, read_json, wait_for, wait_for_spans

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
SERVICE = "otflow-golden"
STACK = "Traceback (most recent call last):\n  ...\nConnectionError: line is busy\n"
STACKS = re.compile(r"Traceback \(most recent call last\):(\\n|\n).*?ConnectionError: line is busy(\\n|\n)", re.DOTALL)
DRAWN = {"id": "drawn", "next_cursor": None, "project_id": "drawn"}
DEPENDING = {"service.instance.id": "instance", "telemetry.sdk.version": "1", "otel.scope.version": "0"}


@pytest.fixture(scope="module")
def told(collector: Collector, jaeger: Jaeger, phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Send the run through a collector, because that brings it to all of them at once; its ids can be used but once."""
    told = tell("small", collector.otlp_http, "http/protobuf", tmp_path_factory.mktemp("golden"), SERVICE)
    number, trace = len(told.spans), next(iter(told.spans.values())).trace
    wait_for_spans(lambda: read_archive(collector.archive, SERVICE), number)
    wait_for_spans(lambda: chain(*(adapter.show(found) for found in adapter.read(jaeger, trace))), number)
    wait_for_spans(lambda: read_json(f"{phoenix.url}/v1/projects/{SERVICE}/spans", limit="100")["data"], number)
    return told


def trace_of(told: Told) -> str:
    """Give the id of the trace."""
    [trace] = {each.trace for each in told.spans.values()}
    return trace


def answers(told: Told, collector: Collector, jaeger: Jaeger, phoenix: Phoenix) -> dict[str, list[object]]:
    """Give what the servers say, by the name of the file; one line each."""
    spans = read_json(f"{phoenix.url}/v1/projects/{SERVICE}/spans", limit="100")
    spans["data"].sort(key=lambda span: span["context"]["span_id"])
    older = read_json(f"{jaeger.url}/api/traces/{trace_of(told)}")
    for trace in older["data"]:
        trace["spans"].sort(key=lambda span: span["spanID"])
    newer = read_json(f"{jaeger.url}/api/v3/traces/{trace_of(told)}")
    for _, spans_of_scope in scopes(newer["result"]):
        spans_of_scope.sort(key=lambda span: span["spanId"])
    return {
        "phoenix-spans.json": [spans],
        "jaeger-legacy.json": [older],
        "jaeger-v3.json": [newer],
        "collector-file.jsonl": archive(collector),
    }


def scopes(data: Mapping[str, list]) -> list[tuple[dict, list[dict]]]:
    """Give the scopes with their spans, in OTLP-JSON."""
    return [(scope, scope["spans"]) for each in data["resourceSpans"] for scope in each["scopeSpans"]]


def archive(collector: Collector) -> list[object]:
    """Give the lines of the collector's file: one for each span, because how it cuts them up is chance."""
    lines = []
    for line in map(json.loads, collector.archive.read_text(encoding="utf-8").splitlines()):
        for resource in line["resourceSpans"]:
            if {"stringValue": SERVICE} in (each["value"] for each in resource["resource"]["attributes"]):
                for scope in resource["scopeSpans"]:
                    single = [{**scope, "spans": [span]} for span in scope["spans"]]
                    lines += [{"resourceSpans": [{**resource, "scopeSpans": [each]}]} for each in single]
    return sorted(lines, key=lambda line: line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"])


def normalise(value: object) -> object:
    """Replace what is not the same each time, and put lists in order that have none."""
    match value:
        case {"key": str(key), "value": {"stringValue": _}} if key in DEPENDING:
            return {**value, "value": {"stringValue": DEPENDING[key]}}
        case {"key": str(key), "value": str()} if key in DEPENDING:
            return {**value, "value": DEPENDING[key]}
        case {"name": "otflow", "version": _}:
            return {**value, "version": DEPENDING["otel.scope.version"]}
        case dict():
            return {key: DRAWN.get(key, normalise(inner)) for key, inner in sorted(value.items())}
        case list():
            found = [normalise(inner) for inner in value]
            keyed = all(isinstance(each, dict) and "key" in each for each in found)
            return sorted(found, key=lambda each: each["key"]) if keyed else found
        case str() if "Traceback" in value:
            return STACKS.sub(lambda match: STACK.replace("\n", match[1]), value)
        case _:
            return value


def write(lines: list[object], name: str) -> str:
    """Write what a file holds."""
    indent = None if name.endswith("l") else 1
    return "".join(f"{json.dumps(normalise(each), ensure_ascii=False, indent=indent)}\n" for each in lines)


def test_servers_answer_as_they_did(told: Told, collector: Collector, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """What the servers say of the run today is what the files say."""
    wait_for(lambda: len(answers(told, collector, jaeger, phoenix)["collector-file.jsonl"]) == len(told.spans))
    for name, lines in answers(told, collector, jaeger, phoenix).items():
        text, path = write(lines, name), GOLDEN / name
        if REWRITE:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), name


def read(name: str) -> list[Seen]:
    """Read the spans of a file by the adapter for it."""
    text = (GOLDEN / name).read_text(encoding="utf-8")
    match name:
        case "phoenix-spans.json":
            return [*map(show, json.loads(text)["data"])]
        case "jaeger-legacy.json":
            return [*adapter.show(json.loads(text)["data"][0])]
        case "jaeger-v3.json":
            return [*adapter.show_v3(json.loads(text)["result"])]
        case _:
            return [span for line in text.splitlines() for span in adapter.show_v3(json.loads(line))]


def test_every_file_holds_the_run() -> None:
    """From each of the files alone the same records can be read: all that the run had."""
    files = sorted(path.name for path in GOLDEN.iterdir())
    assert files == ["collector-file.jsonl", "jaeger-legacy.json", "jaeger-v3.json", "phoenix-spans.json"]
    first, *others = [records_of(read(name)) for name in files]
    assert [record.seq for record in first] == [*range(1, len(first) + 1)]
    assert isinstance(first[-1], RunCompleted)
    assert all(found == first for found in others)


def test_files_name_no_machine() -> None:
    """No path and no name of the machine on which a file was written stands in it."""
    for path in GOLDEN.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'File \\*"|/(home|root|tmp|work|usr)/|127\.0\.0\.1|localhost', text), path.name
        assert os.uname().nodename not in text
