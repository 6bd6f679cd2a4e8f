"""The lookout of an event loop: one timer, by which the spans that stay open for long are announced.

There is a timer only while runs are open, and it holds nothing alive: neither the sink, nor the loop, nor a run.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Protocol

__all__ = ["Lookout", "Watched"]

_NS = 1_000_000_000
_RARELY = 1.0  # seconds between two looks, at least


class Watched(Protocol):
    """Whoever has open spans."""

    def reveal(self, now: int, home: Lookout) -> int:
        """Announce what is open for long, of the runs of this loop; return when to look again, or 0 for never."""


class Lookout:
    """Looks after the open spans of the runs in one event loop.

    Args:
        watched: who has them.
        patience: seconds that a span may be open before it is announced.
    """

    __slots__ = ("__weakref__", "_armed", "_patience", "_watched")

    def __init__(self, watched: Watched, patience: float) -> None:
        self._watched = weakref.ref(watched)
        self._patience = patience
        self._armed = False

    def arm(self) -> None:
        """See to it that someone looks, now that something is open in the running loop."""
        if not self._armed:
            self._wait(self._patience)

    def _wait(self, seconds: float) -> None:
        self._armed = True
        asyncio.get_running_loop().call_later(seconds, _ring, weakref.ref(self))

    def look(self, now: int) -> None:
        """Announce what is open for long, and look again if there may be more.

        Args:
            now: the time, in nanoseconds since the epoch.
        """
        self._armed = False
        watched = self._watched()
        due = watched.reveal(now, self) if watched is not None else 0
        if due:
            self._wait(min(max((due - now) / _NS, _RARELY), self._patience))


def _ring(place: weakref.ref[Lookout]) -> None:
    lookout = place()
    if lookout is not None:
        lookout.look(time.time_ns())
