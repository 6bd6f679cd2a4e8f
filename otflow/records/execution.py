"""One run as far as its records are known: what there is, what it adds up to at any point, and what exactly is missing.

Records may come from anywhere, in any order and more than once. An execution holds each once, sorted by number, and
says what it cannot know: every number that is missing, every payload that is not whole. It never fills a hole. This
room knows records only: how they were found, in which file or server, is told to it in sentences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from otflow.records.clues import Gap, explain
from otflow.records.codec import encode
from otflow.records.emitted import begins
from otflow.records.folding import brought_by, fold_state
from otflow.records.history import Attempt, Event, Invocation, Run, leave_open, read_runs
from otflow.records.losses import find_losses, is_cut, prefer
from otflow.records.record import (
    ENDINGS,
    ContextWritten,
    Record,
    RunPaused,
    RunResumed,
    RunStarted,
)

__all__ = ["Execution", "Gap", "RunInfo", "drop_superseded", "from_records", "settle"]


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


class Execution:
    """One run, as far as its records are known.

    Args:
        records: its records, in any order, with duplicates or without.
        clues: what whoever found the records knows of missing ones: a sentence, and the numbers of which it speaks,
            of which the last belongs to a record that has to exist; zeros if it may be any. Default none.
        last: the number of the last record of the run; default 0: nobody said.
        merged: whether what was superseded is left out already; default False.

    Attributes:
        records: its records, sorted by number, each once.
        clues, last: as given.

    Raises:
        ValueError: there are no records, or they are of several runs.

    Example:
        >>> import asyncio
        >>> from otflow import StartEvent, StopEvent, Workflow, step
        >>> from otflow.testing import capture_records
        >>> class Count(Workflow):
        ...     @step
        ...     async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ...         await ctx.store.set("seen", 1)
        ...         return StopEvent()
        >>> from otflow import Context
        >>> async def main() -> None:
        ...     await Count().run()
        >>> with capture_records() as records:
        ...     asyncio.run(main())
        >>> execution = Execution(records)
        >>> execution.outcome, execution.complete, execution.state()
        ('completed', True, {'seen': 1})
        >>> [gap.reason for gap in Execution(records[:2] + records[3:]).gaps]
        ['Record 3 is missing.']
    """

    def __init__(
        self, records: Iterable[Record], clues: Iterable[Gap] = (), last: int = 0, *, merged: bool = False
    ) -> None:
        given = list(records)
        if not given or any(record.run != given[0].run for record in given):
            raise ValueError("An execution is made of the records of one run, and of one at least.")
        self.records, self._doubted = settle(given if merged else drop_superseded(given))
        self.clues = tuple(dict.fromkeys(clues))
        self.last = last

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.records[0].run

    @property
    def workflow(self) -> str:
        """The name of the workflow; empty if nothing that is known says it."""
        return self.history.workflow

    @property
    def outcome(self) -> str:
        """How the run ended, or where it stands by its last known record.

        It is "completed", "failed", "cancelled", "timed out", "paused" or "open".
        """
        return self.history.outcome

    @cached_property
    def history(self) -> Run:
        """The run as a tree of invocations, attempts and events."""
        [run] = read_runs(self.records)
        return leave_open(run) if run.outcome == "paused" and self._top > self.records[-1].seq else run

    @property
    def steps(self) -> tuple[Invocation, ...]:
        """The invocations of its steps, in order."""
        return tuple(self.history.invocations.values())

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts of all invocations, invocation by invocation."""
        return tuple(attempt for invocation in self.steps for attempt in invocation.attempts)

    @property
    def events(self) -> Mapping[int, Event]:
        """Its events, by number."""
        return self.history.events

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """What is missing of its records, in order; the last one may be open, with 0 for its last number."""
        numbers = [record.seq for record in self.records]
        top = self._top
        before = numbers[0] - 1 if begins(self.records[0]) else 0  # where it took another run up, its own numbers begin
        pairs = zip((before, *numbers), (*numbers, top + 1), strict=True)
        holes = [(before + 1, after - 1) for before, after in pairs if after - before > 1]
        if not self._ended:
            holes.append((top + 1, 0))
        told = zip(holes, explain(self.clues, holes), strict=True)
        gaps = [Gap(first, last, f"{self._name(first, last)} {text}".rstrip()) for (first, last), text in told]
        gaps += [
            Gap(seq, seq, f"There are different records with the number {seq}; which of them counts is not known.")
            for seq in self._doubted
        ]
        return tuple(sorted(gaps))

    @cached_property
    def losses(self) -> tuple[Gap, ...]:
        """What of the payloads is missing in records that are there: cut, hidden, or never serialised."""
        return tuple(Gap(seq, seq, reason) for record in self.records for seq, reason in find_losses(record))

    @property
    def complete(self) -> bool:
        """Whether all records are there, from the first to the end of the run; payloads may lack something."""
        return not self.gaps

    def state(self, at: int | None = None) -> dict[str, object]:
        """Return the state of the run's context, as JSON tells it.

        It is what the context brought along and what was written to it since then. Defaults of a state class, which
        nobody wrote, are not in it. What may have changed it unseen, `doubts` says.

        Args:
            at: the number of the last record to look at; default None: the last one that there is.
        """
        return fold_state(record for record in self.records if at is None or record.seq <= at)

    def doubts(self, at: int | None = None, *, ever: bool = False) -> tuple[Gap, ...]:
        """Return what stands in the way of being sure about the state after a record.

        What was lost before the state as a whole was written, or went on with, no longer matters.

        Args:
            at: the number of the record; default None: the last one that there is.
            ever: whether it is about all that the state has ever been, so that this matters too; default False.
        """
        end = self.records[-1].seq if at is None else at
        bearing = [record for record in self.records if record.seq <= end and _bears(record)]
        base = 0 if ever else max((record.seq for record in bearing if _sets_all(record)), default=0)
        numbers = {record.seq for record in bearing}
        lost = [loss for loss in self.losses if loss.first in numbers]
        found = [gap for gap in (*self.gaps, *lost) if gap.first <= end and not 0 < gap.last < base]
        return tuple(sorted(found))

    def until(self, at: int) -> Execution:
        """Return the run as it stood after a record.

        Args:
            at: the number of the record.

        Raises:
            ValueError: none of its records has this number or a smaller one.
        """
        if at < self.records[0].seq:
            raise ValueError(f"Run {self.run_id} has no record up to {at}: the first one is {self.records[0].seq}.")
        clues = [clue._replace(last=min(at, clue.last)) for clue in self.clues if clue.first <= at or not clue.last]
        # beyond `at` nothing is missing, it is left out
        known = [record for record in self.records if record.seq <= at]
        return Execution(known, clues, min(at, self._top), merged=True)

    @property
    def _ended(self) -> bool:
        return any(isinstance(record, ENDINGS) for record in self.records)

    @cached_property
    def _top(self) -> int:
        """The number of the last record that has to exist."""
        return max([self.records[-1].seq, self.last, *(clue.last for clue in self.clues)])

    def _name(self, first: int, last: int) -> str:
        if last:
            return f"Record {first} is missing." if first == last else f"Records {first} to {last} are missing."
        top, final = first - 1, self.records[-1]
        if isinstance(final, RunPaused) and final.seq == top:
            return (
                f"The run was paused by record {top} ({final.reason}); what came after that, if anything, is not here."
            )
        return f"The end of the run is not here: nothing is known of what came after record {top}."

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Execution):
            return NotImplemented
        return (self.records, self.gaps) == (other.records, other.gaps)

    __hash__ = None  # type: ignore[assignment]  # payloads cannot be hashed

    def __repr__(self) -> str:
        gaps = f", {len(self.gaps)} gaps" if self.gaps else ""
        return f"<Execution of {self.workflow or '?'}, run {self.run_id}: {len(self.records)} records{gaps}>"


