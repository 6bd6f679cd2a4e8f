"""What the variables of the environment ask for: OTEL_*, as the OpenTelemetry specification defines them, and OTFLOW_*.

A variable that makes no sense is said once in the log and otherwise left out: telemetry never stops a program that was
not written for it. (Arguments of `configure` are checked, and raise.) Where Python's SDK differs from the
specification, what Python's SDK does is done: timeouts are seconds. It reads a mapping and knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar, cast
from urllib.parse import unquote

from otflow.pipeline.target import Limits, Target, Transport
from otflow.records.capture import LEVELS

__all__ = ["TRANSPORTS", "Environment", "locate", "read_environment"]

T = TypeVar("T")

TRANSPORTS = ("http/protobuf", "grpc")
_OTLP = "OTEL_EXPORTER_OTLP"
_TEMPORALITY = f"{_OTLP}_METRICS_TEMPORALITY_PREFERENCE"
_COMPRESSIONS = ("none", "gzip", "deflate")
_HTTP, _GRPC = "http://localhost:4318", "http://localhost:4317"
_MAX_PORT = 65535


class Environment(NamedTuple):
    """What the environment asks for.

    Args:
        disabled: whether it forbids all telemetry.
        traces, metrics, logs: names of the exporters; empty for none.
        target, metrics_target: where traces, and metrics, go if an exporter is "otlp".
        temporality: what the receiver of metrics prefers: "cumulative", "delta" or "lowmemory".
        opt_in: names of conventions that are not stable yet and are wanted all the same.
        limits: memory, sizes and times of the way out.
        capture: how much of the payloads is shown.
        redact: whether what looks like a secret is hidden.
        hide_inputs, hide_outputs: whether all inputs, or all outputs, are hidden.
        payload_store, spool: folders; "" for none.
        journal: the file of the journal; "" for none.
        prometheus_port, prometheus_host: where metrics can be scraped; port 0 for nowhere.
        faults: the variables that make no sense, with the reason.
    """

    disabled: bool = False
    traces: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    target: Target = Target(f"{_HTTP}/v1/traces")
    metrics_target: Target = Target(f"{_HTTP}/v1/metrics")
    temporality: str = "cumulative"
    opt_in: tuple[str, ...] = ()
    limits: Limits = Limits()
    capture: str = "full"
    redact: bool = True
    hide_inputs: bool = False
    hide_outputs: bool = False
    payload_store: str = ""
    spool: str = ""
    journal: str = ""
    prometheus_port: int = 0
    prometheus_host: str = "127.0.0.1"
    faults: tuple[str, ...] = ()


class _Reader:
    """Reads variables, and remembers which make no sense. An empty variable is as good as none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def text(self, *names: str) -> str:
        """Return the first of some variables that is set."""
        return next((text for name in names if (text := self._environ.get(name, "").strip())), "")

    def signal(self, signal: str, name: str) -> str:
        """Return a variable of the exporter, that for the signal before that for all signals."""
        return self.text(f"{_OTLP}_{signal.upper()}_{name}", f"{_OTLP}_{name}")

    def read(self, text: str, name: str, default: T, parse: Callable[[str], T]) -> T:
        """Read a text, or take the default if it is empty or makes no sense."""
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            said = "..." if name.endswith("_HEADERS") else f"{text!r:.100}"  # where keys and tokens stand
            self.faults.append(f"{name}={said}: {error}")
            return default

    def names(self, name: str, default: str) -> tuple[str, ...]:
        """Read a list of names of exporters."""
        names = [part.strip().lower() for part in (self.text(name) or default).split(",")]
        return tuple(part for part in names if part not in {"", "none"})

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read a boolean: the specification knows "true" and "false", in any case, and wants a warning for others."""
        return self.read(self.text(name), name, default, _boolean)


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Read the variables."""
    reader = _Reader(environ)
    general = reader.text(f"{_OTLP}_ENDPOINT")
    traces = reader.names("OTEL_TRACES_EXPORTER", "otlp" if reader.signal("traces", "ENDPOINT") else "none")
    metrics = reader.names(
        "OTEL_METRICS_EXPORTER", "otlp" if general or reader.text(f"{_OTLP}_METRICS_ENDPOINT") else "none"
    )
    found = Environment(
        disabled=reader.flag("OTEL_SDK_DISABLED"),
        traces=traces,
        metrics=metrics,
        logs=reader.names("OTEL_LOGS_EXPORTER", "none"),
        target=_read_target(reader, "traces", general),
        metrics_target=_read_target(reader, "metrics", general),
        temporality=reader.read(
            reader.text(_TEMPORALITY).lower(), _TEMPORALITY, "cumulative", _one_of(("cumulative", "delta", "lowmemory"))
        ),
        opt_in=reader.names("OTEL_SEMCONV_STABILITY_OPT_IN", ""),
        limits=_read_limits(reader),
        capture=reader.read(reader.text("OTFLOW_CAPTURE"), "OTFLOW_CAPTURE", "full", _one_of(tuple(LEVELS))),
        redact=reader.flag("OTFLOW_REDACT", default=True),
        hide_inputs=reader.flag("OPENINFERENCE_HIDE_INPUTS"),
        hide_outputs=reader.flag("OPENINFERENCE_HIDE_OUTPUTS"),
        payload_store=reader.text("OTFLOW_PAYLOAD_STORE"),
        spool=reader.text("OTFLOW_SPOOL"),
        journal=reader.text("OTFLOW_JOURNAL"),
        prometheus_port=_read_port(reader, metrics),
        prometheus_host=reader.text("OTFLOW_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_HOST") or "127.0.0.1",
    )
    if found.disabled:
        found = found._replace(traces=(), metrics=(), logs=(), prometheus_port=0)
    return found._replace(faults=tuple(dict.fromkeys(reader.faults)))


