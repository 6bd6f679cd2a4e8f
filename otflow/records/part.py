"""A span in the making: what it gathers while it is open, within a constant budget, and what it is in the end.

Every record of a span is kept as JSON in one attribute, so that nothing is lost; beside it stands what people and
backends look for. A part knows the records that it is given and nothing of the run around them.
"""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.capture import BULK, Capture, cut
from otflow.records.codec import encode_all
from otflow.records.record import EventSent, Failure, Record
from otflow.records.semconv import (
    ATTEMPT,
    ERROR_TYPE,
    EXCEPTION_EVENT,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    IN_COUNT,
    IN_IDS,
    IN_TYPES,
    INPUT_MIME_TYPE,
    INPUT_VALUE,
    INVOCATION_ID,
    OMITTED,
    OUT_COUNT,
    OUT_IDS,
    OUT_TARGETS,
    OUT_TYPES,
    OUTCOME,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    PAYLOAD_TRUNCATED,
    QUEUE_DURATION,
    RECORDS,
    SEQ_END,
    SEQ_START,
    STATE_KEYS,
    STATE_WRITES,
    STREAM_WRITES,
)
from otflow.records.span import SpanData, SpanEvent, SpanLink, Value

__all__ = ["MAX_IDS", "MAX_KEYS", "MAX_LINKS", "Part"]

MAX_IDS = 1000
"""How many events a span names in each direction; the others are counted."""
MAX_LINKS = 64
"""How many links a span has: the SDK drops the oldest from 128 on."""
MAX_KEYS = 32
"""How many state paths a span names."""

_OVERHEAD = 250  # bytes of a record beside its payload, generously
_CHUNK = 8  # records that are kept as they are; more are written as JSON, so that what they hold can go
_MAX_TEXT = 8192  # characters of an error, beside the record of it
_JSON = "application/json"


