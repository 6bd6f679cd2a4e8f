"""What a span holds beside the plain case of one event in and one event out, within a constant budget.

However long a span is open, and however much is written meanwhile: the JSON of its records, the ids and the links that
it names are bounded, and what does not fit is counted. Details know records, and not whose they are.
"""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.capture import Capture, cut, is_bulk, silence, weigh
from otflow.records.codec import encode_all
from otflow.records.pages import Pages, may_page
from otflow.records.payloads import HIDDEN, hidden_paths
from otflow.records.plain import JSON
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    StreamWritten,
)
from otflow.records.semconv import (
    CRASHED,
    ERROR_TYPE,
    EXCEPTION_EVENT,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    IN_COUNT,
    IN_IDS,
    IN_TYPES,
    OMITTED,
    OUT_COUNT,
    OUT_IDS,
    OUT_TARGETS,
    OUT_TYPES,
    OUTPUT_MIME_TYPE,
    OUTPUT_VALUE,
    PAYLOAD_OUT_REF,
    PAYLOAD_REDACTED_KEYS,
    PAYLOAD_TRUNCATED,
    STATE_KEYS,
    STATE_WRITES,
    STREAM_WRITES,
)
from otflow.records.span import SpanEvent, SpanLink, Value

__all__ = [
    "CHUNK",
    "MAX_IDS",
    "MAX_KEYS",
    "MAX_LINKS",
    "MAX_TEXT",
    "Details",
    "join",
    "show",
]

MAX_IDS = 1000
"""How many events a span names in each direction; the others are counted."""
MAX_LINKS = 64
"""How many links a span has: the SDK drops the oldest from 128 on."""
MAX_KEYS = 32
"""How many state paths a span names, how many of what is hidden, and how many payloads in a store."""
MAX_TEXT = 8192
"""How many characters of an error stand beside the record of it."""
CHUNK = 8
"""How many records are kept as they are; more are written as JSON, so that what they hold can go."""

_OVERHEAD = 250  # bytes of a record beside what `weigh` says, generously
_SMALL = 64  # bytes of a payload that is not worth leaving out


