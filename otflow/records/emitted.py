"""The events of a run, remembered for the spans that take them.

An event is remembered weakly: exactly as long as someone else holds its body, who may then still deliver it. So nothing
here grows with the length of a run, and nobody has to say when an event is no longer needed.
"""

from __future__ import annotations

import weakref
from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.codec import decode
from otflow.records.record import EventBuffered, EventReceived, EventSent

__all__ = ["Emitted", "Event", "Saved", "read_saved"]

Event: TypeAlias = EventReceived | EventSent | EventBuffered
"""A record under whose number an event is known."""

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
    """The events of one run.

    Attributes:
        events: by id the payload (weakly), the type, the time and the span in which it was emitted.
    """

    __slots__ = ("_saved", "_sweep_at", "events")

    def __init__(self) -> None:
        self.events: dict[int, tuple[weakref.ref[Body], str, int, int]] = {}
        self._saved: list[Body] = []
        self._sweep_at = _FIRST_SWEEP

    def remember(self, event: Event, body: Body, span_id: int) -> None:
        """Remember an event while its payload lives. O(1), seen over many.

        Args:
            event: the record that brought it.
            body: its payload.
            span_id: the span in which it was emitted; 0 where unknown.
        """
        events = self.events
        events[event.seq] = (weakref.ref(body), event.type, event.at, span_id)
        if len(events) > self._sweep_at:
            self.events = {id: found for id, found in events.items() if found[0]() is not None}
            self._sweep_at = 2 * len(self.events) + _FIRST_SWEEP

    def recall(self, id: int) -> tuple[Body | None, str, int, int]:
        """Return the body, the type, the time and the span of an event; None, "" and 0 where unknown."""
        found = self.events.get(id)
        return (found[0](), *found[1:]) if found is not None else _UNKNOWN

    def adopt(self, saved: Saved) -> None:
        """Begin with the events of saved data. They stay, because nobody else holds these very bodies."""
        self.events.clear()
        self._saved.clear()
        for raw in saved.events:
            try:
                event = decode(bytes(raw))
            except msgspec.MsgspecError:
                continue
            if isinstance(event, EventReceived | EventSent | EventBuffered) and event.body is not None:
                self._saved.append(event.body)
                self.remember(event, event.body, 0)
