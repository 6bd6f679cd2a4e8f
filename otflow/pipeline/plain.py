"""Spans of plain attempts as OTLP bytes, which most spans of otflow are: one constant, one `struct`, three payloads.

What the spans of a step have in common is written once. The numbers have fixed places: an integer takes
four bytes, which the protocol allows for smaller ones too. The bytes say the same as those of
`otflow.pipeline.encoding`, which knows all spans; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from opentelemetry.trace import SpanContext

from otflow.pipeline.wire import KEYED, Fragments, add_attribute, field, number
from otflow.records.plain import JSON, PlainAttributes
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
from otflow.sinks.live import Kin

__all__ = ["encode_plain", "fits"]

_MOST = 1 << 28  # what fits into an integer of four bytes with seven bits each
_KEPT = 8192
_TRACE, _SPAN = b"\x0a\x10", b"\x12\x08"
_LINK_FLAGS = b"\x35\x00\x01\x00\x00"
_LOCAL = b"\x85\x01\x00\x01\x00\x00"
_REMOTE = b"\x85\x01\x00\x03\x00\x00"
_INTERNAL, _NO_STATUS = b"\x30\x01", b"\x7a\x00"
_INT = 4  # bytes


def _attribute(key: str, given: object) -> bytes:
    parts: Fragments = []
    add_attribute(parts, b"\x4a", key, given)
    return b"".join(parts)


def _before(tag: bytes, key: str, value: bytes, size: int) -> bytes:
    """Return what stands in an attribute before a number of so many bytes: its lengths, its key, its kind."""
    start, length = KEYED[key]
    whole = len(value) + size
    return tag + number(length + 1 + whole) + start + number(whole) + value


def _array(size: int) -> bytes:
    """Return what stands in an array before its only element, an integer."""
    element = 1 + size
    return b"\x2a" + number(2 + element) + b"\x0a" + number(element) + b"\x18"


class _Texts(dict[int, bytes]):
    """By the bytes of its text: what stands in an attribute of some key before the text."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, length: int) -> bytes:
        start, size = KEYED[self._key]
        head = b"\x0a" + number(length)
        value = number(len(head) + length) + head
        if len(self) >= _KEPT:
            self.clear()
        self[length] = found = b"\x4a" + number(size + len(value) + length) + start + value
        return found


_GIVEN, _MADE, _RECORDS = _Texts(INPUT_VALUE), _Texts(OUTPUT_VALUE), _Texts(RECORDS)
_INVOCATION, _FIRST, _LAST = (_before(b"\x4a", key, b"\x18", _INT) for key in (INVOCATION_ID, SEQ_START, SEQ_END))
_WAITED = _before(b"\x4a", QUEUE_DURATION, b"\x21", 8)
_IN, _OUT = (_before(b"\x4a", key, _array(_INT), _INT) for key in (IN_IDS, OUT_IDS))
_LINK_KIND = field(b"\x22", _attribute(LINK_KIND, CONSUMED)[2:])
_LINK_EVENT = _before(b"\x22", EVENT_ID, b"\x18", _INT)
_LINK_END = _LINK_FLAGS + _LINK_KIND + _LINK_EVENT
_LINK = b"\x6a" + number(len(_TRACE) + 16 + len(_SPAN) + 8 + len(_LINK_END) + _INT) + _TRACE


def _lay_out(*pieces: bytes | str) -> Struct:
    """Make a layout of constants, given as such, and of numbers."""
    return Struct("<" + "".join(piece if isinstance(piece, str) else f"{len(piece)}s" for piece in pieces))


_SAME: tuple[bytes | str, ...] = (
    *(_TRACE, "16s", _SPAN, "8s", "B", "Q", "B", "Q"),
    *(_INVOCATION, "I", _WAITED, "d", _FIRST, "I", _LAST, "I", _IN, "I"),
)
_REFERENCE: tuple[bytes | str, ...] = (_LINK, "16s", _SPAN, "8s", _LINK_END, "I")
_pack, _pack_sent, _pack_link = _lay_out(*_SAME).pack, _lay_out(_OUT, "I").pack, _lay_out(*_REFERENCE).pack


