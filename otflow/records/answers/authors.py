"""Authors: who wrote what stands in the state of a run, when, and what stood there before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from otflow.records.body import OPAQUE, Body
from otflow.records.execution import Execution, Gap
from otflow.records.folding import NOWHERE, apply, brought_by, locate, look_up
from otflow.records.holes import Holes
from otflow.records.payloads import TRUNCATED
from otflow.records.record import ContextWritten, RunResumed, RunStarted

__all__ = ["Blame", "Write", "blame"]

_Way: TypeAlias = tuple[str, ...]
_LONG = 19  # digits: no list has such an index


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write to a place of the state.

    Args:
        seq: the number of the record.
        at: when, in nanoseconds since the epoch.
        step: the step that wrote; empty if it was written from outside, or brought along by the context, or if no
            record names the step of the invocation.
        invocation: its invocation; 0 if it was written from outside, or brought along.
        attempt: the number of the attempt; 0 likewise, or if that is unknown.
        path: what was written: the place itself, something above it, or something in it.
        value: what the write put at the place; None if it took away what was there.
        carried: whether the context brought it along, or saved data from which the run went on.
    """

    seq: int
    at: int
    step: str = ""
    invocation: int = 0
    attempt: int = 0
    path: str = ""
    value: Body | None = None
    carried: bool = False


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote to a place of the state.

    Args:
        path: the place; empty for the whole state. An index from the end of a list is that of the list as it is in the
            end.
        writes: all writes to it, in order; the last one says who wrote what stands there now.
        doubts: missing records, or payloads that are not whole, in which there may have been more.
        astray: whether the times of the run do not tell how long anything took.
    """

    path: str
    writes: tuple[Write, ...]
    doubts: tuple[Gap, ...]
    astray: bool = False

    @property
    def last(self) -> Write | None:
        """Who wrote what stands there; None if nobody is known."""
        return self.writes[-1] if self.writes else None


def blame(execution: Execution, path: str = "", at: int | None = None) -> Blame:
    """Find who wrote to a place of the state.

    Args:
        execution: the run.
        path: keys, indexes and names with dots between them; default "": the whole state.
        at: the number of the last record to look at; default None: the last one that there is.
    """
    end = execution.records[-1].seq if at is None else at
    way, _ = locate(execution.state(end), path)
    unclear: list[Gap] = []
    writes = tuple(_find_writes(execution, way, end, unclear))
    doubts = (*execution.doubts(end, ever=True), *unclear)
    return Blame(path=path, writes=writes, doubts=doubts, astray=bool(execution.history.astray))


def _find_writes(execution: Execution, way: _Way, end: int, unclear: list[Gap]) -> Iterator[Write]:
    steps = {write.seq: each.step for each in execution.steps for attempt in each.attempts for write in attempt.written}
    attempts = _number_attempts(execution)
    state: dict[str, object] = {}
    for record in execution.records:
        if record.seq > end:
            return
        match record:
            case RunStarted() | RunResumed():
                brought = brought_by(record)
                if brought is not None:
                    before, found = _write_down(look_up(state, way)), _write_down(look_up(brought, way))
                    state = brought
                    if before != found and (found is None or way or brought):
                        yield Write(seq=record.seq, at=record.at, value=found, carried=True)
            case ContextWritten():
                target, sure = locate(state, record.path)
                if sure < len(target) and way[:sure] == target[:sure]:
                    reason = f"Record {record.seq} wrote to {record.path}; which place that was is not recorded."
                    unclear.append(Gap(record.seq, record.seq, reason))
                there = look_up(state, way) is not NOWHERE
                shifts = record.deleted and _shifts(state, target, way)
                state = apply(state, record)
                value = _write_down(look_up(state, way)) if shifts else _value_at(record, target, way)
                if value is not None or (there and (shifts or _begins(way, target))):
                    yield _make(record, value, steps.get(record.seq, ""), attempts.get(record.seq, 0))
            case _:
                pass


def _write_down(value: object) -> Body | None:
    return None if value is NOWHERE else Body(json=msgspec.json.encode(value, order="sorted"))


def _begins(way: _Way, start: _Way) -> bool:
    """Tell whether a way begins with another one."""
    return way[: len(start)] == start


def _shifts(state: object, target: _Way, way: _Way) -> bool:
    """Tell whether something else stands at a place, once something is taken out of a list."""
    if not target or len(way) < len(target) or not _begins(way, target[:-1]):
        return False
    here, there = target[-1], way[len(target) - 1]
    in_list = isinstance(look_up(state, target[:-1]), list) and here.isdecimal() and there.isdecimal()
    return in_list and len(there) < _LONG and int(here) <= int(there)


def _number_attempts(execution: Execution) -> dict[int, int]:
    """Return by write the number of its attempt, unless another one may have begun where records are missing."""
    holes = Holes((gap.first, gap.last) for gap in execution.gaps)
    found: dict[int, int] = {}
    for attempt in execution.attempts:
        first, last = attempt.first, attempt.last
        for write in attempt.written:
            begun = first and not holes.between(first, write.seq)
            ended = last and not holes.between(write.seq, last)
            if begun or ended or (first and last):
                found[write.seq] = attempt.number
    return found


def _make(record: ContextWritten, value: Body | None, step: str, attempt: int) -> Write:
    return Write(
        seq=record.seq,
        at=record.at,
        step=step,
        invocation=record.invocation,
        attempt=attempt,
        path=record.path,
        value=value,
    )


def _value_at(record: ContextWritten, target: _Way, way: _Way) -> Body | None:
    """Return what a write put at a place, or into it; None if it put nothing there."""
    if record.deleted:
        return record.value if len(target) > len(way) and _begins(target, way) else None
    if _begins(target, way):
        return record.value
    if not _begins(way, target):
        return None
    written = msgspec.json.decode(record.value.json)
    if isinstance(written, dict) and (TRUNCATED in written or OPAQUE in written):
        return record.value  # what was at the place is not known: the mark says so
    return _write_down(look_up(written, way[len(target) :]))
