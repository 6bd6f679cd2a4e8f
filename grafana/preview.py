"""Draw a dashboard without Grafana: asks Prometheus every query of a page, and draws the answers as one SVG.

    python grafana/preview.py grafana/dashboards/otflow-overview.json http://127.0.0.1:9090 picture.svg [workflow]

It shows what the queries answer, in the places that the page gives them. What Grafana makes of it looks different.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

COLUMN, ROW, GAP = 50, 30, 4  # pixels
SPAN, STEP = 300, 5  # seconds
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffa6b0", "#c8f2c2")
NAMED = {
    "green": "#56a64b", "yellow": "#f2cc0c", "orange": "#ff780a", "red": "#e02f44", "dark-red": "#8f1d2b",
    "blue": "#5794f2", "text": "#9fa7b3", "transparent": "none",
}  # fmt: skip
Json = dict[str, object]


def ask(base: str, path: str, **query: object) -> list[Json]:
    """Ask Prometheus; give the series."""
    with urllib.request.urlopen(f"{base}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def fill_in(expr: str, workflow: str) -> str:
    """Put values in place of the variables."""
    values = {"workflow": workflow, "step": ".*", "__rate_interval": "20s", "__range": f"{SPAN}s"}
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expr)


def show(value: float, unit: str) -> str:
    """Write a number with its unit."""
    if math.isnan(value):
        return "-"
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s":
            return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes":
            return f"{value / 1024:.3g} KiB"
        case _ if unit.startswith("suffix:"):
            return f"{_round(value)} {unit[7:]}"
        case _:
            return _round(value)


def _round(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def colour_of(value: float, steps: Iterable[Json]) -> str:
    """Find the colour of a value."""
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return NAMED[reached[-1]["color"]]


def text(x: float, y: float, words: str, *, size: int = 12, colour: str = "#ccccdc", anchor: str = "start") -> str:
    """Write words."""
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(words)}</text>'


def name_of(target: Json, labels: Json) -> str:
    """Name a series as its legend says."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: str(labels.get(match[1], "")), str(target["legendFormat"])).strip()


def draw_page(page: Json, base: str, workflow: str) -> str:
    """Draw all panels in their places."""
    panels = page["panels"]
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW
    shapes = [
        f'<rect width="{24 * COLUMN}" height="{bottom + 36}" fill="#111217"/>',
        text(8, 24, page["title"], size=18),
    ]
    for panel in panels:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN, place["y"] * ROW + 36
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        shapes.append(f'<g transform="translate({x},{y})">')
        if panel["type"] == "row":
            shapes.append(text(6, 19, panel["title"], size=14))
        else:
            shapes.append(f'<rect width="{width}" height="{height}" rx="2" fill="#181b1f" stroke="#2a2d33"/>')
            shapes += draw_panel(panel, base, workflow, width, height)
            shapes.append(text(8, 17, panel["title"]))
        shapes.append("</g>")
    size = f'width="{24 * COLUMN}" height="{bottom + 36}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    return "\n".join([head, *shapes, "</svg>", ""])


def draw_panel(panel: Json, base: str, workflow: str, width: int, height: int) -> Iterator[str]:
    """Draw what a panel shows."""
    now = time.time()
    answers = []
    for target in panel["targets"]:
        expr = fill_in(target["expr"], workflow)
        if target["instant"]:
            found = ask(base, "query", query=expr)
        else:
            found = ask(base, "query_range", query=expr, start=now - SPAN, end=now, step=STEP)
        answers.append((target, found))
    draw = {"stat": draw_number, "table": draw_table, "bargauge": draw_bars, "heatmap": draw_heat}
    return draw.get(panel["type"], draw_lines)(panel, answers, width, height)


def draw_number(panel: Json, answers: list, width: int, height: int) -> Iterator[str]:
    """Draw the last value, large."""
    defaults = panel["fieldConfig"]["defaults"]
    values = [float(series["values"][-1][1]) for _, found in answers for series in found]
    value = values[0] if values else math.nan
    colour = colour_of(value, defaults["thresholds"]["steps"]) if values else NAMED["text"]
    if panel["options"]["colorMode"] == "background":
        yield f'<rect width="{width}" height="{height}" rx="2" fill="{colour}"/>'
        colour = "#ffffff"
    yield text(width / 2, height / 2 + 18, show(value, defaults["unit"]), size=28, colour=colour, anchor="middle")


