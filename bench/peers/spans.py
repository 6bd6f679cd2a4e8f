"""The span processor of every traced variant: it keeps the newest spans in memory and counts all."""

from __future__ import annotations

from collections import deque

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

__all__ = ["RecentSpans"]

_KEPT = 10_000


class RecentSpans(SpanProcessor):
    """An in-memory processor with its own provider.

    It does the least that a processor can do, so that what is compared is the making of spans.
    """

    def __init__(self) -> None:
        self.count = 0
        self.recent: deque[ReadableSpan] = deque(maxlen=_KEPT)
        self.provider = TracerProvider()
        self.provider.add_span_processor(self)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep and count a finished span."""
        self.recent.append(span)
        self.count += 1

    def flush(self) -> None:
        """Wait for the spans that are still under way to this processor."""
        self.provider.force_flush()

    def verify(self) -> None:
        """Raise TypeError or ValueError when the kept spans are not real, finished ones with attributes."""
        if not self.recent:
            raise ValueError("no span arrived; is the peer attached to the provider of this processor?")
        for span in self.recent:
            if not isinstance(span, ReadableSpan):
                raise TypeError(f"{type(span).__name__} is not a ReadableSpan")
            context = span.get_span_context()
            if context is None or not context.is_valid:
                raise ValueError(f"span {span.name!r} has no valid context")
            if span.start_time is None or span.end_time is None or span.end_time < span.start_time:
                raise ValueError(f"span {span.name!r} has no valid start and end")
            if not span.attributes:
                raise ValueError(f"span {span.name!r} has no attributes")
