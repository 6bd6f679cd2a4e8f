"""The records of the benchmark: what was to be measured, and what came out.

This room only holds data and turns it into JSON and back; it knows neither peers nor tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

__all__ = [
    "RESULT_MARK",
    "Cell",
    "Failure",
    "Machine",
    "Measurement",
    "Outcome",
    "Report",
    "decode",
    "decode_outcome",
    "encode",
]

RESULT_MARK = "@bench "
"""What the line of a worker that carries its measurement begins with."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One peer in one variant doing one workload; measured in a process of its own."""

    peer: str
    variant: str
    workload: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one process measured.

    Args:
        cell: what was measured.
        repetition: which round it belongs to; ratios never cross rounds.
        size: operations in one iteration.
        iterations: how often the workload was done inside the timing.
        rate: operations per beat of the metronome, of the median iteration; what ratios are made of.
        rate_cpu: operations per second of CPU time of the process (all threads), of the median iteration.
        rate_wall: operations per second of wall time, of the best iteration.
        speed: the highest speed of the machine seen meanwhile, in beats per CPU second.
        spans_per_op: finished spans per operation; None in an untraced variant.
        p50_ms: median latency of one short run in milliseconds; None elsewhere.
        p99_ms: its 99th percentile.
        bytes_per_op: growth of the peak resident memory inside the timing, per operation of one iteration.
        peak_bytes: peak resident memory at the end.
        python: version of the interpreter.
        versions: version of each named distribution.
    """

    cell: Cell
    repetition: int
    size: int
    iterations: int
    rate: float
    rate_cpu: float
    rate_wall: float
    speed: float
    spans_per_op: float | None
    p50_ms: float | None
    p99_ms: float | None
    bytes_per_op: float
    peak_bytes: int
    python: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that gave no number: an exception, a wrong check value, missing spans or a timeout."""

    cell: Cell
    repetition: int
    reason: str


Outcome: TypeAlias = Measurement | Failure


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a report was measured: operating system and architecture, and the number of cores."""

    system: str
    cores: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one command measured."""

    machine: Machine
    command: str
    outcomes: tuple[Outcome, ...]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The outcomes that are numbers."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Measurement))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The outcomes that are not."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failure))


def encode(record: Outcome | Report) -> dict[str, object]:
    """Return a record as a tree of JSON values."""
    return asdict(record)


def decode_outcome(row: Mapping[str, Any]) -> Outcome:
    """Rebuild one outcome from its JSON form."""
    fields = {**row, "cell": Cell(**row["cell"])}
    return Failure(**fields) if "reason" in fields else Measurement(**fields)


def decode(tree: Mapping[str, Any]) -> Report:
    """Rebuild a report from its JSON form."""
    outcomes = tuple(decode_outcome(row) for row in tree["outcomes"])
    return Report(Machine(**tree["machine"]), tree["command"], outcomes)
