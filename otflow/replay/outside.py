"""Outside: what a step asked of the world, as spans of other libraries tell of it.

An attempt is known by the spans that stand under its own. This room reads what conventions for HTTP and for language
models say, and puts it into a line of words; it calls nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

from otflow.records.execution import Execution
from otflow.records.semconv import ATTEMPT, INVOCATION_ID
from otflow.records.spans import to_spans

__all__ = ["ForeignSpan", "find_calls"]

_URL = ("url.full", "http.url", "http.target", "url.path")
_METHOD = ("http.request.method", "http.method")
_STATUS = ("http.response.status_code", "http.status_code")
_MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_OUTPUT = ("llm.output_messages.0.message.content", "gen_ai.output.messages", "gen_ai.completion", "output.value")
_MAX_SHOWN = 200


class ForeignSpan(Protocol):
    """A span of another library."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def span_id(self) -> int:
        """Its id."""

    @property
    def parent_id(self) -> int:
        """The id of the span that it stands under; 0 if there is none."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """What it says."""


def find_calls(execution: Execution, foreign: Iterable[ForeignSpan]) -> dict[tuple[int, int], list[str]]:
    """Say what attempts asked of the outside, by invocation and number of the attempt.

    Args:
        execution: the run.
        foreign: spans of other libraries, in any order; those that are no calls are used to find the way only.
    """
    spans = {span.span_id: span for span in foreign}
    if not spans:
        return {}
    own = {
        span.span_id: (invocation, attempt)
        for span in to_spans(execution.records)
        if isinstance(invocation := span.attributes.get(INVOCATION_ID), int)
        and isinstance(attempt := span.attributes.get(ATTEMPT), int)
    }
    calls: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for span in spans.values():
        words = _describe(span)
        place = _find_attempt(span, spans, own) if words else None
        if place is not None:
            calls[place].append(words)
    return dict(calls)


def _find_attempt(
    span: ForeignSpan, spans: Mapping[int, ForeignSpan], own: Mapping[int, tuple[int, int]]
) -> tuple[int, int] | None:
    seen = set()
    at = span
    while at.parent_id not in own:
        seen.add(at.span_id)
        if at.parent_id not in spans or at.parent_id in seen:
            return None
        at = spans[at.parent_id]
    return own[at.parent_id]


def _describe(span: ForeignSpan) -> str:
    """Put a call into words; empty if the span is of none."""
    attributes = span.attributes
    model, url = _first(attributes, _MODEL), _first(attributes, _URL)
    if model:
        output = _first(attributes, _OUTPUT)
        return f"{span.name}: the model {model} answered {output}" if output else f"{span.name}: the model {model}"
    method = _first(attributes, _METHOD)
    if not method or "http.route" in attributes:  # a server's span has a route
        return ""
    status = _first(attributes, _STATUS)
    return f"{method} {url or span.name}{f' answered {status}' if status else ''}"


def _first(attributes: Mapping[str, object], keys: Iterable[str]) -> str:
    text = next((f"{attributes[key]}" for key in keys if attributes.get(key) not in (None, "")), "")
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
