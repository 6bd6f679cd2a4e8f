"""What JSON alone would lose of a value of the state, beside its JSON: of which classes it is made.

A tuple, a date, or a model under a key of a state that declares nothing reads as a list, a text or a dict afterwards.
So the journal notes such values as `JsonSerializer` writes them, too. This room knows values and serializers only.
"""

from __future__ import annotations

import math

from otflow.context.class_names import qualified_name
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.records.body import ATOMS

__all__ = ["LOST", "note_value"]

LOST = "!"
"""With this begins the note of a value that cannot be made again; the name of its class follows."""
_MAX_DEPTH = 50
_serializer: BaseSerializer = JsonSerializer()


def note_value(value: object) -> str | None:
    """Return the note of a value; None if its JSON says all."""
    if _is_plain(value, _MAX_DEPTH):
        return None
    try:
        return _serializer.serialize(value)
    except Exception:  # to_dict, validators and serializers of users may raise anything
        return LOST + qualified_name(type(value))


def _is_plain(value: object, depth: int) -> bool:
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # it is a float
    if kind in ATOMS:
        return True
    if not depth:
        return False
    if kind is list:
        return all(_is_plain(each, depth - 1) for each in value)  # type: ignore[attr-defined]  # it is a list
    if kind is dict:
        return all(type(key) is str and _is_plain(each, depth - 1) for key, each in value.items())  # type: ignore[attr-defined]  # it is a dict
    return False
