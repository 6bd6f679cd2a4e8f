"""Quantities in words: durations, counts, and the shortest fair impression of a payload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from otflow.drawing.line import clean
from otflow.records.body import OPAQUE, Body

__all__ = ["count", "enumerate_some", "format_duration", "name_type", "preview", "show_value", "tally"]

_HOUR = 3_600_000_000_000
_UNITS = ((1_000_000, "ms", 1000), (1_000_000_000, "s", 60), (60_000_000_000, "min", 60), (_HOUR, "h", 1000))
_MAX_SHOWN = 200
_MAX_READ = 64 * 1024  # bytes of a payload beyond which nobody looks into it for a preview


def format_duration(nanoseconds: int) -> str:
    """Write a duration with up to three digits, as `0.04 ms`, `12.4 ms`, `1.24 s` or `3.08 min`.

    Args:
        nanoseconds: the duration; a negative one counts as 0.

    Example:
        >>> format_duration(50_000_000), format_duration(1_240_000_000), format_duration(185 * 10**9)
        ('50 ms', '1.24 s', '3.08 min')
    """
    for unit, name, limit in _UNITS:
        number = max(0, nanoseconds) / unit
        number = float(f"{number:.3g}") if number >= 1 else round(number, 2)
        if number < limit:
            return f"{number:g} {name}"
    return f"{nanoseconds / _HOUR:,.0f} h"


def count(number: int, noun: str) -> str:
    """Write a number with its noun.

    Example:
        >>> count(1, "retry"), count(2, "retry"), count(1200, "event")
        ('1 retry', '2 retries', '1,200 events')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def tally(names: Iterable[str], times: str) -> str:
    """Write names with how often each comes: `3 x Note, Done`."""
    return ", ".join(name if number == 1 else f"{number:,} {times} {name}" for name, number in Counter(names).items())


def enumerate_some(words: Sequence[str], more: str, limit: int = 4) -> str:
    """List words; of many only the first ones and the last.

    Args:
        words: the words.
        more: what stands for those that are left out.
        limit: how many are listed in full; default 4.
    """
    if len(words) <= limit:
        return ", ".join(words)
    return f"{', '.join(words[:2])} {more} {words[-1]}"


def name_type(key: str) -> str:
    """Give the short name of a type key or of a qualified class name; `?` if it is unknown."""
    return clean(key.rpartition(":")[2].rpartition(".")[2]) or "?"


def show_value(body: Body) -> str:
    """Write a payload on one line; of a long one only the beginning."""
    json = body.json
    if len(json) > _MAX_READ:
        return f"{len(json):,} bytes"
    value = msgspec.json.decode(json)
    match value:
        case str():
            shown = f'"{value}"'
        case {"$opaque": kind, **_rest}:
            shown = f"<{kind}>"
        case dict() | list():
            shown = msgspec.json.encode(value).decode()
        case _:
            shown = json.decode()
    return clean(shown)[:_MAX_SHOWN]


def preview(body: Body, seen: dict[str, str]) -> tuple[str, ...]:
    """Give the plain fields of a payload as `name=value`.

    Args:
        body: the payload.
        seen: what was shown of the payloads before it, and is not shown again; what is shown now is added.
    """
    if len(body.json) > _MAX_READ:
        return ()
    fields = msgspec.json.decode(body.json)
    if not isinstance(fields, dict) or OPAQUE in fields:
        return ()
    plain = {name: f"{value}" for name, value in fields.items() if isinstance(value, str | int | float) and value != ""}
    fresh = [name for name, value in plain.items() if seen.get(name) != value]
    seen.update(plain)
    return tuple(clean(f"{name}={plain[name]}")[:_MAX_SHOWN] for name in fresh)
