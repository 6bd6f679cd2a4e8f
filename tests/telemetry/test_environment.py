"""The variables of the environment mean what the OpenTelemetry specification says; nonsense is said, and left out."""

from __future__ import annotations

import pytest

from otflow.pipeline.target import Limits, Target
from otflow.telemetry.environment import Environment, read_environment

OTLP = "OTEL_EXPORTER_OTLP_"
HERE = "http://localhost:4318"


def read(**variables: str) -> Environment:
    """Read variables; E_ stands for OTEL_EXPORTER_OTLP_."""
    return read_environment(
        {name.replace("E_", OTLP, 1) if name.startswith("E_") else name: value for name, value in variables.items()}
    )


def test_nothing_is_asked_for() -> None:
    """Without variables there is no telemetry, and nothing is wrong."""
    assert read() == Environment()
    assert read(E_ENDPOINT="", OTEL_TRACES_EXPORTER=" ", OTEL_SDK_DISABLED="") == Environment()


@pytest.mark.parametrize(
    ("variables", "traces"),
    [
        ({"E_ENDPOINT": HERE}, ("otlp",)),
        ({"E_TRACES_ENDPOINT": HERE}, ("otlp",)),
        ({"E_METRICS_ENDPOINT": HERE}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "OTLP, console"}, ("otlp", "console")),
        ({"OTEL_TRACES_EXPORTER": "none", "E_ENDPOINT": HERE}, ()),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "E_ENDPOINT": HERE}, ("zipkin",)),
        ({"OTEL_TRACES_EXPORTER": "", "E_ENDPOINT": HERE}, ("otlp",)),
    ],
)
def test_which_exporters(variables: dict[str, str], traces: tuple[str, ...]) -> None:
    """The exporters are those that are named; else OTLP if an endpoint for traces, or for all signals, is named."""
    found = read(**variables)
    assert found.traces == traces
    assert not found.faults


@pytest.mark.parametrize(
    ("variables", "metrics", "logs"),
    [
        ({"E_ENDPOINT": HERE}, ("otlp",), ()),
        ({"E_METRICS_ENDPOINT": HERE}, ("otlp",), ()),
        ({"E_TRACES_ENDPOINT": HERE}, (), ()),
        ({"E_ENDPOINT": HERE, "OTEL_METRICS_EXPORTER": "none"}, (), ()),
        ({"OTEL_LOGS_EXPORTER": "otlp"}, (), ("otlp",)),
    ],
)
def test_which_other_signals(variables: dict[str, str], metrics: tuple[str, ...], logs: tuple[str, ...]) -> None:
    """Metrics go out where an endpoint for them is named, and logs where that is asked for."""
    found = read(**variables)
    assert (found.metrics, found.logs) == (metrics, logs)


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"E_PROTOCOL": "grpc"}, "http://localhost:4317"),
        ({"E_TRACES_PROTOCOL": "grpc", "E_PROTOCOL": "http/protobuf"}, "http://localhost:4317"),
        ({"E_ENDPOINT": "http://c:1"}, "http://c:1/v1/traces"),
        ({"E_ENDPOINT": "http://c:1/"}, "http://c:1/v1/traces"),
        ({"E_ENDPOINT": "http://c:1/base/"}, "http://c:1/base/v1/traces"),
        ({"E_ENDPOINT": "http://c:1", "E_PROTOCOL": "grpc"}, "http://c:1"),
        ({"E_ENDPOINT": "http://c:1", "E_TRACES_ENDPOINT": "http://t:2/as/it/is"}, "http://t:2/as/it/is"),
        ({"E_TRACES_ENDPOINT": "http://t:2"}, "http://t:2"),
    ],
)
def test_where_to(variables: dict[str, str], endpoint: str) -> None:
    """The endpoint of all signals is a base, that of traces is taken as it is."""
    assert read(**variables).target.endpoint == endpoint


@pytest.mark.parametrize("which", ["E_{}", "E_TRACES_{}"])
@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("HEADERS", "api-key=a%2Cb,X-Other = c=d ", "headers", {"api-key": "a,b", "x-other": "c=d"}),
        ("TIMEOUT", "2.5", "timeout", 2.5),
        ("COMPRESSION", "GZIP", "compression", "gzip"),
        ("COMPRESSION", "deflate", "compression", "deflate"),
        ("COMPRESSION", "none", "compression", "none"),
        ("CERTIFICATE", "ca.pem", "certificate", "ca.pem"),
        ("CLIENT_CERTIFICATE", "c.pem", "client_certificate", "c.pem"),
        ("CLIENT_KEY", "k.pem", "client_key", "k.pem"),
        ("INSECURE", "True", "insecure", True),
        ("INSECURE", "false", "insecure", False),
    ],
)
def test_how(which: str, name: str, text: str, attribute: str, value: object) -> None:
    """Each setting of the exporter can be made for all signals, or for traces, which comes first."""
    found = read(**{which.format(name): text})
    assert getattr(found.target, attribute) == value
    assert found.target._replace(**{attribute: getattr(Target(""), attribute)}) == Environment().target
    assert not found.faults
    assert getattr(read(**{f"E_{name}": "x", f"E_TRACES_{name}": text}).target, attribute) == value