def _spread(n: int) -> int:
    """Write an integer as a number of 32 bits whose bytes are its varint, in four bytes."""
    return n & 0x7F | (n & 0x3F80) << 1 | (n & 0x1FC000) << 2 | (n & 0xFE00000) << 3 | 0x808080


def _describe(plain: PlainAttributes, parent: SpanContext | None) -> bytes:
    """Write what the spans of a step have in common, as far as they took and returned events of the same types."""
    template = plain.template
    parts = [field(b"\x2a", template.name.encode("utf-8", "replace")), _INTERNAL, _NO_STATUS]
    if parent is None:
        parts.append(_LOCAL)
    else:
        parts += (b"\x22\x08", parent.span_id.to_bytes(8), _REMOTE if parent.is_remote else _LOCAL)
    parts += [_attribute(key, given) for key, given in template.fixed.items()]
    parts += [_attribute(INPUT_MIME_TYPE, JSON), _attribute(ATTEMPT, plain.attempt), _attribute(OUTCOME, plain.outcome)]
    parts.append(_attribute(IN_TYPES, (plain.kind,)))
    if plain.made is not None:
        parts += [_attribute(OUTPUT_MIME_TYPE, JSON), _attribute(OUT_TYPES, (plain.sent,))]
    return b"".join(parts)


def fits(plain: PlainAttributes) -> bool:
    """Tell whether the numbers of these attributes have room in the layout."""
    return plain.last < _MOST  # which no other number of them exceeds


def encode_plain(
    plain: PlainAttributes,
    kin: Kin,
    span_id: int,
    parent: SpanContext | None,
    times: tuple[int, int],
    links: Sequence[SpanLink],
) -> bytes:
    """Write the span of a plain attempt as the field `spans` of a ScopeSpans message.

    Args:
        plain: its attributes, for which `fits` holds.
        kin: what its identity has in common with those of its run.
        span_id: its id.
        parent: the identity of its parent, if it has one.
        times: when it started and ended, in nanoseconds since the epoch.
        links: at most one, to the span that emitted the event.
    """
    key = parent.span_id if parent is not None else 0, plain.kind, plain.sent, plain.outcome, plain.attempt
    memo = plain.template.memo
    constant = memo.get(key)
    if constant is None:
        if len(memo) >= _KEPT:
            memo.clear()
        constant = memo[key] = _describe(plain, parent)
    trace, span, first, event = (
        kin.trace_id.to_bytes(16),
        span_id.to_bytes(8),
        _spread(plain.first),
        _spread(plain.event),
    )
    last = _spread(plain.last)
    invocation = first if plain.invocation == plain.first else _spread(plain.invocation)
    packed = _pack(
        *(_TRACE, trace, _SPAN, span, 0x39, times[0], 0x41, times[1], _INVOCATION, invocation, _WAITED, plain.waited),
        *(_FIRST, first, _LAST, last, _IN, event),
    )
    given, made, records = plain.given, plain.made, plain.records
    before, between = _GIVEN[len(given)], _RECORDS[len(records)]
    size = len(constant) + len(packed) + len(before) + len(given) + len(between) + len(records)
    parts: Fragments = [b"\x12", b"", constant, packed, before, given, between, records]
    if made is not None:
        sent, amid = _pack_sent(_OUT, last), _MADE[len(made)]
        size += len(sent) + len(amid) + len(made)
        parts[4:6] = (sent, before, given, amid, made)
    for link in links:
        reference = _pack_link(_LINK, trace, _SPAN, link.span_id.to_bytes(8), _LINK_END, event)
        size += len(reference)
        parts.append(reference)
    parts[1] = number(size)
    return b"".join(parts)
