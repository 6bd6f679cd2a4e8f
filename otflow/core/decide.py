"""What follows from an input: the records, in order. The whole behaviour of a run is in this room.

Two kinds of transition. An input leads to records (`decide`). Then the state itself may lead to more: a free worker
takes the next queued invocation, a run in which nothing executes pauses or has stalled (`settle`), repeated until
quiet. `advance` does both and moves the state by each record as it goes; its records are one batch, to be committed
together before anything is done about them.

A word from an attempt that no longer counts (its run ended, a newer attempt took over) leads to no record.
"""

from __future__ import annotations

from typing import assert_never

from otflow.core.collecting import collect
from otflow.core.evolve import evolve
from otflow.core.inputs import (
    Cancel,
    Checkpoint,
    Collect,
    DelayOver,
    Fail,
    Input,
    Receive,
    Release,
    Restore,
    Send,
    Start,
    StepRaised,
    StepReturned,
    TimeOut,
    Wait,
    WaitExpired,
    Write,
    WriteStream,
)
from otflow.core.plan import NOWHERE
from otflow.core.snapshot import check_saved, held_events, read_saved
from otflow.core.stall import find_stall
from otflow.core.state import Delivered, Invocation, RunState
from otflow.core.waiting import answer, expire, own_waits, wait
from otflow.records.body import Body
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventReceived,
    EventReleased,
    EventSent,
    Failure,
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
)

__all__ = ["advance", "decide", "settle"]

_NS = 1_000_000_000


def advance(state: RunState, input: Input) -> list[Record]:
    """Take one input: return its batch of records, with the state moved by them."""
    if state.paused and not isinstance(input, _ASIDE):
        records = decide(state, input, state.seq + 1)
        if records:
            records.insert(0, RunResumed(state.seq + 1, state.run, input.at))
    else:
        records = decide(state, input, state.seq)
    for record in records:
        evolve(state, record)
    if records:
        while (more := settle(state, input.at)) is not None:
            evolve(state, more)
            records.append(more)
    return records


_ASIDE = (Write, WriteStream, Checkpoint, TimeOut, Cancel, Fail)
"""Inputs that a paused run takes without going on."""


def decide(state: RunState, input: Input, after: int) -> list[Record]:
    """Give the records that an input leads to, before any that the state adds by itself.

    Args:
        state: the state, which is not changed.
        input: what happened.
        after: the number after which the records are numbered.
    """
    if state.ended is not None:
        return []
    match input:
        case StepReturned():
            return _returned(state, input, after)
        case Write(at, invocation, path, value, deleted):
            return [ContextWritten(after + 1, state.run, at, invocation, path, value, deleted)]
        case WriteStream():
            return [StreamWritten(after + 1, state.run, input.at, input.invocation, input.type, input.body)]
        case Send() | Receive():
            return _emitted(state, input, after)
        case Collect():
            return collect(state, input, after)
        case StepRaised():
            return _raised(state, input, after)
        case Wait():
            return wait(state, input, after)
        case WaitExpired():
            return expire(state, input, after)
        case DelayOver():
            return _delay_over(state, input, after)
        case Release():
            return [_next_start(state, input.at, after)] if state.startable else []
        case Start() | Restore():
            return _begin(state, input) if not state.seq else []
        case Checkpoint():
            return [CheckpointTaken(after + 1, state.run, input.at, input.invocation, input.name)]
        case TimeOut() | Cancel() | Fail():
            return [_end(state, input, after)]
        case _:
            assert_never(input)


def settle(state: RunState, at: int) -> Record | None:
    """Give the next record that the state itself leads to, if any."""
    if state.ended is not None:
        return None
    if state.startable and not state.stepwise:
        return _next_start(state, at, state.seq)
    if len(state.running) > state.waiting or state.paused:
        return None
    if state.held and not state.stepwise:
        return None
    if state.stepwise and (state.startable or state.held):
        return RunPaused(state.seq + 1, state.run, at, "stepwise")
    if state.delayed:
        return RunPaused(state.seq + 1, state.run, at, "delayed")
    if (reason := find_stall(state)) is not None:
        return RunFailed(state.seq + 1, state.run, at, Failure("otflow.errors.WorkflowStalledError", reason))
    return RunPaused(state.seq + 1, state.run, at, "waiting")


def _next_start(state: RunState, at: int, after: int) -> StepStarted:
    name = state.startable[0]
    first = state.lanes[name].queue[0]
    seq = after + 1
    return StepStarted(seq, state.run, at, first.id or seq, first.attempt, name, first.event.seq)


def _current(state: RunState, invocation: int, attempt: int = 0) -> Invocation | None:
    found = state.running.get(invocation)
    return found if found is not None and attempt in (0, found.attempt) else None


def _returned(state: RunState, input: StepReturned, after: int) -> list[Record]:
    invocation = _current(state, input.invocation, input.attempt)
    if invocation is None:
        return []
    seq, run, at = after, state.run, input.at
    records: list[Record] = [StepCompleted(seq + 1, run, at, invocation.id, invocation.attempt)]
    if input.body is None:
        return records
    hold = input.hold or state.stepwise
    over = own_waits(state, invocation) if invocation.waits or input.more else None
    _emit_returned(state, invocation, input.type, input.body, hold, over, records)
    for kind, body in input.more:
        if isinstance(records[-1], RunCompleted):
            break  # what was returned behind a stop event comes too late
        _emit_returned(state, invocation, kind, body, hold, over, records)
    return records


