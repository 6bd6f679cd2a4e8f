"""A list of runs, made without keeping their records: of each run only what a list shows stays in memory.

It reads of a record no more than its kind, its number and its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import msgspec

from otflow.readers.sightings import Branch, Sighting, read_records
from otflow.readers.source import RunInfo
from otflow.records.record import Record

__all__ = ["Tally"]

_ABSENT = msgspec.Raw()
_CHUNK = 1024
_MOST = 1 << 53
_ENDS = {
    "RunCompleted": "completed",
    "RunFailed": "failed",
    "RunCancelled": "cancelled",
    "RunTimedOut": "timed out",
}


class _Light(msgspec.Struct, gc=False):
    """What a list wants to know of a record."""

    record: str
    seq: int
    run: str
    at: int
    workflow: str = ""
    snapshot: msgspec.Raw = _ABSENT


_KINDS = frozenset(kind.__name__ for kind in get_args(Record))
_LIGHT = msgspec.json.Decoder(list[_Light])


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
    """What is known of one branch of a run: numbers and times of the first and of the last record, and its turns."""

    low: tuple[int, int]
    high: tuple[int, int]
    numbers: _Numbers
    paused: int = 0
    resumed: int = 0
    ended: int = 0
    outcome: str = ""
    starts: dict[int, str] = {}
    turned: bool = False

    def take(self, record: _Light) -> None:
        seq, kind = record.seq, record.record
        self.numbers.add(seq)
        here = (seq, record.at)
        self.low, self.high = min(self.low, here), max(self.high, here)
        if kind == "RunPaused":
            self.paused = max(self.paused, seq)
        elif kind == "RunResumed":
            self.resumed = max(self.resumed, seq)
            self.turned = self.turned or record.snapshot != _ABSENT
        elif kind == "RunStarted":
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
        if sighting.text is None:
            return
        for record in _read(sighting.text):
            if not 0 < record.seq < _MOST:
                continue
            branches = self._runs.setdefault(record.run, {})
            line = branches.get(sighting.branch)
            if line is None:
                here = (record.seq, record.at)
                line = branches[sighting.branch] = _Line(here, here, _Numbers())
            line.take(record)

    def list(self) -> tuple[list[RunInfo], list[str]]:
        """Return the runs, and the ids of those which have to be read to say more."""
        found: list[RunInfo] = []
        odd: list[str] = []
        for run, branches in self._runs.items():
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
        count, until = 0, _MOST
        kept: list[_Line] = []
        for branch in sorted(branches, reverse=True):
            line = branches[branch]
            line.numbers.pack()
            if line.low[0] < until:
                if max(line.paused, line.resumed, line.ended) >= until:
                    return None
                count += line.numbers.count(until)
                kept.append(line)
            until = min(until, branch[1] or until)
        name = next(iter(starts.values()), "")
        first, last = kept[-1], kept[0]
        return RunInfo(run, name, first.low[1], last.high[1], _outcome(kept), count, self._place)


def _outcome(lines: list[_Line]) -> str:
    ended = max(lines, key=lambda line: line.ended)
    if ended.ended:
        return ended.outcome
    paused = max(line.paused for line in lines)
    return "paused" if paused > max(line.resumed for line in lines) else "open"


def _read(text: str) -> Iterable[_Light]:
    try:
        found = _LIGHT.decode(text)
        if all(each.record in _KINDS for each in found):
            return found
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    return [  # as far as they can be read
        _Light(
            type(each).__name__,
            each.seq,
            each.run,
            each.at,
            getattr(each, "workflow", ""),
            msgspec.Raw(b"{}") if getattr(each, "snapshot", None) is not None else _ABSENT,
        )
        for each in read_records(text)[0]
    ]
