"""Waits: a step stands still until an event comes, or its time is over.

An event ends every open wait that it satisfies, and still goes to the steps that accept it. An event that nobody took
is kept if its type was waited for before, so that an answer that comes between two waits is not lost.
"""

from __future__ import annotations

from otflow.core.inputs import Wait, WaitExpired
from otflow.core.state import Delivered, Invocation, RunState
from otflow.records.body import Body
from otflow.records.record import Record, StreamWritten, WaitEnded, WaitStarted

__all__ = ["answer", "expire", "own_waits", "wait"]


def answer(state: RunState, event: Delivered, id: int, records: list[Record], over: set[int] | None = None) -> None:
    """Add the end of each open wait that the event satisfies.

    Args:
        state: the state, which the records of this batch have not moved yet.
        event: the event.
        id: its id.
        records: the batch so far.
        over: the waits that records of this batch have ended already; those that end now are added.
    """
    seq, at = records[-1].seq, records[-1].at
    for waiting in state.waits_by_type[event.type].values():
        if over is not None and waiting.id in over:
            continue
        if _fits(event.body, waiting.requirements):
            if over is not None:
                over.add(waiting.id)
            seq += 1
            records.append(WaitEnded(seq, state.run, at, waiting.invocation, waiting.id, id))


def own_waits(state: RunState, invocation: Invocation) -> set[int]:
    """Name the open waits of an invocation; they are over when it returns."""
    return {w.id for w in state.waits.values() if w.invocation == invocation.id} if invocation.waits else set()


def wait(state: RunState, input: Wait, after: int) -> list[Record]:
    """Decide what follows when a step begins to wait: nothing, if an earlier attempt already got the answer."""
    invocation = state.running.get(input.invocation)
    key = (input.waiter, input.occurrence)
    if invocation is None or (invocation.answers is not None and key in invocation.answers):
        return []
    seq, run, at = after + 1, state.run, input.at
    records: list[Record] = [
        WaitStarted(
            seq,
            run,
            at,
            invocation.id,
            input.waiter,
            input.type,
            input.requirements,
            input.due,
            input.bounded,
            input.occurrence,
            input.question is not None,
        )
    ]
    for event in state.mail.get(input.type, ()):
        if _fits(event.body, input.requirements):
            records.append(WaitEnded(seq + 1, run, at, invocation.id, seq, event.seq))
            return records
    if input.question is not None and not _asked(state, input):
        kind, body = input.question_type, input.question
        records.append(StreamWritten(seq + 1, run, at, invocation.id, kind, body))
    return records


def expire(state: RunState, input: WaitExpired, after: int) -> list[Record]:
    """Decide what follows when the time of a wait is over."""
    waiting = state.waits.get(input.wait)
    if waiting is None:
        return []
    return [WaitEnded(after + 1, state.run, input.at, waiting.invocation, waiting.id)]


def _fits(body: Body, requirements: Body | None) -> bool:
    return requirements is None or body.satisfies(requirements)


def _asked(state: RunState, input: Wait) -> bool:
    """Tell whether the question of this wait already stands in the stream."""
    if (input.invocation, input.waiter, input.occurrence) in state.reopened:
        return True
    return any(other.waiter == input.waiter for other in state.waits_by_type.get(input.type, {}).values())
