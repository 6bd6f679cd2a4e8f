"""How a record moves the state of its run. Nothing else does, but `express`, which is held to the same result.

Deterministic and in place, O(1) for each record. It trusts its records: `decide` made them for this very state, or
a reader brought back what `decide` once made.
"""

from __future__ import annotations

from collections import deque
from typing import assert_never

from otflow.core.plan import NOWHERE
from otflow.core.snapshot import carry_in, restore
from otflow.core.state import Buffer, Collectable, Delivered, Ended, Invocation, Lane, RunState, Wait
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

__all__ = ["evolve"]


def evolve(state: RunState, record: Record) -> None:
    """Move the state by one record."""
    match record:
        case StepStarted():
            _start(state, record)
        case StepCompleted():
            _leave(state, state.running.pop(record.invocation))
        case EventSent():
            if record.held:
                state.held[record.seq] = record
            else:
                _deliver(state, record, record.recoveries)
        case ContextWritten():
            state.writes += 1
        case StreamWritten() | CheckpointTaken():
            pass
        case EventReceived():
            if state.questions:
                state.questions -= 1
            _deliver(state, record, ())
        case EventBuffered():
            _buffer(state, record)
        case EventsCollected():
            _collect(state, record)
        case EventReleased():
            _deliver(state, held := state.held.pop(record.event), held.recoveries)
        case StepFailed():
            state.failed = state.running.pop(record.invocation)
            _leave(state, state.failed)
        case RetryScheduled() | RetryQueued():
            _retry(state, record)
        case WaitStarted() | WaitEnded():
            _wait(state, record)
        case RunStarted() | RunPaused() | RunResumed():
            _move_run(state, record)
        case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
            state.ended = Ended(_ENDINGS[type(record)], record.seq)
            state.paused = ""
        case _:
            assert_never(record)
    state.seq = record.seq


_ENDINGS: dict[type, str] = {
    RunCompleted: "completed",
    RunFailed: "failed",
    RunCancelled: "cancelled",
    RunTimedOut: "timed out",
}


def _move_run(state: RunState, record: RunStarted | RunPaused | RunResumed) -> None:
    match record:
        case RunPaused():
            state.paused = record.reason
        case RunResumed():
            state.paused = ""
            if record.snapshot is not None:
                restore(state, record.snapshot)
                for lane in state.lanes.values():
                    for _ in lane.queue:
                        _promise(state, lane)
        case RunStarted():
            state.timeout = record.timeout
            state.stepwise = record.stepwise
            state.about = record.about
            if record.carried is not None:
                carry_in(state, record.carried)
        case _:
            assert_never(record)


def _promise(state: RunState, lane: Lane, *, first: bool = False) -> None:
    """Let one more queued invocation start, if a worker is free for it."""
    if lane.running + lane.promised < lane.plan.num_workers:
        lane.promised += 1
        if first:
            state.startable.appendleft(lane.plan.name)
        else:
            state.startable.append(lane.plan.name)


def _deliver(state: RunState, event: Delivered, recoveries: tuple[str, ...]) -> None:
    """Queue one invocation for each step that takes the event, or remember that nobody did."""
    route = state.plan.routes.get(event.type, NOWHERE)
    state.latest = event
    targets = (event.target,) if event.target else route.steps
    for name in targets:
        lane = state.lanes[name]
        lane.queue.append(Invocation(name, event, recoveries=recoveries))
        _promise(state, lane)
    if route.question:
        state.questions += 1
    elif not targets and not route.stop:
        if (mail := state.mail.get(event.type)) is not None:
            mail.append(event)
        state.unhandled.append(event)


def _start(state: RunState, record: StepStarted) -> None:
    state.startable.popleft()
    lane = state.lanes[record.step]
    invocation = lane.queue.popleft()
    lane.promised -= 1
    lane.running += 1
    if not invocation.id:
        invocation.id = record.invocation
        invocation.first_at = record.at
    state.running[invocation.id] = invocation


def _leave(state: RunState, invocation: Invocation) -> None:
    """Free the worker of an invocation, and forget what it waited for."""
    lane = state.lanes[invocation.step]
    lane.running -= 1
    if len(lane.queue) > lane.promised:
        _promise(state, lane)
    if invocation.waits:
        state.waiting -= 1
        invocation.waits = 0
        for wait in [w for w in state.waits.values() if w.invocation == invocation.id]:
            _forget(state, wait)


