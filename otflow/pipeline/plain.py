"""Spans of plain attempts as OTLP bytes, which most spans of otflow are: a row of table look-ups and one join.

The bytes say the same as those of `otflow.pipeline.encoding`, which knows all spans; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from struct import Struct

from opentelemetry.trace import SpanContext

from otflow.pipeline.wire import KEYED, TEXTS, Fragments, add_attribute, field, integer, number
from otflow.records.plain import JSON, PlainAttributes, Template
from otflow.records.semconv import (
    ATTEMPT,
    CONSUMED,
    EVENT_ID,
    IN_IDS,
    IN_TYPES,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    LINK_KIND,
    OUT_IDS,
    OUT_TYPES,
    OUTCOME,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    QUEUE_DURATION,
    RECORDS,
    SEQ_END,
    SEQ_START,
)
from otflow.records.span import SpanLink

__all__ = ["encode_plain", "fits"]

_MOST = len(TEXTS) - 128  # bytes of a payload, so that its key fits into the table too
_KINDS = 1024
_INTS = 12  # bytes of an integer with its length, at most
_TIMES = Struct("<BQBQ").pack
_DOUBLE = Struct("<d").pack
_TRACE, _SPAN, _PARENT = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_LINK_FLAGS = b"\x35\x00\x01\x00\x00"
_END = b"\x85\x01\x00\x01\x00\x00\x7a\x00"  # the flags of a local parent, and a status that is not set
_END_REMOTE = b"\x85\x01\x00\x03\x00\x00\x7a\x00"


def _attribute(key: str, given: object) -> bytes:
    parts: Fragments = []
    add_attribute(parts, b"\x4a", key, given)
    return b"".join(parts)


def _before_texts(key: str) -> Callable[[int], bytes]:
    """Return what begins an attribute of this key, by the bytes of its text."""

    @cache
    def before(length: int) -> bytes:
        start, size = KEYED[key]
        head = TEXTS[length]
        return b"\x4a" + number(size + len(head) + length) + start + head

    return before


def _before_int(key: str) -> list[bytes]:
    """Return what begins an attribute of this key, by the bytes of its integer."""
    start, size = KEYED[key]
    return [b"\x4a" + number(size + length) + start for length in range(_INTS)]


def _before_ids(key: str) -> list[bytes]:
    """Return what begins an attribute of this key that is an array of one integer."""
    start, size = KEYED[key]
    found = []
    for length in range(_INTS):
        inside = b"\x2a" + number(1 + length) + b"\x0a"
        head = number(len(inside) + length) + inside
        found.append(b"\x4a" + number(size + len(head) + length) + start + head)
    return found


_given, _made, _records = _before_texts(INPUT_VALUE), _before_texts(OUTPUT_VALUE), _before_texts(RECORDS)
_INVOCATION, _FIRST, _LAST = _before_int(INVOCATION_ID), _before_int(SEQ_START), _before_int(SEQ_END)
_IN, _OUT = _before_ids(IN_IDS), _before_ids(OUT_IDS)
_WAITED = _attribute(QUEUE_DURATION, 0.0)[:-8]
_INPUT_KIND, _OUTPUT_KIND = _attribute(INPUT_MIME_TYPE, JSON), _attribute(OUTPUT_MIME_TYPE, JSON)
_LINK = field(b"\x22", _attribute(LINK_KIND, CONSUMED)[2:])
_EVENT_START = KEYED[EVENT_ID][0]
_BEFORE_EVENT = [b"\x22" + number(len(_EVENT_START) + length) + _EVENT_START for length in range(_INTS)]
_BEFORE_LINK = [
    b"\x6a" + number(18 + 10 + len(_LINK_FLAGS) + len(_LINK) + len(before) + length) + _TRACE
    for length, before in enumerate(_BEFORE_EVENT)
]
_AFTER_IDS = [_LINK_FLAGS + _LINK + before for before in _BEFORE_EVENT]


@lru_cache(_KINDS)
def _took(kind: str) -> bytes:
    return _attribute(IN_TYPES, (kind,))


@lru_cache(_KINDS)
def _sent(kind: str) -> bytes:
    return _attribute(OUT_TYPES, (kind,))


@lru_cache(_KINDS)
def _result(outcome: str, attempt: int) -> bytes:
    return _attribute(ATTEMPT, attempt) + _attribute(OUTCOME, outcome)


def _describe(template: Template) -> bytes:
    """Write what the spans of a step have in common: the name, the kind, the fixed attributes."""
    fixed = [_attribute(key, given) for key, given in template.fixed.items()]
    template.memo = field(b"\x2a", template.name.encode("utf-8", "replace")) + b"\x30\x01" + b"".join(fixed)
    return template.memo


def fits(plain: PlainAttributes) -> bool:
    """Tell whether the tables are large enough for these attributes."""
    made = plain.made
    return len(plain.records) < _MOST > len(plain.given) and (made is None or len(made) < _MOST)


def encode_plain(
    plain: PlainAttributes,
    trace_id: int,
    span_id: int,
    parent: SpanContext | None,
    times: tuple[int, int],
    links: tuple[SpanLink, ...],
) -> bytes:
    """Write the span of a plain attempt as the field `spans` of a ScopeSpans message.

    Args:
        plain: its attributes, for which `fits` holds.
        trace_id, span_id: its identity.
        parent: the identity of its parent, if it has one.
        times: when it started and ended, in nanoseconds since the epoch.
        links: at most one, to the span that emitted the event.
    """
    template, given, made, records = plain.template, plain.given, plain.made, plain.records
    trace, first, last, event = trace_id.to_bytes(16), integer(plain.first), integer(plain.last), integer(plain.event)
    invocation = first if plain.invocation == plain.first else integer(plain.invocation)
    parts: Fragments = [
        _TRACE,
        trace,
        _SPAN,
        span_id.to_bytes(8),
        template.memo or _describe(template),
        _TIMES(0x39, times[0], 0x41, times[1]),
        _given(len(given)),
        given,
        _INPUT_KIND,
    ]
    if made is not None:
        parts += (_made(len(made)), made, _OUTPUT_KIND)
    parts += (
        _records(len(records)),
        records,
        _INVOCATION[len(invocation)],
        invocation,
        _result(plain.outcome, plain.attempt),
        _WAITED,
        _DOUBLE(plain.waited),
        _FIRST[len(first)],
        first,
        _LAST[len(last)],
        last,
        _IN[len(event)],
        event,
        _took(plain.kind),
    )
    if made is not None:
        parts += (_OUT[len(last)], last, _sent(plain.sent))
    for link in links:
        size = len(event)
        parts += (_BEFORE_LINK[size], trace, _SPAN, link.span_id.to_bytes(8), _AFTER_IDS[size], event)
    if parent is None:
        parts.append(_END)
    else:
        parts += (_PARENT, parent.span_id.to_bytes(8), _END_REMOTE if parent.is_remote else _END)
    data = b"".join(parts)
    return b"\x12" + number(len(data)) + data
