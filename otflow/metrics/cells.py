"""The cells: where observations are counted, and what they show to whoever asks.

A cell is a few integers. Times are counted in nanoseconds, so that sums are exact; ids of exemplars are kept as what
they follow from, and derived only when somebody looks. The number of cells is bounded (see `labels`). Cells know
neither records nor backends: `otflow.sinks.metrics` fills them, and the other modules here carry them out.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from typing import Protocol, TypeAlias, assert_never

import msgspec

from otflow.dispatcher import Load
from otflow.metrics.instruments import (
    CHECKPOINT_DURATION,
    CHECKPOINT_SIZE,
    INSTRUMENTS,
    RUN_ACTIVE,
    RUN_WAITING,
    STEP_ACTIVE,
    STEP_QUEUED,
    STEP_WORKERS,
    TELEMETRY_DROPPED,
    Instrument,
)
from otflow.metrics.labels import MAX_ERRORS, MAX_STEPS, MAX_TYPES, MAX_WORKFLOWS, Names, clean
from otflow.records.span import derive_span_id

__all__ = [
    "Cells",
    "Counter",
    "CounterCell",
    "Drops",
    "Exemplar",
    "Family",
    "Histogram",
    "HistogramCell",
    "Origin",
    "Point",
    "Spread",
    "scale_of",
]

_NS = 1_000_000_000

Drops: TypeAlias = Callable[[], Mapping[tuple[str, str], int]]
"""Gives by sink and reason how many records were lost so far."""


Origin: TypeAlias = tuple[int, int]
"""The run that an observation comes from: the id of its trace, and the number from which its span ids are counted."""


class HistogramCell(Protocol):
    """Takes observations of one series."""

    def observe(self, value: int, at: int, origin: Origin | None, seq: int) -> None:
        """Take one.

        Args:
            value: in nanoseconds, or in bytes.
            at: when that was, in nanoseconds since the epoch.
            origin: the run, if it is sampled.
            seq: which span of it: the number of the record that opened it, negative for a segment.
        """


class CounterCell(Protocol):
    """Counts for one series."""

    def add(self) -> None:
        """Count one more."""


class Histogram:
    """Counts observations by size.

    Attributes:
        counts: how many lie in each bucket, the last one without a bound.
        sum: all of them together.
        exemplars: the last observation of a sampled run in each bucket: value, time, origin, span.
    """

    __slots__ = ("_bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0
        self.exemplars: list[tuple[int, int, Origin, int] | None] = [None] * (len(bounds) + 1)

    def observe(self, value: int, at: int, origin: Origin | None, seq: int) -> None:
        """Take an observation."""
        place = bisect_left(self._bounds, value)
        self.counts[place] += 1
        self.sum += value
        if origin is not None:
            self.exemplars[place] = (value, at, origin, seq)


class Counter:
    """Counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        """Count one more."""
        self.value += 1


class Exemplar(msgspec.Struct, frozen=True):
    """One observation with its span: its value in the unit of the instrument, its time in nanoseconds."""

    value: float
    at: int
    trace_id: int
    span_id: int


class Point(msgspec.Struct, frozen=True):
    """The value of one series; the labels in the order of the instrument, "" for one that is absent."""

    labels: tuple[str, ...]
    value: int


class Spread(msgspec.Struct, frozen=True):
    """One series of a histogram: how many lie in each bucket, their sum in the unit of the instrument."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    sum: float
    exemplars: tuple[Exemplar | None, ...] = ()


class Family(msgspec.Struct, frozen=True):
    """All series of one instrument: `spreads` of a histogram, `points` of any other."""

    instrument: Instrument
    points: tuple[Point, ...] = ()
    spreads: tuple[Spread, ...] = ()


def scale_of(instrument: Instrument) -> int:
    """Return how much of what cells count is one of the instrument's unit."""
    return _NS if instrument.unit == "s" else 1


def make_histogram(instrument: Instrument, _: tuple[str, ...]) -> Histogram:
    """Make an empty cell of a histogram."""
    scale = scale_of(instrument)
    return Histogram(tuple(round(bound * scale) for bound in instrument.buckets))


def make_counter(_: Instrument, __: tuple[str, ...]) -> Counter:
    """Make an empty cell of a counter."""
    return Counter()


