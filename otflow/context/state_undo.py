"""What a state looked like before an edit: to take the edit back, to show it to others, to tell what changed.

A snapshot holds, for every dict, list, set, model and dataclass object within a state, what was in it. The
objects themselves go on living: an edit that is kept, or taken back, changes what they hold and never which
objects they are, so that whoever holds a part of the state still holds it afterwards. Objects of other
classes (clients, locks, files) are shared, and what is done to them is not taken back.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

__all__ = ["Snapshot", "entries", "pour"]

T = TypeVar("T")
_ATOMS = frozenset({str, int, float, bool, type(None), bytes})

# What a container holds, as parts: for a model its fields, undeclared fields, private attributes and names of
# fields that were set; for all others one part.
_MODEL_PARTS = ("__dict__", "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__")
_Part: TypeAlias = dict[Any, object] | list[object] | set[Any] | None
_Parts: TypeAlias = tuple[_Part, ...]


def entries(state: BaseModel) -> dict[str, object]:
    """Return the fields of a state, declared or not, by name."""
    return {**state.__dict__, **(state.__pydantic_extra__ or {})}


class Snapshot:
    """What a state held at one moment.

    Args:
        state: the state; walked through once, but not copied.
    """

    def __init__(self, state: BaseModel) -> None:
        self._state = state
        self._view: BaseModel | None = None
        # the object stands beside its parts, so that its id stays its own
        self._held: dict[int, tuple[object, _Parts]] = {}
        waiting: list[object] = [state]
        while waiting:
            each = waiting.pop()
            if type(each) in _ATOMS or id(each) in self._held:
                continue
            parts = _open(each)
            if parts is not None:
                self._held[id(each)] = (each, parts)
                waiting.extend(_inner(parts))

    def restore(self) -> BaseModel:
        """Make every object hold again what it held, and return the state."""
        for each, parts in self._held.values():
            if not isinstance(each, tuple):
                _fill(each, parts)
        return self._state

    def view(self) -> BaseModel:
        """Return the state as it was, made of new objects where the edit may be changing them."""
        if self._view is None:
            view = self._rebuild(self._state, {})
            assert isinstance(view, BaseModel)
            self._view = view
        return self._view

    def changes(self, state: BaseModel) -> dict[str, object] | None:
        """Return what changed since, by top-level key; a key that is gone is not in the result.

        Args:
            state: the state now.

        Returns:
            The values of new and of changed keys; None when it is another object.
        """
        if state is not self._state:
            return None
        before = self.entries()
        return {
            key: value
            for key, value in entries(state).items()
            # one object may stand under several keys: each of them has to notice that it changed
            if key not in before or not _same(before[key], value) or self._differs(value, set())
        }

    def entries(self) -> dict[str, object]:
        """Return the fields that the state had, declared or not, by name."""
        _, (fields, extra, *_) = self._held[id(self._state)]
        assert isinstance(fields, dict)
        return {**fields, **(extra if isinstance(extra, dict) else {})}

    def _differs(self, value: object, seen: set[int]) -> bool:
        """Tell whether an object, or one within it, holds something else than it did."""
        if type(value) in _ATOMS or id(value) in seen:
            return False
        seen.add(id(value))
        parts = _open(value)
        if parts is None:
            return False
        held = self._held.get(id(value))
        if held is None or not _equal(held[1], parts):
            return True
        return any(self._differs(each, seen) for each in _inner(parts))

    def _rebuild(self, value: object, made: dict[int, object]) -> object:
        held = self._held.get(id(value))
        if held is None:
            return value
        if id(value) in made:
            return made[id(value)]
        if isinstance(value, tuple):
            # no ring leads through a tuple but by way of something that is in `made` by then
            inner = [self._rebuild(each, made) for each in value]
            return value if all(map(_is, inner, value)) else _retuple(value, inner)
        try:
            new = copy.copy(value)
        except Exception:  # a user's class may refuse to be copied: then others see it as it is
            return value
        made[id(value)] = new
        _fill(new, tuple(self._rebuild_part(part, made) for part in held[1]))
        return new

    def _rebuild_part(self, part: _Part, made: dict[int, object]) -> _Part:
        if isinstance(part, dict):
            return {key: self._rebuild(each, made) for key, each in part.items()}
        return [self._rebuild(each, made) for each in part] if isinstance(part, list) else part


def pour(source: T, target: T) -> None:
    """Make one container hold what another one of its class holds."""
    parts = _open(source)
    assert parts is not None
    _fill(target, parts)


def _open(value: object) -> _Parts | None:
    """Return the parts of a container; None for what is none."""
    if isinstance(value, dict):
        return (dict(value),)
    if isinstance(value, list | deque | tuple):
        return (list(value),)
    if isinstance(value, set):
        return (set(value),)
    if isinstance(value, BaseModel):
        extra, private = value.__pydantic_extra__, value.__pydantic_private__
        return (
            dict(value.__dict__),
            extra if extra is None else dict(extra),
            private if private is None else dict(private),
            set(value.__pydantic_fields_set__),
        )
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "__dict__"):
        return (dict(value.__dict__),)
    return None


def _fill(target: object, parts: _Parts) -> None:
    """Make a container hold these parts."""
    if isinstance(target, BaseModel):
        for name, part in zip(_MODEL_PARTS, parts, strict=True):
            object.__setattr__(target, name, copy.copy(part))
        return
    match target, parts[0]:
        case dict(), dict() as part:
            target.clear()
            for key, each in part.items():  # not update(), which has another meaning in some dicts
                target[key] = each
        case set(), set() as part:
            target.clear()
            target.update(part)
        case ((list() | deque()), list() as part):
            target.clear()
            target.extend(part)
        case _, dict() as part:
            target.__dict__.clear()
            target.__dict__.update(part)


def _inner(parts: _Parts) -> Iterable[object]:
    for part in parts:
        # what a set holds can be hashed, and therefore does not change
        if isinstance(part, dict):
            yield from part.values()
        elif isinstance(part, list):
            yield from part


def _equal(before: _Parts, now: _Parts) -> bool:
    return all(map(_equal_part, before, now))


def _equal_part(before: _Part, now: _Part) -> bool:
    if isinstance(before, dict) and isinstance(now, dict):
        return list(before) == list(now) and all(map(_same, before.values(), now.values()))
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same, before, now))
    return before == now


def _same(before: object, now: object) -> bool:
    """Tell whether two values are one object; atoms may be two, because Python makes them as it likes."""
    return before is now or (type(before) is type(now) and type(now) in _ATOMS and before == now)


def _is(left: object, right: object) -> bool:
    return left is right


def _retuple(value: tuple[object, ...], inner: list[object]) -> tuple[object, ...]:
    make = getattr(value, "_make", type(value))  # a named tuple takes its fields one by one
    new: tuple[object, ...] = make(inner)
    return new
