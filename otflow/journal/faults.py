"""What can go wrong with a journal, as errors that say what to do. It knows SQLite's codes, and no run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from otflow.errors import OtflowError

__all__ = ["JournalBusyError", "JournalError", "RunNotFoundError", "RunOwnedError", "translate", "translated"]


class JournalError(OtflowError):
    """A journal cannot be read or written; the message says why, and what to do."""


class JournalBusyError(JournalError):
    """Another process held the journal for longer than the busy timeout."""


class RunNotFoundError(JournalError, LookupError):
    """The journal has no run of that id, or several whose ids begin so."""


class RunOwnedError(JournalError):
    """Another process, or another handler of this one, runs that run."""


_ADVICE = {
    sqlite3.SQLITE_FULL: "there is no room left. Free some space, or have old runs deleted (max_age, max_size)",
    sqlite3.SQLITE_READONLY: "it cannot be written. Give this user the right to write the file and its folder",
    sqlite3.SQLITE_IOERR: "the disk reported an error. Look at the disk and the log of the system",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Name a file in a folder that exists and that this user may use",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database. Name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Save what can be saved (sqlite3 FILE .recover), and begin a new file",
}
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def translated(path: str, timeout: float) -> Iterator[None]:
    """Raise what SQLite raises in here as an error that says what to do.

    Args:
        path: the file.
        timeout: how long SQLite waits for others, in seconds.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path, timeout) from error


def translate(error: Exception, path: str, timeout: float) -> Exception:
    """Return an error that says what to do in place of one of SQLite's; others as they are.

    Args:
        error: the error.
        path: the file.
        timeout: how long SQLite waits for others, in seconds.
    """
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the details
    if code in _BUSY:
        return JournalBusyError(
            f"The journal {path} is locked: another process has been writing it for more than {timeout:g} seconds. "
            "Find the process that holds it, or wait longer: Journal(path, busy_timeout=...)."
        )
    what = _ADVICE.get(code, "SQLite refused it")
    return JournalError(f"The journal {path} failed: {what} ({error}).")
