"""The plan of a workflow as the core sees it: names, numbers and one routing table, made once per class.

Event classes appear as type keys only.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["NOWHERE", "Plan", "Route", "StepPlan"]


class Route(msgspec.Struct, frozen=True):
    """Where events of one type go: the accepting steps, and whether they end the run or ask the outside.

    `sole` is the step when there is exactly one and the event does nothing else; it follows from the rest.
    """

    steps: tuple[str, ...] = ()
    stop: bool = False
    question: bool = False
    sole: str = ""

    def __post_init__(self) -> None:
        plain = len(self.steps) == 1 and not self.stop and not self.question
        msgspec.structs.force_setattr(self, "sole", self.steps[0] if plain else "")


NOWHERE = Route()


class StepPlan(msgspec.Struct, frozen=True):
    """What the core knows of a step: its worker limit, and the handler that catches its final failure, if any.

    `max_recoveries` bounds how often one lineage of events may pass through that handler.
    """

    name: str
    num_workers: int = 4
    catcher: str = ""
    max_recoveries: int = 1


class Plan(msgspec.Struct):
    """A workflow for the core.

    `routes` maps type keys to routes and may grow when a run meets a type that was not declared. `external` are
    the types that some step accepts and none makes: only the outside can send them. `produced` are the types
    that steps declare to make, each with the steps that make it.
    """

    workflow: str
    digest: str
    steps: Mapping[str, StepPlan]
    routes: dict[str, Route]
    external: frozenset[str] = frozenset()
    produced: Mapping[str, tuple[str, ...]] = {}
