"""What the tests of dashboards share: every page, a workflow of their own, and a reader of PromQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow
from otflow.dashboards.definition import Definition, define
from otflow.dashboards.health import health
from otflow.dashboards.model import Dashboard, Panel, Query
from otflow.dashboards.overview import overview
from otflow.dashboards.steps import steps
from otflow.dashboards.waits import waits
from otflow.dashboards.workflow_dashboard import workflow_dashboard
from otflow.decorators import catch_error, step
from otflow.events import StepFailedEvent
from otflow.retry_policy import retry_if_exception_type, retry_policy, stop_after_attempt, wait_fixed


class Item(Event):
    number: int


class Packed(Event):
    pass


class Question(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Order(Workflow):
    """Written down in another order than events reach it."""

    @step
    async def finish(self, ev: Answer) -> StopEvent:
        return StopEvent()

    @step(
        num_workers=2, retry_policy=retry_policy(retry_if_exception_type(OSError), wait_fixed(2), stop_after_attempt(4))
    )
    async def pack(self, ctx: Context, ev: Item) -> Packed:
        return Packed()

    @step
    async def ask(self, ev: Packed) -> Question:
        return Question()

    @catch_error(for_steps=["pack"])
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent()

    @step(num_workers=1)
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(number=1)]


def order(timeout: float | None = 60.0) -> Definition:
    """Make the definition of the workflow."""
    return define(Order().graph, timeout)


def every_page() -> list[Dashboard]:
    """Make every dashboard: the general ones, and those of workflows."""
    return [overview(), steps(), waits(), health(), workflow_dashboard(order()), workflow_dashboard(order(None))]


def panels(page: Dashboard) -> Iterator[Panel]:
    """Give the panels of a dashboard."""
    return (panel for row in page.rows for panel in row.panels)


def queries(page: Dashboard) -> Iterator[tuple[str, Query]]:
    """Give the queries of a dashboard, each with where it stands."""
    for panel in panels(page):
        yield from ((f"{page.title}: {panel.title}: {query.expr}", query) for query in panel.queries)


# --- PromQL ---------------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<window>\[[^\]]*\])
    |(?P<number>\d[\w.]*|\+?Inf)
    |(?P<variable>\$\w+)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<sign>[{}(),]|=~|!~|!=|=|[^\s])""",
    re.VERBOSE,
)
GROUPING = {"by", "on", "without", "ignoring", "group_left", "group_right"}
WORDS = GROUPING | {"and", "or", "unless", "offset", "bool"}


@dataclass
class Reading:
    """What a query asks for.

    Attributes:
        selectors: each metric with the labels that it is selected by, and their values.
        kept: the labels that are kept or matched on.
    """

    selectors: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)


def read(expr: str) -> Reading:
    """Find the metrics and labels in a query."""
    found = Reading()
    tokens = [(match.lastgroup, match[0]) for match in TOKEN.finditer(expr)]
    place = 0
    while place < len(tokens):
        kind, text = tokens[place]
        after = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name" and text in GROUPING and after == "(":
            place += 2
            while tokens[place][1] != ")":
                if tokens[place][0] == "name":
                    found.kept.add(tokens[place][1])
                place += 1
        elif (
            kind == "name" and text not in WORDS and after != "(" and not _is_aggregator(tokens, place)
        ) or text == "{":
            labels: dict[str, str] = {}
            start = place if text == "{" else place + 1
            if start < len(tokens) and tokens[start][1] == "{":
                place = start + 1
                while tokens[place][1] != "}":
                    if tokens[place + 1][1] in {"=", "=~", "!=", "!~"}:
                        labels[tokens[place][1]] = tokens[place + 2][1][1:-1]
                    place += 1
            found.selectors.append(("" if text == "{" else text, labels))
        place += 1
    return found


def _is_aggregator(tokens: list[tuple[str | None, str]], place: int) -> bool:
    """Tell whether a name is that of an aggregation: `sum by (...) (...)`."""
    return place + 1 < len(tokens) and tokens[place + 1][1] in {"by", "without"}
