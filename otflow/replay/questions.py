"""Questions: what a run asked the outside, and nobody has answered yet.

Whoever was to answer may be gone, so a run that is taken up, or forked, asks again. This room knows records and the
state that they lead to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otflow.core.snapshot import read_saved
from otflow.core.state import Question, RunState
from otflow.records.body import Body
from otflow.records.losses import is_cut
from otflow.records.record import EventReleased, EventSent, Record, RunResumed, StreamWritten, WaitStarted

__all__ = ["find_lost", "find_questions"]


def find_questions(state: RunState, records: Iterable[Record]) -> list[Question]:
    """Find the questions in the stream that nobody has answered.

    Args:
        state: what the records lead to.
        records: those of the run, in order; also those before saved data.
    """
    found: dict[int, Question] = {}
    held: dict[int, Question] = {}
    routes = state.plan.routes
    asked: WaitStarted | None = None
    for record in records:
        match record:
            case RunResumed(snapshot=Body() as snapshot) if is_cut(snapshot) < 0:
                found |= {each.seq: each for each in read_saved(snapshot).asked}
            case EventSent(seq=seq, type=kind, body=body) if kind in routes and routes[kind].question:
                (held if record.held else found)[seq] = Question(seq, kind, body)
            case EventReleased(event=seq) if seq in held:
                found[seq] = held.pop(seq)
            case WaitStarted():
                asked = record
            case StreamWritten(seq=seq, type=kind, body=body) if asked is not None and asked.seq == seq - 1:
                wait = asked.invocation, asked.waiter, asked.occurrence
                found[seq] = Question(seq, kind, body, *wait, asked.type)
            case _:
                pass
    return _keep_open(state, [found[seq] for seq in sorted(found)])


def _keep_open(state: RunState, asked: Sequence[Question]) -> list[Question]:
    returned = [each.seq for each in asked if not each.invocation]
    unanswered = set(returned[-state.questions :] if state.questions else ())
    waits = {(wait.invocation, wait.waiter, wait.occurrence) for wait in state.waits.values() if wait.asked}
    waits |= state.reopened
    return [
        each
        for each in asked
        if each.seq in unanswered
        # its answer may lie there already
        or ((each.invocation, each.waiter, each.occurrence) in waits and not state.mail.get(each.answer))
    ]


def find_lost(questions: Iterable[Question]) -> list[str]:
    """Say of which questions it is not known what they ask."""
    return [
        f"The question of record {each.seq} ({each.type.rpartition(':')[2]}) "
        + ("was left out because of its size." if is_cut(each.body) >= 0 else "could not be serialised.")
        for each in questions
        if is_cut(each.body) >= 0 or each.body.opaque
    ]
