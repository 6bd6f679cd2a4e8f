"""Sentences about a divergence: what was recorded, what would be decided today, and what has changed in between."""

from __future__ import annotations

from collections.abc import Collection

from otflow.core.plan import Plan
from otflow.core.state import RunState
from otflow.records.record import (
    EventReceived,
    EventsCollected,
    EventSent,
    Record,
    RunCompleted,
    RunFailed,
    RunPaused,
    StepStarted,
    StreamWritten,
    WaitEnded,
)
from otflow.replay.verdict import Divergence

__all__ = ["explain", "name_gone", "name_type"]


def name_type(key: str) -> str:
    """Return the name of a class from its type key."""
    return key.rpartition(":")[2]


def name_gone(plan: Plan, step: str, event: str, named: Collection[str]) -> str:
    """Say that a step is gone, and which one may have taken its place.

    Args:
        plan: the workflow of today.
        step: the step.
        event: the type key of an event that it took.
        named: the steps that the records name.
    """
    route = plan.routes.get(event)
    fresh = [name for name in (route.steps if route is not None else ()) if name not in named]
    guess = f" Step '{fresh[0]}' accepts {name_type(event)} today: was it renamed?" if fresh else ""
    return f"There is no step '{step}' any more, which worked on {name_type(event)}.{guess}"


def explain(state: RunState, recorded: Record, decided: Record | None, named: Collection[str]) -> Divergence:
    """Say what has changed.

    Args:
        state: where the run stands.
        recorded: what is recorded next.
        decided: what would be decided today in its place; None: nothing.
        named: the steps that the records name.
    """
    seq = recorded.seq
    if isinstance(recorded, StepStarted) and (found := _explain_start(state, recorded)) is not None:
        return found
    match decided:
        case StepStarted(step=step, event=event):
            return _explain_new_start(state, recorded, step, event, named)
        case EventSent(target=target) if isinstance(recorded, RunFailed):
            return Divergence(
                seq, "step", f"The run failed there; today the error handler '{target}' would take the failure."
            )
        case RunFailed(step=step) if isinstance(recorded, EventSent):
            text = f"The error handler '{recorded.target}' took the failure of step '{step}'; today it would not."
            return Divergence(seq, "step", text)
        case _:
            pass
    match recorded:
        case RunCompleted(event=event):
            return Divergence(seq, "event", f"Event {event} ended the run; today it would not.")
        case RunFailed() if decided is not None or not recorded.step:
            text = f"The run failed there ({recorded.error.type}); today {_tell(decided)}."
            return Divergence(seq, "order", text)
        case WaitEnded(wait=wait, event=event) if event:
            text = f"Event {event} ended wait {wait}; today it would not."
            return Divergence(seq, "event", text)
        case EventsCollected(buffer=buffer):
            text = f"Buffer '{buffer}' was complete with {len(recorded.events)} events; today it is not."
            return Divergence(seq, "collected", text)
        case _:
            return Divergence(seq, "order", f"Recorded is that {_tell(recorded)}; today {_tell(decided)}.")


def _explain_start(state: RunState, recorded: StepStarted) -> Divergence | None:
    lane = state.lanes.get(recorded.step)
    if lane is None:
        return Divergence(recorded.seq, "step", f"There is no step '{recorded.step}' any more.")
    if lane.queue and lane.queue[0].event.seq == recorded.event and lane.running >= lane.plan.num_workers:
        return Divergence(
            recorded.seq,
            "workers",
            f"Step '{recorded.step}' has {lane.plan.num_workers} workers today (num_workers), and {lane.running + 1} "
            "of its invocations ran at once.",
        )
    if not any(queued.event.seq == recorded.event for queued in lane.queue):
        text = f"Step '{recorded.step}' worked on event {recorded.event}; today it would not get it."
        return Divergence(recorded.seq, "event", text)
    return None


def _explain_new_start(state: RunState, recorded: Record, step: str, event: int, named: Collection[str]) -> Divergence:
    queue = state.lanes[step].queue
    kind = name_type(queue[0].event.type) if queue else "?"
    if step not in named:
        text = f"Step '{step}' would take event {event} ({kind}) today; it did not take part in the run."
        return Divergence(recorded.seq, "step", text)
    workers = state.lanes[step].plan.num_workers
    text = (
        f"Step '{step}' would begin to work on event {event} ({kind}) there, with the {workers} workers (num_workers) "
        "that it has today; it began later, or never."
    )
    return Divergence(recorded.seq, "workers", text)


def _tell(record: Record | None) -> str:
    match record:
        case None:
            return "nothing would follow"
        case StepStarted(step=step, event=event):
            return f"step '{step}' begins to work on event {event}"
        case EventSent(type=kind) | EventReceived(type=kind) | StreamWritten(type=kind):
            return f"{name_type(kind)} is there ({type(record).__name__})"
        case RunPaused(reason=reason):
            return f"the run is paused ({reason})"
        case RunFailed(error=error):
            return f"the run fails ({error.type}: {error.message[:200]})"
        case _:
            return f"a {type(record).__name__} comes"
