"""Wiring: which step takes which event, found from the signatures of steps alone.

This room is pure. It knows events and signatures; it must never know what is right or wrong about a wiring,
nor workflows and runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from otflow.events import Event, InternalDispatchEvent, StartEvent, StepFailedEvent, StopEvent
from otflow.signature import StepConfig, type_key

__all__ = [
    "assign_handlers",
    "event_types",
    "feeders",
    "find_starts",
    "find_stops",
    "subclasses_accepted",
    "takers",
]

# where a broad type such as Event is accepted with its subclasses, these are still not meant
_EXACT_ONLY = (StopEvent, StepFailedEvent, InternalDispatchEvent)


def _covers(config: StepConfig, base: type[Event], kind: type[Event]) -> bool:
    """Say whether a step takes an event of type `kind` because it accepts `base`.

    Types are compared by key and not by identity: a class that was defined anew (in a notebook, by a reload)
    still finds its steps, as it does when it comes out of a journal.
    """
    if type_key(kind) == type_key(base):
        return True
    if not config.accept_event_subclasses or issubclass(kind, _EXACT_ONLY):
        return False
    return type_key(base) in map(type_key, kind.__mro__)


def takers(steps: Mapping[str, StepConfig], kind: type[Event]) -> tuple[str, ...]:
    """Return the names of the steps that take an event of type `kind`, in the order of the steps."""
    return tuple(name for name, config in steps.items() if any(_covers(config, base, kind) for base in config.accepts))


def feeders(config: StepConfig, base: type[Event], kinds: Iterable[type[Event]]) -> tuple[type[Event], ...]:
    """Return those of `kinds` that a step takes because it accepts `base`."""
    return tuple(kind for kind in kinds if _covers(config, base, kind))


def event_types(steps: Mapping[str, StepConfig], *, accepted: bool = True) -> tuple[type[Event], ...]:
    """Return the event types that steps accept and return, or (`accepted=False`) return, each once."""
    found: dict[type[Event], None] = {}
    for config in steps.values():
        found |= dict.fromkeys((*config.accepts, *config.returns) if accepted else config.returns)
    return tuple(found)


def find_starts(steps: Mapping[str, StepConfig]) -> tuple[type[StartEvent], ...]:
    """Return the start event types that steps accept."""
    found = [it for config in steps.values() for it in config.accepts if issubclass(it, StartEvent)]
    return tuple(dict.fromkeys(found))


def find_stops(steps: Mapping[str, StepConfig]) -> tuple[type[StopEvent], ...]:
    """Return the stop event types that steps return."""
    found = [it for config in steps.values() for it in config.returns if issubclass(it, StopEvent)]
    return tuple(dict.fromkeys(found))


def subclasses_accepted(steps: Mapping[str, StepConfig]) -> Iterator[type[Event]]:
    """Give every subclass, known so far, of what is accepted with its subclasses."""
    todo = [kind for config in steps.values() if config.accept_event_subclasses for kind in config.accepts]
    seen = set(todo)
    while todo:
        for kind in todo.pop().__subclasses__():
            if kind not in seen:
                seen.add(kind)
                todo.append(kind)
                yield kind


def assign_handlers(steps: Mapping[str, StepConfig]) -> dict[str, str]:
    """Return the `@catch_error` handler of each covered step; a handler that names the step goes first."""
    catchers = [(name, config.catches) for name, config in steps.items() if config.catches is not None]
    covered = [name for name, config in steps.items() if config.catches is None]
    handlers: dict[str, str] = {}
    for handler, catches in sorted(catchers, key=lambda pair: pair[1].for_steps is None):
        for name in covered if catches.for_steps is None else catches.for_steps:
            if name in covered:
                handlers.setdefault(name, handler)
    return handlers
