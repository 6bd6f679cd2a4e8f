"""The file of a journal: how it is made, opened for writing or reading, and taken care of.

It knows SQLite and the schema, and no record.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

from otflow.journal.faults import JournalError, translated
from otflow.journal.schema import check_version, migrate

__all__ = ["Synchronous", "is_journal", "open_for_reading", "open_for_writing", "require_journal", "settle_path"]

Synchronous: TypeAlias = Literal["full", "normal"]
_KEPT_LOG = 64 << 20  # bytes of the write-ahead log that stay on disk for reuse


def settle_path(path: str | os.PathLike[str]) -> str:
    """Return the one name that a file has for all of this process."""
    return os.path.realpath(Path(path).expanduser())


def open_for_writing(path: str, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """Open a journal, and make it or bring it to the newest version if need be.

    Args:
        path: the file; it is made with the mode 0600, because all payloads are in it.
        synchronous: whether a commit waits until the disk has it.
        timeout: how long to wait for others, in seconds.

    Raises:
        JournalError: that cannot be done.
    """
    with translated(path, timeout):
        _make_file(path)
        connection = sqlite3.connect(path, timeout, isolation_level=None, check_same_thread=False)
        try:
            if not check_version(connection, path):
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # works only before there is a table
            _require_log(connection, path)
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(f"PRAGMA journal_size_limit = {_KEPT_LOG}")
            migrate(connection, path)
        except BaseException:  # whatever it was, the file is not left open
            connection.close()
            raise
        return connection


def open_for_reading(path: str, timeout: float) -> sqlite3.Connection:
    """Open a journal that others may be writing; nothing can be written through it.

    Args:
        path: the file.
        timeout: how long to wait for others, in seconds.

    Raises:
        JournalError: there is no such file, it is no journal, or it cannot be read.
    """
    if not Path(path).is_file():
        raise JournalError(f"There is no journal {path}. Name the file that otflow.configure(journal=...) was given.")
    with translated(path, timeout):
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=ro", timeout, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            _require_version(connection, path)
        except BaseException:  # whatever it was, the file is not left open
            connection.close()
            raise
        return connection


def is_journal(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a journal, without opening it but through SQLite.

    Whoever opens and closes the file of a database takes all locks away that SQLite has on it in the same process.
    """
    try:
        require_journal(path)
    except JournalError:
        return False
    return True


def require_journal(path: str | os.PathLike[str]) -> None:
    """Make sure that there is a journal, and make none.

    Raises:
        JournalError: there is no such file, or it is no journal.
    """
    open_for_reading(settle_path(path), 1.0).close()


def _make_file(path: str) -> None:
    """Make the file, if it is not there; one that is there is left alone, see `is_journal`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise JournalError(
            f"The journal {path} cannot be opened: {error.strerror}. Name a file in a folder that exists and that "
            "this user may write."
        ) from error


def _require_log(connection: sqlite3.Connection, path: str) -> None:
    [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"The journal {path} cannot keep a write-ahead log. Put it on a local disk.")


def _require_version(connection: sqlite3.Connection, path: str) -> None:
    if not check_version(connection, path):
        raise JournalError(f"{path} is empty, and no journal. Name another file.")
