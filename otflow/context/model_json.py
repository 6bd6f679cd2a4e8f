"""Pydantic models as JSON objects, such that the same model comes back.

Pydantic alone dumps a value by the annotation of its field: where the annotation says `Any`, a base class or
a union, the class of the value is lost. Such values ("open" ones) are written by the serializer, which notes
classes; everything else is left to pydantic. This room knows pydantic only: no text, no names of classes.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache

from pydantic import BaseModel, PlainSerializer, WrapSerializer
from pydantic.fields import FieldInfo

from otflow.events import DictLikeModel

__all__ = ["Encode", "dump_model", "load_model"]

Encode: typing.TypeAlias = Callable[[object], object]

_PLAIN = (str, int, float, bool, type(None))
_CONTAINERS = (list, tuple, set, frozenset, dict)
_EXTRA = "_data"


def dump_model(model: BaseModel, encode: Encode) -> tuple[dict[str, object], list[str]]:
    """Return a model as a JSON object, and the names in it that `encode` has written.

    Args:
        model: the model.
        encode: turns a value of any class into plain JSON data; raises ValueError when it cannot.

    Raises:
        ValueError: a value is of a class that neither pydantic nor `encode` can write.
    """
    if _writes_itself(type(model)):
        return dict(model.model_dump(mode="json", round_trip=True, by_alias=False)), []
    extra = model.__pydantic_extra__ or {}
    encoded: dict[str, object] = {}
    for name, annotation in _doubtful_fields(type(model)):
        value = model.__dict__.get(name)
        if not _is_settled(annotation, value):
            try:
                encoded[name] = encode(value)
            except ValueError:
                if _says_nothing(annotation):
                    raise
                # the annotation says enough for pydantic to make something of it
    dump = dict(model.model_dump(mode="json", round_trip=True, by_alias=False, exclude={*extra, *encoded}))
    dump |= encoded
    if extra:
        undeclared = {name: encode(value) for name, value in extra.items()}
        dump |= {_EXTRA: undeclared} if isinstance(model, DictLikeModel) else undeclared
        encoded |= {_EXTRA: None} if isinstance(model, DictLikeModel) else undeclared
    return dump, list(encoded)


def load_model(kind: type[BaseModel], dump: Mapping[str, object], opened: list[str], decode: Encode) -> BaseModel:
    """Return the model that `dump_model` dumped.

    Args:
        kind: the class of the model.
        dump: the JSON object.
        opened: the names in it that were written by `encode`.
        decode: the way back from what `encode` wrote.

    Raises:
        pydantic.ValidationError: the object does not fit the class.
    """
    values: dict[str, object] = {}
    for name, value in dump.items():
        if name not in opened:
            read = value
        elif name == _EXTRA and isinstance(value, dict):
            read = {key: decode(each) for key, each in value.items()}
        else:
            read = decode(value)
        values[_input_name(kind, name)] = read
    return kind.model_validate(values, by_alias=True, by_name=True)


def _input_name(kind: type[BaseModel], name: str) -> str:
    """Return the key under which a class takes the value of a field."""
    field = kind.model_fields.get(name)
    if field is None or kind.model_config.get("populate_by_name") or kind.model_config.get("validate_by_name"):
        return name
    alias = field.validation_alias
    return alias if isinstance(alias, str) else name


@lru_cache(maxsize=1024)
def _writes_itself(kind: type[BaseModel]) -> bool:
    return bool(kind.__pydantic_decorators__.model_serializers)


@lru_cache(maxsize=1024)
def _doubtful_fields(kind: type[BaseModel]) -> tuple[tuple[str, object], ...]:
    """Return the fields, with their annotations, whose values have to be looked at one by one."""
    own = {name for each in kind.__pydantic_decorators__.field_serializers.values() for name in each.info.fields}
    return tuple(
        (name, field.annotation)
        for name, field in kind.model_fields.items()
        if name not in own and "*" not in own and not _has_serializer(field) and _is_doubtful(field.annotation)
    )


def _has_serializer(field: FieldInfo) -> bool:
    return any(isinstance(each, PlainSerializer | WrapSerializer) for each in field.metadata)


def _is_doubtful(annotation: object) -> bool:
    """Tell whether values of an annotation may be of a class that it does not fix."""
    inner = _strip(annotation)
    if _says_nothing(inner) or _members(inner):
        return True
    arguments = typing.get_args(inner)
    if typing.get_origin(inner) is dict and not _is_key_class(arguments[0]):
        return True
    if typing.get_origin(inner) in _CONTAINERS:
        return any(_is_doubtful(each) for each in arguments if each is not ...)
    return isinstance(inner, type) and issubclass(inner, BaseModel)


def _is_settled(annotation: object, value: object) -> bool:
    """Tell whether pydantic, knowing the annotation, writes and reads this value without loss."""
    inner = _strip(annotation)
    if _says_nothing(inner):
        return _is_json(value)
    if type(value) in _PLAIN:
        return True
    members = _members(inner)
    if members:
        return len(members) == 1 and _is_settled(members[0], value)
    if isinstance(value, BaseModel):
        return type(value) is inner and _is_plain(value)
    arguments = typing.get_args(inner)
    if isinstance(value, tuple) and arguments[-1:] != (...,):
        return len(arguments) == len(value) and all(map(_is_settled, arguments, value))
    if isinstance(value, dict) and arguments:
        # in JSON a key is text: only a class tells pydantic what to make of it
        keys = _is_key_class(arguments[0]) or all(type(key) is str for key in value)
        return keys and all(_is_settled(arguments[1], each) for each in value.values())
    if isinstance(value, _CONTAINERS) and arguments:
        return all(_is_settled(arguments[0], each) for each in value)
    return True


def _is_json(value: object) -> bool:
    """Tell whether a value is plain JSON data, which comes back as it is whatever the annotation."""
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(_is_json, value.values()))
    return type(value) in _PLAIN


def _is_plain(model: BaseModel) -> bool:
    """Tell whether pydantic alone writes a model, and everything in it, without loss."""
    if _writes_itself(type(model)):
        return True
    if model.__pydantic_extra__:
        return False
    return all(_is_settled(note, model.__dict__.get(name)) for name, note in _doubtful_fields(type(model)))


def _is_key_class(annotation: object) -> bool:
    return isinstance(annotation, type) and not _says_nothing(annotation)


def _strip(annotation: object) -> object:
    """Take `Annotated` away."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _members(annotation: object) -> tuple[object, ...]:
    """Return what a union is made of, but for None; nothing when it is no union."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return ()
    return tuple(each for each in typing.get_args(annotation) if each is not type(None))


def _says_nothing(annotation: object) -> bool:
    return annotation in (typing.Any, object, None, *_CONTAINERS) or isinstance(annotation, typing.TypeVar)
