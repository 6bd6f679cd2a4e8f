"""Who gets the spans of this process: finds or builds the provider, and keeps a sink attached that serves it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import trace

from otflow.dispatcher import Dispatcher
from otflow.telemetry.choices import Choices, aim, find_sdk
from otflow.telemetry.environment import Environment
from otflow.telemetry.process import Process
from otflow.telemetry.showing import choose_capture

if TYPE_CHECKING:
    from otflow.pipeline.exporter import Status
    from otflow.sinks.spans import SpanSink
    from otflow.telemetry.tracing import OwnTraces

__all__ = ["Spans"]

_SDK = "opentelemetry.sdk.trace"


class Spans:
    """The sink for spans, and the provider that it serves.

    Args:
        process: tells of the end of the process.

    Attributes:
        provider: who gets the spans; None for nobody.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.provider: trace.TracerProvider | None = None
        self._sink: SpanSink | None = None
        self._own: OwnTraces | None = None
        self._end_traces: Callable[[], None] | None = None

    def find_provider(self, choices: Choices, wanted: Environment) -> trace.TracerProvider | None:
        """Return who gets the spans: who was named, else the user's global one, else one of our own."""
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
            self._own = self._build(choices, wanted)
        return self._own.provider if self._own is not None else None

    def _find_global(self) -> trace.TracerProvider | None:
        if _SDK not in sys.modules:
            return None
        # asking for a provider that is not set looks into the environment, which not every run shall pay for
        found = find_sdk(trace.get_tracer_provider())
        from otflow.telemetry.tracing import is_own

        return None if is_own(found) else found

    def _build(self, choices: Choices, wanted: Environment) -> OwnTraces | None:
        from otflow.telemetry.tracing import build_traces

        target, limits = aim(choices, wanted.target, "traces"), wanted.limits
        exporters = wanted.traces if choices.endpoint is None else ("otlp",)
        given = {name: getattr(choices, name) for name in ("memory", "max_block", "exit_timeout")}
        limits = limits._replace(**{name: value for name, value in given.items() if value is not None})
        spool = os.fspath(choices.spool) if choices.spool is not None else wanted.spool
        self._process.watch()
        return build_traces(
            target,
            limits,
            exporters=exporters,
            service=choices.service_name or "",
            spool=Path(spool).expanduser() if spool else None,
            lenient=choices.spool is None,
        )

    def follow(
        self, provider: trace.TracerProvider | None, dispatcher: Dispatcher, choices: Choices, wanted: Environment
    ) -> None:
        """Attach a sink for this provider in the place of the one that was there."""
        if provider is self.provider:
            return
        if self._own is not None and provider is not self._own.provider:
            self.release()  # a provider of the user came later, and wins
        elif self._end_traces is not None:
            self._end_traces()
            self._end_traces = self._sink = None
        self.provider = provider
        if provider is None:
            return
        from opentelemetry.sdk.trace import TracerProvider

        from otflow.sinks.spans import SpanSink

        if not isinstance(provider, TracerProvider):
            return
        sink = self._sink = SpanSink(provider, choose_capture(choices, wanted), scrub=dispatcher.scrub)
        exporter = self._own.exporter if self._own is not None else None
        gate = exporter.brake if exporter is not None else None
        detach = dispatcher.attach(sink, patient=True, scope=sink, gate=gate, settle=sink.settle)

        def end() -> None:
            detach()
            sink.close()

        self._end_traces = end

    def release(self) -> None:
        """Take the sink off, send what waits, and close what was built."""
        end, self._end_traces, self._sink, self.provider = self._end_traces, None, None, None
        own, self._own = self._own, None
        try:
            if end is not None:
                end()
        finally:
            if own is not None:
                own.close()

    def forget(self) -> None:
        """Begin anew in the child of a fork: open runs, and spans that wait, are the parent's."""
        if self._sink is not None:
            self._sink.forget()
        if self._own is not None:
            self._own.restart()

    # ---------------------------------------------------------------- questions

    def samples(self, run: str) -> bool:
        """Tell whether the spans of a run go out."""
        return self._sink is not None and self._sink.samples(run)

    def status(self) -> Status | None:
        """Tell how the way out stands, if it is otflow's own."""
        own = self._own
        return own.exporter.status() if own is not None and own.exporter is not None else None

    def flush(self, timeout: float) -> bool:
        """Send what waits, within so many seconds; tell whether all of it was sent."""
        if self._own is not None:
            return self._own.flush(timeout)
        force = getattr(self.provider, "force_flush", None)
        return force is None or bool(force(int(timeout * 1000)))
