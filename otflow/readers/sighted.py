"""Sources that are looked at span by span: whatever gives sightings of runs can list and read them.

It knows how to ask for sightings, and not where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Foreign, Kin, find_kin, gather
from otflow.readers.sightings import Assembly, Sighting
from otflow.readers.source import choose_run, describe
from otflow.readers.tally import Tally
from otflow.records.execution import Execution, RunInfo

__all__ = ["Look", "SightedSource", "Sketch"]


class Look(Protocol):
    """Looks at spans."""

    def __call__(self, only: str, faults: list[str]) -> Iterator[Sighting]:
        """Return what spans tell of runs.

        Args:
            only: the beginning of the ids of the runs that matter; others may be left out. "" if all matter.
            faults: takes a sentence for each part that cannot be read.

        Raises:
            ReaderError: nothing can be read.
        """


class Sketch(Protocol):
    """Looks for the spans of other libraries."""

    def __call__(self, kin: Kin, faults: list[str]) -> Iterator[Draft]:
        """Return the spans that may stand below a run.

        Args:
            kin: the run.
            faults: takes a sentence for each part that cannot be read.

        Raises:
            ReaderError: nothing can be read.
        """


class SightedSource:
    """Runs that are found by looking at spans.

    Args:
        place: where they are, in words.
        look: looks at the spans.
        sketch: looks for those of other libraries.
    """

    def __init__(self, place: str, look: Look, sketch: Sketch) -> None:
        self.place = place
        self._look = look
        self._sketch = sketch

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.place}>"

    def runs(self) -> list[RunInfo]:
        """List the runs, the earliest first.

        Raises:
            ReaderError: nothing can be read.
        """
        tally = Tally(self.place)
        for sighting in self._look("", []):
            tally.add(sighting)
        found, odd = tally.list()
        if odd:
            found += [describe(each, self.place) for each in self._assemble("") if each.run_id in odd]
        return sorted(found, key=lambda info: (info.started, info.id))

    def run(self, id: str) -> Execution:
        """Read one run.

        Args:
            id: its id, or the beginning of it that no other run shares.

        Raises:
            ReaderError: nothing can be read, there is no such run, or there are several.
        """
        if not id:
            raise ReaderError(f"Give the id of a run, or its beginning; the runs in {self.place}: see runs().")
        found = {each.run_id: each for each in self._assemble(id)}
        return found[choose_run(id, found, self.place)]

    def executions(self) -> list[Execution]:
        """Read all runs, the earliest first.

        Raises:
            ReaderError: nothing can be read.
        """
        return self._assemble("")

    def foreign(self, execution: Execution) -> Foreign:
        """Read what other libraries recorded below the steps of a run.

        Args:
            execution: the run.

        Raises:
            ReaderError: nothing can be read.
        """
        kin, faults = find_kin(execution), list[str]()
        return gather(self._sketch(kin, faults), kin, faults)

    def _assemble(self, only: str) -> list[Execution]:
        assembly = Assembly()
        for sighting in self._look(only, assembly.faults):
            assembly.add(sighting, only)
        return assembly.executions()
