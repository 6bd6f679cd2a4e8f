"""Index: a full-text index of passages in a SQLite file (FTS5), ranked by BM25.

One connection writes, in one exclusive transaction; while it lasts SQLite refuses every reader with "database is
locked". Readers do not wait for it: whoever asks too early is told so at once, and decides when to ask again.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from otflow.demo.corpus import Passage
from otflow.errors import OtflowError

__all__ = ["MARK_END", "MARK_START", "Hit", "Index", "SearchMissingError", "is_locked", "pick_words", "word_query"]

MARK_START, MARK_END = "\x02", "\x03"
"""What stands around the words of a hit that were looked for."""

REACHES = {
    "near": "words near each other",
    "all": "all words in one passage",
    "any": "any of the words",
}
"""How strictly words are looked for, from the strictest on."""

_STOP = frozenset(
    re.findall(
        r"\w+",
        """a about an and any are as at be been but by can come could did do does for from had happen
        happens has have how i if in into is it its me mean means my no not of on or our shall should so
        tell than that the their them then there these they this those to was we were what when where
        which who whom whose why will with would you your""",
    )
)


class SearchMissingError(OtflowError):
    """This Python was built with an SQLite that has no full-text search."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found; the words that were looked for are marked in its text."""

    path: str
    first: int
    text: str


def is_locked(error: BaseException) -> bool:
    """Tell whether an error means that the index is being written, so that asking again is worth it."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorname.startswith("SQLITE_BUSY")


def pick_words(question: str) -> list[str]:
    """Pick the words of a question that are worth looking for; all of them if none is."""
    words = list(dict.fromkeys(re.findall(r"\w+", question.lower())))
    return [word for word in words if word not in _STOP] or words


def word_query(words: Sequence[str], reach: str) -> str:
    """Write the FTS5 query for words.

    Args:
        words: the words; at least one.
        reach: "near", "all" or "any".
    """
    quoted = [f'"{word}"' for word in words]
    if reach == "near" and len(quoted) > 1:
        return f"NEAR({' '.join(quoted)}, 12)"
    return (" OR " if reach == "any" else " AND ").join(quoted)


class Index:
    """A full-text index in a file that does not exist yet.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._writer: sqlite3.Connection | None = None

    def begin(self) -> None:
        """Make the index and begin to write; from now on until `commit` there are no readers.

        Raises:
            SearchMissingError: this SQLite has no FTS5.
        """
        # autocommit, so that the transaction is the one written here; steps use it from several threads in turn
        self._writer = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._writer.execute(
                "CREATE VIRTUAL TABLE passages USING fts5("
                "path UNINDEXED, first UNINDEXED, text, tokenize = 'porter unicode61')"
            )
        except sqlite3.OperationalError as error:
            raise SearchMissingError(
                f"The SQLite of this Python has no full-text search ({error}); use a Python whose SQLite has FTS5."
            ) from error
        self._writer.execute("BEGIN EXCLUSIVE")

    def add(self, path: str, passages: Iterable[Passage]) -> int:
        """Add the passages of a file; returns how many they were."""
        rows = [(path, passage.first, "\n".join(passage.lines)) for passage in passages]
        with self._lock:
            self._writing().executemany("INSERT INTO passages VALUES (?, ?, ?)", rows)
        return len(rows)

    def commit(self) -> None:
        """End the writing; from now on there are readers."""
        with self._lock:
            self._writing().execute("COMMIT")

    def close(self) -> None:
        """Close the connection that writes; what was not committed is gone."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
            self._writer = None

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            raise AssertionError("the index is begun before anything is written")
        return self._writer

    def search(self, words: Sequence[str], reach: str, limit: int) -> list[Hit]:
        """Find passages, the best first.

        Args:
            words: what to look for; at least one.
            reach: how strictly: "near", "all" or "any".
            limit: how many passages.

        Raises:
            sqlite3.OperationalError: "database is locked": the index is being written.
        """
        # one query finds and ranks the passages, another marks every word in them
        sql = """
            WITH best AS (
                SELECT rowid AS id, rank AS score FROM passages WHERE passages MATCH ?
                ORDER BY rank, path, first LIMIT ?
            )
            SELECT path, first, highlight(passages, 2, ?, ?) FROM passages JOIN best ON best.id = passages.rowid
            WHERE passages MATCH ? ORDER BY score, path, first
        """
        query, every = word_query(words, reach), word_query(words, "any")
        with self._open() as reader:
            rows = reader.execute(sql, (query, limit, MARK_START, MARK_END, every)).fetchall()
        return [Hit(path, first, text) for path, first, text in rows]

    def count(self, words: Sequence[str]) -> tuple[dict[str, int], int]:
        """Count the passages in which each word stands, and all passages."""
        sql = "SELECT count(*) FROM passages WHERE passages MATCH ?"
        with self._open() as reader:
            found = {word: reader.execute(sql, (word_query([word], "all"),)).fetchone()[0] for word in words}
            (total,) = reader.execute("SELECT count(*) FROM passages").fetchone()
        return found, total

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # no timeout: SQLite would wait in silence for the writer, and the run could not tell
        reader = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=0)
        try:
            yield reader
        finally:
            reader.close()
