"""The journal: a sink that has every record on disk before anything is done about it.

A batch is committed when the call returns. Batches of several runs that come in one call are committed together, and so
are those that come from several threads while one is being committed. It knows batches and its file; workflows and
dispatchers are strangers here.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import ChainMap, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import TypeAlias

from otflow.errors import WorkflowConfigurationError
from otflow.journal import book, retention
from otflow.journal.database import Synchronous, open_for_writing, settle_path
from otflow.journal.faults import JournalError, translate
from otflow.journal.inbox import Inbox
from otflow.journal.owners import find_owner
from otflow.journal.rows import Batch, make_batches
from otflow.journal.source import NotedRecord, read_records
from otflow.journal.transactions import Transactions
from otflow.records.codec import encode, encode_whole
from otflow.records.record import Record

__all__ = ["Journal"]

_log = logging.getLogger(__name__)
_DAY = 86_400
_ENDS_PER_PRUNE = 64


Known: TypeAlias = Mapping[str, book.Entry]
"""Runs that are written, by id."""


class _Waiting:
    """Batches that a thread wants written, and what came of it."""

    __slots__ = ("batches", "done", "error")

    def __init__(self) -> None:
        self.batches: Sequence[Batch] = ()
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
        self._encode = encode if redacted else encode_whole
        self._queue: deque[_Waiting] = deque()
        self._known: dict[str, book.Entry] = {}  # runs that are written
        self._claimed: set[str] = set()  # runs of which nothing has been written since
        self._orphans: set[str] = set()  # runs that a failure stopped, and which others do not know to be free
        self.elsewhere: tuple[Callable[[Sequence[Record]], bool], ...] = ()  # tell what is in another journal
        self._ends = _ENDS_PER_PRUNE
        self._prunes = True  # none has failed
        self._file = Transactions(
            self.path, busy_timeout, partial(open_for_writing, self.path, synchronous, busy_timeout)
        )
        self._file.forked = self._forget_parent
        self._owner = find_owner(f"{self.path}-owners")
        self.inbox = Inbox(self._file, self._owner)
        self._prune_sometimes()

    def __repr__(self) -> str:
        return f"Journal({self.path!r})"

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that writes."""
        return self._file.connection

    def __call__(self, records: Sequence[Record]) -> None:
        """Write records; they are committed when this returns.

        Raises:
            JournalError: they are not; nothing of them is written then.
        """
        if records and (error := self.write_all([records])[0]) is not None:
            raise error

    def write_all(self, batches: Sequence[Sequence[Record]]) -> list[BaseException | None]:
        """Write batches of different runs in one transaction.

        Args:
            batches: the records of each; all of a batch are written, or none.

        Returns:
            For each batch what prevented it, or None.
        """
        waiting = [_Waiting() for _ in batches]
        for each, records in zip(waiting, batches, strict=True):
            if self.elsewhere and any(tell(records) for tell in self.elsewhere):
                each.done = True
                continue
            try:
                each.batches = list(make_batches(records, self._encode, noted=not self.redacted))
            except Exception as error:  # its own affair
                each.error, each.done = error, True
            else:
                self._queue.append(each)
        with self._file.turn:
            if not all(each.done for each in waiting):  # nobody has taken them along meanwhile
                self._write_waiting()
        return [each.error for each in waiting]

    def _write_waiting(self) -> None:
        """Write what waits, in one transaction; one that cannot be written does not take the others along."""
        todo = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            book.sign(self._file, self._owner)
            if not self._write_together(todo):
                self._write_apart(todo)
        except BaseException as error:  # each of them has to know, whatever it is
            _refuse(todo, error, self.path)
            if not isinstance(error, Exception):  # meant for this thread, whoever waits for the batches
                raise
        finally:
            for waiting in todo:
                waiting.done = True
                self._note(waiting)
        self._prune_sometimes()

    def _write_together(self, todo: Sequence[_Waiting]) -> bool:
        """Write all or nothing; False if only some of them may be the reason for nothing."""
        begun = False
        try:
            with self._file.begin() as connection:
                begun = True
                for run in self._orphans:
                    if not self._owner.holds(run):
                        book.release(connection, self._owner, run)
                entries = self._write(connection, [batch for each in todo for batch in each.batches], self._known)
        except Exception:  # whatever it is, the others may have nothing to do with it
            if not begun or len(todo) == 1:
                raise
            return False
        self._known.update(entries)
        self._orphans.clear()
        return True

    def _write_apart(self, todo: Sequence[_Waiting]) -> None:
        """Write what can be written, in one transaction; the others get their errors."""
        entries: dict[str, book.Entry] = {}
        with self._file.begin() as connection:
            for waiting in todo:
                connection.execute("SAVEPOINT one")
                try:
                    entries |= self._write(connection, waiting.batches, ChainMap(entries, self._known))
                except Exception as error:  # its own affair
                    if not connection.in_transaction:  # SQLite has taken all of it back
                        raise
                    connection.execute("ROLLBACK TO one")
                    waiting.error = translate(error, self.path, self._file.timeout)
                connection.execute("RELEASE one")
        self._known.update(entries)

    def _write(self, connection: sqlite3.Connection, batches: Sequence[Batch], known: Known) -> dict[str, book.Entry]:
        entries = book.write_all(connection, self._owner, batches, known, self._claimed, redacted=self.redacted)
        for batch in batches:
            self.inbox.take_out(connection, batch.received)
        return entries

    def _note(self, waiting: _Waiting) -> None:
        """Note which runs go on, after a transaction."""
        for batch in waiting.batches:
            self.inbox.forget(batch.received)
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

    def _prune_sometimes(self) -> None:
        """Delete old runs after some have ended. This is no reason for a run to fail: it is tried again later."""
        if self._ends < _ENDS_PER_PRUNE or not (self.max_age or self.max_size):
            return
        self._ends = 0
        try:
            with self._file.begin() as connection:
                retention.prune(connection, self.max_age, self.max_size)
        except Exception:  # whatever it is
            if self._prunes:
                _log.exception(
                    "The journal %s could not delete old runs. It will try again; this is told once.", self.path
                )
            self._prunes = False

    def _forget_parent(self) -> None:
        """Forget what belongs to the parent of a fork."""
        for of_parent in (self._queue, self._known, self._claimed, self._orphans):
            of_parent.clear()
        self.inbox.renew()

    def find(self, run: str) -> str:
        """Return the whole id of a run, of which the beginning may be given.

        Raises:
            RunNotFoundError: there is none, or several begin so.
        """
        with self._file.look() as connection:
            return book.find_id(connection, run)

    def read(self, run: str) -> list[NotedRecord]:
        """Return the records of a run, named by its whole id, in order."""
        with self._file.look() as connection:
            return list(read_records(connection, run))

    def look(self) -> AbstractContextManager[sqlite3.Connection]:
        """Read in here what is committed, while nobody writes."""
        return self._file.look()

    def claim(self, run: str) -> None:
        """Make this process the one that runs a run; `release` or the end of the run takes it back.

        Args:
            run: its whole id.

        Raises:
            RunNotFoundError: the journal does not have it.
            RunOwnedError: somebody runs it.
            JournalError: it has completed or failed.
        """
        with self._file.turn, self._owner.lock:  # until it is held here: another journal of this process may look
            book.sign(self._file, self._owner)
            with self._file.begin() as connection:
                book.claim(connection, self._owner, run)
            self._known.pop(run, None)  # another journal may have written it since
            self._claimed.add(run)
            self._owner.hold(run)

    def release(self, run: str) -> None:
        """Let others go on with a run."""
        with self._file.turn, self._file.begin() as connection:
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
        with self._file.turn, self._file.begin() as connection:
            return retention.prune(connection, self.max_age, self.max_size)

    def close(self) -> None:
        """Close the file. Runs that go on can no longer be written."""
        self._file.close()


def _refuse(todo: Sequence[_Waiting], error: BaseException, path: str) -> None:
    """Tell those who wait why nothing of theirs is written; threads are not interrupted for each other."""
    if not isinstance(error, Exception):
        error = JournalError(
            f"The journal {path} was interrupted by a {type(error).__name__} before this was written. Go on from what "
            "was committed before, or start the run again."
        )
    for waiting in todo:
        waiting.error = waiting.error or error