def _emit_returned(
    state: RunState,
    invocation: Invocation,
    kind: str,
    body: Body,
    hold: bool,
    over: set[int] | None,
    records: list[Record],
) -> None:
    last = records[-1]
    seq, run, at, id = last.seq + 1, last.run, last.at, invocation.id
    event = EventSent(seq, run, at, id, kind, body, "", True, hold, invocation.recoveries)
    records.append(event)
    if state.plan.routes.get(kind, NOWHERE).question:
        records.append(StreamWritten(seq + 1, run, at, id, kind, body))
    if not hold:
        _follow(state, event, seq, records, over)


def _emitted(state: RunState, input: Send | Receive, after: int) -> list[Record]:
    seq, run, at = after + 1, state.run, input.at
    match input:
        case Send():
            invocation = _current(state, input.invocation)
            if invocation is None:
                return []
            event: Delivered = EventSent(
                seq,
                run,
                at,
                invocation.id,
                input.type,
                input.body,
                input.target,
                False,
                state.stepwise,
                invocation.recoveries,
            )
            records: list[Record] = [event]
            if state.stepwise:
                return records
        case Receive():
            held = state.held.get(input.held)
            if held is None:
                event = EventReceived(seq, run, at, input.type, input.body, input.target, input.sender)
                records = [event]
            else:
                event = held
                records = [EventReleased(seq, run, at, held.seq)]
        case _:
            assert_never(input)
    _follow(state, event, event.seq, records)
    return records


def _follow(state: RunState, event: Delivered, id: int, records: list[Record], over: set[int] | None = None) -> None:
    """Add what an event leads to at once: waits that end (but for those `over`), or the run that does."""
    route = state.plan.routes.get(event.type, NOWHERE)
    if event.type in state.waits_by_type:
        answer(state, event, id, records, over)
    if route.stop:
        last = records[-1]
        records.append(RunCompleted(last.seq + 1, state.run, last.at, id))


def _raised(state: RunState, input: StepRaised, after: int) -> list[Record]:
    invocation = _current(state, input.invocation, input.attempt)
    if invocation is None:
        return []
    seq, run, at = after, state.run, input.at
    id, attempt = invocation.id, invocation.attempt
    records: list[Record] = [StepFailed(seq + 1, run, at, id, attempt, input.error)]
    plan = state.plan.steps[invocation.step]
    if input.delay is not None:
        due = at + int(input.delay * _NS)
        records.append(RetryScheduled(seq + 2, run, at, id, attempt + 1, input.delay, due))
    elif input.recovery is not None and invocation.recoveries.count(plan.catcher) < plan.max_recoveries:
        recoveries = (*invocation.recoveries, plan.catcher)
        kind, body = input.recovery_type, input.recovery
        records.append(EventSent(seq + 2, run, at, id, kind, body, plan.catcher, False, False, recoveries))
    else:
        records.append(RunFailed(seq + 2, run, at, input.error, invocation.step, id, attempt))
    return records


def _delay_over(state: RunState, input: DelayOver, after: int) -> list[Record]:
    invocation = state.delayed.get(input.invocation)
    if invocation is None:
        return []
    return [RetryQueued(after + 1, state.run, input.at, invocation.id, invocation.attempt)]


def _begin(state: RunState, input: Start | Restore) -> list[Record]:
    match input:
        case Start():
            started = RunStarted(
                1,
                state.run,
                input.at,
                state.plan.workflow,
                state.plan.digest,
                input.timeout,
                input.stepwise,
                input.parent,
                input.parent_run,
                input.parent_invocation,
                input.carried,
                about=input.about,
            )
            return [started, EventReceived(2, state.run, input.at, input.type, input.body)]
        case Restore():
            return _resume(state, input)
        case _:
            assert_never(input)


def _resume(state: RunState, input: Restore) -> list[Record]:
    """Take saved data up again, and send on what was held: whoever would have sent it is gone."""
    saved = read_saved(input.snapshot)
    check_saved(saved, state.plan)
    records: list[Record] = [RunResumed(saved.seq + 1, state.run, input.at, input.snapshot)]
    for event in held_events(saved):
        records.append(EventReleased(records[-1].seq + 1, state.run, input.at, event.seq))
        _follow(state, event, event.seq, records)
        if isinstance(records[-1], RunCompleted):
            break
    return records


def _end(state: RunState, input: TimeOut | Cancel | Fail, after: int) -> Record:
    seq, run, at = after + 1, state.run, input.at
    match input:
        case TimeOut():
            active = tuple(dict.fromkeys(i.step for i in state.running.values()))
            return RunTimedOut(seq, run, at, input.timeout, active)
        case Cancel():
            return RunCancelled(seq, run, at, input.reason)
        case Fail():
            return RunFailed(seq, run, at, input.error)
        case _:
            assert_never(input)
