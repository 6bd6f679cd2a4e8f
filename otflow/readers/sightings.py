"""Sightings: what one span tells of its run, and how the sightings of a run become its execution.

Spans come in any order, twice, cut, from several processes and between those of other libraries. What a span says that
it holds, and does not, becomes a clue for the gap that it leaves. This room knows neither files nor servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from otflow.records.codec import decode, read_body
from otflow.records.execution import Execution, Gap, drop_superseded
from otflow.records.record import Record, RetryScheduled, RunStarted, WaitStarted
from otflow.records.semconv import BRANCH, OMITTED, PENDING, RECORDS, RUN_ID, SEQ_END, SEQ_LAST, SEQ_START

__all__ = [
    "WANTED",
    "Assembly",
    "Branch",
    "Sighting",
    "find_run",
    "is_plain",
    "is_possible",
    "read_branch",
    "read_records",
    "see",
    "tell_missing",
]

Branch: TypeAlias = tuple[int, int]
"""When a run was restored, and from which number on; zeros for the run as it began."""

WANTED = frozenset({BRANCH, OMITTED, PENDING, RECORDS, RUN_ID, SEQ_END, SEQ_LAST, SEQ_START})
"""The attributes that matter."""

_MOST = 1 << 53
_LATEST = 1 << 63  # nanoseconds since the epoch: beyond the year 2200, and no server holds more
_LONGEST = 1e10  # seconds
_ALL: msgspec.json.Decoder[list[Record]] = msgspec.json.Decoder(list[Record], dec_hook=read_body)
_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])
_LOOSE = json.JSONDecoder()


class Sighting(msgspec.Struct):
    """What a span tells of its run.

    Attributes:
        run: the id of the run.
        name: the name of the span.
        text: its records as JSON; None if it has none.
        branch: the branch of the run that it belongs to.
        first, last: the numbers of its first and of its last record; 0 where it does not say.
        final: the number of the last record of the run; 0 if it does not say.
        omitted: how many of its records were left out.
        pending: whether it only announces another span.
        again: looks at the span again, for more than its records; None if all is told already.
    """

    run: str
    name: str
    text: str | None = None
    branch: Branch = (0, 0)
    first: int = 0
    last: int = 0
    final: int = 0
    omitted: int = 0
    pending: bool = False
    again: Callable[[], Sighting | None] | None = None


def see(attributes: Mapping[str, object], name: str) -> Sighting | None:
    """Return what a span tells of a run; None if it is no span of a run.

    Args:
        attributes: its attributes, those in `WANTED` at least.
        name: its name.
    """
    run, text = attributes.get(RUN_ID), attributes.get(RECORDS)
    if not isinstance(run, str) and not isinstance(text, str):
        return None
    return Sighting(
        run if isinstance(run, str) else "",
        name,
        text if isinstance(text, str) else None,
        read_branch(attributes.get(BRANCH)),
        _count(attributes.get(SEQ_START)),
        _count(attributes.get(SEQ_END)),
        _count(attributes.get(SEQ_LAST)),
        _count(attributes.get(OMITTED)),
        attributes.get(PENDING) in (True, "true"),
    )


def _count(value: object) -> int:
    """Read a number, which some servers tell as text; 0 if it is none that can be right."""
    if type(value) is str and value.isdecimal() and len(value) < len(str(_MOST)):
        value = int(value)
    return value if type(value) is int and 0 < value < _MOST else 0


def is_plain(text: str) -> bool:
    """Tell whether a text stands in JSON as it is; not of an empty one."""
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def read_branch(value: object) -> Branch:
    """Read the name of a branch; zeros if it is none."""
    if not isinstance(value, str) or len(value) > 2 * len(str(_MOST)) + 8:
        return 0, 0
    number, _, time = value.partition("@")
    return (int(time), int(number)) if number.isdecimal() and time.isdecimal() else (0, 0)


def is_possible(record: Record) -> bool:
    """Tell whether the number of a record and its times can be right."""
    if not (0 < record.seq < _MOST and 0 <= record.at < _LATEST):
        return False
    if isinstance(record, RetryScheduled):
        return 0 <= record.delay < _LONGEST and 0 <= record.due < _LATEST
    return not isinstance(record, WaitStarted) or 0 <= record.due < _LATEST


def read_records(text: str) -> tuple[list[Record], bool]:
    """Read the records of a span, as far as they can be read.

    Args:
        text: the records as a JSON array, which may be cut.

    Returns:
        The records, and whether these are all that the text holds.
    """
    try:
        return _ALL.decode(text), True
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    try:
        texts = _TEXTS.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):  # cut on the way
        return _salvage(text), False
    found = list(_read_each(texts))
    return found, len(found) == len(texts)


def _read_each(texts: Iterable[bytes | str | msgspec.Raw]) -> Iterable[Record]:
    for text in texts:
        try:
            yield decode(bytes(text) if isinstance(text, msgspec.Raw) else text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):  # of another version
            continue


def _salvage(text: str) -> list[Record]:
    """Read the records that stand before the place where a text was cut."""
    found: list[str] = []
    start = 1
    try:
        while text[start - 1] in "[,":
            _, end = _LOOSE.raw_decode(text, start)
            found.append(text[start:end])
            start = end + 1
    except (ValueError, IndexError, RecursionError):
        pass
    return list(_read_each(found))


def tell_missing(sighting: Sighting, *, whole: bool) -> list[Gap]:
    """Tell what is missing of a span.

    Args:
        sighting: what it tells.
        whole: whether all its records could be read.
    """
    first, last = sighting.first, sighting.last or sighting.first
    name = sighting.name[:100]
    if sighting.pending and first:
        reason = f"There is only the announcement of a span ('{name}') that begins with {first}."
        return [Gap(first, first, reason)]
    found = []
    span = f"the span '{name}' (records {first or '?'} to {last})"
    if last and not whole:
        how = "cannot be read in full" if sighting.text is not None else "are missing"
        found.append(Gap(first or last, last, f"The records of {span} {how}."))
    elif not whole and sighting.text is not None:
        found += _find_unreadable(sighting.text)
    if last and sighting.omitted:
        reason = f"{sighting.omitted} records of {span} were left out, because it would have become too large."
        found.append(Gap(first or last, last, reason))
    return found


def find_run(sighting: Sighting) -> str:
    """Return of which run a span tells of which no record can be read; empty if that cannot be told either."""
    return sighting.run or next((each.run for each in _sketch(sighting.text or "")), "")


def _find_unreadable(text: str) -> list[Gap]:
    """Name the records of a text that are there, and cannot be read or cannot be right."""
    sketches = _sketch(text)
    known = {record.seq for record in read_records(text)[0] if is_possible(record)}
    numbers = [each.seq for each in sketches if 0 < each.seq < _MOST and each.seq not in known]
    return [Gap(seq, seq, f"Record {seq} is there, but it cannot be read.") for seq in numbers]


class _Sketch(msgspec.Struct):
    """What a record that cannot be read may still tell."""

    seq: int = 0
    run: str = ""


_SKETCHES = msgspec.json.Decoder(list[_Sketch])


def _sketch(text: str) -> list[_Sketch]:
    try:
        return _SKETCHES.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return []


class _Track(msgspec.Struct):
    """What is known of one branch of a run."""

    records: list[Record] = []
    clues: list[Gap] = []
    final: int = 0


class Assembly:
    """Puts the sightings of runs together.

    Attributes:
        faults: what could not be read at all, of whichever run; one sentence each.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._runs: dict[str, dict[Branch, _Track]] = {}

    def add(self, sighting: Sighting, only: str = "") -> None:
        """Take what a span tells.

        Args:
            sighting: what it tells.
            only: the beginning of the ids of the runs that matter; default "": all do.
        """
        text = sighting.text
        if only and is_plain(only) and not sighting.run.startswith(only) and (text is None or only not in text):
            return
        records, whole = read_records(text) if text is not None else ([], sighting.pending)
        if not whole and sighting.again is not None:
            sighting = sighting.again() or sighting
        run, kept = sighting.run, None
        for record in records:
            if not is_possible(record):
                whole = False
                continue
            if kept is None or record.run != run:
                run = record.run  # the attribute may be cut
                kept = self._track(run, sighting.branch).records if run.startswith(only) else []
            kept.append(record)
        run = run or ("" if whole else find_run(sighting))
        if run.startswith(only) and run and (sighting.final or sighting.omitted or sighting.pending or not whole):
            self._note(sighting, run, whole)

    def _note(self, sighting: Sighting, run: str, whole: bool) -> None:
        track = self._track(run, sighting.branch)
        track.final = max(track.final, sighting.final)
        track.clues += tell_missing(sighting, whole=whole)

    def add_records(self, records: Iterable[Record]) -> None:
        """Take records that stand for themselves."""
        for record in records:
            if is_possible(record):
                self._track(record.run, (0, 0)).records.append(record)

    def _track(self, run: str, branch: Branch) -> _Track:
        branches = self._runs.get(run)
        if branches is None:
            branches = self._runs[run] = {}
        track = branches.get(branch)
        if track is None:
            track = branches[branch] = _Track()
        return track

    def executions(self) -> list[Execution]:
        """Return the runs, the earliest first; those of which no record is known are left out."""
        found = [self._assemble(branches) for branches in self._runs.values()]
        return sorted((each for each in found if each is not None), key=lambda each: (each.records[0].at, each.run_id))

    def _assemble(self, branches: Mapping[Branch, _Track]) -> Execution | None:
        records: list[Record] = []
        clues = [Gap(0, 0, fault) for fault in self.faults]
        final, until = 0, _MOST
        for branch in sorted(_living(branches), reverse=True):  # a later one supersedes what comes after its begin
            track = branches[branch]
            found = track.records if branch[1] else drop_superseded(track.records)
            records += found if until == _MOST else (each for each in found if each.seq < until)
            clues += [_clip(clue, until) for clue in track.clues if clue.first < until]
            if track.final < until:
                final = max(final, track.final)
            until = min(until, branch[1] or until)
        return Execution(records, clues, final, merged=True) if records else None


def _living(branches: Mapping[Branch, _Track]) -> list[Branch]:
    """Return the branches that are not those of an earlier run with the same id."""
    starts = {each.at for track in branches.values() for each in track.records if type(each) is RunStarted}
    return list(branches) if len(starts) <= 1 else [each for each in branches if not each[1] or each[0] >= max(starts)]


def _clip(clue: Gap, until: int) -> Gap:
    return clue._replace(last=min(clue.last, until - 1))
