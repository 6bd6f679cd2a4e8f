"""Outcomes: what the end of a run means to its caller, and to the reader of its stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, assert_never

from otflow.errors import (
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    wrap_step_error,
)
from otflow.events import StopEvent, WorkflowCancelledEvent, WorkflowFailedEvent, WorkflowTimedOutEvent
from otflow.records.record import Ending, RunCancelled, RunCompleted, RunFailed, RunTimedOut
from otflow.runtime.driver import Driver

__all__ = ["Outcome", "conclude"]

_NS = 1_000_000_000


class Outcome(NamedTuple):
    """The result or the error of a run, and the event that ends its stream."""

    result: object
    error: Exception | None
    last: StopEvent


def conclude(driver: Driver, ending: Ending) -> Outcome:
    """Say what the record that ended a run means; whatever it takes, a run that is over has an outcome."""
    try:
        return _conclude(driver, ending)
    except Exception as error:  # the stop event of saved data may be one that its class no longer takes
        last = WorkflowFailedEvent(step_name="", exception=error, attempts=0, elapsed_seconds=0.0)
        return Outcome(None, error, last)


def _conclude(driver: Driver, ending: Ending) -> Outcome:
    match ending:
        case RunCompleted():
            return _completed(driver)
        case RunFailed(step=step, attempts=attempts, at=at):
            error = _explain_failure(driver, ending)
            failed = driver.state.failed if step else None
            last = WorkflowFailedEvent(
                step_name=step,
                exception=driver.error or error,
                attempts=attempts,
                elapsed_seconds=(at - failed.first_at) / _NS if failed is not None else 0.0,
            )
            return Outcome(None, error, last)
        case RunTimedOut(timeout=timeout, active=active):
            late = WorkflowTimeoutError(_explain_timeout(driver, timeout, active))
            return Outcome(None, late, WorkflowTimedOutEvent(timeout=timeout, active_steps=list(active)))
        case RunCancelled(reason=reason):
            text = f"Run {driver.state.run} of workflow '{driver.blueprint.graph.name}' was cancelled"
            cancelled = WorkflowCancelledByUser(f"{text}: {reason}." if reason else f"{text}.")
            return Outcome(None, cancelled, WorkflowCancelledEvent())
        case _:
            assert_never(ending)


def _completed(driver: Driver) -> Outcome:
    stop = driver.state.latest
    last = driver.blueprint.revive(stop.type, stop.body) if stop is not None else None
    if not isinstance(last, StopEvent):
        raise AssertionError("a run completes by a stop event")
    try:
        return Outcome(last._get_result(), None, last)  # the hook that the followed API gives users
    except Exception as error:  # users may override it; the run is over all the same
        return Outcome(None, error, last)


def _explain_failure(driver: Driver, ending: RunFailed) -> Exception:
    error = driver.error
    if not ending.step:
        return error if error is not None else WorkflowStalledError(ending.error.message)
    if error is None:
        return WorkflowRuntimeError(ending.error.message)
    return wrap_step_error(error, ending.step)


def _explain_timeout(driver: Driver, timeout: float, active: Sequence[str]) -> str:
    state = driver.state
    text = f"Operation timed out after {timeout} seconds. "
    text += f"Currently active steps: {', '.join(active)}" if active else "No steps active"
    waits = [
        f"step '{state.running[w.invocation].step}' waited for {w.type.rpartition(':')[2]}"
        for w in state.waits.values()
    ]
    lost = dict.fromkeys(event.type.rpartition(":")[2] for event in state.unhandled)
    waits += [f"nobody accepted {name}" for name in lost]
    return f"{text} ({'; '.join(waits)})" if waits else text
