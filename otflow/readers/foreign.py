"""Foreign spans: what other libraries recorded below the steps of a run, found by who stands under whom.

Only what stands below an attempt of the run that was asked for is kept, and only up to a bound; what was left out is
said. Spans of other runs count as a way to what stands below them, and are not given. This room knows neither files
nor servers, and not what a span means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from otflow.records.execution import Execution
from otflow.records.spans import to_spans

__all__ = ["ERROR", "KIND", "MESSAGE", "SCOPE", "Draft", "Foreign", "ForeignSpan", "Kin", "find_kin", "gather", "mark"]

KIND = "span.kind"
SCOPE = "otel.scope.name"
ERROR = "otel.status_code"
MESSAGE = "otel.status_description"

_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_MOST = 100_000
_MOST_BYTES = 64 << 20


class ForeignSpan(msgspec.Struct, frozen=True):
    """A span of another library, below an attempt of a step.

    Args:
        name: its name.
        trace_id: the id of its trace.
        span_id: its id.
        parent_id: the id of the next span above it that is foreign too, or is one of the run.
        start: when it began, in nanoseconds since the epoch; 0 if nobody says.
        attributes: what it says. What has no attribute in OTLP is told as OpenTelemetry tells it elsewhere: "span.kind"
            ("client"), "otel.scope.name", and of an error "otel.status_code" and "otel.status_description".
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start: int
    attributes: Mapping[str, object]


class Foreign(NamedTuple):
    """What other libraries recorded below the steps of a run.

    Args:
        spans: the spans, the earliest first.
        faults: what could not be read, or was left out, in sentences.
    """

    spans: tuple[ForeignSpan, ...] = ()
    faults: tuple[str, ...] = ()


class Draft(msgspec.Struct, gc=False):
    """A span as it was found; its attributes are read when it turns out to be wanted.

    Attributes:
        name, trace_id, span_id, parent_id, start: as those of `ForeignSpan`; `parent_id` is 0 for none.
        size: the bytes that are kept for its attributes.
        read: reads the attributes; None if it is a span of otflow, of which they do not matter.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start: int
    size: int
    read: Callable[[], Mapping[str, object]] | None


class Kin(NamedTuple):
    """By what the spans below a run are known.

    Args:
        traces: the ids of its traces.
        spans: the ids of its spans.
        attempts: those of its attempts.
    """

    traces: frozenset[int]
    spans: frozenset[int]
    attempts: frozenset[int]

    def marks(self) -> tuple[bytes, ...]:
        """Return what stands in each text that has a span of these traces."""
        return tuple(form.encode() for trace in self.traces for form in {f"{trace:x}", f"{trace:X}"})


def find_kin(execution: Execution) -> Kin:
    """Say by what the spans below a run are known; the ids follow from its records."""
    spans = to_spans(execution.records)
    return Kin(
        frozenset(span.trace_id for span in spans),
        frozenset(span.span_id for span in spans),
        frozenset(span.span_id for span in spans if span.invocation),
    )


def mark(kind: str | int, code: str, message: str, scope: str) -> dict[str, object]:
    """Write as attributes what OTLP tells beside them.

    Args:
        kind: "client", "server", "internal", ..., or the number that stands for it.
        code: "ERROR", or anything else.
        message: what is said of the error.
        scope: the name of the instrumentation.
    """
    if isinstance(kind, int):
        kind = _KINDS[kind] if 0 <= kind < len(_KINDS) else ""
    found: dict[str, object] = {KIND: kind.removeprefix("SPAN_KIND_").lower(), SCOPE: scope}
    if code == "ERROR":
        found |= {ERROR: code, MESSAGE: message}
    return {key: value for key, value in found.items() if value}


def gather(drafts: Iterable[Draft], kin: Kin, faults: list[str]) -> Foreign:
    """Choose the spans that stand below attempts of a run.

    Args:
        drafts: spans in any order, with duplicates or without, of these traces and of others.
        kin: the run.
        faults: what could not be read until now; it grows while the drafts come.
    """
    found: dict[int, Draft] = {}
    size = left = 0
    for draft in drafts:
        if draft.trace_id not in kin.traces or draft.span_id in kin.spans or draft.span_id in found:
            continue
        if len(found) >= _MOST or size + draft.size > _MOST_BYTES:
            left += 1
            continue
        size += draft.size
        found[draft.span_id] = draft
    if left:
        faults.append(
            f"{left:,} spans of other libraries were left out: of a run {_MOST:,} are kept, of {_MOST_BYTES:,} bytes."
        )
    above = _find_parents(found, kin)
    spans = [
        ForeignSpan(draft.name, draft.trace_id, id, above[id], draft.start, draft.read())
        for id, draft in found.items()
        if id in above and draft.read is not None
    ]
    return Foreign(tuple(sorted(spans, key=lambda span: (span.start, span.span_id))), tuple(faults))


def _find_parents(found: Mapping[int, Draft], kin: Kin) -> dict[int, int]:
    """Return the spans below attempts, each with the next one above that is foreign or an attempt's."""
    above: dict[int, int] = {}
    seen: set[int] = set()
    for id in found:
        way: list[int] = []
        at = id
        while at in found and at not in seen:
            seen.add(at)
            way.append(at)
            at = found[at].parent_id
        if at not in kin.attempts and at not in above:  # it leads elsewhere, or in a circle
            continue
        for each in reversed(way):
            parent = found[each].parent_id
            is_foreign = parent in kin.attempts or found[parent].read is not None
            above[each] = parent if is_foreign else above[parent]
    return above
