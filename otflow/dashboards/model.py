"""What a dashboard is made of: panels with queries, in rows, as frozen records.

The records say what is shown and what it means. How Grafana wants that written is known by `otflow.dashboards.grafana`
alone; which metrics there are, by the dashboards themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Bars",
    "Colour",
    "Column",
    "Dashboard",
    "Heat",
    "Lines",
    "Link",
    "Number",
    "Panel",
    "Query",
    "Row",
    "Table",
    "Threshold",
    "Variable",
    "View",
]

Colour: TypeAlias = Literal["green", "yellow", "orange", "red", "dark-red", "blue", "purple", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question to Prometheus.

    Args:
        expr: the PromQL; `$workflow`, `$step`, `$__rate_interval` and `$__range` are filled in by Grafana.
        legend: the name of each series, with labels as `{{label}}`; in a table, the name of the column.
        exemplars: whether single observations are drawn too, with links to their traces; default False.
    """

    expr: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """From this value on, a number has this colour.

    Args:
        value: the value, in the unit of the panel.
        colour: the colour; what is below the first threshold is green.
    """

    value: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another page, with the time that is shown.

    Args:
        title: what the link says.
        url: where it leads; values of a row are written `${__data.fields.NAME}`, labels `${__field.labels.NAME}`.
    """

    title: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Show the last value of each series, large, over a line of what it was.

    Args:
        background: whether the colour fills the panel, so that it is seen from afar; default False.
    """

    background: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Show each series as a line over time.

    Args:
        stacked: whether series are put on top of each other; default False.
        colours: the colours of series that mean something, by their legend; the others get any.
    """

    stacked: bool = False
    colours: tuple[tuple[str, Colour], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Show the buckets of a histogram over time: the darker, the more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Show the last value of each series as a bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Args:
        name: its heading: for a label, how it is called; for a value, the legend of its query.
        label: the label that it shows; default empty: it shows values.
        unit: the unit of its values; default plain numbers.
        thresholds: from where on a cell is coloured; default none is.
        link: where its cells lead; default nowhere.
    """

    name: str
    label: str = ""
    unit: str = "short"
    thresholds: tuple[Threshold, ...] = ()
    link: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Show the last values as a table: one row for each set of labels, one column for each query.

    Args:
        columns: first the labels, then one for each query, in their order.
        worst: the column by which it is sorted, the highest first.
    """

    columns: tuple[Column, ...]
    worst: str


View: TypeAlias = Number | Lines | Heat | Bars | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One rectangle of a dashboard.

    Args:
        title: what is shown.
        description: what it tells an operator, and what to do.
        unit: a unit of Grafana, as `s` or `percentunit`.
        queries: what is asked.
        view: how it is shown; default lines.
        width: of 24 columns; default 8.
        height: in rows of about 30 pixels; default 8.
        thresholds: from where on it is worth a look; in lines they are drawn; default none.
        top: the highest value of the axis, if there is one.
        link: where its series lead; default nowhere.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    view: View = Lines()
    width: int = 8
    height: int = 8
    thresholds: tuple[Threshold, ...] = ()
    top: float | None = None
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading.

    Args:
        title: the heading.
        panels: the panels, placed from left to right and from top to bottom.
    """

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """Something that the reader of a dashboard chooses.

    Args:
        name: how queries call it, without the `$`.
        label: how the reader sees it.
        query: the PromQL that lists its values, as `label_values(metric, label)`.
        several: whether several may be chosen, or all; default False: exactly one.
    """

    name: str
    label: str
    query: str
    several: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of panels.

    Args:
        uid: its lasting id, of at most 40 letters, digits and hyphens: links lead to it.
        title: its name.
        description: which question it answers.
        rows: its panels.
        variables: what its reader chooses, after the data source.
        span: how much time is shown at first; default the last hour.
        refresh: how often it is renewed; default 30 seconds.
        links: what stands at its top, after the links to the other dashboards; default nothing.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    span: str = "now-1h"
    refresh: str = "30s"
    links: tuple[Link, ...] = ()
