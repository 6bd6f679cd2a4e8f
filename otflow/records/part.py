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
from otflow.records.details import CHUNK, MAX_TEXT, Details, show
from otflow.records.pages import Pages, render
from otflow.records.payloads import HIDDEN
from otflow.records.plain import JSON, PlainAttributes, Template
from otflow.records.record import EventBuffered, EventSent, Record, StepCompleted
from otflow.records.semconv import (
    ATTEMPT,
    BRANCH,
    BUFFERED,
    CONSUMED,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    OK,
    OUTCOME,
    PAYLOAD_IN_REF,
    QUEUE_DURATION,
    RECORDS,
    RUN_ID,
    RUN_RECORDS_SPAN,
    SEGMENT,
    SEGMENT_SPAN,
    SEQ_END,
    SEQ_START,
    SPAN_KIND,
    STEP_NAME,
    STEP_RECORDS_SPAN,
    STEP_SPAN,
    WORKFLOW_NAME,
)
from otflow.records.span import SpanData, SpanLink, Value, derive_span_id

__all__ = ["Common", "Part", "Template"]

_PAGES = 0x5BD1E9955BD1E995  # any number: keeps the ids of pages apart from those of other spans


class Common(msgspec.Struct):
    """What all spans of a run have in common.

    Span ids are counted from `key`. `segment` is the number of the current segment, `branch` names the record that
    restored the run. `pages` are finished spans that hold no more than records of others.
    """

    run: str
    trace_id: int
    key: int
    capture: Capture
    workflow: str = ""
    segment: int = -1
    branch: str = ""
    pages: list[SpanData] = []

    def belong_to(self, workflow: str) -> None:
        """Take the name of the workflow, and what is captured of its runs."""
        self.workflow = workflow
        self.capture = self.capture.of_workflow(workflow)

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

    def drain(self, finished: list[SpanData]) -> None:
        """Hand over the pages that are full."""
        if self.pages:
            finished += self.pages
            self.pages = []

    def other(self, trace_id: int) -> int:
        """Return the id of a trace for a link to it: 0 if it is the current one."""
        return trace_id if trace_id != self.trace_id else 0


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
            details = self.more()
            details.pack(kept)
            if details.pages is not None and details.pages.full:
                self._add_pages(details.pages)

    def more(self) -> Details:
        """Return the details, for something to be added."""
        details = self.details
        if details is None:
            details = self.details = Details(self.common.capture)
            if self.event:
                details.take(self.event, self.kind, self.emitter, CONSUMED)
        return details

    def _add_pages(self, pages: Pages) -> None:
        """Make spans of the pages that are full: what there is no room for in this one goes on below it."""
        common, name, marks = self.common, self.template.name, self.common.attributes()
        if self.attempt:
            name = STEP_RECORDS_SPAN + name.removeprefix(STEP_SPAN)
            marks |= {STEP_NAME: self.template.fixed[STEP_NAME], INVOCATION_ID: self.invocation, ATTEMPT: self.attempt}
        else:
            name = RUN_RECORDS_SPAN + name.removeprefix(SEGMENT_SPAN)
        for page in pages.full:
            found = {**marks, RECORDS: render(page.texts), SEQ_START: page.first, SEQ_END: page.last}
            span_id = derive_span_id(common.key ^ _PAGES, page.first)
            data = SpanData(name, common.trace_id, span_id, self.span_id, page.start, page.end, found)
            common.pages.append(data)
        pages.full = []

    def finish(self) -> SpanData:
        """Make the span; the part is of no use after that."""
        kept, input = self.kept, self.input
        if self.details is not None or input is None or len(kept) != 3:  # noqa: PLR2004  started, completed, sent
            return self._finish_with_details(self.more())
        _, done, last = kept
        made, outcome, sent = None, self.outcome, ""
        if type(last) is EventSent and type(done) is StepCompleted and last.returned and not last.target:
            made, sent = last.body.json, last.type
        elif type(last) is StepCompleted and type(done) is EventBuffered and not done.expected:
            outcome = BUFFERED
        else:
            return self._finish_with_details(self.more())
        capture, records, given = self.common.capture, encode_all(kept), input.json
        if HIDDEN in records or HIDDEN in given or capture.names:
            return self._finish_with_details(self.more())
        if len(records) > capture.full or len(given) > capture.value or (made and len(made) > capture.value):
            return self._finish_with_details(self.more())
        waited = self.start - self.queued
        attributes = PlainAttributes(
            self.template,
            given,
            made,
            records,
            outcome,
            self.invocation,
            self.attempt,
            waited / 1e9 if waited > 0 else 0.0,
            self.seq,
            last.seq,
            self.event,
            self.kind,
            sent,
        )
        return self._finish_plainly(last.at, attributes)

    def _finish_plainly(self, end: int, attributes: PlainAttributes) -> SpanData:
        emitter, self.input, self.kept = self.emitter, None, []  # what users made can go
        return SpanData(
            self.template.name,
            self.common.trace_id,
            self.span_id,
            self.parent_id,
            self.start,
            max(self.start, end),
            attributes,  # type: ignore[arg-type]  # registered as a Mapping, which mypy does not see
            (),
            (SpanLink(emitter, CONSUMED, self.event),) if emitter else (),
            "unset",
            "",
            self.invocation,
        )

    def _show_input(self, input: Body, details: Details, found: dict[str, Value]) -> None:
        """Add what the span worked on, as far as that is captured."""
        capture = self.common.capture.of_event(self.kind)
        if not capture.value:
            return
        found[INPUT_VALUE], cut = show(input.json, capture.value)
        found[INPUT_MIME_TYPE] = JSON
        details.note_hidden(input)
        if cut:
            details.truncated = True
            if ref := capture.keep(input.json):
                found[PAYLOAD_IN_REF] = (ref,)

    def _finish_with_details(self, details: Details) -> SpanData:
        details.pack(self.kept)
        if details.pages is not None:
            details.pages.turn()
            self._add_pages(details.pages)
        if details.buffered and self.outcome == OK and not details.out_count:
            self.outcome = BUFFERED
        found = self.template.fixed.copy()
        if self.input is not None:
            self._show_input(self.input, details, found)
        details.show_outputs(found)
        found[RECORDS] = render(details.texts)
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
            "" if error is None or not self.common.capture.errors else error.message[:MAX_TEXT],
            self.invocation,
        )
