"""Shapes: what the classes of payloads say about their JSON: which fields are secret, and where anything may stand.

A class is looked at once. What its annotations fix need not be looked at again for each object; the rest is `open`:
undeclared fields, `Any`, dicts, other models, and whatever a serializer of the user makes. This room knows classes,
and no policy but the mark of a field.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import types
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import ComputedFieldInfo, FieldInfo

from otflow.records.body import ATOMS

__all__ = ["LEAVES", "MARK", "SECRETS", "Shape", "is_marked", "secrets_of", "shape_of"]

MARK = "secret"
"""What `Field(json_schema_extra={"otflow": ...})` says of a field whose value must not leave the process."""

SECRETS = (Secret, SecretBytes, SecretStr)
"""Classes of values that are never told."""

LEAVES: frozenset[type] = ATOMS | {
    bytes,
    complex,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.Path,
    pathlib.PosixPath,
}
"""Classes whose objects have nothing in them that has a name."""

_CONTAINERS = frozenset({list, tuple, set, frozenset, Sequence})
_HARMLESS_METADATA = (
    "annotated_types",
    "pydantic.fields",
    "pydantic._internal._fields",
    "pydantic.functional_validators",
    "pydantic.types",
)
"""Where the classes come from that say nothing about how a value is written."""
_DEPTH = 100


class Shape(typing.NamedTuple):
    """What a model or dataclass says.

    Args:
        fields: the names of its fields, by the names that they have in JSON.
        marked: the fields that are always hidden.
        open: the fields whose values have to be looked at.
        custom: whether a serializer of the user makes the JSON of the whole object, or of one of its fields.
        extras: whether objects may have fields that are not declared.
    """

    fields: Mapping[str, str]
    marked: frozenset[str]
    open: tuple[str, ...] = ()
    custom: bool = False
    extras: bool = False


def shape_of(kind: type) -> Shape | None:
    """Return what a class says about its JSON; None if it is neither a model nor a dataclass."""
    return _read(kind)


@lru_cache(maxsize=4096)
def _read(kind: type) -> Shape | None:
    if issubclass(kind, BaseModel):
        return _read_model(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind)
    return None


def _read_model(kind: type[BaseModel]) -> Shape:
    names: dict[str, str] = {}
    marked: set[str] = set()
    doubtful: list[str] = []
    decorators = kind.__pydantic_decorators__
    custom = bool(decorators.model_serializers or decorators.field_serializers or decorators.computed_fields)
    custom = custom or issubclass(kind, RootModel) or _defines_its_schema(kind)
    declared: dict[str, FieldInfo | ComputedFieldInfo] = {**kind.model_fields, **kind.model_computed_fields}
    for name, info in declared.items():
        names[info.alias or name] = name
        if isinstance(info, FieldInfo) and info.serialization_alias:
            names[info.serialization_alias] = name
        names[name] = name
        annotation = info.annotation if isinstance(info, FieldInfo) else info.return_type
        if _has_mark(info) or is_marked(annotation) or any(map(_is_mark, getattr(info, "metadata", ()))):
            marked.add(name)
        custom |= not all(map(_is_harmless, getattr(info, "metadata", ()))) or not _is_usual(annotation)
        if not _is_closed(annotation):
            doubtful.append(name)
    extras = kind.model_config.get("extra") == "allow"
    return Shape(names, frozenset(marked), tuple(doubtful), custom, extras)


def _read_dataclass(kind: type) -> Shape:
    info: Mapping[str, FieldInfo] = getattr(kind, "__pydantic_fields__", {})
    names = [field.name for field in dataclasses.fields(kind)]
    notes = _hints(kind)
    marked = {
        field.name
        for field in dataclasses.fields(kind)
        if field.metadata.get("otflow") == MARK
        or is_marked(notes.get(field.name))
        or (field.name in info and (_has_mark(info[field.name]) or any(map(_is_mark, info[field.name].metadata))))
    }
    return Shape(dict(zip(names, names, strict=True)), frozenset(marked), tuple(names))


def _defines_its_schema(kind: type[BaseModel]) -> bool:
    """Tell whether a class of the user changes how pydantic treats it."""
    method = "__get_pydantic_core_schema__"
    return any(method in vars(each) for each in kind.__mro__ if each is not BaseModel and issubclass(each, BaseModel))


def _has_mark(info: FieldInfo | ComputedFieldInfo) -> bool:
    extra = info.json_schema_extra
    return isinstance(extra, Mapping) and extra.get("otflow") == MARK


def _is_mark(metadata: object) -> bool:
    return isinstance(metadata, FieldInfo) and _has_mark(metadata)


def is_marked(annotation: object, depth: int = 0) -> bool:
    """Tell whether an annotation says secret anywhere, but for what other models and dataclasses say of themselves."""
    if depth > _DEPTH:
        return False
    origin = typing.get_origin(annotation)
    if origin is None and isinstance(annotation, type):
        if issubclass(annotation, dict | tuple):  # with names: a TypedDict, a NamedTuple
            return any(is_marked(each, depth + 1) for each in _hints(annotation).values())
        return issubclass(annotation, SECRETS)
    if origin is Secret or any(map(_is_mark, getattr(annotation, "__metadata__", ()))):
        return True
    inner = (getattr(annotation, "__value__", None), *typing.get_args(annotation))  # the first of a named alias
    return any(is_marked(each, depth + 1) for each in inner)


def _hints(kind: type) -> Mapping[str, object]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # an annotation of a user that cannot be resolved here
        return {}


def _is_closed(annotation: object) -> bool:
    """Tell whether values of an annotation have nothing in them that has a name."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation in LEAVES or issubclass(annotation, enum.Enum)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _is_closed(arguments[0])
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType) or origin in _CONTAINERS:
        return bool(arguments) and all(each is ... or _is_closed(each) for each in arguments)
    return False


def _is_usual(annotation: object, depth: int = 0) -> bool:
    """Tell whether nothing in an annotation says how a value is written."""
    inner = (getattr(annotation, "__value__", None), *typing.get_args(annotation))
    usual = all(map(_is_harmless, getattr(annotation, "__metadata__", ())))
    return usual and (depth > _DEPTH or all(_is_usual(each, depth + 1) for each in inner if each is not None))


def _is_harmless(metadata: object) -> bool:
    """Tell whether what stands beside an annotation does not say how a value is written."""
    return metadata is None or isinstance(metadata, str) or type(metadata).__module__ in _HARMLESS_METADATA


def secrets_of(live: object, seen: frozenset[int] = frozenset()) -> Iterable[object]:
    """Return the values of marked fields, and what secrets hold, wherever they stand in an object."""
    if isinstance(live, SECRETS):
        yield live.get_secret_value()
        return
    if type(live) in LEAVES or id(live) in seen or len(seen) > _DEPTH:
        return
    inside = seen | {id(live)}
    shape = shape_of(type(live))
    if shape is not None:
        state: Mapping[str, object] = getattr(live, "__dict__", {})
        for name, value in {**state, **(getattr(live, "__pydantic_extra__", None) or {})}.items():
            found = list(secrets_of(value, inside))
            yield from found if found or name not in shape.marked or value is None else (value,)
    elif isinstance(live, Mapping):
        for value in live.values():
            yield from secrets_of(value, inside)
    elif isinstance(live, list | tuple | set | frozenset):
        for value in live:
            yield from secrets_of(value, inside)
