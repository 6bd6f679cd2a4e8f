"""Constructors: recorded payloads as source that makes them again, from classes that the source imports.

What is written is tried first: only what makes an object that JSON tells in the same words as the record is good
enough. What cannot be written so is refused with the reason.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from otflow.context.class_names import find_class
from otflow.drawing.line import measure
from otflow.errors import ContextSerdeError, OtflowError, UnreconstructedException
from otflow.events import Event, StepFailedEvent, read_event
from otflow.records.body import Body
from otflow.records.values import find_losses
from otflow.replay.template import WIDTH, Group, Part, Text, call, is_name, quote, write_plain

__all__ = ["Names", "UnwritableError", "write_event", "write_model"]

_PLAIN = (str, int, float, bool, type(None))
_LOSSES = {
    "truncated": "was left out because of its size",
    "redacted": "has something hidden in it",
    "opaque": "has a part that could not be serialised",
}


class UnwritableError(OtflowError):
    """A payload cannot be written as source; the message says why."""


class Names:
    """The names by which a source knows classes; what was asked for counts once it is kept."""

    def __init__(self) -> None:
        self._imports: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._owners: dict[str, tuple[str, str]] = {}
        self._asked: set[str] = set()

    def of(self, kind: type) -> str:
        """Return the name of a class, and ask for its import.

        Raises:
            UnwritableError: no import leads to it.
        """
        module, (top, _, rest) = kind.__module__, kind.__qualname__.partition(".")
        if module == "__main__" or "<locals>" in kind.__qualname__:
            where = "in a function" if "<locals>" in kind.__qualname__ else "in the program that ran"
            raise UnwritableError(f"the class {kind.__qualname__} is defined {where}, so that nothing can import it")
        try:
            found = find_class(f"{module}.{kind.__qualname__}")
        except ContextSerdeError as error:
            raise UnwritableError(str(error)) from error
        if found is not kind:
            raise UnwritableError(f"{module}.{kind.__qualname__} is another class by now")
        if module.startswith("otflow.") and getattr(sys.modules.get("otflow"), top, None) is not None:
            module = "otflow"
        local = self.add(module, top)
        return f"{local}.{rest}" if rest else local

    def add(self, module: str, name: str) -> str:
        """Ask for a name; return what the source calls it, which is another word if that name is taken."""
        local = name
        number = 2
        while self._owners.setdefault(local, (module, name)) != (module, name):
            local, number = f"{name}{number}", number + 1
        self._asked.add(local)
        return local

    def keep(self) -> None:
        """Import what was asked for since `keep` or `drop` was called last."""
        for local in self._asked:
            module, name = self._owners[local]
            self._imports[module][name] = local
        self._asked.clear()

    def drop(self) -> None:
        """Forget what was asked for since then, because it is not needed."""
        self._asked.clear()

    def lines(self) -> list[str]:
        """Return the import statements, in the order and the groups in which sorters put them."""
        groups: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for module in sorted(self._imports, key=str.lower):
            names = sorted(self._imports[module].items(), key=_rank)
            parts = [name if name == local else f"{name} as {local}" for name, local in names]
            line = f"from {module} import {', '.join(parts)}"
            if measure(line) > WIDTH:
                line = f"from {module} import (\n" + "".join(f"    {part},\n" for part in parts) + ")"
            groups[_origin(module)].append(line)
        lines = [line for group in groups.values() if group for line in (*group, "")]
        return lines[:-1]


def _rank(entry: tuple[str, str]) -> tuple[int, str, str]:
    """Constants come first, then classes, then all other names."""
    name = entry[0]
    return 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name.lower(), name


def _origin(module: str) -> int:
    """Say whose a module is: Python's (0), that of a package that was installed (1), or the user's own (2)."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return 0
    file = getattr(sys.modules.get(top), "__file__", None)
    own = file is not None and not {"site-packages", "dist-packages"} & set(Path(file).parts)
    return 2 if own and top != "otflow" else 1


