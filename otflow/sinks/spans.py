"""Records to spans of the OpenTelemetry SDK: hands finished spans to a provider, and makes them current meanwhile.

What a span says is decided in `otflow.records.trace`; here it gets the SDK's clothes. Spans are made without the SDK's
tracer, because their ids follow from their run. Whether a run is sampled is asked once, when it begins. The sink looks
at nothing but records and its provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

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
from otflow.records.semconv import (
    CRASHED,
    OPERATION_NAME,
    OUTCOME,
    RUN_ID,
    SCOPE,
    SEGMENT_SPAN,
    STEP_NAME,
    STEP_SPAN,
    WAITING,
    WORKFLOW_NAME,
)
from otflow.records.span import SpanData, derive_span_id
from otflow.records.trace import RunTrace
from otflow.sinks.live import Kin, LiveSpan, Terms, open_span

__all__ = ["KEPT_PAUSED", "SpanSink", "attach"]

KEPT_PAUSED = 4096
"""How many paused runs are remembered, so that their next segment refers to the one before."""

_NOWHERE = otel.Context()
_QUIET = frozenset({SpanProcessor.on_start, SimpleSpanProcessor.on_start, BatchSpanProcessor.on_start})
"""The `on_start` methods that do nothing."""


class _Dropped:
    """A run that is not sampled: its steps pass on that it is not, and that is all."""

    __slots__ = ("ended", "paused", "span")

    def __init__(self, context: SpanContext) -> None:
        self.span = NonRecordingSpan(context)
        self.paused = self.ended = False

    def take(self, records: Sequence[Record]) -> bool:
        """Take a batch; tell whether the run is paused or has ended."""
        for record in records:
            match record:
                case RunPaused() | RunResumed():
                    self.paused = isinstance(record, RunPaused)
                case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
                    self.ended = True
                case _:
                    pass
        return self.paused or self.ended

    def enter(self, started: StepStarted) -> None:
        """Make the span that is not recorded the current one."""
        otel.attach(set_span_in_context(self.span))

    def close(self, outcome: str) -> None:
        """Do nothing: there is nothing to finish."""


class _Traced:
    """A run that is sampled.

    Args:
        trace: its trace.
        processor: where its spans go.
        terms: what all spans of the provider have in common.
        result: what the sampler said.
    """

    __slots__ = (
        "_extra",
        "_handles",
        "_kin",
        "_names",
        "_parent",
        "_parent_id",
        "_processor",
        "_telling",
        "_terms",
        "_told",
        "_trace",
    )

    def __init__(self, trace: RunTrace, processor: SpanProcessor, terms: Terms, result: SamplingResult) -> None:
        self._trace = trace
        self._kin = Kin(trace.common.trace_id, _flags(result), result.trace_state)
        self._names: dict[str, str] = {}
        self._processor = processor
        self._terms = terms
        self._extra = result.attributes
        self._telling = _listens(processor)
        self._parent: SpanContext | None = None
        self._parent_id = 0
        self._handles: dict[int, LiveSpan] = {}  # the spans that step code has, by invocation
        self._told: dict[int, LiveSpan] = {}  # the open spans that processors were told of, by id

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return self._trace.paused

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self._trace.ended

    def take(self, records: Sequence[Record]) -> bool:
        """Take a batch; tell whether the run is paused or has ended."""
        trace = self._trace
        if self._telling:
            trace.attempts.opened = []
        finished = trace.feed(records)
        if self._telling:
            self._tell(trace.attempts.opened or [])
        for data in finished:
            self._export(data)
        return trace.paused or trace.ended

    def enter(self, started: StepStarted) -> None:
        """Make the span of an attempt the current one."""
        trace, segment = self._trace, self._trace.segment
        if segment is None:
            return
        # the fold may not have come to this record yet, but what opens a span is all in it
        trace.attempts.hold(started)
        id = derive_span_id(trace.common.key, started.seq)
        name = self._names.get(started.step)
        if name is None:
            name = self._names[started.step] = f"{STEP_SPAN} {started.step}"
        span = self._told.get(id) if self._telling else None
        if span is None:
            span = self._make(id, segment.span_id, name, started.at)
            if self._telling:
                span.show({**trace.common.attributes(), STEP_NAME: started.step})
                self._announce(span, id, segment.span_id)
        self._handles[started.invocation] = span
        otel.attach(set_span_in_context(span))

    def close(self, outcome: str) -> None:
        """Export what is open, because no more records come."""
        for data in self._trace.close(outcome):
            self._export(data)

    def _make(self, span_id: int, parent_id: int, name: str, start: int) -> LiveSpan:
        if parent_id != self._parent_id:  # mostly the same as the last time
            self._parent_id = parent_id
            self._parent = self._kin.identify(parent_id) if parent_id else None
        return open_span(self._terms, self._kin, self._parent, span_id, name, start)

    def _tell(self, opened: list[Part]) -> None:
        """Tell the processors of spans that start."""
        for part in opened:
            if part.span_id not in self._told:  # and not announced when its code began
                span = self._make(part.span_id, part.parent_id, part.template.name, part.start)
                span.show(part.template.fixed)
                self._announce(span, part.span_id, part.parent_id)

    def _announce(self, span: LiveSpan, id: int, parent_id: int) -> None:
        around, parent = otel.get_current(), self._told.get(parent_id)
        if parent is not None:
            around = set_span_in_context(parent, around)
        elif span.parent is not None:
            around = set_span_in_context(NonRecordingSpan(span.parent), around)
        self._told[id] = span
        self._processor.on_start(span, parent_context=around)

    def _export(self, data: SpanData) -> None:
        """Hand a finished span to the processors."""
        id, invocation = data.span_id, data.invocation
        told = self._told.pop(id, None) if self._telling else None
        handle = self._handles.get(invocation)
        if handle is None:
            span = told or self._make(id, data.parent_id, data.name, data.start)
            span.conclude(data, self._extra if not invocation else None)
            span.retire()
        else:
            span = handle
            if handle.id == id:
                span.conclude(data)
            else:
                span = told or self._make(id, data.parent_id, data.name, data.start)
                span.conclude(data)
                span.retire()
                handle.speak_for(span)
            if data.attributes.get(OUTCOME) != WAITING:
                handle.retire()
                del self._handles[invocation]
        self._processor.on_end(span)


class SpanSink:
    """Gives the spans of all runs to a provider of the SDK, and makes that of an attempt current in its steps.

    Args:
        provider: the provider; its sampler, processors, resource and limits are respected.
        capture: how much of the payloads goes into the spans; default `FULL`.
    """

    def __init__(self, provider: TracerProvider, capture: Capture = FULL) -> None:
        own_version = _own_version()
        limits: SpanLimits = getattr(provider, "_span_limits", None) or SpanLimits()
        self._tracer = provider.get_tracer(SCOPE, own_version)
        self._terms = Terms(provider.resource, InstrumentationScope(SCOPE, own_version), limits)
        self._capture = _bound(capture, limits.max_span_attribute_length)
        self._runs: dict[str, _Traced | _Dropped] = {}
        self._paused: dict[str, None] = {}

    def __call__(self, records: Sequence[Record]) -> None:
        """Take a batch, which is of one run."""
        if not records:
            return
        first = records[0]
        run = self._runs.get(first.run)
        if run is None or type(first) is RunStarted:
            run = self._begin(first)
        if run.take(records):
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
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def close(self) -> None:
        """Export what is open, because no more records come. How it would have ended, nobody can tell."""
        for run in self._runs.values():
            run.close("")
        self._runs.clear()
        self._paused.clear()

    def _begin(self, first: Record) -> _Traced | _Dropped:
        """Get to know a run, and ask whether it is sampled."""
        old = self._runs.get(first.run)
        if old is not None:  # its id is used again, and it never ended
            old.close(CRASHED)
        trace = RunTrace(first, self._capture)
        common, around = trace.common, _NOWHERE
        if trace.parent_id:
            flags = TraceFlags(trace.parent_flags)
            parent = SpanContext(common.trace_id, trace.parent_id, is_remote=False, trace_flags=flags)
            around = set_span_in_context(NonRecordingSpan(parent), _NOWHERE)
        tracer, result = self._tracer, SamplingResult(Decision.DROP)
        if isinstance(tracer, Tracer):  # and not the one that stands there when the SDK is switched off
            attributes = {OPERATION_NAME: SEGMENT_SPAN, WORKFLOW_NAME: common.workflow, RUN_ID: common.run}
            kind = SpanKind.INTERNAL
            result = tracer.sampler.should_sample(around, common.trace_id, trace.name, kind, attributes, ())
        run: _Traced | _Dropped
        if isinstance(tracer, Tracer) and result.decision is not Decision.DROP:
            terms = self._terms._replace(resource=tracer.resource)  # which a fork changes
            run = _Traced(trace, tracer.span_processor, terms, result)
        else:
            id = derive_span_id(common.key, -first.seq)
            run = _Dropped(SpanContext(common.trace_id, id, False, _flags(result), result.trace_state))
        self._runs[first.run] = run
        return run

    def _shelve(self, id: str, run: _Traced | _Dropped) -> None:
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
    sink = SpanSink(provider, capture)
    detach = dispatcher.attach(sink, patient=True, scope=sink)

    def end() -> None:
        detach()
        sink.close()

    return end


def _flags(result: SamplingResult) -> TraceFlags:
    sampled = result.decision is Decision.RECORD_AND_SAMPLE
    return TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)


def _listens(processor: SpanProcessor) -> bool:
    """Tell whether a processor, or one of those in it, wants to know of spans that start."""
    children: Sequence[SpanProcessor] | None = getattr(processor, "_span_processors", None)
    if children is not None:
        return any(_listens(child) for child in children)
    return type(processor).on_start not in _QUIET


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