class Part(msgspec.Struct, eq=False):
    """An open span: a segment of a run, or what of an attempt lies in one segment.

    `fixed` are attributes that all spans of a step, or all segments, have in common; `extra` are rare ones.
    `queued` is when the waiting for a worker began.
    """

    trace_id: int
    span_id: int
    parent_id: int
    name: str
    fixed: dict[str, Value]
    capture: Capture
    seq: int
    start: int
    kept: list[Record]
    invocation: int = 0
    attempt: int = 0
    queued: int = 0
    in_ids: list[int] | None = None
    in_types: list[str] | None = None
    in_count: int = 0
    input: Body | None = None
    last: int = 0
    end: int = 0
    outcome: str = ""
    outputs: list[Body] | None = None
    out_ids: list[int] | None = None
    out_types: list[str] | None = None
    out_targets: list[str] | None = None
    out_count: int = 0
    links: list[SpanLink] | None = None
    keys: dict[str, None] | None = None
    writes: int = 0
    streamed: int = 0
    buffered: bool = False
    extra: dict[str, Value] | None = None
    error: Failure | None = None
    texts: list[bytes] | None = None
    packed: int = 0
    size: int = 0
    omitted: int = 0
    truncated: bool = False
    rare: bool = False

    def keep(self, record: Record, body: int = 0, other: int = 0) -> None:
        """Add a record to the span, as far as there is room.

        Args:
            record: the record.
            body: bytes of its payload as JSON.
            other: bytes of what else in it has no fixed size, roughly.
        """
        self.last = record.seq
        self.end = record.at
        size = self.size + body + other + _OVERHEAD
        if size > self.capture.full or body > self.capture.body:
            self._squeeze(record, body, other)
            return
        self.size = size
        kept = self.kept
        kept.append(record)
        if len(kept) == _CHUNK:
            self._pack()

    def _pack(self) -> None:
        """Write the kept records as JSON, and let them go."""
        text = encode_all(self.kept)[1:-1]
        self.kept.clear()
        if self.texts is None:
            self.texts = []
        self.texts.append(text)
        self.packed += len(text) + 1
        self.size = self.packed

    def _squeeze(self, record: Record, body: int, other: int) -> None:
        """Keep a record without its payload, or only count it."""
        room = (self.capture.bulk if type(record) in BULK else self.capture.records) - self.size - _OVERHEAD
        self.rare = True
        self.truncated |= body > 0
        small, rest = (record, other) if room < 0 else cut(record)
        if rest > room:
            self.omitted += 1
            return
        self.truncated |= rest < other
        self.size += _OVERHEAD + rest
        self.kept.append(small)
        if len(self.kept) == _CHUNK:
            self._pack()

    def take(self, event: int, kind: str) -> None:
        """Name an event that the step took."""
        self.in_count += 1
        if self.in_ids is None or self.in_types is None:
            self.in_ids, self.in_types = [event], [kind]
            return
        self.rare = True
        if len(self.in_ids) < MAX_IDS:
            self.in_ids.append(event)
            self.in_types.append(kind)

    def emit(self, sent: EventSent) -> None:
        """Name an event that the step emitted."""
        self.out_count += 1
        ids, types = self.out_ids, self.out_types
        if ids is None or types is None:
            ids, types = self.out_ids, self.out_types = [], []
        if len(ids) == MAX_IDS:
            self.rare = True
        else:
            ids.append(sent.seq)
            types.append(sent.type)
            if sent.target or self.out_targets is not None:
                self.rare = True
                targets = self.out_targets = self.out_targets or [""] * (len(ids) - 1)
                targets.append(sent.target)
        if sent.returned:
            if self.outputs is None:
                self.outputs = []
            self.outputs.append(sent.body)

    def write(self, path: str) -> None:
        """Name a state path that was written."""
        self.writes += 1
        self.rare = True
        if self.keys is None:
            self.keys = {}
        if len(self.keys) < MAX_KEYS:
            self.keys[path] = None

    def stream(self) -> None:
        """Count an event that was written to the stream."""
        self.streamed += 1
        self.rare = True

    def link(self, span_id: int, kind: str, event: int = 0) -> None:
        """Refer to another span."""
        if self.links is None:
            self.links = [SpanLink(span_id, kind, event)]
        elif len(self.links) < MAX_LINKS:
            self.links.append(SpanLink(span_id, kind, event))

    def add(self, key: str, value: Value) -> None:
        """Set an attribute that few spans have."""
        self.rare = True
        if self.extra is None:
            self.extra = {}
        self.extra[key] = value

    def finish(self) -> SpanData:
        """Make the span; the part is of no use after that."""
        error = self.error
        found = self.fixed.copy()
        limit = self.capture.value
        if limit:
            if self.input is not None:
                found[INPUT_VALUE] = self._show(self.input.json, limit)
                found[INPUT_MIME_TYPE] = _JSON
            if self.outputs is not None:
                found[OUTPUT_VALUE] = self._show(_join(self.outputs, limit), limit)
                found[OUTPUT_MIME_TYPE] = _JSON
        found[RECORDS] = self._render()
        if self.attempt:
            found[INVOCATION_ID] = self.invocation
            found[ATTEMPT] = self.attempt
        if self.outcome:
            found[OUTCOME] = self.outcome
        if self.queued:
            found[QUEUE_DURATION] = max(0, self.start - self.queued) / 1e9
        if self.rare or error is not None:
            self._add_rare(found)
        found[SEQ_START] = self.seq
        found[SEQ_END] = self.last
        if self.in_ids is not None and self.in_types is not None:
            found[IN_IDS] = tuple(self.in_ids)
            found[IN_TYPES] = tuple(self.in_types)
        if self.out_ids is not None and self.out_types is not None:
            found[OUT_IDS] = tuple(self.out_ids)
            found[OUT_TYPES] = tuple(self.out_types)
        return SpanData(
            self.name,
            self.trace_id,
            self.span_id,
            self.parent_id,
            self.start,
            max(self.start, self.end),
            found,
            () if error is None else (_describe(error, self.end),),
            () if self.links is None else tuple(self.links),
            "unset" if error is None else "error",
            "" if error is None else error.message[:_MAX_TEXT],
        )

    def _add_rare(self, found: dict[str, Value]) -> None:
        if self.writes:
            found[STATE_KEYS] = tuple(self.keys or ())
            found[STATE_WRITES] = self.writes
        if self.streamed:
            found[STREAM_WRITES] = self.streamed
        if self.omitted:
            found[OMITTED] = self.omitted
        if self.truncated:
            found[PAYLOAD_TRUNCATED] = True
        if self.in_count > MAX_IDS:
            found[IN_COUNT] = self.in_count
        if self.out_count > MAX_IDS:
            found[OUT_COUNT] = self.out_count
        if self.out_targets is not None:
            found[OUT_TARGETS] = tuple(self.out_targets)
        if self.error is not None:
            found[ERROR_TYPE] = self.error.type
        if self.extra is not None:
            found.update(self.extra)

    def _show(self, json: bytes, limit: int) -> str:
        if len(json) <= limit:
            return json.decode("utf-8", "replace")
        self.truncated = self.rare = True
        return json[:limit].decode("utf-8", "ignore")  # a character that is cut through is left out

    def _render(self) -> str:
        if self.texts is None:
            return encode_all(self.kept).decode("utf-8", "replace")
        if self.kept:
            self._pack()
        return f"[{b','.join(self.texts).decode('utf-8', 'replace')}]"


def _join(bodies: list[Body], limit: int) -> bytes:
    if len(bodies) == 1:
        return bodies[0].json
    texts, size = [], 0
    for body in bodies:
        texts.append(body.json)
        size += len(body.json)
        if size > limit:  # the rest would be cut off
            break
    return b"[" + b",".join(texts) + b"]"


def _describe(error: Failure, at: int) -> SpanEvent:
    found: dict[str, Value] = {EXCEPTION_TYPE: error.type, EXCEPTION_MESSAGE: error.message[:_MAX_TEXT]}
    if error.stack:
        found[EXCEPTION_STACKTRACE] = error.stack[-_MAX_TEXT:]
    return SpanEvent(EXCEPTION_EVENT, at, found)
