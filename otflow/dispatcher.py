"""The one passage: every record of every run goes through a dispatcher, and out to its sinks.

A sink is one callable that takes a batch of records: what one input led to. The journal comes first, and its failure
stops the run before anything is done about the batch. Observers come after; they cannot harm a run: one that raises
is counted, and reported once. A dispatcher is made empty and knows none of its sinks.

Two questions go the other way, because a span has to be current while a step works: `Scope.enter` is called inside
the context of each attempt, `Scope.origin` when a run begins.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from otflow.records.record import Record, StepStarted

__all__ = ["Dispatcher", "Scope", "Sink", "default_dispatcher"]

_log = logging.getLogger("otflow")

Sink: TypeAlias = Callable[[Sequence[Record]], None]
"""Takes the records that one input led to, in order."""


class Scope(Protocol):
    """What surrounds the code of a step."""

    def enter(self, started: StepStarted) -> None:
        """Prepare the context variables of an attempt; called inside its own `contextvars.Context`."""

    def origin(self) -> str:
        """Return the W3C traceparent under which a run that begins now is to stand, or ""."""


class Dispatcher:
    """Passes records on: to the journals first, then to the observers.

    Example:
        >>> from otflow.dispatcher import Dispatcher
        >>> seen = []
        >>> dispatcher = Dispatcher()
        >>> detach = dispatcher.attach(seen.extend)
        >>> dispatcher.emit([])
        >>> detach()
    """

    def __init__(self) -> None:
        self.journals: tuple[Sink, ...] = ()
        self.observers: tuple[Sink, ...] = ()
        self.patient: tuple[Sink, ...] = ()
        self.scopes: tuple[Scope, ...] = ()
        self.failures: Counter[str] = Counter()
        self.listening = False

    def attach(
        self, sink: Sink, *, journal: bool = False, patient: bool = False, scope: Scope | None = None
    ) -> Callable[[], None]:
        """Send all records to a sink from now on.

        Args:
            sink: a callable that takes a batch of records.
            journal: whether the sink comes first and stops the run when it raises; default False.
            patient: whether the sink may get batches a little later, several in a row: when there are 256, when the
                run pauses or ends, or 10 milliseconds after it began to stand still. What is done for many batches at
                once is done faster. Default False.
            scope: what has to surround step code for this sink; default nothing.

        Returns:
            A function that detaches the sink again.
        """
        if not callable(sink):
            raise TypeError(f"a sink is a callable that takes a sequence of records, not {sink!r}")
        if journal:
            self.journals = (*self.journals, sink)
        elif patient:
            self.patient = (*self.patient, sink)
        else:
            self.observers = (*self.observers, sink)
        if scope is not None:
            self.scopes = (*self.scopes, scope)
        self.listening = True

        def detach() -> None:
            self.journals = tuple(s for s in self.journals if s is not sink)
            self.observers = tuple(s for s in self.observers if s is not sink)
            self.patient = tuple(s for s in self.patient if s is not sink)
            self.scopes = tuple(s for s in self.scopes if s is not scope)
            self.listening = bool(self.journals or self.observers or self.patient)

        return detach

    def emit(self, records: Sequence[Record]) -> None:
        """Pass one batch on, but to patient observers: see `catch_up`.

        Raises:
            Exception: what a journal raised; no observer has seen the batch then.
        """
        for journal in self.journals:
            journal(records)
        # the same as in observe(): a call less for every batch
        for observer in self.observers:
            try:
                observer(records)
            except Exception:  # observers never harm a run
                self._report(observer)

    def observe(self, records: Sequence[Record]) -> None:
        """Pass a batch to the observers only; `emit` does both."""
        for observer in self.observers:
            try:
                observer(records)
            except Exception:  # observers never harm a run
                self._report(observer)

    def catch_up(self, batches: Sequence[Sequence[Record]]) -> None:
        """Pass the batches that have gathered to the patient observers, in order."""
        for observer in self.patient:
            for records in batches:
                try:
                    observer(records)
                except Exception:  # observers never harm a run
                    self._report(observer)

    def enter(self, started: StepStarted) -> None:
        """Let every scope prepare the context variables of an attempt."""
        for scope in self.scopes:
            try:
                scope.enter(started)
            except Exception:  # nor do scopes
                self._report(scope)

    def origin(self) -> str:
        """Return the W3C traceparent under which a run that begins now stands, or ""."""
        for scope in self.scopes:
            try:
                if parent := scope.origin():
                    return parent
            except Exception:  # nor do scopes
                self._report(scope)
        return ""

    def _report(self, observer: Sink | Scope) -> None:
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        self.failures[name] += 1
        if self.failures[name] == 1:
            _log.exception(
                "The sink %s raised. Runs go on without it; further failures are only counted (Dispatcher.failures).",
                name,
            )


default_dispatcher = Dispatcher()
"""The dispatcher of all runs that are not given another one."""
