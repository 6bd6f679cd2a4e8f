"""Declarations of resources: what a parameter asks for, in its annotation, and how that is to be made.

This room knows functions and their annotations, and JSON files. It makes no resource and keeps none.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import FunctionType
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel

from otflow.errors import WorkflowValidationError

__all__ = [
    "Resource",
    "ResourceConfig",
    "ResourceConfigError",
    "ResourceParam",
    "declared_resources",
    "load_config",
    "place_of",
    "require_model",
]


class ResourceConfigError(WorkflowValidationError, ValueError):
    """The file of a `ResourceConfig` is not of a kind, or not of a content, that can be read."""


@dataclass(frozen=True, eq=False)
class Resource:
    """Says in `Annotated[T, Resource(factory)]` how the value of a parameter is made.

    Args:
        factory: a function (or coroutine function) that makes the value; it may ask for resources itself.
        cache: make it once and keep it; default True. False makes it anew for each injection.

    Raises:
        WorkflowValidationError: the factory cannot be called.
    """

    factory: Callable[..., object]
    cache: bool = True
    names: Mapping[str, object] | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.factory):
            raise WorkflowValidationError(f"Resource({self.factory!r}): give a function that makes the resource.")

    @property
    def name(self) -> str:
        """The qualified name of the factory; two factories may share it and are still two resources."""
        factory = self.factory
        while isinstance(factory, partial):
            factory = factory.func
        return str(getattr(factory, "__qualname__", type(factory).__qualname__))

    @cached_property
    def needs(self) -> tuple[ResourceParam, ...]:
        """The resources that the factory itself asks for."""
        return declared_resources(self.factory, self.names)


@dataclass(frozen=True, eq=False)
class ResourceConfig:
    """Says in `Annotated[Model, ResourceConfig("file.json")]` where the fields of a model are written.

    The file is read when the resource is first asked for.

    Args:
        config_file: path of a JSON file; a relative one is found from the working directory of now.
        path_selector: dotted path to the part of the file that is meant; default None: all of it.
        label: a name for drawings; default None.
        description: a text for drawings; default None.

    Raises:
        WorkflowValidationError: the file is no `.json` file.
    """

    config_file: str
    path_selector: str | None = None
    label: str | None = None
    description: str | None = None
    path: Path = field(init=False, repr=False)

    def __post_init__(self) -> None:
        path = Path(self.config_file)
        if path.suffix != ".json":
            raise ResourceConfigError(f"ResourceConfig({self.config_file!r}): only .json files can be read.")
        # the working directory may be another one when the file is read
        object.__setattr__(self, "path", path.absolute())

    @property
    def name(self) -> str:
        """The file as it was given, and the selector behind it."""
        return f"{self.config_file}.{self.path_selector}" if self.path_selector else self.config_file


@dataclass(frozen=True, slots=True)
class ResourceParam:
    """A parameter that asks for a resource.

    Args:
        name: the name of the parameter.
        resource: how its value is made.
        type: what it is annotated with.
    """

    name: str
    resource: Resource | ResourceConfig
    type: object = None


def declared_resources(
    func: Callable[..., object], localns: Mapping[str, object] | None = None
) -> tuple[ResourceParam, ...]:
    """Return the parameters that are annotated with a `Resource` or a `ResourceConfig`.

    Args:
        func: a function, method, class or callable object.
        localns: names, besides the globals of the function, that annotations written as text may use.

    Raises:
        WorkflowValidationError: an annotation that may ask for a resource cannot be resolved, or a
            `ResourceConfig` stands beside something else than a pydantic model.
    """
    try:
        parameters = inspect.signature(func).parameters.values()
    except ValueError:  # built-in code may have no signature
        return ()
    found = []
    for parameter in parameters:
        annotation = parameter.annotation
        if isinstance(annotation, str):
            annotation = _evaluate(annotation, parameter.name, func, localns)
        if get_origin(annotation) is not Annotated:
            continue
        kind, *notes = get_args(annotation)
        for note in notes:
            if isinstance(note, Resource):
                resource = replace(note, names=localns) if localns else note
                found.append(ResourceParam(parameter.name, resource, kind))
            elif isinstance(note, ResourceConfig):
                require_model(kind, f"parameter '{parameter.name}' of {place_of(func)}")
                found.append(ResourceParam(parameter.name, note, kind))
    return tuple(found)


def _evaluate(text: str, name: str, func: Callable[..., object], localns: Mapping[str, object] | None) -> object:
    """Evaluate an annotation that is text; None for one that cannot be resolved and asks for no resource."""
    inner = inspect.unwrap(_function_of(func))
    known = _closed_over(inner) if inspect.isfunction(inner) else {}
    try:
        return eval(text, getattr(inner, "__globals__", {}), {**known, **(localns or {})})  # noqa: S307  as typing does
    except Exception as error:  # an annotation is code of the user: it may raise anything
        if "Annotated" not in text and "Resource" not in text:
            return None
        raise WorkflowValidationError(
            f"The annotation of parameter '{name}' of {place_of(func)} cannot be resolved: {text} ({error}). "
            "Define or import its names at the top of the module: not in a function, not under TYPE_CHECKING."
        ) from error


def _closed_over(func: FunctionType) -> dict[str, object]:
    """Return the variables of surrounding functions that a function uses, as far as they have a value yet."""
    found: dict[str, object] = {}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        with suppress(ValueError):  # it gets one later
            found[name] = cell.cell_contents
    return found


def _function_of(func: Callable[..., object]) -> Callable[..., object]:
    """Return what carries the globals that the annotations of a callable are written with."""
    while isinstance(func, partial):
        func = func.func
    if inspect.isroutine(func):
        return func
    # of a class its own __init__ is meant, of any other object the __call__ of its class
    name, owner = ("__init__", func) if isinstance(func, type) else ("__call__", type(func))
    found: Callable[..., object] = getattr(owner, name)
    return found


def place_of(func: Callable[..., object]) -> str:
    """Return module, qualified name, file and line of a callable, as far as there are such."""
    inner = inspect.unwrap(_function_of(func))
    name = f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
    code = getattr(inner, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name


def require_model(kind: object, where: str) -> type[BaseModel]:
    """Return `kind`, if it is a pydantic model; complain about the annotation of `where` else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    raise WorkflowValidationError(
        f"ResourceConfig makes pydantic models, but {where} is annotated with {kind!r}. "
        "Write Annotated[Model, ResourceConfig(...)], with a subclass of pydantic.BaseModel."
    )


def load_config(config: ResourceConfig, kind: type[BaseModel]) -> BaseModel:
    """Read the file of a `ResourceConfig` into a model.

    Args:
        config: the file and the part of it.
        kind: the class of the model.

    Raises:
        FileNotFoundError: there is no such file.
        WorkflowValidationError: it holds no JSON, or nothing under the selector.
        pydantic.ValidationError: what it holds does not fit the model.
    """
    try:
        data: object = json.loads(config.path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResourceConfigError(f"{config.path} is no JSON file: {error}.") from error
    keys = config.path_selector.split(".") if config.path_selector else []
    for number, key in enumerate(keys, start=1):
        if not isinstance(data, dict) or key not in data:
            here = ".".join(keys[:number])
            raise ResourceConfigError(
                f"{config.path} has nothing under '{here}', through which path_selector "
                f"'{config.path_selector}' leads. Add it to the file, or correct the selector."
            )
        data = data[key]
    return kind.model_validate(data)
