"""Records to spans of the OpenTelemetry SDK: hands finished spans to a provider, and makes them current meanwhile.

What a span says is decided in `otflow.records.trace`; here it gets the SDK's clothes. Spans are made without the SDK's
tracer, because their ids follow from their run, and because what otflow puts into them needs no checks. What users
add to them passes the SDK's own checks and limits. The sink looks at nothing but records and the provider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from otflow.dispatcher import Dispatcher
from otflow.records.capture import FULL, Capture
from otflow.records.part import Part
from otflow.records.record import (
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepStarted,
)
from otflow.records.semconv import INVOCATION_ID, OPERATION_NAME, OUTCOME, RUN_ID, SCOPE, SEGMENT_SPAN, WAITING
from otflow.records.semconv import WORKFLOW_NAME
from otflow.records.span import SpanData, derive_span_id
from otflow.records.trace import RunTrace
from otflow.sinks.live import LiveSpan, Terms, open_span

__all__ = ["KEPT_PAUSED", "SpanSink", "attach"]

KEPT_PAUSED = 4096
"""How many paused runs are remembered, so that their next segment refers to the one before."""

_SILENT = frozenset({SpanProcessor.on_start, SimpleSpanProcessor.on_start, BatchSpanProcessor.on_start})
"""The `on_start` methods that do nothing."""
_EMPTY = otel.Context()


class _Unsampled:
    """Stands in the place of a trace that nobody wants."""

    def __init__(self) -> None:
        self.paused = self.ended = False

    def feed(self, records: Sequence[Record]) -> list[SpanData]:
        for record in records:
            match record:
                case RunPaused() | RunResumed():
                    self.paused = isinstance(record, RunPaused)
                case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
                    self.ended = True
                case _:
                    pass
        return []


class _Run:
    """A run as the sink knows it.

    Attributes:
        trace: its trace, if it is sampled.
        silent: what is current in its steps if it is not.
        flags, state: what all its spans pass on.
        sampled: attributes that the sampler wants on its segments.
        handles: the spans that step code has, by invocation.
        told: open spans that processors were told of, by id.
    """

    __slots__ = ("_parent", "flags", "handles", "sampled", "silent", "state", "told", "trace")

    def __init__(
        self,
        trace: RunTrace | _Unsampled,
        flags: TraceFlags,
        state: TraceState | None,
        sampled: Mapping[str, AttributeValue],
    ) -> None:
        self.trace = trace
        self.flags = flags
        self.state = state
        self.sampled = sampled
        self.silent: NonRecordingSpan | None = None
        self.handles: dict[int, LiveSpan] = {}
        self.told: dict[int, LiveSpan] = {}
        self._parent: SpanContext | None = None

    def identify(self, trace_id: int, span_id: int) -> SpanContext:
        """Return the identity of a span of this run."""
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=self.flags, trace_state=self.state)

    def identify_parent(self, trace_id: int, span_id: int) -> SpanContext | None:
        """Return the identity of a parent, which mostly is the same as the last time."""
        if not span_id:
            return None
        if self._parent is None or self._parent.span_id != span_id:
            self._parent = self.identify(trace_id, span_id)
        return self._parent


class SpanSink:
    """Gives the spans of all runs to a provider of the SDK, and makes that of an attempt current in its steps.

    Args:
        provider: the provider; its sampler, processors, resource and limits are respected.
        capture: how much of the payloads goes into the spans; default `FULL`.
    """

    def __init__(self, provider: TracerProvider, capture: Capture = FULL) -> None:
        limits: SpanLimits = getattr(provider, "_span_limits", None) or SpanLimits()
        self._provider = provider
        self._terms = Terms(provider.resource, InstrumentationScope(SCOPE, _own_version()), limits)
        self._capture = _bound(capture, limits.max_span_attribute_length)
        self._runs: dict[str, _Run] = {}
        self._paused: dict[str, None] = {}
        self._processors: object = self  # which no provider has
        self._telling = False

    def __call__(self, records: Sequence[Record]) -> None:
        """Take a batch, which is of one run."""
        if not records:
            return
        first = records[0]
        run = self._runs.get(first.run)
        if run is None or isinstance(first, RunStarted):
            run = self._begin(first)
        trace = run.trace
        if self._has_to_tell():
            self._tell(run, records)
        else:
            for data in trace.feed(records):
                self._export(run, data)
        if trace.ended:
            del self._runs[first.run]
            self._paused.pop(first.run, None)
        elif trace.paused:
            self._shelve(first.run)
        elif self._paused:
            self._paused.pop(first.run, None)

    def enter(self, started: StepStarted) -> None:
        """Make the span of an attempt the current one, in the context variables of this very context."""
        run = self._runs.get(started.run)
        if run is None:
            return
        span: LiveSpan | NonRecordingSpan | None = run.silent
        if isinstance(run.trace, RunTrace):
            part = run.trace.attempts.open.get(started.invocation)
            if part is None:
                return
            span = run.handles[started.invocation] = run.told.get(part.span_id) or self._open(run, part)
        if span is not None:
            otel.attach(set_span_in_context(span))

    def origin(self) -> str:
        """Return the traceparent of the current span, or ""."""
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def close(self) -> None:
        """Export what is open, because no more records come. How it would have ended is left open."""
        for run in self._runs.values():
            if isinstance(run.trace, RunTrace):
                for data in run.trace.close(""):
                    self._export(run, data)
        self._runs.clear()
        self._paused.clear()

    # ---------------------------------------------------------------- runs

    def _begin(self, first: Record) -> _Run:
        """Get to know a run, and ask once whether it is sampled."""
        old = self._runs.pop(first.run, None)
        if old is not None and isinstance(old.trace, RunTrace):  # its id is used again, and it never ended
            for data in old.trace.close():
                self._export(old, data)
        trace = RunTrace(first, self._capture)
        common = trace.common
        around = _EMPTY
        if trace.parent_id:
            parent = SpanContext(common.trace_id, trace.parent_id, False, TraceFlags(trace.parent_flags))
            around = set_span_in_context(NonRecordingSpan(parent), _EMPTY)
        attributes = {OPERATION_NAME: SEGMENT_SPAN, WORKFLOW_NAME: common.workflow, RUN_ID: common.run}
        result = self._provider.sampler.should_sample(
            around, common.trace_id, trace.name, SpanKind.INTERNAL, attributes, ()
        )
        flags = TraceFlags(TraceFlags.SAMPLED if result.decision.is_sampled() else TraceFlags.DEFAULT)
        recording = result.decision.is_recording()
        run = _Run(trace if recording else _Unsampled(), flags, result.trace_state, result.attributes or {})
        if not recording:
            own = run.identify(common.trace_id, derive_span_id(common.key, first.seq))
            run.silent = NonRecordingSpan(own)
        if self._provider.resource is not self._terms.resource:  # as after a fork
            self._terms = self._terms._replace(resource=self._provider.resource)
        self._runs[first.run] = run
        return run

    def _shelve(self, id: str) -> None:
        """Count a run as paused, and forget the one that has been so longest if there are too many."""
        paused = self._paused
        paused.pop(id, None)
        paused[id] = None
        if len(paused) > KEPT_PAUSED:
            oldest = next(iter(paused))
            del paused[oldest]
            del self._runs[oldest]

    # ---------------------------------------------------------------- spans

    def _open(self, run: _Run, part: Part) -> LiveSpan:
        context = run.identify(part.trace_id, part.span_id)
        parent = run.identify_parent(part.trace_id, part.parent_id)
        return open_span(self._terms, context, parent, part.span_id, part.name, part.start)

    def _export(self, run: _Run, data: SpanData) -> None:
        """Hand a finished span to the processors."""
        attributes, id = data.attributes, data.span_id
        invocation = attributes.get(INVOCATION_ID, 0)
        handle = run.handles.get(invocation)
        told = run.told.pop(id, None) if run.told else None
        span = handle if handle is not None and handle.id == id else told
        if span is None:
            context = run.identify(data.trace_id, id)
            parent = run.identify_parent(data.trace_id, data.parent_id)
            span = open_span(self._terms, context, parent, id, data.name, data.start)
        if run.sampled and not invocation:
            attributes.update(run.sampled)
        links = tuple(Link(run.identify(data.trace_id, link.span_id), link.attributes) for link in data.links)
        span.conclude(data, links)
        if handle is not None:
            if span is not handle:
                handle.speak_for(span)
            if attributes.get(OUTCOME) != WAITING:
                handle.retire()
                del run.handles[invocation]
        if span is not handle:
            span.retire()
        self._provider._active_span_processor.on_end(span)

    def _has_to_tell(self) -> bool:
        """Tell whether some processor wants to know of spans that start; looked up when there are others."""
        children = getattr(self._provider._active_span_processor, "_span_processors", None)
        if children is not self._processors:
            self._processors = children
            self._telling = _listens(self._provider._active_span_processor)
        return self._telling

    def _tell(self, run: _Run, records: Sequence[Record]) -> None:
        """Feed the trace; tell the processors of the spans that start, then of those that end."""
        opened: list[Part] = []
        if isinstance(run.trace, RunTrace):
            run.trace.attempts.opened = opened
        finished = run.trace.feed(records)
        for part in opened:
            span = run.told[part.span_id] = self._open(run, part)
            parent = run.told.get(part.parent_id) or span.parent
            around = otel.get_current()
            if parent is not None:
                around = set_span_in_context(parent if isinstance(parent, LiveSpan) else NonRecordingSpan(parent), around)
            self._provider._active_span_processor.on_start(span, parent_context=around)
        for data in finished:
            self._export(run, data)


def attach(dispatcher: Dispatcher, provider: TracerProvider, capture: Capture = FULL) -> Callable[[], None]:
    """Let the runs of a dispatcher be traced.

    Args:
        dispatcher: the dispatcher.
        provider: where the spans go. Nothing is attached if the SDK is switched off (`OTEL_SDK_DISABLED`).
        capture: how much of the payloads goes into the spans; default `FULL`.

    Returns:
        A function that ends it, and exports what is open then.
    """
    if not isinstance(provider.get_tracer(SCOPE), Tracer):
        return lambda: None
    sink = SpanSink(provider, capture)
    detach = dispatcher.attach(sink, scope=sink)

    def end() -> None:
        detach()
        sink.close()

    return end


def _listens(processor: SpanProcessor) -> bool:
    children = getattr(processor, "_span_processors", None)
    if children is not None:
        return any(_listens(child) for child in children)
    return type(processor).on_start not in _SILENT


def _bound(capture: Capture, limit: int | None) -> Capture:
    """Stay within the length that the user allows to attributes, because JSON that is cut cannot be read."""
    if limit is None:
        return capture
    return Capture(*(min(getattr(capture, name), limit) for name in Capture.__struct_fields__))


def _own_version() -> str:
    try:
        return version("otflow")
    except PackageNotFoundError:  # it runs from its source
        return ""
