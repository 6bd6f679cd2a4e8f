"""A logger provider of the OpenTelemetry SDK that exports by OTLP, for those who have none of their own.

The only room of logs that knows the SDK and its exporters; it is loaded when someone asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource

from otflow.errors import WorkflowConfigurationError

__all__ = ["EXIT_TIMEOUT", "PROTOCOLS", "build_provider"]

PROTOCOLS = ("grpc", "http/protobuf")
"""What OTLP can be spoken over."""

EXIT_TIMEOUT = 5.0
"""How many seconds the process waits at its end for log records that are still here."""

_VARIABLES = ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class _Processor(BatchLogRecordProcessor):
    """Batches that do not hold up the end of the process for long.

    Args:
        exporter: where they go.
        exit_timeout: how long `shutdown` waits, in seconds, or a function that tells it then.
    """

    def __init__(self, exporter: LogRecordExporter, exit_timeout: float | Callable[[], float]) -> None:
        super().__init__(exporter)
        self._exit_timeout = exit_timeout

    def shutdown(self) -> None:
        """Export what is left, as far as it can be done in time."""
        limit = self._exit_timeout
        self._batch_processor.shutdown(
            timeout_millis=int((limit if isinstance(limit, int | float) else limit()) * 1000)
        )


def build_provider(
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    resource: Resource | None = None,
    exporter: LogRecordExporter | None = None,
    exit_timeout: float | Callable[[], float] = EXIT_TIMEOUT,
) -> LoggerProvider:
    """Build a logger provider that sends batches by OTLP; it is not made the global one.

    What is left out is read from the OTEL_EXPORTER_OTLP_* variables, those for logs first; batches obey OTEL_BLRP_*.
    It shuts down when the process ends.

    Args:
        endpoint: the address of the receiver, without the path of the signal: "http://localhost:4318".
        protocol: "http/protobuf" or "grpc"; default what the variables say, or "http/protobuf".
        headers: sent with each request.
        timeout: how long a request may take with all its retries, in seconds; default 10.
        resource: what the log records are of; default what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say.
        exporter: where batches go, in the place of all that; default None.
        exit_timeout: how long its shutdown may take, in seconds, or a function that tells it then; default 5.

    Raises:
        WorkflowConfigurationError: the protocol is another one.
    """
    if exporter is None:
        exporter = _build_exporter(protocol or _asked_protocol(), endpoint, headers, timeout)
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(_Processor(exporter, exit_timeout))
    return provider


def _asked_protocol() -> str:
    return next((value for name in _VARIABLES if (value := os.environ.get(name, "").strip())), "http/protobuf")


def _build_exporter(
    protocol: str, endpoint: str | None, headers: Mapping[str, str] | None, timeout: float | None
) -> LogRecordExporter:
    match protocol:
        case "http/protobuf":
            from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter

            url = f"{endpoint.rstrip('/')}/v1/logs" if endpoint is not None else None
            return HttpExporter(url, headers=headers, timeout=timeout)
        case "grpc":
            from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter

            return GrpcExporter(endpoint, headers=dict(headers) if headers else None, timeout=timeout)
        case _:
            known = ", ".join(repr(each) for each in PROTOCOLS)
            raise WorkflowConfigurationError(f"OTLP for logs over {protocol!r}: no such protocol; use one of {known}.")
