"""The commits of one run: its batches go from here to the dispatcher, at once or with those of other runs.

Nothing follows from a batch before it was committed. What callers from outside do is committed at once; what steps and
clocks do may be held until the event loop has gone round, if the journals commit batches of several runs together. It
knows batches and who does what follows, and nothing about what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from otflow.dispatcher import Dispatcher, Sink
from otflow.records.record import Record
from otflow.runtime.backlog import Backlog
from otflow.runtime.group import Group, find_group

__all__ = ["Commits"]


class Carrier(Protocol):
    """Whoever does what batches lead to."""

    @property
    def ending(self) -> object:
        """How the run ended, or None."""

    def follow(self, records: Sequence[Record]) -> None:
        """Do what follows from a batch that was committed."""

    def refuse(self, first: Record, error: BaseException) -> None:
        """Stop, because the records from this one on could not be committed."""

    def fail(self, error: Exception) -> None:
        """Stop for a fault of otflow."""

    def cancel(self, reason: str) -> None:
        """Stop because nobody wants it any more."""


class Commits:
    """Commits the batches of one run, and has done what follows from them.

    Args:
        dispatcher: where they go.
        carrier: does what follows from them.
    """

    def __init__(self, dispatcher: Dispatcher, carrier: Carrier) -> None:
        self.dispatcher = dispatcher
        self.backlog = Backlog(dispatcher)
        self.taps: tuple[Sink, ...] = ()
        self._carrier = carrier
        self._group: Group | None = None  # once something was held

    def act(self, records: Sequence[Record]) -> Sequence[Record]:
        """Commit a batch, and do what follows. Returns it, or an empty one if it was not committed."""
        if not records or not self.commit(records):
            return ()
        self._carrier.follow(records)
        return records

    def act_soon(self, records: Sequence[Record]) -> Sequence[Record]:
        """Commit a batch soon, and do then what follows. Returns it."""
        if records and self.dispatcher.grouped and not self.taps:
            self._hold(records)
            return records
        return self.act(records)

    def commit(self, records: Sequence[Record]) -> bool:
        """Pass a batch on, before anything is done about it; tell whether it counts.

        A journal that refuses it ends the run.
        """
        if self._group is not None:  # what came before goes before
            self.settle()
            if self._carrier.ending is not None:
                return False
        try:
            self.dispatcher.emit(records)
        except Exception as error:  # whatever a journal may raise
            self._carrier.refuse(records[0], error)
            return False
        if self.dispatcher.patient:
            self.backlog.add(records)
        for tap in self.taps:
            tap(records)
        return True

    def commit_soon(self, records: Sequence[Record]) -> bool:
        """Pass a batch on soon; tell whether to act on it now. If not, that is done then."""
        if self.dispatcher.grouped and not self.taps:  # who taps wants to know each batch when it comes
            self._hold(records)
            return False
        return self.commit(records)

    def commit_one(self, record: Record) -> bool:
        """Pass on a batch of one record soon; tell whether to act on it now."""
        dispatcher = self.dispatcher
        if dispatcher.journals or dispatcher.observers or self.taps:
            return self.commit_soon((record,))
        if dispatcher.patient:
            self.backlog.add_one(record)
        return True

    def observe(self, records: Sequence[Record]) -> None:
        """Show a batch to the observers only."""
        self.dispatcher.observe(records)
        if self.dispatcher.patient:
            self.backlog.add(records)

    # ---------------------------------------------------------------- what is held

    def _hold(self, records: Sequence[Record]) -> None:
        if self._group is None:
            self._group = find_group()
        self._group.hold(self, records)

    def settle(self) -> None:
        """Commit what is held, this run's and that of others, and do what follows from it."""
        if self._group is not None:
            self._group.settle()

    def settle_if_lonely(self) -> None:
        """Commit what is held if no other run goes on that could add to it."""
        if self._group is not None and self.dispatcher.lonely:
            self._group.settle()

    def tell(self, batches: Sequence[Sequence[Record]]) -> None:
        """Let observers see what was held and is committed now."""
        try:
            for records in batches:
                self.observe(records)
                for tap in self.taps:
                    tap(records)
        except Exception as error:  # a fault of this run, and nothing for others
            self._carrier.fail(error)

    def follow(self, batches: Sequence[Sequence[Record]]) -> None:
        """Do what follows from what was held and is committed now, unless the run has ended meanwhile."""
        try:
            for records in batches:
                if self._carrier.ending is None:
                    self._carrier.follow(records)
        except Exception as error:  # a fault of otflow itself: never a silent hang, and nothing for other runs
            self._carrier.fail(error)

    def refuse(self, first: Record, error: BaseException) -> None:
        """Stop the run, because its records from this one on could not be committed."""
        self._carrier.refuse(first, error)

    def cancel(self, reason: str) -> None:
        """End the run, because nobody waits for what was held any more."""
        self._carrier.cancel(reason)
