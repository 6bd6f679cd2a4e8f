"""Opening: which reader fits a path, a URL, or what is in memory.

A path is told by the first bytes of the file, a URL by what the server answers; names and endings tell nothing.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from otflow.errors import ReaderError
from otflow.journal import JournalError, JournalSource
from otflow.readers.files import LIMIT, SQLITE, open_files
from otflow.readers.jaeger import JaegerLook, is_jaeger
from otflow.readers.memory import MemorySource
from otflow.readers.phoenix import PhoenixLook, is_phoenix
from otflow.readers.sighted import SightedSource
from otflow.readers.source import Source
from otflow.readers.web import Web, check_headers

__all__ = ["open_source"]

_BESIDE = ("-owners", "-wal", "-shm", "-journal")  # what stands beside a journal while it is written
_NAMED = 3
_DAYS = 30 * 86400.0
_JAEGER_PAGE = re.compile(r"(?P<base>.*)/(?:trace|api/traces|api/v3/traces)/(?P<trace>[0-9a-fA-F]{1,32})/?")
_PHOENIX_PAGE = re.compile(
    r"(?P<base>.*?)(?:/projects/(?P<project>[^/]+))(?:/(?:traces|spans|sessions)(?:/(?P<trace>[0-9a-fA-F]{32}))?)?(?:/.*)?"
)
_PHOENIX_LINK = re.compile(r"(?P<base>.*)/redirects/traces/(?P<trace>[0-9a-fA-F]{32})/?")
_SEARCH_PAGE = re.compile(r"(?P<base>.*)/(?:search|monitor|dependencies|projects|v1/traces|v1)/?")


def open_source(
    source: str | os.PathLike[str] | Iterable[object],
    *,
    timeout: float = 30.0,
    limit: int = LIMIT,
    age: float = _DAYS,
    headers: Mapping[str, str] | None = None,
) -> Source:
    """Find the reader for a place in which runs are recorded. `otflow.open` is this function.

    Args:
        source: a path: a journal, a file with OTLP as JSON lines or protobuf, JSON that Jaeger or Phoenix gave, or a
            folder of such files; a URL: of a Jaeger or a Phoenix, or of the page that shows a trace there, which means
            the runs of that trace only; or records, or finished spans.
        timeout: how many seconds a server may take to answer; default 30.
        limit: how many bytes a line, a document or an answer may have; default 512 MiB.
        age: how old, in seconds, runs in a Jaeger may be to be listed; default 30 days.
        headers: sent to the server with each question; default none.

    Raises:
        ReaderError: there is no such file, the server does not answer or is of another kind, or `source` is nothing
            that can be read.

    Example:
        >>> source = open_source([])
        >>> list(source.runs())
        []
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return _open_url(source, dict(headers or {}), timeout, limit, age)
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source), limit)
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray):
        return MemorySource(source)
    raise ReaderError(
        f"Nothing can be read from {type(source).__name__}: {source!r:.100}. Give a path, a URL (http or https), or an "
        "iterable of records."
    )


def _open_path(path: Path, limit: int) -> Source:
    try:
        if path.is_dir():
            return _open_folder(path, limit)
        is_journal = _is_journal(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReaderError(
            f"{path} cannot be read: {reason}. Give a file, a folder, or a URL (http or https)."
        ) from error
    return _open_journal(path) if is_journal else open_files([path], limit)


def _open_folder(path: Path, limit: int) -> Source:
    files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    if not files:
        raise ReaderError(f"There is no file in {path}.")
    names = {each.name for each in files}
    own = [each for each in files if not any(each.name == f"{name}{end}" for name in names for end in _BESIDE)]
    journals = [each for each in own if _is_journal(each)]
    if not journals:
        return open_files(files, limit)
    if len(own) == 1:
        return _open_journal(journals[0])
    what = "a journal" if len(journals) == 1 else f"{len(journals)} journals"
    told = ", ".join(str(each) for each in journals[:_NAMED]) + (", ..." if len(journals) > _NAMED else "")
    beside = f" beside {len(own) - len(journals)} other files" if len(own) > len(journals) else ""
    move = ", and the other files from a folder of their own" if beside else ""
    raise ReaderError(
        f"{path} holds {what} ({told}){beside}, which are not read together: open each journal by its own path{move}."
    )


def _open_journal(path: Path) -> Source:
    try:
        return cast("Source", JournalSource(path))
    except JournalError as error:
        raise ReaderError(str(error)) from error


def _is_journal(path: Path) -> bool:
    """Tell whether a file is a journal; one that is in use is not opened.

    Who opens and closes a file that this process is writing breaks the locks that SQLite has on it.
    """
    if any(Path(f"{path}{end}").exists() for end in _BESIDE):
        return True
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _open_url(url: str, headers: dict[str, str], timeout: float, limit: int, age: float) -> Source:
    check_headers(headers)
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ReaderError("A URL with a password in it shows up in too many places: give open() headers={...} instead.")
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise ReaderError(f"{url} is no URL: {error}.") from error
    if not host:
        raise ReaderError(f"{url} names no server. Give a URL like http://localhost:16686.")
    path = urllib.parse.unquote(parts.path).rstrip("/")
    place = f"{parts.scheme}://{parts.netloc}"

    def web(base: str) -> Web:
        return Web(place + base, headers, timeout, limit)

    if page := _JAEGER_PAGE.fullmatch(path):
        trace = page["trace"].lower().zfill(32)
        return _look_with(url, JaegerLook(web(page["base"]), age, trace))
    if page := _PHOENIX_LINK.fullmatch(path):
        return _look_with(url, PhoenixLook(web(page["base"]), "", page["trace"].lower()))
    if page := _PHOENIX_PAGE.fullmatch(path):
        return _look_with(url, PhoenixLook(web(page["base"]), page["project"], (page["trace"] or "").lower()))
    base = page["base"] if (page := _SEARCH_PAGE.fullmatch(path)) else path
    return _probe(web(base), url, age)


def _look_with(url: str, look: JaegerLook | PhoenixLook) -> SightedSource:
    return SightedSource(url, look, look.sketch)


def _probe(web: Web, url: str, age: float) -> SightedSource:
    faults: list[str] = []
    for is_it, look in ((is_jaeger, JaegerLook(web, age)), (is_phoenix, PhoenixLook(web))):
        try:
            if is_it(web):
                return _look_with(url, look)
        except ReaderError as error:
            faults.append(str(error))
    said = f" {faults[0]}" if faults else ""
    raise ReaderError(
        f"{url} is neither a Jaeger nor a Phoenix that answers.{said} Give the URL under which its page opens, "
        "for example http://localhost:16686 or http://localhost:6006."
    )
