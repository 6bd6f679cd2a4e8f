"""Watching a run from inside the process: the internal events of its stream, and the lines of `verbose=True`.

Both are made from the records of the run, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otflow.events import StepState, StepStateChanged, UnhandledEvent, WorkflowIdleEvent
from otflow.records.record import (
    EventReceived,
    EventSent,
    Record,
    RunPaused,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from otflow.runtime.driver import Driver
from otflow.runtime.stream import EventStream

__all__ = ["narrate", "watch"]


def watch(driver: Driver, stream: EventStream) -> Callable[[], None]:
    """Put internal events into the stream: what runs now, then what changes. Returns the function that ends it."""
    driver.commits.settle()  # what is held belongs to what runs now
    running = {id: (i.step, _name(i.event.type)) for id, i in driver.state.running.items()}
    for id, (step, event) in running.items():
        stream.put(_changed(step, event, StepState.RUNNING, id))

    def tap(records: Sequence[Record]) -> None:
        started = {(r.event, r.step) for r in records if isinstance(r, StepStarted)}
        for place, record in enumerate(records):
            match record:
                case StepStarted(invocation=id, step=step):
                    running[id] = (step, _name(driver.state.running[id].event.type))
                    stream.put(_changed(*running[id], StepState.RUNNING, id))
                case StepCompleted(invocation=id) | StepFailed(invocation=id) if id in running:
                    after = records[place + 1] if place + 1 < len(records) else None
                    output = _name(after.type) if isinstance(after, EventSent) and after.returned else None
                    stream.put(_changed(*running.pop(id), StepState.NOT_RUNNING, id, output))
                case EventSent() | EventReceived():
                    _show_event(driver, stream, record, started, running)
                case RunPaused():
                    stream.put(WorkflowIdleEvent())
                case _:
                    pass

    driver.commits.taps = (*driver.commits.taps, tap)

    def stop() -> None:
        driver.commits.taps = tuple(other for other in driver.commits.taps if other is not tap)

    return stop


def _show_event(
    driver: Driver,
    stream: EventStream,
    event: EventSent | EventReceived,
    started: set[tuple[int, str]],
    running: dict[int, tuple[str, str]],
) -> None:
    state = driver.state
    steps = (event.target,) if event.target else state.plan.routes[event.type].steps
    for step in steps:
        if (event.seq, step) not in started:
            stream.put(_changed(step, _name(event.type), StepState.PREPARING, 0))
    if any(lost.seq == event.seq for lost in state.unhandled):
        sender = running.get(event.invocation) if isinstance(event, EventSent) else None
        stream.put(
            UnhandledEvent(
                event_type=_name(event.type),
                qualified_name=event.type.replace(":", "."),
                step_name=sender[0] if sender is not None else None,
                idle=not state.running,
            )
        )


def _changed(step: str, event: str, state: StepState, id: int, output: str | None = None) -> StepStateChanged:
    return StepStateChanged(
        name=step, step_state=state, worker_id=str(id), input_event_name=event, output_event_name=output
    )


def narrate(driver: Driver) -> None:
    """Print a line when a step starts and when it returns, as `verbose=True` promises."""
    steps: dict[int, str] = {}

    def tap(records: Sequence[Record]) -> None:
        for place, record in enumerate(records):
            match record:
                case StepStarted(invocation=id, step=step):
                    steps[id] = step
                    print(f"Running step {step}")  # noqa: T201  # what verbose is for
                case StepCompleted(invocation=id):
                    after = records[place + 1] if place + 1 < len(records) else None
                    what = "no event"
                    if isinstance(after, EventSent) and after.returned:
                        what = f"event {_name(after.type)}"
                    print(f"Step {steps.pop(id, '?')} produced {what}")  # noqa: T201
                case StepFailed(invocation=id, error=error):
                    print(f"Step {steps.get(id, '?')} failed: {error.type}: {error.message}")  # noqa: T201
                case _:
                    pass

    driver.commits.taps = (*driver.commits.taps, tap)


def _name(kind: str) -> str:
    return kind.rpartition(":")[2].rpartition(".")[2]
