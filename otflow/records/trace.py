"""A run as spans: the one fold by which records become a trace, live or afterwards.

A run is a row of segments, from its start or from when it goes on to its end or its next pause, and each attempt of a
step is one span under the segment in which it runs; an attempt that waits through a pause goes on in another span. No
span is open while the run is paused. Every record belongs to exactly one span: to that of its attempt while this is
open, to the segment otherwise. The fold knows no clock, no exporter and no workflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from otflow.records.attempts import Attempts, OfAttempt
from otflow.records.capture import FULL, Capture
from otflow.records.emitted import Emitted, read_saved
from otflow.records.part import Common, Part
from otflow.records.plain import Template
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    RetryQueued,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.records.semconv import (
    CANCELLED,
    CRASHED,
    ERROR,
    GEN_AI_WORKFLOW_NAME,
    GRAPH_HASH,
    OK,
    OPERATION_NAME,
    PARENT_RUN_ID,
    PAUSED,
    RESUMED_FROM,
    SEGMENT_SPAN,
    SEQ_LAST,
    SESSION_ID,
    TIMEOUT,
    WAITING,
)
from otflow.records.span import SpanData, Value, derive_ids, derive_span_id, read_traceparent

__all__ = ["RunTrace"]

_OfRun: TypeAlias = RunStarted | RunResumed | RunPaused | RunCompleted | RunFailed | RunCancelled | RunTimedOut
_OfSegment: TypeAlias = EventReceived | EventReleased | RetryQueued | CheckpointTaken

_STOPPED = {PAUSED: WAITING, TIMEOUT: TIMEOUT, CRASHED: CRASHED, "": ""}
"""What becomes of an open attempt when its segment ends so; otherwise it is cancelled."""


class RunTrace:
    """The trace of one run, as far as it has come.

    Args:
        first: the first record that is there; mostly the `RunStarted`.
        capture: how much of the payloads goes into the spans; default `FULL`.

    Attributes:
        common: what all spans of the run have in common.
        attempts: the open spans of attempts.
        segment: the open span of the run.
        parent_id, parent_flags: the span under which the run stands, or 0, and its trace flags.
        paused, ended: where the run stands.
    """

    def __init__(self, first: Record, capture: Capture = FULL) -> None:
        trace_id, self._seed = derive_ids(first.run)
        # with the time, so that a run id that is used again gets other spans
        self.common = Common(first.run, trace_id, self._seed + first.at, capture)
        self.parent_id = self.parent_flags = 0
        self._emitted = Emitted()
        self.attempts = Attempts(self.common, self._emitted)
        self.segment: Part | None = None
        self.paused = self.ended = False
        self._ending = ""
        self._graph = self._parent_run = ""
        self._anchor = self._last = 0  # the ids of the first and of the last segment
        match first:
            case RunStarted(workflow=workflow, graph=graph, parent=parent, parent_run=parent_run):
                self.common.workflow, self._graph, self._parent_run = workflow, graph, parent_run
                trace_id, self.parent_id, self.parent_flags = read_traceparent(parent)
                self.common.trace_id = trace_id or self.common.trace_id
            case RunResumed():
                self._restore(first)
            case _:
                pass  # a run that began before anyone looked

    @property
    def name(self) -> str:
        """The name of the segments."""
        return f"{SEGMENT_SPAN} {self.common.workflow}".rstrip()

    def feed(self, records: Sequence[Record]) -> list[SpanData]:
        """Take a batch: the records that one input led to. Returns the spans that it finished."""
        finished: list[SpanData] = []
        attempts = self.attempts
        parts = attempts.open
        for record in records:
            # `type() is` costs a third of a pattern, and these kinds make up most of all runs
            if type(record) is StepStarted:
                if record.invocation in parts:  # two batches that came as one
                    attempts.close(finished)
                attempts.start(record, self.segment or self._open_segment(record))
            elif type(record) is StepCompleted:
                part = parts.get(record.invocation) or self._find(record)
                part.kept.append(record)
                attempts.leave(part, OK)
            elif type(record) is EventSent:
                part = parts.get(record.invocation) or self._find(record)
                part.keep(record)
                self._emitted.remember(record, record.body, part.span_id)
            elif type(record) is ContextWritten or type(record) is StreamWritten:
                part = parts.get(record.invocation) or self._find(record)
                part.keep(record)
            else:
                self._feed_rarer(record, finished)
        if attempts.closing or self._ending:
            self._settle(finished, records[-1].seq)
        return finished

    def _feed_rarer(self, record: Record, finished: list[SpanData]) -> None:
        match record:
            case StepFailed() | RetryScheduled() | EventBuffered() | EventsCollected() | WaitStarted() | WaitEnded():
                self.attempts.work(record, self.attempts.open.get(record.invocation) or self._find(record))
            case EventReceived() | EventReleased() | RetryQueued() | CheckpointTaken():
                self._note(record)
            case (
                RunStarted()
                | RunResumed()
                | RunPaused()
                | RunCompleted()
                | RunFailed()
                | RunCancelled()
                | RunTimedOut()
            ):
                self._move(record, finished)
            case StepStarted() | StepCompleted() | EventSent() | ContextWritten() | StreamWritten():  # pragma: no cover
                raise AssertionError("feed takes these itself")
            case _:
                assert_never(record)

    def close(self, outcome: str = CRASHED) -> list[SpanData]:
        """Finish the spans that are open, because no more records come.

        Args:
            outcome: how they end; default "crashed", "" if nobody can tell.
        """
        finished: list[SpanData] = []
        self.attempts.close(finished)
        self._close_segment(outcome, finished)
        return finished

    def _find(self, record: OfAttempt) -> Part:
        """Find the span of a record whose attempt has no open one."""
        segment = self.segment or self._open_segment(record)
        return segment if self.paused else self.attempts.go_on(record, segment)

    def _note(self, record: _OfSegment) -> None:
        segment = self.segment or self._open_segment(record)
        segment.keep(record)
        match record:
            case EventReceived():
                self._emitted.remember(record, record.body, segment.span_id)
                segment.input = segment.input or record.body
            case RetryQueued():
                self.attempts.requeue(record)
            case EventReleased() | CheckpointTaken():
                pass
            case _:
                assert_never(record)

    def _move(self, record: _OfRun, finished: list[SpanData]) -> None:
        if isinstance(record, RunResumed):
            self._resume(record, finished)
        segment = self.segment or self._open_segment(record)
        segment.keep(record)
        match record:
            case RunStarted(carried=carried):
                if carried is not None:
                    self._emitted.adopt(read_saved(carried))
            case RunResumed():
                pass
            case RunPaused():
                self._ending = PAUSED
            case RunCompleted():
                self._end(OK)
                known = self._emitted.find(record.event)
                body = known[0]() if known is not None else None
                if body is not None:
                    segment.more().outputs.append(body)
            case RunFailed():
                self._end(ERROR)
                segment.more().error = record.error
            case RunCancelled():
                self._end(CANCELLED)
            case RunTimedOut(timeout=timeout):
                self._end(TIMEOUT)
                text = f"The run did not end within {timeout:g} seconds."
                segment.more().error = Failure("otflow.errors.WorkflowTimeoutError", text)
            case _:
                assert_never(record)

    def _end(self, outcome: str) -> None:
        self._ending = outcome
        self.ended = True

    def _resume(self, record: RunResumed, finished: list[SpanData]) -> None:
        """Be ready for the next segment."""
        self._settle(finished, record.seq - 1)  # in case that two batches came as one
        if record.snapshot is not None:
            self._close_segment(CRASHED, finished)
            self._restore(record)
        self.paused = False

    def _restore(self, record: RunResumed) -> None:
        """Go on from saved data: a branch of the run, with spans of its own."""
        if record.snapshot is None:
            return
        saved = read_saved(record.snapshot)
        self._emitted.adopt(saved)
        self._graph = saved.digest
        common = self.common
        common.workflow = saved.workflow
        common.branch = f"{record.seq}@{record.at}"
        common.key = self._seed + record.at

    def _open_segment(self, record: Record) -> Part:
        common = self.common
        common.segment += 1
        fixed: dict[str, Value] = {
            **common.attributes(),
            OPERATION_NAME: SEGMENT_SPAN,
            GEN_AI_WORKFLOW_NAME: common.workflow,
            SESSION_ID: common.run,
            GRAPH_HASH: self._graph,
        }
        if self._parent_run:
            fixed[PARENT_RUN_ID] = self._parent_run
        # counted downwards, because one record may open a segment and an attempt in it
        span_id = derive_span_id(common.key, -record.seq)
        parent = self._anchor or self.parent_id
        template = Template(self.name, fixed)
        segment = Part(common, span_id, parent, template, record.seq, record.at, [])
        if self._last:
            segment.more().link(self._last, RESUMED_FROM)
        self._anchor = self._anchor or span_id
        self._last = span_id
        self.segment = segment
        if self.paused:  # a record from outside, which does not wake the run
            self._ending = PAUSED
        if self.attempts.opened is not None:
            self.attempts.opened.append(segment)
        return segment

    def _settle(self, finished: list[SpanData], seq: int) -> None:
        """Finish what ends with the batch."""
        self.attempts.close(finished)
        if not self._ending:
            return
        if self.ended and self.segment is not None:
            self.segment.more().extra[SEQ_LAST] = seq
        self._close_segment(self._ending, finished)

    def _close_segment(self, outcome: str, finished: list[SpanData]) -> None:
        segment = self.segment
        if segment is None:
            return
        details = segment.more()
        details.pack(segment.kept)
        self.attempts.stop(_STOPPED.get(outcome, CANCELLED), details.end, finished)
        segment.outcome = outcome
        details.crashed = outcome == CRASHED
        finished.append(segment.finish())
        self.segment = None
        self.paused = outcome == PAUSED
        self._ending = ""
