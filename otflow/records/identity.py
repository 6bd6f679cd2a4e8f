"""The ids under which a run stands in its trace: what whoever refers to its spans has to know.

A run that goes on soon after a pause stays in its trace. One that goes on much later gets another trace, because
backends decide about a trace, and draw it, as a whole; links join the two. Which trace that is follows from records
alone, so that all who read them agree. This room knows records and numbers, and no span.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.record import Record, RunPaused, RunResumed, RunStarted
from otflow.records.span import derive_ids, derive_span_id, read_traceparent

__all__ = ["WINDOW", "Identity", "Moved", "Whereabouts"]

WINDOW = 900 * 1_000_000_000
"""How long after a pause a run stays in its trace, in nanoseconds: 15 minutes."""

Moved: TypeAlias = RunPaused | RunResumed
"""Records by which the identity of a run may change."""


class Whereabouts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a run stands in its trace; it is saved with the run, for the process in which it goes on.

    Attributes:
        anchor: the first segment in the trace, as a W3C traceparent with the sampling flag.
        last: the last segment so far, likewise.
        segment: the number of that segment.
        at: the time until which the run was followed, in nanoseconds since the epoch.
        state: the W3C tracestate of the trace.
        forked: whether what goes on is another run, in a trace of its own.
    """

    anchor: str
    last: str
    segment: int
    at: int
    state: str = ""
    forked: bool = False


class _Saved(msgspec.Struct):
    trace: Whereabouts | None = None


class Identity:
    """The ids of one run, as far as its records have come.

    Args:
        first: the first record that is there; mostly the `RunStarted`.
        window: how long after a pause it stays in its trace, in nanoseconds; default 15 minutes.

    Attributes:
        trace_id: the id of the trace.
        key: the number from which span ids are counted.
        parent_id, parent_flags: the span under which the run stands, or 0, and its trace flags.
        paused_at: when the run was paused, in nanoseconds since the epoch; 0 if it is not.
        left: where the run stood when the data was saved from which it goes on; None if it did not say.
    """

    __slots__ = ("_seed", "_window", "key", "left", "parent_flags", "parent_id", "paused_at", "trace_id")

    def __init__(self, first: Record, window: int = WINDOW) -> None:
        self.trace_id, self._seed = derive_ids(first.run)
        # with the time, so that a run id that is used again gets other spans
        self.key = self._seed + first.at
        self.parent_id = self.parent_flags = 0
        self.left: Whereabouts | None = None
        self._window = window
        self.paused_at = 0
        if isinstance(first, RunStarted):
            if first.parent:
                trace_id, self.parent_id, self.parent_flags = read_traceparent(first.parent)
                self.trace_id = trace_id or self.trace_id
        elif isinstance(first, RunPaused | RunResumed):
            self.follow(first)

    def follow(self, record: Moved) -> bool:
        """Take one of the records that may change it; tell whether the run has another trace now."""
        if isinstance(record, RunPaused):
            self.paused_at = record.at
            return False
        left_at, self.paused_at, self.left = self.paused_at, 0, None
        if record.snapshot is not None:
            left_at = self._restore(record, record.snapshot) or left_at
        if not left_at or record.at - left_at <= self._window:
            return False
        self.trace_id, _ = derive_ids(f"{record.run}@{record.at}")
        self.parent_id = self.parent_flags = 0
        return True

    def _restore(self, record: RunResumed, snapshot: Body) -> int:
        """Go on from saved data, with span ids of its own; return when the run was left."""
        self.key = self._seed + record.at
        self.left = left = _read(snapshot)
        if left is None or left.forked:
            return 0
        self.trace_id, self.parent_id, self.parent_flags = read_traceparent(left.anchor)
        return left.at

    def of_attempt(self, seq: int) -> int:
        """Return the id of the span of an attempt that the record `seq` began or woke."""
        return derive_span_id(self.key, seq)

    def of_segment(self, seq: int) -> int:
        """Return the id of the span of a segment whose first record is `seq`."""
        # counted downwards, because one record may open a segment and an attempt in it
        return derive_span_id(self.key, -seq)


def _read(snapshot: Body) -> Whereabouts | None:
    try:
        left = msgspec.json.decode(snapshot.json, type=_Saved).trace
    except msgspec.MsgspecError:
        return None
    return left if left is not None and read_traceparent(left.anchor)[0] else None
