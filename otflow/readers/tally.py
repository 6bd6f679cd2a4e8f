"""A list of runs, made without keeping their records: of each run only what a list shows stays in memory.

A record counts here if it counts for whoever reads the run: it is decoded whole, and forgotten.
"""

from __future__ import annotations

import msgspec

from otflow.readers.sightings import Branch, Sighting, find_run, is_possible, read_records, tell_missing
from otflow.records.execution import RunInfo
from otflow.records.record import (
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
)

__all__ = ["Tally"]

_CHUNK = 1024
_MOST = 1 << 53
_ENDS: dict[type, str] = {
    RunCompleted: "completed",
    RunFailed: "failed",
    RunCancelled: "cancelled",
    RunTimedOut: "timed out",
}


class _Numbers(msgspec.Struct):
    """A set of numbers, which mostly follow each other."""

    ranges: list[tuple[int, int]] = []
    fresh: list[int] = []

    def add(self, number: int) -> None:
        self.fresh.append(number)
        if len(self.fresh) > _CHUNK + len(self.ranges):
            self.pack()

    def pack(self) -> None:
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.ranges, *((each, each) for each in self.fresh)]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        self.ranges, self.fresh = merged, []

    def count(self, until: int) -> int:
        return sum(min(last, until - 1) - first + 1 for first, last in self.ranges if first < until)


class _Line(msgspec.Struct):
    """What is known of one branch of a run: numbers and times of the first and of the last record, and its turns.

    `top` is the highest number of a record that has to exist, as far as it is not there.
    """

    numbers: _Numbers
    low: tuple[int, int] = (_MOST, 0)
    high: tuple[int, int] = (0, 0)
    top: int = 0
    paused: int = 0
    resumed: int = 0
    ended: int = 0
    outcome: str = ""
    starts: dict[int, str] = {}
    turned: bool = False

    def take(self, record: Record) -> None:
        seq, kind = record.seq, type(record)
        self.numbers.add(seq)
        here = (seq, record.at)
        self.low, self.high = min(self.low, here), max(self.high, here)
        if kind is RunPaused:
            self.paused = max(self.paused, seq)
        elif isinstance(record, RunResumed):
            self.resumed = max(self.resumed, seq)
            self.turned = self.turned or record.snapshot is not None
        elif isinstance(record, RunStarted):
            self.starts[record.at] = record.workflow
        elif kind in _ENDS and seq >= self.ended:
            self.ended, self.outcome = seq, _ENDS[kind]


class Tally:
    """Counts the records of runs.

    Args:
        place: where they are found.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._runs: dict[str, dict[Branch, _Line]] = {}

    def add(self, sighting: Sighting) -> None:
        """Take what a span tells."""
        text = sighting.text
        records, whole = read_records(text) if text is not None else ([], sighting.pending)
        if not whole and sighting.again is not None:
            sighting = sighting.again() or sighting
        run = sighting.run
        for record in records:
            if is_possible(record):
                run = record.run
                self._line(run, sighting.branch).take(record)
            else:
                whole = False
        run = run or ("" if whole else find_run(sighting))
        if run and (sighting.final or sighting.omitted or sighting.pending or not whole):
            line = self._line(run, sighting.branch)
            line.top = max([line.top, sighting.final, *(gap.last for gap in tell_missing(sighting, whole=whole))])

    def _line(self, run: str, branch: Branch) -> _Line:
        branches = self._runs.get(run)
        if branches is None:
            branches = self._runs[run] = {}
        line = branches.get(branch)
        if line is None:
            line = branches[branch] = _Line(_Numbers())
        return line

    def list(self) -> tuple[list[RunInfo], list[str]]:
        """Return the runs, and the ids of those which have to be read to say more."""
        found: list[RunInfo] = []
        odd: list[str] = []
        for run, branches in self._runs.items():
            if not any(line.high[0] for line in branches.values()):
                continue  # nothing but news of records that are missing
            info = self._sum_up(run, branches)
            if info is None:
                odd.append(run)
            else:
                found.append(info)
        return found, odd

    def _sum_up(self, run: str, branches: dict[Branch, _Line]) -> RunInfo | None:
        starts = {at: name for line in branches.values() for at, name in line.starts.items()}
        if len(starts) > 1 or any(line.turned and not branch[1] for branch, line in branches.items()):
            return None
        count, until, top = 0, _MOST, 0
        kept: list[tuple[_Line, int]] = []
        for branch in sorted(branches, reverse=True):
            line = branches[branch]
            line.numbers.pack()
            top = max(top, min(line.top, until - 1))
            if line.low[0] < until:
                if max(line.paused, line.resumed, line.ended) >= until:
                    return None
                count += line.numbers.count(until)
                kept.append((line, until))
            until = min(until, branch[1] or until)
        if not starts and any(line.turned for line, _ in kept):
            return None  # the saved data say which workflow it is of
        name = next(iter(starts.values()), "")
        first, last = kept[-1][0], kept[0][0]
        return RunInfo(run, name, first.low[1], last.high[1], _outcome(kept, top), count, self._place)


def _outcome(lines: list[tuple[_Line, int]], top: int) -> str:
    """Tell where a run stands by its branches, the last one first, each with the number from which it does not count.

    Records up to `top` have to exist.
    """
    ended = max((line for line, _ in lines), key=lambda line: line.ended)
    if ended.ended:
        return ended.outcome
    paused = max(line.paused for line, _ in lines)
    if paused <= max(line.resumed for line, _ in lines):
        return "open"
    since = sum(line.numbers.count(until) - line.numbers.count(min(paused + 1, until)) for line, until in lines)
    last = max(lines[0][0].high[0], top)
    return "paused" if since == last - paused else "open"  # it may have gone on where records are missing
