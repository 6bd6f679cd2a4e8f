"""Ways out for spans up to the bytes of OTLP requests, which nobody receives: what tracing costs with its encoding."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

__all__ = ["OwnBytes", "StockBytes"]

_BATCH = 512  # spans in a request: the default of the SDK


def count_spans(request: ExportTraceServiceRequest) -> int:
    """Return how many spans a request holds, and raise ValueError when one has no identity or no attribute."""
    spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    if not all(span.trace_id and span.span_id and span.end_time_unix_nano and span.attributes for span in spans):
        raise ValueError("a span has no identity, no end or no attribute")
    return len(spans)


class StockBytes(SpanProcessor):
    """Encodes batches with the encoder of the stock exporter, in place, without a queue or a thread."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        self.count = 0
        self._encode: Callable[..., ExportTraceServiceRequest] = encode_spans
        self._batch: list[ReadableSpan] = []
        self._last = b""
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span."""
        self._batch.append(span)
        self.count += 1
        if len(self._batch) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Encode what has gathered."""
        if self._batch:
            self._last = self._encode(self._batch).SerializePartialToString()
            self._batch.clear()

    def verify(self) -> None:
        """Raise ValueError when the last request holds no spans."""
        if not count_spans(ExportTraceServiceRequest.FromString(self._last)):
            raise ValueError("no span was encoded")


class OwnBytes:
    """otflow's own way out, with its thread and its buffer, to a receiver that takes everything."""

    def __init__(self) -> None:
        from otflow.pipeline.exporter import Exporter
        from otflow.pipeline.processor import Outlet
        from otflow.pipeline.target import Limits

        self._last = b""
        self._exporter = Exporter(lambda: self, "nowhere", Limits())
        outlet = Outlet()
        outlet.exporter = self._exporter
        self.provider = TracerProvider()
        self.provider.add_span_processor(outlet)

    @property
    def count(self) -> int:
        """How many spans were handed over."""
        return self._exporter.status().accepted

    def send(self, request: bytes, timeout: float) -> object:
        """Take a request."""
        from otflow.pipeline.target import Sent

        self._last = request
        return Sent()

    def close(self) -> None:
        """Have nothing to close."""

    def flush(self) -> None:
        """Wait until everything is encoded."""
        if not self._exporter.flush(60):
            raise ValueError(f"spans are lost: {self._exporter.status()}")

    def verify(self) -> None:
        """Raise ValueError when the last request holds no spans."""
        if not count_spans(ExportTraceServiceRequest.FromString(self._last)):
            raise ValueError("no span was encoded")
