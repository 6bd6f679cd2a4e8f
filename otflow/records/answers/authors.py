"""Authors: who wrote what stands in the state of a run, when, and what stood there before."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from otflow.records.body import OPAQUE, Body
from otflow.records.execution import Execution, Gap
from otflow.records.payloads import TRUNCATED
from otflow.records.record import ContextWritten, RunStarted, StepStarted

__all__ = ["Blame", "Write", "blame"]

_NOT_THERE = msgspec.UNSET


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write to a place of the state.

    Args:
        seq: the number of the record.
        at: when, in nanoseconds since the epoch.
        step: the step that wrote; empty if it was written from outside, or brought along by the context.
        invocation: its invocation; 0 likewise.
        attempt: the number of the attempt; 0 likewise.
        path: what was written: the place itself, something above it, or something in it.
        value: what the write put at the place; None if it took away what was there.
        carried: whether the context brought it along.
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
        path: the place; empty for the whole state.
        writes: all writes to it, in order; the last one says who wrote what stands there now.
        doubts: missing records, or payloads that are not whole, in which there may have been more.
    """

    path: str
    writes: tuple[Write, ...]
    doubts: tuple[Gap, ...]

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
    return Blame(path=path, writes=tuple(_find_writes(execution, path, end)), doubts=execution.doubts(end))


def _find_writes(execution: Execution, path: str, end: int) -> Iterator[Write]:
    running: dict[int, StepStarted] = {}
    there = False
    for record in execution.records:
        if record.seq > end:
            return
        match record:
            case StepStarted():
                running[record.invocation] = record
            case RunStarted(seq=seq, at=time):
                found = _dig(execution.state(seq), path)
                there = found is not _NOT_THERE and found != {}
                if there:
                    yield Write(seq=seq, at=time, path="", value=Body(json=msgspec.json.encode(found)), carried=True)
            case ContextWritten():
                value = _value_at(record, path)
                if value is not None or (there and _covers(record, path)):
                    there = value is not None
                    yield _make(record, value, running.get(record.invocation))
            case _:
                pass


def _make(record: ContextWritten, value: Body | None, started: StepStarted | None) -> Write:
    return Write(
        seq=record.seq,
        at=record.at,
        step=started.step if started is not None else "",
        invocation=record.invocation,
        attempt=started.attempt if started is not None else 0,
        path=record.path,
        value=value,
    )


def _covers(record: ContextWritten, path: str) -> bool:
    """Tell whether a write is of a place, or of something above it."""
    return not record.path or f"{path}.".startswith(f"{record.path}.")


def _value_at(record: ContextWritten, path: str) -> Body | None:
    """Return what a write put at a place, or into it; None if it put nothing there."""
    if record.deleted:
        inner = not _covers(record, path) and (not path or record.path.startswith(f"{path}."))
        return record.value if inner else None
    if not path or record.path == path or record.path.startswith(f"{path}."):
        return record.value
    if not _covers(record, path):
        return None
    rest = path[len(record.path) + 1 :] if record.path else path
    written = msgspec.json.decode(record.value.json)
    if isinstance(written, dict) and (TRUNCATED in written or OPAQUE in written):
        return record.value  # what was at the place is not known: the mark says so
    found = _dig(written, rest)
    return None if found is _NOT_THERE else Body(json=msgspec.json.encode(found))


def _dig(value: object, path: str) -> object:
    for segment in path.split(".") if path else ():
        match value:
            case dict() if segment in value:
                value = value[segment]
            case list() if segment.isdecimal() and int(segment) < len(value):
                value = value[int(segment)]
            case _:
                return _NOT_THERE
    return value
