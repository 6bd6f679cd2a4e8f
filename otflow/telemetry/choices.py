"""What `otflow.configure` is asked for, as data, and what can be wrong with it. It changes nothing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider

from otflow.dispatcher import Dispatcher, Sink
from otflow.errors import WorkflowConfigurationError
from otflow.payload_store import PayloadStore
from otflow.pipeline.target import Target, Transport
from otflow.records.capture import LEVELS
from otflow.redaction import Redaction
from otflow.telemetry.environment import TRANSPORTS, Environment, locate

__all__ = [
    "Choices",
    "Folder",
    "OwnMeters",
    "aim",
    "check_choices",
    "find_meters",
    "find_sdk",
    "is_measured",
    "silence",
]

_SDK = "opentelemetry.sdk.trace"
_MAX_PORT = 65535
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "service_name": ((str,), "a text"),
    "spool": ((str, os.PathLike), "the path of a folder"),
    "payload_store": (
        (str, os.PathLike, PayloadStore),
        "the path of a folder, or an otflow.payload_store.PayloadStore",
    ),
    "metrics": ((bool,), "True or False"),
    "prometheus_host": ((str,), "an address such as '127.0.0.1'"),
}
"""What some arguments have to be."""
_DEPTH = 3  # providers that wrap another one, as that of logfire

Folder = str | os.PathLike[str]
"""The path of a folder."""


class Choices(NamedTuple):
    """What was asked for; None leaves it to the environment. See `otflow.configure`."""

    tracer_provider: trace.TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    logger_provider: LoggerProvider | None = None
    endpoint: str | None = None
    protocol: str | None = None
    headers: Mapping[str, str] | None = None
    service_name: str | None = None
    capture: str | Mapping[str, str] | None = None
    redact: Redaction | bool | None = None
    payload_store: PayloadStore | Folder | None = None
    spool: Folder | None = None
    memory: int | None = None
    max_block: float | None = None
    exit_timeout: float | None = None
    metrics: bool | None = None
    prometheus_port: int | None = None
    prometheus_host: str = "127.0.0.1"
    logs: bool | int | None = None
    journal: Sink | Folder | None = None
    dispatcher: Dispatcher | None = None


def silence(choices: Choices) -> Choices:
    """Leave out everything by which something would be sent or served, if there is anything of that kind."""
    if not (choices.endpoint or choices.metrics or choices.prometheus_port or choices.logs):
        return choices
    return choices._replace(endpoint=None, headers=None, metrics=False, prometheus_port=None, logs=False)


def aim(choices: Choices, target: Target, signal: str) -> Target:
    """Return where a signal goes: the endpoint that `configure` names, else what the environment says.

    Headers and certificates of the environment are for the receiver that it names, and go to no other one. If it
    names none, they are for the endpoint of `configure`.

    Args:
        choices: what `configure` was called with.
        target: what the environment says.
        signal: "traces", "metrics" or "logs".
    """
    if choices.endpoint is None:
        return target
    transport = cast("Transport", choices.protocol or target.protocol)
    endpoint = locate(choices.endpoint, transport, signal)
    if target.named and _origin(target.endpoint) != _origin(endpoint):
        target = Target(endpoint, transport, timeout=target.timeout, compression=target.compression)
    headers = choices.headers if choices.headers is not None else target.headers
    return target._replace(
        endpoint=endpoint, protocol=transport, headers={key.lower(): text for key, text in headers.items()}
    )


def _origin(endpoint: str) -> tuple[str | None, int | None]:
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    return parts.hostname, parts.port


def find_sdk(provider: object) -> trace.TracerProvider | None:
    """Return the tracer provider of the SDK that this is, or that it wraps; None if there is none."""
    sdk = sys.modules.get(_SDK)  # a provider of the SDK can only exist once the SDK was imported
    for _ in range(_DEPTH):
        if sdk is None or provider is None:
            return None
        if isinstance(provider, sdk.TracerProvider):
            return cast("trace.TracerProvider", provider)
        provider = getattr(provider, "provider", None)
    return None


class OwnMeters:
    """The global meter provider of otflow, if it is one."""

    provider: MeterProvider | None = None


def find_meters(choices: Choices) -> MeterProvider | None:
    """Return the meter provider of the user: the one that was named, else the global one of the SDK."""
    if choices.meter_provider is not None:
        return choices.meter_provider
    sdk = sys.modules.get("opentelemetry.sdk.metrics")
    if sdk is None:
        return None
    found = metrics.get_meter_provider()
    return found if isinstance(found, sdk.MeterProvider) and found is not OwnMeters.provider else None


def is_measured(choices: Choices, wanted: Environment) -> bool:
    """Tell whether anybody wants metrics."""
    if choices.prometheus_port or choices.metrics or wanted.prometheus_port:
        return True
    return choices.metrics is None and bool(wanted.metrics or find_meters(choices))


def check_choices(choices: Choices) -> None:
    """Check them all.

    Raises:
        WorkflowConfigurationError: something is wrong; the message says everything that is.
    """
    faults = [*_find_faults(choices)]
    if len(faults) == 1:
        raise WorkflowConfigurationError(faults[0])
    if faults:
        raise WorkflowConfigurationError("\n".join(("configure() was called with:", *(f"- {one}" for one in faults))))


def _find_faults(choices: Choices) -> Iterator[str]:
    yield from _find_wrong_providers(choices)
    yield from _find_wrong_places(choices)
    yield from _find_wrong_content(choices)
    for name, most in (("memory", 1 << 40), ("max_block", 3600), ("exit_timeout", 3600)):
        number = getattr(choices, name)
        right = isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= most
        if number is not None and not right:
            yield f"configure({name}={number!r}): use a number from 0 to {most}."
    for name, (kinds, what) in _KINDS.items():
        value = getattr(choices, name)
        if value is not None and not isinstance(value, kinds):
            yield f"configure({name}={value!r}): use {what}."
    if choices.dispatcher is not None and not isinstance(choices.dispatcher, Dispatcher):
        yield (
            f"configure(dispatcher={choices.dispatcher!r}): this is no dispatcher; pass an "
            "otflow.dispatcher.Dispatcher, or leave it out."
        )
    if choices.journal is not None and not (
        callable(choices.journal) or isinstance(choices.journal, str | os.PathLike)
    ):
        yield (
            f"configure(journal={choices.journal!r}): use the path of a file, an otflow.journal.Journal, or a callable "
            "that takes a sequence of records."
        )


def _find_wrong_providers(choices: Choices) -> Iterator[str]:
    tracer, meter, logger = choices.tracer_provider, choices.meter_provider, choices.logger_provider
    if tracer is not None and not isinstance(tracer, trace.NoOpTracerProvider) and find_sdk(tracer) is None:
        yield (
            f"configure(tracer_provider={tracer!r}): spans can only be given to an opentelemetry.sdk.trace."
            "TracerProvider, or to a NoOpTracerProvider for no spans at all. Pass the SDK's provider itself if this "
            "one wraps it, or leave it out to follow the global provider."
        )
    if tracer is not None and choices.endpoint is not None:
        yield (
            "configure(tracer_provider=..., endpoint=...): a provider has exporters of its own. Pass one of the two, "
            "or give the provider an exporter for that endpoint."
        )
    if meter is not None and not isinstance(meter, MeterProvider):
        yield f"configure(meter_provider={meter!r}): this is no opentelemetry.metrics.MeterProvider."
    if logger is not None and not isinstance(logger, LoggerProvider):
        yield f"configure(logger_provider={logger!r}): this is no opentelemetry._logs.LoggerProvider."


def _find_wrong_places(choices: Choices) -> Iterator[str]:
    endpoint, port = choices.endpoint, choices.prometheus_port
    if choices.protocol is not None and choices.protocol not in TRANSPORTS:
        yield f"configure(protocol={choices.protocol!r}): use one of {', '.join(map(repr, TRANSPORTS))}."
    if endpoint is not None and not _is_endpoint(endpoint, choices.protocol):
        yield (
            f"configure(endpoint={endpoint!r}): this is no address. Use the base URL of an OTLP receiver, such as "
            "'http://localhost:4318' (HTTP) or, with protocol='grpc', 'http://localhost:4317'."
        )
    if endpoint is None and (choices.headers or choices.protocol):
        yield "configure(headers=..., protocol=...): these are for an endpoint; pass endpoint=... too."
    headers = choices.headers or {}
    if not isinstance(headers, Mapping) or not all(isinstance(one, str) for pair in headers.items() for one in pair):
        yield "configure(headers=...): pass a mapping of texts to texts."
    if port is not None and not (type(port) is int and 0 < port <= _MAX_PORT):
        yield f"configure(prometheus_port={port!r}): use a port from 1 to {_MAX_PORT}."


def _is_endpoint(endpoint: object, protocol: str | None) -> bool:
    if not isinstance(endpoint, str):
        return False
    if protocol == "grpc" and "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        return False


def _find_wrong_content(choices: Choices) -> Iterator[str]:
    levels = ", ".join(map(repr, LEVELS))
    capture = choices.capture
    given = capture if isinstance(capture, Mapping) else {"": capture}
    for workflow, level in given.items():
        if level is not None and (not isinstance(level, str) or level not in LEVELS):
            of = f" for {workflow!r}" if workflow else ""
            yield f"configure(capture={capture!r}): no such level{of}; use one of {levels}."
    if choices.redact is not None and not isinstance(choices.redact, bool | Redaction):
        yield f"configure(redact={choices.redact!r}): use True, False or an otflow.redaction.Redaction."
    logs = choices.logs
    if logs is not None and not isinstance(logs, bool) and not (isinstance(logs, int) and 0 <= logs <= logging.FATAL):
        yield f"configure(logs={logs!r}): use True, False, or the lowest level that goes out, such as logging.INFO."
