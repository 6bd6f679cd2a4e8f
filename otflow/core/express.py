"""The most frequent inputs, each in one piece: a run begins, an attempt ends or sends an event, something is written.

What happens here is what `decide` and `evolve` would do: the same records, the same state. A property test holds it to
that. It is written out because these inputs are nearly all that a run ever gets, and every function call in their way
is paid by every step. What is out of the ordinary is left to `advance`.
"""

from __future__ import annotations

from otflow.core.inputs import Start
from otflow.core.plan import NOWHERE
from otflow.core.state import Ended, Invocation, Lane, RunState
from otflow.records.body import Body
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventSent,
    Record,
    RunCompleted,
    RunStarted,
    StepCompleted,
    StepStarted,
    StreamWritten,
)

__all__ = ["begin", "pass_on", "put_aside", "send", "stop", "write_state", "write_stream"]


def pass_on(state: RunState, at: int, started: StepStarted, kind: str, body: Body | None) -> list[Record] | None:
    """Take the end of an attempt that returned nothing, or one event for one step.

    Args:
        state: the state of the run, which is moved.
        at: the time, in nanoseconds since the epoch.
        started: the record that began the attempt.
        kind: the type key of the event.
        body: the event; None when the attempt returned nothing.

    Returns:
        `StepCompleted`, `EventSent` if there is an event, and a `StepStarted` for each invocation that begins now.
        None when the case is not this simple; then nothing has changed.
    """
    if state.startable or state.paused or state.stepwise or state.ended is not None:
        return None
    running, id = state.running, started.invocation
    invocation = running.get(id)
    if invocation is None or invocation.waits or invocation.attempt != started.attempt:
        return None
    name = state.plan.routes.get(kind, NOWHERE).sole if body is not None else ""
    if body is not None and (not name or (state.waits and kind in state.waits_by_type)):
        return None
    old = state.lanes[started.step]
    lane = state.lanes[name] if name else old
    free = name and not lane.queue and (lane is old or lane.running < lane.plan.num_workers)
    if not free and not old.queue and len(running) - 1 <= state.waiting:
        return None  # nothing executes any more
    seq, run = state.seq + 1, state.run
    del running[id]
    old.running -= 1
    records: list[Record] = [StepCompleted(seq, run, at, id, started.attempt)]
    if old.queue:
        seq += 2 if name else 1
    following = _start(state, at, seq, old, old.queue.popleft()) if old.queue else None
    if body is not None:
        sent = EventSent(records[0].seq + 1, run, at, id, kind, body, "", True, False, invocation.recoveries)
        records.append(sent)
        state.latest = sent
        seq = max(seq, sent.seq)
        if following is not None:
            records.append(following)
        new = Invocation(name, sent, 0, 1, 0, 0, invocation.recoveries)
        if lane.running < lane.plan.num_workers and not lane.queue:
            seq += 1
            records.append(_start(state, at, seq, lane, new))
        else:
            lane.queue.append(new)
    elif following is not None:
        records.append(following)
    state.seq = seq
    return records


def send(state: RunState, at: int, id: int, kind: str, body: Body) -> list[Record] | None:
    """Take an event that a running attempt sends, for one step.

    Args:
        state: the state of the run, which is moved.
        at: the time, in nanoseconds since the epoch.
        id: the invocation that sends.
        kind: the type key of the event.
        body: the event.

    Returns:
        `EventSent`, and `StepStarted` if a worker is free. None when the case is not this simple.
    """
    if state.startable or state.paused or state.stepwise or state.ended is not None:
        return None
    name = state.plan.routes.get(kind, NOWHERE).sole
    invocation = state.running.get(id)
    if not name or invocation is None or (state.waits and kind in state.waits_by_type):
        return None
    seq, lane = state.seq + 1, state.lanes[name]
    sent = EventSent(seq, state.run, at, id, kind, body, "", False, False, invocation.recoveries)
    state.latest = sent
    state.seq = seq
    new = Invocation(name, sent, 0, 1, 0, 0, invocation.recoveries)
    if lane.queue or lane.running >= lane.plan.num_workers:
        lane.queue.append(new)
        return [sent]
    state.seq = seq + 1
    return [sent, _start(state, at, seq + 1, lane, new)]


