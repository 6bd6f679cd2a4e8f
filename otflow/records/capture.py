"""How much of a run goes into its trace: the budget of a span, and what a record looks like when it is over.

A record knows its payloads; what they say is nobody's business here, only how large they are.
"""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    RunFailed,
    RunResumed,
    RunStarted,
    StepFailed,
    StreamWritten,
    WaitStarted,
)

__all__ = ["FULL", "LEVELS", "NONE", "PREVIEW", "TRUNCATED", "Capture", "cut", "is_bulk", "weigh"]

TRUNCATED = "$truncated"
"""Stands in the place of a payload that was left out, with its number of bytes."""

_MAX_MESSAGE = 1000  # characters of an error's message where there is no room for more

_BULK = frozenset({ContextWritten, EventBuffered, EventReceived, EventSent, StreamWritten})


class Capture(msgspec.Struct, frozen=True):
    """How much of the payloads goes into a span, in bytes of JSON.

    Args:
        body: the largest payload that a record shows; a larger one is replaced by its size.
        value: the most that `input.value` and `output.value` show; 0 leaves them out.
        full: as long as a span has fewer bytes of records, they show their payloads.
        bulk: as long as it has fewer, it takes records that may be countless.
        records: as long as it has fewer, it takes any record; further ones are counted.
    """

    body: int
    value: int
    full: int = 96 * 1024
    bulk: int = 112 * 1024
    records: int = 128 * 1024


FULL = Capture(96 * 1024, 64 * 1024)
"""Whole payloads, within the budget of the span."""
PREVIEW = Capture(2000, 2000)
"""The first 2000 bytes of payloads; in records only payloads that are not larger."""
NONE = Capture(0, 0)
"""No payloads, only their sizes."""

LEVELS = {"full": FULL, "preview": PREVIEW, "none": NONE}
"""The levels by name."""

_BODIES: dict[type, str] = {
    RunStarted: "carried",
    RunResumed: "snapshot",
    EventReceived: "body",
    EventSent: "body",
    EventBuffered: "body",
    ContextWritten: "value",
    StreamWritten: "body",
    WaitStarted: "requirements",
}


def is_bulk(record: Record) -> bool:
    """Tell whether one span may have any number of such records; they leave some room for the others."""
    return type(record) in _BULK and not (isinstance(record, EventSent) and record.returned)


def weigh(record: Record) -> tuple[int, int]:
    """Return the bytes of a record's payload, and of what else in it has no fixed size, roughly."""
    match record:
        case StepFailed(error=error) | RunFailed(error=error):
            return 0, len(error.message) + len(error.stack)
        case EventsCollected(events=events):
            return 0, 8 * len(events)
        case _:
            body = _payload(record)
            return (0, 0) if body is None else (len(body.json), 0)


def cut(record: Record, other: int) -> tuple[Record, int]:
    """Leave out what may be large in a record.

    Args:
        record: the record.
        other: what `weigh` says of it beside its payload.

    Returns:
        The smaller record, and what is left of `other`.
    """
    if isinstance(record, StepFailed | RunFailed):
        small = Failure(record.error.type, record.error.message[:_MAX_MESSAGE])
        return msgspec.structs.replace(record, error=small), len(small.message)
    body = _payload(record)
    if body is None:
        return record, other
    mark = Body(json=b'{"%s":%d}' % (TRUNCATED.encode(), len(body.json)))
    return msgspec.structs.replace(record, **{_BODIES[type(record)]: mark}), other


def _payload(record: Record) -> Body | None:
    field = _BODIES.get(type(record))
    body: Body | None = getattr(record, field) if field is not None else None
    return body
