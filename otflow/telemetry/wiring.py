"""Wiring: what is attached to the dispatcher of this process, and when it is taken off again.

Nothing happens at import. When a run starts, the global tracer provider of the user is followed if it is one of the
OpenTelemetry SDK; else what the OTEL_* variables ask for is set up; else nothing is. `configure` says it explicitly.
The SDK is never imported for someone who does not use it. How a sink works is not known here.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, cast

from opentelemetry import trace

from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.pipeline.target import Transport
from otflow.telemetry.choices import Choices, find_sdk, is_measured
from otflow.telemetry.environment import Environment, locate, read_environment
from otflow.telemetry.logs import open_logs
from otflow.telemetry.showing import choose_capture, hide_secrets

if TYPE_CHECKING:
    from otflow.metrics.cells import Cells
    from otflow.pipeline.exporter import Status
    from otflow.sinks.spans import SpanSink
    from otflow.telemetry.measuring import Measuring
    from otflow.telemetry.tracing import OwnTraces

__all__ = ["Wiring"]

_log = logging.getLogger("otflow.telemetry")
_SDK = "opentelemetry.sdk.trace"
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
        self._provider: trace.TracerProvider | None = None  # which the sink serves
        self._wrapper: object = None  # a provider around that one, which may exchange it
        self._sink: SpanSink | None = None
        self._own: OwnTraces | None = None
        self._ends: list[Callable[[], None]] = []  # of what does not depend on the provider
        self._end_traces: Callable[[], None] | None = None
        self._cells: Cells | None = None
        self._hooked = False

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
        self._drop_traces()
        while self._ends:
            self._ends.pop()()
        self._cells = None
        self._ready, self._known, self._provider = False, _UNKNOWN, None

    @property
    def settled(self) -> bool:
        """Whether nothing has changed since everything was attached. Asked at the start of every run."""
        known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
        if not self._ready or known is not self._known or known is _UNKNOWN:
            return False
        return self._wrapper is None or find_sdk(self._wrapper) is self._provider

    def settle(self) -> None:
        """See to it that everything is attached that should be."""
        if not self._ready:
            self._environment = read_environment(os.environ)
            for fault in self._environment.faults:
                _log.warning("This variable is left out: %s.", fault)
            self._ready = True
            self._attach_rest()
        self._follow(self._find_provider())
        self._known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)
        asked = self.choices.tracer_provider or self._known
        wraps = self._provider is not None and asked is not self._provider and find_sdk(asked) is self._provider
        self._wrapper = asked if wraps else None

    # ---------------------------------------------------------------- traces

    def _find_provider(self) -> trace.TracerProvider | None:
        """Return who gets the spans: who was named, else the user's global one, else one of our own."""
        choices, wanted = self.choices, self._environment
        if choices.tracer_provider is not None:
            return find_sdk(choices.tracer_provider)
        if choices.endpoint is None:
            if wanted.disabled:
                return None
            if (theirs := self._find_global()) is not None:
                return theirs
            if not wanted.traces:
                return None
        if self._own is None:
            self._own = self._build()
        return self._own.provider if self._own is not None else None

    def _find_global(self) -> trace.TracerProvider | None:
        if _SDK not in sys.modules:
            return None
        # asking for a provider that is not set looks into the environment, which not every run shall pay for
        found = find_sdk(trace.get_tracer_provider())
        from otflow.telemetry.tracing import is_own

        return None if is_own(found) else found

    def _build(self) -> OwnTraces | None:
        from otflow.telemetry.tracing import build_traces

        choices, wanted = self.choices, self._environment
        target, limits = wanted.target, wanted.limits
        exporters = wanted.traces if choices.endpoint is None else ("otlp",)
        if choices.endpoint is not None:
            transport = cast("Transport", choices.protocol or target.protocol)
            headers = {key.lower(): text for key, text in (choices.headers or target.headers).items()}
            endpoint = locate(choices.endpoint, transport, "traces")
            target = target._replace(endpoint=endpoint, protocol=transport, headers=headers)
        given = {name: getattr(choices, name) for name in ("memory", "max_block", "exit_timeout")}
        limits = limits._replace(**{name: value for name, value in given.items() if value is not None})
        spool = os.fspath(choices.spool) if choices.spool is not None else wanted.spool
        self._hook()
        return build_traces(
            target,
            limits,
            exporters=exporters,
            service=choices.service_name or "",
            spool=Path(spool).expanduser() if spool else None,
            lenient=choices.spool is None,
        )

    def _follow(self, provider: trace.TracerProvider | None) -> None:
        """Attach a sink for this provider in the place of the one that was there."""
        if provider is self._provider:
            return
        if self._own is not None and provider is not self._own.provider:
            self._drop_traces()  # a provider of the user came later, and wins
        elif self._end_traces is not None:
            self._end_traces()
            self._end_traces = self._sink = None
        self._provider = provider
        if provider is None:
            return
        from opentelemetry.sdk.trace import TracerProvider

        from otflow.sinks.spans import SpanSink

        if not isinstance(provider, TracerProvider):
            return
        sink = self._sink = SpanSink(provider, choose_capture(self.choices, self._environment))
        exporter = self._own.exporter if self._own is not None else None
        gate = exporter.brake if exporter is not None else None
        detach = self.dispatcher.attach(sink, patient=True, scope=sink, gate=gate, settle=sink.settle)

        def end() -> None:
            detach()
            sink.close()

        self._end_traces = end

    def _drop_traces(self) -> None:
        if self._end_traces is not None:
            self._end_traces()
            self._end_traces = self._sink = None
        if self._own is not None:
            own, self._own = self._own, None
            own.close()

    # ---------------------------------------------------------------- the rest

    def _attach_rest(self) -> None:
        """Attach what does not depend on the tracer provider."""
        choices, wanted, dispatcher = self.choices, self._environment, self.dispatcher
        self._ends.append(hide_secrets(dispatcher, choices, wanted))
        if choices.journal is not None:
            self._ends.append(dispatcher.attach(choices.journal, journal=True))
        if wanted.disabled and choices == Choices():
            return
        if is_measured(choices, wanted):
            self._measure()
        self._ends.append(open_logs(choices, wanted, dispatcher))

    def _measure(self) -> Measuring:
        from otflow.telemetry.measuring import open_metrics

        self._hook()
        measuring = open_metrics(self.dispatcher, self.choices, self._environment, self._drops, self._samples)
        self._ends.append(measuring.close)
        self._cells = measuring.cells
        return measuring

    def _samples(self, run: str) -> bool:
        return self._sink is not None and self._sink.samples(run)

    def _drops(self) -> Mapping[tuple[str, str], int]:
        """Return what is lost, by sink and reason."""
        lost = {(name, "error"): count for name, count in list(self.dispatcher.failures.items())}
        status = self.status()
        if status is not None:
            lost |= {("otlp", reason): spans for reason, spans in status.dropped.items()}
        return lost

    def cells(self) -> Cells:
        """Return the cells of this process; begin to count if nobody has wanted that yet."""
        if self._cells is None and not self._ready:
            self.settle()
        return self._cells if self._cells is not None else self._measure().cells

    # ---------------------------------------------------------------- questions

    def status(self) -> Status | None:
        """Tell how the way out stands, if it is otflow's own."""
        own = self._own
        return own.exporter.status() if own is not None and own.exporter is not None else None

    def flush(self, timeout: float) -> bool:
        """Send what waits, within so many seconds; tell whether all of it was sent."""
        provider = self._provider
        if self._own is not None:
            return self._own.flush(timeout)
        force = getattr(provider, "force_flush", None)
        return force is None or bool(force(int(timeout * 1000)))

    # ---------------------------------------------------------------- the process

    def _hook(self) -> None:
        """Be told of the end of the process, and of its forks; once."""
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._fork)
        self._hook_multiprocessing()

    def _hook_multiprocessing(self) -> None:
        """Be told of the end of a worker process, which calls nothing of atexit."""
        module = sys.modules.get("multiprocessing.util")
        if module is not None:
            self._finalize(module)
            # a worker that was forked forgets that when it begins, and then looks what is to be done after a fork
            module.register_after_fork(self, lambda _: self._finalize(module))

    def _finalize(self, module: ModuleType) -> None:
        module.Finalize(None, self._leave, exitpriority=0)

    def _leave(self) -> None:
        with self.lock:
            self.release()
            self._ready = True  # what starts now is too late
            self._known = getattr(trace, "_TRACER_PROVIDER", _UNKNOWN)

    def _fork(self) -> None:
        """Begin anew in a child: open runs, and spans that wait, are the parent's."""
        self.lock = Lock()
        if self._sink is not None:
            self._sink.forget()
        if self._own is not None:
            self._own.restart()
        self._hook_multiprocessing()
