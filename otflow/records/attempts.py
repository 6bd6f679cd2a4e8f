"""The spans of attempts: how they open, what their records say, and how they end.

An attempt has one span for each segment in which it runs. This room knows the segment that it is given, and no other.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from otflow.records.body import Body
from otflow.records.details import Details
from otflow.records.emitted import Emitted, Origin
from otflow.records.part import Common, Part
from otflow.records.plain import Template
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventsCollected,
    EventSent,
    Record,
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
    COLLECTED,
    CONSUMED,
    ERROR,
    RESUMED_FROM,
    RETRY_DELAY,
    RETRY_EXHAUSTED,
    RETRY_OF,
    SENT_BY,
    STEP_NAME,
    STEP_SPAN,
    WAIT_DURATION,
    WAITING,
)
from otflow.records.span import SpanData, derive_span_id

__all__ = ["Attempts", "OfAttempt", "Rare"]

Rare: TypeAlias = StepFailed | RetryScheduled | EventBuffered | EventsCollected | WaitStarted | WaitEnded
"""Records of an attempt that most attempts do not have."""

OfAttempt: TypeAlias = StepCompleted | EventSent | ContextWritten | StreamWritten | Rare
"""Records that name an invocation, but for its start."""


class _Left(msgspec.Struct):
    """A closed span of an attempt to which another one is going to refer; `at` is when that one began to wait."""

    trace_id: int
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
        self._templates: dict[str, Template] = {}
        self._waiting: dict[int, _Left] = {}
        self._retrying: dict[int, _Left] = {}

    def start(self, record: StepStarted, segment: Part) -> None:
        """Open the span of an attempt."""
        common, invocation, event = self._common, record.invocation, record.event
        template = self._templates.get(record.step) or self._describe(record.step)
        span_id, parent_id = derive_span_id(common.key, record.seq), segment.span_id
        kept: list[Record] = [record]
        part = Part(
            common, span_id, parent_id, template, record.seq, record.at, kept, invocation, record.attempt, event
        )
        self.open[invocation] = part
        emitted = self._emitted
        known = emitted.find(event)
        if known is not None:
            body, part.kind, part.queued, emitter = known
            part.input = body()
            if emitter != parent_id:  # that the segment took an event in, its place in the tree says
                part.emitter = emitter
        if emitted.held:
            part.input = emitted.held.pop(invocation, part.input)
        if self._retrying or self._waiting or emitted.origins:
            self._refer(part)
        if self.opened is not None:
            self.opened.append(part)

    def hold(self, started: StepStarted) -> None:
        """Hold what an attempt takes, if its start is not here yet; others may have let go of it by then."""
        part = self.open.get(started.invocation)
        if part is None or part.attempt != started.attempt:
            self._emitted.hold(started.invocation, started.event)

    def _describe(self, step: str) -> Template:
        template = Template(f"{STEP_SPAN} {step}", {**self._common.attributes(), STEP_NAME: step})
        self._templates[step] = template
        return template

    def _refer(self, part: Part) -> None:
        """Let an attempt refer to the one before, or to what it did before its run was restored.

        And to where its event came from, if that is another trace.
        """
        origin = self._emitted.origins.get(part.event)
        if origin is not None:
            emitter, part.emitter = part.emitter, 0  # which stands for the same trace
            self._refer_to_origin(part.more(), part.event, emitter, CONSUMED, origin)
        left = self._retrying.pop(part.invocation, None) or self._waiting.pop(part.invocation, None)
        if left is not None:
            part.queued = left.at
            kind = RETRY_OF if left.attempt < part.attempt else RESUMED_FROM
            part.more().link(left.span_id, kind, 0, self._common.other(left.trace_id))

    def _refer_to_origin(self, details: Details, event: int, emitter: int, link: str, origin: Origin) -> None:
        if emitter:
            details.link(emitter, link, event, self._common.other(origin.trace_id or self._common.trace_id))
        if origin.sender:
            details.link(origin.sender, SENT_BY, event, self._common.other(origin.sender_trace))

    def go_on(self, record: OfAttempt, segment: Part) -> Part:
        """Open a span for an attempt that goes on after a pause; there is only the segment for any other record."""
        left = self._waiting.pop(record.invocation, None)
        if left is None:
            return segment
        common, id = self._common, record.invocation
        template = self._templates.get(left.step) or self._describe(left.step)
        span_id = derive_span_id(common.key, record.seq)
        part = Part(common, span_id, segment.span_id, template, record.seq, record.at, [], id, left.attempt)
        details = part.more()
        details.link(left.span_id, RESUMED_FROM, 0, common.other(left.trace_id))
        details.extra[WAIT_DURATION] = max(0, record.at - left.at) / 1e9
        self.open[id] = part
        if self.opened is not None:
            self.opened.append(part)
        return part

    def leave(self, part: Part, outcome: str) -> None:
        """Let a span end with the batch; the segment takes the word of an attempt that is long gone."""
        if part.attempt:
            part.outcome = outcome
            self.closing.append(part)

    def work(self, record: Rare, part: Part) -> None:
        """Take one of the rarer records."""
        part.keep(record)
        if not part.attempt or (type(record) is EventBuffered and record.body is None and part.details is None):
            return  # whether an event was put aside and nothing else, the records say: see Part.finish
        details = part.more()
        match record:
            case StepFailed():
                details.error = record.error
                self.leave(part, ERROR)
            case RetryScheduled():
                details.extra[RETRY_DELAY] = record.delay
                self._retrying[part.invocation] = _Left(
                    self._common.trace_id, part.span_id, part.attempt, "", record.due
                )
            case EventBuffered():
                if record.body is not None:
                    self._emitted.remember(record, record.body, part.span_id)
            case EventsCollected():
                for id in record.events:
                    if id != part.event:
                        self._take(part, details, id, COLLECTED)
            case WaitEnded():
                if record.event:
                    answer = self._take(part, details, record.event, CONSUMED)
                    if part.input is None and answer is not None:
                        part.input, part.kind = answer, details.in_types[-1]
            case WaitStarted():
                pass
            case _:
                assert_never(record)

    def requeue(self, record: RetryQueued) -> None:
        """Note that the delay of a retry is over."""
        if (left := self._retrying.get(record.invocation)) is not None:
            left.at = record.at

    def _take(self, part: Part, details: Details, id: int, link: str) -> Body | None:
        """Note that an attempt took a further event, and return its payload if that is known."""
        known = self._emitted.find(id)
        if known is None:
            details.take(id, "", 0, link)
            return None
        body, kind, _, emitter = known
        emitter = emitter if emitter != part.parent_id else 0
        origin = self._emitted.origins.get(id)
        details.take(id, kind, emitter if origin is None else 0, link)
        if origin is not None:
            self._refer_to_origin(details, id, emitter, link, origin)
        return body()

    def close(self, finished: list[SpanData]) -> None:
        """Finish the spans that end with the batch."""
        for part in self.closing:
            self.open.pop(part.invocation, None)
            if part.details is not None:
                self._judge(part, part.details)
                self._common.drain(finished)
            finished.append(part.finish())
        self.closing.clear()

    def _judge(self, part: Part, details: Details) -> None:
        """Say more exactly how an attempt ended, now that all its records are there."""
        details.pack(part.kept)
        if details.error is not None and part.attempt > 1 and part.invocation not in self._retrying:
            details.extra[RETRY_EXHAUSTED] = True

    def stop(self, outcome: str, at: int, finished: list[SpanData]) -> None:
        """Finish the spans that are still open, because their segment ends."""
        for part in self.open.values():
            part.outcome = outcome
            details = part.more()
            details.pack(part.kept)
            details.end = max(details.end, at)
            finished.append(part.finish())
            if outcome == WAITING:
                step = str(part.template.fixed[STEP_NAME])
                self._waiting[part.invocation] = _Left(self._common.trace_id, part.span_id, part.attempt, step, at)
        self.open.clear()
        self._templates.clear()