def _read_port(reader: _Reader, metrics: tuple[str, ...]) -> int:
    """Read where metrics can be scraped; the variable of the specification counts if that exporter is wanted."""
    port = reader.read(reader.text("OTFLOW_PROMETHEUS_PORT"), "OTFLOW_PROMETHEUS_PORT", 0, _port)
    if port or "prometheus" not in metrics:
        return port
    return reader.read(reader.text("OTEL_EXPORTER_PROMETHEUS_PORT"), "OTEL_EXPORTER_PROMETHEUS_PORT", 9464, _port)


def _read_target(reader: _Reader, signal: str, general: str) -> Target:
    transport = reader.read(
        reader.signal(signal, "PROTOCOL"), f"{_OTLP}_PROTOCOL", cast("Transport", TRANSPORTS[0]), _read_transport
    )
    own = endpoint = reader.text(f"{_OTLP}_{signal.upper()}_ENDPOINT")
    if not endpoint:
        endpoint = locate(general or (_GRPC if transport == "grpc" else _HTTP), transport, signal)
    return Target(
        endpoint,
        transport,
        headers=reader.read(reader.signal(signal, "HEADERS"), f"{_OTLP}_HEADERS", {}, _read_headers),
        timeout=reader.read(reader.signal(signal, "TIMEOUT"), f"{_OTLP}_TIMEOUT", 10.0, _positive),
        compression=reader.read(
            reader.signal(signal, "COMPRESSION").lower(), f"{_OTLP}_COMPRESSION", "none", _one_of(_COMPRESSIONS)
        ),
        certificate=reader.signal(signal, "CERTIFICATE"),
        client_certificate=reader.signal(signal, "CLIENT_CERTIFICATE"),
        client_key=reader.signal(signal, "CLIENT_KEY"),
        insecure=reader.read(reader.signal(signal, "INSECURE"), f"{_OTLP}_INSECURE", False, _boolean),
        named=bool(own or general),
    )


def locate(endpoint: str, transport: Transport, signal: str) -> str:
    """Return where a signal goes, given where all go (OTLP exporter specification, endpoint URLs for OTLP/HTTP)."""
    return endpoint if transport == "grpc" else f"{endpoint.rstrip('/')}/v1/{signal}"


def _read_limits(reader: _Reader) -> Limits:
    default = Limits()

    def count(name: str, otherwise: int) -> int:
        return reader.read(reader.text(name), name, otherwise, _whole)

    delay = reader.read(reader.text("OTEL_BSP_SCHEDULE_DELAY"), "OTEL_BSP_SCHEDULE_DELAY", 0, _whole)
    return default._replace(
        spans=count("OTEL_BSP_MAX_QUEUE_SIZE", default.spans),
        batch_spans=count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default.batch_spans),
        interval=delay / 1000 or default.interval,
    )


def _read_transport(text: str) -> Transport:
    return cast("Transport", _one_of(TRANSPORTS)(text.lower()))


def _read_headers(text: str) -> dict[str, str]:
    """Read headers in the form of W3C baggage: key=value,key=value, with escapes."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ValueError("use key=value,key=value, with %2C for a comma in a value")
    return {unquote(key).strip().lower(): unquote(value).strip() for key, _, value in pairs}


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("use true or false")
    return text.lower() == "true"


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"use one of {', '.join(allowed)}")
        return text

    return read


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError("use a number above 0")
    return seconds


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("use a whole number above 0")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number <= _MAX_PORT:
        raise ValueError("use a port from 1 to 65535")
    return number
