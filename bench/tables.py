"""Turns a report into text: one table per workload, the targets, the failures, the machine.

Pure: nothing is written or measured here. The text carries no dates and no paths, so that a file that holds
it changes only when the figures do.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from cells import Cell, Measurement, Report
from targets import Verdict, judge
from workloads import WORKLOADS, Workload

__all__ = ["BEGIN", "END", "number", "render", "replace_block"]

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

_READING = (
    "Rates are medians, per CPU second of this machine at its fastest; the spread is the distance between "
    "the repetitions, as a share of the median; wall rates and latencies are the best seen."
)

Figure: TypeAlias = Callable[[Measurement], float | None]


def number(value: float | None) -> str:
    """Write a figure with as many digits as it can bear."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> list[str]:
    """Draw a markdown table whose first `words` columns are text and the rest figures."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return [*(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)), ""]


def summary(
    found: Sequence[Measurement], figure: Figure, choose: Callable[[list[float]], float] = statistics.median
) -> str:
    """Write one figure of all repetitions: their median, unless another choice is given."""
    values = [value for one in found if (value := figure(one)) is not None]
    return number(choose(values) if values else None)


def spread(found: Sequence[Measurement]) -> str:
    """Write how far the repetitions lie apart, as a share of their median."""
    rates = [one.rate for one in found]
    return f"{(max(rates) - min(rates)) / statistics.median(rates):.0%}" if len(rates) > 1 else "-"


def beside(reference: Sequence[Measurement]) -> Figure:
    """Return a figure: the CPU of one operation in units of the reference, within the repetition."""
    rates = {one.repetition: one.rate for one in reference}
    return lambda one: rates[one.repetition] / one.rate if one.repetition in rates else None


def workload_table(workload: Workload, cells: Mapping[Cell, Sequence[Measurement]], speed: float) -> list[str]:
    """Draw the table of one workload, the fastest peer first; nothing when nobody did it.

    Args:
        workload: the workload.
        cells: what was measured.
        speed: beats per CPU second of the machine at its fastest; it turns rates into operations per second.
    """
    mine = {cell: found for cell, found in cells.items() if cell.workload == workload.name}
    if not mine:
        return []
    against_raw = beside(mine.get(Cell("raw_asyncio", "untraced", workload.name), ()))
    unit = workload.unit
    head = ["peer", "variant", f"{unit}s per CPU second", "spread", f"{unit}s per second, best"]
    head += ["CPU / raw asyncio", f"spans per {unit}", "peak MiB", "p50 ms", "p99 ms"]
    rows = [
        [
            cell.peer,
            cell.variant,
            summary(found, lambda one: one.rate * speed),
            spread(found),
            summary(found, lambda one: one.rate_wall, max),
            summary(found, against_raw),
            summary(found, lambda one: one.spans_per_op),
            summary(found, lambda one: one.peak_bytes / 2**20),
            # wall times are only ever lengthened by neighbours, so the shortest is the nearest
            summary(found, lambda one: one.p50_ms, min),
            summary(found, lambda one: one.p99_ms, min),
        ]
        for cell, found in sorted(mine.items(), key=lambda pair: -statistics.median(one.rate for one in pair[1]))
    ]
    if all(row[-1] == "-" for row in rows):  # only short runs have latencies
        head, rows = head[:-2], [row[:-2] for row in rows]
    size = next(iter(mine.values()))[0].size
    return [f"#### {workload.name}: {workload.meaning.format(size=size)}", "", *table(head, rows, 2)]


def target_row(verdict: Verdict) -> list[str]:
    """Write one target and what became of it."""
    target, figures = verdict.target, verdict.figures
    wanted = f"{target.sense} {target.bound:g}{target.unit}"
    if not figures:
        return [target.name, target.meaning, "not measured", "-", "-", wanted]
    between = f"{number(min(figures))} to {number(max(figures))}" if len(figures) > 1 else "-"
    answer = "yes" if verdict.met else "**no**"
    return [target.name, target.meaning, answer, f"{number(verdict.median)}{target.unit}", between, wanted]


def target_table(report: Report) -> list[str]:
    """Draw the table of the targets."""
    head = ["", "what is compared", "met", "median", "repetitions", "wanted"]
    return ["#### Targets", "", *table(head, [target_row(verdict) for verdict in judge(report)], 3)]


def failure_table(report: Report) -> list[str]:
    """Draw the table of the cells that gave no number; nothing when all did."""
    if not report.failures:
        return []
    rows = [
        [
            one.cell.peer,
            one.cell.variant,
            one.cell.workload,
            str(one.repetition + 1),
            one.reason.replace("|", "/"),
        ]
        for one in report.failures
    ]
    head = ["peer", "variant", "workload", "repetition", "reason"]
    return ["#### Failures", "", *table(head, rows, 5)]


def conditions(report: Report) -> list[str]:
    """Describe where and with what the figures were measured."""
    measurements = report.measurements
    pythons = ", ".join(sorted({one.python for one in measurements}))
    repetitions = len({one.repetition for one in measurements})
    place = f"Python {pythons} on {report.machine.system}, {report.machine.cores} cores"
    versions = {one.cell.peer: one.versions for one in measurements if one.versions}
    lines = [
        f"- {peer}: " + ", ".join(f"{name} {version}" for name, version in found.items())
        for peer, found in sorted(versions.items())
    ]
    how = f"Measured by `{report.command}` with {place}; repetitions: {repetitions}."
    return [how, _READING, "", *lines]


def render(report: Report) -> str:
    """Return the whole report as markdown."""
    cells: dict[Cell, list[Measurement]] = {}
    for measurement in report.measurements:
        cells.setdefault(measurement.cell, []).append(measurement)
    speed = max((one.speed for one in report.measurements), default=0.0)
    tables = [line for workload in WORKLOADS.values() for line in workload_table(workload, cells, speed)]
    return "\n".join([*tables, *target_table(report), *failure_table(report), *conditions(report)]) + "\n"


def replace_block(text: str, block: str) -> str:
    """Put `block` between the two marker comments of a markdown text.

    Raises:
        ValueError: the text does not hold the two markers, in order, once each.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"no place for the tables: the file needs one {BEGIN} and, below it, one {END}")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{block}\n{END}{tail}"
