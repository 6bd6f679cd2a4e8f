"""When the events of a run were emitted, for as long as somebody may still take them.

An event is remembered weakly: as long as someone holds its payload, who may then still deliver it. So nothing here
grows with the length of a run, and nobody has to say when an event is no longer needed. Whoever reads may be some way
behind the run: what has gone is known for a while longer.
"""

from __future__ import annotations

import weakref

from otflow.records.body import Body

__all__ = ["Emissions"]

_FIRST_SWEEP = 256  # more than most runs emit, and more than a reader is behind


class Emissions:
    """The times of the events of one run."""

    __slots__ = ("_gone", "_sweep_at", "_times")

    def __init__(self) -> None:
        self._times: dict[int, tuple[weakref.ref[Body], int]] = {}
        self._gone: dict[int, tuple[weakref.ref[Body], int]] = {}
        self._sweep_at = _FIRST_SWEEP

    def remember(self, event: int, body: Body, at: int) -> None:
        """Remember when an event was emitted; O(1), seen over many.

        Args:
            event: its id.
            body: its payload.
            at: the time, in nanoseconds since the epoch.
        """
        times = self._times
        times[event] = (weakref.ref(body), at)
        if len(times) > self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        alive: dict[int, tuple[weakref.ref[Body], int]] = {}
        gone: dict[int, tuple[weakref.ref[Body], int]] = {}
        for event, known in self._times.items():
            (gone if known[0]() is None else alive)[event] = known
        self._times, self._gone = alive, gone
        self._sweep_at = 2 * len(alive) + _FIRST_SWEEP

    def find(self, event: int) -> int:
        """Return when an event was emitted; 0 if that is not known."""
        known = self._times.get(event) or self._gone.get(event)
        return known[1] if known is not None else 0

    def __len__(self) -> int:
        return len(self._times) + len(self._gone)
