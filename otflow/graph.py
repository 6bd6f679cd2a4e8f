"""Graphs: the steps of a workflow and the events between them, as one frozen record.

A graph is made of the signatures of steps alone. This room is pure: it never knows a workflow object, a run,
a clock or a log. Everything that is wrong with a graph is said in one error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from otflow.errors import WorkflowConfigurationError, WorkflowValidationError
from otflow.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from otflow.faults import (
    check_consumed,
    check_dead_ends,
    check_ends,
    check_handlers,
    check_keys,
    check_produced,
    check_reachability,
    check_services,
    check_stop_takers,
    check_terminal_events,
)
from otflow.signature import STEP_CHECKS, StepConfig, type_key
from otflow.wiring import (
    assign_handlers,
    event_types,
    feeders,
    find_starts,
    find_stops,
    subclasses_accepted,
    takers,
)

__all__ = ["GRAPH_CHECKS", "WorkflowGraph", "build_graph", "read_checks", "resolve", "validate_graph"]

GRAPH_CHECKS = STEP_CHECKS | {"terminal_event"}
"""The checks that a workflow can do without."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkflowGraph:
    """The steps of a workflow and the events between them.

    Args:
        name: the name of the workflow, for messages.
        steps: the steps by name, in the order given.
        start: the event class that starts a run; None if there is none, or more than one.
        stop: the event class that ends a run; None likewise.
        routes: the names of the accepting steps by `type_key`, for every event type known when it was built.
        produced: the event types that steps return.
        external: the event types that are accepted but returned by no step, without start events.
        handlers: the name of the `@catch_error` handler of each step that has one.
        uses_hitl: whether a run may ask the outside, or take an answer from it.
        digest: SHA-256 in hex of steps and events; the same in every process.
    """

    name: str
    steps: Mapping[str, StepConfig]
    start: type[StartEvent] | None
    stop: type[StopEvent] | None
    routes: Mapping[str, tuple[str, ...]]
    produced: tuple[type[Event], ...]
    external: tuple[type[Event], ...]
    handlers: Mapping[str, str]
    uses_hitl: bool
    digest: str


def build_graph(name: str, configs: Iterable[StepConfig], *, infer: bool = True) -> WorkflowGraph:
    """Make the graph of a workflow.

    Args:
        name: the name of the workflow.
        configs: its steps. With no step at all nothing is asked of start and stop: steps may follow.
        infer: whether there has to be one start and one stop event class; default True.

    Raises:
        WorkflowConfigurationError: the start or the stop event class cannot be found, or two event classes
            have one key.
        WorkflowValidationError: two steps have one name.
    """
    steps: dict[str, StepConfig] = {}
    for config in configs:
        if config.name in steps:
            raise WorkflowValidationError(
                f"A step {config.name} is already part of this workflow, please choose another name."
            )
        steps[config.name] = config
    if steps and infer:
        _require_ends(name, steps)
    starts, stops = find_starts(steps), find_stops(steps)
    kinds = dict.fromkeys((*event_types(steps), *subclasses_accepted(steps)))
    return WorkflowGraph(
        name=name,
        steps=MappingProxyType(steps),
        start=starts[0] if len(starts) == 1 else None,
        stop=stops[0] if len(stops) == 1 else None,
        routes=MappingProxyType({type_key(kind): takers(steps, kind) for kind in kinds}),
        produced=event_types(steps, accepted=False),
        external=_find_external(steps),
        handlers=MappingProxyType(assign_handlers(steps)),
        uses_hitl=_uses_hitl(steps),
        digest=_digest(steps),
    )


def resolve(graph: WorkflowGraph, event_type: type[Event]) -> tuple[str, ...]:
    """Return the names of the steps that take an event of this type; the result may be cached.

    Args:
        graph: the graph.
        event_type: the class of an event, also one that was defined after the graph was made.
    """
    names = graph.routes.get(type_key(event_type))
    return takers(graph.steps, event_type) if names is None else names


def validate_graph(graph: WorkflowGraph, *, skip: Iterable[str] = frozenset(), services: Iterable[str] = ()) -> bool:
    """Check that a run of these steps can work, and say whether it may ask or be answered by the outside.

    Args:
        graph: the graph.
        skip: the checks to leave out, of `GRAPH_CHECKS`; default none.
        services: the names of the services that the workflow has; default none.

    Raises:
        WorkflowConfigurationError: there is no step, or no single start or stop event class.
        WorkflowValidationError: anything else is wrong; the message lists every fault.
    """
    skipped = read_checks(skip)
    steps = graph.steps
    if not steps:
        raise WorkflowConfigurationError(
            f"Workflow '{graph.name}' has no configured steps. Did you forget to annotate methods with @step "
            "or to register free-function steps via @step(workflow=...)?"
        )
    _require_ends(graph.name, steps)
    reach, terminal, dead = (it not in skipped for it in ("reachability", "terminal_event", "dead_end"))
    faults = [
        *check_stop_takers(steps),
        *(check_consumed(steps) if reach else ()),
        *(check_produced(steps) if terminal else ()),
        *check_services(steps, frozenset(services)),
        *check_handlers(steps),
    ]
    shape = [
        *(check_reachability(steps) if reach else ()),
        *(check_terminal_events(steps) if terminal else ()),
        *(check_dead_ends(steps) if dead else ()),
    ]
    if shape:
        faults += ["Graph validation failed:", *shape]
    if faults:
        raise WorkflowValidationError("\n".join([*faults, f"(in workflow '{graph.name}')"]))
    return graph.uses_hitl


def read_checks(names: Iterable[str]) -> frozenset[str]:
    """Return the names of the checks to skip.

    Args:
        names: names out of `GRAPH_CHECKS`, or one of them.

    Raises:
        WorkflowValidationError: a name is unknown.
    """
    given = frozenset((names,) if isinstance(names, str) else names)
    if unknown := given - GRAPH_CHECKS:
        raise WorkflowValidationError(
            f"Unknown graph check names: {', '.join(sorted(map(str, unknown)))}. "
            f"Valid names are: {', '.join(sorted(GRAPH_CHECKS))}"
        )
    return given


def _require_ends(name: str, steps: Mapping[str, StepConfig]) -> None:
    if faults := [*check_ends(name, steps), *check_keys(steps)]:
        raise WorkflowConfigurationError("\n".join(faults))


def _find_external(steps: Mapping[str, StepConfig]) -> tuple[type[Event], ...]:
    given = event_types(steps, accepted=False) + find_starts(steps)
    fed = {
        base
        for config in steps.values()
        for base in config.accepts
        if issubclass(base, (StartEvent, StepFailedEvent)) or feeders(config, base, given)
    }
    accepted = dict.fromkeys(kind for config in steps.values() for kind in config.accepts)
    return tuple(kind for kind in accepted if kind not in fed)


def _uses_hitl(steps: Mapping[str, StepConfig]) -> bool:
    return any(
        any(issubclass(kind, InputRequiredEvent) for kind in config.returns)
        or any(issubclass(kind, HumanResponseEvent) for kind in config.accepts)
        for config in steps.values()
    )


def _digest(steps: Mapping[str, StepConfig]) -> str:
    rows = [
        (
            name,
            sorted(map(type_key, config.accepts)),
            sorted(map(type_key, config.returns)),
            (config.returns_none, config.returns_list, config.accept_event_subclasses),
            config.catches and (config.catches.for_steps, config.catches.max_recoveries),
        )
        for name, config in sorted(steps.items())
    ]
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
