"""Serializers: values of users as text, and back.

What is written comes back equal, or is refused when it is written. JSON names the classes of models and finds
them again by name; pickle is written and loaded only by `PickleSerializer`, which a user has to choose.
This room knows values and classes: no context, no state, no run.
"""

from __future__ import annotations

import base64
import copy
import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from reprlib import Repr
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from otflow.context.class_names import DeserializationError, find_class, qualified_name
from otflow.context.model_json import Encode, dump_model, load_model
from otflow.errors import OtflowError, WorkflowValidationError

__all__ = [
    "BaseSerializer",
    "DeserializationError",
    "JsonPickleSerializer",
    "JsonSerializer",
    "PickleSerializer",
    "SerializationError",
    "SerializerTypeError",
]

_MODEL = "__is_pydantic"
_COMPONENT = "__is_component"
_TAGGED = "__is_value"
_MARKS = (_MODEL, _COMPONENT, _TAGGED)
_ITEMS = "items"

_preview = Repr()
_preview.maxstring = _preview.maxother = 100


class SerializationError(OtflowError, ValueError):
    """A value cannot be written."""


class SerializerTypeError(WorkflowValidationError, ValueError, TypeError):
    """A serializer was given something else than classes, or two classes of the same name."""


class BaseSerializer(ABC):
    """Turns values into text, and text into equal values."""

    @abstractmethod
    def serialize(self, value: object) -> str:
        """Return a value as text.

        Raises:
            ValueError: the value cannot be written.
        """

    @abstractmethod
    def deserialize(self, value: str) -> Any:  # the type is whatever was written
        """Return the value that a text stands for.

        Raises:
            ContextSerdeError: the text was not written by such a serializer.
        """

    def with_types(self, *classes: type) -> BaseSerializer:
        """Return a serializer that finds these classes by their names too; here it has no use for them."""
        return self


