"""The cells of one workflow, found once and then at hand: nothing is looked up by its labels while runs go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from otflow.metrics.cells import Cells, CounterCell, HistogramCell
from otflow.metrics.instruments import (
    CHECKPOINT_DURATION,
    EMITTED,
    EVENTS,
    FIRST_EVENT,
    GEN_AI_DURATION,
    HITL_WAIT,
    QUEUE_DURATION,
    RUN_DURATION,
    STATE_WRITES,
    STEP_DURATION,
    STEP_EXHAUSTED,
    STEP_RETRIES,
    STREAMED,
    UNHANDLED,
)
from otflow.metrics.labels import MAX_STEPS, MAX_TYPES
from otflow.records.semconv import OK

__all__ = ["Flow", "Kind", "StepCells", "Takes"]

Takes: TypeAlias = Callable[[str, str], bool]
"""Tells by the names of a workflow and of a type whether events of it have somewhere to go."""


class Kind(NamedTuple):
    """The cells of a type of events; `unhandled` is None if some step accepts it."""

    emitted: CounterCell
    unhandled: CounterCell | None


class StepCells:
    """The cells of a step.

    Attributes:
        ok: of attempts that returned, and were the first of their invocation.
        queue: of waits for a worker.
    """

    __slots__ = ("_cells", "_labels", "_others", "ok", "queue")

    def __init__(self, cells: Cells, workflow: str, step: str) -> None:
        self._cells = cells
        self._labels = (workflow, step)
        self._others: dict[tuple[str, str, bool], HistogramCell] = {}
        self.ok = self.ended(OK)
        self.queue = cells.histogram(QUEUE_DURATION, *self._labels)

    def ended(self, outcome: str, error: str = "", *, retry: bool = False) -> HistogramCell:
        """Return the cell of attempts that ended so; `error` is the label of what they failed with."""
        cell = self._others.get((outcome, error, retry))
        if cell is None:
            truth = "true" if retry else "false"
            cell = self._cells.histogram(STEP_DURATION, *self._labels, outcome, error, truth)
            self._others[outcome, error, retry] = cell
        return cell

    def count_retry(self, error: str) -> None:
        """Count that another attempt comes."""
        self._cells.counter(STEP_RETRIES, *self._labels, error).add()

    def count_exhausted(self, error: str) -> None:
        """Count that no other attempt comes."""
        self._cells.counter(STEP_EXHAUSTED, *self._labels, error).add()


class Flow:
    """The cells of a workflow.

    Args:
        cells: all cells.
        name: its name.
        takes: tells whether events of a type have somewhere to go.

    Attributes:
        writes: of writes to the state.
        steps, kinds, streamed: by name those that were asked for before; otherwise call `step`, `kind`, `stream`.
    """

    __slots__ = ("_cells", "_ended", "_label", "_name", "_takes", "kinds", "steps", "streamed", "writes")

    def __init__(self, cells: Cells, name: str, takes: Takes) -> None:
        self._cells = cells
        self._name = name
        self._takes = takes
        self._label = cells.workflow(name)
        self._ended: dict[tuple[str, str], tuple[HistogramCell, ...]] = {}
        self.steps: dict[str, StepCells] = {}
        self.kinds: dict[str, Kind] = {}
        self.streamed: dict[str, CounterCell] = {}
        self.writes = cells.counter(STATE_WRITES, self._label)

    def step(self, name: str) -> StepCells:
        """Return the cells of a step."""
        found = self.steps.get(name)
        if found is None:
            found = StepCells(self._cells, self._label, self._cells.step(self._label, name))
            if len(self.steps) < MAX_STEPS:
                self.steps[name] = found
        return found

    def kind(self, name: str) -> Kind:
        """Return the cells of a type of events."""
        found = self.kinds.get(name)
        if found is None:
            cells, label = self._cells, self._cells.event_type(name)
            emitted = cells.counter(EVENTS, self._label, label, EMITTED)
            lost = None if self._takes(self._name, name) else cells.counter(EVENTS, self._label, label, UNHANDLED)
            found = Kind(emitted, lost)
            if len(self.kinds) < MAX_TYPES:
                self.kinds[name] = found
        return found

    def stream(self, name: str) -> CounterCell:
        """Return the cell of events of a type that go to the stream."""
        found = self.streamed.get(name)
        if found is None:
            found = self._cells.counter(EVENTS, self._label, self._cells.event_type(name), STREAMED)
            if len(self.streamed) < MAX_TYPES:
                self.streamed[name] = found
        return found

    def error(self, name: str) -> str:
        """Return the label of a type of exceptions."""
        return self._cells.error_type(name)

    def first_event(self) -> HistogramCell:
        """Return the cell of the time to the first event in the stream."""
        return self._cells.histogram(FIRST_EVENT, self._label)

    def waited(self, kind: str) -> HistogramCell:
        """Return the cell of waits for events of a type from outside."""
        return self._cells.histogram(HITL_WAIT, self._label, self._cells.event_type(kind))

    def saved(self, store: str) -> HistogramCell:
        """Return the cell of the time that checkpoints take."""
        return self._cells.histogram(CHECKPOINT_DURATION, self._label, store)

    def ended(self, outcome: str, error: str) -> tuple[HistogramCell, ...]:
        """Return the cells of runs that ended so; `error` is the label of what they failed with."""
        found = self._ended.get((outcome, error))
        if found is None:
            found = (self._cells.histogram(RUN_DURATION, self._label, outcome, error),)
            if GEN_AI_DURATION in self._cells.instruments:
                found += (self._cells.histogram(GEN_AI_DURATION, self._label, error),)
            self._ended[outcome, error] = found
        return found