def write_event(key: str, body: Body | None, names: Names) -> Text:
    """Write a recorded event as the call of its class.

    Args:
        key: its type key.
        body: its payload.
        names: the names that the source knows; those that it needs are added.

    Raises:
        UnwritableError: it cannot be made from what is recorded.
    """
    if body is None or not key:
        raise UnwritableError("the record of an event is missing")
    short = key.rpartition(":")[2]
    for loss in find_losses(body):
        raise UnwritableError(f"the recorded {short} {_LOSSES[loss]}")
    try:
        kind = find_class(key.replace(":", "."))
    except ContextSerdeError as error:
        raise UnwritableError(str(error)) from error
    if not issubclass(kind, Event):
        raise UnwritableError(f"{key} is no event")
    try:
        model = read_event(kind, body.json)
    except ValidationError as error:
        raise UnwritableError(
            f"today's {short} does not accept what is recorded ({error.errors()[0]['msg']})"
        ) from error
    return write_model(model, names)


def write_model(model: BaseModel, names: Names) -> Text:
    """Write a model as the call of its class.

    Args:
        model: the model.
        names: the names that the source knows; those that it needs are added.

    Raises:
        UnwritableError: no source makes an equal one.
    """
    name = names.of(type(model))
    plain = msgspec.json.decode(Body(model).whole)
    try:
        text, made = _write(model, plain, names)
        if _is_same(made, model):
            return text
        if _is_same(type(model).model_validate(plain), model):
            return call(f"{name}.model_validate", Part(write_plain(plain)))
    except (ValueError, TypeError, RecursionError) as error:
        raise UnwritableError(f"a {type(model).__name__} cannot be written as source ({error})") from error
    raise UnwritableError(f"a {type(model).__name__} does not come back from what is recorded of it")


def _is_same(made: object, model: BaseModel) -> bool:
    if type(made) is not type(model) or Body(made).whole != Body(model).whole:
        return False
    return made == model or isinstance(model, StepFailedEvent)  # exceptions are equal to nothing


def _write(value: object, plain: object, names: Names) -> tuple[Text, object]:
    """Return the source of a value, and what that source makes; `plain` is what JSON tells of it."""
    match value:
        case Enum():
            return f"{names.of(type(value))}.{value.name}", value
        case BaseModel() if isinstance(plain, dict):
            return _write_fields(value, plain, names)
        case Exception():
            return _write_exception(value, names)
        case list() if isinstance(plain, list) and len(plain) == len(value):
            pairs = [_write(one, other, names) for one, other in zip(value, plain, strict=True)]
            return Group("[", tuple(Part(text) for text, _ in pairs), "]"), [made for _, made in pairs]
        case dict() if isinstance(plain, dict) and value.keys() == plain.keys():
            items = {key: _write(each, plain[key], names) for key, each in value.items()}
            parts = tuple(Part(text, f"{quote(key)}: ") for key, (text, _) in items.items())
            return Group("{", parts, "}"), {key: made for key, (_, made) in items.items()}
        case _ if type(value) in _PLAIN:
            return write_plain(value), value
        case _:
            return write_plain(plain), plain


def _write_fields(model: BaseModel, plain: dict[str, Any], names: Names) -> tuple[Text, object]:
    kind = type(model)
    given: dict[str, tuple[Text, object]] = {}
    for name, field in kind.model_fields.items():
        value = getattr(model, name)
        # what a record says of a default is not worth a reader's time
        if name in model.model_fields_set and not (type(value) is type(field.default) and value == field.default):
            told = plain.get(name, plain.get(field.serialization_alias or name))
            given[_name_input(name, field)] = _write(value, told, names)
    for name, value in (model.__pydantic_extra__ or {}).items():
        given[name] = _write(value, plain.get(name), names)
    made = kind(**{name: value for name, (_, value) in given.items()})
    odd = [name for name in given if not is_name(name)]
    parts = [Part(text, f"{name}=") for name, (text, _) in given.items() if name not in odd]
    if odd:
        rest = Group("{", tuple(Part(given[name][0], f"{quote(name)}: ") for name in odd), "}")
        parts.append(Part(rest, "**"))
    return call(names.of(kind), *parts), made


def _name_input(name: str, field: FieldInfo) -> str:
    """Return the word by which a constructor takes a field."""
    alias = field.validation_alias or field.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return next((each for each in choices if isinstance(each, str)), name)


def _write_exception(error: Exception, names: Names) -> tuple[Text, object]:
    if isinstance(error, UnreconstructedException):
        name = names.add("otflow.errors", "UnreconstructedException")
        return call(name, Part(quote(str(error))), Part(quote(f"{error.original_type}"), "original_type=")), error
    return call(type(error).__name__, *(Part(write_plain(each)) for each in error.args)), error
