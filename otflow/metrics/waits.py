"""The waits of a run: which of them are for the outside, and how long they took.

Steps may wait for each other; that is an affair of the run. A wait is one for the outside when a question goes with it,
or when the run was paused meanwhile: nothing executes any more then, so only the outside can end it. A run may also be
paused without any wait, until a step gets the event that only the outside sends.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from otflow.records.record import EventReceived, Record, RunPaused, WaitEnded, WaitStarted

__all__ = ["Waits"]

_MOST_KINDS = 200


class _Wait(msgspec.Struct):
    kind: str
    at: int
    outside: bool


class Waits:
    """The open waits of one run, and what it has waited for."""

    __slots__ = ("_asking", "_awaited", "_late", "_open")

    def __init__(self) -> None:
        self._open: dict[int, _Wait] = {}
        self._awaited: set[str] = set()
        self._late = True  # the run began before anyone looked, and may have waits that are not known
        self._asking = 0  # since when the run is paused for an event that a step accepts

    def awaits(self, kind: str) -> bool:
        """Tell whether events of a type were waited for, so that one that no step accepts is not lost."""
        return self._late or kind in self._awaited

    def start(self, record: WaitStarted) -> None:
        """Take the start of a wait."""
        self._open[record.seq] = _Wait(record.type, record.at, record.asked)
        if len(self._awaited) < _MOST_KINDS:
            self._awaited.add(record.type)

    def end(self, record: WaitEnded) -> tuple[str, int] | None:
        """Take the end of a wait: return for which type it was and how long, in nanoseconds, if for the outside."""
        wait = self._open.pop(record.wait, None)
        return (wait.kind, max(0, record.at - wait.at)) if wait is not None and wait.outside else None

    def pause(self, record: RunPaused) -> None:
        """Take that the run is paused."""
        if record.reason != "waiting":
            return
        for wait in self._open.values():
            wait.outside = True
        if not self._open:
            self._asking = record.at

    def resume(self, records: Sequence[Record]) -> tuple[str, int] | None:
        """Take what the run goes on with: return the type of event that it was paused for and how long, if it was."""
        asking, self._asking = self._asking, 0
        came = next((each for each in records if type(each) is EventReceived), None) if asking else None
        return (came.type, max(0, came.at - asking)) if came is not None else None

    def begin(self) -> None:
        """Begin with none, as the run does."""
        self._open.clear()
        self._late, self._asking = False, 0
