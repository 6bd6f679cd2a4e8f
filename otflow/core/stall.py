"""Stalls: a run in which nothing executes and nothing can come, told apart from one that waits.

A run may wait for the outside: for the answer to a question, for an event that only the outside can send, for the end
of a wait that has a time of its own. Otherwise it can never end, and says why: the event nobody accepts, the
collection that cannot be completed, the wait that nobody can answer.
"""

from __future__ import annotations

from otflow.core.state import Buffer, RunState, Wait

__all__ = ["find_stall"]


def find_stall(state: RunState) -> str | None:
    """Say why the run cannot go on, or None when it may.

    To be asked only when nothing executes, nothing can start and nothing is delayed.
    """
    if state.plan.external or state.questions:
        return None
    if not all(_hopeless(state, wait) for wait in state.waits.values()):
        return None
    reasons = [_explain_wait(state, wait) for wait in state.waits.values()]
    reasons += [
        _explain_buffer(step, name, buffer)
        for step, lane in state.lanes.items()
        for name, buffer in lane.buffers.items()
    ]
    reasons += _explain_unhandled(state)
    if not reasons:
        reasons.append("every step has returned, and none of them returned a stop event")
    where = f"The run {state.run} of workflow '{state.plan.workflow}' can make no more progress: "
    return where + "; ".join(reasons) + "."


def _hopeless(state: RunState, wait: Wait) -> bool:
    """A wait for what only steps make, when no step runs; the step did not say how long it would wait."""
    return wait.type in state.plan.produced and not wait.bounded and not wait.asked


def _explain_wait(state: RunState, wait: Wait) -> str:
    step = state.running[wait.invocation].step
    makers = " or ".join(f"'{name}'" for name in state.plan.produced[wait.type])
    return f"step '{step}' waits for {_name(wait.type)}, which only step {makers} makes, and nothing runs any more"


def _explain_buffer(step: str, name: str, buffer: Buffer) -> str:
    has = {kind: len(events) for kind, events in buffer.events.items()}
    missing = {kind: count - has.get(kind, 0) for kind, count in buffer.expected if count > has.get(kind, 0)}
    label = "" if name == "default" else f" (buffer '{name}')"
    text = f"step '{step}' has collected {_count(has)}{label}"
    return f"{text} and waits for {_count(missing)}, which nobody sends" if missing else text


def _explain_unhandled(state: RunState) -> list[str]:
    kinds = dict.fromkeys(event.type for event in state.unhandled)
    return [f"no step accepts {_name(kind)} and nothing waits for it (an exact type match is needed)" for kind in kinds]


def _count(kinds: dict[str, int]) -> str:
    return ", ".join(f"{count} x {_name(kind)}" for kind, count in kinds.items())


def _name(kind: str) -> str:
    return kind.rpartition(":")[2]
