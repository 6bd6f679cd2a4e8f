"""A span as data: what a part of a run looks like in a trace, without any library for traces.

Ids are derived, never drawn. The trace id follows from the run id, so whoever knows a run can find its trace; a span id
follows from the run and the number of the record that opened the span. It knows neither records nor exporters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from otflow.records.semconv import EVENT_ID, LINK_KIND

__all__ = [
    "SpanData",
    "SpanEvent",
    "SpanLink",
    "Value",
    "derive_ids",
    "derive_span_id",
    "read_traceparent",
    "write_traceparent",
]

Value: TypeAlias = str | bool | int | float | tuple[str, ...] | tuple[int, ...]
"""What an attribute may be: all backends take these."""

_SPAN_IDS = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15  # odd, so the multiples of it are all different; and they are spread evenly
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class SpanEvent(msgspec.Struct, frozen=True):
    """Something that happened within a span, at a time in nanoseconds since the epoch."""

    name: str
    at: int
    attributes: Mapping[str, Value]


class SpanLink(msgspec.Struct, frozen=True):
    """A reference to another span; `event` is the id of the event it stands for, or 0.

    `trace_id` is 0 when the other span is of the same trace.
    """

    span_id: int
    kind: str
    event: int = 0
    trace_id: int = 0

    @property
    def attributes(self) -> dict[str, Value]:
        """The attributes of the link."""
        return {LINK_KIND: self.kind, EVENT_ID: self.event} if self.event else {LINK_KIND: self.kind}


class SpanData(msgspec.Struct, frozen=True):
    """A finished span.

    Times are nanoseconds since the epoch, `parent_id` is 0 for a root, `status` is "unset" or "error". `invocation` is
    0 for a segment.
    """

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start: int
    end: int
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    status: str = "unset"
    status_message: str = ""
    invocation: int = 0


def derive_ids(run: str) -> tuple[int, int]:
    """Return the trace id of a run, and the number from which its span ids are counted."""
    digest = blake2b(run.encode("utf-8", "replace"), digest_size=24).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:])


def derive_span_id(key: int, seq: int) -> int:
    """Return the id of the span that the record `seq` opened: never 0, and different for each `seq`."""
    return (key + seq * _STRIDE) & _SPAN_IDS or _STRIDE


def read_traceparent(text: str) -> tuple[int, int, int]:
    """Return trace id, span id and flags of a W3C traceparent; zeros if it is none."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return 0, 0, 0
    return int(match[1], 16), int(match[2], 16), int(match[3], 16)


def write_traceparent(trace_id: int, span_id: int, flags: int) -> str:
    """Write trace id, span id and flags as a W3C traceparent."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
