"""Dotted paths into a state: through dicts, lists, fields of models and attributes.

Everything here is a plain function over the objects that a path leads through. This room knows no store, no
lock and no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from otflow.errors import OtflowError

__all__ = ["DELETED", "MAX_DEPTH", "StatePathError", "apply_write", "get_by_path", "set_by_path"]

MAX_DEPTH = 1000
"""How many segments a path may have."""

StateT = TypeVar("StateT", bound=BaseModel)


class _Deletion(Enum):
    DELETED = "DELETED"

    def __repr__(self) -> str:
        return self.value


DELETED: Final = _Deletion.DELETED
"""What stands in the place of a value when a key was removed."""

_NOT_THERE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


@runtime_checkable
class _Indexed(Protocol):
    def __getitem__(self, index: int, /) -> object: ...


@runtime_checkable
class _Settable(Protocol):
    def __setitem__(self, index: int, value: object, /) -> None: ...


class StatePathError(OtflowError, ValueError, AttributeError):
    """A path leads nowhere, or to a place that cannot be written."""


def get_by_path(state: object, path: str, default: object = ...) -> Any:  # the type is that of what was put there
    """Return what stands at a path.

    Args:
        state: where the path begins.
        path: keys, indexes and names with dots between them; the empty path is the state itself.
        default: what to return when nothing stands there; default `...`, which means that something has to.

    Raises:
        ValueError: nothing stands there and no default was given, or the path is too long.
    """
    found = state
    for segment in _split(path) if path else ():
        try:
            found = _step(found, segment)
        except _NOT_THERE:
            if default is not ...:
                return default
            raise StatePathError(
                f"Path '{path}' not found in state: nothing under '{segment}'. Set it, or give a default."
            ) from None
    return found


def set_by_path(state: object, path: str, value: object) -> None:
    """Put a value at a path; dicts are made where the way to it is missing.

    Args:
        state: where the path begins; changed in place.
        path: keys, indexes and names with dots between them.
        value: what to put there; a field of a model validates it.

    Raises:
        ValueError: the path is empty or too long, or its end cannot be written.
        pydantic.ValidationError: a field of a model does not take the value.
    """
    if not path:
        raise StatePathError("Path cannot be empty. To replace the whole state use set_state(...).")
    *way, last = _split(path)
    place = state
    for segment in way:
        try:
            place = _step(place, segment)
        except _NOT_THERE:
            made: dict[str, object] = {}
            _assign(place, segment, made, path)
            # a field may have made something else of it
            place = _step(place, segment)
    _assign(place, last, value, path)


def apply_write(state: StateT, path: str, value: object) -> StateT:
    """Fold a recorded write back onto a state.

    Args:
        state: the state before the write; changed in place.
        path: what was written: a path, or the empty path for the whole state.
        value: what was put there; `DELETED` for a key that was removed; for the whole state a state, or its
            fields as a mapping.

    Returns:
        The state after the write: the same object, but for a write of the whole state.

    Raises:
        ValueError: the write does not fit the state.
    """
    if not path:
        if isinstance(value, type(state)):
            return value
        if isinstance(value, Mapping):
            return type(state).model_validate(value, by_alias=True, by_name=True)
        raise StatePathError(f"A {type(value).__name__} was recorded as a state of type {type(state).__name__}.")
    if value is DELETED:
        *way, last = _split(path)
        _delete(get_by_path(state, ".".join(way)), last)
    else:
        set_by_path(state, path, value)
    return state


def _split(path: str) -> list[str]:
    segments = path.split(".")
    if len(segments) > MAX_DEPTH:
        raise StatePathError(f"Path length exceeds {MAX_DEPTH} segments: '{path[:50]}...'. Use a shorter one.")
    return segments


def _step(place: object, segment: str) -> object:
    """Follow one segment; raises one of `_NOT_THERE` when it leads nowhere."""
    if isinstance(place, dict):
        return place[segment]
    if isinstance(place, BaseModel):
        return _read_field(place, segment)
    if _is_index(segment) and isinstance(place, _Indexed):
        return place[int(segment)]
    found: object = getattr(place, segment)
    return found


def _is_index(segment: str) -> bool:
    return segment.removeprefix("-").isdecimal()


def _read_field(model: BaseModel, name: str) -> object:
    extra = model.__pydantic_extra__
    if extra and name in extra:
        return extra[name]
    # a method of the model is not what is looked for under its name
    if name in type(model).model_fields or name in model.__private_attributes__ or _is_property(model, name):
        return getattr(model, name)
    raise KeyError(name)


def _is_property(model: BaseModel, name: str) -> bool:
    return isinstance(getattr(type(model), name, None), property | cached_property)


def _assign(place: object, segment: str, value: object, path: str) -> None:
    if isinstance(place, dict):
        place[segment] = value
        return
    if isinstance(place, BaseModel) and segment in type(place).model_fields:
        _assign_field(place, segment, value)
        return
    try:
        extra = _undeclared(place, segment)
        if extra is not None:
            extra[segment] = value
        elif _is_index(segment) and isinstance(place, _Settable):
            place[int(segment)] = value
        else:
            setattr(place, segment, value)
    except _NOT_THERE as error:
        raise StatePathError(
            f"Path '{path}' cannot be set: {type(place).__name__} takes nothing under '{segment}' ({error}). "
            "Put a dict there first, or declare the field."
        ) from error


def _undeclared(place: object, name: str) -> dict[str, object] | None:
    """Return where a model keeps undeclared fields, if that is where this name belongs."""
    if not isinstance(place, BaseModel) or name in place.__private_attributes__ or _is_property(place, name):
        return None
    return place.__pydantic_extra__


def _assign_field(model: BaseModel, name: str, value: object) -> None:
    """Set a field with validation, whether or not the model asks for it on assignment."""
    if model.model_config.get("frozen") or type(model).model_fields[name].frozen:
        setattr(model, name, value)  # pydantic refuses it
    fields, names = dict(model.__dict__), set(model.__pydantic_fields_set__)
    try:
        model.__pydantic_validator__.validate_assignment(model, name, value, by_alias=True, by_name=True)
    except Exception:  # validators of users raise what they like; those that run last have seen the new value
        object.__setattr__(model, "__dict__", fields)
        object.__setattr__(model, "__pydantic_fields_set__", names)
        raise


def _delete(place: object, segment: str) -> None:
    if isinstance(place, BaseModel) and place.__pydantic_extra__ and segment in place.__pydantic_extra__:
        del place.__pydantic_extra__[segment]
    elif isinstance(place, dict):
        place.pop(segment, None)
    elif isinstance(place, list):
        del place[int(segment)]
    elif hasattr(place, segment):
        delattr(place, segment)