class Details(msgspec.Struct, eq=False):
    """What a span gathers.

    Attributes:
        capture: the budget.
        last, end: the number and the time of the last record.
        links: references to other spans.
        outputs: the payloads of what was returned, as far as they may be shown; `value` bytes of them are.
        buffered: whether an event was put aside, and no collection was complete.
        error: what the attempt raised, or the run failed with.
        crashed: whether the records of the run stop in the middle.
        extra: further attributes.
        truncated: whether some payload is not whole.
        hidden: the paths at which something is hidden in payloads.
        pages: where records go on that have no room here; None as long as all have.
    """

    capture: Capture
    last: int = 0
    end: int = 0
    in_ids: list[int] = []
    in_types: list[str] = []
    in_count: int = 0
    out_ids: list[int] = []
    out_types: list[str] = []
    out_targets: list[str] = []
    out_count: int = 0
    outputs: list[Body] = []
    value: int = 0
    links: list[SpanLink] = []
    keys: dict[str, None] = {}
    writes: int = 0
    streamed: int = 0
    buffered: bool = False
    error: Failure | None = None
    crashed: bool = False
    extra: dict[str, Value] = {}
    texts: list[bytes] = []
    size: int = 0
    pages: Pages | None = None
    omitted: int = 0
    truncated: bool = False
    hidden: dict[str, None] = {}

    def take(self, event: int, kind: str, emitter: int, link: str) -> None:
        """Name an event that the step took, with a link to the span that emitted it unless that is 0."""
        self.in_count += 1
        if self.in_count <= MAX_IDS:
            self.in_ids.append(event)
            self.in_types.append(kind)
        if emitter:
            self.link(emitter, link, event)

    def link(self, span_id: int, kind: str, event: int = 0, trace_id: int = 0) -> None:
        """Refer to another span; `trace_id` says of which trace it is, if of another one."""
        if len(self.links) < MAX_LINKS:
            self.links.append(SpanLink(span_id, kind, event, trace_id))

    def pack(self, kept: list[Record]) -> None:
        """Take records in, and write them as JSON as far as there is room; the list is empty then."""
        if not kept:
            return
        capture, size, keys = self.capture, self.size, self.keys
        closed = capture.bulk - _OVERHEAD  # for records of which there may be any number
        fitting: list[Record] = []
        for record in kept:
            if type(record) is ContextWritten:
                self.writes += 1
                if len(keys) < MAX_KEYS:
                    keys[record.path] = None
                if size > closed:
                    self.omitted += 1
                    continue
                body, other = len(record.value.json), len(record.path)
            elif type(record) is StreamWritten:
                self.streamed += 1
                if size > closed:
                    self.omitted += 1
                    continue
                body, other = len(record.body.json), 0
            elif type(record) is EventSent:
                self._emit(record)
                body, other = len(record.body.json), 0
            else:
                if type(record) is EventBuffered or type(record) is EventsCollected:
                    self.buffered = type(record) is EventBuffered
                if not capture.errors:
                    record = silence(record)  # noqa: PLW2901  what is kept is what is shown
                body, other = weigh(record)
            need = body + other + _OVERHEAD
            limit = capture.of_record(record).body if capture.names else capture.body
            if size + need <= capture.full and body <= limit:
                fitting.append(record)
                size += need
            else:
                size += self._squeeze(record, body, other, size, fitting)
        self._encode(fitting)
        self.last, self.end = kept[-1].seq, kept[-1].at
        kept.clear()

    def _encode(self, fitting: list[Record]) -> None:
        if fitting:
            json = encode_all(fitting)[1:-1]
            if HIDDEN in json:
                for record in fitting:
                    self.note_hidden(record)
            self.texts.append(json)
            self.size += len(json) + 1
        if self.pages is not None:
            self.pages.write()

    def _emit(self, sent: EventSent) -> None:
        self.out_count += 1
        if self.out_count <= MAX_IDS:
            self.out_ids.append(sent.seq)
            self.out_types.append(sent.type)
            self.out_targets.append(sent.target)
        if sent.returned:
            self.give(sent.type, sent.body)

    def give(self, kind: str, body: Body) -> None:
        """Add what was returned to what is shown of it, unless nothing of its type may be shown."""
        value = self.capture.of_event(kind).value
        if value:
            self.outputs.append(body)
            self.value = min(self.value or value, value)

    def show_outputs(self, found: dict[str, Value]) -> None:
        """Add what was returned, and the names in a store of what is not shown as a whole."""
        if not self.outputs:
            return
        found[OUTPUT_VALUE], cut_off = show(join(self.outputs, self.value), self.value)
        found[OUTPUT_MIME_TYPE] = JSON
        if cut_off:
            self.truncated = True
            refs = [self.capture.keep(body.json) for body in self.outputs[:MAX_KEYS]]
            if any(refs):
                found[PAYLOAD_OUT_REF] = tuple(refs)

    def note_hidden(self, payload: Record | Body) -> None:
        """Name what is hidden in a payload, or in that of a record."""
        for path in hidden_paths(payload):
            if len(self.hidden) >= MAX_KEYS:
                return
            self.hidden[path] = None

    def _squeeze(self, record: Record, body: int, other: int, size: int, fitting: list[Record]) -> int:
        """Add a record without what is large in it, or count it; return what it weighs then."""
        room = (self.capture.bulk if is_bulk(record) else self.capture.records) - size - _OVERHEAD
        capture = self.capture.of_record(record)
        paged = may_page(record, capture.records)
        if 0 < body <= min(_SMALL, capture.body):  # what stands in its place would not be smaller
            small, rest = record, other + body
            self.note_hidden(record)
        else:
            self.truncated |= body > 0
            if body and capture.value:
                self.note_hidden(record)
            small, rest = cut(record, other, capture) if room >= 0 or paged else (record, other)
        self.truncated |= rest < other
        if rest <= room:
            fitting.append(small)
            return rest + _OVERHEAD
        if paged and self.pages is None:
            self.pages = Pages(capture.records)
        if not paged or self.pages is None or not self.pages.take(small, rest + _OVERHEAD):
            self.omitted += 1
        return 0

    def describe(self, found: dict[str, Value]) -> None:
        """Add the attributes that the details make."""
        if self.writes:
            found[STATE_KEYS] = tuple(self.keys)
            found[STATE_WRITES] = self.writes
        if self.streamed:
            found[STREAM_WRITES] = self.streamed
        if self.omitted:
            found[OMITTED] = self.omitted
        if self.truncated or self.omitted:
            found[PAYLOAD_TRUNCATED] = True
        if self.hidden:
            found[PAYLOAD_REDACTED_KEYS] = tuple(self.hidden)
        if self.error is not None:
            found[ERROR_TYPE] = self.error.type
        elif self.crashed:
            found[ERROR_TYPE] = CRASHED
        if self.extra:
            found.update(self.extra)
        if self.in_ids:
            found[IN_IDS] = tuple(self.in_ids)
            found[IN_TYPES] = tuple(self.in_types)
        if self.in_count > MAX_IDS:
            found[IN_COUNT] = self.in_count
        if self.out_ids:
            found[OUT_IDS] = tuple(self.out_ids)
            found[OUT_TYPES] = tuple(self.out_types)
            if any(self.out_targets):
                found[OUT_TARGETS] = tuple(self.out_targets)
        if self.out_count > MAX_IDS:
            found[OUT_COUNT] = self.out_count

    def events(self) -> tuple[SpanEvent, ...]:
        """Return the span events: the error, if there is one."""
        error = self.error
        if error is None:
            return ()
        found: dict[str, Value] = {EXCEPTION_TYPE: error.type}
        if self.capture.errors:
            found[EXCEPTION_MESSAGE] = error.message[:MAX_TEXT]
        if self.capture.errors and error.stack:
            found[EXCEPTION_STACKTRACE] = error.stack[-MAX_TEXT:]
        return (SpanEvent(EXCEPTION_EVENT, self.end, found),)


def show(json: bytes, limit: int) -> tuple[str, bool]:
    """Return at most `limit` bytes of JSON as text, and whether there was more."""
    if len(json) <= limit:
        return json.decode("utf-8", "replace"), False
    return json[:limit].decode("utf-8", "ignore"), True  # a character that is cut through is left out


def join(bodies: list[Body], limit: int) -> bytes:
    """Return one body as it is, several as a JSON array; what lies beyond `limit` bytes may be missing."""
    if len(bodies) == 1:
        return bodies[0].json
    texts, size = [], 0
    for body in bodies:
        texts.append(body.json)
        size += len(body.json)
        if size > limit:  # the rest would be cut off
            break
    return b"[" + b",".join(texts) + b"]"
