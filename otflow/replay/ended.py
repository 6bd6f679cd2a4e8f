"""Ended: a run that has ended in another process, shown to the step that had begun it as if it had ended just now."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from otflow.context.class_names import find_class
from otflow.context.saved import pack_context
from otflow.context.serializers import BaseSerializer
from otflow.core.state import Ended, RunState, new_state
from otflow.errors import ContextSerdeError, OtflowError, WorkflowRuntimeError, text_of
from otflow.events import StopEvent
from otflow.handler import WorkflowHandler
from otflow.journal.precise import LOST
from otflow.journal.source import NotedRecord
from otflow.launch import Launch
from otflow.records.losses import find_losses
from otflow.records.record import EventSent, Record, RunCompleted, RunFailed, RunTimedOut
from otflow.replay.rebuild import MisfitError, rebuild
from otflow.replay.streamed import find_told
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.clock import SystemClock
from otflow.runtime.local import LocalRun
from otflow.runtime.stepwise import Stepper

__all__ = ["show_ended"]


def show_ended(
    launch: Launch, noted: Sequence[NotedRecord], written: dict[str, object], serializer: BaseSerializer
) -> WorkflowHandler:
    """Return the handler of a run that has completed, failed or timed out.

    Args:
        launch: how it was to begin; its context gets the state.
        noted: the records of the run.
        written: the state that it wrote, as a store saves it.
        serializer: reads what was noted of its result.

    Raises:
        MisfitError: its result is not whole in the journal.
    """
    records = [each.record for each in noted]
    ending, blueprint, context = records[-1], launch.blueprint, launch.context
    if not isinstance(ending, RunCompleted | RunFailed | RunTimedOut):
        raise AssertionError("who asks has seen that it has ended")
    state = _fold(records, blueprint)
    error: Exception | None = None
    match ending:
        case RunCompleted(event=event):
            stop = next(each for each in noted if each.record.seq == event)
            state.latest = _revive(stop, blueprint, serializer)
        case RunFailed():
            error = _recall_error(ending)
        case _:
            pass
    context.load(pack_context(written, run=None, leftovers=None, stream=()))
    handler = WorkflowHandler(ctx=context, run_id=ending.run)
    local = LocalRun(blueprint, launch.dispatcher, launch.clock or SystemClock(), ending.run, context, handler.settle)
    context.attach(local)
    handler.attach(local, Stepper(local) if launch.stepwise else None)
    for each in find_told(records, blueprint, state, ()):
        local.stream.put(blueprint.revive(each.type, each.body))
    local.replace(state)
    local.driver.ending, local.driver.error = ending, error
    local.driver.on_end(ending)
    local.driver.finish()
    return handler


def _fold(records: Sequence[Record], blueprint: Blueprint) -> RunState:
    """Fold the records; if the workflow no longer fits them, that of a run which is over does not matter."""
    try:
        return rebuild(records, blueprint)
    except OtflowError:
        last = records[-1]
        state = new_state(blueprint.plan, last.run)
        names: dict[type, str] = {RunCompleted: "completed", RunFailed: "failed", RunTimedOut: "timed out"}
        state.seq, state.ended = last.seq, Ended(names[type(last)], last.seq)
        return state


def _revive(stop: NotedRecord, blueprint: Blueprint, serializer: BaseSerializer) -> EventSent:
    """Make the stop event again, of the classes that it had.

    Raises:
        MisfitError: that cannot be done.
    """
    sent, note = stop
    if not isinstance(sent, EventSent):
        raise AssertionError("a run completes by an event that a step sent")
    faults = [text for _, text in find_losses(sent)]
    kind = blueprint.find(sent.type)
    if note is not None and note.startswith(LOST) and kind is StopEvent:
        faults.append("It was of a class that JSON cannot hold.")
    if kind is None:
        faults.append(f"Its class {sent.type} is gone.")
    if kind is None or faults:
        raise MisfitError(
            f"The result of run {sent.run} cannot be given to the step that began the run, because it is not whole in "
            f"the journal: {' '.join(faults)} Return plain data or pydantic models, and begin a run with another id.",
            sent.run,
            sent.seq,
        )
    if note is not None and not note.startswith(LOST):
        try:
            values: Any = serializer.deserialize(note)
            sent.body.live = kind.model_validate(values)
        except (ValueError, OtflowError):  # the JSON says as much as a class of today needs, or it is refused
            sent.body.live = None
    blueprint.revive(sent.type, sent.body)
    return sent


def _recall_error(ending: RunFailed) -> Exception:
    """Make the exception again that ended a run: of its class where that takes no more than a text."""
    failure = ending.error
    where = f"Error in step '{ending.step}': " if ending.step else ""
    plain = WorkflowRuntimeError(
        f"{where}{failure.type}: {failure.message} (the original exception could not be rebuilt from the journal)"
    )
    try:
        kind = find_class(failure.type)
    except ContextSerdeError:
        return plain
    if not issubclass(kind, Exception) or any(isinstance(it, FunctionType) for it in (kind.__init__, kind.__new__)):
        return plain
    try:
        argument = _find_argument(kind, failure.message)
        rebuilt = kind(argument)
        exact = rebuilt.args == (argument,) and text_of(rebuilt) == failure.message
    except Exception:  # it takes other arguments
        return plain
    return rebuilt if exact else plain


def _find_argument(kind: type[Exception], message: str) -> object:
    """Find out of what an exception was made that has this text.

    Raises:
        ValueError: the text does not tell.
        SyntaxError: the same.
    """
    if kind is KeyError:  # shows its key as code does
        key = ast.literal_eval(message)
        if isinstance(key, str | int):
            return key
    elif not issubclass(kind, OSError | KeyError):  # an OSError has a number and a file name, and its own text of them
        return message
    raise ValueError(message)
