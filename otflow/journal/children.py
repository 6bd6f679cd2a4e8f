"""Which runs of a journal were begun by steps of another one, and with what. It reads; nothing is written."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from otflow.journal.book import find_run, require_free
from otflow.journal.faults import RunOwnedError
from otflow.journal.owners import find_owner
from otflow.journal.rows import span_of
from otflow.records.codec import decode
from otflow.records.record import EventReceived, RunStarted

__all__ = ["Beginning", "Child", "find_children", "is_owned", "read_beginning"]


class Child(NamedTuple):
    """A run that a step of another one began: its id, and the name of its workflow."""

    id: str
    workflow: str


class Beginning(NamedTuple):
    """With what a run began."""

    started: RunStarted
    received: EventReceived


def find_children(connection: sqlite3.Connection, parent: str) -> list[Child]:
    """List the runs that steps of a run began, in the order in which they began."""
    # said twice, because the index has only runs with a parent
    query = "SELECT id, workflow FROM run WHERE parent_run = ? AND parent_run != '' ORDER BY no"
    return [Child._make(row) for row in connection.execute(query, (parent,))]


def read_beginning(connection: sqlite3.Connection, run: str) -> Beginning | None:
    """Read how a run began; None if it went on from saved data, or its beginning is not there.

    Raises:
        msgspec.MsgspecError: these are no records of this release.
    """
    row = connection.execute("SELECT no FROM run WHERE id = ?", (run,)).fetchone()
    if row is None:
        return None
    first, _ = span_of(row[0])
    rows = connection.execute("SELECT data FROM record WHERE id IN (?, ?) ORDER BY id", (first + 1, first + 2))
    match [decode(data) for (data,) in rows]:
        case [RunStarted() as started, EventReceived() as received]:
            return Beginning(started, received)
        case _:
            return None


def is_owned(connection: sqlite3.Connection, path: str, run: str) -> bool:
    """Tell whether another process, or another handler of this one, runs a run.

    Args:
        connection: the journal.
        path: its file.
        run: the whole id.
    """
    found = find_run(connection, run)
    if found is None:
        return False
    try:
        require_free(connection, find_owner(f"{path}-owners"), run, found)
    except RunOwnedError:
        return True
    return False
