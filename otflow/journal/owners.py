"""Owners: which process runs which run, as the kernel tells it.

Next to a journal lies a file of which each process locks one byte: the one whose place is its number as an owner. The
kernel takes the lock back when the process ends, however it ends, so whether an owner lives is asked of the kernel, and
nobody has to give signs of life. The locks are those of fcntl: the child of a fork does not have them. They are lost
if a process closes the file anywhere, which is why it is opened once in a process and never closed.

This room knows files, numbers and names, and nothing of what a run is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from threading import Lock, RLock

__all__ = ["Owner", "find_owner"]

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, place: int) -> bool:
        os.lseek(file, place, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, place: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def _unlock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


class Owner:
    """This process, as an owner of runs of one journal; in the child of a fork it becomes another one.

    Args:
        path: the file of locks.

    Attributes:
        number: its number; 0 until it has one.
        lock: held by the thread that gets the number, or makes this process the owner of a run.
    """

    def __init__(self, path: str) -> None:
        self.number = 0
        self.lock = RLock()
        self._held: dict[str, asyncio.AbstractEventLoop | None] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)

    def take(self, number: int) -> bool:
        """Be the owner of this number from now on; False if another process is."""
        if not _lock(self._file, number):
            return False
        self.number = number
        return True

    def leave(self) -> None:
        """Have no number any more, because it was not written down."""
        if self.number:
            _unlock(self._file, self.number)
            self.number = 0

    def renew(self) -> None:
        """Be the child of a fork: the lock stayed with the parent, and so did the runs."""
        self.number = 0
        self.lock = RLock()
        self._held.clear()

    def hold(self, run: str) -> None:
        """Note that a run goes on in this process, and in which event loop."""
        try:
            self._held[run] = asyncio.get_running_loop()
        except RuntimeError:  # whoever writes it needs none
            self._held[run] = None

    def drop(self, run: str) -> None:
        """Note that it does not."""
        self._held.pop(run, None)

    def holds(self, run: str) -> bool:
        """Tell whether a run goes on in this process: no run outlives its event loop."""
        if run not in self._held:
            return False
        loop = self._held[run]
        return loop is None or not loop.is_closed()

    def lives(self, number: int) -> bool:
        """Tell whether the process with this number has not ended."""
        if number == self.number:
            return True
        if not _lock(self._file, number):
            return True
        _unlock(self._file, number)
        return False


class _Owners:
    """The owners that this process is, by file."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.known: dict[str, Owner] = {}

    def renew(self) -> None:
        """Be the child of a fork."""
        self.lock = Lock()
        for owner in self.known.values():
            owner.renew()


_owners = _Owners()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_owners.renew)


def find_owner(path: str) -> Owner:
    """Return this process as an owner of runs of the journal with these locks."""
    with _owners.lock:
        if path not in _owners.known:
            _owners.known[path] = Owner(path)
        return _owners.known[path]