def test_without_a_scheme_there_is_tls() -> None:
    """A place without a scheme is reached by TLS unless it is said otherwise, as the specification wants it."""
    assert not read(E_ENDPOINT="c:4317", E_PROTOCOL="grpc").target.insecure
    assert read(E_ENDPOINT="c:4317", E_PROTOCOL="grpc", E_INSECURE="true").target.insecure


@pytest.mark.parametrize(
    ("variables", "limits"),
    [
        ({}, Limits()),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "5000"}, Limits(spans=5000)),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"}, Limits(batch_spans=100)),
        ({"OTEL_BSP_SCHEDULE_DELAY": "250"}, Limits(interval=0.25)),
    ],
)
def test_how_much(variables: dict[str, str], limits: Limits) -> None:
    """What the SDK's batch processor would be told counts for otflow's own way out."""
    assert read(**variables).limits == limits


@pytest.mark.parametrize(("text", "disabled"), [("true", True), ("TRUE", True), ("false", False), ("1", False)])
def test_what_is_true(text: str, *, disabled: bool) -> None:
    """Only "true" is true: the specification allows nothing else, and wants a warning for it."""
    found = read(OTEL_SDK_DISABLED=text)
    assert found.disabled == disabled
    assert bool(found.faults) == (text == "1")


def test_redaction_is_not_switched_off_by_a_slip() -> None:
    """What makes no sense leaves secrets hidden."""
    assert not read(OTFLOW_REDACT="false").redact
    found = read(OTFLOW_REDACT="ture")
    assert found.redact
    assert found.faults == ("OTFLOW_REDACT='ture': use true or false",)


@pytest.mark.parametrize(
    ("variables", "attribute", "value"),
    [
        ({"OTFLOW_CAPTURE": "preview"}, "capture", "preview"),
        ({"OTFLOW_SPOOL": "/some/folder"}, "spool", "/some/folder"),
        ({"OTFLOW_PAYLOAD_STORE": "/some/folder"}, "payload_store", "/some/folder"),
        ({"OTFLOW_PROMETHEUS_PORT": "9464"}, "prometheus_port", 9464),
        ({"OPENINFERENCE_HIDE_INPUTS": "true"}, "hide_inputs", True),
        ({"OPENINFERENCE_HIDE_OUTPUTS": "true"}, "hide_outputs", True),
    ],
)
def test_what_is_shown(variables: dict[str, str], attribute: str, value: object) -> None:
    """Each variable of otflow sets what it is called after."""
    found = read(**variables)
    assert found == Environment()._replace(**{attribute: value})


@pytest.mark.parametrize(
    "variables",
    [
        {"E_PROTOCOL": "http/json"},
        {"E_TIMEOUT": "soon"},
        {"E_TIMEOUT": "-1"},
        {"E_TIMEOUT": "nan"},
        {"E_TIMEOUT": "inf"},
        {"E_COMPRESSION": "zip"},
        {"E_HEADERS": "just words"},
        {"E_HEADERS": "=value"},
        {"E_INSECURE": "yes"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "0"},
        {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "many"},
        {"OTEL_BSP_SCHEDULE_DELAY": "-5"},
        {"OTFLOW_CAPTURE": "some"},
        {"OTFLOW_PROMETHEUS_PORT": "99999"},
        {"OTEL_SDK_DISABLED": "yes"},
    ],
)
def test_nonsense_is_left_out(variables: dict[str, str]) -> None:
    """A variable that makes no sense changes nothing, and is named with what would make sense, and its value."""
    found = read(**variables)
    assert found._replace(faults=()) == Environment()
    [(name, value)] = variables.items()
    [fault] = found.faults
    said = "..." if name.endswith("_HEADERS") else f"{value!r}"  # in which there may be tokens
    assert fault.startswith(f"{name.replace('E_', OTLP, 1) if name.startswith('E_') else name}={said}: ")
