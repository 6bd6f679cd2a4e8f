"""Points: the single differences between two runs, and the words in which events and steps are named there."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from otflow.records.history import Run

__all__ = ["Kind", "Point", "name_event", "name_invocation", "name_kind"]

Kind: TypeAlias = Literal[
    "workflow", "event", "payload", "step", "attempt", "wait", "state", "stream", "collection", "order", "outcome"
]
"""What differs: an event, work or a collection that only one run has; or something about what both have."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One difference.

    Args:
        kind: what differs.
        sentence: the difference in words.
        at: where in the first run it belongs, as the number of a record.
        a, b: the record in the first and in the second run; 0 where there is none.
        path: where in a payload or in the state.
        left, right: the values there as JSON, of a long one the beginning; empty where there is none.
        proven: whether it is a difference whatever stands in the records that are missing.
    """

    kind: Kind
    sentence: str
    at: int
    a: int = 0
    b: int = 0
    path: str = ""
    left: str = ""
    right: str = ""
    proven: bool = True


def name_kind(key: str) -> str:
    """Give the short name of a type key or of a qualified class name; `?` if it is unknown."""
    return key.rpartition(":")[2].rpartition(".")[2] or "?"


def name_invocation(run: Run, id: int) -> str:
    """Name an invocation by its step and its number, or say that it is the outside."""
    invocation = run.invocations.get(id)
    if invocation is None:
        return "the outside" if id == 0 else f"#{id}"
    return f"{invocation.step or '?'} #{id}"


def name_event(run: Run, id: int) -> str:
    """Name an event by its type and who sent it."""
    event = run.events[id]
    if event.source:
        return f"{name_kind(event.type)} of {name_invocation(run, event.source)}"
    return f"{name_kind(event.type)} from outside" if event.outside else name_kind(event.type)
