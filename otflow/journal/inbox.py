"""The inbox: events for runs that nobody runs at the moment, kept until somebody does.

It knows its table, and runs by their ids. What the events mean, and whether they can be read, others know.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from otflow.journal.book import find_run, require_free
from otflow.journal.faults import JournalError, RunNotFoundError
from otflow.journal.owners import Owner
from otflow.journal.transactions import Transactions
from otflow.records.record import EventReceived

__all__ = ["Inbox", "Letter", "read_letters"]

_SINCE = 2  # the version of the schema that has reasons


class Letter(NamedTuple):
    """An event for a run that nobody runs.

    Args:
        type: its type key.
        data: its JSON.
        step: the only step that is to get it; empty: all.
        number: its number in the inbox; 0 before it is there.
        run: the id of the run.
        at: when it was put in, in nanoseconds since the epoch.
        reason: why the run could not take it; empty: it has not been tried.
    """

    type: str
    data: str
    step: str = ""
    number: int = 0
    run: str = ""
    at: int = 0
    reason: str = ""


class Inbox:
    """The inbox of a journal.

    Args:
        file: the journal.
        owner: this process.
    """

    def __init__(self, file: Transactions, owner: Owner) -> None:
        self._file = file
        self._owner = owner
        self._taken: dict[int, tuple[object, int]] = {}  # letters on their way, by the identity of their event

    def store(self, run: str, letter: Letter) -> None:
        """Keep an event for a run until somebody runs it; see `otflow.journal.answer`.

        Raises:
            RunNotFoundError: the journal has no such run.
            RunOwnedError: somebody runs it, and would not look.
            JournalError: the run has come to its end.
        """
        with self._file.turn, self._file.begin() as connection:
            found = find_run(connection, run)
            if found is None:
                raise RunNotFoundError(f"There is no run {run} in the journal. List the runs that are there.")
            if found.outcome in {"completed", "failed"}:
                raise JournalError(f"Run {run} has ended ({found.outcome}), so it takes no events any more.")
            require_free(connection, self._owner, run, found)
            connection.execute(
                "INSERT INTO inbox (run, at, type, data, step) VALUES (?, ?, ?, ?, ?)",
                (found.no, time.time_ns(), letter.type, letter.data, letter.step),
            )

    def read(self, run: str) -> Sequence[Letter]:
        """Return the letters for a run that it has not received and that were not put aside, in order."""
        return [letter for letter in self.list(run) if not letter.reason]

    def list(self, run: str = "") -> Sequence[Letter]:
        """Return all letters that are there, in order; only those for a run if it is named by its whole id."""
        with self._file.look() as connection:
            return read_letters(connection, run)

    def remove(self, number: int) -> None:
        """Delete a letter.

        Raises:
            JournalError: there is no such letter.
        """
        with self._file.turn, self._file.begin() as connection:
            if not _delete(connection, number):
                raise JournalError(
                    f"There is no letter {number} in the journal {self._file.path}. List those that are there with "
                    "list_letters()."
                )

    def put_aside(self, number: int, reason: str) -> None:
        """Keep a letter that its run cannot take, and do not offer it again."""
        with self._file.turn, self._file.begin() as connection:
            connection.execute("UPDATE inbox SET reason = ? WHERE number = ?", (reason, number))

    def expect(self, event: object, number: int) -> None:
        """Take a letter out in the moment in which its run receives it.

        Args:
            event: the live event that is about to be sent.
            number: the number of the letter.
        """
        self._taken[id(event)] = (event, number)  # with the event, so that no other object gets its identity

    def take_out(self, connection: sqlite3.Connection, received: Iterable[EventReceived]) -> None:
        """Take the letters out that are received now.

        Args:
            connection: in the transaction that writes the records.
            received: the records.
        """
        if self._taken:
            for record in received:
                if (taken := self._taken.get(id(record.body.live))) is not None:
                    _delete(connection, taken[1])

    def forget(self, received: Iterable[EventReceived]) -> None:
        """Expect these no more: the transaction is over."""
        if self._taken:
            for record in received:
                self._taken.pop(id(record.body.live), None)

    def renew(self) -> None:
        """Be the inbox of the child of a fork, which sends nothing that its parent was about to send."""
        self._taken.clear()


def read_letters(connection: sqlite3.Connection, run: str = "") -> Sequence[Letter]:
    """Return all letters that are there, in order.

    Args:
        connection: the journal.
        run: for this run only, by its whole id; default "": for all.
    """
    [version] = connection.execute("PRAGMA user_version").fetchone()
    reason = "inbox.reason" if version >= _SINCE else "''"  # a file that is only read stays as it is
    rows = connection.execute(
        f"SELECT type, data, step, number, run.id, at, {reason} FROM inbox JOIN run ON run.no = inbox.run "  # noqa: S608  constants
        "WHERE ? IN ('', run.id) ORDER BY number",
        (run,),
    )
    return [Letter(*row) for row in rows]


def _delete(connection: sqlite3.Connection, number: int) -> bool:
    """Delete a letter; tell whether it was there."""
    return connection.execute("DELETE FROM inbox WHERE number = ?", (number,)).rowcount > 0
