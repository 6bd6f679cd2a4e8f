"""A span in the making: what it gathers while it is open, and what it is in the end.

Every record of a span is kept as JSON in one attribute, so that nothing is lost; beside it stands what people and
backends look for. Most attempts take one event and return one, and that is what goes fast here; whatever else there is
goes into `Details`. A part knows the records that it is given and nothing of the run around them.
"""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.capture import Capture
from otflow.records.codec import encode_all
from otflow.records.details import CHUNK, MAX_TEXT, Details, join, show
from otflow.records.record import EventBuffered, EventSent, Record, StepCompleted
from otflow.records.semconv import (
    ATTEMPT,
    BRANCH,
    BUFFERED,
    CONSUMED,
    IN_IDS,
    IN_TYPES,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    OK,
    OUT_IDS,
    OUT_TYPES,
    OUTCOME,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    QUEUE_DURATION,
    RECORDS,
    RUN_ID,
    SEGMENT,
    SEQ_END,
    SEQ_START,
    SPAN_KIND,
    WORKFLOW_NAME,
)
from otflow.records.span import SpanData, SpanLink, Value

__all__ = ["Common", "Part", "Template", "make_template"]

_JSON = "application/json"
_ALWAYS: dict[str, Value] = {INPUT_MIME_TYPE: _JSON, OUTPUT_MIME_TYPE: _JSON}
_PLAIN = (
    INPUT_VALUE,
    INPUT_MIME_TYPE,
    OUTPUT_VALUE,
    OUTPUT_MIME_TYPE,
    RECORDS,
    INVOCATION_ID,
    ATTEMPT,
    OUTCOME,
    QUEUE_DURATION,
    SEQ_START,
    SEQ_END,
    IN_IDS,
    IN_TYPES,
    OUT_IDS,
    OUT_TYPES,
)
"""The attributes of an attempt that took one event and returned one, beside the fixed ones."""


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


class Template(msgspec.Struct, frozen=True):
    """What the spans of one step have in common: `fixed` attributes, and `plain`: all those of a plain one.

    Whoever copies a dict that has all keys already need not make room for them.
    """

    name: str
    fixed: dict[str, Value]
    plain: dict[str, Value]


def make_template(name: str, fixed: dict[str, Value]) -> Template:
    """Make the template of a step, or of the segments of a run."""
    return Template(name, fixed, {**fixed, **dict.fromkeys(_PLAIN, ""), **_ALWAYS})


