"""Sets in payloads: written in an order that does not depend on the process.

A set has no order of its own, so two processes would write the same one differently: what was recorded could not be
compared, and what a step had sent would not be known again. So the items of each set are put in order once the JSON is
there. This room knows objects and plain data; it makes no JSON.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from itertools import islice

__all__ = ["holds_set", "order_sets"]

_LEAVES = frozenset((str, int, float, bool, bytes, type(None)))
_SETS = (set, frozenset)
_ITEMS = 16  # of one list, which are alike: to search a long one would cost more than to write it
_ENTRIES = 256  # of one dict or model
_DEPTH = 32  # what lies deeper, or holds itself, is not searched


def holds_set(value: object, depth: int = 0) -> bool:
    """Tell whether a set is somewhere in an object.

    Args:
        value: the object.
        depth: how deep in another one it lies.
    """
    kind = type(value)
    parts: Iterable[object]
    if kind in _LEAVES or depth > _DEPTH:
        return False
    if kind in _SETS:
        return True
    if isinstance(value, dict):
        parts = value.values() if len(value) <= _ENTRIES else list(islice(value.values(), _ENTRIES))
    elif isinstance(value, list | tuple):
        parts = value[:_ITEMS]
    else:
        parts = _fields(value)
    # the classes at once, because most parts are leaves and a call for each is dear
    return not _LEAVES.issuperset(map(type, parts)) and any(holds_set(each, depth + 1) for each in parts)


def _fields(value: object) -> list[object]:
    kind: type = type(value)
    names = _open_fields(kind)
    state: Mapping[str, object] = getattr(value, "__dict__", {}) if names else {}
    extra: Mapping[str, object] = getattr(value, "__pydantic_extra__", None) or {}
    return [*(state[name] for name in names if name in state), *islice(extra.values(), _ENTRIES)]


@lru_cache(maxsize=4096)
def _open_fields(kind: type) -> tuple[str, ...]:
    """Return the fields of a model or dataclass in which a set may be."""
    fields: Mapping[str, object] = getattr(kind, "__pydantic_fields__", None) or {}
    if fields:
        return tuple(name for name, info in fields.items() if not _is_closed(getattr(info, "annotation", None)))
    return tuple(getattr(kind, "__dataclass_fields__", ()))


def _is_closed(annotation: object) -> bool:
    """Tell whether no value of an annotation has a set in it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation in _LEAVES or issubclass(annotation, Enum)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return True
    return origin not in _SETS and bool(arguments) and all(each is ... or _is_closed(each) for each in arguments)


def order_sets(value: object, plain: object) -> object:
    """Put the items of all sets in order.

    Args:
        value: the object.
        plain: what its JSON says; where that is not made as JSON usually is, it stays as it is.
    """
    match plain:
        case list() if isinstance(value, set | frozenset | list | tuple) and len(value) == len(plain):
            items = list(map(order_sets, value, plain))  # a set that nobody changes keeps its order meanwhile
            return _sort(items) if isinstance(value, set | frozenset) else items
        case dict() if isinstance(value, dict) and len(value) == len(plain):
            return dict(zip(plain, map(order_sets, value.values(), plain.values()), strict=True))
        case dict() if not isinstance(value, dict):
            state = _state_of(value)
            return {key: order_sets(state.get(key), part) for key, part in plain.items()}
        case _:
            return plain


def _state_of(value: object) -> Mapping[str, object]:
    """Return what an object holds, by the names that it may have in JSON."""
    state: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for name, info in (getattr(type(value), "__pydantic_fields__", None) or {}).items():
        alias = getattr(info, "serialization_alias", None)
        if name in state and alias:
            state.setdefault(alias, state[name])
    return state | (getattr(value, "__pydantic_extra__", None) or {})


def _sort(items: list[object]) -> list[object]:
    """Sort plain data: numbers and texts as such, all else by its JSON."""
    kinds = set(map(type, items))
    if kinds <= {int, float} or kinds == {str}:
        return sorted(items)  # type: ignore[type-var]  # as was tested
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
