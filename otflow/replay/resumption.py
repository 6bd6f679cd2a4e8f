"""Resumption: a run goes on under its own name where its journal ends, in whatever process this is.

What the journal says is folded through the workflow of today; what it says of attempts without an end runs again. The
run is this process's own from before the first look at its records until it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from pydantic import BaseModel

from otflow.context.context import Context
from otflow.context.saved import pack_context
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.context.state_store import InMemoryStateStore, make_state
from otflow.core.snapshot import read_saved, save
from otflow.core.state import RunState
from otflow.dispatcher import Dispatcher
from otflow.errors import ContextSerdeError, WorkflowConfigurationError
from otflow.handler import WorkflowHandler
from otflow.journal.children import is_owned
from otflow.journal.database import require_journal, settle_path
from otflow.journal.faults import JournalError, RunOwnedError
from otflow.journal.journal import Journal
from otflow.journal.precise import LOST
from otflow.journal.source import NotedRecord
from otflow.launch import Launch
from otflow.records.body import Body
from otflow.records.losses import find_losses
from otflow.records.record import (
    ContextWritten,
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunTimedOut,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.replay.contexts import locate
from otflow.replay.ended import show_ended
from otflow.replay.following import Following
from otflow.replay.kin import Kin
from otflow.replay.letters import ReadLetter, deliver, read_letters
from otflow.replay.nursery import Nursery
from otflow.replay.questions import find_lost, find_questions
from otflow.replay.rebuild import MisfitError, rebuild, recall
from otflow.replay.states import StateFold
from otflow.replay.streamed import find_told
from otflow.replay.workflows import Replayable, Runnable

__all__ = ["JournalPlace", "find_journal", "resume"]

JournalPlace: TypeAlias = Journal | str | os.PathLike[str]


def resume(workflow: Runnable, run_id: str, journal: JournalPlace | None, dispatcher: Dispatcher) -> WorkflowHandler:
    """Go on with a run of a journal.

    Args:
        workflow: its workflow.
        run_id: its id, or the beginning of it that no other run shares.
        journal: the journal, or its file; None for the one that is attached.
        dispatcher: where the records of the workflow go.

    Returns:
        The handler of the run that goes on.

    Raises:
        RunNotFoundError: there is no such run.
        RunOwnedError: somebody runs it.
        JournalError: it has ended, or the journal cannot be used.
        MisfitError: the workflow no longer fits its records, or a payload that it needs is not whole.
    """
    book, attached = find_journal(journal, dispatcher)
    last: list[Callable[[], object]] = [book.close] if not attached and book is not journal else []
    ends: list[Callable[[], object]] = []
    try:
        id = book.find(run_id)
        kin = None if attached else Kin(book, id)
        book.claim(id)  # from here on nobody else writes it
        ends.append(partial(book.release, id))
        context, letters = _take_up(_Home(book, dispatcher, kin), book.read(id), workflow, Context(workflow))
        if kin is not None:
            last.append(kin.attach(dispatcher))
        handler = workflow.run(ctx=context, run_id=id)
        deliver(book, handler, letters)
    except BaseException:  # whatever it was, others may try
        _end([*last, *ends])
        raise

    def end(_: object) -> None:
        _end(ends)
        if kin is not None:  # runs that its steps began may go on
            kin.leave(id, partial(_end, last))

    handler.add_done_callback(end)
    return handler


class _Home(NamedTuple):
    """Where a run is at home: its journal, where its records go, and if need be how they get from there to here."""

    book: Journal
    dispatcher: Dispatcher
    kin: Kin | None


def _take_up(
    home: _Home, noted: Sequence[NotedRecord], workflow: Runnable, context: Context[Any], *, nested: bool = False
) -> tuple[Context[Any], list[ReadLetter]]:
    """Put a run that is this process's own into a context.

    A run that a step waits for is `nested`: that step sees the stream again.
    """
    book, id = home.book, noted[0].record.run
    context.load(_make_data(noted, workflow, nested=nested))
    context.nursery = Nursery(id, home.dispatcher, book, partial(_bring_back, home))
    return context, read_letters(book, id, workflow.blueprint, home.dispatcher)


def _bring_back(home: _Home, book: Journal, workflow: Runnable, launch: Launch, id: str) -> WorkflowHandler:
    """Go on with a run that a step had begun, show how it has ended, or follow it while somebody else runs it."""
    if launch.dispatcher is not home.dispatcher:
        home = _Home(book, launch.dispatcher, None)
    look = partial(_look_after, home, workflow, launch, id)
    found = look()
    if found is not None:
        return found

    def look_again() -> WorkflowHandler | None:
        with book.look() as connection:  # which is cheaper
            owned = is_owned(connection, book.path, id)
        return None if owned else look()

    done = home.kin.hold() if home.kin is not None else _do_nothing
    return Following(launch.context, id, look_again, done)


def _look_after(home: _Home, workflow: Runnable, launch: Launch, id: str) -> WorkflowHandler | None:
    """Go on with a run that a step had begun, or show how it has ended; None if somebody runs it."""
    book = home.book
    if _has_ended(noted := book.read(id)):
        return _show(launch, noted, workflow)
    ends: list[Callable[[], object]] = []
    try:
        if (mine := _claim(book, id, ends)) is None:
            return None
        if home.kin is not None:  # not before: what others write of it is not his to write
            home.kin.add(id)
            ends.append(partial(home.kin.drop, id))
        context, letters = _take_up(home, mine, workflow, launch.context, nested=True)
        handler = workflow.run(
            ctx=context, stepwise=launch.stepwise, checkpoint_callback=launch.checkpoint_callback, run_id=id
        )
        deliver(book, handler, letters)
    except BaseException:  # whatever it was, others may try
        _end(ends)
        raise
    handler.add_done_callback(lambda _: _end(ends))
    return handler


def _claim(book: Journal, id: str, ends: list[Callable[[], object]]) -> list[NotedRecord] | None:
    """Make a run that had not ended this process's own, and read it; None if somebody runs it, or did until now."""
    try:
        book.claim(id)
    except RunOwnedError:
        return None
    except JournalError:
        if _has_ended(book.read(id)):
            return None
        raise
    ends.append(partial(book.release, id))
    if not _has_ended(noted := book.read(id)):
        return noted
    _end(ends)
    return None


