"""A handler of `logging` that turns log records into those of OpenTelemetry.

They go to any logger provider by the API alone. Records of whoever exports are left out, so that no export makes
another one necessary. This room knows no exporter and no setting.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from time import time_ns
from typing import NamedTuple

from opentelemetry import context as otel
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESSED
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AnyValue

from otflow.logs.ids import RUN, SAMPLED, SERVICE, SPAN, STEP, TRACE, WORKFLOW, fill
from otflow.records.body import REDACTED
from otflow.records.semconv import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    RUN_ID,
    STEP_NAME,
    WORKFLOW_NAME,
)

__all__ = ["EXPORTING", "OtelHandler", "attach_handler"]

EXPORTING = ("opentelemetry", "otflow.pipeline", "otflow.telemetry")
"""Loggers of those who export: what they say never becomes telemetry itself, nor what loggers below them say."""

_MAX_TEXT = 65_536  # characters
_MAX_STACK = 8192  # characters; the end of a stack says more than its beginning
_INTEGERS = range(-(2**63), 2**63)  # what OTLP can carry
_SEVERITIES = (
    SeverityNumber.TRACE,
    SeverityNumber.DEBUG,
    SeverityNumber.INFO,
    SeverityNumber.WARN,
    SeverityNumber.ERROR,
    SeverityNumber.FATAL,
)
_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}  # as the handlers of OpenTelemetry write them
_IDS = {TRACE, SPAN, SAMPLED, SERVICE, RUN, WORKFLOW, STEP}
_STANDARD = {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "asctime", "message", "taskName", *_IDS}
_OWN = ((RUN, RUN_ID), (WORKFLOW, WORKFLOW_NAME), (STEP, STEP_NAME))


class _Veil(NamedTuple):
    """What must not leave: `scrub` cleans a text, `hides` knows the names of values that stay."""

    scrub: Callable[[str], str]
    hides: Callable[[str], bool] | None


class OtelHandler(logging.Handler):
    """Emits log records to a logger provider of OpenTelemetry.

    Args:
        provider: where they go.
        level: the lowest level that goes out; default `logging.INFO`.
        scrub: called with each text of users (message, exception, extra fields) before it leaves; default None: they
            leave as they are. A record that it raises for is not sent; `logging` says so on stderr.
        hides: tells of the name of an extra field whether its value stays here; default None: of none.
    """

    def __init__(
        self,
        provider: LoggerProvider,
        level: int = logging.INFO,
        scrub: Callable[[str], str] | None = None,
        hides: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(level)
        self._provider = provider
        self._veil = _Veil(scrub or str, hides)
        self._inside = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a record, unless it comes from an export."""
        name = record.name or ""
        if _is_exporting(name) or getattr(self._inside, "active", False):
            return
        self._inside.active = True  # what a processor logs while it takes this record is left out
        try:
            fill(record)
            self._provider.get_logger(_clean(name)).emit(_translate(record, self._veil))
        except Exception:  # as with every handler of logging: who logs must not fail for it
            self.handleError(record)
        finally:
            self._inside.active = False


def attach_handler(
    provider: LoggerProvider,
    level: int = logging.INFO,
    scrub: Callable[[str], str] | None = None,
    hides: Callable[[str], bool] | None = None,
) -> Callable[[], None]:
    """Send the log records that reach the root logger to a logger provider.

    The levels of loggers stay as they are: what they drop reaches no handler. If some handler of the root logger
    gives its records to this very provider already, nothing is done.

    Args:
        provider: where they go; also one of the API alone, or one that wraps another.
        level: the lowest level that goes out; default `logging.INFO`.
        scrub: called with each text of users (message, exception, extra fields) before it leaves; default None: they
            leave as they are.
        hides: tells of the name of an extra field whether its value stays here; default None: of none.

    Returns:
        A function that ends it. The provider is neither flushed nor shut down by that.
    """
    root = logging.getLogger()
    # the handlers of the SDK and of opentelemetry-instrumentation-logging call it so
    if any(getattr(handler, "_logger_provider", None) is provider for handler in root.handlers):
        return lambda: None
    handler = OtelHandler(provider, level, scrub, hides)
    root.addHandler(handler)

    def undo() -> None:
        root.removeHandler(handler)
        handler.close()

    return undo


