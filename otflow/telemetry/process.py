"""The ends and the forks of this process, who wants to be told of them, and how long an end may take.

It knows nobody.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from time import monotonic
from types import ModuleType

__all__ = ["EXIT_TIMEOUT", "Bound", "Process"]

EXIT_TIMEOUT = 5.0
"""Seconds that the end of the process may take for sending what waits, if nobody says otherwise."""

_LEAST = 0.05  # seconds, for whoever comes last: what is at hand can still go


class Bound:
    """How much time there is for an end that has several parts, one after the other.

    Args:
        seconds: for all of it together.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds if seconds is not None else EXIT_TIMEOUT
        self._until: float | None = None

    def begin(self) -> None:
        """Begin to count."""
        self._until = monotonic() + self._seconds

    def left(self) -> float:
        """Return the seconds that are left; all of them as long as it has not begun."""
        if self._until is None:
            return self._seconds
        return max(min(_LEAST, self._seconds), self._until - monotonic())


class Process:
    """Tells of the end of this process, also if it is a worker of multiprocessing, and of its forks.

    Args:
        leave: called at the end.
        fork: called in the child of a fork.
    """

    def __init__(self, leave: Callable[[], None], fork: Callable[[], None]) -> None:
        self._leave = leave
        self._after_fork = fork
        self._watched = False

    def watch(self) -> None:
        """Begin, unless it has begun."""
        if self._watched:
            return
        self._watched = True
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._fork)
        self._watch_worker()

    def _fork(self) -> None:
        self._after_fork()
        self._watch_worker()

    def _watch_worker(self) -> None:
        """Be told of the end of a worker process, which calls nothing of atexit."""
        module = sys.modules.get("multiprocessing.util")
        if module is not None:
            self._finalize(module)
            # a worker that was forked forgets that when it begins, and then looks what is to be done after a fork
            module.register_after_fork(self, lambda _: self._finalize(module))

    def _finalize(self, module: ModuleType) -> None:
        module.Finalize(None, self._leave, exitpriority=0)
