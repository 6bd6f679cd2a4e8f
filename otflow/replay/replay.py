"""Replaying: does the workflow of today accept a recorded history?

No step is called. For each input that the records imply, the core decides with the plan of today, and what it decides
is compared with what is recorded; beside that, each payload is read by its class of today and each failure is put to
its retry policy. The first difference is the verdict. What cannot be known from the records is never held against it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from otflow.core.decide import decide, settle
from otflow.core.evolve import evolve
from otflow.core.inputs import Input
from otflow.core.plan import Plan
from otflow.core.state import RunState, new_state
from otflow.errors import ContextSerdeError
from otflow.records.emitted import begins, read_saved
from otflow.records.losses import find_losses, is_cut
from otflow.records.payloads import payload_of
from otflow.records.record import (
    EventReceived,
    EventSent,
    Record,
    RunFailed,
    RunResumed,
    RunStarted,
    StepFailed,
    StepStarted,
    WaitEnded,
)
from otflow.replay.checks import Checks
from otflow.replay.explaining import explain
from otflow.replay.inputs import imply
from otflow.replay.verdict import Divergence, Verdict
from otflow.replay.workflows import Recorded, Replayable
from otflow.runtime.blueprint import Blueprint

__all__ = ["replay"]

_STALLED = "otflow.errors.WorkflowStalledError"


def replay(execution: Recorded, workflow: Replayable) -> Verdict:
    """Find out whether a workflow accepts a recorded run: whether today's code would have led to the same records.

    Args:
        execution: the run; it may have holes, of which the verdict says that they were not judged.
        workflow: the workflow of today.
    """
    blueprint, records = workflow.blueprint, execution.records
    notes: list[str] = []
    judged, divergence = 0, None
    for stretch in _divide(records, notes):
        replayer = _Replayer(stretch, blueprint, notes)
        divergence = replayer.run()
        judged += replayer.place
        if divergence is not None:
            break
    return Verdict(
        execution.run_id, blueprint.plan.workflow, judged, len(records), divergence, tuple(dict.fromkeys(notes))
    )


def _divide(records: Sequence[Record], notes: list[str]) -> list[list[Record]]:
    """Divide records into stretches without holes that begin where nothing before them has to be known."""
    stretches: list[list[Record]] = []
    whole = False
    for record in records:
        fresh = begins(record) or (isinstance(record, RunResumed) and record.snapshot is not None)
        if whole and stretches[-1][-1].seq + 1 != record.seq:
            whole = False
        if fresh and (not whole or not isinstance(record, RunStarted)) and not _is_cut(record):
            whole = True
            stretches.append([])
        elif not whole:
            note = f"Records are missing before record {record.seq}: what follows was not judged."
            if not notes or not notes[-1].startswith("Records are missing"):
                notes.append(note)
            continue
        stretches[-1].append(record)
    return stretches


class _Replayer:
    """Replays the records of one stretch.

    Attributes:
        place: how many records were compared.
    """

    def __init__(self, records: list[Record], blueprint: Blueprint, notes: list[str]) -> None:
        first = records[0]
        self.place = 0
        self._records = records
        self._blueprint = blueprint
        self._plan: Plan = blueprint.plan
        if isinstance(first, RunStarted):  # what they are called is no difference
            changed = first.graph != self._plan.digest
            self._plan = msgspec.structs.replace(self._plan, workflow=first.workflow, digest=first.graph)
        else:
            changed = _saved_digest(first) != self._plan.digest
        self._state: RunState = new_state(self._plan, first.run)
        self._named = {record.step for record in records if isinstance(record, StepStarted)}
        self._first_failed: dict[int, int] = {}
        self._checks = Checks(records, blueprint, notes, changed=changed)

    def run(self) -> Divergence | None:
        """Compare as far as there are records; return the first divergence."""
        while self.place < len(self._records):
            found = self._take_batch()
            if found is not None:
                return found
        return None

    def _take_batch(self) -> Divergence | None:
        state, record = self._state, self._records[self.place]
        if isinstance(record, RunResumed) and record.snapshot is None:
            if not state.paused:
                return explain(state, record, settle(state, record.at), self._named)
            evolve(state, record)
            self.place += 1
            return None
        if isinstance(record, StepFailed) and (found := self._judge_failure(record)) is not None:
            return found
        inputs = imply(state, self._records, self.place)
        if not inputs:
            if isinstance(record, RunStarted):  # the history ends before its start event
                self.place += 1
                return None
            return explain(state, record, settle(state, record.at), self._named)
        found = self._take_head(inputs)
        return found if found is not None else self._take_rest(record.at)

    def _take_head(self, inputs: list[Input]) -> Divergence | None:
        """Compare what an input leads to at once."""
        state, place = self._state, self.place
        try:
            heads = [decide(state, input, state.seq) for input in inputs]
        except ContextSerdeError as error:
            return Divergence(self._records[place].seq, "saved", str(error))
        head = next((head for head in heads if head and self._fits(head)), heads[0])
        if self._doubtful():
            head = self._trust(head)
        for offset, decided in enumerate(head):
            if place + offset >= len(self._records):
                return None
            recorded = self._records[place + offset]
            if not _same(decided, recorded):
                return self._checks.check(state, recorded) or explain(state, recorded, decided, self._named)
            found = self._move(recorded)
            if found is not None:
                return found
        if not head:
            return explain(state, self._records[place], None, self._named)
        return None

    def _take_rest(self, at: int) -> Divergence | None:
        """Compare what the state itself leads to after that."""
        while (decided := settle(self._state, at)) is not None and self.place < len(self._records):
            recorded = self._records[self.place]
            if not _same(decided, recorded):
                return self._checks.check(self._state, recorded) or explain(self._state, recorded, decided, self._named)
            found = self._move(recorded)
            if found is not None:
                return found
        return None

    def _move(self, record: Record) -> Divergence | None:
        """Check one record that was decided alike, and take it."""
        found = self._checks.check(self._state, record)
        if found is None:
            evolve(self._state, record)
            self.place += 1
        return found

    def _fits(self, head: list[Record]) -> bool:
        coming = self._records[self.place : self.place + len(head)]
        return all(map(_same, head, coming))

    def _judge_failure(self, record: StepFailed) -> Divergence | None:
        following = self._records[self.place + 1] if self.place + 1 < len(self._records) else None
        first = self._first_failed.setdefault(record.invocation, record.at)
        return self._checks.check_retry(self._state, record, following, first)

    def _doubtful(self) -> bool:
        """Tell whether it depends on a payload that is not whole which waits an event ends."""
        state, record = self._state, self._records[self.place]
        if not state.waits:
            return False
        batch = [each for each in self._records[self.place : self.place + 64] if each.at == record.at]
        events = [each for each in batch if isinstance(each, EventSent | EventReceived)]
        for event in events:
            waits = state.waits_by_type.get(event.type, {}).values()
            strict = [wait for wait in waits if wait.requirements is not None]
            if strict and any(True for _ in find_losses(event)):
                return True
        return False

    def _trust(self, head: list[Record]) -> list[Record]:
        """Take what is recorded for what would be decided, as far as it is about the events of this batch."""
        kinds = (*map(type, head), WaitEnded)
        trusted: list[Record] = []
        for record in self._records[self.place :]:
            if record.at != head[0].at or not isinstance(record, kinds):
                break
            trusted.append(record)
        return trusted


def _saved_digest(record: Record) -> str:
    return read_saved(record.snapshot).digest if isinstance(record, RunResumed) and record.snapshot is not None else ""


def _is_cut(record: Record) -> bool:
    body = payload_of(record)
    return body is not None and is_cut(body) >= 0


def _same(decided: Record, recorded: Record) -> bool:
    """Tell whether two records say the same; the words of a stall may change."""
    if isinstance(decided, RunFailed) and isinstance(recorded, RunFailed) and decided.error.type == _STALLED:
        return recorded.error.type == _STALLED
    return decided == recorded