def draw_lines(panel: Json, answers: list, width: int, height: int) -> Iterator[str]:
    """Draw lines over time, one on the other if they are stacked, with thresholds and a legend."""
    defaults = panel["fieldConfig"]["defaults"]
    fixed = {
        rule["matcher"]["options"]: NAMED[rule["properties"][0]["value"]["fixedColor"]]
        for rule in panel["fieldConfig"]["overrides"]
    }
    series = [
        (name_of(target, each["metric"]), {moment: float(value) for moment, value in each["values"]})
        for target, found in answers
        for each in found
    ]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        below: dict[float, float] = {}
        for _, values in series:
            for moment in values:
                below[moment] = values[moment] = values[moment] + below.get(moment, 0.0)
    finite = [value for _, values in series for value in values.values() if math.isfinite(value)]
    limits = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
    top = defaults.get("max") or max([*finite, 1e-9]) * 1.1
    left, base, room, tall = 62, height - 46, width - 72, height - 76
    moments = [moment for _, values in series for moment in values]
    first, last = min(moments, default=0), max(moments, default=1)

    def at(moment: float, value: float) -> str:
        return f"{left + room * (moment - first) / max(1, last - first):.1f},{base - tall * min(value / top, 1):.1f}"

    for share in (0, 0.5, 1):
        y = base - tall * share
        yield f'<line x1="{left}" x2="{left + room}" y1="{y:.0f}" y2="{y:.0f}" stroke="#2a2d33"/>'
        yield text(left - 6, y + 4, show(top * share, defaults["unit"]), size=10, anchor="end", colour="#9fa7b3")
    for limit in (limit for limit in limits if limit <= top):
        y, colour = base - tall * limit / top, colour_of(limit, defaults["thresholds"]["steps"])
        place = f'x1="{left}" x2="{left + room}" y1="{y:.0f}" y2="{y:.0f}"'
        yield f'<line {place} stroke="{colour}" stroke-dasharray="6 4"/>'
    x = 8.0
    for place, (name, values) in enumerate(series):
        colour = fixed.get(name, COLOURS[place % len(COLOURS)])
        points = " ".join(at(moment, value) for moment, value in values.items() if math.isfinite(value))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if x + 20 + 6 * len(name) < width:
            yield f'<rect x="{x:.0f}" y="{height - 18}" width="10" height="4" fill="{colour}"/>'
            yield text(x + 14, height - 12, name, size=10)
            x += 24 + 6 * len(name)


def draw_heat(_panel: Json, answers: list, width: int, height: int) -> Iterator[str]:
    """Draw how many observations lie between two bounds, over time."""
    bounds = sorted((float(each["metric"]["le"]), dict(each["values"])) for _, found in answers for each in found)
    moments = sorted({moment for _, values in bounds for moment in values})
    cells = {}
    for (_, lower), (bound, upper) in zip([(0.0, {}), *bounds], bounds, strict=False):
        for moment in moments:
            cells[moment, bound] = float(upper.get(moment, 0)) - float(lower.get(moment, 0))
    used = [bound for bound, _ in bounds if any(cells[moment, bound] > 1e-9 for moment in moments)]
    most = max([*cells.values(), 1e-9])
    left, tall, wide = 62, (height - 50) / max(1, len(used)), (width - 72) / max(1, len(moments))
    for row, bound in enumerate(reversed(used)):
        y = 28 + row * tall
        yield text(left - 6, y + tall / 2 + 4, show(bound, "s"), size=10, anchor="end", colour="#9fa7b3")
        for column, moment in enumerate(moments):
            shade = math.sqrt(max(0.0, cells[moment, bound]) / most)
            if shade > 0.02:
                yield (
                    f'<rect x="{left + column * wide:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall - 1:.1f}" '
                    f'fill="#ff780a" fill-opacity="{shade:.2f}"/>'
                )


def draw_bars(panel: Json, answers: list, width: int, height: int) -> Iterator[str]:
    """Draw the last values as bars."""
    defaults = panel["fieldConfig"]["defaults"]
    rows = [(name_of(target, each["metric"]), float(each["value"][1])) for target, found in answers for each in found]
    top = defaults.get("max") or max([value for _, value in rows] or [1]) or 1
    tall = (height - 40) / max(1, len(rows))
    for row, (name, value) in enumerate(rows):
        y, colour = 30 + row * tall, colour_of(value, defaults["thresholds"]["steps"])
        yield text(8, y + tall / 2 + 4, name, size=11)
        long = (width - 190) * value / top
        yield f'<rect x="110" y="{y + 3:.0f}" width="{long:.0f}" height="{tall - 6:.0f}" fill="{colour}"/>'
        yield text(width - 8, y + tall / 2 + 4, show(value, defaults["unit"]), anchor="end", colour=colour)


def draw_table(panel: Json, answers: list, width: int, height: int) -> Iterator[str]:
    """Draw a table, the worst first."""
    names = panel["transformations"][1]["options"]["renameByName"]
    columns = list(names.values())
    rules = {
        rule["matcher"]["options"]: {each["id"]: each["value"] for each in rule["properties"]}
        for rule in panel["fieldConfig"]["overrides"]
    }
    rows: dict[tuple[str, ...], Json] = {}
    labels = [key for key in names if not key.startswith("Value")]
    for (_, found), key in zip(answers, [key for key in names if key.startswith("Value")], strict=True):
        for each in found:
            who = tuple(each["metric"].get(label, "") for label in labels)
            rows.setdefault(who, dict(zip((names[label] for label in labels), who, strict=True)))[names[key]] = float(
                each["value"][1]
            )
    by = panel["options"]["sortBy"][0]["displayName"]
    wide = width / len(columns)
    for place, column in enumerate(columns):
        yield text(place * wide + 8, 40, column, colour="#6e9fff")
    for line, row in enumerate(sorted(rows.values(), key=lambda it: -float(it.get(by, 0)))):
        y = 64 + line * 26
        if y > height:
            break
        for place, column in enumerate(columns):
            value, rule = row.get(column, math.nan), rules[column]
            if isinstance(value, float):
                colour = colour_of(value, rule["thresholds"]["steps"]) if "thresholds" in rule else "none"
                yield f'<rect x="{place * wide:.0f}" y="{y - 17}" width="{wide - 2:.0f}" height="24" fill="{colour}"/>'
            shown = show(value, rule["unit"]) if isinstance(value, float) else str(value)
            yield text(place * wide + 8, y, shown)


if __name__ == "__main__":
    page, base, goal, *workflow = sys.argv[1:]
    drawn = draw_page(json.loads(Path(page).read_text(encoding="utf-8")), base, *(workflow or [".*"]))
    Path(goal).write_text(drawn, encoding="utf-8")
