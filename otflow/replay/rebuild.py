"""Rebuilding: the state of a run from its records, for whoever goes on with it.

The records are folded through the core, with the plan of the workflow as it is today. A fold that does not fit is
refused with the record at which that shows; what a workflow would have done otherwise is not asked here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from otflow.core.evolve import evolve
from otflow.core.snapshot import save
from otflow.core.state import RunState, new_state
from otflow.errors import ContextSerdeError
from otflow.records.losses import is_cut
from otflow.records.record import EventReceived, EventSent, Record, RunResumed, RunStarted, StepStarted
from otflow.records.sent import find_sent
from otflow.runtime.blueprint import Blueprint

__all__ = ["MisfitError", "rebuild", "recall"]


class MisfitError(ContextSerdeError):
    """A run cannot go on from its records with this workflow: records are missing, or it no longer fits them.

    Args:
        message: what is wrong.
        run: the id of the run.
        seq: the number of the record at which it shows; 0 if it is not one record.
    """

    def __init__(self, message: str, run: str = "", seq: int = 0) -> None:
        super().__init__(message)
        self.run = run
        self.seq = seq


def rebuild(
    records: Iterable[Record], blueprint: Blueprint, at: int | None = None, skipped: Collection[int] = ()
) -> RunState:
    """Fold the records of one run into its state.

    How many workers a step has today makes no difference: what began has begun.

    Args:
        records: all records from its first one on, in order; or from one on that restored it from saved data.
        blueprint: the workflow of today.
        at: the number of the last record that counts; default None: the last one that there is.
        skipped: numbers of records that are there and do not count; default none.

    Returns:
        The state after that record.

    Raises:
        MisfitError: there is no record, one is missing, or the workflow no longer fits them.
    """
    state: RunState | None = None
    for record in records:
        if at is not None and record.seq > at:
            break
        if isinstance(record, RunResumed) and record.snapshot is not None:
            state = _take_up(state, record, blueprint)
            continue
        if state is None:
            if not isinstance(record, RunStarted):
                raise MisfitError(
                    f"The records of run {record.run} begin with number {record.seq}, a {type(record).__name__}. What "
                    "came before is missing, so nothing can go on from them. Read the run from where it is whole.",
                    record.run,
                    record.seq,
                )
            state = _begin(record, blueprint)
        if record.seq in skipped:
            _require_next(state, record)
            state.seq = record.seq
        else:
            _follow(state, record, blueprint)
    if state is None:
        raise MisfitError("There are no records, so there is nothing to go on from.")
    return state


def recall(state: RunState, records: Iterable[Record]) -> None:
    """Note what attempts had sent that are going to run again, so that they do not send it again.

    Args:
        state: the state of the run after these records.
        records: its records, in order.
    """
    for id, marks in find_sent(records).items():
        invocation = state.running.get(id)
        if invocation is not None:
            invocation.sent = [*(invocation.sent or ()), *marks]


def _begin(record: RunStarted, blueprint: Blueprint) -> RunState:
    plan = blueprint.plan
    if record.workflow != plan.workflow:
        raise MisfitError(
            f"Run {record.run} is one of workflow '{record.workflow}', and this is workflow '{plan.workflow}'. Go on "
            "with the workflow that it was started with.",
            record.run,
            record.seq,
        )
    return new_state(plan, record.run)


def _take_up(state: RunState | None, record: RunResumed, blueprint: Blueprint) -> RunState:
    """Begin anew from the data from which the run went on: it holds all that came before."""
    if state is not None:
        _require_next(state, record)
    if record.snapshot is not None and is_cut(record.snapshot) >= 0:
        if state is None:
            raise MisfitError(
                f"Record {record.seq} of run {record.run} restored it from saved data that was left out of it. "
                "Read the run from where it is whole.",
                record.run,
                record.seq,
            )
        record = msgspec.structs.replace(record, snapshot=save(state))  # it said what the records before it say
    fresh = new_state(blueprint.plan, record.run)
    _evolve(fresh, record, blueprint)
    return fresh


def _follow(state: RunState, record: Record, blueprint: Blueprint) -> None:
    _require_next(state, record)
    if isinstance(record, EventSent | EventReceived):
        if record.type not in blueprint.plan.routes:
            blueprint.find(record.type)  # which adds its route
    elif isinstance(record, StepStarted):
        _require_start(state, record, blueprint)
    _evolve(state, record, blueprint)


def _require_next(state: RunState, record: Record) -> None:
    if record.seq != state.seq + 1:
        raise MisfitError(
            f"The records of run {state.run} have a hole: number {record.seq} follows number {state.seq}. Nothing can "
            "go on from them. Read the run from where it is whole.",
            state.run,
            record.seq,
        )


def _require_start(state: RunState, record: StepStarted, blueprint: Blueprint) -> None:
    """Make sure that what the records say began is something that this workflow would have begun too."""
    first = state.startable[0] if state.startable else ""
    lane = state.lanes.get(record.step)
    if lane is not None and lane.queue and lane.queue[0].event.seq == record.event:
        if first == record.step:
            return
        if record.step in state.startable:  # with other numbers of workers the order is another one
            state.startable.remove(record.step)
        else:
            lane.promised += 1
        state.startable.appendleft(record.step)
        return
    if record.step not in state.lanes:
        fault = f"there is no step '{record.step}' any more"
    elif not first:
        fault = f"step '{record.step}' would not have begun to work on event {record.event}"
    else:
        fault = f"step '{first}' would have begun where step '{record.step}' did, with event {record.event}"
    raise _misfit(state.run, record, blueprint, fault)


def _evolve(state: RunState, record: Record, blueprint: Blueprint) -> None:
    try:
        evolve(state, record)
    except (LookupError, AssertionError) as error:  # what the core trusts does not hold
        what = f"a {type(record).__name__} is not possible there"
        if isinstance(error, KeyError) and isinstance(error.args[0], str):
            what = f"it does not know '{error.args[0]}'"
        raise _misfit(state.run, record, blueprint, what) from error


def _misfit(run: str, record: Record, blueprint: Blueprint, fault: str) -> MisfitError:
    name = blueprint.plan.workflow
    return MisfitError(
        f"Workflow '{name}' no longer fits run {run}: at record {record.seq}, {fault}. Go on with the version of the "
        "workflow that the run was started with, or start a new run.",
        run,
        record.seq,
    )