def _bears(record: Record) -> bool:
    """Tell whether a record says something about the state."""
    return isinstance(record, ContextWritten | RunStarted | RunResumed)


def _sets_all(record: Record) -> bool:
    """Tell whether the state is what a record says, whatever it was before."""
    if isinstance(record, ContextWritten):
        return not record.path and is_cut(record.value) < 0
    return isinstance(record, RunStarted | RunResumed) and brought_by(record) is not None


def from_records(records: Iterable[Record]) -> list[Execution]:
    """Build the executions that records tell of, the earliest first.

    Args:
        records: records of any number of runs, in any order, with duplicates or without.
    """
    of: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        of[record.run].append(record)
    return sorted(map(Execution, of.values()), key=lambda each: (each.records[0].at, each.run_id))


def settle(records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[int, ...]]:
    """Sort the records of one run by number, each once.

    Args:
        records: the records, in any order, of which none supersedes another; those of one number may differ in how much
            they show of a payload.

    Returns:
        The records, and the numbers of which there are records that contradict each other.
    """
    kept: dict[int, Record] = {}
    doubted: set[int] = set()
    for record in records:
        other = kept.setdefault(record.seq, record)
        if other is record or other == record:
            continue
        better = prefer(other, record)
        if better is None:
            doubted.add(record.seq)
            better = min(other, record, key=lambda each: (each.at, encode(each)))
        kept[record.seq] = better
    return tuple(kept[seq] for seq in sorted(kept)), tuple(sorted(doubted))


def drop_superseded(records: Sequence[Record]) -> Sequence[Record]:
    """Leave out what no longer counts, as far as times tell it.

    Where a run was restored from saved data, that is what it had done after that point; where its id was used again,
    all that was before.

    Args:
        records: the records of one run, in any order.
    """
    turns = [record for record in records if _turns(record)]
    if all(isinstance(turn, RunStarted) for turn in turns) and len({turn.at for turn in turns}) <= 1:
        return records  # nearly always
    for turn in sorted(turns, key=lambda each: each.at):
        records = [record for record in records if record.seq < turn.seq or record.at >= turn.at]
    return records


def _turns(record: Record) -> bool:
    """Tell whether a record supersedes earlier ones."""
    return type(record) is RunStarted or (type(record) is RunResumed and record.snapshot is not None)
