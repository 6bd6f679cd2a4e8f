"""Runs of this process's memory: a list of records, or of finished spans of any library.

What is given is read when it is asked for, so a list that grows meanwhile is no trouble.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Foreign, find_kin, gather, mark
from otflow.readers.sightings import Assembly, see
from otflow.readers.source import choose_run, describe
from otflow.records.execution import Execution, RunInfo
from otflow.records.record import Record
from otflow.records.semconv import RUN_ID

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

    def foreign(self, execution: Execution) -> Foreign:
        """Give what other libraries recorded below the steps of a run, if spans were given.

        Args:
            execution: the run.
        """
        spans = (each for each in tuple(self._given) if type(each) not in _KINDS)
        return gather((draft for span in spans for draft in _sketch(span)), find_kin(execution), [])


def _sketch(span: Any) -> Iterator[Draft]:  # of whatever library
    """Look at a span: one of the SDK of OpenTelemetry, or one as otflow makes them."""
    context, parent = getattr(span, "context", span), getattr(span, "parent", None)
    try:
        ids = (context.trace_id, context.span_id, span.parent_id if parent is None else parent.span_id)
    except AttributeError:
        if parent is not None or not hasattr(context, "span_id"):  # nobody knows where it stands
            return
        ids = (context.trace_id, context.span_id, 0)
    kind, status, scope = (getattr(span, name, None) for name in ("kind", "status", "instrumentation_scope"))
    told = mark(
        getattr(kind, "name", "").lower(),
        getattr(getattr(status, "status_code", None), "name", ""),
        getattr(status, "description", None) or "",
        getattr(scope, "name", ""),
    )
    attributes = {**(span.attributes or {}), **told}
    start = getattr(span, "start_time", getattr(span, "start", 0)) or 0
    yield Draft(str(span.name), *ids, start, 0, None if RUN_ID in attributes else lambda: attributes)
