"""Figure: the causal tree of a run, before it is drawn.

An invocation hangs under the invocation that emitted its event, and stands there once; what it collected or waited
for besides is said by id. Invocations that look alike share a shape, so that many can be drawn as one. Nothing here
recurses: a run may be a loop of any length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from otflow.records.history import Invocation, Run

__all__ = ["Figure", "Group", "chain_of", "group_alike", "lay_out"]

ALIKE = 4
"""So many invocations that look alike are drawn as one and a count."""


class Group(NamedTuple):
    """Invocations under one parent: the one that is drawn, and those that look like it."""

    first: int
    others: tuple[int, ...] = ()


class Figure(NamedTuple):
    """The causal tree of a run.

    Args:
        run: the run.
        roots: the events that hang under nothing, because they came from outside or nobody knows from where, each
            with the invocations that work on it; 0 is the event of which nothing is known.
        children: of each invocation, those that work on its events, in order.
        shapes: a number for each invocation; those with the same number look alike down to their last descendant.
        sizes: how many invocations hang under each, itself included.
    """

    run: Run
    roots: dict[int, tuple[int, ...]]
    children: dict[int, tuple[int, ...]]
    shapes: dict[int, int]
    sizes: dict[int, int]


def lay_out(run: Run) -> Figure:
    """Find the causal tree of a run."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    roots: dict[int, list[int]] = {event.id: [] for event in run.events.values() if not event.source and event.id > 0}
    for invocation in run.invocations.values():
        event = run.events.get(invocation.event)
        if event is not None and event.source in run.invocations and event.source < event.id < invocation.id:
            children[event.source].append(invocation.id)
        else:
            roots.setdefault(invocation.event, []).append(invocation.id)
    ordered = {id: tuple(sorted(some)) for id, some in children.items()}
    shapes, sizes = _measure(run, ordered)
    tops = {id: tuple(sorted(roots[id])) for id in sorted(roots)}
    return Figure(run, tops, ordered, shapes, sizes)


def _measure(run: Run, children: dict[int, tuple[int, ...]]) -> tuple[dict[int, int], dict[int, int]]:
    """Give shape and size of each invocation; children have higher numbers than what they hang under."""
    known: dict[Hashable, int] = {}
    shapes: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for id in sorted(run.invocations, reverse=True):
        below = children.get(id, ())
        look = (_look(run, run.invocations[id]), tuple(shapes[child] for child in below))
        shapes[id] = known.setdefault(look, len(known))
        sizes[id] = 1 + sum(sizes[child] for child in below)
    return shapes, sizes


def _look(run: Run, invocation: Invocation) -> Hashable:
    """Say what an invocation looks like in a drawing, but for times, numbers and values."""
    event = run.events.get(invocation.event)
    tries = tuple(
        (
            each.outcome,
            each.error.type if each.error is not None else "",
            len(each.written),
            tuple(run.events[id].type for id in each.sent if id in run.events and not run.events[id].takers),
            bool(each.kept),
            bool(each.collected),
            tuple(wait.type for wait in each.waits),
        )
        for each in invocation.attempts
    )
    return invocation.step, event.type if event is not None else "", tries, invocation.retry is not None


def group_alike(figure: Figure, ids: Sequence[int]) -> list[Group]:
    """Group invocations that look alike, if there are many of them; each group stands where its first one does."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for id in ids:
        alike[figure.shapes[id]].append(id)
    groups = []
    for first, *others in alike.values():
        if len(others) + 1 >= ALIKE:
            groups.append(Group(first, tuple(others)))
        else:
            groups += [Group(id) for id in (first, *others)]
    return sorted(groups)


def chain_of(figure: Figure, id: int) -> list[int]:
    """Follow an invocation down for as long as only one hangs under it."""
    chain = [id]
    while len(below := figure.children.get(chain[-1], ())) == 1:
        chain += below
    return chain
