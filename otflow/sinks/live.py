"""A span that user code sees: current while a step works, and what is exported when the step is done.

It is a span of the SDK in all that users and processors can tell. The attributes of otflow need no checks; what users
add passes the SDK's own checks and limits. This room knows one span, not the run around it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, Span, SpanLimits
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from otflow.errors import text_of
from otflow.records.details import MAX_TEXT
from otflow.records.semconv import EXCEPTION_EVENT, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE, EXCEPTION_TYPE
from otflow.records.span import SpanData, SpanLink

__all__ = ["Kin", "LiveSpan", "Notes", "Terms", "open_span"]

_UNSET = Status(StatusCode.UNSET)
_NONE: Mapping[str, AttributeValue] = {}
_OWN = "otflow."


class Kin(NamedTuple):
    """What all spans of one run have in common: most of their identities, and what hides secrets in texts."""

    trace_id: int
    flags: TraceFlags
    state: TraceState | None
    scrub: Callable[[str], str] | None = None

    def identify(self, span_id: int) -> SpanContext:
        """Return the identity of one of them."""
        return SpanContext(self.trace_id, span_id, False, self.flags, self.state)  # by place, as names cost


class Terms(NamedTuple):
    """What the spans of one provider have in common; `scrub` hides secrets in texts of users."""

    resource: Resource
    scope: InstrumentationScope
    limits: SpanLimits
    scrub: Callable[[str], str] | None = None


class Notes:
    """What user code says about its span."""

    __slots__ = ("attributes", "events", "links", "name", "status")

    def __init__(self, limits: SpanLimits) -> None:
        self.attributes = BoundedAttributes(
            limits.max_span_attributes, immutable=False, max_value_len=limits.max_span_attribute_length
        )
        self.events: BoundedList[Event] = BoundedList(limits.max_events)
        self.links: BoundedList[Link] = BoundedList(limits.max_links)
        self.name = ""
        self.status = _UNSET


def _identify(span: LiveSpan) -> SpanContext:
    """Return the identity of a span; it is made when someone asks, because most spans are only handed on."""
    if span.known is None:
        span.known = span.kin.identify(span.id)
    return span.known


def _scrub(span: LiveSpan, text: str) -> str:
    """Hide what is secret in a text of users."""
    scrub = span.kin.scrub  # there, because no span shall have to carry it
    return scrub(text) if scrub is not None else text


class LiveSpan(Span):
    """The span of a step while it works, and what is exported when it is done.

    It can do what any recording span can, but for `end`, which is ignored: it ends with its attempt. An attempt that
    waits through a pause has several spans, while its code keeps the first as the current one; what is said to that
    one goes to the part that is open, or to the next.
    """

    id: int
    kin: Kin
    known: SpanContext | None = None
    _context = property(_identify)
    _kind = SpanKind.INTERNAL
    _instrumentation_info = None
    _end_time: int | None = None
    _attributes: Attributes = _NONE
    _events: Sequence[Event] = ()
    _references: Sequence[SpanLink] = ()
    _added: Sequence[Link] = ()
    _status = _UNSET
    _dropped = (0, 0, 0)
    _sampler = None
    _record_exception = _set_status_on_exception = True
    _notes: Notes | None = None
    _recording = True
    spoken = False  # whether users have said something, which is among the rest now

    # There is no __init__, see open_span: constructing a span of the SDK costs more than all that happens in it.

    def _note(self) -> Notes:
        notes: Notes = self._notes or self.__dict__.setdefault("_notes", Notes(self._limits))
        return notes  # set in one go, because a step may have threads

    @property
    def _links(self) -> Sequence[Link]:  # type: ignore[override]  # few read it, nobody sets it
        own = self._context
        found = [
            Link(
                SpanContext(link.trace_id, link.span_id, False)
                if link.trace_id
                else SpanContext(own.trace_id, link.span_id, False, own.trace_flags, own.trace_state),
                link.attributes,
            )
            for link in self._references
        ]
        return (*found, *self._added)

    @property
    def attributes(self) -> Attributes:
        """The attributes so far."""
        if self._end_time is not None or self._notes is None:
            return MappingProxyType(self._attributes or _NONE)
        return MappingProxyType({**(self._attributes or _NONE), **self._notes.attributes})

    @property
    def dropped_attributes(self) -> int:
        """How many attributes of users were too many."""
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        """How many span events of users were too many."""
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        """How many links of users were too many."""
        return self._dropped[2]

    def is_recording(self) -> bool:
        """Tell whether what is said to this span will be exported."""
        return self._recording

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute; those of otflow itself cannot be changed."""
        if self._recording:
            self._note().attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add a span event, now or at `timestamp` (nanoseconds since the epoch)."""
        if self._recording:
            limits = self._limits
            bounded = BoundedAttributes(
                limits.max_event_attributes, attributes, max_value_len=limits.max_attribute_length
            )
            self._note().events.append(Event(name, bounded, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link to another span."""
        if self._recording and context is not None and context.is_valid:
            limits = self._limits
            bounded = BoundedAttributes(
                limits.max_link_attributes, attributes, max_value_len=limits.max_attribute_length
            )
            self._note().links.append(Link(context, bounded))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as a span event, with up to 8,192 characters of its text and of the end of its stack.

        What is secret in them is hidden, as it is in those of a step that fails; `attributes` are taken as they are.
        The status stays as it is.
        """
        kind = type(exception)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        found: dict[str, AttributeValue] = {
            EXCEPTION_TYPE: name,
            EXCEPTION_MESSAGE: _scrub(self, text_of(exception))[:MAX_TEXT],
            EXCEPTION_STACKTRACE: _scrub(self, "".join(traceback.format_exception(exception)))[-MAX_TEXT:],
        }
        self.add_event(EXCEPTION_EVENT, {**found, **(attributes or {})}, timestamp)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status, but for that of an attempt that failed; once it is OK it stays.

        What is secret in the description is hidden.
        """
        new = status if isinstance(status, Status) else Status(status, description)
        if new.description:
            new = Status(new.status_code, _scrub(self, new.description))
        if self._recording and new.status_code is not StatusCode.UNSET:
            notes = self._note()
            if notes.status.status_code is not StatusCode.OK:
                notes.status = new

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        if self._recording:
            self._note().name = name

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        """Do nothing: the span has started."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the span ends with its attempt."""

    def show(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Have attributes while it is open."""
        self._attributes = dict(attributes)

    def conclude(self, data: SpanData, more: Attributes = None) -> None:
        """Become what is exported.

        Args:
            data: what otflow says about the attempt, or the segment.
            more: further attributes.
        """
        self._attributes = {**more, **data.attributes} if more else data.attributes
        self._start_time = data.start
        self._end_time = data.end
        self._references = data.links
        if data.events:
            self._events = tuple(Event(event.name, dict(event.attributes), event.at) for event in data.events)
        if data.status == "error":
            self._status = Status(StatusCode.ERROR, data.status_message)
        if self._notes is not None:
            self.speak_for(self)

    def speak_for(self, span: LiveSpan) -> None:
        """Let another span have what was said to this one, of which nothing is kept."""
        notes: Notes | None = self.__dict__.pop("_notes", None)
        if notes is None:
            return
        span.spoken = True
        own = span._attributes or _NONE
        said = {key: value for key, value in notes.attributes.items() if not (key.startswith(_OWN) and key in own)}
        span._attributes = {**own, **said}
        span._name = notes.name or span._name
        span._events = (*span._events, *notes.events)
        span._added = (*span._added, *notes.links)
        span._dropped = (notes.attributes.dropped, notes.events.dropped, notes.links.dropped)
        if span._status is _UNSET:
            span._status = notes.status

    def retire(self) -> None:
        """Hear no more."""
        self._recording = False


def open_span(terms: Terms, kin: Kin, parent: SpanContext | None, id: int, name: str, start: int) -> LiveSpan:
    """Make a span that is open.

    Args:
        terms: what all spans of the provider have in common.
        kin: what the identities of the spans of its run have in common.
        parent: the identity of its parent, if it has one.
        id: its span id.
        name: its name.
        start: when it starts, in nanoseconds since the epoch.
    """
    span = object.__new__(LiveSpan)
    span.kin = kin
    span._parent = parent
    span.id = id
    span._name = name
    span._start_time = start
    span._resource, span._instrumentation_scope, span._limits, _ = terms
    return span
