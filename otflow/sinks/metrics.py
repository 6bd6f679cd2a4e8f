"""Records to metrics: gives the records of each run to its tally, and the tally counts in cells.

The sink looks at nothing but records. That an event has nowhere to go, which no record says, the runs themselves are
asked. It knows neither the backends of metrics nor their libraries.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import TypeAlias, assert_never

from otflow.dispatcher import Dispatcher, Live, Load
from otflow.metrics.cells import Cells
from otflow.metrics.flows import Flow
from otflow.metrics.tally import Tally
from otflow.records.emitted import read_saved
from otflow.records.identity import WINDOW, Identity
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
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
from otflow.records.semconv import CANCELLED, ERROR, OK, TIMEOUT

__all__ = ["KEPT_PAUSED", "MetricSink", "Sampled", "attach"]

KEPT_PAUSED = 4096
"""How many paused runs are remembered. Of others that go on, nothing from before the pause is known any more."""

Sampled: TypeAlias = Callable[[str], bool]
"""Tells by the id of a run whether its spans are recorded and sampled."""

Runs: TypeAlias = Callable[[], Sequence[Live]]
"""Gives the runs that go on."""

_TIMED_OUT = "otflow.errors.WorkflowTimeoutError"


class MetricSink:
    """Counts what the runs of a dispatcher do.

    Args:
        cells: where it counts.
        runs: gives the runs that go on; default: none is known.
        sampled: asked once for each run, when its first record is there; None: no observation refers to a span.
        window: how long after a pause a run stays in its trace, in nanoseconds; default 15 minutes.
    """

    def __init__(
        self, cells: Cells, runs: Runs | None = None, sampled: Sampled | None = None, window: int = WINDOW
    ) -> None:
        self.cells = cells
        self._living = runs or list
        self._sampled = sampled
        self._window = window
        self._runs: dict[str, Tally] = {}
        self._paused: dict[str, None] = {}
        self._flows: dict[str, Flow] = {}

    def __call__(self, records: Sequence[Record]) -> None:  # noqa: C901, PLR0912  a table
        """Take a batch, which is of one run."""
        if not records:
            return
        first = records[0]
        # runs may go on in the loops of several threads
        with self.cells.lock:
            run = self._runs.get(first.run)
            if run is None or type(first) is RunStarted:
                run = self._begin(first)
            if run.adrift and not run.paused_at:
                run.wake(records)
            for record in records:
                # `type() is` costs a third of a pattern, and these kinds make up most of all runs
                if type(record) is StepStarted:
                    run.start(record)
                elif type(record) is StepCompleted:
                    run.complete(record, records)
                elif type(record) is EventSent:
                    run.send(record)
                elif type(record) is ContextWritten:
                    run.write_state()
                elif type(record) is StreamWritten:
                    run.write_stream(record)
                elif type(record) is EventReceived:
                    run.receive(record)
                elif type(record) is RunStarted:
                    run.begin(record.at, record.seq)
                elif type(record) is RunCompleted:
                    self._end(run, record, OK, "")
                else:
                    self._take_rarer(run, record, records)

    def renew(self) -> None:
        """Begin anew, in a process that was forked: the runs stayed where they were."""
        self.cells.renew()
        for kept in (self._runs, self._paused, self._flows):
            kept.clear()

    def _begin(self, first: Record) -> Tally:
        """Get to know a run."""
        if type(first) is RunStarted:
            name = first.workflow
        elif isinstance(first, RunResumed) and first.snapshot is not None:
            name = read_saved(first.snapshot).workflow
        else:  # it began before anyone looked
            loads = (run.load() for run in self._living())
            name = next((load.workflow for load in loads if load.run == first.run), "")
        flow = self._flows.get(name) or self._find_flow(name)
        sampled = self._sampled is not None and self._sampled(first.run)
        run = self._runs[first.run] = Tally(flow, first.at, Identity(first, self._window) if sampled else None)
        return run

    def _find_flow(self, name: str) -> Flow:
        label = self.cells.workflow(name)
        flow = self._flows.get(label)  # all whose name became this label share one
        if flow is None:
            flow = self._flows[label] = Flow(self.cells, name, self._takes)
        return flow

    def _takes(self, workflow: str, kind: str) -> bool:
        """Ask the runs whether an event has somewhere to go; where nobody knows of it, it has."""
        return next((known for run in self._living() if (known := run.takes(workflow, kind)) is not None), True)

    def _take_rarer(self, run: Tally, record: Record, records: Sequence[Record]) -> None:
        match record:
            case StepFailed() | EventBuffered() | EventsCollected() | WaitStarted() | WaitEnded() | RetryQueued():
                run.work(record, records)
            case CheckpointTaken():
                run.save(record)
            case RunPaused() | RunResumed():
                self._move(run, record, records)
            case RunFailed():
                self._end(run, record, ERROR, record.error.type)
            case RunCancelled():
                self._end(run, record, CANCELLED, "")
            case RunTimedOut():
                self._end(run, record, TIMEOUT, _TIMED_OUT)
            case EventReleased() | RetryScheduled():  # an event counts when it is emitted, a retry with its failure
                pass
            case (
                StepStarted()
                | StepCompleted()
                | EventSent()
                | ContextWritten()
                | StreamWritten()
                | EventReceived()
                | RunStarted()
                | RunCompleted()
            ):  # pragma: no cover
                raise AssertionError("these are taken in the loop")
            case _:
                assert_never(record)

    def _move(self, run: Tally, record: RunPaused | RunResumed, records: Sequence[Record]) -> None:
        if isinstance(record, RunResumed):
            run.resume(record, records)
            self._paused.pop(record.run, None)
            return
        run.pause(record)
        self._paused[record.run] = None
        if len(self._paused) > KEPT_PAUSED:
            oldest = next(iter(self._paused))
            del self._paused[oldest]
            self._runs.pop(oldest, None)

    def _end(self, run: Tally, record: Record, outcome: str, error: str) -> None:
        run.end(record, outcome, error)
        if run.paused_at:
            self._paused.pop(record.run, None)
        self._runs.pop(record.run, None)


def attach(
    dispatcher: Dispatcher, cells: Cells, sampled: Sampled | None = None, window: int = WINDOW
) -> Callable[[], None]:
    """Let the runs of a dispatcher be counted.

    Attach it after the sink that knows which runs are sampled, because that one has to hear of a run first.

    Args:
        dispatcher: the dispatcher.
        cells: where they are counted.
        sampled: tells by the id of a run whether its spans are recorded and sampled; None: no observation refers to
            a span.
        window: how long after a pause a run stays in its trace, in nanoseconds; default 15 minutes.

    Returns:
        A function that ends it; what has been counted stays in the cells.
    """
    sink = MetricSink(cells, dispatcher.runs, sampled, window)
    detach = dispatcher.attach(sink, patient=True)

    def loads() -> list[Load]:
        return [run.load() for run in dispatcher.runs()]

    cells.loads = (*cells.loads, loads)
    place = weakref.ref(sink)
    _attached[place] = weakref.ref(dispatcher)

    def end() -> None:
        detach()
        cells.loads = tuple(each for each in cells.loads if each is not loads)
        _attached.pop(place, None)

    return end


_attached: dict[weakref.ref[MetricSink], weakref.ref[Dispatcher]] = {}
"""The sinks that begin anew when the process is forked."""


def _renew() -> None:
    for place, house in list(_attached.items()):
        sink, dispatcher = place(), house()
        if sink is None or dispatcher is None:
            _attached.pop(place, None)
            continue
        dispatcher.forget_runs()
        sink.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew)
