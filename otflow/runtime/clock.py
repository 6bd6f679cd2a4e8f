"""Clocks: the time that goes into inputs, and the timers that bring it on.

A run reads wall time once, when it begins, and measures from there with the monotonic clock, so that a correction
of the system clock cannot turn a span round. With a `ManualClock` time moves only when a test says so.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "Timer"]

_NS = 1_000_000_000


class Timer(Protocol):
    """A call that is to come and can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it has happened."""


class Clock(Protocol):
    """What a run needs to know of time."""

    def now(self) -> int:
        """Return the time in nanoseconds since the epoch; it never goes back."""

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function once, after `seconds`."""


class SystemClock:
    """The time of this machine, and the timers of the running event loop."""

    __slots__ = ("_loop", "_offset")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._offset = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        """Return nanoseconds since the epoch, as of the wall clock when this clock was made."""
        return self._offset + time.perf_counter_ns()

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function once, after `seconds`, in the event loop."""
        return self._loop.call_later(seconds, call)


class _ManualTimer:
    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class ManualClock:
    """A clock that stands still until `advance` moves it. For tests.

    Args:
        start: the first time, in nanoseconds since the epoch; default 1,000,000,000 (one second).

    Example:
        >>> clock = ManualClock()
        >>> _ = clock.call_later(5, lambda: print("ring"))
        >>> clock.advance(4.9)
        >>> clock.advance(0.1)
        ring
    """

    def __init__(self, start: int = _NS) -> None:
        self._now = start
        self._order = 0
        self._timers: list[tuple[int, int, _ManualTimer]] = []

    def now(self) -> int:
        """Return the time in nanoseconds since the epoch."""
        return self._now

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function once, when the clock has been moved by `seconds`."""
        timer = _ManualTimer(call)
        self._order += 1
        heapq.heappush(self._timers, (self._now + round(seconds * _NS), self._order, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds`, and call what falls due on the way, in order."""
        end = self._now + round(seconds * _NS)
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            call, timer.call = timer.call, None
            if call is not None:
                call()
        self._now = end
