"""Workflow: a class with steps, and the place where runs begin.

It collects steps, validates them, and starts runs; what a run then does is not its concern.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from otflow import telemetry
from otflow.context.context import Context
from otflow.context.state_store import DictState
from otflow.decorators import step_config
from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.errors import (
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)
from otflow.events import Event, StartEvent, StopEvent
from otflow.graph import WorkflowGraph, build_graph, read_checks, validate_graph
from otflow.handler import WorkflowHandler
from otflow.launch import Launch, Slots, prepare
from otflow.replay.nursery import find_nursery
from otflow.replay.resumption import JournalPlace, resume
from otflow.resource import ResourceManager
from otflow.resource_check import check_config_files, check_factories
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.checkpoints import CheckpointCallback
from otflow.runtime.clock import Clock
from otflow.service import ServiceManager
from otflow.signature import StepConfig
from otflow.steps import AddStep, StepFunctions, list_functions

__all__ = ["Workflow"]

_log = logging.getLogger("otflow")


class SavedPosition(Protocol):
    """What `run_from` needs of a checkpoint."""

    @property
    def ctx_state(self) -> dict[str, Any]:
        """The saved context."""


class _Injection(NamedTuple):
    resources: ResourceManager
    services: ServiceManager


class Workflow:
    """The base of all workflows: subclass it and mark methods with `@step`.

    Args:
        timeout: seconds after which a run ends with `WorkflowTimeoutError`; default 45; None for no limit.
        disable_validation: whether the graph of steps and events goes unchecked; default False.
        verbose: whether each step prints a line when it starts and when it returns; default False.
        service_manager: the services of nested workflows; default an empty one. See `add_workflows`.
        resource_manager: where resources are kept; default a new one.
        num_concurrent_runs: how many runs of this instance go on at once; more wait. Default None: no limit.
        workflow_name: its name in traces; default the name of the class.
        skip_graph_checks: names of checks to leave out: "reachability", "terminal_event", "dead_end".
        dispatcher: where records go; default the dispatcher of the process.
        clock: the time of its runs; default that of the system. A `ManualClock` makes tests independent of time.

    Raises:
        WorkflowConfigurationError: no step takes a start event, or none gives a stop event, or several kinds do.
        WorkflowValidationError: an argument is wrong.

    Example:
        >>> import asyncio
        >>> from otflow import StartEvent, StopEvent, Workflow, step
        >>> class Greet(Workflow):
        ...     @step
        ...     async def greet(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent(result=f"Hello, {ev.name}!")
        >>> async def main() -> str:
        ...     return await Greet().run(name="Ada")
        >>> asyncio.run(main())
        'Hello, Ada!'
    """

    add_step = AddStep()

    def __init__(
        self,
        timeout: float | None = 45.0,
        disable_validation: bool = False,  # the signature of the followed API
        verbose: bool = False,
        service_manager: ServiceManager | None = None,
        resource_manager: ResourceManager | None = None,
        num_concurrent_runs: int | None = None,
        *,
        workflow_name: str | None = None,
        skip_graph_checks: Iterable[str] = (),
        dispatcher: Dispatcher | None = None,
        clock: Clock | None = None,
    ) -> None:
        name = workflow_name or type(self).__name__
        _check_arguments(name, timeout, num_concurrent_runs)
        self._name = name
        self._timeout = timeout
        self._verbose = verbose
        self._unchecked = disable_validation
        self._skip = read_checks(skip_graph_checks)
        self._injection = _Injection(resource_manager or ResourceManager(), service_manager or ServiceManager())
        self._slots = Slots(num_concurrent_runs)
        self._dispatcher = dispatcher
        self._clock = clock
        self._blueprint: Blueprint | None = None
        self._built_at = -1
        self._valid: tuple[Blueprint, int, bool] | None = None
        self._live: set[WorkflowHandler] = set()
        if list_functions(self):  # with no step yet, free functions may follow
            self._ready()

    # ---------------------------------------------------------------- steps

    def _ready(self) -> Blueprint:
        """Return the blueprint, built anew if a step was added anywhere since."""
        if self._blueprint is None or self._built_at != StepFunctions.generation:
            self._built_at = StepFunctions.generation
            functions = list_functions(self)
            configs = [config for func in functions.values() if (config := step_config(func)) is not None]
            if not configs:
                raise WorkflowConfigurationError(
                    f"Workflow '{self._name}' has no steps. Mark a method with @step, or add a function with "
                    "@step(workflow=...)."
                )
            graph = build_graph(self._name, configs)
            self._blueprint = Blueprint(graph, functions, self._injection)
        return self._blueprint

    @property
    def steps(self) -> Mapping[str, StepConfig]:
        """The steps by name, as their signatures say."""
        return MappingProxyType(dict(self._ready().graph.steps))

    @property
    def blueprint(self) -> Blueprint:
        """The steps, made ready to run; for what looks at runs from outside."""
        return self._ready()

    @property
    def graph(self) -> WorkflowGraph:
        """The steps and the events between them."""
        return self._ready().graph

    @property
    def workflow_name(self) -> str:
        """The name of the workflow in traces."""
        return self._name

    @property
    def state_type(self) -> type:
        """The class of its state: that of `Context[State]`, the most derived one if there are several."""
        kinds = {c.state_type for c in self._ready().graph.steps.values() if c.state_type is not None}
        best = [kind for kind in kinds if all(issubclass(kind, other) for other in kinds)]
        if kinds and not best:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(
                f"Multiple state types are not supported. Workflow '{self._name}' uses {names}: annotate all steps "
                "with one Context[State], or let one state class derive from the others."
            )
        return best[0] if best else DictState

    @property
    def event_types(self) -> Iterable[type[Event]]:
        """The event classes that its signatures name."""
        configs = self._ready().graph.steps.values()
        return tuple(dict.fromkeys(kind for c in configs for kind in (*c.accepts, *c.returns)))

    @property
    def events(self) -> list[type[Event]]:
        """The event classes that its signatures name."""
        return list(self.event_types)

    @property
    def start_event_class(self) -> type[StartEvent]:
        """The event class that starts a run."""
        start = self._ready().graph.start
        if start is None:
            raise AssertionError("a graph that was built has a start event")
        return start

    @property
    def stop_event_class(self) -> type[StopEvent]:
        """The event class that ends a run."""
        stop = self._ready().graph.stop
        if stop is None:
            raise AssertionError("a graph that was built has a stop event")
        return stop

    @property
    def nested_workflows(self) -> Mapping[str, object]:
        """What was added for steps to call, by the names of the parameters that ask for it."""
        services = self._injection.services
        return {name: services.find(name) for name in services}

    def add_workflows(self, **workflows: Workflow) -> None:
        """Add nested workflows; steps get them by parameters of these names."""
        for name, workflow in workflows.items():
            self._injection.services.add(name, workflow)
        self._valid = None

    def validate(self, *, validate_resource_configs: bool = True, validate_resources: bool = False) -> bool:
        """Check the graph of steps and events. A run does so once, when it is the first after a change.

        Args:
            validate_resource_configs: whether to read the files of `ResourceConfig` parameters; default True.
            validate_resources: whether to make every resource once, as steps would ask for it; default False.

        Returns:
            Whether the workflow asks the outside, or takes answers from it.

        Raises:
            WorkflowValidationError: with all faults that were found.
        """
        blueprint, services = self._ready(), self._injection.services
        hitl = validate_graph(blueprint.graph, skip=self._skip, services=services)
        configs = blueprint.graph.steps.values()
        if validate_resource_configs:
            check_config_files(configs)
        if validate_resources:
            check_factories(configs, self._injection.resources)
        self._valid = (blueprint, len(services), hitl)
        return hitl

    def _is_valid(self, blueprint: Blueprint) -> bool:
        """Validate, unless this was done since anything changed; tell what `validate` tells."""
        if self._valid is None or self._valid[0] is not blueprint or self._valid[1] != len(self._injection.services):
            return self.validate()
        return self._valid[2]

    # ---------------------------------------------------------------- runs

    def run(
        self,
        ctx: Context[Any] | None = None,
        start_event: StartEvent | None = None,
        *,
        stepwise: bool = False,
        checkpoint_callback: CheckpointCallback | None = None,
        run_id: str | None = None,
        **kwargs: Any,
    ) -> WorkflowHandler:
        """Start a run; it goes on in the background of the running event loop.

        Args:
            ctx: a context to use; default a new one. One that was restored from saved data goes on where it stood.
            start_event: the event to begin with; default one made from the keywords.
            stepwise: whether steps wait to be released by `handler.run_step()`; default False.
            checkpoint_callback: awaited after each step, before its output goes on its way.
            run_id: the id of the run; default a new one, or that of the saved run which the context goes on with.
                A run that a step of a resumed run had begun before is found again: see the journal.
            **kwargs: the fields of the start event.

        Returns:
            The handler: await it for the result.

        Raises:
            WorkflowValidationError: the workflow cannot work; the message lists all faults.
            WorkflowRuntimeError: the start event cannot be made, or there is no running event loop.
            ContextStateError: the context is in use by a run that goes on.
        """
        telemetry.wire()
        blueprint = self._ready()
        hitl = not self._unchecked and self._is_valid(blueprint)
        if stepwise and (hitl or blueprint.graph.uses_hitl):
            raise WorkflowRuntimeError("Human-in-the-loop is not supported with stepwise execution")
        context = ctx if ctx is not None else Context(self)
        launch = Launch(
            blueprint=blueprint,
            dispatcher=self._dispatcher or default_dispatcher,
            clock=self._clock,
            context=context,
            run_id=run_id,
            timeout=self._timeout,
            stepwise=stepwise,
            verbose=self._verbose,
            checkpoint_callback=checkpoint_callback,
        )
        if (nursery := find_nursery(launch)) is not None:
            start_event, kwargs = self._start_event(blueprint, start_event, kwargs), {}
            admitted = nursery.admit(self, launch, start_event)
            if isinstance(admitted, WorkflowHandler):
                return admitted
            launch = admitted
        handler, begin = prepare(launch, lambda: self._start_event(blueprint, start_event, kwargs), self._forget)
        self._live.add(handler)
        self._slots.enter(handler, begin)
        return handler

    def run_from(
        self,
        checkpoint: SavedPosition,
        ctx_serializer: Any = None,
        checkpoint_callback: CheckpointCallback | None = None,
        **kwargs: Any,
    ) -> WorkflowHandler:
        """Go on from a checkpoint, as a run of its own: the same checkpoint may be gone on from many times.

        Args:
            checkpoint: the checkpoint; its saved context holds the output that was about to go on its way.
            ctx_serializer: the serializer that wrote it; default `JsonSerializer()`.
            checkpoint_callback: as for `run`.
            **kwargs: as for `run`.
        """
        context: Context[Any] = Context.from_dict(self, checkpoint.ctx_state, ctx_serializer)
        kwargs.setdefault("run_id", uuid.uuid4().hex)
        return self.run(ctx=context, checkpoint_callback=checkpoint_callback, **kwargs)

    def resume(self, run_id: str, journal: JournalPlace | None = None) -> WorkflowHandler:
        """Go on with a run where its journal ends, under its own id; it may have been another process's.

        No record is lost, no outcome is counted again, and only attempts that had not ended run again.

        Args:
            run_id: the id of the run, or the beginning of it that no other run shares.
            journal: the journal, or its file; default the one that records go to.

        Returns:
            The handler: await it for the result.

        Raises:
            RunNotFoundError: the journal has no such run, or several.
            RunOwnedError: somebody runs it, here or in another process.
            JournalError: it has ended, or the journal cannot be used.
            MisfitError: this workflow no longer fits its records, or a payload that it needs is not whole.
        """
        telemetry.wire()
        return resume(self, run_id, journal, self._dispatcher or default_dispatcher)

    def is_done(self) -> bool:
        """Tell whether no run of this instance goes on."""
        return all(handler.get_loop().is_closed() for handler in self._live)

    def _forget(self, handler: WorkflowHandler) -> None:
        self._live.discard(handler)
        self._slots.leave(handler)

    def _start_event(self, blueprint: Blueprint, given: StartEvent | None, kwargs: dict[str, Any]) -> StartEvent:
        kind = blueprint.graph.start or StartEvent
        if given is None:
            try:
                return kind(**kwargs)
            except ValidationError as error:
                raise WorkflowRuntimeError(
                    f"Failed creating a start event of type '{kind.__name__}' with the keyword arguments: "
                    f"{kwargs}.\n{error}"
                ) from error
        if not isinstance(given, StartEvent):
            raise ValueError(  # the type that the followed API raises
                f"The 'start_event' argument must be an instance of 'StartEvent', not {type(given).__name__}: "
                f"workflow '{self._name}' starts with {kind.__name__}."
            )
        if kwargs:
            _log.warning("run(start_event=...) leaves out the keywords %s: put them into the event.", sorted(kwargs))
        if not blueprint.plan.routes[blueprint.key(type(given))].steps:
            raise WorkflowRuntimeError(
                f"No step of workflow '{self._name}' accepts the start event {type(given).__name__}: it starts with "
                f"{kind.__name__}, matched exactly. Pass start_event={kind.__name__}(...)."
            )
        return given


def _check_arguments(name: str, timeout: object, runs: object) -> None:
    faults = []
    if timeout is not None and (not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0):
        faults.append(f"timeout must be a number of seconds greater than 0, or None for no limit, not {timeout!r}")
    if runs is not None and (not isinstance(runs, int) or isinstance(runs, bool) or runs <= 0):
        faults.append(f"num_concurrent_runs must be an integer greater than 0, or None for no limit, not {runs!r}")
    if faults:
        raise WorkflowValidationError(f"Workflow '{name}' cannot be made: {'; '.join(faults)}.")
