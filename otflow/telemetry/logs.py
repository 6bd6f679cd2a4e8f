"""Log records: whether they say where they were made, and whether they go out by OTLP."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack

from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry._logs._internal import ProxyLoggerProvider  # nothing public tells that none is installed

from otflow.dispatcher import Dispatcher
from otflow.logs import add_ids, attach_handler
from otflow.redaction import Redactor
from otflow.telemetry.choices import Choices
from otflow.telemetry.environment import Environment

__all__ = ["open_logs"]


def open_logs(choices: Choices, wanted: Environment, dispatcher: Dispatcher) -> Callable[[], None]:
    """Let log records carry ids and go out, as far as that is wanted; returns the function that ends it."""
    with ExitStack() as ends:
        if choices.logs is not False and _is_telling(choices, wanted):
            ends.callback(add_ids(choices.service_name or os.environ.get("OTEL_SERVICE_NAME", "")))
        if _is_sent(choices, wanted):
            _send(ends, choices, dispatcher)
        return ends.pop_all().close


def _is_telling(choices: Choices, wanted: Environment) -> bool:
    return bool(choices.logs is not None or choices.endpoint or choices.tracer_provider or wanted.traces or wanted.logs)


def _is_sent(choices: Choices, wanted: Environment) -> bool:
    if choices.logs is None:  # who installed a provider has decided what comes to it
        return choices.logger_provider is not None or ("otlp" in wanted.logs and _find_installed() is None)
    return choices.logs is not False


def _find_installed() -> LoggerProvider | None:
    """Find the global logger provider, if someone installed one."""
    provider = get_logger_provider()
    return None if isinstance(provider, ProxyLoggerProvider) else provider


def _send(ends: ExitStack, choices: Choices, dispatcher: Dispatcher) -> None:
    level = logging.INFO if choices.logs is None or choices.logs is True else int(choices.logs)
    provider = choices.logger_provider or (None if choices.endpoint else _find_installed())
    if provider is None:
        from otflow.logs.provider import build_provider
        from otflow.telemetry.tracing import describe_service

        own = provider = build_provider(
            endpoint=choices.endpoint,
            protocol=choices.protocol,
            headers=choices.headers,
            resource=describe_service(choices.service_name or ""),
            exit_timeout=choices.exit_timeout if choices.exit_timeout is not None else 5.0,
        )
        ends.callback(own.shutdown)
    redact: Redactor | None = dispatcher.redact
    if redact is None:
        ends.callback(attach_handler(provider, level))
    else:
        ends.callback(attach_handler(provider, level, redact.text, redact.hides))
