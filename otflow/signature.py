"""Signatures: what a step takes, gives and asks for, read from its annotations into a frozen record.

This room knows events and the declarations of resources, and all faults that a signature can have. It must
never know workflows, runs or contexts, and it never calls a function of the user.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Never, NoReturn, get_args, get_origin

from otflow.annotations import (
    NOTHING,
    AnyFunction,
    function_of,
    is_async,
    list_parameters,
    name_of,
    place_of,
    read_context,
    read_events,
    resolve_hints,
    show,
    union_members,
)
from otflow.errors import WorkflowValidationError
from otflow.events import Event, StepFailedEvent
from otflow.resource_declaration import ResourceParam, declared_resources
from otflow.retry_policy import RetryPolicy

__all__ = [
    "STEP_CHECKS",
    "Catch",
    "ServiceParam",
    "StepConfig",
    "UnresolvedAnnotationError",
    "read_step",
    "type_key",
]

STEP_CHECKS = frozenset({"reachability", "dead_end"})
"""The checks of the graph that a single step can be exempt from."""


class UnresolvedAnnotationError(WorkflowValidationError):
    """A name in an annotation is not known yet; reading the step later may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParam:
    """A parameter that is neither event, context nor resource: a service of the workflow, by name."""

    name: str
    annotation: object
    default: object
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """What a `@catch_error` handler covers.

    Args:
        for_steps: names of steps; None covers every step that no other handler names.
        max_recoveries: how often it may run in one line of descent of events before the run fails.
    """

    for_steps: tuple[str, ...] | None
    max_recoveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """Everything that the signature and the decorator of one step say.

    Args:
        name: the name of the step: that of its function.
        event_param: the parameter that takes the event.
        accepts: the event types that it is annotated with.
        returns: the event types of the return annotation, without None and out of their lists.
        returns_none: whether the step may end without an event.
        returns_list: whether the step may return a list of events.
        context_param: the parameter that takes the context, if there is one.
        state_type: `State` of a parameter annotated `Context[State]`.
        resources: the parameters that take a resource.
        services: all other parameters.
        num_workers: how many invocations of the step run at once in one run; default 4.
        retry_policy: what decides about another attempt; default None: no second attempt.
        is_async: whether a call gives a coroutine.
        accept_event_subclasses: whether subclasses of `accepts` are accepted too; default False.
        skip_graph_checks: the checks of the graph that leave this step out.
        catches: what the step recovers, if it is a `@catch_error` handler.
    """

    name: str
    event_param: str
    accepts: tuple[type[Event], ...]
    returns: tuple[type[Event], ...]
    returns_none: bool = False
    returns_list: bool = False
    context_param: str | None = None
    state_type: type | None = None
    resources: tuple[ResourceParam, ...] = ()
    services: tuple[ServiceParam, ...] = ()
    num_workers: int = 4
    retry_policy: RetryPolicy | None = None
    is_async: bool = True
    accept_event_subclasses: bool = False
    skip_graph_checks: frozenset[str] = frozenset()
    catches: Catch | None = None


