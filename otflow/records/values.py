"""Values: where two payloads differ first, as far as their records can tell.

What was hidden, left out or could not be written is never taken for equal or for different by guess: it is said that it
was not compared. This room knows JSON and the marks in it; it knows no run and no event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import msgspec

from otflow.records.body import OPAQUE, REDACTED, Body
from otflow.records.payloads import HIDDEN, REF, TRUNCATED

__all__ = ["Change", "Comparison", "compare", "find_losses", "write_key"]

_ABSENT = msgspec.UNSET
_MAX_SHOWN = 200  # characters of a value that are kept


class Change(NamedTuple):
    """Where two payloads differ; `left` and `right` are JSON texts, empty where there is nothing."""

    path: str
    left: str
    right: str


class Comparison(NamedTuple):
    """What came out of a comparison.

    Args:
        change: the first difference; None if none was found.
        unknown: why a part was not compared; empty if all was.
    """

    change: Change | None = None
    unknown: str = ""


def compare(left: Body | None, right: Body | None, ignore: Collection[str] = ()) -> Comparison:
    """Find the first place at which two payloads differ, as JSON tells values apart: 1 is 1.0, and not true.

    Args:
        left: the payload of the first run; None where there is none.
        right: that of the second run, likewise.
        ignore: fields that may differ, by path or by their last name; default none.
    """
    if left is None or right is None:
        if left is right:
            return Comparison()
        return Comparison(Change("", *(_show(_read(each)) for each in (left, right))))
    if left.json == right.json:
        return Comparison(unknown=next(find_losses(left), ""))
    unknown = ""
    for path, one, other in _walk(_read(left), _read(right), ignore):
        verdict = _judge(one, other)
        if verdict is None:
            return Comparison(Change(path, _show(one), _show(other)), unknown)
        unknown = unknown or verdict
    return Comparison(unknown=unknown)


def find_losses(body: Body) -> Iterator[str]:
    """Say what is not in a payload that was in it once: "truncated", "redacted", "opaque"."""
    json = body.json
    if b'"%s"' % TRUNCATED.encode() in json:
        yield "truncated"
    if HIDDEN in json:
        yield "redacted"
    if b'"%s"' % OPAQUE.encode() in json:
        yield "opaque"


def write_key(body: Body | None) -> bytes:
    """Write a payload so that equal ones have equal bytes."""
    return b"" if body is None else msgspec.json.encode(_read(body), order="sorted")


def _read(body: Body | None) -> object:
    return _ABSENT if body is None else msgspec.json.decode(body.json)


def _walk(left: object, right: object, ignore: Collection[str]) -> Iterator[tuple[str, object, object]]:
    """Give the places at which two values are not equal or not whole, as deep as both have the same shape, in order."""
    places = [("", left, right)]
    while places:
        path, one, other = places.pop()
        if path and (path in ignore or path.rpartition(".")[2] in ignore):
            continue
        if isinstance(one, dict) and isinstance(other, dict) and not (_mark_of(one) or _mark_of(other)):
            keys = [*one, *(key for key in other if key not in one)]
            below = [(_join(path, key), one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys]
        elif isinstance(one, list) and isinstance(other, list):
            longer = range(max(len(one), len(other)))
            below = [(_join(path, n), _item(one, n), _item(other, n)) for n in longer]
        else:
            if not _is_same(one, other) or (_mark_of(one) and not (isinstance(one, dict) and REF in one)):
                yield path, one, other
            continue
        places += reversed(below)


def _is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same in JSON: 1 is 1.0, but not true."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else f"{key}"


def _item(values: list[object], number: int) -> object:
    return values[number] if number < len(values) else _ABSENT


def _mark_of(value: object) -> str:
    match value:
        case str() if value == REDACTED:
            return "redacted"
        case {"$truncated": int()}:
            return "truncated"
        case {"$opaque": str()}:
            return "opaque"
        case _:
            return ""


def _judge(one: object, other: object) -> str | None:
    """Say why two values cannot be compared; None if they are different for certain."""
    marks = _mark_of(one), _mark_of(other)
    match (one, other):
        case {"$truncated": size, **rest}, {"$truncated": another, **others}:
            same = size == another and (REF not in rest or REF not in others)
            return "truncated" if same else None
        case {"$opaque": kind}, {"$opaque": another}:
            return "opaque" if kind == another else None  # the repr may hold an address
        case _:
            return next((mark for mark in marks if mark in ("redacted", "truncated")), None)


def _show(value: object) -> str:
    if value is _ABSENT:
        return ""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
