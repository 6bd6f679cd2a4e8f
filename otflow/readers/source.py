"""Sources: what every place has in common from which runs can be read back.

It knows executions, and neither files nor servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from otflow.errors import ReaderError
from otflow.records.execution import Execution

__all__ = ["Batched", "RunInfo", "Source", "choose_run", "describe", "read_all"]

_NAMED = 5  # runs that a message names


class RunInfo(NamedTuple):
    """A run, as lists show it.

    Args:
        id: its id.
        workflow: the name of the workflow; empty if its start is not there.
        started: the time of its first known record, in nanoseconds since the epoch.
        ended: the time of its last known record, likewise.
        outcome: "completed", "failed", "cancelled", "timed out", "paused" or "open", as far as its records are known.
        records: how many records of it are known.
        place: where it was found.
    """

    id: str
    workflow: str
    started: int
    ended: int
    outcome: str
    records: int
    place: str


class Source(Protocol):
    """A place from which runs can be read back."""

    def runs(self) -> Iterable[RunInfo]:
        """List the runs, the earliest first."""

    def run(self, id: str) -> Execution:
        """Read one run.

        Args:
            id: its id, or the beginning of it that no other run shares.

        Raises:
            ReaderError: there is no such run, or there are several.
        """


@runtime_checkable
class Batched(Protocol):
    """A source that reads all of its runs in one go."""

    def executions(self) -> Iterable[Execution]:
        """Read all runs, the earliest first."""


def read_all(source: Source) -> Iterator[Execution]:
    """Read all runs of a source, the earliest first.

    Args:
        source: the source.

    Raises:
        ReaderError: they cannot be read.
    """
    if isinstance(source, Batched):
        yield from source.executions()
    else:
        for info in source.runs():
            yield source.run(info.id)


def describe(execution: Execution, place: str) -> RunInfo:
    """Describe a run that was read.

    Args:
        execution: the run.
        place: where it was found.
    """
    first, last = execution.records[0], execution.records[-1]
    history = execution.history
    return RunInfo(first.run, history.workflow, first.at, last.at, history.outcome, len(execution.records), place)


def choose_run(id: str, found: Iterable[str], place: str) -> str:
    """Return the id of the run that is meant.

    Args:
        id: an id, or its beginning.
        found: the ids that there are.
        place: where they were found.

    Raises:
        ReaderError: none of them, or several, begin so.
    """
    known = sorted({*found})
    if id in known:
        return id
    matching = [each for each in known if id and each.startswith(id)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(matching[:_NAMED]) + (", ..." if len(matching) > _NAMED else "")
        raise ReaderError(f"{len(matching)} runs in {place} begin with {id!r}: {names}. Give more of the id.")
    if not known:
        raise ReaderError(f"There is no run {id!r} in {place}. List the runs that are there with runs().")
    names = ", ".join(known[:_NAMED]) + (", ..." if len(known) > _NAMED else "")
    raise ReaderError(f"There is no run {id!r} in {place}. The runs that are there: {names}.")
