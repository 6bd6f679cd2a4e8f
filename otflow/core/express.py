"""The three most frequent inputs, each in one piece: an attempt returns one event, the state is written, the stream is.

What happens here is what `decide` and `evolve` would do: the same records, the same state. A property test holds it to
that. It is written out because these inputs are nearly all that a run ever gets, and every function call in their way
is paid by every step. What is out of the ordinary is left to `advance`.
"""

from __future__ import annotations

from otflow.core.plan import NOWHERE
from otflow.core.state import Invocation, RunState
from otflow.records.body import Body
from otflow.records.record import ContextWritten, EventSent, Record, StepCompleted, StepStarted, StreamWritten

__all__ = ["pass_on", "write_state", "write_stream"]


def pass_on(state: RunState, at: int, started: StepStarted, kind: str, body: Body) -> list[Record] | None:
    """Take an event that an attempt returned, for one step that is free to take it.

    Args:
        state: the state of the run, which is moved.
        at: the time, in nanoseconds since the epoch.
        started: the record that began the attempt.
        kind: the type key of the event.
        body: the event.

    Returns:
        Three records: `StepCompleted`, `EventSent`, `StepStarted`. None when the case is not this simple; then
        nothing has changed.
    """
    route = state.plan.routes.get(kind, NOWHERE)
    if len(route.steps) != 1 or route.stop or route.question or state.startable or kind in state.waits_by_type:
        return None
    if state.paused or state.stepwise or state.ended is not None:
        return None
    name = route.steps[0]
    lane, running = state.lanes[name], state.running
    invocation = running.get(started.invocation)
    if invocation is None or invocation.waits or invocation.attempt != started.attempt:
        return None
    old = state.lanes[started.step]
    if old.queue or lane.queue or (lane.running >= lane.plan.num_workers and lane is not old):
        return None
    seq, run, id = state.seq, state.run, invocation.id
    sent = EventSent(seq + 2, run, at, id, kind, body, "", True, False, invocation.recoveries)
    following = StepStarted(seq + 3, run, at, seq + 3, 1, name, seq + 2)
    del running[id]
    running[seq + 3] = Invocation(name, sent, seq + 3, 1, at, 0, None, None, None, 0, invocation.recoveries)
    old.running -= 1
    lane.running += 1
    state.latest = sent
    state.seq = seq + 3
    return [StepCompleted(seq + 1, run, at, id, started.attempt), sent, following]


def write_state(state: RunState, at: int, invocation: int, path: str, value: Body) -> Record:
    """Take a value that was written to the state. The run must not have ended."""
    seq = state.seq = state.seq + 1
    state.writes += 1
    return ContextWritten(seq, state.run, at, invocation, path, value)


def write_stream(state: RunState, at: int, invocation: int, kind: str, body: Body) -> Record:
    """Take an event that was written to the stream. The run must not have ended."""
    seq = state.seq = state.seq + 1
    return StreamWritten(seq, state.run, at, invocation, kind, body)
