"""Faults: everything that can be wrong with the steps of a workflow taken together, each with what to do.

Each check takes the steps and gives the texts of the faults that it finds. This room is pure; it raises
nothing and does not decide which checks a workflow has to pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from otflow.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StepFailedEvent,
    StopEvent,
)
from otflow.signature import StepConfig, type_key
from otflow.wiring import event_types, feeders, find_starts, find_stops, takers

__all__ = [
    "check_consumed",
    "check_dead_ends",
    "check_ends",
    "check_handlers",
    "check_keys",
    "check_produced",
    "check_reachability",
    "check_services",
    "check_stop_takers",
    "check_terminal_events",
]

Steps: TypeAlias = Mapping[str, StepConfig]

_ENTRIES = (InputRequiredEvent, HumanResponseEvent)
_EXITS = (StopEvent, InputRequiredEvent)


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _list(kinds: Iterable[type[Event]]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))


# --- the ends ------------------------------------------------------------------------------------------


def check_keys(steps: Steps) -> Iterator[str]:
    """Two event classes must not share the key under which records know them."""
    owners: dict[str, int] = {}
    for kind in event_types(steps):
        owners[type_key(kind)] = owners.get(type_key(kind), 0) + 1
    for key, count in owners.items():
        if count > 1:
            yield (
                f"{count} event classes are called {key}, so that records cannot tell them apart.\n"
                "    Give each its own name; in a notebook, define the workflow again after its events."
            )


def check_ends(name: str, steps: Steps) -> Iterator[str]:
    """There must be one class of start event and one of stop event."""
    starts, stops = find_starts(steps), find_stops(steps)
    if not starts:
        yield (
            "At least one Event of type StartEvent must be received by any step. "
            f"(Workflow '{name}' has no @step that accepts StartEvent.)\n"
            "    Annotate the event parameter of the first step with StartEvent or a subclass of it."
        )
    if len(starts) > 1:
        yield (
            f"Only one type of StartEvent is allowed per workflow, found {len(starts)}: {_list(starts)} "
            f"in workflow '{name}'.\n    Let all first steps take one class, and tell them apart by a field."
        )
    if not stops:
        yield (
            "At least one Event of type StopEvent must be returned by any step. "
            f"(Workflow '{name}' has no @step that returns StopEvent.)\n"
            "    Add StopEvent to the return annotation of the last step, for example `-> StopEvent`."
        )
    if len(stops) > 1:
        yield (
            f"Only one type of StopEvent is allowed per workflow, found {len(stops)}: {_list(stops)} "
            f"in workflow '{name}'.\n    Let all last steps return one class; it may have optional fields."
        )


def check_stop_takers(steps: Steps) -> Iterator[str]:
    """No step takes a stop event."""
    names = [name for name, it in steps.items() if any(issubclass(kind, StopEvent) for kind in it.accepts)]
    if names:
        yield (
            f"Step{'' if len(names) == 1 else 's'} {_quote(names)} cannot accept StopEvent. "
            "StopEvent signals the end of the workflow. Use a different Event type instead."
        )


# --- the events between --------------------------------------------------------------------------------


def check_consumed(steps: Steps) -> Iterator[str]:
    """What a step takes is given by a step or comes from outside."""
    outer = (*_ENTRIES, StopEvent, StepFailedEvent)
    given = event_types(steps, accepted=False) + find_starts(steps)
    starved: dict[type[Event], list[str]] = {}
    for name, config in steps.items():
        if "reachability" in config.skip_graph_checks:
            continue  # such a step is fed from outside
        for base in config.accepts:
            if not issubclass(base, outer) and not feeders(config, base, given):
                starved.setdefault(base, []).append(name)
    if starved:
        lines = [f"The following events are consumed but never produced: {_list(starved)}"]
        for base, names in starved.items():
            lines.append(f"    Accepted by {_quote(names)}. {_advise_producer(base, given)}")
        yield "\n".join(lines)


def _advise_producer(base: type[Event], given: Iterable[type[Event]]) -> str:
    if close := [kind for kind in given if issubclass(kind, base)]:
        return (
            f"{_list(close)} is a subclass of {base.__name__}: write "
            "`@step(accept_event_subclasses=True)` to accept it too."
        )
    return (
        f"Write `-> {base.__name__} | ...` on the step that returns it or sends it with `ctx.send_event`; "
        "derive it from HumanResponseEvent if it comes from outside."
    )


def _unconsumed(steps: Steps) -> list[type[Event]]:
    given = event_types(steps, accepted=False)
    return [it for it in given if not issubclass(it, (*_ENTRIES, StopEvent)) and not takers(steps, it)]


def check_produced(steps: Steps) -> Iterator[str]:
    """What a step gives is taken by a step or goes outside."""
    if lost := _unconsumed(steps):
        lines = [f"The following events are produced but never consumed: {_list(lost)}"]
        for kind in lost:
            givers = [name for name, config in steps.items() if kind in config.returns]
            lines.append(
                f"    Returned by {_quote(givers)}. Add a step with `ev: {kind.__name__}`; or, if only "
                "the outside is to see it, give it to `ctx.write_event_to_stream` and do not annotate it."
            )
        yield "\n".join(lines)


def check_services(steps: Steps, services: Collection[str]) -> Iterator[str]:
    """Each service that a step cannot do without is there."""
    missing: dict[str, list[str]] = {}
    for name, config in steps.items():
        for service in config.services:
            if service.required and service.name not in services:
                missing.setdefault(service.name, []).append(name)
    if missing:
        lines = [f"The following services are not available: {', '.join(sorted(missing))}"]
        for wanted, names in missing.items():
            lines.append(
                f"    Asked for by {_quote(names)}. Write `workflow.add_workflows({wanted}=...)`; or "
                f"annotate `{wanted}` with Context, with an event or with `Annotated[T, Resource(factory)]`."
            )
        yield "\n".join(lines)


def check_handlers(steps: Steps) -> Iterator[str]:
    """Each step has at most one handler, and no handler has one."""
    handlers = {name: it.catches for name, it in steps.items() if it.catches is not None}
    wild = sorted(name for name, catches in handlers.items() if catches.for_steps is None)
    if len(wild) > 1:
        yield (
            "Only one wildcard @catch_error handler is allowed per workflow, "
            f"found {len(wild)}: {', '.join(wild)}\n"
            "    Name the steps that the others cover: `@catch_error(for_steps=[...])`."
        )
    owners: dict[str, str] = {}
    for handler, catches in handlers.items():
        for target in catches.for_steps or ():
            if target not in steps:
                yield (
                    f"@catch_error handler '{handler}' lists unknown step '{target}' in for_steps.\n"
                    f"    The steps are {_quote(name for name in steps if name not in handlers)}."
                )
            elif target in handlers:
                yield (
                    f"@catch_error handler '{handler}' cannot cover another handler step '{target}'.\n"
                    "    Take it out of for_steps; an error in a handler fails the run."
                )
            elif owners.setdefault(target, handler) != handler:
                yield (
                    f"Step '{target}' is claimed by two @catch_error handlers: "
                    f"'{owners[target]}' and '{handler}'.\n    Take it out of for_steps of one of them."
                )


# --- the shape -----------------------------------------------------------------------------------------


def _edges(steps: Steps) -> dict[str, list[str]]:
    """Return for each step the steps that take what it gives."""
    return {name: [taker for kind in config.returns for taker in takers(steps, kind)] for name, config in steps.items()}


def _walk(entries: Iterable[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    todo = list(entries)
    seen = set(todo)
    while todo:
        ahead = set(edges.get(todo.pop(), ())) - seen
        seen |= ahead
        todo += ahead
    return seen


def check_reachability(steps: Steps) -> Iterator[str]:
    """Each step can be reached from the start, from an answer, from outside or from a failure."""
    entries = [taker for kind in find_starts(steps) for taker in takers(steps, kind)]
    entries += [
        name
        for name, config in steps.items()
        if config.catches is not None
        or "reachability" in config.skip_graph_checks
        or any(issubclass(kind, _ENTRIES) for kind in config.accepts)
    ]
    if lost := sorted(steps.keys() - _walk(entries, _edges(steps))):
        yield (
            f"  - [reachability] Unreachable steps: {', '.join(lost)}\n"
            "    Steps must be reachable from StartEvent or HumanResponseEvent. Annotate a reached step with "
            "what they accept, or write `@step(skip_graph_checks=['reachability'])`."
        )


def check_terminal_events(steps: Steps) -> Iterator[str]:
    """Only stop events and questions end a path."""
    if lost := _unconsumed(steps):
        yield (
            f"  - [terminal_event] Events produced but never consumed: {_list(lost)}\n"
            "    Only StopEvent and InputRequiredEvent may be terminal. If these are meant to be, write "
            "`skip_graph_checks={'terminal_event'}` where the workflow is made."
        )


def check_dead_ends(steps: Steps) -> Iterator[str]:
    """From each step a path leads to a stop event, to a question or to a step that may end its branch."""
    # a step that may return None ends a branch: it collects, it stores, or another branch brings the end
    exits = [
        name
        for name, config in steps.items()
        if config.returns_none
        or "dead_end" in config.skip_graph_checks
        or any(issubclass(kind, _EXITS) for kind in config.returns)
    ]
    backwards: dict[str, list[str]] = {name: [] for name in steps}
    for name, followers in _edges(steps).items():
        for follower in followers:
            backwards[follower].append(name)
    if dead := sorted(steps.keys() - _walk(exits, backwards)):
        yield (
            f"  - [dead_end] Dead-end steps: {', '.join(dead)}\n"
            "    Steps must have a path to StopEvent or InputRequiredEvent. Return StopEvent from one of "
            "them, or write `-> ... | None` if this branch may end before the run does."
        )
