"""Records to spans and back: what makes a trace a record of its run.

Both ways go by `otflow.records`, an attribute that holds the records of a span as JSON, so that a trace whose spans are
all there gives back exactly the records that went in. What is missing stays missing: nothing is guessed, and the
numbers of the records show where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Protocol, TypeAlias

import msgspec

from otflow.records.capture import FULL, Capture
from otflow.records.codec import decode
from otflow.records.record import Record, RunStarted
from otflow.records.semconv import BRANCH, RECORDS
from otflow.records.span import SpanData, SpanEvent, SpanLink
from otflow.records.trace import RunTrace

__all__ = ["Attributed", "SpanData", "SpanEvent", "SpanLink", "from_spans", "to_spans"]

_Branch: TypeAlias = tuple[int, int]
"""When a run was restored, and from which number on; zeros for the run as it began."""


class Attributed(Protocol):
    """A span of any library, as far as its records are concerned."""

    @property
    def attributes(self) -> Mapping[str, object] | None:
        """The attributes of the span."""


def to_spans(records: Iterable[Record], capture: Capture = FULL) -> list[SpanData]:
    """Turn records into finished spans; what is still open at the end gets the outcome "crashed".

    Args:
        records: the records of any number of runs, those of one run in order. Records of one time (`at`) are taken
            for one batch.
        capture: how much of the payloads goes into the spans; default `FULL`.
    """
    kept = list(records)  # events are remembered while their records live
    traces: dict[str, RunTrace] = {}
    spans: list[SpanData] = []
    for (run, _), group in groupby(kept, key=lambda record: (record.run, record.at)):
        batch = list(group)
        trace = traces.get(run)
        if trace is None or trace.ended or isinstance(batch[0], RunStarted):
            if trace is not None:
                spans += trace.close()
            trace = traces[run] = RunTrace(batch[0], capture)
        spans += trace.feed(batch)
    for trace in traces.values():
        spans += trace.close()
    return spans


def from_spans(spans: Iterable[Attributed]) -> list[Record]:
    """Read the records of spans: sorted by run and number, each once, whatever the order of the spans.

    Where a run was restored from saved data, what it had done after that point is superseded and left out. Spans
    without records, and records that cannot be read, are left out too.

    Args:
        spans: finished spans, with duplicates or without, in any order; those of other libraries may be among them.
    """
    runs: dict[str, dict[_Branch, dict[int, Record]]] = {}
    for span in spans:
        attributes = span.attributes or {}
        branch = _read_branch(attributes.get(BRANCH))
        for record in _read_records(attributes.get(RECORDS)):
            runs.setdefault(record.run, {}).setdefault(branch, {}).setdefault(record.seq, record)
    found: list[Record] = []
    for _, branches in sorted(runs.items()):
        merged: dict[int, Record] = {}
        for (_, first), records in sorted(branches.items(), key=lambda item: item[0]):
            merged = {seq: record for seq, record in merged.items() if seq < first or not first}
            merged.update(records)
        found += (merged[seq] for seq in sorted(merged))
    return found


def _read_branch(value: object) -> _Branch:
    number, _, time = str(value or "").partition("@")
    return (int(time), int(number)) if number.isdecimal() and time.isdecimal() else (0, 0)


def _read_records(value: object) -> Iterable[Record]:
    if not isinstance(value, str):
        return
    try:
        texts = msgspec.json.decode(value, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeEncodeError):  # cut by a backend
        return
    for text in texts:
        try:
            yield decode(bytes(text))
        except msgspec.MsgspecError:  # of another version
            continue
