"""The journal: a sink that has every record on disk before anything is done about it.

A batch is committed when the call returns. Batches that come from several threads while one is being committed are
committed together. It knows batches and its file; workflows and dispatchers are strangers here.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from otflow.errors import WorkflowConfigurationError
from otflow.journal import book, retention
from otflow.journal.database import Synchronous, open_for_writing, settle_path
from otflow.journal.faults import translated
from otflow.journal.inbox import Letter, forget, read_letters, store
from otflow.journal.owners import Owner, find_owner
from otflow.journal.rows import Batch, make_batches
from otflow.records.codec import encode, encode_whole
from otflow.records.record import Record

__all__ = ["Journal"]

_DAY = 86_400
_ENDS_PER_PRUNE = 64


class _Waiting:
    """Batches that a thread wants written, and what came of it."""

    __slots__ = ("batches", "done", "error")

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self.done = False
        self.error: BaseException | None = None


class Journal:
    """A journal in an SQLite file. Call it with records, or give it to `otflow.configure(journal=...)`.

    Args:
        path: the file; it is made if there is none, readable for this user only.
        synchronous: "full" (the default): what was written outlives a power cut; "normal": it outlives the process,
            and a power cut may take the last of it.
        redacted: whether secrets are left out, as in spans; default False. A run that needs one cannot be resumed.
        max_age: delete ended runs that are older, as a `timedelta` or in days; default None: none.
        max_size: delete the oldest ended runs while the file is larger, in bytes; default None: none.
        busy_timeout: how long to wait for another process that writes, in seconds; default 5.

    Raises:
        JournalError: the file cannot be used.
        WorkflowConfigurationError: an argument is wrong.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from otflow.journal import Journal
        >>> journal = Journal(Path(mkdtemp()) / "runs.db", synchronous="normal", max_age=30)
        >>> journal.close()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "full",
        redacted: bool = False,
        max_age: timedelta | float | None = None,
        max_size: int | None = None,
        busy_timeout: float = 5.0,
    ) -> None:
        if synchronous not in {"full", "normal"}:
            raise WorkflowConfigurationError(f"Journal(synchronous={synchronous!r}): use 'full' or 'normal'.")
        self.path = settle_path(path)
        self.redacted = redacted
        self.max_age = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age and max_age * _DAY
        self.max_size = max_size
        self._synchronous = synchronous
        self._timeout = busy_timeout
        self._encode = encode if redacted else encode_whole
        self._queue: deque[_Waiting] = deque()
        self._turn = Lock()  # of whoever writes
        self._known: dict[str, book.Entry] = {}  # runs that are written
        self._claimed: set[str] = set()  # runs of which nothing has been written since
        self._orphans: set[str] = set()  # runs that a failure stopped, and which others do not know to be free
        self._taken: dict[int, tuple[object, int]] = {}  # letters that are on their way, by the identity of their event
        self._ends = 0
        self._pid = os.getpid()
        self._old: list[sqlite3.Connection] = []  # of the parent of a fork
        self.connection = open_for_writing(self.path, synchronous, busy_timeout)
        self._owner = self._find_owner()
        self.prune()

    def __repr__(self) -> str:
        return f"Journal({self.path!r})"

    # ---------------------------------------------------------------- writing

    def __call__(self, records: Sequence[Record]) -> None:
        """Write records; they are committed when this returns.

        Raises:
            JournalError: they are not; nothing of them is written then.
        """
        if not records:
            return
        waiting = _Waiting(list(make_batches(records, self._encode, noted=not self.redacted)))
        self._queue.append(waiting)
        with self._turn:
            if not waiting.done:  # nobody has taken it along meanwhile
                self._write_all()
        if waiting.error is not None:
            raise waiting.error

    def _write_all(self) -> None:
        """Write what waits, in one transaction; one that cannot be written does not take the others along."""
        todo = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with self._transaction() as connection:
                for run in self._orphans:
                    if not self._owner.holds(run):
                        book.release(connection, self._owner, run)
                for waiting in todo:
                    if len(todo) > 1:
                        self._write_apart(connection, waiting)
                    else:
                        self._write(connection, waiting.batches)
        except BaseException as error:  # each of them has to know, whatever it is
            for waiting in todo:
                waiting.error = waiting.error or error
        else:
            self._orphans.clear()
        for waiting in todo:
            waiting.done = True
            self._note(waiting)

    def _write_apart(self, connection: sqlite3.Connection, waiting: _Waiting) -> None:
        connection.execute("SAVEPOINT one")
        try:
            self._write(connection, waiting.batches)
        except Exception as error:  # its own affair
            if not connection.in_transaction:  # SQLite has taken all of it back
                raise
            connection.execute("ROLLBACK TO one")
            with translated(self.path, self._timeout):
                waiting.error = error
        connection.execute("RELEASE one")

    def _write(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._known[batch.run] = book.write(
                connection,
                self._owner,
                batch,
                self._known.get(batch.run),
                claimed=batch.run in self._claimed,
                redacted=self.redacted,
            )
            for received in batch.received:
                if self._taken and id(received.body.live) in self._taken:
                    forget(connection, self._taken[id(received.body.live)][1])

    def _note(self, waiting: _Waiting) -> None:
        """Note which runs go on, after a transaction."""
        for batch in waiting.batches:
            for received in batch.received:
                if self._taken:
                    self._taken.pop(id(received.body.live), None)
            if waiting.error is not None:
                if batch.begins is None or batch.run in self._claimed:  # else it may be that of somebody else
                    self.abandon(batch.run)
                    self._orphans.add(batch.run)
            elif batch.ends:
                self.abandon(batch.run)
                self._ends += 1
            else:
                self._claimed.discard(batch.run)
                self._owner.hold(batch.run)
        if self._ends >= _ENDS_PER_PRUNE and (self.max_age or self.max_size):
            self._ends = 0
            with self._transaction() as connection:
                retention.prune(connection, self.max_age, self.max_size)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            self._begin_in_child()
        with translated(self.path, self._timeout):
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:  # nothing is left half done
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _begin_in_child(self) -> None:
        """Open the file anew in the child of a fork, which may neither use nor close what it inherited."""
        self._old.append(self.connection)
        self._pid = os.getpid()
        for of_parent in (self._known, self._claimed, self._orphans, self._taken):
            of_parent.clear()
        self.connection = open_for_writing(self.path, self._synchronous, self._timeout)
        self._owner = self._find_owner()

    def _find_owner(self) -> Owner:
        return find_owner(f"{self.path}-owners")

    # ---------------------------------------------------------------- runs

    def claim(self, run: str) -> None:
        """Make this process the one that runs a run; `release` or the end of the run takes it back.

        Args:
            run: its whole id.

        Raises:
            RunNotFoundError: the journal does not have it.
            RunOwnedError: somebody runs it.
        """
        with self._turn, self._transaction() as connection:
            book.claim(connection, self._owner, run)
        self._claimed.add(run)
        self._owner.hold(run)

    def release(self, run: str) -> None:
        """Let others go on with a run."""
        with self._turn, self._transaction() as connection:
            book.release(connection, self._owner, run)
        self.abandon(run)

    def abandon(self, run: str) -> None:
        """Say that a run which this process began no longer exists in it, although it has not ended."""
        self._known.pop(run, None)
        self._claimed.discard(run)
        self._owner.drop(run)

    def prune(self) -> int:
        """Delete the ended runs that `max_age` and `max_size` do not keep; return how many."""
        if not (self.max_age or self.max_size):
            return 0
        with self._turn, self._transaction() as connection:
            return retention.prune(connection, self.max_age, self.max_size)

    # ---------------------------------------------------------------- the inbox

    def store_letter(self, run: str, letter: Letter) -> None:
        """Keep an event for a run until somebody runs it; see `otflow.journal.answer`.

        Raises:
            RunNotFoundError: the journal has no such run.
            RunOwnedError: somebody runs it.
            JournalError: the run has ended.
        """
        with self._turn, self._transaction() as connection:
            store(connection, self._owner, run, letter)

    def take_letters(self, run: str) -> list[Letter]:
        """Return the events that were stored for a run and that it has not received, in order."""
        with self._turn, translated(self.path, self._timeout):
            return read_letters(self.connection, run)

    def expect(self, event: object, number: int) -> None:
        """Forget a stored event in the moment in which its run receives it.

        Args:
            event: the live event that is about to be sent.
            number: the number of the letter.
        """
        self._taken[id(event)] = (event, number)  # with the event, so that no other object gets its identity

    def close(self) -> None:
        """Close the file. Runs that go on can no longer be written."""
        with self._turn:
            self.connection.close()
