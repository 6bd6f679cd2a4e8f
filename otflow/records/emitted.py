"""The events of a run, remembered for the spans that take them.

An event is remembered weakly: exactly as long as someone else holds its body, who may then still deliver it. So nothing
here grows with the length of a run, and nobody has to say when an event is no longer needed.
"""

from __future__ import annotations

import weakref

import msgspec

from otflow.records.body import Body
from otflow.records.codec import decode
from otflow.records.record import EventBuffered, EventReceived, EventSent

__all__ = ["Emitted", "Saved", "read_saved"]

_FIRST_SWEEP = 64
_UNKNOWN = (None, "", 0, 0)


class Saved(msgspec.Struct):
    """What a trace wants to know of saved data: the records that it refers to, and whose it is."""

    events: list[msgspec.Raw] = []
    workflow: str = ""
    digest: str = ""


def read_saved(data: Body) -> Saved:
    """Read saved data, as far as it can be read."""
    try:
        return msgspec.json.decode(data.json, type=Saved)
    except msgspec.MsgspecError:
        return Saved()


class Emitted:
    """The events of one run, by id."""

    __slots__ = ("_events", "_saved", "_sweep_at")

    def __init__(self) -> None:
        self._events: dict[int, tuple[weakref.ref[Body], str, int, int]] = {}
        self._saved: list[Body] = []
        self._sweep_at = _FIRST_SWEEP

    def remember(self, id: int, body: Body, kind: str, at: int, span_id: int) -> None:
        """Remember an event while its body lives. O(1), seen over many.

        Args:
            id: its id.
            body: its payload.
            kind: its type key.
            at: when it was emitted, in nanoseconds since the epoch.
            span_id: the span in which it was emitted; 0 where unknown.
        """
        events = self._events
        events[id] = (weakref.ref(body), kind, at, span_id)
        if len(events) > self._sweep_at:
            self._events = {id: found for id, found in events.items() if found[0]() is not None}
            self._sweep_at = 2 * len(self._events) + _FIRST_SWEEP

    def recall(self, id: int) -> tuple[Body | None, str, int, int]:
        """Return the body, the type, the time and the span of an event; None, "" and 0 where unknown."""
        found = self._events.get(id)
        return (found[0](), *found[1:]) if found is not None else _UNKNOWN

    def adopt(self, saved: Saved) -> None:
        """Begin with the events of saved data. They stay, because nobody else holds these very bodies."""
        self._events.clear()
        self._saved.clear()
        for raw in saved.events:
            try:
                event = decode(bytes(raw))
            except msgspec.MsgspecError:
                continue
            if isinstance(event, EventReceived | EventSent | EventBuffered) and event.body is not None:
                self._saved.append(event.body)
                self.remember(event.seq, event.body, event.type, event.at, 0)