# What JSON itself has no word for: tag -> class, how it is written (as plain JSON data), how it is read.
_TAGS: dict[str, tuple[type, Callable[..., object], Callable[..., object]]] = {
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "bytes": (bytes, lambda raw: base64.b64encode(raw).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
}
_TAG_OF = {row[0]: tag for tag, row in _TAGS.items()}


class JsonSerializer(BaseSerializer):
    """JSON, with the classes of pydantic models and of components noted beside their data.

    A component is an object whose class has `class_name`, `to_dict` and `from_dict`. Dicts, lists, tuples and
    sets may hold any of these, also dates, times, decimals, UUIDs and bytes. A class is found again by its
    module and qualified name; one that is defined inside a function only if it is among `allowed_types`, or
    was given to `with_types`.

    Args:
        allowed_types: the classes, or qualified names of classes, that may be made from data; default None,
            which allows every pydantic model and every component that can be imported.

    Raises:
        WorkflowValidationError: an entry is neither a class nor a name, or two classes have one name.

    Example:
        >>> serializer = JsonSerializer()
        >>> serializer.deserialize(serializer.serialize({"sizes": (1, 2)}))
        {'sizes': (1, 2)}
    """

    def __init__(self, *, allowed_types: Iterable[type | str] | None = None) -> None:
        self._known: dict[str, type] = {}
        self._allowed: frozenset[str] | None = None
        if allowed_types is not None:
            entries = tuple(allowed_types)
            self._allowed = frozenset(entry for entry in entries if isinstance(entry, str))
            self._learn(entry for entry in entries if not isinstance(entry, str))

    def with_types(self, *classes: type) -> Self:
        """Return a serializer that finds these classes by their names too.

        Args:
            *classes: the classes, wherever they are defined.

        Raises:
            WorkflowValidationError: one of them is no class, or two of them have one name.
        """
        learned = copy.copy(self)
        learned._known = dict(self._known)  # noqa: SLF001  its own copy
        learned._learn(classes)  # noqa: SLF001  its own copy
        return learned

    def _learn(self, classes: Iterable[type]) -> None:
        for each in classes:
            if not isinstance(each, type):
                raise SerializerTypeError(f"{each!r} is no class: give classes, or their qualified names.")
            known = self._known.setdefault(qualified_name(each), each)
            if known is not each:
                raise SerializerTypeError(
                    f"Two classes are called {qualified_name(each)}; data cannot tell them apart. Rename one."
                )

    def serialize(self, value: object) -> str:
        """Return a value as JSON text.

        Args:
            value: what to write.

        Raises:
            ValueError: the value, or something in it, is of a class that JSON cannot hold.
        """
        try:
            return json.dumps(self.serialize_value(value))
        except Exception as error:  # to_dict, validators and serializers of users may raise anything
            raise _cannot_write(value, error, self.serialize_value) from error

    def deserialize(self, value: str) -> Any:
        """Return the value that a JSON text stands for.

        Args:
            value: what `serialize` returned.

        Raises:
            ContextSerdeError: the text is no JSON, names a class that is not to be had, or does not fit it.
        """
        try:
            data = json.loads(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DeserializationError(
                f"Not JSON: {_preview.repr(value)} ({error}). Give what serialize() of the same kind of "
                "serializer returned; what PickleSerializer wrote, only PickleSerializer reads."
            ) from error
        return self.deserialize_value(data)

    def serialize_value(self, value: object) -> object:
        """Return a value as plain JSON data, as `serialize` does, but not as text.

        Raises:
            ValueError: the value, or something in it, is of a class that JSON cannot hold.
        """
        kind = type(value)
        if kind in (str, int, float, bool) or value is None:
            return value
        if isinstance(value, dict):
            return self._write_dict(value)
        if isinstance(value, list):
            return [self.serialize_value(each) for each in value]
        if _is_component(kind):
            dump = value.to_dict()  # type: ignore[attr-defined]  # _is_component has seen it
            return {_COMPONENT: True, "value": dump, "qualified_name": qualified_name(kind)}
        if isinstance(value, BaseModel):
            dump, opened = dump_model(value, self.serialize_value)
            note = {"open": opened} if opened else {}
            return {_MODEL: True, "value": dump, "qualified_name": qualified_name(kind), **note}
        tag = _TAG_OF.get(kind)
        if tag is not None:
            return {_TAGGED: tag, "value": self.serialize_value(_TAGS[tag][1](value))}
        if isinstance(value, str | int | float):  # an enum, say, whose members are text or numbers
            return value
        raise SerializationError(f"no JSON for {qualified_name(kind)}")

    def _write_dict(self, value: Mapping[object, object]) -> object:
        # keys of other kinds would come back as text, and data must not pass for a note about a class
        if all(type(key) is str and key not in _MARKS for key in value):
            return {key: self.serialize_value(each) for key, each in value.items()}
        items = [[self.serialize_value(key), self.serialize_value(each)] for key, each in value.items()]
        return {_TAGGED: _ITEMS, "value": items}

    def deserialize_value(self, data: object) -> object:
        """Return the value that plain JSON data stands for.

        Raises:
            ContextSerdeError: the data names a class that is not to be had, or does not fit it.
        """
        if isinstance(data, list):
            return [self.deserialize_value(each) for each in data]
        if not isinstance(data, dict):
            return data
        if not any(mark in data for mark in _MARKS):
            return {key: self.deserialize_value(each) for key, each in data.items()}
        try:
            return self._read_noted(data)
        except DeserializationError:
            raise
        except Exception as error:  # from_dict and the validators of users may raise anything
            raise DeserializationError(
                f"Cannot read {_preview.repr(data)}: {error!r}. Was it written by a serializer of this kind, "
                "and does its class still look as it did then?"
            ) from error

    def _read_noted(self, data: Mapping[str, Any]) -> object:
        if _TAGGED in data:
            inner = self.deserialize_value(data["value"])
            return dict(inner) if data[_TAGGED] == _ITEMS else _TAGS[data[_TAGGED]][2](inner)  # type: ignore[call-overload]  # bad data raises
        kind = self.resolve_class(data["qualified_name"])
        if _MODEL in data and issubclass(kind, BaseModel):
            return load_model(kind, data["value"], data.get("open", []), self.deserialize_value)
        if _COMPONENT in data and _is_component(kind):
            return kind.from_dict(data["value"])  # type: ignore[attr-defined]  # _is_component has seen it
        raise DeserializationError(
            f"{data['qualified_name']} is not the pydantic model or the component that data says it is: "
            f"{_preview.repr(data)}. Has the class changed since the data was written?"
        )

    def resolve_class(self, qualified_name: str) -> type:
        """Return the class of a name.

        Args:
            qualified_name: module and qualified name, with dots between them.

        Raises:
            ContextSerdeError: the class is not allowed, cannot be found, or is no class.
        """
        known = self._known.get(qualified_name)
        if known is not None:
            return known
        if self._allowed is not None and qualified_name not in self._allowed:
            raise DeserializationError(
                f"Class {qualified_name} is not in the serializer's allowed types. "
                "Add it: JsonSerializer(allowed_types=[...])."
            )
        return find_class(qualified_name)


class PickleSerializer(JsonSerializer):
    """JSON where it suffices, else pickle in base64.

    Loading a pickle runs whatever code it names: read only texts that you trust.

    Args:
        allowed_types: as for `JsonSerializer`; a pickle is not bound by it.
    """

    def serialize(self, value: object) -> str:
        """Return a value as JSON text, or as a pickle in base64 if JSON cannot hold it.

        Raises:
            ValueError: the value cannot be pickled either.
        """
        try:
            return super().serialize(value)
        except ValueError as refusal:
            try:
                return base64.b64encode(pickle.dumps(value)).decode("ascii")
            except Exception as error:  # pickle raises whatever the value raises
                raise SerializationError(f"{refusal} Pickle cannot either: {error}") from error

    def deserialize(self, value: str) -> Any:
        """Return the value that a text stands for.

        Raises:
            ContextSerdeError: the text is neither JSON nor a pickle, or its class is not to be had.
        """
        if not _is_base64(value):
            return super().deserialize(value)
        try:
            return pickle.loads(base64.b64decode(value))  # noqa: S301  who chooses this class asks for it
        except Exception as error:  # a pickle raises whatever the classes in it raise
            raise DeserializationError(
                f"Not a pickle that can be loaded here: {_preview.repr(value)} ({error!r}). "
                "Are the modules of its classes where they were when it was written?"
            ) from error


JsonPickleSerializer = PickleSerializer


def _is_base64(text: str) -> bool:
    """Tell whether a text is a pickle in base64; no JSON text begins as those do."""
    return isinstance(text, str) and text.startswith("gA")


def _is_component(kind: type) -> bool:
    return all(callable(getattr(kind, name, None)) for name in ("class_name", "to_dict", "from_dict"))


def _cannot_write(value: object, error: Exception, encode: Encode) -> SerializationError:
    where = _locate(value, encode)
    return SerializationError(
        f"Failed to serialize value: {qualified_name(type(value))}{f', at {where}' if where else ''}: "
        f"{str(error) or repr(error)}. Keep plain data or pydantic models, or choose PickleSerializer."
    )


def _locate(value: object, encode: Encode, depth: int = 20) -> str:
    """Return the way, as subscripts, to the innermost value that cannot be written."""
    if isinstance(value, dict):
        inner = [(f"[{key!r}]", each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"[{index}]", each) for index, each in enumerate(value)]
    elif isinstance(value, BaseModel):
        inner = [(f".{name}", each) for name, each in (value.__pydantic_extra__ or {}).items()]
    else:
        inner = []
    for step, each in inner:
        try:
            encode(each)
        except Exception:  # this one it is, whatever it raises
            return step + (_locate(each, encode, depth - 1) if depth else "")
    return ""