def stop(state: RunState, at: int, started: StepStarted, kind: str, body: Body) -> list[Record] | None:
    """Take the stop event that an attempt returned.

    Returns:
        `StepCompleted`, `EventSent`, `RunCompleted`. None when the case is not this simple.
    """
    invocation = state.running.get(started.invocation)
    if state.stepwise or state.paused or state.ended is not None or invocation is None or invocation.waits:
        return None
    if kind in state.waits_by_type or invocation.attempt != started.attempt:
        return None
    seq, run, id = state.seq, state.run, started.invocation
    sent = EventSent(seq + 2, run, at, id, kind, body, "", True, False, invocation.recoveries)
    del state.running[id]
    lane = state.lanes[started.step]
    lane.running -= 1
    if len(lane.queue) > lane.promised:
        lane.promised += 1
        state.startable.append(started.step)
    state.latest = sent
    state.ended = Ended("completed", seq + 3)
    state.seq = seq + 3
    return [StepCompleted(seq + 1, run, at, id, started.attempt), sent, RunCompleted(seq + 3, run, at, seq + 2)]


def begin(state: RunState, input: Start) -> list[Record] | None:
    """Take the start of a run whose start event goes to one step.

    Returns:
        `RunStarted`, `EventReceived`, `StepStarted`. None when the case is not this simple.
    """
    name = state.plan.routes.get(input.type, NOWHERE).sole
    if not name or input.stepwise or input.carried is not None:
        return None
    run, at, plan = state.run, input.at, state.plan
    parent = input.parent, input.parent_run, input.parent_invocation
    about = state.about = input.about
    started = RunStarted(1, run, at, plan.workflow, plan.digest, input.timeout, False, *parent, about=about)
    received = EventReceived(2, run, at, input.type, input.body)
    state.timeout = input.timeout
    state.latest = received
    state.seq = 3
    return [started, received, _start(state, at, 3, state.lanes[name], Invocation(name, received))]


def put_aside(state: RunState, at: int, id: int, buffer: str) -> Record | None:
    """Take the event of a running attempt for a collection that has begun and cannot be complete with it.

    Args:
        state: the state of the run, which is moved.
        at: the time, in nanoseconds since the epoch.
        id: the invocation that collects.
        buffer: the name of the buffer.

    Returns:
        `EventBuffered`. None when the case is not this simple.
    """
    invocation = state.running[id]
    event = invocation.event
    kept = state.lanes[invocation.step].buffers[buffer]
    events = kept.events.get(event.type)
    if events is None or state.paused or invocation.buffered is not None or invocation.collected is not None:
        return None
    seq = state.seq = state.seq + 1
    events.append(event)
    kept.total += 1
    invocation.buffered = {buffer}
    return EventBuffered(seq, state.run, at, id, buffer, event.seq)


def _start(state: RunState, at: int, seq: int, lane: Lane, invocation: Invocation) -> StepStarted:
    if not invocation.id:
        invocation.id = seq
        invocation.first_at = at
    lane.running += 1
    state.running[invocation.id] = invocation
    return StepStarted(seq, state.run, at, invocation.id, invocation.attempt, invocation.step, invocation.event.seq)


def write_state(state: RunState, at: int, invocation: int, path: str, value: Body) -> Record:
    """Take a value that was written to the state. The run must not have ended."""
    seq = state.seq = state.seq + 1
    state.writes += 1
    return ContextWritten(seq, state.run, at, invocation, path, value)


def write_stream(state: RunState, at: int, invocation: int, kind: str, body: Body) -> Record:
    """Take an event that was written to the stream. The run must not have ended."""
    seq = state.seq = state.seq + 1
    return StreamWritten(seq, state.run, at, invocation, kind, body)
