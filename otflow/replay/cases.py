"""Cases: which attempts of a recorded run can be tested, what they were given and what they gave.

An attempt is a case if its record says all that the step could see: its event, the state, the events that it collected
and the answers that it got. Where something of that is missing, or may have changed while the step ran, it is no case,
and the reason is told. This room decides and collects; how a test looks is known by `otflow.replay.testing`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from otflow.core.snapshot import read_saved
from otflow.errors import ContextSerdeError
from otflow.records.body import OPAQUE, Body
from otflow.records.execution import Execution
from otflow.records.history import Attempt, Event, Invocation
from otflow.records.losses import find_losses, is_cut
from otflow.records.record import ContextWritten, EventSent, Record, RunResumed, StepCompleted, StepStarted
from otflow.replay.constructors import Names, UnwritableError, write_event, write_model
from otflow.replay.states import StateFold
from otflow.replay.template import Group, Part, Text, write_plain
from otflow.signature import StepConfig

__all__ = ["Case", "LeftOut", "find_cases"]


class Case(NamedTuple):
    """One call of a step: what it gets, and what is expected of it, by the names of arguments and of attributes.

    `nothing` has the attributes of which nothing is expected, and `notes` what a reader has to know.
    """

    step: str
    invocation: int
    attempt: int
    takes: str
    event: Text
    given: dict[str, Text]
    expected: dict[str, Text]
    nothing: tuple[str, ...]
    notes: tuple[str, ...]


class LeftOut(NamedTuple):
    """An invocation that is not tested, and why."""

    step: str
    invocation: int
    reason: str


Steps: TypeAlias = Mapping[str, StepConfig]


def find_cases(execution: Execution, steps: Steps, state_type: type, names: Names) -> Iterator[Case | LeftOut]:
    """Give each invocation of a run, as a case or as one that is left out, in order.

    Args:
        execution: the run.
        steps: the steps of the workflow of today.
        state_type: the class of its state.
        names: the names that the source of the test knows; those that are needed are added.
    """
    desk = _Desk(execution, names)
    last = {record.invocation: record.seq for record in execution.records if isinstance(record, StepStarted)}
    number = {each.id: each.attempts[-1].number for each in execution.steps}
    fold = StateFold(state_type)
    for record in execution.records:
        if (
            isinstance(record, StepStarted)
            and last[record.invocation] == record.seq
            and number.get(record.invocation) == record.attempt
        ):
            invocation = execution.history.invocations[record.invocation]
            try:
                yield desk.make(invocation, invocation.attempts[-1], record, steps.get(record.step), fold)
            except UnwritableError as error:
                yield LeftOut(record.step, record.invocation, str(error))
        try:
            fold.take(record)
        except ContextSerdeError as error:
            fold.lost[""] = str(error)


class _Desk:
    """What is looked up again and again."""

    def __init__(self, execution: Execution, names: Names) -> None:
        self.run = execution.history
        self.names = names
        self.gaps = execution.gaps
        self.by_seq = {record.seq: record for record in execution.records}
        self.writes = [record for record in execution.records if isinstance(record, ContextWritten)]
        self.numbers = [record.seq for record in self.writes]
        self.ends: defaultdict[int, int] = defaultdict(int)
        self.begun: set[tuple[int, int]] = set()  # attempts of which a part was done before the run was taken up
        for record in execution.records:
            match record:
                case StepCompleted():
                    self.ends[record.invocation] = record.seq
                case RunResumed(snapshot=Body() as snapshot) if is_cut(snapshot) < 0:
                    self.begun |= {(each.id, each.attempt) for each in read_saved(snapshot).queued}
                case _:
                    pass

    def make(
        self, invocation: Invocation, attempt: Attempt, start: StepStarted, config: StepConfig | None, fold: StateFold
    ) -> Case:
        if config is None:
            raise UnwritableError("the workflow has no such step any more")
        end = self.check_end(invocation, attempt, start)
        event = self.run.events.get(invocation.event)
        text = self.write(event)
        given: dict[str, Text] = {}
        if config.context_param is not None:
            self.check_state(invocation, start.seq, end, fold)
            state = self.write_state(fold)
            given |= {"state": state} if state is not None else {}
        given |= self.write_given(invocation, attempt)
        resources = [*(each.name for each in config.resources), *(each.name for each in config.services)]
        notes = [f"It gets these from the workflow, as they are: {', '.join(resources)}."] if resources else []
        again = self.is_taken_up(invocation, attempt)
        notes += ["It was interrupted, and what it had sent before is not recorded again, so that is left out."] * again
        expected, nothing = self.write_expected(attempt, end, again=again)
        return Case(
            step=invocation.step,
            invocation=invocation.id,
            attempt=attempt.number,
            takes=event.type.rpartition(":")[2] if event is not None else "",
            event=text,
            given=given,
            expected=expected,
            nothing=nothing,
            notes=tuple(notes),
        )

    def check_end(self, invocation: Invocation, attempt: Attempt, start: StepStarted) -> int:
        """Return the number of the record by which an attempt returned, if all of it is there."""
        if attempt.error is not None:
            kind = attempt.error.type.rpartition(".")[2]
            raise UnwritableError(f"its last attempt failed ({kind}), and what made it fail is not in the record")
        end = self.ends[invocation.id]
        if attempt.outcome != "completed" or end < start.seq:
            raise UnwritableError("its end is not recorded")
        last = max([end, *attempt.sent, *(each.seq for each in attempt.streamed)])
        for gap in self.gaps:
            if gap.first <= last + 1 and (gap.last or last) >= start.seq:
                raise UnwritableError(f"not all of it is recorded: {gap.reason}")
        return end

    def is_taken_up(self, invocation: Invocation, attempt: Attempt) -> bool:
        """Tell whether an attempt had begun before, in a process that ended or in a run that it was forked from."""
        before = any(tried.number == attempt.number for tried in invocation.attempts[:-1])
        return before or (invocation.id, attempt.number) in self.begun

    def check_state(self, invocation: Invocation, start: int, end: int, fold: StateFold) -> None:
        """Make sure that what the step saw of the state is known."""
        for gap in self.gaps:
            if gap.last and gap.first < start:
                raise UnwritableError(f"the state that it found is not known for certain: {gap.reason}")
        for path, reason in fold.lost.items():
            raise UnwritableError(f"the state that it found is not known{f' at {path!r}' if path else ''}: {reason}")
        between = self.writes[bisect_right(self.numbers, start) : bisect_left(self.numbers, end)]
        if any(write.invocation != invocation.id for write in between):
            raise UnwritableError("others wrote to the state while it ran, so that nobody knows what it found there")

    def write_state(self, fold: StateFold) -> Text | None:
        """Write the state that a step finds; None for the one that a run begins with."""
        try:
            if type(fold.state)().model_dump_json() == fold.state.model_dump_json():
                return None
            if type(fold.state).__module__ == "otflow.context.state_store":
                plain = msgspec.json.decode(Body(fold.state).whole)
                if f'"{OPAQUE}"'.encode() in Body(fold.state).whole:
                    raise UnwritableError("the state has a part that could not be serialised")
                return write_plain(plain)
            return write_model(fold.state, self.names)
        except (ValueError, TypeError) as error:
            raise UnwritableError(f"the state that it found cannot be written as source ({error})") from error

    def write_given(self, invocation: Invocation, attempt: Attempt) -> dict[str, Text]:
        """Write what the step collected, the answers that it got, and what the attempt before came to."""
        given: dict[str, Text] = {}
        buffers = {
            each.buffer: self.write_all(each.events) for tried in invocation.attempts for each in tried.collected
        }
        if list(buffers) == ["default"]:
            given["collected"] = buffers["default"]
        elif buffers:
            parts = tuple(Part(text, f"{write_plain(name)}: ") for name, text in buffers.items())
            given["collected"] = Group("{", parts, "}")
        waits = [wait for tried in invocation.attempts for wait in tried.waits if wait.ended]
        answers = [self.write(self.run.events.get(wait.event)) if wait.event else "None" for wait in waits]
        if answers:
            given["answers"] = Group("[", tuple(map(Part, answers)), "]")
        if attempt.number > 1:
            given["attempt"] = str(attempt.number)
        return given

    def write_expected(self, attempt: Attempt, end: int, *, again: bool) -> tuple[dict[str, Text], tuple[str, ...]]:
        records = [record for seq in attempt.sent if isinstance(record := self.by_seq.get(seq), EventSent)]
        sent = [record for record in records if not record.returned]
        expected: dict[str, Text] = {"returned": self.write_all([each.seq for each in records if each.returned])}
        if sent and not again:
            expected["sent"] = self.write_all([each.seq for each in sent])
            expected["targets"] = write_plain([each.target or None for each in sent])
        # a question that a step returns goes to the stream by itself, after it
        streamed = [each for each in attempt.streamed if each.seq < end]
        if streamed and not again:
            texts = [write_event(each.type, each.body, self.names) for each in streamed]
            expected["streamed"] = Group("[", tuple(map(Part, texts)), "]")
        if attempt.written:
            parts = tuple(Part(self.write_write(each)) for each in attempt.written)
            expected["written"] = Group("[", parts, "]")
        asserted = ("written",) if again else ("sent", "streamed", "written")
        return expected, tuple(name for name in asserted if name not in expected)

    def write_write(self, record: ContextWritten) -> Text:
        self.check(record)
        try:
            value = self.names.add("otflow.testing", "DELETED") if record.deleted else self.value(record)
        except ValueError as error:
            raise UnwritableError(f"what it wrote to {record.path!r} cannot be written as source ({error})") from error
        return Group("(", (Part(write_plain(record.path)), Part(value)), ")")

    def value(self, record: ContextWritten) -> Text:
        return write_plain(msgspec.json.decode(record.value.json))

    def check(self, record: Record) -> None:
        for _, reason in find_losses(record):
            raise UnwritableError(reason)

    def write_all(self, ids: tuple[int, ...] | list[int]) -> Text:
        return Group("[", tuple(Part(self.write(self.run.events.get(id))) for id in ids), "]")

    def write(self, event: Event | None) -> Text:
        if event is None:
            raise UnwritableError("the record of an event is missing")
        if event.id < 0:
            raise UnwritableError("it took an event that an earlier run left")
        return write_event(event.type, event.body, self.names)
