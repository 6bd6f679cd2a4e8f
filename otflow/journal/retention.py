"""Retention: which runs a journal no longer keeps, by age and by size. Only runs that have ended are deleted.

A run that waits, was cancelled or timed out can be gone on with, but the latter two have ended as well: they go, too.
"""

from __future__ import annotations

import sqlite3
import time

from otflow.journal.rows import span_of

__all__ = ["prune"]

# a step that runs again asks what became of the runs that it had begun
_ENDED = (
    "outcome IN ('completed', 'failed', 'cancelled', 'timed out') AND owner IS NULL AND NOT EXISTS "
    "(SELECT 1 FROM run above WHERE above.id = run.parent_run AND above.outcome IN ('open', 'paused'))"
)
_MOST = 256  # runs in one go, so that nobody waits long
_NS = 1_000_000_000


def prune(connection: sqlite3.Connection, max_age: float | None, max_size: int | None) -> int:
    """Delete runs; return how many.

    Args:
        connection: in a transaction.
        max_age: seconds since their end; None: any.
        max_size: bytes that the file may have; None: any.
    """
    gone = 0
    if max_age is not None:
        before = time.time_ns() - int(max_age * _NS)
        query = f"SELECT no FROM run WHERE {_ENDED} AND ended < ? ORDER BY started LIMIT ?"  # noqa: S608  a constant
        for (number,) in connection.execute(query, (before, _MOST)).fetchall():
            _delete(connection, number)
            gone += 1
    if max_size is not None:
        query = f"SELECT no FROM run WHERE {_ENDED} ORDER BY started LIMIT ?"  # noqa: S608  a constant
        oldest = connection.execute(query, (_MOST,)).fetchall()
        for (number,) in oldest:
            if _size(connection) <= max_size:
                break
            _delete(connection, number)
            gone += 1
    if gone:
        connection.execute("PRAGMA incremental_vacuum").fetchall()
    return gone


def _delete(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM record WHERE id BETWEEN ? AND ?", span_of(number))
    connection.execute("DELETE FROM superseded WHERE run = ?", (number,))
    connection.execute("DELETE FROM inbox WHERE run = ?", (number,))
    connection.execute("DELETE FROM run WHERE no = ?", (number,))


def _size(connection: sqlite3.Connection) -> int:
    [pages], [free], [size] = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
