"""The backlog: batches of a run that patient observers have not seen yet.

Doing something for many batches in a row is much cheaper than doing it for each when it comes, between two steps. So
they gather here until there are 256, until the run pauses or ends, or until the event loop goes round after 10
milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from otflow.dispatcher import Dispatcher
from otflow.records.record import (
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
)

__all__ = ["Backlog"]

_MOST = 256  # batches, or single records in one
_PATIENCE = 0.01  # seconds
_URGENT = frozenset({RunStarted, RunPaused, RunResumed, RunCompleted, RunFailed, RunCancelled, RunTimedOut})


class Backlog:
    """Gathers the batches of one run.

    Args:
        dispatcher: whose patient observers get them.
    """

    __slots__ = ("_batches", "_dispatcher", "_loop", "_open", "_timer")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._loop = asyncio.get_running_loop()
        self._batches: list[Sequence[Record]] = []
        self._open: list[Record] | None = None  # the last batch, if more single records may join it
        self._timer = False

    def add(self, records: Sequence[Record]) -> None:
        """Add a batch. When the run begins, pauses, goes on or ends, the observers get all there is."""
        self._batches.append(records)
        self._open = None  # what comes after this batch must not go before it
        if type(records[-1]) in _URGENT or type(records[0]) in _URGENT or len(self._batches) >= _MOST:
            self.catch_up()
        elif not self._timer:
            self._timer = True
            self._loop.call_later(_PATIENCE, self._ring)

    def add_one(self, record: Record) -> None:
        """Add a batch of one record, which joins the one before if that was of such."""
        batch = self._open
        if batch is None:
            batch = [record]
            self.add(batch)
            self._open = batch if self._batches else None  # unless it has been passed on with the others
        else:
            batch.append(record)
            if len(batch) >= _MOST:
                self.catch_up()

    def catch_up(self) -> None:
        """Pass on what has gathered."""
        batches, self._batches, self._open = self._batches, [], None
        if batches:
            self._dispatcher.catch_up(batches)

    def _ring(self) -> None:
        self._timer = False
        self.catch_up()
