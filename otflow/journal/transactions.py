"""Transactions: a connection to a journal that one thread uses at a time, in its process or in children of that.

It knows SQLite and forks, and no table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from otflow.journal.faults import translated
from otflow.journal.forks import watch

__all__ = ["Transactions"]


class Transactions:
    """Keeps a file open.

    Args:
        path: the file.
        timeout: how long SQLite waits for others, in seconds.
        opened: opens it.

    Attributes:
        turn: whoever uses the connection holds this lock.
        forked: called in the child of a fork, which opens the file anew when it uses it.

    Raises:
        JournalError: the file cannot be used.
    """

    def __init__(self, path: str, timeout: float, opened: Callable[[], sqlite3.Connection]) -> None:
        self.path = path
        self.timeout = timeout
        self.turn = Lock()
        self.forked: Callable[[], None] = _nothing
        self._open = opened
        self._closed = False
        self._old: list[sqlite3.Connection] = []  # of the parent of a fork, which was using them
        self._connection: sqlite3.Connection | None = opened()
        watch(self)

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection.

        Raises:
            JournalError: this is the child of a fork, and the file can no longer be used.
        """
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        """Make what is written in here one transaction.

        Raises:
            JournalError: it failed; nothing of it is written then.
        """
        with translated(self.path, self.timeout):
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:  # nothing is left half done
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Read in here while nobody else uses the connection: nothing is seen that is not committed.

        Raises:
            JournalError: it failed.
        """
        with self.turn, translated(self.path, self.timeout):
            yield self.connection

    def close(self) -> None:
        """Close the file."""
        with self.turn:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    def renew(self, *, rested: bool) -> None:
        """Let go of the connection of the parent of a fork, which no child may use, nor close while it is in use.

        Args:
            rested: whether no thread used it.
        """
        self.turn = Lock()
        if not self._closed and (inherited := self._connection) is not None:
            self._connection = None
            if rested:  # as long as it is open, SQLite believes that this process has the locks of its parent
                with suppress(sqlite3.Error):
                    inherited.close()
            else:
                self._old.append(inherited)
        self.forked()


def _nothing() -> None:
    """Do nothing."""
