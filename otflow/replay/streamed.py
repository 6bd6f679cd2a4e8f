"""Streamed: what a step reads again that had begun a run, when it runs again and finds that run.

It runs from its top, so it has read nothing of the stream yet. What is going to be written again is left out, and so
are questions that were answered: nobody may answer them twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from otflow.core.state import Question, RunState
from otflow.events import InputRequiredEvent
from otflow.records.body import Body
from otflow.records.losses import find_losses
from otflow.records.record import Record, StepStarted, StreamWritten
from otflow.runtime.blueprint import Blueprint

__all__ = ["Told", "find_told"]


class Told(NamedTuple):
    """An event of the stream: the number of its record, its type and its payload."""

    seq: int
    type: str
    body: Body


def find_told(
    records: Sequence[Record], blueprint: Blueprint, state: RunState, questions: Iterable[Question]
) -> list[Told]:
    """Find the events of a stream that its reader has to see again, in order.

    Args:
        records: those of the run, in order.
        blueprint: its workflow.
        state: what the records lead to.
        questions: those of its questions that nobody has answered.
    """
    told = {each.seq: Told(each.seq, each.type, each.body) for each in questions}
    over = state.ended is not None and state.ended.how != "cancelled"
    open_ones = [] if over else [*state.running.values(), *(i for lane in state.lanes.values() for i in lane.queue)]
    again = {(invocation.id, invocation.attempt) for invocation in open_ones if invocation.id}
    begun: dict[int, int] = {}  # where the attempts began that run again
    for record in records:
        if isinstance(record, StepStarted) and (record.invocation, record.attempt) in again:
            begun.setdefault(record.invocation, record.seq)
    for record in records:
        if not isinstance(record, StreamWritten) or 0 < begun.get(record.invocation, 0) < record.seq:
            continue
        kind = blueprint.find(record.type)
        if kind is not None and not issubclass(kind, InputRequiredEvent) and not any(find_losses(record)):
            told[record.seq] = Told(record.seq, record.type, record.body)
    return [told[seq] for seq in sorted(told)]
