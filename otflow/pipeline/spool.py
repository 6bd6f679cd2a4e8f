"""Requests that could not be sent, in files, until the receiver takes them: they outlive the process that wrote them.

A file is one request, and its name says when it was written, by whom, and how many spans are in it. Several processes
may share a folder: who sends a file first takes it under another name. It knows bytes and a folder.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

__all__ = ["Spool", "Taken"]

_SUFFIX = ".otlp"
_TAKEN = ".sending"
_ABANDONED = 60.0  # seconds after which a file that is being sent, or written, is taken to be nobody's
_OFTEN = 64  # in so many parts of what may lie there, it is looked at what others have written


class Taken(NamedTuple):
    """A request that was taken for sending: its file, its content, and whether this process wrote it."""

    path: Path
    request: bytes
    spans: int
    ours: bool


class Spool:
    """A folder of requests.

    Args:
        folder: where; made when it is missing, readable for its owner only.
        max_bytes: how much may lie there; default 1 GiB.

    Raises:
        OSError: the folder cannot be made, or not be written into.
    """

    def __init__(self, folder: Path, max_bytes: int = 1024**3) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._numbers = count()
        self._process, self._mark = 0, ""
        self._found: deque[Path] = deque()
        self._bytes = self._since = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = self._folder / f".{self._identify()}"
        probe.touch(0o600)
        probe.unlink()
        self._measure()

    def _identify(self) -> str:
        """Return what this process writes into the names of its files; the child of a fork is another one."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._mark = f"{self._process}.{token_hex(4)}"
        return self._mark

    def write(self, request: bytes, spans: int) -> bool:
        """Keep a request of so many spans; tell whether there was room, and a disk that took it."""
        size = len(request)
        if self._since + size > self._max_bytes // _OFTEN or self._bytes + size > self._max_bytes:
            self._measure()
        if self._bytes + size > self._max_bytes:
            return False
        return self._save(f"{time.time_ns():020d}-{self._identify()}-{next(self._numbers):08d}-{spans}", request)

    def _save(self, stem: str, request: bytes) -> bool:
        name = f"{stem}{_SUFFIX}"
        hidden = self._folder / f".{name}"
        try:
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(request)
            hidden.rename(self._folder / name)
        except OSError:
            with suppress(OSError):
                hidden.unlink()
            return False
        self._bytes += len(request)
        self._since += len(request)
        return True

    def take(self) -> Taken | None:
        """Take the oldest request for sending; None when there is none."""
        if not self._found:
            self._recover()
            self._found.extend(sorted(self._list()))
        while self._found:
            path = self._found.popleft()
            taken = path.with_suffix(_TAKEN)
            try:
                path.rename(taken)
                os.utime(taken)  # from now on it counts when it will be nobody's
                return Taken(taken, taken.read_bytes(), _spans(path), self._identify() in path.name)
            except OSError:  # another process was faster
                continue
        return None

    def done(self, path: Path) -> None:
        """Remove a request that was taken, because it was sent or never can be."""
        with suppress(OSError):
            self._bytes -= path.stat().st_size
            path.unlink()

    def split(self, taken: Taken, parts: Sequence[tuple[bytes, int]]) -> int:
        """Put parts of a request, each with the number of its spans, into its place; return how many spans that are.

        The file that was taken is still to be removed.
        """
        stem = taken.path.stem.rpartition("-")[0]
        names = [f"{stem}.{number}-{spans}" for number, (_, spans) in enumerate(parts)]
        saved = [self._save(name, part) for name, (part, _) in zip(names, parts, strict=True)]
        kept = [(name, spans) for name, (_, spans), done in zip(names, parts, saved, strict=True) if done]
        self._found.extendleft(self._folder / f"{name}{_SUFFIX}" for name, _ in reversed(kept))
        return sum(spans for _, spans in kept)

    def give_back(self, path: Path) -> None:
        """Return a request that was taken and could not be sent."""
        with suppress(OSError):
            back = path.with_suffix(_SUFFIX)
            path.rename(back)
            self._found.appendleft(back)

    def _recover(self) -> None:
        """Return what processes took that have ended since, and remove what they did not finish writing."""
        for path in self._folder.glob(f"*{_TAKEN}"):
            if _is_abandoned(path):
                with suppress(OSError):
                    path.rename(path.with_suffix(_SUFFIX))
        for path in self._folder.glob(f".[0-9]*{_SUFFIX}"):
            if _is_abandoned(path):
                with suppress(OSError):
                    path.unlink()

    def _measure(self) -> None:
        """Look how much lies there: others write and send too."""
        self._bytes = self._since = 0
        for path in self._list():
            with suppress(OSError):  # sent by another process meanwhile
                self._bytes += path.stat().st_size

    def _list(self) -> Iterator[Path]:
        return self._folder.glob(f"[0-9]*{_SUFFIX}")


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED
    except OSError:
        return False


def _spans(path: Path) -> int:
    text = path.stem.rpartition("-")[2]
    return int(text) if text.isdigit() else 0
