"""Spans as a tree: who stands under whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan


class Tree:
    """Looks at finished spans.

    Args:
        spans: gives those that are finished so far.
    """

    def __init__(self, spans: Callable[[], Sequence[ReadableSpan]]) -> None:
        self.spans = spans

    def named(self, name: str) -> list[ReadableSpan]:
        """Give the spans of a name, by their start."""
        return sorted((span for span in self.spans() if span.name == name), key=lambda span: span.start_time)

    def of_scope(self, word: str) -> list[ReadableSpan]:
        """Give the spans of the instrumentation whose scope has this word in its name, by their start."""
        found = (span for span in self.spans() if word in span.instrumentation_scope.name)
        return sorted(found, key=lambda span: span.start_time)

    def parent(self, span: ReadableSpan) -> ReadableSpan:
        """Give the span that a span stands under."""
        return next(each for each in self.spans() if span.parent and each.context.span_id == span.parent.span_id)

    def under(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Give the spans that stand right under a span."""
        return [span for span in self.spans() if span.parent and span.parent.span_id == parent.context.span_id]

    def check(self) -> None:
        """Assert that there is one trace, in which each span but the first has its parent, and starts after it."""
        spans = {span.context.span_id: span for span in self.spans()}
        roots = [span.name for span in spans.values() if span.parent is None]
        orphans = [span.name for span in spans.values() if span.parent and span.parent.span_id not in spans]
        outside = [
            span.name
            for span in spans.values()
            if span.parent and (above := spans.get(span.parent.span_id)) and span.start_time < above.start_time
        ]
        assert (len(roots), orphans, outside) == (1, [], [])
        assert len({span.context.trace_id for span in spans.values()}) == 1