def _is_exporting(name: str) -> bool:
    """Tell whether what a logger says now comes from an export.

    Exporters use other people's clients, whose loggers may talk. But whoever exports says so in the context, for that
    its requests are not traced either.
    """
    if otel.get_value(SUPPRESSED):
        return True
    return any(name == each or name.startswith(f"{each}.") for each in EXPORTING)


def _translate(record: logging.LogRecord, veil: _Veil) -> LogRecord:
    """Say the same as a log record, in the words of OpenTelemetry."""
    return LogRecord(
        timestamp=int(record.created * 1e9),
        observed_timestamp=time_ns(),
        context=_locate(record),
        severity_number=_severity(record.levelno),
        severity_text=_TEXTS.get(record.levelname, record.levelname),
        body=_clean(veil.scrub(record.getMessage())),
        attributes=_describe(record, veil),
    )


def _severity(level: int) -> SeverityNumber:
    """Find a severity: ten levels of `logging` are four of OpenTelemetry."""
    if level <= 0:
        return SeverityNumber.UNSPECIFIED
    rank = min(level // 10, len(_SEVERITIES) - 1)
    return SeverityNumber(_SEVERITIES[rank].value + min(level - 10 * rank, 3))


def _locate(record: logging.LogRecord) -> otel.Context:
    """Find the span of a record: the one that its ids name, as it may have been made in another thread."""
    here = otel.get_current()
    ids = vars(record)
    current = get_current_span(here).get_span_context()
    try:
        trace, span = int(ids[TRACE] or "0", 16), int(ids[SPAN] or "0", 16)
    except (KeyError, TypeError, ValueError):  # someone else has put something there
        return here
    if (trace, span) == (current.trace_id, current.span_id):
        return here
    flags = TraceFlags(TraceFlags.SAMPLED if ids.get(SAMPLED) else TraceFlags.DEFAULT)
    made = SpanContext(trace, span, False, flags)
    if made.is_valid or made == INVALID_SPAN_CONTEXT:
        return set_span_in_context(NonRecordingSpan(made), here)
    return here


def _describe(record: logging.LogRecord, veil: _Veil) -> Mapping[str, AnyValue]:
    """Say where a record was made, what failed, and what came along with it."""
    ids, scrub = vars(record), veil.scrub
    found: dict[str, AnyValue] = {
        _clean(key): _express(value, veil, key)
        for key, value in ids.items()
        if key not in _STANDARD and value is not None and not key.startswith("_")
    }
    found |= {key: _clean(ids[name]) for name, key in _OWN if ids.get(name)}
    found["code.file.path"] = _clean(record.pathname)
    found["code.line.number"] = record.lineno
    if record.funcName:
        found["code.function.name"] = _clean(record.funcName)
    if record.stack_info:
        found["code.stacktrace"] = _clean(scrub(record.stack_info)[-_MAX_STACK:])
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kind = type(error)
        named = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        found[EXCEPTION_TYPE] = _clean(named)
        found[EXCEPTION_MESSAGE] = _clean(scrub(_say(error)))
        found[EXCEPTION_STACKTRACE] = _clean(scrub("".join(traceback.format_exception(error)))[-_MAX_STACK:])
    elif record.exc_text and not record.exc_info:  # the exception itself stayed behind, as with a SocketHandler
        found[EXCEPTION_STACKTRACE] = _clean(scrub(record.exc_text)[-_MAX_STACK:])
    return found


def _express(value: object, veil: _Veil, name: str = "") -> AnyValue:
    """Turn a value that came along into one that can leave: numbers and texts, lists and tables of them."""
    if name and veil.hides is not None and veil.hides(name):
        return REDACTED
    match value:
        case bool() | float():
            return value
        case int() if value in _INTEGERS:
            return value
        case str():
            return _clean(veil.scrub(value))
        case Mapping():
            named = ((_say(key), each) for key, each in value.items())
            return {_clean(key): _express(each, veil, key) for key, each in named}
        case list() | tuple() | set() | frozenset():
            return [_express(each, veil) for each in value]
        case _:
            return _clean(veil.scrub(_say(value)))


def _clean(text: str) -> str:
    """Make a text fit for OTLP: one that is not would cost the whole batch in which it goes."""
    short = text[:_MAX_TEXT]
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


def _say(value: object) -> str:
    """Give the text of a value, even if it has none."""
    try:
        return str(value)
    except Exception:  # the class is a user's
        return f"<{type(value).__qualname__} without a text>"
