"""Definitions: what a workflow says of itself that its dashboards and alerts can use.

It is made of the graph and of what the steps declare; nothing is run, but retry policies are asked what they would do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace

from otflow.errors import OtflowError, WorkflowRuntimeError
from otflow.events import Event, HumanResponseEvent, InputRequiredEvent
from otflow.graph import WorkflowGraph, resolve
from otflow.retry_policy import RetryPolicy, ask
from otflow.signature import StepConfig

__all__ = ["MOST_ATTEMPTS", "Definition", "Retries", "StepDefinition", "define", "worst_retries"]

MOST_ATTEMPTS = 100
"""How often a retry policy is asked before its number of attempts counts as unbounded."""

_SEED = 0  # jitter differs from run to run; files that are kept should not


@dataclass(frozen=True, slots=True)
class Retries:
    """What a retry policy allows at the most.

    Args:
        attempts: how many attempts, the first included; None if more than `MOST_ATTEMPTS`.
        seconds: how long all its delays take together; where they are random, in one example.
    """

    attempts: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDefinition:
    """What is known of a step.

    Args:
        name: its name.
        num_workers: how many invocations run at once in one run.
        retries: what its retry policy allows; None without one, and where that cannot be found out.
        handler: the name of the step that takes over when it has failed; empty if none does.
        catches: whether it is such a step itself.
    """

    name: str
    num_workers: int
    retries: Retries | None
    handler: str
    catches: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What is known of a workflow.

    Args:
        name: its name in metrics.
        timeout: seconds after which a run ends; None for no limit.
        steps: its steps, in the order in which events reach them.
        answers: the names of the event types that it waits for from people; empty if it asks nobody.
    """

    name: str
    timeout: float | None
    steps: tuple[StepDefinition, ...]
    answers: tuple[str, ...]


def define(graph: WorkflowGraph, timeout: float | None) -> Definition:
    """Make the definition of a workflow.

    Args:
        graph: its graph.
        timeout: seconds after which a run ends; None for no limit.
    """
    return Definition(
        name=graph.name,
        timeout=timeout,
        steps=tuple(_define_step(graph, graph.steps[name]) for name in _in_order(graph)),
        answers=tuple(_answers(graph)) if graph.uses_hitl else (),
    )


def _define_step(graph: WorkflowGraph, config: StepConfig) -> StepDefinition:
    return StepDefinition(
        name=config.name,
        num_workers=config.num_workers,
        retries=None if config.retry_policy is None else _try_out(config.retry_policy),
        handler=graph.handlers.get(config.name, ""),
        catches=config.catches is not None,
    )


def _in_order(graph: WorkflowGraph) -> list[str]:
    """Return the steps as events reach them from the start; then those that only the outside or a failure reaches."""
    found: dict[str, None] = {}
    coming: list[type[Event]] = [] if graph.start is None else [graph.start]
    seen = set(coming)
    while coming:
        for name in resolve(graph, coming.pop(0)):
            if name not in found:
                found[name] = None
                fresh = [kind for kind in graph.steps[name].returns if kind not in seen]
                seen.update(fresh)
                coming += fresh
    late = sorted((name for name in graph.steps if name not in found), key=lambda it: _is_handler(graph, it))
    return [*found, *late]


def _is_handler(graph: WorkflowGraph, name: str) -> bool:
    return graph.steps[name].catches is not None


def _answers(graph: WorkflowGraph) -> Iterator[str]:
    """Give the names of the types by which people answer; of a wait inside a step nothing is declared."""
    kinds = dict.fromkeys(kind for config in graph.steps.values() for kind in config.accepts)
    yield from (kind.__name__ for kind in kinds if issubclass(kind, HumanResponseEvent))
    asked = dict.fromkeys(kind for config in graph.steps.values() for kind in config.returns)
    if not any(issubclass(kind, HumanResponseEvent) for kind in kinds):
        yield from (kind.__name__ for kind in asked if issubclass(kind, InputRequiredEvent))


def _try_out(policy: RetryPolicy) -> Retries | None:
    """Ask a policy until it gives up."""
    asked = _without_condition(policy)
    waited = 0.0
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            delay = ask(asked, waited, attempt, OtflowError("what would you do?"), _SEED)
        except WorkflowRuntimeError:  # a policy of the user may look for things in the error that are not there
            return None
        if delay is None:
            return Retries(attempt, waited)
        waited += delay
    return Retries(None, waited)


def _without_condition(policy: RetryPolicy) -> RetryPolicy:
    """Leave out which errors a policy retries, where it says so: the question is how often it would at the most."""
    if is_dataclass(policy) and not isinstance(policy, type) and "retry" in {field.name for field in fields(policy)}:
        return replace(policy, retry=None)
    return policy


def worst_retries(step: StepDefinition) -> float:
    """Return the share of attempts that are followed by another one if all of them fail.

    Args:
        step: the step.
    """
    attempts = 1 if step.retries is None else step.retries.attempts
    return 1.0 if attempts is None else (attempts - 1) / max(attempts, 1)
