"""Answers: an event for a run from a process that does not run it, and cannot.

The event is kept in the journal. The process that goes on with the run takes it from there, and the record by which the
run receives it and the end of its keeping are one transaction: it is received once.
"""

from __future__ import annotations

import os

from otflow.events import Event
from otflow.journal.book import find_id
from otflow.journal.faults import translated
from otflow.journal.inbox import Letter
from otflow.journal.journal import Journal
from otflow.records.body import Body
from otflow.signature import type_key

__all__ = ["answer"]


def answer(run_id: str, event: Event, *, journal: Journal | str | os.PathLike[str], step: str | None = None) -> None:
    """Keep an event for a run that waits and that nobody runs now; `workflow.resume` hands it over.

    Args:
        run_id: the id of the run, or the beginning of it that no other run shares.
        event: the event.
        journal: the journal, or its file.
        step: the only step that is to get it; default None: all.

    Raises:
        RunNotFoundError: there is no such run, or there are several.
        RunOwnedError: somebody runs it: send the event there, with `handler.ctx.send_event`.
        JournalError: the run has ended, or the event cannot be written.
    """
    body = Body(event)
    letter = Letter(type_key(type(event)), body.whole.decode(), step or "")
    book = journal if isinstance(journal, Journal) else Journal(journal)
    try:
        with translated(book.path, 0):
            whole = find_id(book.connection, run_id)
        book.store_letter(whole, letter)
    finally:
        if book is not journal:
            book.close()