class Part(msgspec.Struct, eq=False):
    """An open span: a segment of a run, or what of an attempt lies in one segment.

    Attributes:
        common: what it has in common with all spans of the run.
        span_id, parent_id: its id, and that of its parent or 0.
        template: what it has in common with all spans of the step, or with all segments.
        seq, start: the number and the time of its first record.
        kept: records that are not written as JSON yet.
        invocation, attempt: of which attempt it is; zeros for a segment.
        event, kind, emitter: the event that the attempt works on, its type, and the span that emitted it; zeros and
            "" where unknown.
        queued: when the waiting for a worker began, or 0.
        input: the payload of that event; of a segment, of the first event that came in.
        outcome: how it ended.
        details: what most spans do not have.
    """

    common: Common
    span_id: int
    parent_id: int
    template: Template
    seq: int
    start: int
    kept: list[Record]
    invocation: int = 0
    attempt: int = 0
    event: int = 0
    kind: str = ""
    emitter: int = 0
    queued: int = 0
    input: Body | None = None
    outcome: str = ""
    details: Details | None = None

    def keep(self, record: Record) -> None:
        """Add a record to the span."""
        kept = self.kept
        kept.append(record)
        if len(kept) >= CHUNK:
            self.more().pack(kept)

    def more(self) -> Details:
        """Return the details, for something to be added."""
        details = self.details
        if details is None:
            details = self.details = Details(self.common.capture)
            if self.event:
                details.take(self.event, self.kind, self.emitter, CONSUMED)
        return details

    def finish(self) -> SpanData:
        """Make the span; the part is of no use after that."""
        kept, details, input = self.kept, self.details, self.input
        if details is None and input is not None and len(kept) == 3:  # noqa: PLR2004  started, completed, sent
            sent = kept[2]
            if type(sent) is EventSent and type(kept[1]) is StepCompleted and sent.returned and not sent.target:
                capture, records = self.common.capture, encode_all(kept)
                given, made = input.json, sent.body.json
                if len(records) <= capture.full and len(given) <= capture.value >= len(made):
                    return self._finish_plainly(sent, given, made, records)
            elif type(sent) is StepCompleted and type(kept[1]) is EventBuffered and not kept[1].expected:
                capture, records, given = self.common.capture, encode_all(kept), input.json
                if len(records) <= capture.full and len(given) <= capture.value:
                    return self._finish_buffered(sent, given, records)
        return self._finish_with_details(self.more())

    def _finish_buffered(self, completed: StepCompleted, given: bytes, records: bytes) -> SpanData:
        """Make the span of an attempt that put its event aside and returned nothing."""
        waited = self.start - self.queued
        found = self.template.fixed.copy()
        found[INPUT_VALUE] = given.decode("utf-8", "replace")
        found[INPUT_MIME_TYPE] = _JSON
        found[RECORDS] = records.decode("utf-8", "replace")
        found[INVOCATION_ID] = self.invocation
        found[ATTEMPT] = self.attempt
        found[OUTCOME] = BUFFERED
        found[QUEUE_DURATION] = waited / 1e9 if waited > 0 else 0.0
        found[SEQ_START] = self.seq
        found[SEQ_END] = completed.seq
        found[IN_IDS] = (self.event,)
        found[IN_TYPES] = (self.kind,)
        return self._wrap(completed.at, found)

    def _wrap(self, end: int, found: dict[str, Value]) -> SpanData:
        emitter = self.emitter
        return SpanData(
            self.template.name,
            self.common.trace_id,
            self.span_id,
            self.parent_id,
            self.start,
            max(self.start, end),
            found,
            (),
            (SpanLink(emitter, CONSUMED, self.event),) if emitter else (),
            "unset",
            "",
            self.invocation,
        )

    def _finish_plainly(self, sent: EventSent, given: bytes, made: bytes, records: bytes) -> SpanData:
        template, event, emitter, seq = self.template, self.event, self.emitter, sent.seq
        start, end = self.start, sent.at
        waited = start - self.queued
        found = template.plain.copy()
        found[INPUT_VALUE] = given.decode("utf-8", "replace")
        found[OUTPUT_VALUE] = made.decode("utf-8", "replace")
        found[RECORDS] = records.decode("utf-8", "replace")
        found[INVOCATION_ID] = self.invocation
        found[ATTEMPT] = self.attempt
        found[OUTCOME] = self.outcome
        found[QUEUE_DURATION] = waited / 1e9 if waited > 0 else 0.0
        found[SEQ_START] = self.seq
        found[SEQ_END] = seq
        found[IN_IDS] = (event,)
        found[IN_TYPES] = (self.kind,)
        found[OUT_IDS] = (seq,)
        found[OUT_TYPES] = (sent.type,)
        return SpanData(
            template.name,
            self.common.trace_id,
            self.span_id,
            self.parent_id,
            start,
            max(start, end),
            found,
            (),
            (SpanLink(emitter, CONSUMED, event),) if emitter else (),
            "unset",
            "",
            self.invocation,
        )

    def _finish_with_details(self, details: Details) -> SpanData:
        details.pack(self.kept)
        if details.buffered and self.outcome == OK and not details.out_count:
            self.outcome = BUFFERED
        found = self.template.fixed.copy()
        limit = self.common.capture.value
        if limit and self.input is not None:
            found[INPUT_VALUE], cut = show(self.input.json, limit)
            found[INPUT_MIME_TYPE] = _JSON
            details.truncated |= cut
        if limit and details.outputs:
            found[OUTPUT_VALUE], cut = show(join(details.outputs, limit), limit)
            found[OUTPUT_MIME_TYPE] = _JSON
            details.truncated |= cut
        found[RECORDS] = details.render()
        if self.attempt:
            found[INVOCATION_ID] = self.invocation
            found[ATTEMPT] = self.attempt
        if self.outcome:
            found[OUTCOME] = self.outcome
        if self.queued:
            found[QUEUE_DURATION] = max(0, self.start - self.queued) / 1e9
        found[SEQ_START] = self.seq
        found[SEQ_END] = details.last
        details.describe(found)
        error = details.error
        return SpanData(
            self.template.name,
            self.common.trace_id,
            self.span_id,
            self.parent_id,
            self.start,
            max(self.start, details.end),
            found,
            details.events(),
            tuple(details.links),
            "error" if error is not None or details.crashed else "unset",
            "" if error is None else error.message[:MAX_TEXT],
            self.invocation,
        )
