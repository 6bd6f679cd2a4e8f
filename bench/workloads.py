"""What is measured: the workloads, their sizes and the number of spans that each must leave.

This room knows nothing of peers, processes or tables. Every peer does the same work: the same number of
user functions called, the same data delivered, the same check value returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

__all__ = ["IN_FLIGHT", "WORKLOADS", "Operation", "Workload", "expected_spans"]

Operation = Literal["chain", "short_sequential", "short_concurrent", "fanout", "state", "stream"]

IN_FLIGHT = 100
"""Runs in flight at once in the concurrent workload of short runs."""

_QUICK_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of work.

    Args:
        name: the name on the command line and in the tables.
        operation: which method of an adapter does it.
        size: operations in one iteration.
        warm_up: operations before the clock starts.
        unit: what one operation is.
        meaning: one line for the tables, with a place for the size.
        only: the (peer, variant) pairs that run it; all when empty.
    """

    name: str
    operation: Operation
    size: int
    warm_up: int
    unit: str
    meaning: str
    only: frozenset[tuple[str, str]] = frozenset()

    def sized(self, *, quick: bool) -> int:
        """Return the operations in one iteration, fewer of them where `quick` would otherwise be slow."""
        return min(self.size, _QUICK_MOST) if quick else self.size


_OURS = frozenset({("otflow", "traced")})
_ENCODED = frozenset({("otflow", "encoded"), ("raw_otel", "encoded"), ("raw_otel", "as much")})
_CHAIN = "one run of {size:,} steps"
_FANOUT = "{size:,} events to 16 workers, all collected"
_SHORT = "{size:,} runs of 3 steps"

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("chain", "chain", 1_000, 20, "step", _CHAIN),
        # warmed up until the window of kept spans (10,000) is full, so that its filling is no growth per step
        Workload("chain_long", "chain", 1_000_000, 20_000, "step", _CHAIN, _OURS),
        Workload("chain_bytes", "chain", 5_000, 1_000, "step", f"{_CHAIN}, up to the bytes of OTLP requests", _ENCODED),
        Workload("short_seq", "short_sequential", 100, 5, "run", f"{_SHORT}, one after another"),
        Workload("short_conc", "short_concurrent", 200, 5, "run", f"{_SHORT}, {IN_FLIGHT} in flight"),
        Workload("fanout", "fanout", 1_000, 10, "event", _FANOUT),
        Workload("fanout_wide", "fanout", 10_000, 10, "event", _FANOUT, _OURS),
        Workload("state", "state", 1_000, 5, "write", "one step writes 1 KiB {size:,} times under one key"),
        Workload("stream", "stream", 10_000, 10, "event", "one step streams {size:,} events to a consumer"),
    )
}


def expected_spans(operation: Operation, size: int) -> int:
    """Return how many spans a fully traced peer leaves: one for each step and one for each run."""
    match operation:
        case "chain":
            return size + 1
        case "short_sequential" | "short_concurrent":
            return 4 * size
        case "fanout":  # the emitter, and a worker and a collector for each event
            return 2 * size + 2
        case "state" | "stream":
            return 2
        case _:
            assert_never(operation)
