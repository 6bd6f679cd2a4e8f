"""What is written into a journal, statement by statement, inside of a transaction that somebody else begins and ends.

It knows batches and the tables. Which process may write which run is decided here.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from typing import NamedTuple

import msgspec

from otflow.errors import OtflowError
from otflow.journal.faults import JournalError, RunNotFoundError, RunOwnedError
from otflow.journal.owners import Owner
from otflow.journal.rows import Batch, ids, span_of
from otflow.records.record import RunStarted

__all__ = ["Entry", "claim", "find_id", "find_run", "release", "require_free", "sign", "write"]

_INSERT = "INSERT INTO record (id, at, kind, data, precise) VALUES (?, ?, ?, ?, ?)"
_GO_ON = "UPDATE run SET ended = ?, last = ?, records = records + ? WHERE no = ?"
_MOVE = "UPDATE run SET ended = ?, last = ?, records = records + ?, outcome = ?, reason = ?, owner = ? WHERE no = ?"
_LONGEST = 500  # characters of a reason
_SHOWN = 5  # ids that a message names


class Entry(NamedTuple):
    """A run in the table: its number, and the number of its last record."""

    no: int
    last: int
    owner: int | None
    outcome: str


def sign(connection: sqlite3.Connection, owner: Owner) -> None:
    """Get this process a number as an owner, unless it has one."""
    if owner.number:
        return
    for (number,) in connection.execute("SELECT number FROM owner").fetchall():
        if not owner.lives(number):  # runs that it left keep their mark until somebody goes on with them
            connection.execute(
                "DELETE FROM owner WHERE number = ? AND NOT EXISTS (SELECT 1 FROM run WHERE run.owner = number)",
                (number,),
            )
    made = connection.execute(
        "INSERT INTO owner (pid, host, since, token) VALUES (?, ?, ?, ?)",
        (os.getpid(), socket.gethostname(), time.time_ns(), uuid.uuid4().hex),
    )
    owner.take(int(made.lastrowid or 0))


def find_run(connection: sqlite3.Connection, id: str) -> Entry | None:
    """Look a run up by its whole id."""
    row = connection.execute("SELECT no, last, owner, outcome FROM run WHERE id = ?", (id,)).fetchone()
    return None if row is None else Entry(*row)


def claim(connection: sqlite3.Connection, owner: Owner, id: str) -> Entry:
    """Make this process the owner of a run that is in the journal.

    Raises:
        RunNotFoundError: it is not.
        RunOwnedError: somebody runs it.
    """
    found = find_run(connection, id)
    if found is None:
        raise RunNotFoundError(f"There is no run {id} in the journal. List the runs that are there.")
    require_free(connection, owner, id, found)
    sign(connection, owner)
    connection.execute("UPDATE run SET owner = ? WHERE no = ?", (owner.number, found.no))
    return found


def release(connection: sqlite3.Connection, owner: Owner, id: str) -> None:
    """Let others go on with a run."""
    connection.execute("UPDATE run SET owner = NULL WHERE id = ? AND owner = ?", (id, owner.number))


def require_free(connection: sqlite3.Connection, owner: Owner, id: str, found: Entry) -> None:
    """Make sure that nobody runs a run.

    Raises:
        RunOwnedError: somebody does.
    """
    if owner.holds(id):
        raise RunOwnedError(f"Run {id} goes on in this process. Use its handler, or wait until it has ended.")
    if found.owner is None or found.owner == owner.number or not owner.lives(found.owner):
        return
    row = connection.execute("SELECT pid, host FROM owner WHERE number = ?", (found.owner,)).fetchone()
    who = f"process {row[0]} on {row[1]}" if row is not None else "another process"
    raise RunOwnedError(
        f"Run {id} is owned by {who}, which goes on. Only one process runs a run: wait until that one has ended, "
        "end it, or send the run its events there."
    )


def write(
    connection: sqlite3.Connection, owner: Owner, batch: Batch, known: Entry | None, *, claimed: bool, redacted: bool
) -> Entry:
    """Write a batch, and what it changes about its run.

    Args:
        connection: in a transaction.
        owner: this process.
        batch: the batch.
        known: the run, if this process writes it already.
        claimed: whether this process has made the run its own before.
        redacted: whether payloads are written with what may be told of them only.

    Returns:
        The run as it is now.

    Raises:
        JournalError: the run is in the journal already, or these records of it are.
        RunOwnedError: another process runs it.
    """
    sign(connection, owner)
    entry = known
    if entry is None or batch.begins is not None:
        entry = find_run(connection, batch.run)
        if entry is None:
            entry = _enter(connection, owner, batch, redacted=redacted)
        else:
            _go_on(connection, owner, batch, entry, claimed=claimed)
    try:
        connection.executemany(_INSERT, ids(entry.no, batch.rows))
    except sqlite3.IntegrityError as error:
        raise JournalError(
            f"Record {batch.rows[0].seq} of run {batch.run} is in the journal already, and nothing is written twice. "
            "Is the journal attached twice, or is the run gone on with from old data? Give it an id of its own."
        ) from error
    last = batch.rows[-1]
    if batch.outcome is None:
        connection.execute(_GO_ON, (last.at, last.seq, len(batch.rows), entry.no))
    else:
        mine = None if batch.ends else owner.number
        told = batch.reason[:_LONGEST]
        connection.execute(_MOVE, (last.at, last.seq, len(batch.rows), batch.outcome, told, mine, entry.no))
    return entry._replace(last=last.seq, outcome=batch.outcome or entry.outcome)


def _go_on(connection: sqlite3.Connection, owner: Owner, batch: Batch, found: Entry, *, claimed: bool) -> None:
    if isinstance(batch.begins, RunStarted):
        raise JournalError(
            f"Run {batch.run} is in the journal already ({found.outcome}). Go on with it: "
            f"workflow.resume('{batch.run}'), or give the new run another id."
        )
    if not claimed:
        require_free(connection, owner, batch.run, found)
    connection.execute("UPDATE run SET owner = ? WHERE no = ?", (owner.number, found.no))
    if batch.begins is not None and batch.rows[0].seq <= found.last:
        _supersede(connection, found.no, batch.rows[0].seq)


def _enter(connection: sqlite3.Connection, owner: Owner, batch: Batch, *, redacted: bool) -> Entry:
    first, begins = batch.rows[0], batch.begins
    workflow = graph = parent = session = user = ""
    if isinstance(begins, RunStarted):
        workflow, graph, parent = begins.workflow, begins.graph, begins.parent_run
        if begins.about is not None:
            session, user = begins.about.session, begins.about.user
    elif begins is not None and begins.snapshot is not None:
        saved = msgspec.json.decode(begins.snapshot.whole)
        workflow, graph = saved.get("workflow", ""), saved.get("digest", "")
    made = connection.execute(
        "INSERT INTO run (id, workflow, graph, started, ended, parent_run, session, user, last, redacted, owner) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (batch.run, workflow, graph, first.at, first.at, parent, session, user, redacted, owner.number),
    )
    if made.lastrowid is None:
        raise OtflowError("a row that was inserted has a number")
    return Entry(made.lastrowid, 0, owner.number, "open")


def _supersede(connection: sqlite3.Connection, no: int, seq: int) -> None:
    """Put the records aside behind the point from which a run goes on with saved data; none is lost."""
    first, last = span_of(no)
    place = (first + seq, last)
    moved = connection.execute(
        f"INSERT INTO superseded (run, by_seq, at, kind, data, precise) SELECT {no}, {seq}, at, kind, data, precise "  # noqa: S608  numbers
        "FROM record WHERE id BETWEEN ? AND ? ORDER BY id",
        place,
    ).rowcount
    connection.execute("DELETE FROM record WHERE id BETWEEN ? AND ?", place)
    connection.execute("UPDATE run SET records = records - ? WHERE no = ?", (moved, no))


def find_id(connection: sqlite3.Connection, id: str) -> str:
    """Return the whole id of a run, of which the beginning may be given.

    Raises:
        RunNotFoundError: there is none, or several begin so.
    """
    found = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM run WHERE id >= ? AND id < ? ORDER BY id LIMIT ?", (id, id + "\U0010ffff", _SHOWN + 1)
        )
    ]
    if id in found:
        return id
    if not found or not id:
        raise RunNotFoundError(f"There is no run {id!r} in the journal. List the runs that are there with runs().")
    if len(found) > 1:
        more = ", ..." if len(found) > _SHOWN else ""
        raise RunNotFoundError(
            f"Several runs begin with {id!r}: {', '.join(found[:_SHOWN])}{more}. Give more of the id."
        )
    return str(found[0])