@dataclass(frozen=True, slots=True)
class _Fault:
    message: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """The parameters of a step, sorted by what they ask for."""

    events: tuple[tuple[str, tuple[type[Event], ...]], ...]
    contexts: tuple[tuple[str, type | None], ...]
    resources: tuple[ResourceParam, ...]
    services: tuple[ServiceParam, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outputs:
    """The return annotation of a step, taken apart."""

    events: tuple[type[Event], ...]
    none: bool
    many: bool
    strays: tuple[object, ...]


def type_key(event_type: type) -> str:
    """Return the name under which records and routes know an event class: `module:qualified name`."""
    return f"{event_type.__module__}:{event_type.__qualname__}"


def read_step(
    func: AnyFunction,
    *,
    num_workers: int = 4,
    retry_policy: RetryPolicy | None = None,
    accept_event_subclasses: bool = False,
    skip_graph_checks: Iterable[str] = (),
    catches: Catch | None = None,
    localns: Mapping[str, object] | None = None,
) -> StepConfig:
    """Read a step function.

    Args:
        func: a function, method, static method, partial or callable object.
        num_workers: as in `StepConfig`; an integer above 0.
        retry_policy: as in `StepConfig`; an object with a `next` method.
        accept_event_subclasses: as in `StepConfig`.
        skip_graph_checks: names out of `STEP_CHECKS`.
        catches: as in `StepConfig`.
        localns: names that annotations may use besides the globals of the function.

    Raises:
        UnresolvedAnnotationError: an annotation names what cannot be found (yet).
        WorkflowValidationError: anything else is wrong; the message lists every fault.
    """
    checks = frozenset((skip_graph_checks,) if isinstance(skip_graph_checks, str) else skip_graph_checks)
    faults = [*_check_workers(num_workers), *_check_retries(retry_policy), *_check_skips(checks)]
    hints = _resolve_hints(func, localns, faults)
    parameters = list_parameters(func)
    inputs = _read_inputs(parameters, hints, _read_resources(func, localns))
    outputs = _read_outputs(hints["return"]) if "return" in hints else None
    faults += [
        *_check_events(inputs, parameters, hints),
        *_check_contexts(inputs),
        *_check_kinds(parameters),
        *_check_catch(name_of(func), inputs, catches),
        *_check_outputs(func, outputs),
    ]
    if faults or outputs is None:
        raise WorkflowValidationError(_report(faults, func))
    event_param, accepts = inputs.events[0]
    context_param, state_type = inputs.contexts[0] if inputs.contexts else (None, None)
    return StepConfig(
        name=name_of(func),
        event_param=event_param,
        accepts=accepts,
        returns=outputs.events,
        returns_none=outputs.none,
        returns_list=outputs.many,
        context_param=context_param,
        state_type=state_type,
        resources=inputs.resources,
        services=inputs.services,
        num_workers=num_workers,
        retry_policy=retry_policy,
        is_async=is_async(func),
        accept_event_subclasses=accept_event_subclasses,
        skip_graph_checks=checks,
        catches=catches,
    )


def _report(faults: Iterable[_Fault], func: object) -> str:
    lines = [f"{fault.message}\n    {fault.advice}" for fault in faults]
    return "\n".join([*lines, f"(in {place_of(func)})"])


def _resolve_hints(
    func: AnyFunction, localns: Mapping[str, object] | None, faults: Iterable[_Fault]
) -> dict[str, object]:
    """Evaluate the annotations; a failure is reported together with the faults that are known by now."""
    try:
        return resolve_hints(func, localns)
    except Exception as error:  # annotations are code of the user: whatever they raise is the fault
        name = getattr(function_of(func), "__qualname__", name_of(func))
        missing = f" Missing name: {error.name}." if isinstance(error, NameError) and error.name else ""
        message = f"Failed to resolve type annotations for {name}.{missing}"
        advice = (
            "If you are using 'from __future__ import annotations' or string annotations, ensure referenced "
            "names are available in module scope or in the scope where the @step decorator is applied; a name"
            f" imported under TYPE_CHECKING is not. ({type(error).__name__}: {error})"
        )
        known = list(faults)
        # what is not there yet may come: a class below, or the rest of a module that is being imported
        may_come = isinstance(error, (NameError, AttributeError)) and not known
        kind = UnresolvedAnnotationError if may_come else WorkflowValidationError
        raise kind(_report([*known, _Fault(message, advice)], func)) from error


def _read_resources(func: AnyFunction, localns: Mapping[str, object] | None) -> dict[str, ResourceParam]:
    callee = func.__func__ if isinstance(func, (staticmethod, classmethod)) else func
    return {resource.name: resource for resource in declared_resources(callee, localns)}


def _read_inputs(
    parameters: Iterable[inspect.Parameter],
    hints: Mapping[str, object],
    resources: Mapping[str, ResourceParam],
) -> _Inputs:
    events: list[tuple[str, tuple[type[Event], ...]]] = []
    contexts: list[tuple[str, type | None]] = []
    services: list[ServiceParam] = []
    for parameter in parameters:
        name = parameter.name
        annotation = hints.get(name, NOTHING)
        if name in resources:
            continue
        if context := read_context(annotation):
            contexts.append((name, context[0]))
        elif accepted := read_events(annotation):
            events.append((name, accepted))
        else:
            required = parameter.default is NOTHING
            default = None if required else parameter.default
            service = ServiceParam(name=name, annotation=annotation, default=default, required=required)
            services.append(service)
    return _Inputs(
        events=tuple(events),
        contexts=tuple(contexts),
        resources=tuple(resources.values()),
        services=tuple(services),
    )


# --- the return annotation -----------------------------------------------------------------------------


def _read_outputs(annotation: object) -> _Outputs:
    events: dict[type[Event], None] = {}
    none = many = False
    strays: list[object] = []
    for member in union_members(annotation):
        if isinstance(member, type) and issubclass(member, Event):
            events[member] = None
        elif member is NoneType or member is Never or member is NoReturn:
            none = True
        elif get_origin(member) is list:
            inner = _read_outputs(next(iter(get_args(member)), object))
            many = True
            events.update(dict.fromkeys(inner.events))
            strays.extend([*inner.strays, *([None] if inner.none else []), *([member] if inner.many else [])])
        else:
            strays.append(member)
    return _Outputs(events=tuple(events), none=none, many=many, strays=tuple(strays))


# --- faults --------------------------------------------------------------------------------------------


def _check_workers(num_workers: object) -> Iterator[_Fault]:
    # True is an int to Python, and never what was meant
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 1:
        advice = f"It is {num_workers!r}; write for example `@step(num_workers=4)`."
        yield _Fault("num_workers must be an integer greater than 0", advice)


def _check_retries(policy: object) -> Iterator[_Fault]:
    if isinstance(policy, type):
        advice = f"Write `retry_policy={policy.__name__}(...)`."
        yield _Fault(f"retry_policy must be a policy, but it is the class {policy.__name__}", advice)
    elif policy is not None and not callable(getattr(policy, "next", None)):
        advice = "A policy has `next(elapsed_time, attempts, error)` that returns seconds, or None to stop."
        yield _Fault(f"retry_policy must have a method `next`, but {type(policy).__name__} has none", advice)


def _check_skips(names: frozenset[str]) -> Iterator[_Fault]:
    if unknown := names - STEP_CHECKS:
        message = f"Unknown step-level graph check names: {', '.join(sorted(map(str, unknown)))}."
        valid = f"Valid names are: {', '.join(sorted(STEP_CHECKS))}"
        yield _Fault(f"{message} {valid}", "Write for example `@step(skip_graph_checks=['dead_end'])`.")


def _check_events(
    inputs: _Inputs, parameters: Iterable[inspect.Parameter], hints: Mapping[str, object]
) -> Iterator[_Fault]:
    if not inputs.events:
        wrong = [f"`{it.name}` is annotated with {show(hints.get(it.name, NOTHING))}" for it in parameters]
        found = f"{'; '.join(wrong)}; in a union each member has to be an event. " if wrong else ""
        advice = f"{found}Write for example `async def name(self, ev: StartEvent) -> StopEvent`."
        yield _Fault("Step signature must have at least one parameter annotated as type Event", advice)
    if (count := len(inputs.events)) > 1:
        names = ", ".join(f"`{name}`" for name, _ in inputs.events)
        advice = (
            f"These are {names}. To take any of several events write `ev: A | B`; "
            "to wait for all of them, gather them with `ctx.collect_events(ev, [A, B])`."
        )
        message = f"Step signature must contain exactly one parameter of type Event but found {count}."
        yield _Fault(message, advice)


def _check_contexts(inputs: _Inputs) -> Iterator[_Fault]:
    if len(inputs.contexts) > 1:
        names = ", ".join(f"`{name}`" for name, _ in inputs.contexts)
        message = "Step signature must contain at most one parameter of type Context"
        yield _Fault(message, f"Keep one of {names}.")


def _check_kinds(parameters: Iterable[inspect.Parameter]) -> Iterator[_Fault]:
    if names := [f"`{it.name}`" for it in parameters if it.kind is inspect.Parameter.POSITIONAL_ONLY]:
        advice = "Remove the `/` behind them: a step gets its arguments by name."
        yield _Fault(f"Step parameters must not be positional-only: {', '.join(names)}", advice)


def _check_catch(name: str, inputs: _Inputs, catches: Catch | None) -> Iterator[_Fault]:
    if catches is not None and len(inputs.events) == 1 and inputs.events[0][1] != (StepFailedEvent,):
        message = f"@catch_error handler '{name}' must accept StepFailedEvent as its event parameter."
        yield _Fault(message, f"Write `async def {name}(self, ev: StepFailedEvent) -> StopEvent`.")


def _check_outputs(func: AnyFunction, outputs: _Outputs | None) -> Iterator[_Fault]:
    inner = function_of(func)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        advice = "Return one event or a list of events; or send the others with `ctx.send_event(ev)`."
        yield _Fault("Step functions must return their events, not yield them", advice)
    elif outputs is None:
        advice = "Write `-> StopEvent`, `-> A | B`, or `-> None` for a step that gives no event."
        message = "Return types of workflows step functions must be annotated with their type."
        yield _Fault(message, advice)
    elif outputs.strays:
        found = ", ".join(show(stray) for stray in outputs.strays)
        advice = f"Found {found}. Put it into an event: `-> StopEvent` and `return StopEvent(result=...)`."
        yield _Fault("Return types of step functions must be events, lists of events or None", advice)
