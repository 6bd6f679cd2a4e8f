"""Annotations: the function inside a callable, and what its annotations say, resolved and taken apart.

This room knows events. It must never know what a step is made of them, nor workflows, runs or contexts (the
class of a context is recognised by a mark on it), and it never calls a function of the user.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, NoneType, UnionType
from typing import Annotated, TypeAlias, Union, get_args, get_origin, get_type_hints

from otflow.events import Event

__all__ = [
    "CONTEXT_MARK",
    "NOTHING",
    "AnyFunction",
    "function_of",
    "is_async",
    "is_free_function",
    "list_parameters",
    "name_of",
    "place_of",
    "read_context",
    "read_events",
    "resolve_hints",
    "show",
    "source_of",
    "union_members",
]

AnyFunction: TypeAlias = Callable[..., object]

CONTEXT_MARK = "__otflow_context__"
"""The attribute by which a class says that its instances are contexts of a run."""

NOTHING = inspect.Parameter.empty
"""What stands for a missing annotation or default."""

_INSTANCE = {"self", "cls"}
_PACKED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def function_of(func: object) -> object:
    """Return what carries annotations and code inside partials, static methods, methods, callable objects."""
    while True:
        if isinstance(func, partial):
            func = func.func
        elif isinstance(func, (staticmethod, classmethod, MethodType)):
            func = func.__func__
        elif isinstance(func, FunctionType) or hasattr(func, "__wrapped__"):
            return func
        else:
            call = _call_of(func)
            if not isinstance(call, FunctionType):
                return func
            func = call


def source_of(func: object) -> FunctionType | None:
    """Return the function whose source has the annotations, under all that is wrapped around it."""
    inner = function_of(func)
    source = inspect.unwrap(inner) if callable(inner) else inner
    return source if isinstance(source, FunctionType) else None


def is_async(func: object) -> bool:
    """Say whether a call of `func` gives a coroutine, as far as can be seen from outside."""
    inner = function_of(func)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(_call_of(inner))


def _call_of(func: object) -> object:
    return getattr(type(func), "__call__", None)  # noqa: B004 - the function itself is wanted


def name_of(func: object) -> str:
    """Return the name that a step made of `func` has."""
    while isinstance(func, partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__))


def place_of(func: object) -> str:
    """Return the qualified name of `func`, with file and line where there are such."""
    name = str(getattr(function_of(func), "__qualname__", name_of(func)))
    source = source_of(func)
    return name if source is None else f"{name}, {source.__code__.co_filename}:{source.__code__.co_firstlineno}"


def is_free_function(qualname: str) -> bool:
    """Say whether a qualified name is that of a function outside of a class body.

    Args:
        qualname: as in `function.__qualname__`.

    Raises:
        ValueError: `qualname` is empty.
    """
    if not qualname:
        raise ValueError("The qualified name cannot be empty")
    scope, _, _ = qualname.rpartition(".")
    return not scope or scope.endswith("<locals>")


def list_parameters(func: AnyFunction) -> tuple[inspect.Parameter, ...]:
    """List the parameters that the caller of `func` gives by name: not `self`, `*` or `**`."""
    callee = func.__func__ if isinstance(func, (staticmethod, classmethod)) else func
    parameters = list(inspect.signature(callee).parameters.values())
    if parameters and parameters[0].annotation is NOTHING and isinstance(callee, FunctionType):
        # a method may call its instance as it likes; that of a static method has an annotation
        parameters = parameters[not is_free_function(callee.__qualname__) :]
    parameters = [parameter for parameter in parameters if parameter.name not in _INSTANCE]
    return tuple(parameter for parameter in parameters if parameter.kind not in _PACKED)


def resolve_hints(func: object, localns: Mapping[str, object] | None) -> dict[str, object]:
    """Evaluate the annotations of `func`; whatever an annotation raises goes through.

    Args:
        func: any callable.
        localns: names that go before the globals of the function.
    """
    return get_type_hints(function_of(func), localns=dict(localns or {}), include_extras=True)


def union_members(annotation: object) -> Iterator[object]:
    """Give the members of a union in order, through aliases and `Annotated`; a lone type is one member."""
    if hasattr(annotation, "__value__"):  # `type Name = ...`, from Python 3.12 on
        yield from union_members(annotation.__value__)
    elif get_origin(annotation) is Annotated:
        yield from union_members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from union_members(member)
    else:
        yield annotation


def read_events(annotation: object) -> tuple[type[Event], ...]:
    """Return the event types of an annotation without None; nothing at all if a member is something else."""
    members = [member for member in union_members(annotation) if member is not NoneType]
    events = [member for member in members if isinstance(member, type) and issubclass(member, Event)]
    return tuple(dict.fromkeys(events)) if len(events) == len(members) else ()


def read_context(annotation: object) -> tuple[type | None] | None:
    """Return `(State,)` for `Context[State]`, `(None,)` for `Context`, and None for what is no context."""
    members = [member for member in union_members(annotation) if member is not NoneType]
    if len(members) != 1 or not getattr(get_origin(members[0]) or members[0], CONTEXT_MARK, False):
        return None
    state = next(iter(get_args(members[0])), None)
    return (state if isinstance(state, type) else None,)


def show(annotation: object) -> str:
    """Return an annotation as a reader would write it."""
    if annotation is NOTHING:
        return "nothing"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
