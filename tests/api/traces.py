"""What tests of traced runs share: a dispatcher whose spans go to memory."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from otflow.sinks.spans import SpanSink
from tests.api.tape import Tape


class Traced(Tape):
    """A dispatcher that keeps every record, and every span of its runs and of others."""

    def __init__(self) -> None:
        super().__init__()
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink = SpanSink(self.provider)
        self.dispatcher.attach(self.sink, patient=True, scope=self.sink)
        self.tracer: Tracer = self.provider.get_tracer("mine")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Return the finished spans, or those of one name."""
        return [span for span in self.exporter.get_finished_spans() if not name or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        [span] = self.spans(name)
        return span

    def above(self, span: ReadableSpan) -> ReadableSpan | None:
        """Return the span above another one."""
        parent = span.parent
        found = [other for other in self.spans() if parent and other.context.span_id == parent.span_id]
        return found[0] if found else None

    def path(self, span: ReadableSpan) -> list[str]:
        """Return the names from a span up to the root of its trace."""
        above = self.above(span)
        return [span.name, *(self.path(above) if above is not None else [])]
