"""The inbox: events for runs that nobody runs at the moment, kept until somebody does.

It knows its table, and runs by their ids.
"""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from otflow.journal.book import find_run, require_free
from otflow.journal.faults import JournalError, RunNotFoundError
from otflow.journal.owners import Owner

__all__ = ["Letter", "forget", "read_letters", "store"]


class Letter(NamedTuple):
    """An event for a run.

    Args:
        type: its type key.
        data: its JSON.
        step: the only step that is to get it; empty: all.
        number: its number in the inbox; 0 before it is there.
    """

    type: str
    data: str
    step: str = ""
    number: int = 0


def store(connection: sqlite3.Connection, owner: Owner, run: str, letter: Letter) -> None:
    """Put a letter in.

    Raises:
        RunNotFoundError: the journal has no such run.
        RunOwnedError: somebody runs it, and would not look.
        JournalError: the run has come to its end.
    """
    found = find_run(connection, run)
    if found is None:
        raise RunNotFoundError(f"There is no run {run} in the journal. List the runs that are there.")
    if found.outcome in {"completed", "failed"}:
        raise JournalError(f"Run {run} has ended ({found.outcome}), so it takes no events any more.")
    require_free(connection, owner, run, found)
    connection.execute(
        "INSERT INTO inbox (run, at, type, data, step) VALUES (?, ?, ?, ?, ?)",
        (found.no, time.time_ns(), letter.type, letter.data, letter.step),
    )


def read_letters(connection: sqlite3.Connection, run: str) -> list[Letter]:
    """Return the letters for a run, in order."""
    rows = connection.execute(
        "SELECT type, data, step, number FROM inbox WHERE run = (SELECT no FROM run WHERE id = ?) ORDER BY number",
        (run,),
    )
    return [Letter(*row) for row in rows]


def forget(connection: sqlite3.Connection, number: int) -> None:
    """Take a letter out."""
    connection.execute("DELETE FROM inbox WHERE number = ?", (number,))
