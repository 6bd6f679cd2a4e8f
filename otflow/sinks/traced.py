"""A run as the SDK sees it: its spans handed to processors, and made current in its steps.

What a span says is decided in `otflow.records.trace`; here it gets the SDK's clothes. This room knows one run, and
neither providers nor samplers.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otflow.records.identity import Whereabouts
from otflow.records.part import Part
from otflow.records.record import (
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunTimedOut,
    StepStarted,
)
from otflow.records.semconv import OUTCOME, STEP_NAME, STEP_SPAN, WAITING
from otflow.records.span import SpanData, derive_span_id, write_traceparent
from otflow.records.trace import RunTrace
from otflow.sinks.live import Kin, LiveSpan, Terms, open_span

__all__ = ["DroppedRun", "TracedRun", "read_flags"]

_QUIET = frozenset({SpanProcessor.on_start, SimpleSpanProcessor.on_start, BatchSpanProcessor.on_start})
"""The `on_start` methods that do nothing."""


class DroppedRun:
    """A run that is not sampled: its steps pass on that it is not, and that is all.

    Args:
        context: what its steps pass on.

    Attributes:
        paused, ended: where it stands.
        home: whoever looks after the run while it goes on.
    """

    __slots__ = ("_paused_at", "ended", "home", "paused", "span")

    def __init__(self, context: SpanContext) -> None:
        self.span = NonRecordingSpan(context)
        self.paused = self.ended = False
        self.home: object = None
        self._paused_at = 0

    def take(self, records: Sequence[Record]) -> bool:
        """Take a batch; tell whether the run is paused or has ended."""
        for record in records:
            match record:
                case RunPaused() | RunResumed():
                    self.paused = isinstance(record, RunPaused)
                    self._paused_at = record.at if self.paused else 0
                case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
                    self.ended = True
                case _:
                    pass
        return self.paused or self.ended

    def resume(self, records: Sequence[Record]) -> bool:
        """Take a batch with which the run goes on."""
        return self.take(records)

    def enter(self, started: StepStarted) -> None:
        """Make the span that is not recorded the current one."""
        otel.attach(set_span_in_context(self.span))

    def locate(self, now: int) -> Whereabouts:
        """Say that it is not sampled, for the data that is saved with it."""
        context = self.span.get_span_context()
        place = write_traceparent(context.trace_id, context.span_id, context.trace_flags)
        return Whereabouts(place, place, 0, self._paused_at or now, context.trace_state.to_header())

    def mark_pending(self, now: int, patience: int) -> int:
        """Do nothing: nobody would see it."""
        return 0

    def close(self, outcome: str) -> None:
        """Do nothing: there is nothing to finish."""


class TracedRun:
    """A run that is sampled.

    Args:
        trace: its trace.
        processor: where its spans go.
        terms: what all spans of the provider have in common.
        result: what the sampler said.

    Attributes:
        home: whoever looks after the run while it goes on.
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
        "home",
    )

    def __init__(self, trace: RunTrace, processor: SpanProcessor, terms: Terms, result: SamplingResult) -> None:
        self._trace = trace
        self._kin = Kin(trace.common.trace_id, read_flags(result), result.trace_state, terms.scrub)
        self._names: dict[str, str] = {}
        self._processor = processor
        self._terms = terms
        self._extra = result.attributes
        self._telling = _listens(processor)
        self._parent: SpanContext | None = None
        self._parent_id = 0
        self._handles: dict[int, LiveSpan] = {}  # the spans that step code has, by invocation
        self._told: dict[int, LiveSpan] = {}  # the open spans that processors were told of, by id
        self.home: object = None

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return self._trace.paused

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self._trace.ended

    @property
    def sampled(self) -> bool:
        """Whether exporters get its spans; or else only other processors."""
        return bool(self._kin.flags & TraceFlags.SAMPLED)

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

    def resume(self, records: Sequence[Record]) -> bool:
        """Take a batch with which the run goes on, perhaps in another trace; tell as `take` does."""
        trace, old = self._trace, self._kin.trace_id
        trace.attempts.opened = [] if self._telling else None
        finished = trace.feed(records)
        for data in finished:
            if data.trace_id == old:
                self._export(data)
        if trace.common.trace_id != old:
            self._kin = self._kin._replace(trace_id=trace.common.trace_id)
            self._parent, self._parent_id = None, 0
        self._tell(trace.attempts.opened or [])
        for data in finished:
            if data.trace_id != old:
                self._export(data)
        return trace.paused or trace.ended

    def locate(self, now: int) -> Whereabouts | None:
        """Say where the run stands at a time, for the data that is saved with it."""
        kin = self._kin
        return self._trace.locate(now, kin.flags, kin.state.to_header() if kin.state else "")

    def mark_pending(self, now: int, patience: int) -> int:
        """Announce the spans that are open for longer than `patience` nanoseconds; return when to do so again."""
        markers, following = self._trace.mark_pending(now, patience)
        for data in markers:
            self._export(data)
        return following

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

    def _find_told(self, data: SpanData) -> LiveSpan | None:
        """Return the span that processors were told of; if they were not, because it was never open, they are now."""
        if data.span_id not in self._told and not data.invocation:
            span = self._make(data.span_id, data.parent_id, data.name, data.start)
            span.show(data.attributes)
            self._announce(span, data.span_id, data.parent_id)
        return self._told.pop(data.span_id, None)

    def _export(self, data: SpanData) -> None:
        """Hand a finished span to the processors."""
        id, invocation = data.span_id, data.invocation
        told = self._find_told(data) if self._telling else None
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


def read_flags(result: SamplingResult) -> TraceFlags:
    """Return the flags of a trace of which a sampler said this."""
    sampled = result.decision is Decision.RECORD_AND_SAMPLE
    return TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)


def _listens(processor: SpanProcessor) -> bool:
    """Tell whether a processor, or one of those in it, wants to know of spans that start."""
    children: Sequence[SpanProcessor] | None = getattr(processor, "_span_processors", None)
    if children is not None:
        return any(_listens(child) for child in children)
    return type(processor).on_start not in _QUIET
