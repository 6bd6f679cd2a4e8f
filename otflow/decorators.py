"""Decorators: `@step` and `@catch_error` mark a function as a step and say how it is to be run.

This room knows signatures and where a decorator was written, so that names of that place can be found in
annotations. Of workflows it knows only that steps can be added to them; of runs it knows nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import CellType, FrameType, MethodType
from typing import Protocol, TypeVar, overload

from otflow.annotations import AnyFunction, is_free_function, name_of, place_of, source_of
from otflow.errors import WorkflowValidationError
from otflow.retry_policy import RetryPolicy
from otflow.signature import Catch, StepConfig, UnresolvedAnnotationError, read_step

__all__ = ["StepDeclaration", "TakesSteps", "catch_error", "is_step", "step", "step_config"]

F = TypeVar("F", bound=AnyFunction)

_MARK = "__otflow_step__"
_ALIAS = "_step_config"  # the name under which tools made for the followed API look for it


class TakesSteps(Protocol):
    """A workflow class, or an instance of one."""

    def add_step(self, func: AnyFunction, /) -> object:
        """Add a function that `@step` has marked."""
        ...


class StepDeclaration:
    """The mark on a step function: its config, read as soon as the names in its annotations exist.

    Args:
        read: reads the config; raises UnresolvedAnnotationError while a name is missing.
    """

    __slots__ = ("_config", "_read")

    def __init__(self, read: Callable[[], StepConfig]) -> None:
        self._read: Callable[[], StepConfig] | None = read
        self._config: StepConfig | None = None

    def config(self) -> StepConfig:
        """Return the config of the step.

        Raises:
            UnresolvedAnnotationError: a name in an annotation still does not exist.
            WorkflowValidationError: the signature is wrong in another way.
        """
        if self._config is None:
            assert self._read is not None
            self._config = self._read()
            self._read = None  # it holds frames, and with them every local name of the places around the step
        return self._config


@overload
def step(func: F, /) -> F: ...


@overload
def step(
    *,
    workflow: TakesSteps | None = None,
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Iterable[str] | None = None,
    accept_event_subclasses: bool = False,
) -> Callable[[F], F]: ...


def step(
    func: F | None = None,
    /,
    *,
    workflow: TakesSteps | None = None,
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Iterable[str] | None = None,
    accept_event_subclasses: bool = False,
) -> F | Callable[[F], F]:
    """Mark a method or a free function as a step of a workflow.

    The annotations of the function say what it takes and gives. A sync function is run in a thread.

    Args:
        func: the function, when used without parentheses.
        workflow: for a free function: the workflow class to add it to, or a single instance.
        num_workers: how many invocations of the step may run at once in one run; default 4.
        retry_policy: decides about another attempt after a failure; default None: there is none.
        skip_graph_checks: checks of the graph that leave this step out: "reachability", "dead_end".
        accept_event_subclasses: also accept events of subclasses of the annotated types; default False.

    Raises:
        WorkflowValidationError: the signature or an argument is wrong, or a free function has no workflow.

    Example:
        >>> from otflow.events import StartEvent, StopEvent
        >>> class Greeter:  # a Workflow
        ...     @step
        ...     async def greet(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent(result=f"Hello, {ev.name}")
        >>> step_config(Greeter.greet).accepts
        (<class 'otflow.events.StartEvent'>,)
    """

    def decorate(func: F, caller: FrameType | None) -> F:
        _require_function(func, "step")
        read = partial(
            read_step,
            func,
            num_workers=num_workers,
            retry_policy=retry_policy,
            skip_graph_checks=() if skip_graph_checks is None else skip_graph_checks,
            accept_event_subclasses=accept_event_subclasses,
        )
        _mark(func, read, caller)
        if _is_free(func):
            _require_workflow(func, workflow).add_step(func)
        return func

    return _apply(decorate, func, inspect.currentframe())


@overload
def catch_error(func: F, /) -> F: ...


@overload
def catch_error(*, for_steps: list[str] | None = None, max_recoveries: int = 1) -> Callable[[F], F]: ...


def catch_error(
    func: F | None = None,
    /,
    *,
    for_steps: list[str] | None = None,
    max_recoveries: int = 1,
) -> F | Callable[[F], F]:
    """Mark a method as the handler of steps that have failed and have no attempts left.

    It takes a StepFailedEvent, and what it returns goes on in place of what the step would have returned. A
    handler that names a step goes before the one handler without names. An error in a handler fails the run.

    Args:
        func: the method, when used without parentheses.
        for_steps: names of the steps that it covers; default None: all that no other handler names.
        max_recoveries: how often it may run in one line of descent of events before the run fails; default 1.

    Raises:
        WorkflowValidationError: the signature or an argument is wrong.
    """
    # True is an int to Python, and never what was meant
    if isinstance(max_recoveries, bool) or not isinstance(max_recoveries, int) or max_recoveries < 1:
        raise WorkflowValidationError(
            f"@catch_error max_recoveries must be an integer >= 1\n    It is {max_recoveries!r}."
        )
    if for_steps is not None and not _is_list_of_names(for_steps):
        raise WorkflowValidationError(
            "@catch_error for_steps must be None or a list of step name strings\n"
            f"    It is {for_steps!r}; write for example `for_steps=['fetch']`."
        )
    covered = None if for_steps is None else tuple(dict.fromkeys(for_steps))
    catches = Catch(for_steps=covered, max_recoveries=max_recoveries)

    def decorate(func: F, caller: FrameType | None) -> F:
        _require_function(func, "catch_error")
        _mark(func, partial(read_step, func, num_workers=1, catches=catches), caller)
        return func

    return _apply(decorate, func, inspect.currentframe())


def step_config(func: object) -> StepConfig | None:
    """Return what `@step` or `@catch_error` has noted on a function, None if neither has marked it.

    Args:
        func: a function, or a bound method.

    Raises:
        WorkflowValidationError: a name in its annotations does not exist, or the signature is wrong.
    """
    declaration = _declaration_of(func)
    return None if declaration is None else declaration.config()


def is_step(func: object) -> bool:
    """Say whether `@step` or `@catch_error` has marked a function, without reading its annotations.

    Args:
        func: a function, or a bound method.
    """
    return _declaration_of(func) is not None


def _declaration_of(func: object) -> StepDeclaration | None:
    inner = func.__func__ if isinstance(func, (staticmethod, classmethod)) else func
    declaration = getattr(inner, _MARK, None)
    return declaration if isinstance(declaration, StepDeclaration) else None


# --- applying a decorator ------------------------------------------------------------------------------


def _apply(
    decorate: Callable[[F, FrameType | None], F], func: F | None, frame: FrameType | None
) -> F | Callable[[F], F]:
    """Decorate `func` now, or return the decorator; either way find out who wrote it."""
    if func is not None:
        return decorate(func, frame.f_back if frame else None)

    def apply(func: F) -> F:
        here = inspect.currentframe()
        return decorate(func, here.f_back if here else None)

    return apply


def _require_function(func: object, decorator: str) -> None:
    if not callable(func) or isinstance(func, type) or inspect.isbuiltin(func):
        example = "@step(workflow=MyWorkflow)" if decorator == "step" else "@catch_error(max_recoveries=2)"
        raise WorkflowValidationError(
            f"@{decorator} expects a function, but got {func!r}.\n"
            f"    Give other arguments by keyword, for example `{example}`."
        )


def _is_free(func: object) -> bool:
    """Say whether `func` becomes no method of a class by itself."""
    return isinstance(func, MethodType) or is_free_function(getattr(func, "__qualname__", name_of(func)))


def _require_workflow(func: object, workflow: TakesSteps | None) -> TakesSteps:
    if workflow is None:
        raise WorkflowValidationError(
            f"To decorate {name_of(func)} please pass a workflow class to the @step decorator.\n"
            "    Write `@step(workflow=MyWorkflow)`, or make it a method of a workflow class.\n"
            f"(in {place_of(func)})"
        )
    return workflow


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _mark(func: AnyFunction, read: Callable[..., StepConfig], caller: FrameType | None) -> None:
    """Put the declaration on `func`, and read it at once unless a name is missing yet."""
    scopes = tuple(_enclosing_scopes(func, caller))

    def read_here() -> StepConfig:
        config = read(localns=_names_around(func, scopes, caller))
        _note(func, _ALIAS, config)
        return config

    declaration = StepDeclaration(read_here)
    _note(func, _MARK, declaration)
    try:
        declaration.config()
    except UnresolvedAnnotationError:
        return  # it may come: asked for again when the workflow is made


def _note(func: object, name: str, value: object) -> None:
    """Set an attribute on `func`, and on the function that a static method gives to its class."""
    targets = [func, func.__func__] if isinstance(func, (staticmethod, classmethod)) else [func]
    for target in targets:
        try:
            setattr(target, name, value)
        except (AttributeError, TypeError) as error:
            bound = getattr(target, "__func__", None)
            if bound is None:
                raise WorkflowValidationError(
                    f"{name_of(func)} cannot be a step: a {type(func).__name__} takes no mark. "
                    "Write a function that calls it, and decorate that function."
                ) from error
            setattr(bound, name, value)


# --- names for annotations -----------------------------------------------------------------------------


def _enclosing_scopes(func: AnyFunction, caller: FrameType | None) -> Iterator[FrameType]:
    """Give the frames of the functions and class bodies around `func` that are running, innermost first.

    They are told from other callers by their qualified names: a caller's local names are not visible in an
    annotation, however near its frame is.
    """
    source = source_of(func)
    if source is None:
        return
    parts = source.__qualname__.split(".")
    open_scopes = {".".join(parts[:end]) for end in range(1, len(parts)) if parts[end - 1] != "<locals>"}
    frame = caller
    while frame is not None and open_scopes:
        scope = frame.f_code.co_qualname
        if scope in open_scopes and frame.f_globals is source.__globals__:
            open_scopes.discard(scope)
            yield frame
        frame = frame.f_back


def _names_around(func: AnyFunction, scopes: Iterable[FrameType], caller: FrameType | None) -> dict[str, object]:
    """Collect the local names that an annotation of `func` may use, inner scopes before outer ones."""
    names: dict[str, object] = {}
    source = source_of(func)
    if source is not None:
        # of one who decorates a function made elsewhere: only what would else be missing
        if caller is not None and caller.f_code.co_name != "<module>":
            names.update({key: it for key, it in caller.f_locals.items() if key not in source.__globals__})
        for name, cell in zip(source.__code__.co_freevars, source.__closure__ or (), strict=True):
            if cell != CellType():  # an empty cell is a name without a value yet
                names[name] = cell.cell_contents
    for frame in reversed(list(scopes)):
        names.update(frame.f_locals)
    return names
