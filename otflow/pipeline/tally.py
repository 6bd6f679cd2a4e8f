"""What became of every span that was handed over: each is counted once, and nothing else can be concluded from less.

What was accepted is sent, kept in files, lost for a reason, or still waits: the last is what remains of the others, so
that the account is never out of balance. It knows numbers only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Condition, RLock
from typing import NamedTuple

__all__ = ["Status", "Tally"]


class Status(NamedTuple):
    """How the way out stands, in spans.

    `accepted` is how many were handed over, or found in files of an earlier process; `sent` how many a receiver has
    taken; `spooled` lie in files, `waiting` in memory; `dropped` are lost, by reason. `reachable` is False while the
    receiver does not take requests.
    """

    accepted: int
    sent: int
    waiting: int
    spooled: int
    dropped: dict[str, int]
    reachable: bool


class Tally:
    """Counts spans.

    Args:
        lock: what the counters are changed under; whoever holds it may change `accepted` and `queued` itself.

    Attributes:
        accepted: how many spans there have been.
        queued: how many of them found a place in memory.
        dropped: how many of them are lost, by reason.
    """

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._changed = Condition(lock)
        self.accepted = self.queued = 0
        self.dropped: Counter[str] = Counter()
        self._sent = self._spooled = self._settled = 0
        self._closed = False

    def refuse(self, reason: str) -> None:
        """Count a span that is lost before it could be added."""
        with self._lock:
            self.accepted += 1
            self.dropped[reason] += 1

    def settle(self, *, sent: int = 0, spooled: int = 0, lost: int = 0, reason: str = "") -> None:
        """Count what became of spans that had a place in memory; nothing once the account is closed."""
        with self._changed:
            if self._closed:
                return
            self._sent += sent
            self._spooled += spooled
            if lost:
                self.dropped[reason] += lost
            self._settled += sent + spooled + lost
            self._changed.notify_all()

    def unspool(self, spans: int, *, ours: bool) -> Callable[..., None]:
        """Count spans of a file as waiting again.

        Returns:
            The function that counts what became of them: its arguments are those of `settle`, and `spooled` stands for
            those that went back into the file.
        """
        with self._lock:
            if ours:
                self._spooled -= spans
            else:
                self.accepted += spans

        def settle(*, sent: int = 0, spooled: int = 0, lost: int = 0, reason: str = "") -> None:
            with self._changed:
                self._sent += sent
                if ours:
                    self._spooled += spooled
                else:
                    self.accepted -= spooled
                if lost:
                    self.dropped[reason] += lost

        return settle

    def wait(self, goal: int, timeout: float) -> bool:
        """Wait until so many of the spans that had a place in memory have left it; tell whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settled >= goal or self._closed, timeout)

    def close(self, reason: str) -> None:
        """Count what waits as lost, and nothing from now on."""
        with self._changed:
            waiting = self._waiting()
            if waiting > 0:
                self.dropped[reason] += waiting
            self._closed = True
            self._changed.notify_all()

    def _waiting(self) -> int:
        return self.accepted - self._sent - self._spooled - self.dropped.total()

    def read(self, *, reachable: bool) -> Status:
        """Return all counts, as they are at one moment."""
        with self._lock:
            dropped = {reason: spans for reason, spans in self.dropped.items() if spans}
            return Status(self.accepted, self._sent, self._waiting(), self._spooled, dropped, reachable)
