"""The targets: what this project promises, as ratios inside one run of the benchmark.

Pure: measurements in, verdicts out. A ratio is formed within a repetition, and the median over them is
compared with the bound.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cells import Cell, Measurement, Report

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

Round: TypeAlias = Mapping[Cell, Measurement]
"""What was measured in one repetition."""


@dataclass(frozen=True, slots=True)
class Target:
    """One promise.

    Args:
        name: its number in the design.
        meaning: what is compared, in words.
        value: takes one repetition and gives the figure; raises KeyError when a cell was not measured.
        sense: whether the bound is a floor or a ceiling.
        bound: the bound.
        unit: what follows the figure.
    """

    name: str
    meaning: str
    value: Callable[[Round], float]
    sense: Literal["at least", "at most"]
    bound: float
    unit: str = "x"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target.

    Args:
        target: the target.
        figures: one figure for each repetition in which every cell that it needs gave a number.
    """

    target: Target
    figures: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """The figure that counts; None when the target was not measured."""
        return statistics.median(self.figures) if self.figures else None

    @property
    def met(self) -> bool:
        """Whether the median is on the right side of the bound."""
        median = self.median
        if median is None:
            return False
        return median >= self.target.bound if self.target.sense == "at least" else median <= self.target.bound


def ratio(above: Cell, below: Cell) -> Callable[[Round], float]:
    """Return the quotient of two rates."""
    return lambda measured: measured[above].rate / measured[below].rate


def traced(workload: str) -> Cell:
    """Name a cell of this project with all spans built."""
    return Cell("otflow", "traced", workload)


def untraced(peer: str, workload: str) -> Cell:
    """Name a cell of a peer without tracing."""
    return Cell(peer, "untraced", workload)


def against(peer: str, workload: str) -> Callable[[Round], float]:
    """Compare this project, traced, with an untraced peer."""
    return ratio(traced(workload), untraced(peer, workload))


TARGETS: tuple[Target, ...] = (
    Target("T1", "chain, traced / llamaindex untraced", against("llamaindex", "chain"), "at least", 30),
    Target("T2", "chain, traced / llamaindex_old untraced", against("llamaindex_old", "chain"), "at least", 5),
    Target(
        "T3",
        "chain, traced / raw_otel (one SDK span per step)",
        ratio(traced("chain"), Cell("raw_otel", "traced", "chain")),
        "at least",
        2,
    ),
    Target(
        "T4",
        "chain up to OTLP bytes, traced / raw_otel with the stock encoder",
        ratio(Cell("otflow", "encoded", "chain_bytes"), Cell("raw_otel", "encoded", "chain_bytes")),
        "at least",
        3,
    ),
    Target(
        "T4b",
        "the same, beside stock spans with as many attributes",
        ratio(Cell("otflow", "encoded", "chain_bytes"), Cell("raw_otel", "as much", "chain_bytes")),
        "at least",
        3,
    ),
    Target(
        "T7a",
        "short runs one after another, traced / llamaindex untraced",
        against("llamaindex", "short_seq"),
        "at least",
        20,
    ),
    Target(
        "T7b",
        "short runs, 100 in flight, traced / llamaindex untraced",
        against("llamaindex", "short_conc"),
        "at least",
        20,
    ),
    Target(
        "T9",
        "fan-out of 1,000, traced / llamaindex untraced",
        against("llamaindex", "fanout"),
        "at least",
        150,
    ),
    Target(
        "T10",
        "fan-out, traced: rate at 10,000 / rate at 1,000",
        ratio(traced("fanout_wide"), traced("fanout")),
        "at least",
        0.9,
    ),
    Target("T11", "state writes, traced / llamaindex untraced", against("llamaindex", "state"), "at least", 15),
    Target("T12", "streaming, traced / llamaindex untraced", against("llamaindex", "stream"), "at least", 6),
    Target(
        "T13a",
        "chain, traced: rate of the long chain / rate at 1,000 steps",
        ratio(traced("chain_long"), traced("chain")),
        "at least",
        0.95,
    ),
    Target(
        "T13b",
        "long chain, traced: growth of peak memory per step",
        lambda measured: measured[traced("chain_long")].bytes_per_op,
        "at most",
        10,
        " bytes",
    ),
    Target(
        "T19",
        "chain, CPU per step idle / prototype without a dispatcher",
        ratio(untraced("prototype", "chain"), Cell("otflow", "idle", "chain")),
        "at most",
        1.5,
    ),
)


def judge(report: Report, targets: tuple[Target, ...] = TARGETS) -> list[Verdict]:
    """Hold a report against the targets."""
    rounds: dict[int, dict[Cell, Measurement]] = {}
    for measurement in report.measurements:
        rounds.setdefault(measurement.repetition, {})[measurement.cell] = measurement
    return [Verdict(target, tuple(figures(target, rounds.values()))) for target in targets]


def figures(target: Target, rounds: Iterable[Round]) -> Iterator[float]:
    """Yield the figure of a target for each repetition that holds what it needs."""
    for measured in rounds:
        try:
            yield target.value(measured)
        except KeyError:  # a cell is missing: it was not asked for, or it failed
            continue
