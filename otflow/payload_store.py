"""The payload store: a local folder for payloads that are too large for a span, each under the hash of its content.

What is put in has been redacted before. The same content is kept once, however many processes put it. What is old, and
the oldest when there is too much, is removed in the background. The folder is for its owner alone. This room knows
bytes and files; what the bytes say is nobody's business here.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple
from weakref import WeakSet

from otflow.errors import OtflowError, WorkflowConfigurationError

__all__ = ["PayloadMissingError", "PayloadStore", "PayloadStoreError", "Swept"]

_log = logging.getLogger("otflow")

_REF = re.compile(r"sha256:([0-9a-f]{64})")
_FOLDER = "sha256"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_SWEEP_EVERY = 256  # writes
_SWEEP_PART = 8  # or this part of the most bytes
_UNFINISHED = 3600.0  # seconds after which nobody is going to finish a file
_NEW = ".new-"


class PayloadStoreError(OtflowError):
    """A payload cannot be written, or what is kept is damaged."""


class PayloadMissingError(PayloadStoreError, LookupError):
    """The store has no payload of this name: it was removed because of its age, or it is in another store."""


class Swept(NamedTuple):
    """What a sweep came to: the payloads and bytes that are left, and those that were removed."""

    kept: int
    kept_bytes: int
    removed: int
    removed_bytes: int


class PayloadStore:
    """Keeps payloads in a folder.

    Any number of threads and processes may use one folder at once.

    Args:
        directory: the folder; it is made if it is missing. Payloads lie in `sha256` inside of it, which only its owner
            can open.
        max_bytes: how many bytes of payloads stay after a sweep; default 1 GiB. Between two sweeps there may be an
            eighth more. A larger payload is refused.
        max_age: seconds after which a payload that was not put again may be removed; default 30 days.

    Attributes:
        written: how many payloads this process has written.
        failures: how many it could not write.

    Raises:
        WorkflowConfigurationError: an argument is of another kind, or the folder cannot be made; the message says all
            that is wrong.

    Example:
        >>> import tempfile
        >>> from otflow.payload_store import PayloadStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = PayloadStore(folder)
        ...     store.get(store.put(b"{}"))
        b'{}'
    """

    def __init__(
        self, directory: str | os.PathLike[str], max_bytes: int = 1 << 30, max_age: float = 30 * 86400.0
    ) -> None:
        faults = []
        if not isinstance(directory, str | os.PathLike) or not str(directory):
            faults.append(f"directory={directory!r:.100} is no path")
        if type(max_bytes) is not int or max_bytes <= 0:
            faults.append(f"max_bytes={max_bytes!r:.100} is no number of bytes above 0")
        if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not max_age > 0:
            faults.append(f"max_age={max_age!r:.100} is no number of seconds above 0")
        self.directory = Path("." if faults else directory)
        self._folder = self.directory / _FOLDER
        if not faults and (fault := _make_folder(self._folder)):
            faults.append(f"directory={str(directory)!r}: {fault}")
        if faults:
            raise WorkflowConfigurationError(f"PayloadStore(): {'; '.join(faults)}.")
        self.max_bytes, self.max_age = max_bytes, max_age
        self.written = self.failures = 0
        self._lock = Lock()
        self._sweeper: Thread | None = None
        self._unswept = self._unswept_bytes = 0
        _stores.add(self)
        self._sweep_soon()

    def forget_threads(self) -> None:
        """Begin anew in a process that was forked: the threads of the other one are not here."""
        self._lock = Lock()
        self._sweeper = None

    def put(self, data: bytes) -> str:
        """Keep a payload, unless it is there already.

        Args:
            data: its JSON.

        Returns:
            Its name, "sha256:" and the hash of the data.

        Raises:
            PayloadStoreError: it cannot be written. It is counted in `failures`, and the first time it is logged.
        """
        digest = sha256(data).hexdigest()
        try:
            if not _renew(self._place(digest), len(data)):
                self._write(digest, data)
        except OSError as error:
            with self._lock:
                self.failures += 1
            text = f"A payload cannot be kept in {self._folder}: {error}."
            if self.failures == 1:
                _log.warning("%s Runs go on without; further failures are only counted (PayloadStore.failures).", text)
            raise PayloadStoreError(text) from error
        return f"sha256:{digest}"

    def get(self, ref: str) -> bytes:
        """Return a payload.

        Args:
            ref: its name, as `put` returned it.

        Raises:
            PayloadMissingError: it is not there.
            PayloadStoreError: the name is none, or the payload cannot be read or is damaged.
        """
        match = _REF.fullmatch(ref) if isinstance(ref, str) else None
        if match is None:
            raise PayloadStoreError(f"{ref!r:.100} names no payload: a name is 'sha256:' and 64 hexadecimal digits.")
        try:
            data = self._place(match[1]).read_bytes()
        except FileNotFoundError:
            raise PayloadMissingError(
                f"The payload {ref} is not in {self._folder}. It was removed because of its age or the size of the "
                "store, or another store has it."
            ) from None
        except OSError as error:
            raise PayloadStoreError(f"The payload {ref} in {self._folder} cannot be read: {error}.") from error
        if sha256(data).hexdigest() != match[1]:
            raise PayloadStoreError(
                f"The payload {ref} in {self._folder} is damaged: its content has another hash. Remove the file "
                f"{self._place(match[1])}."
            )
        return data

    def sweep(self) -> Swept:
        """Remove what is too old, and the oldest while there is too much. It happens by itself in the background.

        Raises:
            PayloadStoreError: the folder cannot be read.
        """
        now = time.time()
        try:
            found = sorted(_list_payloads(self._folder, now), key=lambda file: file.changed)
        except OSError as error:
            raise PayloadStoreError(f"The payloads in {self._folder} cannot be listed: {error}.") from error
        total, kept = sum(file.size for file in found), len(found)
        before, removed = total, 0
        for file in found:
            if total <= self.max_bytes and now - file.changed <= self.max_age:
                break
            with suppress(OSError):  # another process was faster, or holds it
                file.path.unlink()
            total, kept, removed = total - file.size, kept - 1, removed + 1
        return Swept(kept, total, removed, before - total)

    def close(self) -> None:
        """Wait for a sweep that goes on."""
        sweeper = self._sweeper
        if sweeper is not None:
            sweeper.join()

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:]

    def _write(self, digest: str, data: bytes) -> None:
        """Write a file under another name and rename it, so that nobody ever reads a part of it."""
        if len(data) > self.max_bytes:
            raise OSError(errno.EFBIG, f"it has {len(data)} bytes, and the store keeps {self.max_bytes} at most")
        place = self._place(digest)
        place.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        unfinished = place.with_name(f"{_NEW}{os.getpid()}-{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "wb") as file:
                file.write(data)
            unfinished.replace(place)
        except BaseException:  # whatever broke it off: nothing stays of a half file
            unfinished.unlink(missing_ok=True)
            raise
        with self._lock:
            self.written += 1
            self._unswept += 1
            self._unswept_bytes += len(data)
            due = self._unswept >= _SWEEP_EVERY or self._unswept_bytes * _SWEEP_PART >= self.max_bytes
        if due:
            self._sweep_soon()

    def _sweep_soon(self) -> None:
        """Sweep in a thread of its own, unless one does already."""
        with self._lock:
            self._unswept = self._unswept_bytes = 0
            if self._sweeper is None or not self._sweeper.is_alive():
                self._sweeper = Thread(target=self._sweep_quietly, name="otflow-payload-sweep", daemon=True)
                self._sweeper.start()

    def _sweep_quietly(self) -> None:
        try:
            self.sweep()
        except PayloadStoreError as error:
            _log.warning("%s Nothing is removed from it.", error)


_stores: WeakSet[PayloadStore] = WeakSet()


def _forget_threads() -> None:
    for store in [*_stores]:
        store.forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class _File(NamedTuple):
    path: Path
    size: int
    changed: float


def _make_folder(folder: Path) -> str:
    """Make the folder, or close it to others; say what is wrong, or ""."""
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o777 != _PRIVATE_FOLDER:
            folder.chmod(_PRIVATE_FOLDER)
    except OSError as error:
        return f"the folder cannot be made or closed to others: {error}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "nobody may write into the folder"


def _renew(place: Path, size: int) -> bool:
    """Let a payload that is there count as new; tell whether it is, as a whole."""
    try:
        if place.stat().st_size != size:  # a crash may leave a file without its content
            return False
        os.utime(place)
    except FileNotFoundError:
        return False
    return True


def _list_payloads(folder: Path, now: float) -> Iterator[_File]:
    """List the payloads, and remove on the way what a process left unfinished when it was killed."""
    for inner in folder.iterdir():
        with suppress(OSError), os.scandir(inner) as entries:
            for entry in entries:
                with suppress(OSError):  # it may be gone by now
                    status = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith(_NEW):
                        yield _File(Path(entry.path), status.st_size, status.st_mtime)
                    elif now - status.st_mtime > _UNFINISHED:
                        Path(entry.path).unlink()
