"""What the tests of metrics share: cells as plain values, and a dispatcher with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable

from otflow.dispatcher import Dispatcher
from otflow.metrics.cells import Cells
from otflow.runtime.clock import ManualClock
from otflow.sinks.metrics import attach

__all__ = ["House", "numbers"]


def numbers(cells: Cells, *names: str) -> dict[str, int | tuple[int, float]]:
    """Give every series by name and labels: a number, or of a histogram count and sum. Zeros are left out.

    Args:
        cells: the cells.
        names: of which instruments, without the `otflow.`; default all.
    """
    found: dict[str, int | tuple[int, float]] = {}
    for family in cells.collect():
        name = family.instrument.name.removeprefix("otflow.")
        if names and name not in names:
            continue
        for point in family.points:
            if point.value:
                found[f"{name}{{{', '.join(point.labels)}}}"] = point.value
        for spread in family.spreads:
            if any(spread.counts):
                found[f"{name}{{{', '.join(spread.labels)}}}"] = (sum(spread.counts), round(spread.sum, 9))
    return found


class House:
    """A dispatcher whose runs are counted, and a clock."""

    def __init__(self, sampled: Callable[[str], bool] | None = None, opt_in: tuple[str, ...] = ()) -> None:
        self.dispatcher = Dispatcher()
        self.clock = ManualClock()
        self.cells = Cells(opt_in=opt_in)
        self.detach = attach(self.dispatcher, self.cells, sampled)

    @property
    def terms(self) -> dict[str, object]:
        """What a workflow is given so that it is counted here."""
        return {"dispatcher": self.dispatcher, "clock": self.clock, "timeout": None}

    def numbers(self, *names: str) -> dict[str, int | tuple[int, float]]:
        """Give every series that is not zero."""
        return numbers(self.cells, *names)