class Cells:
    """All cells of a process.

    Whoever fills them holds `lock` meanwhile.

    Args:
        histogram, counter: what makes the cells of a new series; default cells that count here, and that `collect`
            shows. Others may pass on what they get, for instance to instruments of somebody else.
        drops: gives what `otflow.telemetry.dropped` says; default nothing.
        opt_in: the names of OTEL_SEMCONV_STABILITY_OPT_IN; an instrument that asks for another one is left out.

    Attributes:
        began_at: since when they count, in nanoseconds since the epoch.
        lock: for whoever fills or reads them.
        loads: each gives what the runs of one dispatcher hold now.
    """

    def __init__(
        self,
        histogram: Callable[[Instrument, tuple[str, ...]], HistogramCell] = make_histogram,
        counter: Callable[[Instrument, tuple[str, ...]], CounterCell] = make_counter,
        drops: Drops | None = None,
        opt_in: Iterable[str] = (),
    ) -> None:
        self._make_histogram = histogram
        self._make_counter = counter
        self.drops = drops
        wanted = {"", *opt_in}
        self.instruments = tuple(each for each in INSTRUMENTS if each.opt_in in wanted)
        self.loads: tuple[Callable[[], Iterable[Load]], ...] = ()
        self.renew()

    def renew(self) -> None:
        """Begin at zero; whoever still has a cell has one that nobody sees. For a process that was forked."""
        self.lock = RLock()
        self.began_at = time.time_ns()
        self._histograms: dict[str, dict[tuple[str, ...], HistogramCell]] = {}
        self._counters: dict[str, dict[tuple[str, ...], CounterCell]] = {}
        self._workflows = Names(MAX_WORKFLOWS)
        self._steps: dict[str, Names] = {}
        self._types = Names(MAX_TYPES)
        self._errors = Names(MAX_ERRORS)

    # ---------------------------------------------------------------- labels

    def workflow(self, name: str) -> str:
        """Return the label of a workflow."""
        label = self._workflows.label(name)
        if label not in self._steps:
            self._steps[label] = Names(MAX_STEPS)
        return label

    def step(self, workflow: str, name: str) -> str:
        """Return the label of a step; `workflow` is the label of its workflow."""
        return self._steps[workflow].label(name)

    def event_type(self, name: str) -> str:
        """Return the label of a type of events."""
        return self._types.label(name)

    def error_type(self, name: str) -> str:
        """Return the label of a type of exceptions."""
        return self._errors.label(name)

    # ---------------------------------------------------------------- cells

    def histogram(self, instrument: Instrument, *labels: str) -> HistogramCell:
        """Return the cell of a series, which is made when it is new."""
        found = self._histograms.setdefault(instrument.name, {})
        cell = found.get(labels)
        if cell is None:
            cell = found[labels] = self._make_histogram(instrument, labels)
        return cell

    def counter(self, instrument: Instrument, *labels: str) -> CounterCell:
        """Return the cell of a series, which is made when it is new."""
        found = self._counters.setdefault(instrument.name, {})
        cell = found.get(labels)
        if cell is None:
            cell = found[labels] = self._make_counter(instrument, labels)
        return cell

    def record_checkpoint(self, workflow: str, store: str, duration: float | None, size: int | None) -> None:
        """Count that a run was saved. For those who save it; checkpoint callbacks are counted without this.

        Args:
            workflow: the name of the workflow.
            store: the kind of store, out of a few.
            duration: how long it took, in seconds; None if that is not known.
            size: how many bytes it were; None if that is not known.
        """
        with self.lock:
            labels, at = (self.workflow(workflow), clean(store)), time.time_ns()
            if duration is not None:
                self.histogram(CHECKPOINT_DURATION, *labels).observe(max(0, int(duration * _NS)), at, None, 0)
            if size is not None:
                self.histogram(CHECKPOINT_SIZE, *labels).observe(max(0, size), at, None, 0)

    # ---------------------------------------------------------------- what they show

    def collect(self) -> list[Family]:
        """Return all series as they are now, one family for each instrument that has any. Any thread may ask."""
        gauges = self.gauges()
        families = [Family(it, gauges[it.name]) if it.kind == "gauge" else self.family(it) for it in self.instruments]
        return [family for family in families if family.points or family.spreads]

    def family(self, instrument: Instrument) -> Family:
        """Return the series of one instrument."""
        match instrument.kind:
            case "histogram":
                return Family(instrument, spreads=self._spreads(instrument))
            case "counter":
                return Family(instrument, self._counted(instrument))
            case "gauge":
                return Family(instrument, self.gauges()[instrument.name])
            case _ as never:
                assert_never(never)

    def gauges(self) -> dict[str, tuple[Point, ...]]:
        """Return what the runs hold now, by the name of the instrument; zeros for what has been there before."""
        loads = [load for give in self.loads for load in give()]
        with self.lock:
            for load in loads:
                label = self.workflow(load.workflow)
                for step in load.steps:
                    self.step(label, step.name)
            runs = {(label,): [0, 0] for label in self._steps}
            steps = {(label, step): [0, 0, 0] for label, names in self._steps.items() for step in names.values}
            for load in loads:
                label = self.workflow(load.workflow)
                runs[label,][load.paused] += 1
                for name, *numbers in load.steps:
                    totals = steps.setdefault((label, self.step(label, name)), [0, 0, 0])  # `_OTHER` is not among them
                    totals[:] = (total + number for total, number in zip(totals, numbers, strict=True))
        found = {}
        for place, instrument in enumerate((RUN_ACTIVE, RUN_WAITING)):
            found[instrument.name] = tuple(Point(labels, values[place]) for labels, values in runs.items())
        for place, instrument in enumerate((STEP_ACTIVE, STEP_QUEUED, STEP_WORKERS)):
            found[instrument.name] = tuple(Point(labels, values[place]) for labels, values in steps.items())
        return found

    def _counted(self, instrument: Instrument) -> tuple[Point, ...]:
        if instrument is TELEMETRY_DROPPED:
            drops = self.drops() if self.drops is not None else {}
            return tuple(Point((clean(sink), clean(reason)), value) for (sink, reason), value in drops.items())
        with self.lock:
            cells = self._counters.get(instrument.name, {})
            return tuple(Point(labels, cell.value) for labels, cell in cells.items() if isinstance(cell, Counter))

    def _spreads(self, instrument: Instrument) -> tuple[Spread, ...]:
        scale = scale_of(instrument)
        with self.lock:
            taken = [
                (labels, tuple(cell.counts), cell.sum, tuple(cell.exemplars))
                for labels, cell in self._histograms.get(instrument.name, {}).items()
                if isinstance(cell, Histogram)
            ]
        return tuple(
            Spread(labels, counts, total / scale, tuple(_show(each, scale) for each in exemplars))
            for labels, counts, total, exemplars in taken
        )


def _show(kept: tuple[int, int, Origin, int] | None, scale: int) -> Exemplar | None:
    if kept is None:
        return None
    value, at, origin, seq = kept
    return Exemplar(value / scale, at, origin[0], derive_span_id(origin[1], seq))
