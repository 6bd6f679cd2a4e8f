"""Markers of spans that are still open: what someone sees who looks at a run that hangs.

A span is exported when it ends. One that is open for long is announced meanwhile by another one, of no length, below
it. A marker says what is known when its span opens; readers of records find none in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from otflow.records.details import show
from otflow.records.part import Common, Part
from otflow.records.plain import JSON
from otflow.records.semconv import (
    ATTEMPT,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    OPERATION_NAME,
    PENDING,
    RUN_STARTED_SPAN,
    SEGMENT_SPAN,
    SEQ_START,
    STEP_SPAN,
    STEP_STARTED_SPAN,
)
from otflow.records.span import SpanData, Value, derive_span_id

__all__ = ["MAX_MARKED", "Pending"]

MAX_MARKED = 32
"""How many attempts of one segment are announced."""

_MARKERS = 0xA5B35705F00D1E57  # any number: keeps the ids of markers apart from those of spans


class Pending:
    """Which open spans of one segment have been announced."""

    __slots__ = ("_shown",)

    def __init__(self) -> None:
        self._shown: set[int] = set()

    def clear(self) -> None:
        """Forget them: the segment has ended."""
        self._shown.clear()

    def mark(self, common: Common, parts: Iterable[Part], now: int, patience: int) -> tuple[list[SpanData], int]:
        """Announce spans that are open for long, each once.

        Args:
            common: what all spans of the run have in common.
            parts: the open spans: the segment, then attempts.
            now: the time, in nanoseconds since the epoch.
            patience: how long a span may be open before it is announced, in nanoseconds.

        Returns:
            The markers, and when there may be more to announce; 0 for never.
        """
        found: list[SpanData] = []
        following = now  # what opens in a moment
        for part in parts:
            if part.span_id in self._shown:
                continue
            if len(self._shown) > MAX_MARKED:  # with the segment, which comes first
                return found, 0
            if part.start + patience <= now:
                self._shown.add(part.span_id)
                found.append(_mark(common, part))
            else:
                following = min(following, part.start)
        return found, following + patience


def _mark(common: Common, part: Part) -> SpanData:
    name = part.template.name
    found: dict[str, Value] = {**part.template.fixed, PENDING: True, SEQ_START: part.seq}
    if part.attempt:
        name = STEP_STARTED_SPAN + name.removeprefix(STEP_SPAN)
        found[INVOCATION_ID] = part.invocation
        found[ATTEMPT] = part.attempt
    else:
        name = RUN_STARTED_SPAN + name.removeprefix(SEGMENT_SPAN)
        del found[OPERATION_NAME]  # or the operation would be counted twice
    limit = common.capture.of_event(part.kind).value
    if limit and part.input is not None:
        found[INPUT_VALUE], _ = show(part.input.json, limit)
        found[INPUT_MIME_TYPE] = JSON
    span_id = derive_span_id(part.span_id ^ _MARKERS, 0)
    return SpanData(name, common.trace_id, span_id, part.span_id, part.start, part.start, found)