def _has_ended(noted: Sequence[NotedRecord]) -> bool:
    """Tell whether there is nothing to go on with for who began the run."""
    return isinstance(noted[-1].record, RunCompleted | RunFailed | RunTimedOut)


def _show(launch: Launch, noted: Sequence[NotedRecord], workflow: Runnable) -> WorkflowHandler:
    """Show how a run has ended."""
    serializer = JsonSerializer().with_types(workflow.state_type, *workflow.event_types)
    written: BaseModel = make_state(workflow.state_type)
    with suppress(ContextSerdeError):  # it does not fit the class of today, but it has ended
        written = _fold(noted, workflow.state_type, serializer).state  # what is lost is not there
    return show_ended(launch, noted, InMemoryStateStore(written).to_dict(serializer), serializer)


def _do_nothing() -> None:
    """Do nothing."""


def _end(ends: list[Callable[[], object]]) -> None:
    """Do what was put off, the last first."""
    while ends:
        with suppress(JournalError):  # the run has ended, and who runs the next one is told then
            ends.pop()()


def find_journal(journal: JournalPlace | None, dispatcher: Dispatcher) -> tuple[Journal, bool]:
    """Return a journal, and whether it gets the records of the dispatcher anyway.

    Raises:
        WorkflowConfigurationError: none was named, and none is attached.
        JournalError: the file cannot be used.
    """
    attached = [sink for sink in dispatcher.journals if isinstance(sink, Journal)]
    if journal is None:
        if not attached:
            raise WorkflowConfigurationError(
                "There is no journal to resume the run from. Name it: resume(run_id, journal='runs.db'), or "
                "otflow.configure(journal='runs.db'), or the variable OTFLOW_JOURNAL."
            )
        return attached[0], True
    path = journal.path if isinstance(journal, Journal) else settle_path(journal)
    for sink in attached:
        if sink.path == path:
            return sink, True
    if isinstance(journal, Journal):
        return journal, False
    require_journal(path)  # none is made, because the name may be mistyped
    return Journal(path), False


