"""A workflow made ready to run: its plan for the core, and for each step the call that executes it.

Built once for a workflow instance, so that nothing is inspected while it runs. The only thing that grows later is
the table of event types, when a run meets one that no signature names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

from otflow.context.class_names import find_class
from otflow.context.context import Context
from otflow.core.plan import Plan, Route, StepPlan
from otflow.errors import ContextSerdeError, WorkflowRuntimeError
from otflow.events import Event, InputRequiredEvent, StopEvent, read_event
from otflow.graph import WorkflowGraph, resolve
from otflow.records.body import Body
from otflow.resource import ResourceManager
from otflow.runtime.attempt import call_in_thread
from otflow.service import ServiceManager
from otflow.signature import StepConfig, type_key

__all__ = ["Blueprint", "Injector", "StepCall", "make_call"]


class Injector(Protocol):
    """Where the things come from that steps ask for by parameter."""

    @property
    def resources(self) -> ResourceManager:
        """The resources of the workflow."""

    @property
    def services(self) -> ServiceManager:
        """The services of the workflow."""


StepCall: TypeAlias = Callable[[Event, "Context[Any]"], Coroutine[object, object, object]]
"""Makes the coroutine of one attempt; nothing of the step has run yet."""


def make_call(config: StepConfig, function: Callable[..., object], injector: Injector) -> StepCall:
    """Decide once how a step is called, so that nothing has to be decided when it is.

    Args:
        config: what its signature says.
        function: the function, bound to its workflow if it is a method.
        injector: where its resources and services come from.
    """
    if not config.is_async or config.resources or config.services:
        return partial(_call_with_injection, config, function, injector)
    step = cast("Callable[..., Coroutine[object, object, object]]", function)
    event_param, context_param = config.event_param, config.context_param
    parameters = inspect.signature(function).parameters.values()
    order = [it.name for it in parameters if it.kind is not it.KEYWORD_ONLY]
    # by position where possible: a dict of keywords costs as much as the call
    if context_param is None:
        if order[:1] == [event_param]:
            return lambda event, _: step(event)
        return lambda event, _: step(**{event_param: event})
    if order[:2] == [context_param, event_param]:
        return lambda event, context: step(context, event)
    return lambda event, context: step(**{event_param: event, context_param: context})


async def _call_with_injection(
    config: StepConfig, function: Callable[..., object], injector: Injector, event: Event, context: Context[Any]
) -> object:
    arguments: dict[str, object] = {config.event_param: event}
    if config.context_param is not None:
        arguments[config.context_param] = context
    for param in config.resources:
        arguments[param.name] = await injector.resources.resolve(param, config.name)
    for service in config.services:
        if service.required or injector.services.find(service.name) is not None:
            arguments[service.name] = injector.services.get(service.name)
    if not config.is_async:
        return await call_in_thread(function, arguments)
    return await cast("Coroutine[object, object, object]", function(**arguments))


class Blueprint:
    """A workflow, ready to run.

    Args:
        graph: its steps and events.
        functions: the function of each step, bound where it is a method.
        injector: where resources and services come from.
    """

    def __init__(
        self, graph: WorkflowGraph, functions: Mapping[str, Callable[..., object]], injector: Injector
    ) -> None:
        self.graph = graph
        self.calls = {name: make_call(config, functions[name], injector) for name, config in graph.steps.items()}
        self.keys: dict[type, str] = {}
        self._types: dict[str, type[Event]] = {}
        self.plan = _make_plan(graph)
        for kind in self._declared():
            self.learn(kind)

    def key(self, kind: type[Event]) -> str:
        """Return the type key of an event class; an unknown class gets its route on the way."""
        key = self.keys.get(kind)
        return key if key is not None else self.learn(kind)

    def learn(self, kind: type[Event]) -> str:
        """Add an event class to the table."""
        key = type_key(kind)
        self.keys[kind] = key
        self._types[key] = kind
        self.plan.routes[key] = Route(
            tuple(resolve(self.graph, kind)), issubclass(kind, StopEvent), issubclass(kind, InputRequiredEvent)
        )
        return key

    def revive(self, key: str, body: Body) -> Event:
        """Make the live event of a body that was read from data.

        Raises:
            WorkflowRuntimeError: the class is unknown here, or the body was recorded as opaque.
        """
        if isinstance(body.live, Event):
            return body.live
        name = self.graph.name
        kind = self._types.get(key) or self._find(key)
        if body.opaque:
            raise WorkflowRuntimeError(
                f"Saved data of workflow '{name}' holds an event of the type {key} with a part that could not be "
                f"serialised: {body!r}. Make that field serialisable, or start a new run."
            )
        body.live = event = read_event(kind, body.whole)
        return event

    def find(self, key: str) -> type[Event] | None:
        """Return the event class of a type key; None if it cannot be found."""
        try:
            return self._types.get(key) or self._find(key)
        except WorkflowRuntimeError:
            return None

    def _find(self, key: str) -> type[Event]:
        """Find an event class that no signature names, such as those of a stream."""
        fault = (
            f"Saved data of workflow '{self.graph.name}' holds an event of the type {key}, which no step of it names"
        )
        try:
            kind = find_class(key.replace(":", "."))
        except ContextSerdeError as error:
            raise WorkflowRuntimeError(f"{fault}, and which cannot be found: {error}") from error
        if not issubclass(kind, Event):
            raise WorkflowRuntimeError(f"{fault}, and which is no event. Was the class renamed? Start a new run.")
        self.key(kind)
        return kind

    def _declared(self) -> Iterable[type[Event]]:
        for config in self.graph.steps.values():
            yield from config.accepts
            yield from config.returns


def _make_plan(graph: WorkflowGraph) -> Plan:
    produced: dict[str, tuple[str, ...]] = {}
    for config in graph.steps.values():
        for kind in config.returns:
            produced[type_key(kind)] = (*produced.get(type_key(kind), ()), config.name)
    steps: dict[str, StepPlan] = {}
    for name, config in graph.steps.items():
        catcher = graph.handlers.get(name, "")
        catches = graph.steps[catcher].catches if catcher else None
        limit = catches.max_recoveries if catches is not None else 1
        steps[name] = StepPlan(name, config.num_workers, catcher, limit)
    external = frozenset(type_key(kind) for kind in graph.external)
    return Plan(graph.name, graph.digest, steps, {}, external, produced)