def _retry(state: RunState, record: RetryScheduled | RetryQueued) -> None:
    match record:
        case RetryScheduled():
            invocation = state.failed
            if invocation is None:
                raise AssertionError("a retry follows a failure")
            state.failed = None
            invocation.attempt = record.attempt
            invocation.due = record.due
            invocation.sent = None
            # an answer stays an answer, but a wait that ran out deserves another try
            if invocation.answers is not None:
                invocation.answers = {key: event for key, event in invocation.answers.items() if event is not None}
            state.delayed[invocation.id] = invocation
        case RetryQueued():
            invocation = state.delayed.pop(record.invocation)
            invocation.due = 0
            lane = state.lanes[invocation.step]
            # it began before all that is queued
            lane.queue.appendleft(invocation)
            _promise(state, lane, first=True)
        case _:
            assert_never(record)


def _buffer(state: RunState, record: EventBuffered) -> None:
    invocation = state.running[record.invocation]
    buffer = state.lanes[invocation.step].buffers.setdefault(record.buffer, Buffer())
    own = record.event == invocation.event.seq
    event: Collectable = invocation.event if own else record
    buffer.total += 1
    buffer.events.setdefault(event.type, deque()).append(event)
    if record.expected:
        buffer.expected = record.expected
    if not own and invocation.collected is not None:
        # the step collects anew; that its own event was taken before has to be remembered
        own = any(taken is invocation.event for taken in invocation.collected.pop(record.buffer, ()))
    if own:
        if invocation.buffered is None:
            invocation.buffered = set()
        invocation.buffered.add(record.buffer)


def _collect(state: RunState, record: EventsCollected) -> None:
    invocation = state.running[record.invocation]
    buffers = state.lanes[invocation.step].buffers
    taken: dict[int, Collectable] = {invocation.event.seq: invocation.event}
    wanted = set(record.events)
    if (buffer := buffers.get(record.buffer)) is not None:
        for kind, events in list(buffer.events.items()):
            while events and events[0].seq in wanted:
                event = events.popleft()
                taken[event.seq] = event
                buffer.total -= 1
            if not events:
                del buffer.events[kind]
        if not buffer.total:
            del buffers[record.buffer]
    if invocation.collected is None:
        invocation.collected = {}
    invocation.collected[record.buffer] = tuple(taken[seq] for seq in record.events)


def _wait(state: RunState, record: WaitStarted | WaitEnded) -> None:
    invocation = state.running[record.invocation]
    match record:
        case WaitStarted():
            wait = Wait(
                record.seq,
                record.invocation,
                record.waiter,
                record.occurrence,
                record.type,
                record.requirements,
                record.due,
                record.bounded,
                record.asked,
            )
            state.waits[wait.id] = wait
            state.waits_by_type.setdefault(wait.type, {})[wait.id] = wait
            state.mail.setdefault(wait.type, deque())
            state.reopened.discard((wait.invocation, wait.waiter, wait.occurrence))
            invocation.waits += 1
            state.waiting += invocation.waits == 1
        case WaitEnded():
            wait = state.waits[record.wait]
            _forget(state, wait)
            invocation.waits -= 1
            state.waiting -= not invocation.waits
            if invocation.answers is None:
                invocation.answers = {}
            invocation.answers[wait.waiter, wait.occurrence] = _take(state, wait, record.event)
        case _:
            assert_never(record)


def _forget(state: RunState, wait: Wait) -> None:
    del state.waits[wait.id]
    same = state.waits_by_type[wait.type]
    del same[wait.id]
    if not same:
        del state.waits_by_type[wait.type]


def _take(state: RunState, wait: Wait, event: int) -> Delivered | None:
    """Find the event that ended a wait: the one just delivered, or one of the mail. It has been handled now."""
    if not event:
        return None
    _drop(state.unhandled, event)
    kept = _drop(state.mail[wait.type], event)
    return kept if kept is not None else state.latest


def _drop(events: deque[Delivered], seq: int) -> Delivered | None:
    """Take the event with this id out, by id: comparing bodies would serialise them."""
    for place, event in enumerate(events):
        if event.seq == seq:
            del events[place]
            return event
    return None
