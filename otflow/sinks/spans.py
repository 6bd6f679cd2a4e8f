"""Records to spans of the OpenTelemetry SDK: hands finished spans to a provider, and makes them current meanwhile.

What a span says is decided in `otflow.records.trace`; here it gets the SDK's clothes. Spans are made without the SDK's
tracer, because their ids follow from their run. Whether a run is sampled is asked once, when it begins. The sink looks
at nothing but records and its provider.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar
from weakref import WeakKeyDictionary

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanLimits, Tracer, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from otflow.dispatcher import Dispatcher
from otflow.records.capture import FULL, Capture
from otflow.records.identity import WINDOW, Whereabouts
from otflow.records.record import Record, RunResumed, RunStarted, StepStarted
from otflow.records.semconv import CRASHED, OPERATION_NAME, RUN_ID, SCOPE, SEGMENT_SPAN, WORKFLOW_NAME
from otflow.records.span import read_traceparent, write_traceparent
from otflow.records.trace import RunTrace
from otflow.sinks.live import Terms
from otflow.sinks.lookout import Lookout
from otflow.sinks.traced import DroppedRun, TracedRun, read_flags

__all__ = ["KEPT_PAUSED", "PATIENCE", "SpanSink", "attach"]

T = TypeVar("T")

KEPT_PAUSED = 4096
"""How many paused runs are remembered, so that their next segment refers to the one before."""

PATIENCE = 5.0
"""Seconds that a span may be open before it is announced."""

_log = logging.getLogger("otflow.telemetry")
_NS = 1_000_000_000
_NOWHERE = otel.Context()


class SpanSink:
    """Gives the spans of all runs to a provider of the SDK, and makes that of an attempt current in its steps.

    Args:
        provider: the provider; its sampler, processors, resource and limits are respected.
        capture: how much of the payloads goes into the spans; default `FULL`.
        window: how many seconds after a pause a run stays in its trace; default 15 minutes.
        patience: how many seconds a span may be open before it is announced; default 5.
        scrub: hides secrets in the texts of exceptions and failures that users report on their spans; default None:
            nothing is hidden.
    """

    def __init__(
        self,
        provider: TracerProvider,
        capture: Capture = FULL,
        *,
        window: float = WINDOW / _NS,
        patience: float = PATIENCE,
        scrub: Callable[[str], str] | None = None,
    ) -> None:
        own_version = _own_version()
        limits: SpanLimits = getattr(provider, "_span_limits", None) or SpanLimits()
        self._tracer = provider.get_tracer(SCOPE, own_version)
        self._terms = Terms(provider.resource, InstrumentationScope(SCOPE, own_version), limits, scrub)
        self._capture = _bound(capture, limits.max_span_attribute_length)
        self._runs: dict[str, TracedRun | DroppedRun] = {}
        self._paused: dict[str, None] = {}
        self._window = int(window * _NS)
        self._patience = patience
        self._lookouts: WeakKeyDictionary[asyncio.AbstractEventLoop, Lookout] = WeakKeyDictionary()

    def __call__(self, records: Sequence[Record]) -> None:
        """Take a batch, which is of one run."""
        if not records:
            return
        first = records[0]
        run, kind = self._runs.get(first.run), type(first)
        if run is None or kind is RunStarted:
            run = self._begin(first)
        try:
            if kind is RunResumed:
                run.home = self._look_after()
                stopped = run.resume(records)
            else:
                stopped = run.take(records)
        except Exception:  # the dispatcher counts it; what cannot be told must not be kept for ever either
            self._runs.pop(first.run, None)
            self._paused.pop(first.run, None)
            raise
        if stopped:
            self._shelve(first.run, run)

    def enter(self, started: StepStarted) -> None:
        """Make the span of an attempt the current one, in the context variables of this very context."""
        run = self._runs.get(started.run)
        if run is not None:
            run.enter(started)

    def origin(self) -> str:
        """Return the traceparent of the current span, or ""."""
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        return write_traceparent(context.trace_id, context.span_id, context.trace_flags)

    def locate(self, run: str, now: int) -> Whereabouts | None:
        """Say where a run stands at a time (ns since the epoch), for the data that is saved with it."""
        known = self._runs.get(run)
        return known.locate(now) if known is not None else None

    def reveal(self, now: int, home: Lookout | None = None) -> int:
        """Announce the spans that are open for long, each once: to see a run that hangs.

        Args:
            now: the time, in nanoseconds since the epoch.
            home: the lookout that asks; default None: for the runs of all event loops.

        Returns:
            When there may be more to announce; 0 if nothing is open.
        """
        patience = int(self._patience * _NS)
        runs = list(self._runs.values())  # other threads may begin some
        due = [run.mark_pending(now, patience) for run in runs if home is None or run.home is home]
        self.settle()
        return min(filter(None, due), default=0)

    def _look_after(self) -> Lookout | None:
        """Have someone look after what is open in this event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # records from a file
            return None
        lookout = self._lookouts.get(loop)
        if lookout is None:
            lookout = self._lookouts[loop] = Lookout(self, self._patience)
        lookout.arm()
        return lookout

    def samples(self, run: str) -> bool:
        """Tell whether the spans of a run that goes on are recorded and sampled."""
        known = self._runs.get(run)
        return isinstance(known, TracedRun) and known.sampled

    def settle(self) -> None:
        """Let the processor hand on what it has gathered, if it is one that gathers."""
        settle = getattr(_innermost(getattr(self._tracer, "span_processor", None)), "settle", None)
        if settle is not None:
            settle()

    def forget(self) -> None:
        """Forget all runs, because they go on in another process."""
        self._runs.clear()
        self._paused.clear()

    def close(self) -> None:
        """Export what is open, because no more records come. How it would have ended, nobody can tell."""
        for id, run in list(self._runs.items()):
            try:
                run.close("")
            except Exception:  # the others still have to be told of
                _log.warning("The spans of run %s that were open are lost.", id, exc_info=True)
        self.settle()
        self._runs.clear()
        self._paused.clear()

    def _begin(self, first: Record) -> TracedRun | DroppedRun:
        """Get to know a run, and ask whether it is sampled."""
        old = self._runs.get(first.run)
        if old is not None:  # its id is used again, and it never ended
            old.close(CRASHED)
        trace = RunTrace(first, self._capture, self._window)
        common, tracer, result = trace.common, self._tracer, SamplingResult(Decision.DROP)
        if isinstance(tracer, Tracer):  # and not the one that stands there when the SDK is switched off
            parent, trace_id = _find_parent(trace)
            around = set_span_in_context(NonRecordingSpan(parent), _NOWHERE) if parent is not None else _NOWHERE
            attributes = {OPERATION_NAME: SEGMENT_SPAN, WORKFLOW_NAME: common.workflow, RUN_ID: common.run}
            kind = SpanKind.INTERNAL
            result = tracer.sampler.should_sample(around, trace_id, trace.name, kind, attributes, ())
        run: TracedRun | DroppedRun
        if isinstance(tracer, Tracer) and result.decision is not Decision.DROP:
            terms = self._terms._replace(resource=tracer.resource)  # which a fork changes
            run = TracedRun(trace, _innermost(tracer.span_processor), terms, result)
            run.home = self._look_after()
        else:
            id = trace.identity.of_segment(first.seq)
            run = DroppedRun(SpanContext(common.trace_id, id, False, read_flags(result), result.trace_state))
        self._runs[first.run] = run
        return run

    def _shelve(self, id: str, run: TracedRun | DroppedRun) -> None:
        """Forget a run that has ended, or the one that has been paused longest if there are too many."""
        self._paused.pop(id, None)
        if run.ended:
            del self._runs[id]
            return
        self._paused[id] = None
        if len(self._paused) > KEPT_PAUSED:
            oldest = next(iter(self._paused))
            del self._paused[oldest]
            if self._runs[oldest].paused:  # and not resumed since
                del self._runs[oldest]


