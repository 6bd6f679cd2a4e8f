"""The state of a run from its records, as plain data: what was carried in, and each write on top.

It knows JSON and dotted paths, no state class and no store: what a class would make of the values is its own business.
A write that does not fit what is known of the state, because an earlier one is missing, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from otflow.records.record import ContextWritten, Record, RunResumed, RunStarted

__all__ = ["NOWHERE", "apply", "brought_by", "fold_state", "locate", "look_up"]

NOWHERE = msgspec.UNSET
"""What stands at a place that is not there."""


class _Carried(msgspec.Struct):
    state: msgspec.Raw = msgspec.Raw(b"null")


def fold_state(records: Iterable[Record]) -> dict[str, object]:
    """Return the state that records of one run lead to.

    Args:
        records: its records, in order.
    """
    state: dict[str, object] = {}
    for record in records:
        if type(record) is ContextWritten:
            state = apply(state, record)
        elif type(record) is RunStarted or type(record) is RunResumed:
            brought = brought_by(record)
            state = state if brought is None else brought
    return state


def brought_by(record: RunStarted | RunResumed) -> dict[str, object] | None:
    """Return the state that a run began or went on with, if the record says it.

    Args:
        record: how it began or went on.
    """
    carried = record.carried if isinstance(record, RunStarted) else record.snapshot
    if carried is None:
        return None
    try:
        found = msgspec.json.decode(msgspec.json.decode(carried.json, type=_Carried).state)
    except (msgspec.MsgspecError, RecursionError):  # it is cut, or hostile
        return None
    return found if isinstance(found, dict) else None


def apply(state: dict[str, object], write: ContextWritten) -> dict[str, object]:
    """Return the state after a write; it may be changed in place.

    Args:
        state: the state before.
        write: the write.
    """
    value: object = None if write.deleted else msgspec.json.decode(write.value.json)
    if not write.path:
        return value if isinstance(value, dict) else state
    *way, last = write.path.split(".")
    place: object = state
    for segment in way:
        found = _follow(place, segment)
        if not isinstance(found, dict | list):
            found = {}
            if write.deleted or not _put(place, segment, found):
                return state
        place = found
    if write.deleted:
        _remove(place, last)
    else:
        _put(place, last, value)
    return state


def locate(state: object, path: str) -> tuple[tuple[str, ...], int]:
    """Return the way to a place of a state, with indexes from the end of a list counted from its begin.

    Args:
        state: the state, or a part of it.
        path: keys, indexes and names with dots between them; empty for all of it.

    Returns:
        The way, and how much of it is sure: there is nothing where an index from the end should be counted.
    """
    way: list[str] = []
    sure = -1
    place: object = state
    for segment in path.split(".") if path else ():
        number = _index(place, segment) if isinstance(place, list) else None
        if sure < 0 and not isinstance(place, dict | list) and segment[:1] == "-" and segment[1:].isdecimal():
            sure = len(way)
        way.append(segment if number is None or not isinstance(place, list) else str(number % len(place)))
        place = _follow(place, segment) if isinstance(place, dict | list) else None
    return tuple(way), len(way) if sure < 0 else sure


def look_up(value: object, way: Iterable[str]) -> object:
    """Return what stands at the end of a way; `NOWHERE` if nothing does."""
    for segment in way:
        if isinstance(value, dict):
            value = value.get(segment, NOWHERE)
        elif isinstance(value, list):
            number = _index(value, segment)
            value = NOWHERE if number is None else value[number]
        else:
            return NOWHERE
    return value


def _index(place: list[object], segment: str) -> int | None:
    """Return the index that a segment is of a list, if there is something under it."""
    if not segment.removeprefix("-").isdecimal() or len(segment) > 18:  # noqa: PLR2004  no list is that long
        return None
    number = int(segment)
    return number if -len(place) <= number < len(place) else None


def _follow(place: object, segment: str) -> object:
    if isinstance(place, dict):
        return place.get(segment)
    assert isinstance(place, list)
    number = _index(place, segment)
    return None if number is None else place[number]


def _put(place: object, segment: str, value: object) -> bool:
    if isinstance(place, dict):
        place[segment] = value
        return True
    assert isinstance(place, list)
    number = _index(place, segment)
    if number is None:
        return False
    place[number] = value
    return True


def _remove(place: object, segment: str) -> None:
    if isinstance(place, dict):
        place.pop(segment, None)
        return
    assert isinstance(place, list)
    number = _index(place, segment)
    if number is not None:
        del place[number]