def _make_data(noted: Sequence[NotedRecord], workflow: Replayable, *, nested: bool) -> dict[str, Any]:
    """Make the saved data from which the run goes on."""
    records = [each.record for each in noted]
    state = rebuild(records, workflow.blueprint)
    _reopen(state, records)
    recall(state, records)
    saved = save(state, locate(records))
    questions = find_questions(state, records)
    faults = [text for event in read_saved(saved).events for _, text in find_losses(event)]
    if faults := faults + find_lost(questions):
        raise MisfitError(
            f"Run {state.run} cannot go on, because events that are still needed are not whole in the journal: "
            f"{' '.join(faults)} Give these fields types that JSON can hold, and start a new run.",
            state.run,
            state.seq,
        )
    serializer = JsonSerializer().with_types(workflow.state_type, *workflow.event_types)
    written = _fold_state(noted, workflow.state_type, serializer)
    store = InMemoryStateStore(written).to_dict(serializer)
    told = find_told(records, workflow.blueprint, state, questions) if nested else questions
    return pack_context(store, run=saved, leftovers=None, stream=[(each.type, each.body) for each in told])


def _reopen(state: RunState, records: Sequence[Record]) -> None:
    """Let waits go on that ended only because the process did, in good order: nobody's time was over."""
    if not isinstance(records[-1], RunCancelled):
        return
    begun = {record.seq: record for record in records if isinstance(record, WaitStarted)}
    for record in reversed(records[:-1]):
        match record:
            case WaitEnded(event=0, wait=id) if id in begun:
                wait = begun[id]
                invocation = state.running.get(wait.invocation)
                if invocation is not None and invocation.answers and (not wait.due or record.at < wait.due):
                    invocation.answers.pop((wait.waiter, wait.occurrence), None)
                    state.reopened.add((wait.invocation, wait.waiter, wait.occurrence))
            case RunPaused() | RunResumed(snapshot=None) | ContextWritten() | StreamWritten():
                pass  # what steps do when they are cancelled
            case _:
                return


def _fold(noted: Iterable[NotedRecord], kind: type[BaseModel], serializer: BaseSerializer) -> StateFold:
    """Fold the written state, of which the notes say more than the JSON."""
    fold = StateFold(kind)
    for last, note in noted:
        if isinstance(last, RunResumed) and _knows(fold, last):
            continue
        if note is None or not isinstance(last, ContextWritten):
            fold.take(last)
        elif not note.startswith(LOST):
            fold.write(last.path, serializer.deserialize(note), last)
        else:
            fold.take(last)
            if last.path.partition(".")[0] not in kind.model_fields:  # which makes its own type of it
                fold.lost[last.path] = f"It was a {note.removeprefix(LOST)}, which JSON cannot hold."
    return fold


def _fold_state(noted: Sequence[NotedRecord], kind: type[BaseModel], serializer: BaseSerializer) -> BaseModel:
    """Return the written state.

    Raises:
        MisfitError: it is not whole.
    """
    advice = "Keep plain data or pydantic models in the state, and start a new run."
    return _fold(noted, kind, serializer).require(noted[-1].record, " from its journal", advice)


def _knows(fold: StateFold, record: RunResumed) -> bool:
    """Tell whether the state that saved data brought is the one that was folded, which knows its classes better."""
    if record.snapshot is None or (state := read_saved(record.snapshot).state) is None:
        return False
    return not fold.lost and bool(Body(fold.state) == Body(json=state.whole))
