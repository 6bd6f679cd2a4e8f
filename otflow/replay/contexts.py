"""Contexts made of records: what `workflow.run(ctx=...)` goes on from, at any point of a run.

A context is saved data: a snapshot of the run, and its written state. Both are folded from records; a payload that is
needed to go on and is not whole there makes it fail with the reason. What was running at that point runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
from pydantic import BaseModel

from otflow.context.context import Context
from otflow.context.saved import pack_context
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.context.state_store import InMemoryStateStore
from otflow.core.snapshot import SavedRun, read_saved, save
from otflow.core.state import RunState
from otflow.errors import WorkflowValidationError
from otflow.events import Event
from otflow.records.body import Body
from otflow.records.identity import Whereabouts
from otflow.records.losses import find_losses, is_cut
from otflow.records.record import About, EventReceived, EventReleased, EventSent, Record, RunResumed, RunStarted
from otflow.records.trace import RunTrace
from otflow.replay.positions import Changed, find_position
from otflow.replay.questions import find_lost, find_questions
from otflow.replay.rebuild import MisfitError, rebuild, recall
from otflow.replay.states import fold_state
from otflow.replay.workflows import Recorded, Replayable

__all__ = ["locate", "make_context", "make_data"]


def make_context(
    execution: Recorded,
    workflow: Replayable,
    at: int | None = None,
    event: Event | None = None,
    state: Mapping[str, object] | BaseModel | None = None,
) -> Context[Any]:
    """Make a context from which `workflow.run(ctx=...)` goes on with a recorded run.

    Args:
        execution: the run.
        workflow: the workflow of today.
        at: the number of the record behind which to go on; default None: the last one. In the middle of what one
            input led to, it goes on behind all of that; at the end of a run, before that end.
        event: an event to go on with in place of the one that record `at` brought; default None: as recorded.
        state: values to write before it goes on, by dotted path, or a whole state; default None: as recorded.

    Raises:
        MisfitError: records or payloads that are needed are missing, or the workflow does not fit them.
        ContextSerdeError: saved data in the records, or a value of the state, does not fit.
        WorkflowValidationError: record `at` brought no event that could be changed.
    """
    return Context.from_dict(workflow, make_data(execution, workflow, at, event, state))


def make_data(
    execution: Recorded,
    workflow: Replayable,
    at: int | None = None,
    event: Event | None = None,
    state: Mapping[str, object] | BaseModel | None = None,
    *,
    forked: bool = False,
    about: Callable[[About | None], About | None] | None = None,
    serializer: BaseSerializer | None = None,
) -> dict[str, Any]:
    """Make the saved data of a context, as `Context.to_dict()` gives it.

    Args:
        execution: the run.
        workflow: the workflow of today.
        at: as for `make_context`.
        event: as for `make_context`.
        state: as for `make_context`.
        forked: whether another run goes on from it, in a trace of its own; default False.
        about: makes what it belongs to of what the run belonged to; default None: the same.
        serializer: how the state is written; default `JsonSerializer()`.

    Raises:
        MisfitError, ContextSerdeError, WorkflowValidationError: as for `make_context`.
    """
    found = _find_record(execution, at)
    records = _begin_late(execution.records, found.seq)
    position = find_position(records, found.seq, _change(found, event, workflow) if event is not None else None)
    run = rebuild(position.records, workflow.blueprint, skipped=position.skipped)
    counted = [record for record in records if record.seq <= position.at]
    recall(run, counted)
    if about is not None:
        run.about = about(run.about)
    told = [record for record in execution.records if not records or record.seq < records[0].seq]
    questions = find_questions(run, (*told, *position.records))
    saved = save(run, locate(counted, forked=forked), questions)
    _require_whole(read_saved(saved), run, counted)
    store = InMemoryStateStore(_make_state(counted, workflow, state)).to_dict(serializer or JsonSerializer())
    return pack_context(store, run=saved, leftovers=None, stream=[(each.type, each.body) for each in questions])


def locate(records: Sequence[Record], *, forked: bool = False) -> Whereabouts | None:
    """Say where a run stands in its trace after its last record; None if it has no span yet.

    Args:
        records: its records, in order.
        forked: whether another run goes on from there.
    """
    trace: RunTrace | None = None
    for _, group in groupby(records, key=lambda record: record.at):
        batch = list(group)
        trace = trace or RunTrace(batch[0])
        trace.feed(batch)
    if trace is None:
        return None
    sampled = trace.identity.parent_flags if trace.identity.parent_id else 1
    place = trace.locate(records[-1].at, sampled, "")
    return msgspec.structs.replace(place, forked=forked) if place is not None else None


def _find_record(execution: Recorded, at: int | None) -> Record:
    records, run = execution.records, execution.run_id
    if not records:
        raise MisfitError(f"Run {run} has no records, so there is nothing to go on from.", run)
    if at is None:
        return records[-1]
    for record in records:
        if record.seq == at:
            return record
    raise MisfitError(
        f"Run {run} has no record {at}, so nothing can go on from there: its records are numbered from "
        f"{records[0].seq} to {records[-1].seq}{'' if at > records[-1].seq else ', and this one is missing'}.",
        run,
        at,
    )


def _begin_late(records: Sequence[Record], end: int) -> list[Record]:
    """Leave out what came before saved data that says it all, up to a number."""
    kept = list(records)
    for place in range(len(kept) - 1, -1, -1):
        match kept[place]:
            case RunResumed(seq=seq, snapshot=Body() as snapshot) if seq <= end and is_cut(snapshot) < 0:
                if read_saved(snapshot).state is not None:
                    return kept[place:]
            case _:
                pass
    return kept


def _change(record: Record, event: Event, workflow: Replayable) -> Changed:
    """Say which event is to be another one.

    Raises:
        WorkflowValidationError: the record brought no event, or the step that it is for does not take this one.
    """
    if not isinstance(event, Event):
        raise WorkflowValidationError(f"The event to go on with has to be an Event, not {event!r:.100}.")
    match record:
        case EventReceived(target=target) | EventSent(target=target):
            seq = record.seq
        case EventReleased(event=seq):
            target = ""
        case _:
            brought = getattr(record, "event", 0)
            hint = f"give at={brought}, which brought the event of this one" if brought else "give the number of one"
            raise WorkflowValidationError(
                f"Record {record.seq} of run {record.run} is a {type(record).__name__}, and only a record that brought "
                f"an event (EventReceived, EventSent) has one that can be changed: {hint}."
            )
    blueprint = workflow.blueprint
    key = blueprint.key(type(event))
    if target and target not in blueprint.plan.routes[key].steps:
        raise WorkflowValidationError(
            f"Record {record.seq} of run {record.run} is an event for step '{target}', which does not accept "
            f"{type(event).__name__}. Give an event of a type that it accepts."
        )
    return Changed(seq, key, Body(event))


def _require_whole(saved: SavedRun, run: RunState, counted: Iterable[Record]) -> None:
    """Refuse to go on without a payload that the steps would get."""
    faults = [text for event in saved.events for _, text in find_losses(event)] + find_lost(saved.asked)
    # events that an earlier run left are in there too
    faults += [
        text
        for record in counted
        if isinstance(record, RunStarted) and record.carried is not None and is_cut(record.carried) >= 0
        for _, text in find_losses(record)
    ]
    if faults:
        raise MisfitError(
            f"Run {run.run} cannot go on behind record {run.seq}, because events that are still needed are not "
            f"whole: {' '.join(faults)} Read the run from where it is whole (a journal, a payload store), go on from "
            "another record, or from the one that brought the event with event=... in its place.",
            run.run,
            run.seq,
        )


def _make_state(
    counted: Sequence[Record], workflow: Replayable, changed: Mapping[str, object] | BaseModel | None
) -> BaseModel:
    fold = fold_state(counted, workflow.state_type)
    match changed:
        case None:
            pass
        case BaseModel():
            fold.write("", changed)
        case _:
            for path, value in changed.items():
                fold.write(path, value)
    last = counted[-1]
    return fold.require(last, f" behind record {last.seq}", "Give the values that are missing: state={path: value}.")
