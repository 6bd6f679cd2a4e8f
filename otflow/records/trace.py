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
from otflow.records.identity import WINDOW, Identity, Whereabouts
from otflow.records.part import Common, Part
from otflow.records.pending import Pending
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
from otflow.records.segments import Segments
from otflow.records.semconv import (
    CANCELLED,
    CRASHED,
    ERROR,
    OK,
    PAUSED,
    SENT_BY,
    SEQ_LAST,
    TIMEOUT,
    WAITING,
)
from otflow.records.span import SpanData

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
        window: how long after a pause the run stays in its trace, in nanoseconds; default 15 minutes.

    Attributes:
        identity: the ids under which the run stands.
        common: what all spans of the run have in common.
        attempts: the open spans of attempts.
        segment: the open span of the run.
        paused, ended: where the run stands.
    """

    def __init__(self, first: Record, capture: Capture = FULL, window: int = WINDOW) -> None:
        self.identity = identity = Identity(first, window)
        self.common = Common(first.run, identity.trace_id, identity.key, capture)
        self._emitted = Emitted()
        self.attempts = Attempts(self.common, self._emitted)
        self._segments = Segments(self.common, identity)
        self._pending = Pending()
        self.segment: Part | None = None
        self.paused = self.ended = False
        self._ending = ""
        match first:
            case RunStarted(workflow=workflow, graph=graph, parent_run=parent_run, about=about):
                self.common.belong_to(workflow)
                segments = self._segments
                segments.graph, segments.parent_run, segments.about = graph, parent_run, about
            case RunResumed():
                self._restore(first)
            case _:
                pass  # a run that began before anyone looked

    @property
    def name(self) -> str:
        """The name of the segments."""
        return self._segments.name

    def locate(self, now: int, flags: int, state: str) -> Whereabouts | None:
        """Say where the run stands at a time, for the data that is saved with it; None before its first segment.

        Args:
            now: the time, in nanoseconds since the epoch.
            flags: the flags of its trace.
            state: the W3C tracestate of its trace.
        """
        return self._segments.locate(now, flags, state)

    def mark_pending(self, now: int, patience: int) -> tuple[list[SpanData], int]:
        """Announce the spans that are open for long, each once.

        Args:
            now: the time, in nanoseconds since the epoch.
            patience: how long a span may be open before it is announced, in nanoseconds.

        Returns:
            Their markers, and when there may be more to announce; 0 if never.
        """
        if self.segment is None:
            return [], 0
        return self._pending.mark(self.common, (self.segment, *self.attempts.open.values()), now, patience)

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
                self.common.drain(finished)
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
                origin = self._emitted.receive(record, segment.span_id)
                if segment.input is None:
                    segment.input, segment.kind = record.body, record.type
                if origin is not None:
                    trace_id = self.common.other(origin.sender_trace)
                    segment.more().link(origin.sender, SENT_BY, record.seq, trace_id)
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
                self.identity.follow(record)
                self._ending = PAUSED
            case RunCompleted():
                self._end(OK)
                known = self._emitted.find(record.event)
                if known is not None and (body := known[0]()) is not None:
                    segment.more().give(known[1], body)
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
        if self.identity.follow(record):
            self._emitted.leave(self.common.trace_id)
            self._segments.go_on()
        self._restore(record)
        self.paused = False

    def _restore(self, record: RunResumed) -> None:
        """Go on from saved data: a branch of the run, with spans of its own."""
        identity, common, segments = self.identity, self.common, self._segments
        common.trace_id, common.key = identity.trace_id, identity.key
        if record.snapshot is None:
            return
        saved = read_saved(record.snapshot)
        self._emitted.adopt(saved)
        segments.graph, segments.about = saved.digest, saved.about
        segments.origin = (saved.run, saved.seq) if saved.run != record.run else ("", 0)
        if identity.left is not None:
            segments.go_on()
        common.belong_to(saved.workflow)
        common.branch = f"{record.seq}@{record.at}"

    def _open_segment(self, record: Record) -> Part:
        self.segment = segment = self._segments.open(record)
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
        self.common.drain(finished)
        self._pending.clear()
        self.segment = None
        self.paused = outcome == PAUSED
        self._ending = ""
