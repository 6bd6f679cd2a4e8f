"""Payloads in records: which record has one, what stands in the place of one that was left out, and how it comes back.

A payload that is too large for a span can be kept in a store, by the hash of its JSON; the mark in the record then
names it. This room knows no store but what it can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from otflow.records.body import REDACTED, Body
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventSent,
    Record,
    RunResumed,
    RunStarted,
    StreamWritten,
    WaitStarted,
)

__all__ = [
    "HIDDEN",
    "REF",
    "TRUNCATED",
    "Keeper",
    "Shelf",
    "hidden_paths",
    "make_mark",
    "payload_of",
    "replace_payload",
    "restore_payloads",
]

TRUNCATED = "$truncated"
"""Stands in the place of a payload that was left out, with its number of bytes."""

REF = "ref"
"""Stands beside it when a store has the payload, with the name that it has there."""

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

HIDDEN = b'"%s"' % REDACTED.encode()
"""Stands in JSON of which something is hidden."""


class Keeper(Protocol):
    """Keeps what is too large for a span."""

    def put(self, data: bytes) -> str:
        """Keep data; return its name. It may raise, and is asked again the next time."""


class Shelf(Protocol):
    """Gives back what was kept."""

    def get(self, ref: str) -> bytes:
        """Return the data that has this name.

        Raises:
            LookupError: there is none.
        """


class _Mark(msgspec.Struct):
    """What a mark says."""

    bytes: int = msgspec.field(name=TRUNCATED)
    ref: str = ""


def payload_of(record: Record) -> Body | None:
    """Return the payload of a record, if it has one."""
    field = _BODIES.get(type(record))
    body: Body | None = getattr(record, field) if field is not None else None
    return body


def replace_payload(record: Record, body: Body) -> Record:
    """Return a record with another payload; it has to have one."""
    return msgspec.structs.replace(record, **{_BODIES[type(record)]: body})


def make_mark(size: int, ref: str = "") -> Body:
    """Return what stands in the place of a payload.

    Args:
        size: its bytes.
        ref: the name that it has in a store; default "": it is in none.
    """
    return Body(json=msgspec.json.encode({TRUNCATED: size, REF: ref} if ref else {TRUNCATED: size}))


def restore_payloads(records: Iterable[Record], shelf: Shelf) -> list[Record]:
    """Put payloads that were too large for a span back into their records, as far as a store has them.

    Args:
        records: records that were read from spans.
        shelf: the store.

    Returns:
        The records, with the mark where the store does not have a payload any more.

    Raises:
        Exception: what the store raises but LookupError: it cannot be read, or a payload in it is damaged.
    """
    return [_restore(record, shelf) for record in records]


def _restore(record: Record, shelf: Shelf) -> Record:
    body = payload_of(record)
    if body is None or TRUNCATED.encode() not in body.json[: len(TRUNCATED) + 2]:
        return record
    try:
        ref = msgspec.json.decode(body.json, type=_Mark).ref
        return replace_payload(record, Body(json=shelf.get(ref))) if ref else record
    except (LookupError, msgspec.ValidationError):  # it is gone; or it was an event that looks like a mark
        return record


def hidden_paths(payload: Record | Body) -> Iterator[str]:
    """Return the paths, with dots, at which something is hidden in a payload, or in that of a record."""
    body = payload if isinstance(payload, Body) else payload_of(payload)
    if body is not None and HIDDEN in body.json:
        yield from _find_hidden(msgspec.json.decode(body.json), getattr(payload, "path", ""))


def _find_hidden(value: object, path: str) -> Iterator[str]:
    start = f"{path}." if path else ""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _find_hidden(part, f"{start}{key}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _find_hidden(part, f"{start}{place}")
    elif value == REDACTED:
        yield path or "*"
