"""Panels of the two usual shapes: one number, and one line for each series."""

from __future__ import annotations

from otflow.dashboards.model import Link, Number, Panel, Query, Threshold

__all__ = ["graph", "number"]


def number(
    title: str, expr: str, description: str, *, unit: str = "short", width: int, thresholds: tuple[Threshold, ...] = ()
) -> Panel:
    """Return a panel that shows one number; one with thresholds fills the panel with its colour.

    Args:
        title: what is shown.
        expr: the query; it gives one series.
        description: what it tells an operator, and what to do.
        unit: a unit of Grafana; default plain numbers.
        width: of 24 columns.
        thresholds: from where on it is worth a look; default none.
    """
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(expr=expr, legend=title),),
        view=Number(background=bool(thresholds)),
        width=width,
        height=4,
        thresholds=thresholds,
    )


def graph(
    title: str,
    query: Query,
    description: str,
    *,
    unit: str = "short",
    width: int = 8,
    thresholds: tuple[Threshold, ...] = (),
    link: Link | None = None,
) -> Panel:
    """Return a panel that shows one query as lines.

    Args:
        title: what is shown.
        query: the query.
        description: what it tells an operator, and what to do.
        unit: a unit of Grafana; default plain numbers.
        width: of 24 columns; default 8.
        thresholds: from where on it is worth a look; default none.
        link: where its series lead; default nowhere.
    """
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(query,),
        width=width,
        thresholds=thresholds,
        link=link,
    )
