"""A run as spans: the one fold by which records become a trace, live or afterwards.

A run is a row of segments, from its start or from when it goes on to its end or its next pause, and each attempt of a
step is one span under the segment in which it runs; an attempt that waits through a pause goes on in another span. No
span is open while the run is paused. Every record belongs to exactly one span: to that of its attempt while this is
open, to the segment otherwise.

Events are remembered weakly, for the spans that take them: exactly as long as someone else holds their record, who
may then still deliver them. The fold knows no clock, no exporter and no workflow.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from otflow.records import semconv
from otflow.records.body import Body
from otflow.records.capture import FULL, Capture, weigh
from otflow.records.part import Part
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
from otflow.records.semconv import CANCELLED, CRASHED, ERROR, OK, PAUSED, TIMEOUT, WAITING
from otflow.records.span import SpanData, Value, derive_ids, derive_span_id, read_traceparent

__all__ = ["RunTrace"]

_Event = EventReceived | EventSent | EventBuffered
_STOPPED = {PAUSED: WAITING, TIMEOUT: TIMEOUT, CRASHED: CRASHED}
"""What becomes of an open attempt when its segment ends; else it is cancelled."""


class _Saved(msgspec.Struct):
    """What a trace wants to know of saved data: the records that it refers to, and whose they are."""

    events: list[_Event] = []
    workflow: str = ""
    digest: str = ""


class _Left(msgspec.Struct):
    """A closed span of an attempt that another one is to refer to."""

    span_id: int
    attempt: int
    at: int
    step: str


class RunTrace:
    """The trace of one run, as far as it has come.

    Args:
        first: the first record of the run that is there; mostly its `RunStarted`.
        capture: how much of the payloads goes into the spans; default `FULL`.

    Attributes:
        segment: the open segment.
        attempts: the open spans of attempts, by invocation.
        opened: the spans that were opened, if someone put a list here; who did empties it.
        paused: whether the run is paused.
        ended: whether it has ended.
    """

    __slots__ = (
        "_anchor", "_branch", "_closing", "_ending", "_events", "_graph", "_key", "_kept", "_last", "_left",
        "_number", "_sweep_at", "_templates", "attempts", "capture", "ended", "opened", "parent_flags", "parent_id",
        "paused", "run", "segment", "trace_id", "workflow",
    )  # fmt: skip

    def __init__(self, first: Record, capture: Capture = FULL) -> None:
        self.run = first.run
        self.capture = capture
        self.trace_id, key = derive_ids(first.run)
        self._key = key + first.at  # a run that is restored, or a run id that is used again, gets other spans
        self.parent_id = self.parent_flags = 0
        self.workflow = self._graph = self._branch = ""
        if isinstance(first, RunStarted):
            self.workflow, self._graph = first.workflow, first.graph
            trace_id, self.parent_id, self.parent_flags = read_traceparent(first.parent)
            self.trace_id = trace_id or self.trace_id
        elif isinstance(first, RunResumed) and first.snapshot is not None:
            saved = _read_saved(first.snapshot)
            self.workflow, self._graph = saved.workflow, saved.digest
        self.segment: Part | None = None
        self.attempts: dict[int, Part] = {}
        self.opened: list[Part] | None = None
        self.paused = self.ended = False
        self._number = 0
        self._anchor = self._last = 0  # the ids of the first and the last segment
        self._closing: list[Part] = []
        self._ending = ""
        self._left: dict[int, _Left] = {}
        self._templates: dict[str, tuple[str, dict[str, Value]]] = {}
        self._events: dict[int, tuple[weakref.ref[_Event], int]] = {}
        self._sweep_at = 64
        self._kept: Sequence[_Event] = ()  # events of saved data: nobody else holds these very records
