"""Sources: what every place has in common from which runs can be read back.

It knows executions, and neither files nor servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from otflow.errors import OtflowError, ReaderError
from otflow.readers.foreign import Foreign
from otflow.records.execution import Execution, RunInfo

__all__ = ["Batched", "Source", "Traced", "choose_run", "describe", "read_all", "read_foreign"]

_NAMED = 5  # runs that a message names


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


@runtime_checkable
class Traced(Protocol):
    """A source in which spans of other libraries stand too."""

    def foreign(self, execution: Execution) -> Foreign:
        """Read what other libraries recorded below the steps of a run."""


def read_foreign(source: Source, execution: Execution) -> Foreign:
    """Read what other libraries recorded below the steps of a run: calls over HTTP, of models, of databases.

    The source is looked at again for it. Where only records are kept, as in a journal, there is nothing.

    Args:
        source: where the run was read.
        execution: the run.

    Raises:
        ReaderError: the source cannot be read.
    """
    return source.foreign(execution) if isinstance(source, Traced) else Foreign()


def read_all(source: Source, skip: Callable[[str, OtflowError], None] | None = None) -> Iterator[Execution]:
    """Read all runs of a source, the earliest first.

    Args:
        source: the source.
        skip: called with the id of a run that cannot be read while others can, and the reason; default None: that is
            an error.

    Raises:
        ReaderError: they cannot be read.
    """
    if isinstance(source, Batched):
        yield from source.executions()
    else:
        for info in source.runs():
            try:
                execution = source.run(info.id)
            except OtflowError as error:
                if skip is None:
                    raise
                skip(info.id, error)
            else:
                yield execution


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
        raise ReaderError(
            f"{len(matching)} runs in {place} begin with {id!r}: {_enumerate(matching)}. Give more of the id."
        )
    if not known:
        raise ReaderError(f"There is no run {id!r} in {place}. List the runs that are there with runs().")
    names = _enumerate(known)
    raise ReaderError(f"There is no run {id!r} in {place}. The runs that are there: {names}.")


def _enumerate(ids: Sequence[str]) -> str:
    """List some ids; they come from anywhere, and a terminal may be where a message is read."""
    shown = [id if id.isprintable() else repr(id) for id in ids[:_NAMED]]
    return ", ".join(shown) + (", ..." if len(ids) > _NAMED else "")
