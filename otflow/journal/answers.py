"""Answers: an event for a run from a process that does not run it, and cannot.

The event is kept in the journal. The process that goes on with the run takes it from there, and the record by which the
run receives it and the end of its keeping are one transaction: it is received once. An event that the run cannot take
is put aside there, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from otflow.events import Event
from otflow.journal.database import require_journal
from otflow.journal.inbox import Letter
from otflow.journal.journal import Journal
from otflow.journal.source import JournalSource
from otflow.records.body import Body
from otflow.signature import type_key

__all__ = ["answer", "list_letters", "remove_letter"]

_Place: TypeAlias = Journal | str | os.PathLike[str]


def answer(run_id: str, event: Event, *, journal: _Place, step: str | None = None) -> None:
    """Keep an event for a run that waits and that nobody runs now; `workflow.resume` hands it over.

    Args:
        run_id: the id of the run, or the beginning of it that no other run shares.
        event: the event.
        journal: the journal, or its file.
        step: the only step that is to get it; default None: all.

    Raises:
        RunNotFoundError: there is no such run, or there are several.
        RunOwnedError: somebody runs it: send the event there, with `handler.ctx.send_event`.
        JournalError: there is no such journal, the run has ended, or the event cannot be written.
    """
    body = Body(event)
    letter = Letter(type_key(type(event)), body.whole.decode(), step or "")
    with _open(journal) as book:
        book.inbox.store(book.find(run_id), letter)


def list_letters(journal: _Place, run_id: str = "") -> Sequence[Letter]:
    """List the events that are kept for runs: those that wait, and those that were put aside, with the `reason`.

    Args:
        journal: the journal, or its file.
        run_id: of this run only, by its id or the beginning of it; default "": of all.

    Raises:
        RunNotFoundError: there is no such run, or there are several.
        JournalError: there is no such journal, or it cannot be read.
    """
    if isinstance(journal, Journal):
        return journal.inbox.list(run_id and journal.find(run_id))
    source = JournalSource(journal)
    try:
        return source.letters(run_id)
    finally:
        source.close()


def remove_letter(number: int, *, journal: _Place) -> None:
    """Delete an event that is kept for a run.

    Args:
        number: the number of the letter.
        journal: the journal, or its file.

    Raises:
        JournalError: there is no such letter, or the journal cannot be written.
    """
    with _open(journal) as book:
        book.inbox.remove(number)


@contextmanager
def _open(journal: _Place) -> Iterator[Journal]:
    """Open a journal that is there: none is made, because the name may be mistyped."""
    if isinstance(journal, Journal):
        yield journal
        return
    require_journal(journal)
    book = Journal(journal)
    try:
        yield book
    finally:
        book.close()
