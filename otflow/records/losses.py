"""What is not whole in a record: payloads that were cut, hidden, masked on their way, or that JSON could not hold.

It reads the marks that stand in the place of what is missing, and knows nothing of why they were put there.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from otflow.records.body import OPAQUE, REDACTED, Body
from otflow.records.payloads import HIDDEN, TRUNCATED, payload_of, replace_payload
from otflow.records.record import Failure, Record, RunFailed, StepFailed

__all__ = ["find_losses", "is_cut", "prefer"]

_MAX_PATHS = 5  # places that are named for one payload
_OPAQUE = b'"%s"' % OPAQUE.encode()
_MASKED = "****"
"""What the rules for a collector put in the place of secrets, wherever they find them."""
_NOTHING = Body(json=b"null")


class _Mark(msgspec.Struct):
    bytes: int = msgspec.field(name=TRUNCATED)


def is_cut(body: Body) -> int:
    """Return how many bytes a payload had that was replaced by its size; -1 if it is there."""
    if TRUNCATED.encode() not in body.json[: len(TRUNCATED) + 2]:
        return -1
    try:
        return msgspec.json.decode(body.json, type=_Mark).bytes
    except msgspec.ValidationError:  # an event that looks like a mark
        return -1


def find_losses(record: Record) -> Iterator[tuple[int, str]]:
    """Tell what is missing in a record: its number, and a sentence."""
    seq, kind = record.seq, type(record).__name__
    if isinstance(record, StepFailed | RunFailed):
        if not record.error.message and not record.error.stack:
            yield seq, f"What the exception of record {seq} ({kind}) said is not recorded."
        elif _MASKED in record.error.message:
            yield seq, f"What the exception of record {seq} ({kind}) said seems to be masked ({_MASKED})."
        return
    body = payload_of(record)
    if body is None:
        return
    size = is_cut(body)
    if size >= 0:
        yield seq, f"The payload of record {seq} ({kind}) was left out: it has {size} bytes."
        return
    json = body.json
    if HIDDEN not in json and _OPAQUE not in json and _MASKED.encode() not in json:
        return
    for what, paths in zip(_WHAT, _find_marks(msgspec.json.decode(json)), strict=True):
        if paths:
            yield seq, f"In the payload of record {seq} ({kind}) something {what}: {_name(paths)}."


def _name(paths: list[str]) -> str:
    more = len(paths) - _MAX_PATHS
    return ", ".join(path or "all of it" for path in paths[:_MAX_PATHS]) + (f" and {more} more" if more > 0 else "")


_WHAT = ("is hidden", f"seems to be masked ({_MASKED})", "could not be serialised")


def _find_marks(value: object) -> tuple[list[str], list[str], list[str]]:
    """Return the paths at which something is hidden, masked, and opaque."""
    hidden: list[str] = []
    masked: list[str] = []
    opaque: list[str] = []
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        path, here = waiting.pop()
        parts: Iterator[tuple[object, object]] = iter(())
        if isinstance(here, dict):
            if OPAQUE in here:
                opaque.append(path)
            parts = iter(here.items())
        elif isinstance(here, list):
            parts = iter(enumerate(here))
        elif here == REDACTED:
            hidden.append(path)
        elif isinstance(here, str) and _MASKED in here:
            masked.append(path)
        waiting += [(f"{path}.{key}" if path else str(key), part) for key, part in parts]
    return sorted(hidden), sorted(masked), sorted(opaque)


def prefer(one: Record, other: Record) -> Record | None:
    """Return that of two records which shows more, if they are the same but for that; None if they are not."""
    if type(one) is not type(other):
        return None
    if isinstance(one, StepFailed | RunFailed) and isinstance(other, StepFailed | RunFailed):
        return _prefer_error(one, other)
    first, second = payload_of(one), payload_of(other)
    if first is None or second is None or replace_payload(one, _NOTHING) != replace_payload(other, _NOTHING):
        return None
    ranks = _rank(first), _rank(second)
    if ranks[0] == ranks[1]:
        return None
    return one if ranks[0] < ranks[1] else other


def _prefer_error(one: StepFailed | RunFailed, other: StepFailed | RunFailed) -> Record | None:
    plain = Failure(one.error.type, "")
    if msgspec.structs.replace(one, error=plain) != msgspec.structs.replace(other, error=Failure(other.error.type, "")):
        return None
    short, long = sorted((one, other), key=lambda each: (len(each.error.message), len(each.error.stack)))
    return long if long.error.message.startswith(short.error.message) else None


def _rank(body: Body) -> int:
    """Say how far a payload is from being whole."""
    if is_cut(body) >= 0:
        return 2
    return 1 if HIDDEN in body.json or _MASKED.encode() in body.json else 0
