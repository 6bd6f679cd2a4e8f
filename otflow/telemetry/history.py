"""History: runs that were recorded before, as requests of OTLP: the way on from a journal to a receiver or a file.

It knows spans as data and the encoder of the way out; where the runs were read, and where the requests go, it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otflow.pipeline.encoding import Origin, encode_request, encode_span
from otflow.records.semconv import SCOPE
from otflow.records.span import SpanData
from otflow.telemetry.tracing import describe_service, read_version

__all__ = ["encode_spans", "make_request", "make_scope", "to_json"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS: dict[type, str] = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}


def make_scope(service: str = "") -> Origin:
    """Say where spans come from: this service, and otflow.

    Args:
        service: the name of the service; default what the environment says.
    """
    return Origin(describe_service(service), InstrumentationScope(SCOPE, read_version()))


def encode_spans(spans: Iterable[SpanData], origin: Origin, size: int) -> Iterator[list[bytes]]:
    """Encode spans, and give them in groups of about so many bytes.

    Args:
        spans: the spans.
        origin: where they come from.
        size: bytes of a group; a span that is larger stands alone.
    """
    group: list[bytes] = []
    filled = 0
    for span in spans:
        encoded = encode_span(_dress(span, origin.resource, origin.scope))
        if group and filled + len(encoded) > size:
            yield group
            group, filled = [], 0
        group.append(encoded)
        filled += len(encoded)
    if group:
        yield group


def make_request(group: Sequence[bytes], origin: Origin) -> bytes:
    """Make the request to export a group of encoded spans. Requests behind each other are a request too."""
    return encode_request({origin: group})


def _dress(span: SpanData, resource: Resource, scope: InstrumentationScope | None) -> ReadableSpan:
    """Give a span the SDK's clothes."""
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=dict(span.attributes),
        events=[Event(event.name, dict(event.attributes), event.at) for event in span.events],
        links=[Link(_context(link.trace_id or span.trace_id, link.span_id), link.attributes) for link in span.links],
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.status_message) if span.status == "error" else Status(),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=scope,
    )


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)


# ---------------------------------------------------------------- as JSON


def to_json(spans: Iterable[SpanData], origin: Origin) -> dict[str, object]:
    """Write spans as one object of OTLP-JSON, as the collector's file exporter does."""
    scope: dict[str, object] = {"name": SCOPE}
    if origin.scope is not None and origin.scope.version:
        scope["version"] = origin.scope.version
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(origin.resource.attributes)},
                "scopeSpans": [{"scope": scope, "spans": [_span(span) for span in spans]}],
            }
        ]
    }


def _span(span: SpanData) -> dict[str, object]:
    found: dict[str, object] = {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        "parentSpanId": f"{span.parent_id:016x}" if span.parent_id else "",
        "flags": 0x101,  # sampled; and the parent is known to be of this process
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "events": [
            {"timeUnixNano": str(event.at), "name": event.name, "attributes": _attributes(event.attributes)}
            for event in span.events
        ],
        "links": [
            {
                "traceId": f"{link.trace_id or span.trace_id:032x}",
                "spanId": f"{link.span_id:016x}",
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ],
        "status": {"code": 2, "message": span.status_message} if span.status == "error" else {},
    }
    return {name: value for name, value in found.items() if value not in ("", [])}


def _attributes(attributes: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, tuple | list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    kind = _KINDS.get(type(value), "stringValue")
    return {kind: value if kind in {"boolValue", "doubleValue"} else str(value)}
