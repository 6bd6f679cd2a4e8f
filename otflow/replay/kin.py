"""Kin: a run that goes on from a journal which does not get all records, and the runs that its steps begin.

They are written into that journal, as they would be if it was attached; other journals do not get a part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otflow.dispatcher import Dispatcher
from otflow.journal.journal import Journal
from otflow.records.record import ENDINGS, Record, RunStarted

__all__ = ["Kin"]


class Kin:
    """A sink that writes a run and its descendants into a journal.

    Args:
        book: the journal.
        run: the id of the run.
    """

    def __init__(self, book: Journal, run: str) -> None:
        self._book = book
        self._runs = {run}
        self._open = {run}
        self._readers = 0
        self._then: Callable[[], object] | None = None

    def attach(self, dispatcher: Dispatcher) -> Callable[[], None]:
        """Get the records of a dispatcher, and keep these runs out of its other journals; return what ends this."""
        others = [sink for sink in dispatcher.journals if isinstance(sink, Journal) and sink is not self._book]
        for other in others:
            other.elsewhere = (*other.elsewhere, self.has)
        detach = dispatcher.attach(self, journal=True)

        def end() -> None:
            detach()
            for other in others:
                other.elsewhere = tuple(tell for tell in other.elsewhere if tell != self.has)

        return end

    def add(self, run: str) -> None:
        """Take a run in that goes on."""
        self._runs.add(run)
        self._open.add(run)

    def has(self, records: Sequence[Record]) -> bool:
        """Tell whether a batch is one of these runs; one that such a run begins joins them."""
        if not records:
            return False
        first = records[0]
        if isinstance(first, RunStarted) and first.parent_run in self._runs and first.run not in self._runs:
            self.add(first.run)
        return first.run in self._runs

    def __call__(self, records: Sequence[Record]) -> None:
        """Write a batch if it is one of these runs.

        Raises:
            JournalError: it could not be written.
        """
        if (error := self.write_all([records])[0]) is not None:
            raise error

    def write_all(self, batches: Sequence[Sequence[Record]]) -> list[BaseException | None]:
        """Write those batches that are of these runs; return for each what prevented it, or None."""
        errors: list[BaseException | None] = [None] * len(batches)
        places = [place for place, records in enumerate(batches) if self.has(records)]
        found = self._book.write_all([batches[place] for place in places]) if places else []
        for place, error in zip(places, found, strict=True):
            errors[place] = error
            if error is not None or isinstance(batches[place][-1], ENDINGS):
                self._open.discard(batches[place][0].run)
        self._settle()
        return errors

    def drop(self, run: str) -> None:
        """Let go of a run: it has ended, or somebody else may go on with it, and write it then."""
        self._runs.discard(run)
        self._open.discard(run)
        self._settle()

    def hold(self) -> Callable[[], None]:
        """Keep the journal open for who only reads in it; return what ends this."""
        self._readers += 1

        def end() -> None:
            self._readers -= 1
            self._settle()

        return end

    def leave(self, run: str, then: Callable[[], object]) -> None:
        """Take note that the first run has ended, and call a function when all of them have."""
        self._then = then
        self._open.discard(run)  # what its steps left behind may begin runs yet
        self._settle()

    def _settle(self) -> None:
        if self._then is not None and not self._open and not self._readers:
            then, self._then = self._then, None
            then()
