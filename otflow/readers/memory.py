"""Runs of this process's memory: a list of records, or of finished spans of any library.

What is given is read when it is asked for, so a list that grows meanwhile is no trouble.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from otflow.errors import ReaderError
from otflow.readers.sightings import Assembly, see
from otflow.readers.source import RunInfo, choose_run, describe
from otflow.records.execution import Execution
from otflow.records.record import Record

__all__ = ["MemorySource"]

_KINDS = frozenset(get_args(Record))
PLACE = "this process's memory"


class MemorySource:
    """Runs from records, or from spans with their attributes.

    Args:
        given: the records or spans, of any number of runs, in any order.
    """

    def __init__(self, given: Iterable[object]) -> None:
        self._given = given if isinstance(given, list | tuple) else list(given)

    def __repr__(self) -> str:
        return f"<MemorySource with {len(self._given)} records or spans>"

    def runs(self) -> list[RunInfo]:
        """List the runs, the earliest first.

        Raises:
            ReaderError: something is neither a record nor a span.
        """
        return [describe(each, PLACE) for each in self.executions()]

    def run(self, id: str) -> Execution:
        """Read one run.

        Args:
            id: its id, or the beginning of it that no other run shares.

        Raises:
            ReaderError: something is neither a record nor a span, there is no such run, or there are several.
        """
        found = {each.run_id: each for each in self.executions()}
        return found[choose_run(id, found, PLACE)]

    def executions(self) -> list[Execution]:
        """Read all runs, the earliest first.

        Raises:
            ReaderError: something is neither a record nor a span.
        """
        assembly = Assembly()
        records: list[Record] = []
        for each in tuple(self._given):
            if type(each) in _KINDS:
                records.append(each)
            elif hasattr(each, "attributes"):
                sighting = see(each.attributes or {}, str(getattr(each, "name", "")))
                if sighting is not None:
                    assembly.add(sighting)
            else:
                raise ReaderError(
                    f"This is neither a record nor a span: {each!r:.100}. Give otflow.open() a path, a URL, or an "
                    "iterable of records or of finished spans."
                )
        assembly.add_records(records)
        return assembly.executions()
