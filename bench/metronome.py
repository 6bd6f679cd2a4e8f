"""Measures how fast the machine is while something else is being measured.

The speed of a shared machine changes by a factor of two within seconds, and CPU time does not show it: it
says how long a core was held, no more. So a fixed piece of work, a beat, is done again and again throughout a
measurement. What the measured code costs is then counted in beats: a slow second counts less than a fast one.

This room knows nothing of peers and workloads. It needs a system with interval timers (not Windows).
"""

from __future__ import annotations

import signal
import statistics
import time
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Metronome", "Taken"]

_EVERY_SECONDS = 0.02
_ROUNDS = 1_500
"""Some 0.3 ms of work for a beat, so about 2 % of what is measured; that is taken off again."""


class _Note:
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def _work() -> int:
    """Do what an event-driven program does most: calls, small objects, look-ups."""
    latest: dict[str, _Note] = {"note": _Note(0)}
    for _ in range(_ROUNDS):
        latest["note"] = _Note(latest["note"].number + 1)
    return latest["note"].number


@dataclass(frozen=True, slots=True)
class Taken:
    """What a piece of measured code took, without the beats inside it.

    Args:
        wall: seconds by the clock.
        cpu: seconds of CPU time, all threads.
        beats: the same amount of work, in beats.
    """

    wall: float
    cpu: float
    beats: float


class Metronome:
    """Beats while it is entered; `start` and `stop` around a piece of code say what that took."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._wall = 0.0
        self._busy = False
        self._start = (0, 0.0, 0.0)

    def __enter__(self) -> Self:
        signal.signal(signal.SIGALRM, self._on_timer)
        # not ITIMER_PROF: while a CPU timer runs, Linux reads the CPU clock of the process by the tick only
        signal.setitimer(signal.ITIMER_REAL, _EVERY_SECONDS, _EVERY_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    @property
    def fastest(self) -> float:
        """The highest speed seen so far, in beats per CPU second."""
        return 1 / min(self._seconds)

    def start(self) -> None:
        """Begin to measure a piece of code."""
        self._beat()
        self._wall = 0.0
        self._start = (len(self._seconds), time.perf_counter(), time.process_time())

    def stop(self) -> Taken:
        """End what `start` began."""
        cpu_end, wall_end = time.process_time(), time.perf_counter()
        first, wall, cpu = self._start
        inside = sum(self._seconds[first:])
        wall_inside = self._wall
        self._beat()
        # the beats just before and after count too: a short piece of code has none inside
        speed = statistics.fmean(1 / seconds for seconds in self._seconds[first - 1 :])
        used = max(cpu_end - cpu - inside, 1e-9)
        return Taken(wall_end - wall - wall_inside, used, used * speed)

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        if not self._busy:  # a beat inside a beat would make the outer one look slow
            self._beat()

    def _beat(self) -> None:
        self._busy = True
        wall, cpu = time.perf_counter(), time.thread_time()
        _work()
        self._seconds.append(time.thread_time() - cpu)
        self._wall += time.perf_counter() - wall
        self._busy = False
