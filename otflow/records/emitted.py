"""The events of a run, remembered for the spans that take them.

An event is remembered weakly: as long as someone else holds its body, who may then still deliver it. So nothing here
grows with the length of a run, and nobody has to say when an event is no longer needed. A trace may be some way behind
its run, though: then what an attempt takes is held from its begin on, and where an event came from is known for a while
after its body has gone.
"""

from __future__ import annotations

import weakref
from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.codec import decode, read_body
from otflow.records.record import About, EventBuffered, EventReceived, EventSent, Record, RunResumed, RunStarted
from otflow.records.span import read_traceparent

__all__ = ["Emitted", "Event", "Known", "Origin", "Saved", "begins", "events_of", "read_saved"]

Event: TypeAlias = EventReceived | EventSent | EventBuffered
"""A record under whose number an event is known."""

Known: TypeAlias = tuple[weakref.ref[Body], str, int, int]
"""The payload of an event, its type, when it was emitted, and the span in which that was (0 where unknown)."""

_FIRST_SWEEP = 256  # more than most runs emit, and more than a trace is behind


class Origin(msgspec.Struct):
    """What is out of the ordinary about where an event came from.

    `trace_id` is the trace in which it was emitted, if the run has another one now; `sender_trace` and `sender` are
    the span of the outside in which it was sent. 0 where there is none.
    """

    trace_id: int = 0
    sender_trace: int = 0
    sender: int = 0


class Saved(msgspec.Struct):
    """What a trace wants to know of saved data: the records that it refers to, and whose it is."""

    events: list[msgspec.Raw] = []
    workflow: str = ""
    digest: str = ""
    about: About | None = None
    run: str = ""
    seq: int = 0


def events_of(saved: Saved) -> list[Event]:
    """Read the events that saved data refers to, as far as they can be read."""
    found: list[Event] = []
    for raw in saved.events:
        try:
            event = decode(bytes(raw))
        except msgspec.MsgspecError:
            continue
        if isinstance(event, EventReceived | EventSent | EventBuffered) and event.body is not None:
            found.append(event)
    return found


def begins(record: Record) -> bool:
    """Tell whether a record is the first one of a run: its start, or where another run was taken up under its id."""
    match record:
        case RunStarted():
            return True
        case RunResumed(snapshot=Body() as snapshot):
            return read_saved(snapshot).run not in ("", record.run)
        case _:
            return False


_SAVED = msgspec.json.Decoder(Saved, dec_hook=read_body)


def read_saved(data: Body) -> Saved:
    """Read saved data, as far as it can be read."""
    try:
        return _SAVED.decode(data.json)
    except msgspec.MsgspecError:
        return Saved()


class Emitted:
    """The events of one run.

    Attributes:
        held: by invocation the payload that it takes, until the trace comes to its start.
        origins: by event what is out of the ordinary about where it came from.
    """

    __slots__ = ("_events", "_gone", "_saved", "_sweep_at", "held", "origins")

    def __init__(self) -> None:
        self.held: dict[int, Body] = {}
        self.origins: dict[int, Origin] = {}
        self._events: dict[int, Known] = {}
        self._gone: dict[int, Known] = {}
        self._saved: list[Body] = []
        self._sweep_at = _FIRST_SWEEP

    def remember(self, event: Event, body: Body, span_id: int) -> None:
        """Remember an event while its payload lives. O(1), seen over many.

        Args:
            event: the record that brought it.
            body: its payload.
            span_id: the span in which it was emitted; 0 where unknown.
        """
        events = self._events
        events[event.seq] = (weakref.ref(body), event.type, event.at, span_id)
        if len(events) > self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        alive: dict[int, Known] = {}
        gone: dict[int, Known] = {}
        for id, known in self._events.items():
            (gone if known[0]() is None else alive)[id] = known
        self._events, self._gone = alive, gone
        self._sweep_at = 2 * len(alive) + _FIRST_SWEEP
        self.origins = {id: origin for id, origin in self.origins.items() if id in alive or id in gone}

    def find(self, id: int) -> Known | None:
        """Return what is known of an event."""
        return self._events.get(id) or self._gone.get(id)

    def hold(self, invocation: int, event: int) -> None:
        """Hold the payload that an invocation takes, if it is known."""
        known = self._events.get(event)
        body = known[0]() if known is not None else None
        if body is not None:
            self.held[invocation] = body

    def receive(self, event: EventReceived, span_id: int) -> Origin | None:
        """Remember an event from outside; return what is out of the ordinary about it."""
        self.remember(event, event.body, span_id)
        if not event.sender:
            return None
        trace_id, sender, _ = read_traceparent(event.sender)
        if not sender:
            return None
        origin = self.origins[event.seq] = Origin(0, trace_id, sender)
        return origin

    def leave(self, trace_id: int) -> None:
        """Remember that what was emitted so far was in this trace, because another one begins."""
        self._sweep()
        for id in (*self._events, *self._gone):
            origin = self.origins.setdefault(id, Origin())
            origin.trace_id = origin.trace_id or trace_id

    def adopt(self, saved: Saved) -> None:
        """Begin with the events of saved data. They stay, because nobody else holds these very bodies."""
        for kept in (self.held, self._events, self._gone, self._saved, self.origins):
            kept.clear()
        for event in events_of(saved):
            if event.body is None:  # pragma: no cover
                raise AssertionError("events_of leaves these out")
            self._saved.append(event.body)
            if isinstance(event, EventReceived):
                self.receive(event, 0)
            else:
                self.remember(event, event.body, 0)
