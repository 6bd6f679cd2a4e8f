"""Log records: whether they say where they were made, and whether they go out by OTLP."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry._logs._internal import ProxyLoggerProvider  # nothing public tells that none is installed

from otflow.dispatcher import Dispatcher
from otflow.logs import add_ids, attach_handler
from otflow.redaction import Redactor
from otflow.telemetry.choices import Choices, aim
from otflow.telemetry.environment import Environment
from otflow.telemetry.process import Bound

__all__ = ["is_told", "open_logs", "tell_ids"]


def is_told(choices: Choices, wanted: Environment, *, traced: bool) -> bool:
    """Tell whether log records are to say where they were made.

    Args:
        choices: what `configure` was called with.
        wanted: what the environment asks for.
        traced: whether somebody gets the spans.
    """
    return choices.logs is not False and bool(choices.logs is not None or traced or wanted.logs)


def tell_ids(choices: Choices) -> Callable[[], None]:
    """Let log records say where they were made; returns the function that ends it."""
    return add_ids(choices.service_name or os.environ.get("OTEL_SERVICE_NAME", ""))


def open_logs(choices: Choices, wanted: Environment, dispatcher: Dispatcher, bound: Bound) -> Callable[[], None]:
    """Let log records go out, as far as that is wanted; returns the function that ends it."""
    with ExitStack() as ends:
        if _is_sent(choices, wanted):
            _send(ends, choices, wanted, dispatcher, bound)
        return ends.pop_all().close


def _is_sent(choices: Choices, wanted: Environment) -> bool:
    if choices.logs is None:  # who installed a provider has decided what comes to it
        return choices.logger_provider is not None or ("otlp" in wanted.logs and _find_installed() is None)
    return choices.logs is not False


def _find_installed() -> LoggerProvider | None:
    """Find the global logger provider, if someone installed one."""
    provider = get_logger_provider()
    return None if isinstance(provider, ProxyLoggerProvider) else provider


def _send(ends: ExitStack, choices: Choices, wanted: Environment, dispatcher: Dispatcher, bound: Bound) -> None:
    level = logging.INFO if choices.logs is None or choices.logs is True else int(choices.logs)
    provider = choices.logger_provider or (None if choices.endpoint else _find_installed())
    if provider is None:
        from otflow.logs.provider import build_provider
        from otflow.telemetry.tracing import describe_service

        own = provider = build_provider(
            endpoint=choices.endpoint,
            protocol=choices.protocol,
            headers=_find_headers(choices, wanted),
            resource=describe_service(choices.service_name or ""),
            exit_timeout=bound.left,
        )
        ends.callback(own.shutdown)
    redact: Redactor | None = dispatcher.redact
    if redact is None:
        ends.callback(attach_handler(provider, level))
    else:
        ends.callback(attach_handler(provider, level, redact.text, redact.hides))


def _find_headers(choices: Choices, wanted: Environment) -> Mapping[str, str] | None:
    """Return the headers for the endpoint of `configure`; None for what the variables say.

    Those of the variables are left out if they are meant for another receiver. The exporter of the SDK takes them for
    wanted when it is given none, but not when it is given any.
    """
    if choices.endpoint is None or choices.headers:
        return choices.headers
    return dict(aim(choices, wanted.target, "logs").headers) or {"user-agent": "otflow"}
