"""One run on its way into the cells: what is open in it, and what its records come to.

Each record is O(1), but for those that stop all open attempts. Nothing here grows with the length of a run: an
attempt is forgotten when it ends, an event when nobody holds it any more. A tally knows the cells of its workflow and
no other run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from otflow.metrics.cells import Origin
from otflow.metrics.emissions import Emissions
from otflow.metrics.flows import Flow
from otflow.metrics.waits import Waits
from otflow.records.identity import Identity
from otflow.records.record import (
    CheckpointTaken,
    EventBuffered,
    EventReceived,
    EventsCollected,
    EventSent,
    Record,
    RetryQueued,
    RetryScheduled,
    RunPaused,
    RunResumed,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.records.semconv import BUFFERED, CANCELLED, ERROR, OK, TIMEOUT

__all__ = ["CALLBACK", "OfAttempt", "Tally"]

CALLBACK = "callback"
"""The store of checkpoints that a callback takes."""

_MOST_SAVING = 256  # a stepwise run holds events back too, and never says that it saved them

OfAttempt: TypeAlias = StepFailed | EventBuffered | EventsCollected | WaitStarted | WaitEnded | RetryQueued
"""Records of an attempt that most attempts do not have."""


class _Note(msgspec.Struct):
    """What most attempts do not have.

    Attributes:
        aside: whether its event went into a buffer, and no collection was complete.
        sent: whether it sent an event.
        idle: for how long it had no span, because the run was paused and it was not woken yet; in nanoseconds.
        left_at: since when it has none, or 0.
        seq: the record that opened its last span; 0 for the one that started it.
    """

    aside: bool = False
    sent: bool = False
    idle: int = 0
    left_at: int = 0
    seq: int = 0


class Tally:
    """One run.

    Args:
        flow: the cells of its workflow.
        at: the time of its first record.
        identity: its ids, if it is sampled.

    Attributes:
        adrift: whether some attempt was open in a pause and has not been woken yet; then `wake` is to be called first.
        paused_at: when it was paused, in nanoseconds since the epoch; 0 if it is not.
        write_state: to be called for each write to the state.
    """

    __slots__ = (
        "_active",
        "_began",
        "_emitted",
        "_flow",
        "_identity",
        "_known_from",
        "_notes",
        "_open",
        "_origin",
        "_requeued",
        "_saving",
        "_segment",
        "_since",
        "_waits",
        "adrift",
        "paused_at",
        "write_state",
    )

    def __init__(self, flow: Flow, at: int, identity: Identity | None) -> None:
        self._flow = flow
        self.write_state = flow.writes.add
        self._identity = identity
        self._origin: Origin | None = None
        self._segment = 0
        self._began = 0  # when its first event in the stream is still to come
        self._known_from = at
        self._since = at
        self._active = 0
        self.paused_at = 0
        self.adrift = False
        self._emitted = Emissions()
        self._open: dict[int, StepStarted] = {}
        self._notes: dict[int, _Note] = {}
        self._requeued: dict[int, int] = {}
        self._waits = Waits()
        self._saving: dict[int, int] = {}
        if identity is not None:
            self._origin = (identity.trace_id, identity.key)

    def start(self, record: StepStarted) -> None:
        """Take the start of an attempt."""
        self._open[record.invocation] = record
        queued = self._emitted.find(record.event) or self._known_from
        if self._requeued:
            queued = self._requeued.pop(record.invocation, queued)
        if queued:
            step = self._flow.steps.get(record.step) or self._flow.step(record.step)
            waited = record.at - queued
            step.queue.observe(waited if waited > 0 else 0, record.at, self._origin, record.seq)  # noqa: FURB136  faster

    def complete(self, record: StepCompleted, records: Sequence[Record]) -> None:
        """Take the return of an attempt; `records` are the batch."""
        started = self._open.pop(record.invocation, None)
        if started is None:
            return
        step = self._flow.steps.get(started.step) or self._flow.step(started.step)
        if started.attempt > 1 or self._notes:
            self._close(started, record.at, OK, records)
            return
        taken = record.at - started.at
        step.ok.observe(taken if taken > 0 else 0, record.at, self._origin, started.seq)  # noqa: FURB136  faster

    def send(self, record: EventSent) -> None:
        """Take an event that a step emitted."""
        flow = self._flow
        emitted, unhandled = flow.kinds.get(record.type) or flow.kind(record.type)
        emitted.add()
        if unhandled is not None and not record.target and not self._waits.awaits(record.type):
            unhandled.add()
        self._emitted.remember(record.seq, record.body, record.at)
        if not record.returned and record.invocation in self._open:
            self._note(record.invocation).sent = True
        if record.held:
            if len(self._saving) >= _MOST_SAVING:
                self._saving.clear()
            self._saving[record.invocation] = record.at

    def write_stream(self, record: StreamWritten) -> None:
        """Take an event that went to the stream."""
        cell = self._flow.streamed.get(record.type) or self._flow.stream(record.type)
        cell.add()
        if self._began:
            span = self._open.get(record.invocation)
            seq = span.seq if span is not None else self._segment
            self._flow.first_event().observe(max(0, record.at - self._began), record.at, self._origin, seq)
            self._began = 0

    def receive(self, record: EventReceived) -> None:
        """Take an event from outside."""
        emitted, unhandled = self._flow.kinds.get(record.type) or self._flow.kind(record.type)
        emitted.add()
        if unhandled is not None and not record.target and not self._waits.awaits(record.type):
            unhandled.add()
        self._emitted.remember(record.seq, record.body, record.at)

    def work(self, record: OfAttempt, records: Sequence[Record]) -> None:
        """Take a record of an attempt; `records` are the batch."""
        match record:
            case StepFailed():
                self._fail(record, records)
            case EventBuffered() | EventsCollected():
                if record.invocation in self._open:
                    self._note(record.invocation).aside = isinstance(record, EventBuffered)
            case WaitStarted():
                self._waits.start(record)
            case WaitEnded():
                self._end_wait(record)
            case RetryQueued():
                self._requeued[record.invocation] = record.at

    def save(self, record: CheckpointTaken) -> None:
        """Take that the run was saved: by a callback that was awaited from the end of the attempt on."""
        since = self._saving.pop(record.invocation, 0)
        if since:
            self._flow.saved(CALLBACK).observe(max(0, record.at - since), record.at, None, 0)

    def begin(self, at: int, seq: int) -> None:
        """Take the start of the run: everything about it is known from here on."""
        self._began = at
        self._known_from = 0
        self._waits.begin()
        self._segment = -seq

    def pause(self, record: RunPaused) -> None:
        """Take that the run is paused."""
        if self._identity is not None:
            self._identity.follow(record)
        self._active += max(0, record.at - self._since)
        self.paused_at = record.at
        self._segment = 0
        self._waits.pause(record)

    def resume(self, record: RunResumed, records: Sequence[Record]) -> None:
        """Take that the run goes on; `records` are the batch."""
        if self._identity is not None:
            self._identity.follow(record)
            self._origin = (self._identity.trace_id, self._identity.key)
        paused, self.paused_at = self.paused_at, 0
        self._since, self._segment = record.at, -record.seq
        if record.snapshot is not None:
            self._restore(record.at)
            return
        if not paused:
            return
        self._interrupt(paused)
        after = records[records.index(record) + 1 :]
        if self._open:
            self.wake(after)
        if (waited := self._waits.resume(after)) is not None:
            self._flow.waited(waited[0]).observe(waited[1], record.at, self._origin, self._segment)

    def wake(self, records: Sequence[Record]) -> None:
        """Note which of the attempts that were open in a pause go on with a batch: each has a span again."""
        for record in records:
            if type(record) is RunPaused:  # two batches that came as one
                break
            if type(record) is CheckpointTaken:  # which is no word of the attempt
                continue
            note = self._notes.get(getattr(record, "invocation", 0))
            if note is not None and note.left_at:
                note.idle += max(0, record.at - note.left_at)
                note.left_at, note.seq = 0, record.seq
        self.adrift = any(note.left_at for note in self._notes.values())

    def end(self, record: Record, outcome: str, error: str) -> None:
        """Take the end of the run; `error` is the type of what it failed with."""
        if self._open:
            self._interrupt(self.paused_at)
            for started in list(self._open.values()):
                self._close(started, record.at, TIMEOUT if outcome == TIMEOUT else CANCELLED, ())
        if not self.paused_at:
            self._active += max(0, record.at - self._since)
        label = self._flow.error(error) if error else ""
        for cell in self._flow.ended(outcome, label):
            cell.observe(self._active, record.at, self._origin, self._segment or -record.seq)

    def _interrupt(self, at: int) -> None:
        """Note that the open attempts had no span any more from a pause on; 0 for none."""
        if at:
            for invocation in self._open:
                note = self._note(invocation)
                note.left_at = note.left_at or at

    def _note(self, invocation: int) -> _Note:
        note = self._notes.get(invocation)
        if note is None:
            note = self._notes[invocation] = _Note()
        return note

    def _restore(self, at: int) -> None:
        """Forget what was open: it is begun anew from saved data. What is queued there waits from now on."""
        for kept in (self._open, self._notes, self._requeued, self._saving):
            kept.clear()
        self._waits.begin()
        self.adrift = False
        self._emitted = Emissions()
        self._known_from = at

    def _close(self, started: StepStarted, at: int, outcome: str, records: Sequence[Record], error: str = "") -> None:
        """Count an attempt that has ended."""
        invocation = started.invocation
        note = self._notes.pop(invocation, None)
        taken, seq, origin = at - started.at, started.seq, self._origin
        if note is not None:
            taken -= note.idle
            seq = note.seq or seq
            if note.left_at:  # nothing woke it; without a span, there is nothing to refer to
                taken, origin = taken - max(0, at - note.left_at), None
            if note.aside and outcome == OK and not note.sent and not _returned(invocation, records):
                outcome = BUFFERED
        step = self._flow.step(started.step)
        cell = step.ended(outcome, error, retry=started.attempt > 1)
        cell.observe(max(0, taken), at, origin, seq)

    def _fail(self, record: StepFailed, records: Sequence[Record]) -> None:
        started = self._open.pop(record.invocation, None)
        if started is None:
            return
        error = self._flow.error(record.error.type)
        self._close(started, record.at, ERROR, records, error)
        step = self._flow.step(started.step)
        following = (record.invocation, record.attempt + 1)
        if any(type(each) is RetryScheduled and (each.invocation, each.attempt) == following for each in records):
            step.count_retry(error)
        elif started.attempt > 1:
            step.count_exhausted(error)

    def _end_wait(self, record: WaitEnded) -> None:
        waited = self._waits.end(record)
        if waited is None:
            return
        note, started = self._notes.get(record.invocation), self._open.get(record.invocation)
        seq = note.seq if note is not None and note.seq else started.seq if started is not None else 0
        self._flow.waited(waited[0]).observe(waited[1], record.at, self._origin if seq else None, seq)


def _returned(invocation: int, records: Sequence[Record]) -> bool:
    """Tell whether an attempt that ended in a batch returned an event."""
    return any(type(each) is EventSent and each.returned and each.invocation == invocation for each in records)
