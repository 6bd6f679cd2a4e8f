"""Reading a journal back: which runs there are, and their records. Nothing is written, and writers are not held up."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from otflow.journal.book import find_id
from otflow.journal.database import open_for_reading, settle_path
from otflow.journal.faults import JournalError
from otflow.journal.inbox import Letter, read_letters
from otflow.journal.rows import span_of
from otflow.journal.schema import COUNT, ENDED
from otflow.journal.transactions import Transactions
from otflow.records.codec import decode, read_body
from otflow.records.execution import Execution, RunInfo
from otflow.records.record import Record

__all__ = ["JournalSource", "NotedRecord", "read_records"]

_TIMEOUT = 5.0
_PAGE = 10_000  # rows
_DECODER: msgspec.json.Decoder[list[Record]] = msgspec.json.Decoder(list[Record], dec_hook=read_body)


class NotedRecord(NamedTuple):
    """A record with the note that says of which classes its value is made; None if its JSON says all."""

    record: Record
    precise: str | None


class JournalSource:
    """A journal, to be read.

    Args:
        path: the file.
        busy_timeout: how long to wait for others, in seconds; default 5.

    Raises:
        JournalError: there is no such file, or it is no journal.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = _TIMEOUT) -> None:
        self.path = settle_path(path)
        opened = partial(open_for_reading, self.path, busy_timeout)
        self._file = Transactions(self.path, busy_timeout, opened)

    def runs(self) -> Iterator[RunInfo]:
        """List the runs, the earliest first; few records of each are looked at."""
        with self._file.look() as connection:
            rows = connection.execute(
                f"SELECT id, workflow, started, {ENDED}, outcome, {COUNT}, ? FROM run ORDER BY started, no",  # noqa: S608  constants
                (self.path,),
            ).fetchall()
        yield from map(RunInfo._make, rows)

    def latest(self, count: int = 20, workflow: str = "") -> list[RunInfo]:
        """List the runs that began last, the latest first.

        Args:
            count: how many; default 20.
            workflow: of this workflow only; default all.
        """
        with self._file.look() as connection:
            rows = connection.execute(
                f"SELECT id, workflow, started, {ENDED}, outcome, {COUNT} FROM run WHERE ? IN ('', workflow) "  # noqa: S608  constants
                "ORDER BY started DESC, no DESC LIMIT ?",
                (workflow, count),
            )
            return [RunInfo._make((*row, self.path)) for row in rows]

    def run(self, id: str) -> Execution:
        """Read one run.

        Args:
            id: its id, or the beginning of it that no other run shares.

        Raises:
            RunNotFoundError: there is no such run, or there are several.
            JournalError: the file cannot be read.
        """
        with self._file.look() as connection:
            whole = find_id(connection, id)
            records = [noted.record for noted in read_records(connection, whole)]
        if not records:
            raise JournalError(f"Run {whole} has no records in the journal {self.path}.")
        return Execution(records)

    def letters(self, run: str = "") -> Sequence[Letter]:
        """List the events that are kept for runs.

        Args:
            run: of this run only, by its id or the beginning of it; default "": of all.

        Raises:
            RunNotFoundError: there is no such run, or there are several.
        """
        with self._file.look() as connection:
            return read_letters(connection, run and find_id(connection, run))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_records(connection: sqlite3.Connection, run: str) -> Iterator[NotedRecord]:
    """Read the records of a run, in order.

    Args:
        connection: the journal.
        run: the whole id.

    Raises:
        JournalError: what stands there are no records of this release.
    """
    row = connection.execute("SELECT no FROM run WHERE id = ?", (run,)).fetchone()
    if row is None:
        return
    first, last = span_of(row[0])
    rows = connection.execute(
        "SELECT data, precise, id - ? FROM record WHERE id BETWEEN ? AND ? ORDER BY id", (first, first, last)
    )
    while page := rows.fetchmany(_PAGE):
        try:
            records = _DECODER.decode(f"[{','.join(data for data, *_ in page)}]")
        except msgspec.MsgspecError:
            records = [_decode_one(run, seq, data) for data, _, seq in page]  # which says where
        yield from (NotedRecord(record, precise) for record, (_, precise, _) in zip(records, page, strict=True))


def _decode_one(run: str, seq: int, data: str) -> Record:
    try:
        return decode(data)
    except msgspec.MsgspecError as error:  # the data may be a secret
        raise JournalError(
            f"Record {seq} of run {run} cannot be read from the journal: {error}. Was the journal written by another "
            "release, or changed by hand?"
        ) from error
