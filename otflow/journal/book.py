"""What is written into a journal, statement by statement, inside of a transaction that somebody else begins and ends.

It knows batches and the tables. Which process may write which run is decided here.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Container, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from otflow.errors import OtflowError
from otflow.journal.faults import JournalError, RunNotFoundError, RunOwnedError
from otflow.journal.owners import Owner
from otflow.journal.rows import Batch, ids, span_of
from otflow.journal.schema import COUNT, LAST, RECOUNT
from otflow.journal.transactions import Transactions
from otflow.records.body import Body
from otflow.records.identity import Whereabouts
from otflow.records.record import RunStarted

__all__ = ["Entry", "claim", "find_id", "find_run", "release", "require_free", "sign", "write", "write_all"]

_INSERT = "INSERT INTO record (id, at, kind, data, precise) VALUES (?, ?, ?, ?, ?)"
_SETTLE = f"UPDATE run SET owner = ?, last = {LAST}, records = {RECOUNT} WHERE no = ?"  # noqa: S608  constants
_GO_ON = f"UPDATE run SET records = {COUNT}, ended = ?, last = ? WHERE no = ?"  # noqa: S608  a constant
_MOVE = f"UPDATE run SET records = {COUNT}, ended = ?, last = ?, outcome = ?, reason = ?, owner = ? WHERE no = ?"  # noqa: S608  a constant
_MOST_NEWER = 64  # records of which the row of a run does not know
_LONGEST = 500  # characters of a reason
_SHOWN = 5  # ids that a message names
_MOST_OWNERS = 10_000  # at once
_ENDED = frozenset({"completed", "failed"})


class Entry(NamedTuple):
    """A run in the table; and how many records were written since its row there was."""

    no: int
    owner: int | None
    outcome: str
    newer: int = 0


class _About(msgspec.Struct):
    session: str = ""
    user: str = ""


class _Saved(msgspec.Struct):
    """What is of interest here of the saved data from which a run goes on."""

    run: str = ""
    workflow: str = ""
    digest: str = ""
    trace: Whereabouts | None = None
    about: _About | None = None


_SAVED = msgspec.json.Decoder(_Saved)


def sign(file: Transactions, owner: Owner) -> None:
    """Get this process a number as an owner, unless it has one, in a transaction of its own: none takes it back.

    Args:
        file: the journal; this thread has its turn.
        owner: this process.

    Raises:
        JournalError: it cannot be written down.
    """
    with owner.lock:
        if owner.number:
            return
        try:
            with file.begin() as connection:
                _bury(connection, owner)
                _number(connection, owner, file.path)
        except BaseException:  # whatever it was: nobody else may get a number whose lock is here
            owner.leave()
            raise


def _bury(connection: sqlite3.Connection, owner: Owner) -> None:
    """Delete the owners that have ended; runs that they left keep their mark until somebody goes on with them."""
    for (number,) in connection.execute("SELECT number FROM owner").fetchall():
        if not owner.lives(number):
            connection.execute(
                "DELETE FROM owner WHERE number = ? AND NOT EXISTS (SELECT 1 FROM run WHERE run.owner = number)",
                (number,),
            )


def _number(connection: sqlite3.Connection, owner: Owner, path: str) -> None:
    """Take the first number whose lock is free: a process that uses an older file of this name has one, too."""
    for _ in range(_MOST_OWNERS):
        made = connection.execute(
            "INSERT INTO owner (pid, host, since, token) VALUES (?, ?, ?, ?)",
            (os.getpid(), socket.gethostname(), time.time_ns(), uuid.uuid4().hex),
        )
        number = int(made.lastrowid or 0)
        if owner.take(number):
            return
        connection.execute("DELETE FROM owner WHERE number = ?", (number,))
    raise JournalError(
        f"No lock is to be had on the file {path}-owners, by which others know that this process lives. Put the "
        "journal on a local disk."
    )


def find_run(connection: sqlite3.Connection, id: str) -> Entry | None:
    """Look a run up by its whole id."""
    row = connection.execute("SELECT no, owner, outcome FROM run WHERE id = ?", (id,)).fetchone()
    return None if row is None else Entry(*row)


def claim(connection: sqlite3.Connection, owner: Owner, id: str) -> Entry:
    """Make this process, which has signed, the owner of a run that is in the journal.

    Raises:
        RunNotFoundError: it is not.
        RunOwnedError: somebody runs it.
        JournalError: it has completed or failed.
    """
    found = find_run(connection, id)
    if found is None:
        raise RunNotFoundError(f"There is no run {id} in the journal. List the runs that are there.")
    require_free(connection, owner, id, found)
    if found.outcome in _ENDED:
        raise JournalError(f"Run {id} has ended ({found.outcome}), so there is nothing to go on with. Start a new run.")
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
        owner: this process, which has signed.
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
    if batch.outcome is None:
        return _count(connection, entry._replace(newer=entry.newer + len(batch.rows)), batch)
    last = batch.rows[-1]
    mine = None if batch.ends else owner.number
    told = batch.reason[:_LONGEST]
    connection.execute(_MOVE, (last.at, last.seq, batch.outcome, told, mine, entry.no))
    return Entry(entry.no, mine, batch.outcome)


def write_all(
    connection: sqlite3.Connection,
    owner: Owner,
    batches: Sequence[Batch],
    known: Mapping[str, Entry],
    claimed: Container[str],
    *,
    redacted: bool,
) -> dict[str, Entry]:
    """Write batches as `write` does: those that go on with a run of this process all at once, if there are several.

    Args:
        connection: in a transaction, which is of no use any more after an error.
        owner: this process, which has signed.
        batches: the batches, in order.
        known: the runs that this process writes already.
        claimed: the runs that it has made its own before.
        redacted: whether payloads are written with what may be told of them only.

    Returns:
        The runs as they are now.

    Raises:
        JournalError, RunOwnedError: as `write`.
        sqlite3.IntegrityError: one of several batches is in the journal already.
    """
    entries: dict[str, Entry] = {}
    held: list[tuple[int, Batch]] = []
    latest: dict[str, Batch] = {}
    for batch in batches:
        entry = entries.get(batch.run) or known.get(batch.run)
        if len(batches) > 1 and entry is not None and batch.begins is None and batch.outcome is None:
            held.append((entry.no, batch))
            latest[batch.run] = batch
            entries[batch.run] = entry._replace(newer=entry.newer + len(batch.rows))
            continue
        if batch.run in latest:  # its row is written, and what is held counts
            _insert(connection, held)
        mine = batch.run in claimed
        entries[batch.run] = write(connection, owner, batch, entry, claimed=mine, redacted=redacted)
    _insert(connection, held)
    for run, batch in latest.items():
        entries[run] = _count(connection, entries[run], batch)
    return entries


def _insert(connection: sqlite3.Connection, held: list[tuple[int, Batch]]) -> None:
    if held:
        connection.executemany(_INSERT, chain.from_iterable(ids(no, batch.rows) for no, batch in held))
        held.clear()


def _count(connection: sqlite3.Connection, entry: Entry, batch: Batch) -> Entry:
    """Write the row of a run that goes on, if there are too many records of which it does not know."""
    if entry.newer < _MOST_NEWER:
        return entry
    last = batch.rows[-1]
    connection.execute(_GO_ON, (last.at, last.seq, entry.no))
    return entry._replace(newer=0)


def _go_on(connection: sqlite3.Connection, owner: Owner, batch: Batch, found: Entry, *, claimed: bool) -> None:
    if isinstance(batch.begins, RunStarted):
        way = "Give" if found.outcome in _ENDED else f"Go on with it: workflow.resume('{batch.run}'), or give"
        raise JournalError(
            f"Run {batch.run} is in the journal already ({found.outcome}). {way} the new run another id."
        )
    if batch.begins is not None and batch.begins.snapshot is not None:
        _require_same(batch.run, batch.begins.snapshot, found)
    if not claimed:
        require_free(connection, owner, batch.run, found)
    if batch.begins is not None:
        _supersede(connection, found.no, batch.rows[0].seq)
    connection.execute(_SETTLE, (owner.number, found.no))


def _require_same(run: str, snapshot: Body, found: Entry) -> None:
    """Make sure that saved data are those of this run, and not those of one that would take its place."""
    saved = _SAVED.decode(snapshot.whole)
    if saved.run == run and (saved.trace is None or not saved.trace.forked):
        return
    raise JournalError(
        f"Run {run} is in the journal already ({found.outcome}), and what begins here is another run, made of "
        f"the data of run {saved.run}. Give the new run another id, so that no record of {run} gets lost."
    )


def _enter(connection: sqlite3.Connection, owner: Owner, batch: Batch, *, redacted: bool) -> Entry:
    first, begins = batch.rows[0], batch.begins
    workflow = graph = parent = session = user = ""
    if isinstance(begins, RunStarted):
        workflow, graph, parent = begins.workflow, begins.graph, begins.parent_run
        if begins.about is not None:
            session, user = begins.about.session, begins.about.user
    elif begins is not None and begins.snapshot is not None:
        saved = msgspec.json.decode(begins.snapshot.whole)
        workflow, graph, about = saved.get("workflow", ""), saved.get("digest", ""), saved.get("about") or {}
        session, user = about.get("session", ""), about.get("user", "")
    made = connection.execute(
        "INSERT INTO run (id, workflow, graph, started, ended, parent_run, session, user, last, redacted, owner) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        (batch.run, workflow, graph, first.at, first.at, parent, session, user, redacted, owner.number),
    )
    if made.lastrowid is None:
        raise OtflowError("a row that was inserted has a number")
    return Entry(made.lastrowid, owner.number, "open")


def _supersede(connection: sqlite3.Connection, no: int, seq: int) -> None:
    """Put the records aside behind the point from which a run goes on with saved data; none is lost."""
    first, last = span_of(no)
    place = (first + seq, last)
    connection.execute(
        f"INSERT INTO superseded (run, by_seq, at, kind, data, precise) SELECT {no}, {seq}, at, kind, data, precise "  # noqa: S608  numbers
        "FROM record WHERE id BETWEEN ? AND ? ORDER BY id",
        place,
    )
    connection.execute("DELETE FROM record WHERE id BETWEEN ? AND ?", place)


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
