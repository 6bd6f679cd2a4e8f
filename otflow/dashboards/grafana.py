"""Dashboards in the words of Grafana: the JSON model of Grafana 11.6, schema version 41.

Ids follow from the order of the panels, so that the same dashboard always gives the same text. This room knows how
Grafana writes things, and no metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_uppercase
from typing import assert_never

from otflow.dashboards.model import (
    Bars,
    Column,
    Dashboard,
    Heat,
    Lines,
    Link,
    Number,
    Panel,
    Query,
    Row,
    Table,
    Threshold,
    Variable,
)

__all__ = ["TAG", "render_dashboard", "write_dashboard"]

TAG = "otflow"
"""The tag by which the dashboards find each other."""

_SCHEMA, _GRAFANA = 41, "11.6.0"
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CALM = "green"  # what lies below every threshold

Json = dict[str, object]


def write_dashboard(dashboard: Dashboard) -> str:
    """Write a dashboard as the text of a JSON file.

    Args:
        dashboard: the dashboard.
    """
    return json.dumps(render_dashboard(dashboard), indent=2, ensure_ascii=False) + "\n"


def render_dashboard(dashboard: Dashboard) -> Json:
    """Put a dashboard into the JSON model of Grafana.

    Args:
        dashboard: the dashboard.
    """
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,  # the time under the pointer is marked in all panels
        "time": {"from": dashboard.span, "to": "now"},
        "fiscalYearStartMonth": 0,
        "refresh": dashboard.refresh,
        "schemaVersion": _SCHEMA,
        "version": 1,
        "links": [_siblings(), *map(_page_link, dashboard.links)],
        "annotations": {"list": [_alert_marks()]},
        "templating": {"list": [_source_variable(), *map(_variable, dashboard.variables)]},
        "panels": list(_place(dashboard.rows)),
    }


# --- the frame -----------------------------------------------------------------------------------------


def _siblings() -> Json:
    return {
        "type": "dashboards",
        "title": "otflow",
        "tags": [TAG],
        "icon": "external link",
        "tooltip": "The other dashboards of otflow",
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }


def _page_link(link: Link) -> Json:
    return {
        "type": "link",
        "title": link.title,
        "url": link.url,
        "tags": [],
        "icon": "doc",
        "tooltip": link.title,
        "asDropdown": False,
        "targetBlank": True,
        "includeVars": False,
        "keepTime": False,
    }


def _alert_marks() -> Json:
    """Return the annotation that marks in every graph when an alert was firing."""
    return {
        "name": "Alerts of otflow",
        "datasource": _SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing", alertname=~"Otflow.+"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{otflow_workflow_name}} {{otflow_step_name}}",
    }


def _source_variable() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "skipUrlSync": False,
    }


def _variable(variable: Variable) -> Json:
    every: Json = {"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if variable.several else {}
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": _SOURCE,
        "query": {"query": variable.query, "refId": f"variable-{variable.name}"},
        "regex": "",
        "hide": 0,
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": variable.several,
        "includeAll": variable.several,
        "skipUrlSync": False,
        **every,
    }


# --- places --------------------------------------------------------------------------------------------


def _place(rows: Iterable[Row]) -> Iterator[Json]:
    """Give each panel its place and its id, as one would write: line by line."""
    top, number = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: Json) -> Json:
    kind, options, custom = _view(panel)
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "transparent": False,
        "datasource": _SOURCE,
        "gridPos": place,
        "pluginVersion": _GRAFANA,
        "targets": [_target(panel, query, place) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel, custom), "overrides": _overrides(panel)},
        "options": options,
        **_transformations(panel),
    }


def _target(panel: Panel, query: Query, place: int) -> Json:
    instant = isinstance(panel.view, Table | Bars)
    shape = {Table: "table", Heat: "heatmap"}.get(type(panel.view), "time_series")
    return {
        "refId": ascii_uppercase[place],
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "format": shape,
        "instant": instant,
        "range": not instant,
        "exemplar": query.exemplars,
        "legendFormat": query.legend or "__auto",
    }


# --- views ---------------------------------------------------------------------------------------------


def _view(panel: Panel) -> tuple[str, Json, Json]:
    """Return the panel type of a view, its options, and what it says about fields."""
    match panel.view:
        case Number(background=background):
            return "stat", _number_options(background=background), {}
        case Lines(stacked=stacked):
            legend = {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            }
            return "timeseries", {"legend": legend, "tooltip": _TOOLTIP}, _line_style(panel, stacked=stacked)
        case Heat():
            return "heatmap", _heat_options(panel.unit), {"scaleDistribution": {"type": "linear"}}
        case Bars():
            return "bargauge", _BAR_OPTIONS, {}
        case Table(worst=worst):
            options: Json = {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": worst, "desc": True}]}
            return "table", options, {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
        case _ as never:
            assert_never(never)


_TOOLTIP: Json = {"mode": "multi", "sort": "desc"}
_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_BAR_OPTIONS: Json = {
    "displayMode": "basic",
    "orientation": "horizontal",
    "valueMode": "color",
    "namePlacement": "auto",
    "showUnfilled": True,
    "sizing": "auto",
    "minVizWidth": 8,
    "minVizHeight": 16,
    "maxVizHeight": 300,
    "reduceOptions": _LAST,
}


def _number_options(*, background: bool) -> Json:
    return {
        "colorMode": "background" if background else "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "reduceOptions": _LAST,
    }


def _heat_options(unit: str) -> Json:
    return {
        "calculate": False,  # Prometheus has sorted the observations into buckets already
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }


def _line_style(panel: Panel, *, stacked: bool) -> Json:
    return {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 8,
        "gradientMode": "none",
        "showPoints": "auto",
        "pointSize": 5,
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisSoftMin": 0,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
    }


# --- fields --------------------------------------------------------------------------------------------


def _defaults(panel: Panel, custom: Json) -> Json:
    by_value = not isinstance(panel.view, Lines)
    bounds: Json = {} if panel.top is None else {"max": panel.top}
    return {
        "unit": panel.unit,
        "min": 0,
        **bounds,
        "color": {"mode": "thresholds" if by_value else "palette-classic"},
        "thresholds": _steps(panel.thresholds),
        "noValue": "0" if isinstance(panel.view, Number) else "-",
        "links": [] if panel.link is None else [_data_link(panel.link)],
        "custom": custom,
    }


def _steps(thresholds: Sequence[Threshold], calm: str = _CALM) -> Json:
    first: Json = {"color": calm, "value": None}
    return {"mode": "absolute", "steps": [first, *({"color": it.colour, "value": it.value} for it in thresholds)]}


def _data_link(link: Link) -> Json:
    return {"title": link.title, "url": link.url, "targetBlank": False}


def _overrides(panel: Panel) -> list[Json]:
    match panel.view:
        case Lines(colours=colours):
            named = ((name, {"mode": "fixed", "fixedColor": colour}) for name, colour in colours)
            return [_override(name, [("color", value)]) for name, value in named]
        case Table(columns=columns):
            return [_override(column.name, _cells(column)) for column in columns]
        case _:
            return []


def _override(name: str, properties: Iterable[tuple[str, object]]) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties],
    }


def _cells(column: Column) -> Iterator[tuple[str, object]]:
    if column.link is not None:
        yield "links", [_data_link(column.link)]
    if column.label:
        return
    yield "unit", column.unit
    if column.thresholds:
        yield "thresholds", _steps(column.thresholds, "transparent")
        yield "custom.cellOptions", {"type": "color-background", "mode": "basic"}


def _transformations(panel: Panel) -> Json:
    """Make one table of the answers to all queries: without it each would be a table of its own."""
    if not isinstance(panel.view, Table):
        return {}
    labels = [column for column in panel.view.columns if column.label]
    values = [column for column in panel.view.columns if not column.label]
    # with one query Grafana calls the column `Value`, with several `Value #A` and so on
    keys = [f"Value #{ascii_uppercase[place]}" for place in range(len(values))] if len(values) > 1 else ["Value"]
    names = {column.label: column.name for column in labels} | {
        key: column.name for key, column in zip(keys, values, strict=True)
    }
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {key: place for place, key in enumerate(names)},
        "renameByName": names,
    }
    return {"transformations": [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]}
