"""The processor that stands in a tracer provider of otflow: takes finished spans of anybody, and has them sent.

It encodes at once: what waits is bytes then, whose memory is known, and the sending thread needs the interpreter for
next to nothing. It knows spans and one exporter.
"""

from __future__ import annotations

from collections import deque

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

from otflow.pipeline.encoding import Origin, encode_span
from otflow.pipeline.exporter import Exporter
from otflow.sinks.live import LiveSpan

__all__ = ["Outlet"]

_MILLISECONDS = 1000
_KEPT = 1000
_SAMPLED = int(TraceFlags.SAMPLED)
_ROW = 256  # spans
_LARGE = 8192  # bytes of a span with which nothing else is gathered: what has gathered is in no account of memory


def _read_flags(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return context.trace_flags if context is not None else 0


class Outlet(SpanProcessor):
    """Hands finished spans to an exporter, which can be exchanged; without one they go nowhere."""

    def __init__(self) -> None:
        self._gathered: deque[tuple[Origin, bytes]] = deque()
        self.exporter: Exporter | None = None
        self._last: Origin | None = None  # of the span before
        self._origins: dict[tuple[int, int], Origin] = {}  # by identity, because to compare resources takes long

    def on_end(self, span: ReadableSpan) -> None:
        """Encode a span, if it is sampled, and hand it over."""
        exporter = self.exporter
        if exporter is None:
            return
        flags = span.kin.flags if isinstance(span, LiveSpan) else _read_flags(span)
        if not flags & _SAMPLED:
            return
        resource, scope, last = span._resource, span._instrumentation_scope, self._last
        if last is None or last.resource is not resource or last.scope is not scope:
            last = self._last = self._find_origin(resource, scope)
        try:
            encoded = encode_span(span)
        except Exception:  # an attribute that nobody has thought of must not harm the code that ends a span
            exporter.buffer.tally.refuse("unencodable")
            return
        if isinstance(span, LiveSpan):  # of which many come in a row, and someone settles at the end
            gathered = self._gathered
            gathered.append((last, encoded))
            if len(gathered) >= _ROW or len(encoded) > _LARGE:
                self.settle()
        else:
            exporter.put(last, encoded)

    def settle(self) -> None:
        """Hand over what has gathered."""
        gathered, row = self._gathered, []
        try:
            while gathered:
                row.append(gathered.popleft())
        except IndexError:  # another thread was faster
            pass
        if row and self.exporter is not None:
            self.exporter.put_all(row)

    def forget(self) -> None:
        """Forget what has gathered, because another process hands it over."""
        self._gathered = deque()

    def _find_origin(self, resource: Resource, scope: InstrumentationScope | None) -> Origin:
        key = id(resource), id(scope)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) >= _KEPT:
                self._origins.clear()
            origin = self._origins[key] = Origin(resource, scope)
        return origin

    def shutdown(self) -> None:
        """Do nothing: who set the exporter closes it."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until what was handed over is sent; tell whether it is."""
        self.settle()
        return self.exporter is None or self.exporter.flush(timeout_millis / _MILLISECONDS)
