"""Resumption: a run goes on under its own name where its journal ends, in whatever process this is.

What the journal says is folded through the workflow of today; what it says of attempts without an end runs again. The
run is this process's own from before the first look at its records until it ends.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from pydantic import BaseModel

from otflow.context.context import Context
from otflow.context.saved import pack_context
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.context.state_store import InMemoryStateStore
from otflow.core.snapshot import read_saved, save
from otflow.core.state import RunState
from otflow.dispatcher import Dispatcher
from otflow.errors import WorkflowConfigurationError
from otflow.handler import WorkflowHandler
from otflow.journal.book import find_id, find_run
from otflow.journal.database import settle_path
from otflow.journal.faults import JournalError, translated
from otflow.journal.journal import Journal
from otflow.journal.precise import LOST
from otflow.journal.source import NotedRecord, read_records
from otflow.records.body import Body
from otflow.records.losses import find_losses
from otflow.records.record import (
    ContextWritten,
    EventSent,
    Record,
    RunCancelled,
    RunPaused,
    RunResumed,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.replay.contexts import locate
from otflow.replay.rebuild import MisfitError, rebuild, recall
from otflow.replay.states import StateFold
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
    ends: list[Callable[[], object]] = []
    if not attached and book is not journal:
        ends.append(book.close)
    try:
        handler = _go_on(book, run_id, workflow, dispatcher, ends, attached=attached)
    except BaseException:  # whatever it was, others may try
        _end(ends)
        raise
    handler.add_done_callback(lambda _: _end(ends))
    _deliver(book, handler, workflow)
    return handler


def _go_on(
    book: Journal,
    run_id: str,
    workflow: Runnable,
    dispatcher: Dispatcher,
    ends: list[Callable[[], object]],
    *,
    attached: bool,
) -> WorkflowHandler:
    """Go on; what is to be done when the run ends, or if this fails, is added to `ends`."""
    with translated(book.path, 0):
        id = find_id(book.connection, run_id)
        found = find_run(book.connection, id)
    if found is not None and found.outcome in {"completed", "failed"}:
        raise JournalError(f"Run {id} has ended ({found.outcome}), so there is nothing to go on with. Start a new run.")
    book.claim(id)
    ends.append(partial(book.release, id))
    context: Context[Any] = Context.from_dict(workflow, _make_data(list(_read(book, id)), workflow))
    if not attached:
        ends.append(dispatcher.attach(partial(_write_own, book, id), journal=True))
    return workflow.run(ctx=context, run_id=id)


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
    return (journal if isinstance(journal, Journal) else Journal(path)), False


def _read(book: Journal, id: str) -> Iterable[NotedRecord]:
    try:
        yield from read_records(book.connection, id)
    except sqlite3.Error as error:
        raise JournalError(f"Run {id} cannot be read from the journal {book.path}: {error}.") from error


def _write_own(book: Journal, id: str, records: Sequence[Record]) -> None:
    """Write the records of one run only."""
    if records and records[0].run == id:
        book(records)


def _make_data(noted: Sequence[NotedRecord], workflow: Replayable) -> dict[str, Any]:
    """Make the saved data from which the run goes on."""
    records = [each.record for each in noted]
    state = rebuild(records, workflow.blueprint)
    _reopen(state, records)
    recall(state, records)
    saved = save(state, locate(records))
    if faults := [text for event in read_saved(saved).events for _, text in find_losses(event)]:
        raise MisfitError(
            f"Run {state.run} cannot go on, because events that its steps still need are not whole in the journal: "
            f"{' '.join(faults)} Give these fields types that JSON can hold, and start a new run.",
            state.run,
            state.seq,
        )
    serializer = JsonSerializer().with_types(workflow.state_type, *workflow.event_types)
    written = _fold_state(noted, workflow.state_type, serializer)
    store = InMemoryStateStore(written).to_dict(serializer)
    return pack_context(store, run=saved, leftovers=None, stream=_find_questions(state, records))


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


def _fold_state(noted: Iterable[NotedRecord], kind: type[BaseModel], serializer: BaseSerializer) -> BaseModel:
    """Fold the written state, of which the notes say more than the JSON."""
    fold, last = StateFold(kind), None
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
    if fold.lost and last is not None:
        places = ", ".join(f"'{path}'" if path else "all of it" for path in fold.lost)
        raise MisfitError(
            f"Run {last.run} cannot go on, because its state is not whole in the journal ({places}): "
            f"{' '.join(fold.lost.values())} Keep plain data or pydantic models in the state, and start a new run.",
            last.run,
            last.seq,
        )
    return fold.state


def _knows(fold: StateFold, record: RunResumed) -> bool:
    """Tell whether the state that saved data brought is the one that was folded, which knows its classes better."""
    if record.snapshot is None or (state := read_saved(record.snapshot).state) is None:
        return False
    return not fold.lost and bool(Body(fold.state) == Body(json=state.whole))


def _find_questions(state: RunState, records: Sequence[Record]) -> list[tuple[str, Body]]:
    """Find the questions in the stream that nobody has answered; their readers may be gone."""
    routes, found = state.plan.routes, dict[int, tuple[str, Body]]()
    emitted = [r for r in records if isinstance(r, EventSent) and r.type in routes and routes[r.type].question]
    for sent in emitted[-state.questions :] if state.questions else ():
        found[sent.seq] = (sent.type, sent.body)
    open_waits = {(wait.invocation, wait.waiter, wait.occurrence) for wait in state.waits.values() if wait.asked}
    open_waits |= state.reopened
    asked: WaitStarted | None = None
    for record in records:
        match record:
            case WaitStarted():
                asked = record
            case StreamWritten(seq=seq, type=kind, body=body) if asked is not None and asked.seq == seq - 1:
                key = asked.invocation, asked.waiter, asked.occurrence
                if key in open_waits and not state.mail.get(asked.type):  # its answer may lie there already
                    found[seq] = (kind, body)
            case _:
                pass
    return [found[seq] for seq in sorted(found)]


def _deliver(book: Journal, handler: WorkflowHandler, workflow: Replayable) -> None:
    """Send the run what was kept for it while nobody ran it."""
    for letter in book.take_letters(handler.run_id):
        event = workflow.blueprint.revive(letter.type, Body(json=letter.data.encode()))
        book.expect(event, letter.number)
        handler.ctx.send_event(event, letter.step or None)
