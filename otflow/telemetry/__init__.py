"""Telemetry of this process: who gets its spans, metrics and logs, and how much they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider

from otflow.dispatcher import Dispatcher, Sink
from otflow.payload_store import PayloadStore
from otflow.redaction import Redaction
from otflow.telemetry.choices import Choices, Folder, check_choices
from otflow.telemetry.wiring import Wiring

if TYPE_CHECKING:
    from otflow.metrics.prometheus import Collector
    from otflow.pipeline.exporter import Status

__all__ = ["configure", "flush", "prometheus_collector", "status", "wire"]

_wiring = Wiring()


def wire() -> None:
    """See to it that a run that starts now is watched as the user wishes. Called when a run starts."""
    if not _wiring.settled:
        with _wiring.lock:
            _wiring.settle_for_run()


def status() -> Status | None:
    """Tell how many spans were handed over, sent, and lost, and why.

    Returns:
        The counts of otflow's own way out; None if there is none, because the spans go to a provider of the user.
    """
    return _wiring.spans.status()


def flush(timeout: float = 5.0) -> bool:
    """Wait until the spans that have ended are sent.

    Args:
        timeout: seconds to wait at most; default 5.

    Returns:
        Whether all of them were sent; False too if some are lost.
    """
    return _wiring.spans.flush(timeout)


def prometheus_collector() -> Collector:
    """Return the metrics of this process for a registry of prometheus_client, if you serve /metrics yourself.

    Counting begins with the first call, unless metrics were wanted before; it ends with the next `otflow.configure`.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> import otflow
        >>> registry = CollectorRegistry()
        >>> registry.register(otflow.telemetry.prometheus_collector())
    """
    from otflow.metrics.prometheus import Collector

    with _wiring.lock:
        return Collector(_wiring.cells())


def configure(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    service_name: str | None = None,
    capture: str | Mapping[str, str] | None = None,
    redact: Redaction | bool | None = None,
    payload_store: PayloadStore | Folder | None = None,
    spool: Folder | None = None,
    memory: int | None = None,
    max_block: float | None = None,
    exit_timeout: float | None = None,
    metrics: bool | None = None,
    prometheus_port: int | None = None,
    prometheus_host: str = "127.0.0.1",
    logs: bool | int | None = None,
    journal: Sink | Folder | None = None,
    dispatcher: Dispatcher | None = None,
) -> Callable[[], None]:
    """Say where spans, metrics and logs go and what they show, for all runs from now on.

    What is left out is as the variables of the environment say, and each call replaces the one before.

    Args:
        tracer_provider: a `TracerProvider` of the OpenTelemetry SDK, or a `NoOpTracerProvider` for no spans at all;
            default: `endpoint`, else the global provider, else what the OTEL_* variables ask for.
        meter_provider: gets the metrics by its instruments; default: the global one of the SDK, if metrics are wanted.
        logger_provider: gets the log records; default, if `logs` are wanted: the global one if
            someone installed it and no `endpoint` is given, else one of otflow's own.
        endpoint: the base URL of an OTLP receiver, such as "http://localhost:4318", for otflow's own way out.
        protocol: "http/protobuf" or "grpc"; default: what the environment says, else "http/protobuf".
        headers: sent with each request to the endpoint, for example for authentication.
        service_name: the name of this service; default: what the environment says.
        capture: how much of the payloads is shown: "full" (up to 64 KiB for each value), "preview" (2000 bytes) or
            "none"; or a mapping from names of workflows or events to these, with "*" for all others. Default "full".
        redact: whether what looks like a secret is hidden before anything leaves the run: True (the default), False,
            or an `otflow.redaction.Redaction` with your own rules.
        payload_store: a folder, or an `otflow.payload_store.PayloadStore`, for payloads that are too large for a span;
            default: they are left out.
        spool: a folder for spans while the endpoint does not take them; default: they wait in memory, and are
            dropped and counted when that is full.
        memory: bytes of spans that may wait to be sent; default 32 MiB.
        max_block: seconds for which code that ends a span may be held back while that memory is full and the endpoint
            takes spans; default 2. Nobody is held back for an endpoint that does not answer.
        exit_timeout: seconds that the end of the process may take for sending what waits; default 5.
        metrics: whether metrics go out by OTLP, to `endpoint` or as the environment says; default: as the environment
            says.
        prometheus_port: serve metrics for Prometheus on this port; default: not.
        prometheus_host: the address for that; default "127.0.0.1", which only this machine reaches.
        logs: True: log records made in steps carry the ids of trace and span, and all of level INFO and above go out
            by OTLP; a number: those of that level and above; False: neither; default: they carry ids, and go out if
            the environment says so.
        journal: the file that has every record before anything is done about it, an `otflow.journal.Journal`, or a
            callable that gets all records first, and whose failure stops the run; default: what the environment says.
        dispatcher: the dispatcher whose runs are meant; default the one that all runs share.

    Returns:
        A function that takes this back: the environment and the global providers are followed again, as if nothing had
        been configured. It does nothing once `configure` was called again.

    Raises:
        WorkflowConfigurationError: arguments are of another kind than said above, or exclude each other (all that are
            wrong are named); the port or a folder cannot be used.
    """
    choices = Choices(**{name: value for name, value in locals().items() if name in Choices._fields})
    check_choices(choices)
    with _wiring.lock:
        _wiring.choose(choices, now=choices != Choices())
        mine = _wiring.calls

    def undo() -> None:
        with _wiring.lock:
            if _wiring.calls == mine:
                _wiring.choose(Choices(), now=False)

    return undo
