"""The spans of attempts: how they open, what their records say, and how they end.

An attempt has one span for each segment in which it runs. This room knows the segment that it is given, and no other.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from otflow.records.body import Body
from otflow.records.capture import Capture, weigh
from otflow.records.emitted import Emitted
from otflow.records.part import Part
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventsCollected,
    EventSent,
    RetryQueued,
    RetryScheduled,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.records.semconv import (
    BRANCH,
    BUFFERED,
    COLLECTED,
    CONSUMED,
    ERROR,
    OK,
    RESUMED_FROM,
    RETRY_DELAY,
    RETRY_EXHAUSTED,
    RETRY_OF,
    RUN_ID,
    SEGMENT,
    SPAN_KIND,
    STEP_NAME,
    STEP_SPAN,
    WAIT_DURATION,
    WAITING,
    WORKFLOW_NAME,
)
from otflow.records.span import SpanData, Value, derive_span_id

__all__ = ["Attempts", "Common", "OfAttempt", "Rare"]

Rare: TypeAlias = StepFailed | RetryScheduled | EventBuffered | EventsCollected | WaitStarted | WaitEnded
"""Records of an attempt that most attempts do not have."""

OfAttempt: TypeAlias = StepCompleted | EventSent | ContextWritten | StreamWritten | Rare
"""Records that name an invocation, but for its start."""


class Common(msgspec.Struct):
    """What all spans of a run have in common.

    Span ids are counted from `key`. `segment` is the number of the current segment, `branch` names the record that
    restored the run.
    """

    run: str
    trace_id: int
    key: int
    capture: Capture
    workflow: str = ""
    segment: int = -1
    branch: str = ""

    def attributes(self) -> dict[str, Value]:
        """Return the attributes that all spans of the current segment carry."""
        found: dict[str, Value] = {
            SPAN_KIND: "CHAIN",
            WORKFLOW_NAME: self.workflow,
            RUN_ID: self.run,
            SEGMENT: self.segment,
        }
        if self.branch:
            found[BRANCH] = self.branch
        return found


class _Left(msgspec.Struct):
    """A closed span of an attempt to which another one is going to refer; `at` is when that one began to wait."""

    span_id: int
    attempt: int
    step: str
    at: int


class Attempts:
    """The open spans of the attempts of a run.

    Attributes:
        open: them, by invocation.
        closing: those that end with the current batch.
        opened: collects the spans that are opened, if someone puts a list here.
    """

    __slots__ = ("_common", "_emitted", "_retrying", "_templates", "_waiting", "closing", "open", "opened")

    def __init__(self, common: Common, emitted: Emitted) -> None:
        self.open: dict[int, Part] = {}
        self.closing: list[Part] = []
        self.opened: list[Part] | None = None
        self._common = common
        self._emitted = emitted
        self._templates: dict[str, tuple[str, dict[str, Value]]] = {}
        self._waiting: dict[int, _Left] = {}
        self._retrying: dict[int, _Left] = {}

    def start(self, record: StepStarted, segment: Part) -> None:
        """Open the span of an attempt."""
        part = self._open(record, record.step, record.attempt, segment)
        part.keep(record)
        left = self._retrying.pop(record.invocation, None) or self._waiting.pop(record.invocation, None)
        if left is not None:
            part.link(left.span_id, RETRY_OF if left.attempt < record.attempt else RESUMED_FROM)
        part.input, at = self._take(part, record.event, CONSUMED)
        part.queued = left.at if left is not None else at

    def go_on(self, record: OfAttempt, segment: Part) -> Part:
        """Open a span for an attempt that goes on after a pause; there is only the segment for any other record."""
        left = self._waiting.pop(record.invocation, None)
        if left is None:
            return segment
        part = self._open(record, left.step, left.attempt, segment)
        part.link(left.span_id, RESUMED_FROM)
        part.add(WAIT_DURATION, max(0, record.at - left.at) / 1e9)
        return part

    def _open(self, record: StepStarted | OfAttempt, step: str, attempt: int, segment: Part) -> Part:
        common = self._common
        template = self._templates.get(step)
        if template is None:
            template = (f"{STEP_SPAN} {step}", {**common.attributes(), STEP_NAME: step})
            self._templates[step] = template
        part = Part(
            common.trace_id,
            derive_span_id(common.key, record.seq),
            segment.span_id,
            template[0],
            template[1],
            common.capture,
            record.seq,
            record.at,
            [],
            record.invocation,
            attempt,
        )
        self.open[record.invocation] = part
        if self.opened is not None:
            self.opened.append(part)
        return part

    def leave(self, part: Part, outcome: str) -> None:
        """Let a span end with the batch; the segment takes the word of an attempt that is long gone."""
        if part.attempt and not part.outcome:
            part.outcome = outcome
            self.closing.append(part)

    def work(self, record: Rare, part: Part) -> None:
        """Take one of the rarer records."""
        part.keep(record, *weigh(record))
        if not part.attempt:
            return
        match record:
            case StepFailed():
                part.error = record.error
                self.leave(part, ERROR)
            case RetryScheduled():
                part.add(RETRY_DELAY, record.delay)
                self._retrying[part.invocation] = _Left(part.span_id, part.attempt, part.name, record.due)
            case EventBuffered():
                part.buffered = True
                if record.body is not None:
                    self._emitted.remember(record.seq, record.body, record.type, record.at, part.span_id)
            case EventsCollected():
                part.buffered = False
                own = part.in_ids[0] if part.in_ids else 0
                for id in record.events:
                    if id != own:
                        self._take(part, id, COLLECTED)
            case WaitEnded():
                if record.event:
                    answer, _ = self._take(part, record.event, CONSUMED)
                    part.input = part.input or answer
            case WaitStarted():
                pass
            case _:
                assert_never(record)

    def requeue(self, record: RetryQueued) -> None:
        """Note that the delay of a retry is over."""
        if (left := self._retrying.get(record.invocation)) is not None:
            left.at = record.at

    def _take(self, part: Part, id: int, kind: str) -> tuple[Body | None, int]:
        """Note that an attempt took an event, with a link to its emitter unless that is the segment around it.

        Returns:
            The body of the event and the time of its emission; None and 0 where unknown.
        """
        body, type, at, span_id = self._emitted.recall(id)
        part.take(id, type)
        if span_id and span_id != part.parent_id:
            part.link(span_id, kind, id)
        return body, at

    def close(self, finished: list[SpanData]) -> None:
        """Finish the spans that end with the batch."""
        for part in self.closing:
            self.open.pop(part.invocation, None)
            error = part.error
            if error is not None:
                if part.attempt > 1 and part.invocation not in self._retrying:
                    part.add(RETRY_EXHAUSTED, value=True)
            elif part.buffered and not part.out_count:
                part.outcome = BUFFERED
            finished.append(part.finish())
        self.closing.clear()

    def stop(self, outcome: str, at: int, finished: list[SpanData]) -> None:
        """Finish the spans that are still open, because their segment ends."""
        for part in self.open.values():
            part.outcome = outcome
            part.end = max(part.end, at)
            finished.append(part.finish())
            if outcome == WAITING:
                step = str(part.fixed[STEP_NAME])
                self._waiting[part.invocation] = _Left(part.span_id, part.attempt, step, at)
        self.open.clear()
        self._templates.clear()
