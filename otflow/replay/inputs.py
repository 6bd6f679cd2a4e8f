"""The inputs that records imply: what must have happened, so that the core wrote them.

Each record that is the first of its batch names its input; what the input carried is read from it and from the records
that follow. What no record can tell (how many events a step asked for, say) is left as the records leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, assert_never

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
from otflow.core.state import RunState
from otflow.records.body import Body
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

__all__ = ["imply"]

_Of: TypeAlias = EventReceived | EventReleased | EventSent
_Gathered: TypeAlias = EventBuffered | EventsCollected


def imply(state: RunState, records: Sequence[Record], place: int = 0) -> list[Input]:
    """Say which inputs could have led to records.

    Args:
        state: the state before them.
        records: records of the run, in order.
        place: the place in them of the first record of a batch; default 0.

    Returns:
        The inputs, the likeliest first; none if no input leads to such a record, because only the state itself does.
    """
    record, coming = records[place], records[place + 1 : place + 2]
    match record:
        case EventReceived() | EventReleased() | EventSent():
            return _of_event(state, record)
        case StepCompleted():
            return [_returned(state, record, (records[n] for n in range(place + 1, len(records))))]
        case StepFailed():
            return [_raised(record, coming)]
        case EventBuffered() | EventsCollected():
            return _gathered(state, record, coming)
        case WaitStarted():
            return [_wait(record, coming)]
        case WaitEnded():
            return [WaitExpired(record.at, record.wait)] if not record.event else []
        case RetryQueued():
            return [DelayOver(record.at, record.invocation)]
        case StepStarted():
            return [Release(record.at)] if state.stepwise else []
        case ContextWritten(at=at, invocation=id):
            return [Write(at, id, record.path, record.value, record.deleted)]
        case StreamWritten(at=at, invocation=id):
            return [WriteStream(at, id, record.type, record.body)]
        case CheckpointTaken(at=at, invocation=id):
            return [Checkpoint(at, id, record.name)]
        case RunStarted():
            return _start(record, coming)
        case RunResumed():
            return [Restore(record.at, record.snapshot)] if record.snapshot is not None else []
        case RunTimedOut():
            return [TimeOut(record.at, record.timeout)]
        case RunCancelled():
            return [Cancel(record.at, record.reason)]
        case RunFailed():
            return [Fail(record.at, record.error)] if not record.step else []
        case RunPaused() | RunCompleted() | RetryScheduled():
            return []
        case _:
            assert_never(record)


def _start(record: RunStarted, coming: Sequence[Record]) -> list[Input]:
    first = coming[0] if coming else None
    if not isinstance(first, EventReceived):
        return []
    return [
        Start(
            record.at,
            first.type,
            first.body,
            record.timeout,
            record.stepwise,
            record.parent,
            record.parent_run,
            record.parent_invocation,
            record.carried,
            record.about,
        )
    ]


def _of_event(state: RunState, record: _Of) -> list[Input]:
    match record:
        case EventReceived(at=at, type=kind, body=body):
            return [Receive(at, kind, body, record.target, 0, record.sender)]
        case EventReleased(at=at, event=id):
            held = state.held.get(id)
            return [Receive(at, held.type, held.body, "", id)] if held is not None else []
        case EventSent(at=at, invocation=id, type=kind, body=body):
            return [Send(at, id, kind, body, record.target)] if not record.returned else []
        case _:
            assert_never(record)


def _returned(state: RunState, record: StepCompleted, coming: Iterable[Record]) -> Input:
    events: list[EventSent] = []
    for each in coming:
        match each:
            case EventSent(returned=True) if each.invocation == record.invocation:
                events.append(each)
            case StreamWritten() | WaitEnded():
                continue
            case _:
                break
    input = StepReturned(record.at, record.invocation, record.attempt)
    if events:
        input.type, input.body = events[0].type, events[0].body
        input.more = tuple((event.type, event.body) for event in events[1:])
        input.hold = events[0].held and not state.stepwise
    return input


def _raised(record: StepFailed, coming: Sequence[Record]) -> Input:
    input = StepRaised(record.at, record.invocation, record.attempt, record.error)
    match coming[0] if coming else None:
        case RetryScheduled(delay=delay):
            input.delay = delay
        case EventSent(invocation=id, returned=False, type=kind, body=body) if id == record.invocation:
            input.recovery_type, input.recovery = kind, body
        case _:
            pass
    return input


def _gathered(state: RunState, record: _Gathered, coming: Sequence[Record]) -> list[Input]:
    """A collection that was completed, by an event that was put aside first, or not; else an event put aside."""
    at, id, buffer = record.at, record.invocation, record.buffer
    inputs: list[Input] = []
    put = record if isinstance(record, EventBuffered) else None
    last = (coming[0] if coming else None) if put is not None else record
    if isinstance(last, EventsCollected) and (last.invocation, last.buffer, last.at) == (id, buffer, at):
        input = Collect(at, id, buffer, len(last.events))
        input.expected = tuple(_name(state, id, buffer, event, put) for event in last.events)
        if put is not None:
            input.type, input.body = put.type, put.body
        inputs.append(input)
    if put is not None:
        expected = tuple(kind for kind, count in put.expected for _ in range(count)) or None
        inputs.append(Collect(at, id, buffer, 0, expected, put.type, put.body))
    return inputs


def _name(state: RunState, id: int, buffer: str, event: int, put: EventBuffered | None) -> str:
    """Find the type of an event that a step collected."""
    invocation = state.running.get(id)
    if put is not None and event == put.seq and put.body is not None:
        return put.type
    if invocation is None:
        return ""
    if invocation.event.seq == event:
        return invocation.event.type
    kept = state.lanes[invocation.step].buffers.get(buffer)
    for kind, events in kept.events.items() if kept is not None else ():
        if any(each.seq == event for each in events):
            return kind
    return ""


def _wait(record: WaitStarted, coming: Sequence[Record]) -> Input:
    input = Wait(record.at, record.invocation, record.waiter, record.type, record.occurrence, record.requirements)
    input.due, input.bounded = record.due, record.bounded
    if record.asked:
        input.question = Body()
        match coming[0] if coming else None:
            case StreamWritten(invocation=id, type=kind, body=body) if id == record.invocation:
                input.question_type, input.question = kind, body
            case _:
                pass
    return input
