"""The collector's configurations, each run by the real collector in front of real backends."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Status, StatusCode, format_trace_id

from stack.recipes import ROOT
from stack.servers import Collector, Jaeger, Phoenix, Prometheus
from tests.integration.reading import (
    ask_prometheus,
    attributes,
    read_archive,
    read_jaeger,
    read_phoenix,
    read_text,
    tags,
    unique,
    wait_for,
    wait_for_spans,
)
from tests.integration.sending import Dull, Retrying, provider, run, watched

VARIANTS = ("laptop", "production-gateway", "production-sampler")
FOLDER = ROOT / "collector"


def validate(collector: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Let the real collector look at configurations, as one."""
    files = [f"--config={FOLDER / name}.yaml" for name in names]
    return subprocess.run([collector, "validate", *files], capture_output=True, text=True, check=False)


def test_no_configuration_is_forgotten() -> None:
    """Every file in the folder of the collector is the protection, the manifest, or a variant that is tested here."""
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {"builder", "protection", *VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_load(tool: Callable[[str], Path], variant: str) -> None:
    """The real collector takes each variant together with the protection, and says nothing about old names."""
    shown = validate(tool("collector"), "protection", variant)
    assert (shown.returncode, shown.stdout + shown.stderr) == (0, "")


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_variant_loads_without_protection(tool: Callable[[str], Path], variant: str) -> None:
    """Masks and limits cannot be forgotten: a variant alone does not load."""
    assert validate(tool("collector"), variant).returncode != 0


async def test_a_run_comes_everywhere(
    collector: Collector, jaeger: Jaeger, phoenix: Phoenix, prometheus: Prometheus
) -> None:
    """All spans of a run are in Jaeger, in Phoenix and in the file; they are counted, and Prometheus knows it."""
    service = unique("everywhere")
    with watched(collector.otlp_http, service) as sent:
        trace = await run(Retrying())
    spans = sent.get_finished_spans()
    names = sorted(span.name for span in spans)
    assert names.count("step work") == 2
    found = wait_for_spans(lambda: read_jaeger(jaeger, service).get(trace), len(names))
    assert sorted(span["operationName"] for span in found) == names
    found = wait_for_spans(lambda: read_phoenix(phoenix, service), len(names))
    assert sorted(span["name"] for span in found) == names
    found = wait_for_spans(lambda: read_archive(collector.archive, service), len(names))
    assert sorted(span["name"] for span in found) == names
    want = Counter((span.name, f"STATUS_CODE_{span.status.status_code.name}") for span in spans)
    query = f'sum by (span_name, status_code) (traces_span_metrics_calls_total{{service_name="{service}"}})'
    wait_for(lambda: want == {_name_series(row): int(row["value"][1]) for row in ask_prometheus(prometheus, query)})


def _name_series(row: dict) -> tuple[str, str]:
    return row["metric"]["span_name"], row["metric"]["status_code"]


def test_grpc_is_taken_too(collector: Collector, jaeger: Jaeger) -> None:
    """A span that is sent over gRPC comes out like any other."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # it is heavy
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    service = unique("grpc")
    made = TracerProvider(resource=Resource({"service.name": service}))
    made.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(collector.otlp_grpc, insecure=True)))
    made.get_tracer("test").start_span("alone").end()
    made.shutdown()
    assert [
        span["operationName"] for spans in wait_for(lambda: read_jaeger(jaeger, service)).values() for span in spans
    ]


def test_metrics_come_to_prometheus_with_exemplars(collector: Collector, prometheus: Prometheus) -> None:
    """What a program pushes is found in Prometheus under its own job, and its exemplars name the trace."""
    service = unique("pushed")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.otlp_http}/v1/metrics"))
    meters = MeterProvider([reader], Resource({"service.name": service, "service.instance.id": "one"}))
    with provider(collector.otlp_http, service) as traces:
        with traces.get_tracer("test").start_as_current_span("measured") as span:
            meters.get_meter("test").create_histogram("otflow.step.duration", unit="s").record(0.25)
        trace = format_trace_id(span.get_span_context().trace_id)
    meters.shutdown()
    series = f'otflow_step_duration_seconds_count{{job="{service}",instance="one"}}'
    assert [row["value"][1] for row in wait_for(lambda: ask_prometheus(prometheus, series))] == ["1"]
    shown = read_text(collector.metrics, accept="application/openmetrics-text;version=1.0.0")
    assert any(service in line and f'trace_id="{trace}"' in line for line in shown.splitlines())


async def test_logs_come_to_the_file(collector: Collector) -> None:
    """A log record stands in the file of logs, masked like everything else."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor  # noqa: PLC0415

    mark = unique("log")
    made = LoggerProvider(Resource({"service.name": mark}))
    made.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{collector.otlp_http}/v1/logs")))
    made.get_logger("test").emit(body=f"{mark}: connecting with password=hunter2; {{'secret': 'hunter2'}} done")
    made.shutdown()
    file = collector.archive.with_name("logs.jsonl")
    lines = wait_for(lambda: file.exists() and [line for line in file.read_text().splitlines() if mark in line])
    assert f"{mark}: connecting with password=****; {{'secret': '****'}} done" in lines[0]
    assert "otflow.masking" not in lines[0]
    assert "hunter2" not in lines[0]


SECRETS = {
    "input.value": '{"user": "ann", "password": "hunter2-a", "n": 1}',
    "output.value": '{"list":[{"api_key":"hunter2-b \\"quoted\\" end"},{"secret":[ "hunter2-c", "x]y" ]}],"pin":7}',
    "otflow.records": json.dumps(
        [
            {"record": "ContextWritten", "path": "client_secret", "value": "hunter2-d"},
            {"record": "EventReceived", "body": {"raw": json.dumps({"Authorization": 'hunter2-e "q" \\', "kept": 5})}},
            {"record": "EventSent", "body": {"access_token": 12345678, "token_count": 17, "after": True}},
            {"record": "ContextWritten", "path": "db.password", "value": {"value": "hunter2-q", "of": [{"a": "}"}]}},
        ]
    ),
    "pretty": json.dumps({"password": {"value": "hunter2-r"}, "tokens": 3, "token": "hunter2-s"}, indent=1),
    "deep": json.dumps({"a": json.dumps({"b": json.dumps({"pwd": "hunter2-t", "c": 1})})}),
    "headers": json.dumps({"headers": [["authorization", "Token hunter2-u"], ["accept", "text"]]}),
    "arguments": json.dumps(["run", "--password", "hunter2-v", "--fast"]),
    "shown": "Login(user='ann', password='hunter2-w', api_key=\"hunter2-x\", n=1)",
    "invalid": "input_value={'password': 'hunter2-y', 'secret': Box(value='hunter2-z'), 'n': 1}, input_type=dict",
    "nested": json.dumps({"text": "{'passcode': 'hunter2-A', 'n': 1} password: hunter2-B", "n": 1}),
    "command": "curl --password hunter2-C -H 'X-Api-Key: hunter2-D' -H 'Authorization: Token hunter2-E' x",
    "broker": "redis://:hunter2/F@host/db and http://host:8080/a",
    "http.request.header.authorization": "Basic hunter2-f",
    "db.connection_string": "postgresql://ann:hunter2-g@db/prod?sslmode=on&password=hunter2-h&x=1",
    "note": "first line\nsk-proj-hunter2iAAAAAAAAAAAAAAAA, Bearer hunter2jAAAAAAAAAAAA; task-force-management-system-x",
    "key.pem": "-----BEGIN RSA PRIVATE KEY-----\nhunter2k\nAAAA==\n-----END RSA PRIVATE KEY-----\nrest",
    "cloud": "id AKIAHUNTER2LAAAAAAAA here",
    "password": "hunter2-m",
    "gen_ai.input.messages": ["hunter2 is a word", '{"password": "hunter2-n"}'],
}
KEPT = {
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 34,
    "session.id": "session-hunter-3",
    "otflow.run.id": "6bf166e4d879c14ccb84cca308fd9cd7",
    "tokenizer": "the words secret and password, and an author",
}


def test_secrets_are_gone_behind_it(collector: Collector, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """No backend and no file ever sees a secret; JSON stays JSON, and what only looks similar stays as it was."""
    service = unique("secrets")
    with provider(collector.otlp_http, service) as made:
        span = made.get_tracer("test", attributes={"password": "hunter2-G"}).start_span(
            "GET /?password=hunter2-H", attributes={**SECRETS, **KEPT}
        )
        span.add_event("exception", {"exception.message": "cannot log in with api_key=hunter2-o: refused"})
        text = "cannot open https://ann:hunter2-p@host/ with {\"password\": \"hunter2-I\"} or {'secret': 'hunter2-J'}"
        span.set_status(Status(StatusCode.ERROR, text))
        span.end()
    [spans] = wait_for(lambda: read_jaeger(jaeger, service)).values()
    found = tags(spans[0])
    for place in (
        json.dumps(spans),
        json.dumps(wait_for(lambda: read_phoenix(phoenix, service))),
        json.dumps(wait_for(lambda: [*read_archive(collector.archive, service)])),
    ):
        assert [word for word in place.replace('"', " ").split() if "hunter2" in word] == ["hunter2"]  # the word
    assert {key: found[key] for key in KEPT} == KEPT
    assert json.loads(found["input.value"]) == {"user": "ann", "password": "****", "n": 1}
    assert json.loads(found["output.value"]) == {"list": [{"api_key": "****"}, {"secret": "****"}], "pin": 7}
    written, received, sent, wrapped = json.loads(found["otflow.records"])
    assert (written["path"], written["value"]) == ("client_secret", "****")
    assert json.loads(received["body"]["raw"]) == {"Authorization": "****", "kept": 5}
    assert sent["body"] == {"access_token": "****", "token_count": 17, "after": True}
    assert (wrapped["path"], wrapped["value"]) == ("db.password", "****")
    assert json.loads(found["pretty"]) == {"password": "****", "tokens": 3, "token": "****"}
    assert json.loads(json.loads(json.loads(found["deep"])["a"])["b"]) == {"pwd": "****", "c": 1}
    assert json.loads(found["headers"]) == {"headers": [["authorization", "****"], ["accept", "text"]]}
    assert json.loads(found["arguments"]) == ["run", "--password", "****", "--fast"]
    assert found["shown"] == "Login(user='ann', password=****, api_key=****, n=1)"
    assert found["invalid"] == "input_value={'password': '****', 'secret': '****', 'n': 1}, input_type=dict"
    assert json.loads(found["nested"]) == {"text": "{'passcode': '****', 'n': 1} password: ****", "n": 1}
    assert found["command"] == "curl --password **** -H 'X-Api-Key: ****' -H 'Authorization: ****' x"
    assert found["broker"] == "redis://:****@host/db and http://host:8080/a"
    assert spans[0]["operationName"] == "GET /?password=****"
    assert found["otel.status_description"] == (
        "cannot open https://ann:****@host/ with {\"password\": \"****\"} or {'secret': '****'}"
    )
    assert [key for key in found if key.startswith("otflow.masking")] == []
    assert found["db.connection_string"] == "postgresql://ann:****@db/prod?sslmode=on&password=****&x=1"
    assert found["note"] == "first line\n****, Bearer ****; task-force-management-system-x"
    assert found["key.pem"] == "****\nrest"


def test_odd_values_come_through(collector: Collector) -> None:
    """What is no text is let through as it is, numbers that JSON does not have too, and what is beside it is masked."""
    service = unique("odd")
    values = {"nan": float("nan"), "inf": float("inf"), "list": [float("nan")], "bytes": b"\xff", "empty": ""}
    with provider(collector.otlp_http, service) as made:
        made.get_tracer("test").start_span("", attributes={**values, "text": "password=hunter2"}).end()
    [span] = wait_for_spans(lambda: read_archive(collector.archive, service), 1)
    assert attributes(span).keys() >= values.keys()
    assert attributes(span)["text"] == "password=****"
    assert "hunter2" not in json.dumps(span)


def test_large_values_come_whole_or_not_at_all(collector: Collector, jaeger: Jaeger) -> None:
    """What otflow writes comes through unharmed at its largest; what others attach is cut, records never are."""
    service = unique("large")
    records = json.dumps([{"record": "EventSent", "body": {"text": "x" * 1000}}] * 125)
    assert 120 * 1024 < len(records) < 128 * 1024
    with provider(collector.otlp_http, service) as made:
        tracer = made.get_tracer("test")
        values = {"otflow.records": records, "input.value": json.dumps("y" * 65000), "image": "z" * 2_000_000}
        tracer.start_span("largest", attributes=values).end()
        tracer.start_span("beyond", attributes={"otflow.records": records * 3, "otflow.seq.end": 9}).end()
    spans = wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 2)
    found = {span["operationName"]: tags(span) for span in spans}
    assert found["largest"]["otflow.records"] == records
    assert found["largest"]["input.value"] == values["input.value"]
    assert found["largest"]["image"] == "z" * 262_144
    assert "otflow.records" not in found["beyond"]
    assert found["beyond"]["otflow.seq.end"] == 9


async def test_the_archive_is_complete(collector: Collector) -> None:
    """A run can be found in the file with all ids, links and attributes that its spans have."""
    service = unique("archive")
    with watched(collector.otlp_http, service):
        trace = await run(Dull())
    spans = wait_for_spans(lambda: read_archive(collector.archive, service), 2)
    assert {span["traceId"] for span in spans} == {trace}
    records = [json.loads(attributes(span)["otflow.records"]) for span in spans]
    assert sorted(record["seq"] for each in records for record in each) == [*range(1, 7)]
