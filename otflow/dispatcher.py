"""The one passage: every record of every run goes through a dispatcher, and out to its sinks.

A sink is one callable that takes a batch of records: what one input led to. The journal comes first, and its failure
stops the run before anything is done about the batch. Observers come after; they cannot harm a run: one that raises
is counted, and reported once. A dispatcher is made empty and knows none of its sinks. It says what is to be hidden
from them (`redact`; None: nothing), and those who make payloads keep to it.

Two questions go the other way, because a span has to be current while a step works: `Scope.enter` is called inside
the context of each attempt, `Scope.origin` when a run begins.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from otflow.records.identity import Whereabouts
from otflow.records.record import Record, StepStarted
from otflow.redaction import DEFAULT, Redactor

__all__ = ["Dispatcher", "Live", "Load", "Locator", "Scope", "Sink", "StepLoad", "Together", "default_dispatcher"]

_log = logging.getLogger("otflow")

Sink: TypeAlias = Callable[[Sequence[Record]], None]
"""Takes the records that one input led to, in order."""


class Scope(Protocol):
    """What surrounds the code of a step."""

    def enter(self, started: StepStarted) -> None:
        """Prepare the context variables of an attempt; called inside its own `contextvars.Context`."""

    def origin(self) -> str:
        """Return the W3C traceparent under which a run that begins now is to stand, or ""."""


@runtime_checkable
class Locator(Protocol):
    """A scope that knows where a run stands in its trace."""

    def locate(self, run: str, now: int) -> Whereabouts | None:
        """Return where a run stands at a time (ns since the epoch), for the data that is saved with it, or None."""


class StepLoad(NamedTuple):
    """What a step of a run holds now: invocations with a worker, invocations that wait for one, and its workers."""

    name: str
    running: int
    queued: int
    workers: int


class Load(NamedTuple):
    """What a run holds now: its id, of which workflow it is, whether it is paused, and what each of its steps holds."""

    run: str
    workflow: str
    paused: bool
    steps: tuple[StepLoad, ...]


@runtime_checkable
class Together(Protocol):
    """A journal that commits batches of several runs at once, so that they share the price."""

    def __call__(self, records: Sequence[Record]) -> None:
        """Commit one batch."""

    def write_all(self, batches: Sequence[Sequence[Record]]) -> Sequence[BaseException | None]:
        """Commit batches of different runs; return for each what prevented it, or None."""


Writer: TypeAlias = Callable[[Sequence[Sequence[Record]]], Sequence[BaseException | None]]
"""Commits batches as `Together.write_all` does."""


class Live(Protocol):
    """A run that has begun in this process and has not ended. Any thread may ask."""

    def load(self) -> Load:
        """Return what it holds now."""

    def takes(self, workflow: str, kind: str) -> bool | None:
        """Tell whether events of a type have somewhere to go; None if the run is of another workflow."""


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
        self.settles: tuple[Callable[[], None], ...] = ()
        self.gates: tuple[Callable[[], float], ...] = ()
        self.failures: Counter[str] = Counter()
        self.listening = False
        self.grouped = False  # whether all journals commit batches of several runs at once
        self.redact: Redactor | None = DEFAULT
        self._live: set[weakref.ref[Live]] = set()

    def join(self, run: Live) -> Callable[[], None]:
        """Count a run among those that go on, as long as it exists; return the function that ends it."""
        place = weakref.ref(run, self._live.discard)
        self._live.add(place)
        return partial(self._live.discard, place)

    def forget_runs(self) -> None:
        """Forget the runs that go on: they do not in a process that was forked."""
        self._live.clear()

    @property
    def lonely(self) -> bool:
        """Whether one run goes on at most."""
        return len(self._live) < 2  # noqa: PLR2004

    def runs(self) -> list[Live]:
        """Return the runs that go on. Any thread may ask."""
        # a copy, because that is one step for other threads
        return [run for place in self._live.copy() if (run := place()) is not None]

    def attach(
        self,
        sink: Sink,
        *,
        journal: bool = False,
        patient: bool = False,
        scope: Scope | None = None,
        gate: Callable[[], float] | None = None,
        settle: Callable[[], None] | None = None,
    ) -> Callable[[], None]:
        """Send all records to a sink from now on.

        Args:
            sink: a callable that takes a batch of records.
            journal: whether the sink comes first and stops the run when it raises; default False. If it has a method
                `write_all` (see `Together`), what the steps of several runs did while the event loop went
                round once is committed together.
            patient: whether the sink may get batches a little later, several in a row: when there are 256, when the
                run pauses or ends, and 10 milliseconds after the first of them. What is done for many batches at
                once is done faster. Default False.
            scope: what has to surround step code for this sink; default nothing.
            settle: called when a patient sink has got all the batches that there were, for what is better done once.
            gate: tells for how many seconds busy runs shall stand back, so that the sink keeps up; default never.

        Returns:
            A function that detaches the sink again.
        """
        if not callable(sink):
            raise TypeError(f"a sink is a callable that takes a sequence of records, not {sink!r}")
        if journal:
            self.journals = (*self.journals, sink)
        elif patient:
            # who makes spans goes first, so that others know which runs have some
            self.patient = (*self.patient, sink) if scope is None else (sink, *self.patient)
        else:
            self.observers = (*self.observers, sink)
        if scope is not None:
            self.scopes = (*self.scopes, scope)
        if settle is not None:
            self.settles = (*self.settles, settle)
        if gate is not None:
            self.gates = (*self.gates, gate)
        self.listening = True
        self._group()

        def detach() -> None:
            self.journals = tuple(s for s in self.journals if s is not sink)
            self.observers = tuple(s for s in self.observers if s is not sink)
            self.patient = tuple(s for s in self.patient if s is not sink)
            self.scopes = tuple(s for s in self.scopes if s is not scope)
            self.settles = tuple(s for s in self.settles if s is not settle)
            self.gates = tuple(g for g in self.gates if g is not gate)
            self.listening = bool(self.journals or self.observers or self.patient)
            self._group()

        return detach

    def _group(self) -> None:
        self.grouped = bool(self.journals) and all(isinstance(journal, Together) for journal in self.journals)

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

    def write_all(self, batches: Sequence[Sequence[Record]]) -> list[BaseException | None]:
        """Pass batches of different runs to the journals only; return for each what a journal raised, or None."""
        errors: list[BaseException | None] = [None] * len(batches)
        for journal in self.journals:
            places = [place for place, error in enumerate(errors) if error is None]
            some = [batches[place] for place in places]
            # not by the protocol, which would look for all of its attributes each time
            write: Writer | None = getattr(journal, "write_all", None)
            found = write(some) if write is not None else [_try(journal, records) for records in some]
            for place, error in zip(places, found, strict=True):
                errors[place] = error
        return errors

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
        for settle in self.settles:
            try:
                settle()
            except Exception:  # nor does this
                self._report(settle)

    def enter(self, started: StepStarted) -> None:
        """Let every scope prepare the context variables of an attempt."""
        for scope in self.scopes:
            try:
                scope.enter(started)
            except Exception:  # nor do scopes
                self._report(scope)

    def hold(self) -> float:
        """Return for how many seconds a busy run shall stand back, so that all sinks keep up: mostly 0."""
        try:
            return max((gate() for gate in self.gates), default=0.0)
        except Exception:  # as observers
            return 0.0

    def origin(self) -> str:
        """Return the W3C traceparent under which a run that begins now stands, or ""."""
        for scope in self.scopes:
            try:
                if parent := scope.origin():
                    return parent
            except Exception:  # nor do scopes
                self._report(scope)
        return ""

    def locate(self, run: str, now: int) -> Whereabouts | None:
        """Return where a run stands in its trace at a time (ns since the epoch), or None if it has none."""
        for scope in self.scopes:
            try:
                if isinstance(scope, Locator) and (found := scope.locate(run, now)) is not None:
                    return found
            except Exception:  # nor do scopes
                self._report(scope)
        return None

    def scrub(self, text: str) -> str:
        """Return what may be told of a text that users wrote, such as the message of an exception."""
        return self.redact.text(text) if self.redact is not None else text

    def _report(self, observer: Sink | Scope | Callable[[], None]) -> None:
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        self.failures[name] += 1
        if self.failures[name] == 1:
            _log.exception(
                "The sink %s raised. Runs go on without it; further failures are only counted (Dispatcher.failures).",
                name,
            )


def _try(journal: Sink, records: Sequence[Record]) -> Exception | None:
    try:
        journal(records)
    except Exception as error:  # whatever a journal may raise
        return error
    return None


default_dispatcher = Dispatcher()
"""The dispatcher of all runs that are not given another one."""