def _find_parent(trace: RunTrace) -> tuple[SpanContext | None, int]:
    """Return the span that a sampler is to take for the parent of a run, and the id of the trace it is asked about.

    A run that was restored is asked about as a child of its last segment, in the trace of that one: so a sampler that
    follows parents, or that counts by trace ids, decides as before even if another trace begins.
    """
    left, identity = trace.identity.left, trace.identity
    if left is not None and not left.forked:
        trace_id, span_id, flags = read_traceparent(left.last)
        state = TraceState.from_header([left.state]) if left.state else None
        return SpanContext(
            trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state
        ), trace_id
    if not identity.parent_id:
        return None, identity.trace_id
    flags = TraceFlags(identity.parent_flags)
    return SpanContext(identity.trace_id, identity.parent_id, is_remote=False, trace_flags=flags), identity.trace_id


def attach(dispatcher: Dispatcher, provider: object, capture: Capture = FULL) -> Callable[[], None]:
    """Let the runs of a dispatcher be traced.

    Args:
        dispatcher: the dispatcher.
        provider: where the spans go.
        capture: how much of the payloads goes into the spans; default `FULL`.

    Returns:
        A function that ends it, and exports what is open then.

    Raises:
        TypeError: the provider is none of the SDK.
    """
    if not isinstance(provider, TracerProvider):
        raise TypeError(f"{provider!r} is no TracerProvider of the OpenTelemetry SDK, so no spans can be given to it")
    sink = SpanSink(provider, capture, scrub=dispatcher.scrub)
    detach = dispatcher.attach(sink, patient=True, scope=sink, settle=sink.settle)

    def end() -> None:
        detach()
        sink.close()

    return end


def _innermost(processor: T) -> T:
    """Return the only processor of a provider that has one, without the one around it, which costs time."""
    children: Sequence[T] = getattr(processor, "_span_processors", ())
    return children[0] if len(children) == 1 else processor


def _bound(capture: Capture, limit: int | None) -> Capture:
    """Stay within the length that the user allows to attributes, because JSON that is cut cannot be read."""
    if limit is None:
        return capture
    return capture.bound(limit)


def _own_version() -> str:
    try:
        return version("otflow")
    except PackageNotFoundError:  # it runs from its source
        return ""
