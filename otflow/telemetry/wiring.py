"""Wiring: what is attached to the dispatcher of this process, and when it is taken off again.

Nothing happens at import. When a run starts, the global tracer provider of the user is followed if it is one of the
OpenTelemetry SDK; else what the OTEL_* variables ask for is set up; else nothing is. `configure` says it explicitly.
The SDK is never imported for someone who does not use it. How a sink works is not known here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING

from opentelemetry import trace

from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.journal.faults import JournalError
from otflow.telemetry.choices import Choices, find_sdk, is_measured, silence
from otflow.telemetry.environment import Environment, read_environment
from otflow.telemetry.journaling import keep_journal
from otflow.telemetry.logs import is_told, open_logs, tell_ids
from otflow.telemetry.process import Bound, Process
from otflow.telemetry.showing import hide_secrets
from otflow.telemetry.spans import Spans

if TYPE_CHECKING:
    from otflow.metrics.cells import Cells
    from otflow.telemetry.measuring import Measuring

__all__ = ["Wiring"]

_log = logging.getLogger("otflow.telemetry")
_UNKNOWN = object()


class Wiring:
    """What is attached, to which dispatcher, and for which provider."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.choices = Choices()
        self.calls = 0  # of choose: tells whether what someone did is still in force
        self._environment = Environment()
        self._known: object = _UNKNOWN  # what stood in the place of the global provider when it was last asked for
        self._ready = False
        self._wrapper: object = None  # a provider around the one that is served, which may exchange it
        self._process = Process(self._leave, self._fork)
        self.spans = Spans(self._process)
        self._ends: list[Callable[[], None]] = []  # of what does not depend on the provider
        self._bound = Bound(None)  # of the time that all ends together take
        self._tells = False  # whether log records say where they were made
        self._cells: Cells | None = None

    @property
    def dispatcher(self) -> Dispatcher:
        """The dispatcher whose runs are watched."""
        return self.choices.dispatcher or default_dispatcher

    # ---------------------------------------------------------------- changes

    def choose(self, choices: Choices, *, now: bool) -> None:
        """Begin anew with other choices; `now`: do not wait for the first run."""
        self.release()
        self.calls += 1
        self.choices = choices
        if now:
            try:
                self.settle()
            except BaseException:  # nothing is left half done
                self.release()
                self.choices = Choices()
                raise

    def release(self) -> None:
        """Take everything off."""
        self._bound.begin()
        for end in (self.spans.release, *reversed(self._ends)):
            try:
                end()
            except Exception:  # the others have to be closed all the same
                _log.warning("Something of the telemetry cannot be ended as it should be.", exc_info=True)
        self._ends.clear()
        self._cells, self._tells = None, False
        self._ready, self._known = False, _UNKNOWN

    @property
    def settled(self) -> bool:
        """Whether nothing has changed since everything was attached. Asked at the start of every run."""
        known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
        if not self._ready or known is not self._known or known is _UNKNOWN:
            return False
        return self._wrapper is None or find_sdk(self._wrapper) is self.spans.provider

    def settle_for_run(self) -> None:
        """Do so for a run, which goes on whatever stands in the environment."""
        for _ in range(2):  # what does not depend on the provider is attached once, and may be what failed
            try:
                self.settle()
            except JournalError:  # who asked for one does not want to run without
                self.release()
                raise
            except Exception as error:  # a port that is taken, a package that does not work
                _log.warning("What the environment asks for cannot be done: %s", error)
            else:
                return
        self._known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)

    def settle(self) -> None:
        """See to it that everything is attached that should be."""
        if not self._ready:
            self._read()
            self._ready = True
            self._attach_rest()
        choices, wanted, spans = self.choices, self._environment, self.spans
        spans.follow(spans.find_provider(choices, wanted), self.dispatcher, choices, wanted)
        if spans.provider is not None:
            self._process.watch()
        if not self._tells and is_told(choices, wanted, traced=spans.provider is not None):
            self._tells = True
            self._ends.append(tell_ids(choices))
        self._known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
        asked, served = choices.tracer_provider or self._known, spans.provider
        wraps = served is not None and asked is not served and find_sdk(asked) is served
        self._wrapper = asked if wraps else None

    def _read(self) -> None:
        """Read the environment; what it forbids is not done, whoever asks for it."""
        wanted = self._environment = read_environment(os.environ)
        for fault in wanted.faults:
            _log.warning("This variable is left out: %s.", fault)
        if wanted.disabled and (quiet := silence(self.choices)) != self.choices:
            _log.warning("OTEL_SDK_DISABLED=true: nothing is sent or served, whatever configure() asks for.")
            self.choices = quiet
        exit_timeout = self.choices.exit_timeout
        self._bound = Bound(exit_timeout if exit_timeout is not None else wanted.limits.exit_timeout)

    def _attach_rest(self) -> None:
        """Attach what does not depend on the tracer provider."""
        choices, wanted, dispatcher = self.choices, self._environment, self.dispatcher
        self._ends.append(hide_secrets(dispatcher, choices, wanted))
        self._ends.append(keep_journal(dispatcher, choices, wanted))
        if is_measured(choices, wanted):
            self._measure()
        self._ends.append(open_logs(choices, wanted, dispatcher, self._bound))

    def _measure(self) -> Measuring:
        from otflow.telemetry.measuring import open_metrics

        self._process.watch()
        watched, samples = self._drops, self.spans.samples
        measuring = open_metrics(self.dispatcher, self.choices, self._environment, watched, samples, self._bound)
        self._ends.append(measuring.close)
        self._cells = measuring.cells
        return measuring

    def _drops(self) -> Mapping[tuple[str, str], int]:
        """Return what is lost, by sink and reason."""
        lost = {(name, "error"): count for name, count in list(self.dispatcher.failures.items())}
        status = self.spans.status()
        if status is not None:
            lost |= {("otlp", reason): spans for reason, spans in status.dropped.items()}
        return lost

    def cells(self) -> Cells:
        """Return the cells of this process; begin to count if nobody has wanted that yet."""
        if self._cells is None and not self._ready:
            self.settle()
        return self._cells if self._cells is not None else self._measure().cells

    def _leave(self) -> None:
        with self.lock:
            self.release()
            self._ready = True  # what starts now is too late
            self._known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)

    def _fork(self) -> None:
        self.lock = Lock()  # a thread of the parent may have held it
        self.spans.forget()
