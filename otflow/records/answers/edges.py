"""Edges: which ways through the graph of a workflow recorded runs have taken, and which none has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from otflow.records.execution import Execution

__all__ = ["Coverage", "Edge", "coverage"]


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """A way from an event to a step that takes it.

    Args:
        event: the type key of the event.
        step: the step.
        taken: how often it was taken.
        runs: by how many runs.
        known: whether the graph has it; if not, it was taken under an earlier form of the workflow.
    """

    event: str
    step: str
    taken: int = 0
    runs: int = 0
    known: bool = True


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The ways that runs have taken.

    Args:
        edges: all ways of the graph, and those that were taken besides; the least taken first.
        runs: how many runs were looked at.
        partial: how many of them are not known in full, so that they may have taken more.
    """

    edges: tuple[Edge, ...]
    runs: int
    partial: int

    @property
    def never(self) -> tuple[Edge, ...]:
        """The ways of the graph that no run is known to have taken."""
        return tuple(edge for edge in self.edges if edge.known and not edge.taken)

    @property
    def share(self) -> float:
        """How many of the ways of the graph were taken, from 0 to 1; 1 if it has none."""
        known = [edge for edge in self.edges if edge.known]
        return 1 - len(self.never) / len(known) if known else 1.0


def coverage(executions: Iterable[Execution], routes: Mapping[str, Sequence[str]]) -> Coverage:
    """Count how often each way of a graph was taken.

    Args:
        executions: runs of the workflow; they are looked at one by one, and not kept.
        routes: the steps that take each event, by type key, as `workflow.graph.routes` says.
    """
    taken: Counter[tuple[str, str]] = Counter()
    runs: Counter[tuple[str, str]] = Counter()
    number = partial = 0
    for execution in executions:
        number += 1
        partial += not execution.complete
        ways = _ways_of(execution)
        taken.update(ways)
        runs.update(ways.keys())
    known = {(event, step) for event, steps in routes.items() for step in steps}
    edges = [
        Edge(event=event, step=step, taken=taken[event, step], runs=runs[event, step], known=(event, step) in known)
        for event, step in known | taken.keys()
    ]
    ordered = sorted(edges, key=lambda edge: (edge.taken, edge.event, edge.step))
    return Coverage(edges=tuple(ordered), runs=number, partial=partial)


def _ways_of(execution: Execution) -> Counter[tuple[str, str]]:
    events = execution.events
    return Counter(
        (events[invocation.event].type, invocation.step)
        for invocation in execution.steps
        if invocation.event in events and events[invocation.event].type and invocation.step
    )
