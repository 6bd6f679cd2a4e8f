"""What really happened in the runs of a program, and what may be said of a run of which only a part is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.records.history import Wait
from otflow.records.record import Record, RunCancelled, RunCompleted, RunFailed, RunResumed, RunTimedOut

__all__ = ["Truth", "check_part", "check_traces", "check_whole", "read_truth"]

ENDS = RunCompleted | RunFailed | RunCancelled | RunTimedOut


@dataclass(frozen=True)
class Truth:
    """A run as it was: all records that were ever made, those that count, and the state in the end if it is known."""

    made: tuple[Record, ...]
    counting: tuple[Record, ...]
    state: Mapping[str, object] | None = None

    @property
    def ended(self) -> bool:
        """Whether its end was recorded."""
        return isinstance(self.counting[-1], ENDS)

    @property
    def whole(self) -> Execution:
        """What is to be told of it."""
        return Execution(self.counting, merged=True)

    @property
    def lives(self) -> int:
        """How often it began or went on from saved data."""
        return 1 + sum(isinstance(each, RunResumed) and each.snapshot is not None for each in self.made)


def read_truth(records: Path, states: Path | None = None) -> dict[str, Truth]:
    """Read what a program wrote down, in the order in which it happened; the runs by id."""
    made: dict[str, list[Record]] = {}
    counting: dict[str, dict[int, Record]] = {}
    for record in map(decode, records.read_bytes().splitlines()):
        known = counting.setdefault(record.run, {})
        made.setdefault(record.run, []).append(record)
        if isinstance(record, RunResumed) and record.snapshot is not None:  # what came behind it no longer counts
            known = counting[record.run] = {seq: each for seq, each in known.items() if seq < record.seq}
        known[record.seq] = record
    state = json.loads(states.read_text(encoding="utf-8")) if states is not None else {}
    return {
        run: Truth(tuple(made[run]), tuple(known[seq] for seq in sorted(known)), state.get(run))
        for run, known in counting.items()
    }


def check_whole(found: Execution, truth: Truth) -> None:
    """See to it that a run was read as it was, to the byte, and that nothing else is said of it."""
    assert found.records == truth.counting
    assert [*map(encode, found.records)] == [*map(encode, truth.counting)]
    assert found.complete == truth.ended
    assert [gap for gap in found.gaps if gap.last] == []
    assert (found.losses, found.outcome) == ((), truth.whole.outcome)
    if truth.state is not None:
        assert found.state() == truth.state
        assert not [doubt for doubt in found.doubts() if doubt.last]


def check_traces(found: Execution, truth: Truth) -> None:
    """See to it that nothing is told but what was recorded, whether or not it counts."""
    assert {*map(encode, found.records)} <= {*map(encode, truth.made)}
    named = {seq for gap in found.gaps if gap.last for seq in range(gap.first, gap.last + 1)}
    assert named.isdisjoint(record.seq for record in found.records)


def check_part(found: Execution, truth: Truth) -> None:
    """See to it that a run of which spans are missing is told with all its gaps, and with nothing that is not so.

    It holds for a run of which something is known of each process that went on with it from saved data: else nothing
    could tell that what came before does not count.
    """
    true = {record.seq: record for record in truth.counting}
    assert all(encode(record) == encode(true[record.seq]) for record in found.records)
    top = max(record.seq for record in found.records)
    named = [seq for gap in found.gaps if gap.last for seq in range(gap.first, gap.last + 1)]
    assert len({*named}) == len(named)
    assert {*named} >= {seq for seq in true if seq <= top} - {record.seq for record in found.records}
    assert {*named} <= true.keys() - {record.seq for record in found.records}
    assert all(gap.reason for gap in found.gaps)
    assert found.complete == (len(found.records) == len(true) and truth.ended)
    known_end = isinstance(found.records[-1], ENDS)
    assert [gap.last for gap in found.gaps[-1:] if not gap.last] == ([] if known_end else [0])
    _check_states(found, truth, top)
    _check_history(found, truth, known_end=known_end)


def _check_states(found: Execution, truth: Truth, top: int) -> None:
    """A state that is told is the true one, or there is a doubt about it."""
    whole = truth.whole
    for at in {record.seq for record in found.records} | {top}:
        if not found.doubts(at):
            assert found.state(at) == whole.state(at), at
            assert found.until(at).state() == whole.state(at), at
    if truth.state is not None and isinstance(found.records[-1], ENDS) and not found.doubts():
        assert found.state() == truth.state


def _check_history(found: Execution, truth: Truth, *, known_end: bool) -> None:
    """What is known of steps and events is so."""
    mine, whole = found.history, truth.whole.history
    if known_end:
        assert (mine.outcome, mine.error, mine.failed, mine.reason, mine.result) == (
            whole.outcome,
            whole.error,
            whole.failed,
            whole.reason,
            whole.result,
        )
    else:
        assert mine.outcome in {"open", truth.whole.until(found.records[-1].seq).outcome}
    assert mine.workflow in {"", whole.workflow}
    for id, each in mine.invocations.items():
        other = whole.invocations[id]
        assert each.step in {"", other.step}
        assert each.event in {0, other.event}
        for attempt in each.attempts:
            same = [
                one
                for one in other.attempts
                if attempt.number in {0, one.number} and attempt.started in {0, one.started}
            ]
            assert any(_is_part(attempt, one, "ended", "error") for one in same), attempt
            # which of two attempts it was, of which one has no end and the other no start, no record says
            of = same if attempt.ended else other.attempts
            for name in ("sent", "written", "waits"):
                assert _fits(getattr(attempt, name), [each for one in of for each in getattr(one, name)]), attempt
    for id, event in mine.events.items():
        assert _is_part(event, whole.events[id], "type", "at", "source", "target", "takers", "answered"), event
    pauses = {(pause.reason, pause.started): pause.ended or whole.ended for pause in whole.pauses}
    assert all(pause.ended <= pauses[pause.reason, pause.started] for pause in mine.pauses)
    assert all(pause.ended for pause in mine.pauses[:-1])


def _is_part(some: object, whole: object, *names: str) -> bool:
    """Tell whether what is known of something is so."""
    return all(_fits(getattr(some, name), getattr(whole, name)) for name in names)


def _fits(mine: object, other: object) -> bool:
    if isinstance(mine, tuple):
        return all(any(_fits(each, one) for one in other) for each in mine)  # each of these is there
    if isinstance(mine, Wait):
        return mine.id == other.id and _is_part(mine, other, "type", "waiter", "started", "ended", "event")
    return mine in (0, "", None, other)
