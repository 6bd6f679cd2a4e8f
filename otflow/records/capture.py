"""How much of a run goes into its trace: the budget of a span, and what a record looks like when it is over.

A record knows its payloads; what they say is nobody's business here, only how large they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from otflow.errors import WorkflowConfigurationError
from otflow.records.payloads import TRUNCATED, Keeper, make_mark, payload_of, replace_payload
from otflow.records.record import (
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    RunFailed,
    StepFailed,
    StreamWritten,
    WaitStarted,
)

__all__ = [
    "FULL",
    "LEVELS",
    "NONE",
    "OTHERS",
    "PREVIEW",
    "TRUNCATED",
    "Capture",
    "cut",
    "is_bulk",
    "make_capture",
    "silence",
    "weigh",
]

OTHERS = "*"
"""Stands for all workflows and events that have no level of their own."""

_MAX_MESSAGE = 1000  # characters of an error's message where there is no room for more

_BULK = frozenset({ContextWritten, EventBuffered, EventReceived, EventSent, StreamWritten})
_TYPED = EventBuffered | EventReceived | EventSent | StreamWritten | WaitStarted


class Capture(msgspec.Struct, frozen=True):
    """How much of the payloads goes into a span, in bytes of JSON.

    Args:
        body: the largest payload that a record shows; a larger one is replaced by its size.
        value: the most that `input.value` and `output.value` show; 0 leaves them out.
        full: as long as a span has fewer bytes of records, they show their payloads.
        bulk: as long as it has fewer, it takes records that may be countless.
        records: as long as it has fewer, it takes any record; further ones are counted.
        errors: whether the messages and stacks of exceptions are shown.
        keeper: keeps the payloads that are replaced or cut; default None: they are lost to the trace.
        names: what holds for workflows and events with these names instead; default nothing.
    """

    body: int
    value: int
    full: int = 96 * 1024
    bulk: int = 112 * 1024
    records: int = 128 * 1024
    errors: bool = True
    keeper: Keeper | None = None
    names: dict[str, Capture] = {}

    def of_workflow(self, name: str) -> Capture:
        """Return what holds for the runs of a workflow."""
        own = self.names.get(name)
        return msgspec.structs.replace(own, names=self.names) if own is not None else self

    def of_event(self, key: str) -> Capture:
        """Return what holds for the events of a type, which is named as "module:Class" or just "Class"."""
        if not self.names:
            return self
        return self.names.get(key) or self.names.get(key.rpartition(":")[2]) or self

    def of_record(self, record: Record) -> Capture:
        """Return what holds for a record: that of its event, if it has one."""
        return self.of_event(record.type) if isinstance(record, _TYPED) else self

    def bound(self, limit: int) -> Capture:
        """Return a budget in which nothing is longer than `limit`."""
        names = {name: own.bound(limit) for name, own in self.names.items()}
        sizes = {name: min(getattr(self, name), limit) for name in ("body", "value", "full", "bulk", "records")}
        return msgspec.structs.replace(self, names=names, **sizes)

    def keep(self, json: bytes) -> str:
        """Keep a payload that is not shown as a whole; return its name, or "" where it is not kept."""
        if self.keeper is None or not self.value:
            return ""
        try:
            return self.keeper.put(json)
        except Exception:  # whatever a store may raise: it counts its failures, and the run goes on
            return ""


FULL = Capture(96 * 1024, 64 * 1024)
"""Whole payloads, within the budget of the span."""
PREVIEW = Capture(2000, 2000)
"""The first 2000 bytes of payloads; in records only payloads that are not larger."""
NONE = Capture(0, 0, errors=False)
"""No payloads, only their sizes; of errors only the type."""

LEVELS = {"full": FULL, "preview": PREVIEW, "none": NONE}
"""The levels by name."""


def make_capture(levels: str | Mapping[str, str] = "full", keeper: Keeper | None = None) -> Capture:
    """Make a budget from the names of levels.

    Args:
        levels: a level; or levels by the names of workflows and of event classes ("Class" or "module:Class"), with
            that of all others under "*", which is "full" if it is missing. What is said of an event goes before what
            is said of its workflow. Default "full".
        keeper: keeps the payloads that are too large; default None: nobody does.

    Raises:
        WorkflowConfigurationError: something is no level; the message names all such.
    """
    named = levels if isinstance(levels, Mapping) else {OTHERS: levels}
    wrong = [
        f"{level!r} for {name!r}" for name, level in named.items() if not isinstance(level, str) or level not in LEVELS
    ]
    if wrong:
        known = ", ".join(repr(level) for level in LEVELS)
        raise WorkflowConfigurationError(f"capture: no such level: {', '.join(wrong)}; use one of {known}.")
    own = {name: msgspec.structs.replace(LEVELS[level], keeper=keeper) for name, level in named.items()}
    others = own.pop(OTHERS, None) or msgspec.structs.replace(FULL, keeper=keeper)
    return msgspec.structs.replace(others, names=own)


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
            body = payload_of(record)
            return (0, 0) if body is None else (len(body.json), 0)


def silence(record: Record) -> Record:
    """Leave out of a record what an exception says; its type stays."""
    if isinstance(record, StepFailed | RunFailed):
        return msgspec.structs.replace(record, error=Failure(record.error.type, ""))
    return record


def cut(record: Record, other: int, capture: Capture) -> tuple[Record, int]:
    """Leave out what may be large in a record.

    Args:
        record: the record.
        other: what `weigh` says of it beside its payload.
        capture: what holds for it.

    Returns:
        The smaller record, and what is left of `other`.
    """
    if isinstance(record, StepFailed | RunFailed):
        small = Failure(record.error.type, record.error.message[:_MAX_MESSAGE])
        return msgspec.structs.replace(record, error=small), len(small.message)
    body = payload_of(record)
    if body is None:
        return record, other
    return replace_payload(record, make_mark(len(body.json), capture.keep(body.json))), other
