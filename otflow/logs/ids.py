"""Ids on log records: each record of `logging` says under which span and in which step it was made.

The names of the span's ids are those of opentelemetry-instrumentation-logging, so that format strings serve both. This
room knows who is at work right now, and nothing about where log lines go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from opentelemetry.trace import get_current_span

from otflow.context.current import CURRENT

__all__ = ["RUN", "SAMPLED", "SERVICE", "SPAN", "STEP", "TRACE", "WORKFLOW", "add_ids", "fill"]

TRACE = "otelTraceID"
SPAN = "otelSpanID"
SAMPLED = "otelTraceSampled"
SERVICE = "otelServiceName"
RUN = "otflowRunID"
WORKFLOW = "otflowWorkflow"
STEP = "otflowStep"


def fill(record: logging.LogRecord, service: str = "") -> None:
    """Give a log record its ids, as far as it has none; those that there are not are empty.

    Args:
        record: the record, in the thread and the context in which it was made.
        service: the name of the service; default "".
    """
    fields = record.__dict__
    if TRACE not in fields:  # else opentelemetry-instrumentation-logging was here, or the record came from elsewhere
        span = get_current_span().get_span_context()
        if span.is_valid:
            fields[TRACE], fields[SPAN] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
            fields[SAMPLED] = span.trace_flags.sampled
        else:
            fields[TRACE] = fields[SPAN] = ""
            fields[SAMPLED] = False
        fields[SERVICE] = service
    if RUN not in fields:
        attempt = CURRENT.get()
        if attempt is None:
            fields[RUN] = fields[WORKFLOW] = fields[STEP] = ""
        else:
            run = attempt.run
            fields[RUN], fields[WORKFLOW], fields[STEP] = run.run_id, run.workflow, attempt.step


def add_ids(service: str = "") -> Callable[[], None]:
    """Let all log records of this process, from now on, say where they were made.

    They get `otelTraceID`, `otelSpanID` (hexadecimal), `otelTraceSampled` and `otelServiceName` from the current span,
    `otflowRunID`, `otflowWorkflow` and `otflowStep` from the step that is at work. Outside they are there and empty
    (`otelTraceSampled` is False), so that a format string may name them everywhere.

    Args:
        service: what `otelServiceName` says; default "".

    Returns:
        A function that ends it. The record factory that was there before comes back, unless another one has been put
        around this one since: then that one stays, and this one does nothing more.
    """
    before = logging.getLogRecordFactory()
    active = True

    def make_record(*args: object, **fields: object) -> logging.LogRecord:
        record: logging.LogRecord = before(*args, **fields)
        if active:
            fill(record, service)
        return record

    def undo() -> None:
        nonlocal active
        active = False
        if logging.getLogRecordFactory() is make_record:
            logging.setLogRecordFactory(before)

    logging.setLogRecordFactory(make_record)
    return undo
