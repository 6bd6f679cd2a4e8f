"""Spans as OTLP: the bytes that the SDK's own encoder would make of them, for a fraction of the price.

What most spans of otflow hold - texts, small numbers, arrays of one - is written from tables; what all spans of a step
share is written once. Everything else takes the general way, which is complete. The field numbers are those of
opentelemetry/proto/trace/v1/trace.proto. This room knows finished spans, and not where their bytes go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, Status, TraceState

from otflow.pipeline.plain import encode_plain, fits
from otflow.pipeline.wire import KEYED, SIZED, TEXTS, Fragments, add_attribute, field, number, spell, value, varint
from otflow.records.plain import PlainAttributes
from otflow.records.span import SpanLink
from otflow.sinks.live import LiveSpan

__all__ = ["Origin", "encode_request", "encode_span"]

_ATTRIBUTE, _EVENT_ATTRIBUTE, _LINK_ATTRIBUTE = b"\x4a", b"\x1a", b"\x22"
_SHORT_TEXT, _SHORT_KEY = 3000, 1000  # bytes for which the tables are large enough
_TABLED = len(SIZED)
_TIMES = Struct("<BQBQ").pack
_STAMP = Struct("<BQ").pack
_LOCAL, _REMOTE = b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00"
_LINK_LOCAL, _LINK_REMOTE = b"\x35\x00\x01\x00\x00", b"\x35\x00\x03\x00\x00"
_KINDS = [b"\x30\x01", b"\x30\x02", b"\x30\x03", b"\x30\x04", b"\x30\x05"]  # the protocol counts from 1
_NO_STATUS = b"\x7a\x00"
_LAST = (1 << 64) - 1


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: to compare resources takes longer than a span
class Origin:
    """Where a span comes from: what is written once for many."""

    resource: Resource
    scope: InstrumentationScope | None


# ---------------------------------------------------------------- a request around spans


def encode_request(spans: Mapping[Origin, Sequence[bytes]]) -> bytes:
    """Write a request to export spans: those of each origin as `encode_span` gave them."""
    by_resource: dict[object, dict[object, list[Origin]]] = {}
    for origin in spans:
        scopes = by_resource.setdefault(_key(origin.resource), {})
        scopes.setdefault(_key(origin.scope), []).append(origin)
    found = []
    for groups in by_resource.values():
        inside = [(same[0], [span for origin in same for span in spans[origin]]) for same in groups.values()]
        found.append(_encode_resource(inside[0][0].resource, inside))
    return b"".join(found)


def _key(of: Resource | InstrumentationScope | None) -> object:
    """Return something that is the same for what is equal, if equality can be told at all."""
    try:
        hash(of)
    except (RecursionError, TypeError, ValueError):  # attributes of other kinds than the SDK expects there
        return id(of)
    return of


def _encode_resource(resource: Resource, scopes: Sequence[tuple[Origin, Sequence[bytes]]]) -> bytes:
    parts: Fragments = []
    for key, given in resource.attributes.items():
        add_attribute(parts, b"\x0a", key, given)
    groups = [field(b"\x0a", b"".join(parts))]
    for origin, encoded in scopes:
        inside = b"".join((_encode_scope(origin.scope), *encoded))
        groups += (b"\x12", number(len(inside)), inside)
    if resource.schema_url:
        groups.append(field(b"\x1a", spell(resource.schema_url)))
    return field(b"\x0a", b"".join(groups))


def _encode_scope(scope: InstrumentationScope | None) -> bytes:
    """Write what stands around the spans of a scope."""
    if scope is None:
        return b"\x0a\x00"
    parts: Fragments = [field(b"\x0a", spell(scope.name))] if scope.name else []
    if scope.version:
        parts.append(field(b"\x12", spell(scope.version)))
    for key, given in (scope.attributes or {}).items():
        add_attribute(parts, b"\x1a", key, given)
    schema = field(b"\x1a", spell(scope.schema_url)) if scope.schema_url else b""
    return field(b"\x0a", b"".join(parts)) + schema


# ---------------------------------------------------------------- one span


def encode_span(span: ReadableSpan) -> bytes:
    """Write a finished span as the field `spans` of a ScopeSpans message."""
    if type(span) is LiveSpan:
        plain: object = span._attributes
        if type(plain) is PlainAttributes and not (span.kin.state or span.spoken) and fits(plain):
            times = span._start_time or 0, span._end_time or 0
            return encode_plain(plain, span.kin, span.id, span._parent, times, span._references)
    parts: Fragments = []
    if isinstance(span, LiveSpan):
        parts += _begin(span.kin.trace_id, span.id, span.kin.state, span.parent)
    else:
        context = span.get_span_context() or INVALID_SPAN_CONTEXT
        parts += _begin(context.trace_id, context.span_id, context.trace_state, span.parent)
    name = spell(span.name)
    kind = _KINDS[span.kind.value]
    start, end = _moment(span.start_time), _moment(span.end_time)
    parts += (b"\x2a", number(len(name)), name, kind, _TIMES(0x39, start, 0x41, end))
    if isinstance(span, LiveSpan):
        _add_known(parts, span)
    else:
        _add_foreign(parts, span)
    parts.append(_status(span.status))
    data = b"".join(parts)
    return b"\x12" + number(len(data)) + data


def _begin(trace_id: int, span_id: int, state: TraceState | None, parent: SpanContext | None) -> tuple[bytes, ...]:
    """Write the identities of a span."""
    if parent is None:
        above, flags = b"", _LOCAL
    else:
        above = b"\x22\x08" + parent.span_id.to_bytes(8)
        flags = _REMOTE if parent.is_remote else _LOCAL
    told = b"" if not state else field(b"\x1a", state.to_header().encode())
    return (b"\x0a\x10", trace_id.to_bytes(16), b"\x12\x08", span_id.to_bytes(8), above, told, flags)


def _add_known(parts: Fragments, span: LiveSpan) -> None:
    """Add what a span of otflow holds."""
    _add_attributes(parts, span._attributes or {})
    for event in span._events:
        parts.append(_event(event))
    trace_id = span.kin.trace_id.to_bytes(16)
    for link in span._references:
        parts.append(_reference(trace_id, link))
    for added in span._added:
        parts.append(_link(added))
    if any(span._dropped):
        parts.append(_dropped(*span._dropped))


def _add_foreign(parts: Fragments, span: ReadableSpan) -> None:
    """Add what any span of the SDK holds."""
    _add_attributes(parts, span.attributes or {})
    parts += [_event(event) for event in span.events]
    parts += [_link(link) for link in span.links]
    parts.append(_dropped(span.dropped_attributes, span.dropped_events, span.dropped_links))


def _add_attributes(parts: Fragments, attributes: Mapping[str, object]) -> None:
    """Add the attributes of a span."""
    keyed, sized, texts = KEYED, SIZED, TEXTS
    for key, given in attributes.items():
        start, length = keyed[key]
        if type(given) is str:
            try:  # a call less for every text
                text = given.encode()
            except UnicodeEncodeError:
                text = spell(given)
            n = len(text)
            if n < _SHORT_TEXT and length < _SHORT_KEY:
                head = texts[n]
                parts += (sized[length + len(head) + n], start, head, text)
                continue
        try:
            data = value(given)
        except (OverflowError, RecursionError, TypeError):  # as the SDK: the others count
            continue
        total = length + len(data)
        parts += (sized[total] if total < _TABLED else b"\x4a" + varint(total), start, data)


def _moment(at: int | None) -> int:
    """Return a time that a message can hold."""
    return min(max(at or 0, 0), _LAST)


def _event(event: Event) -> bytes:
    parts: Fragments = [_STAMP(0x09, _moment(event.timestamp)), field(b"\x12", spell(event.name))]
    for key, given in (event.attributes or {}).items():
        add_attribute(parts, _EVENT_ATTRIBUTE, key, given)
    if event.dropped_attributes:
        parts.append(b"\x20" + varint(event.dropped_attributes))
    return field(b"\x5a", b"".join(parts))


def _reference(trace_id: bytes, link: SpanLink) -> bytes:
    to = link.trace_id.to_bytes(16) if link.trace_id else trace_id
    parts: Fragments = [b"\x0a\x10", to, b"\x12\x08", link.span_id.to_bytes(8), _LINK_LOCAL]
    for key, given in link.attributes.items():
        add_attribute(parts, _LINK_ATTRIBUTE, key, given)
    return field(b"\x6a", b"".join(parts))


def _link(link: Link) -> bytes:
    to = link.context
    flags = _LINK_REMOTE if to.is_remote else _LINK_LOCAL
    parts: Fragments = [b"\x0a\x10", to.trace_id.to_bytes(16), b"\x12\x08", to.span_id.to_bytes(8), flags]
    for key, given in (link.attributes or {}).items():
        add_attribute(parts, _LINK_ATTRIBUTE, key, given)
    if link.dropped_attributes:
        parts.append(b"\x28" + varint(link.dropped_attributes))
    return field(b"\x6a", b"".join(parts))


def _dropped(attributes: int, events: int, links: int) -> bytes:
    counts = ((b"\x50", attributes), (b"\x60", events), (b"\x70", links))
    return b"".join([tag + varint(count) for tag, count in counts if count])


def _status(status: Status) -> bytes:
    if status.is_unset and not status.description:
        return _NO_STATUS
    said = field(b"\x12", spell(status.description)) if status.description else b""
    code = status.status_code.value
    return field(b"\x7a", said + (b"\x18" + varint(code) if code else b""))
