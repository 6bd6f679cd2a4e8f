"""Group commit: what runs do while the event loop goes round once is one commit, and nothing comes before it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from otflow import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, WorkflowRuntimeError, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, book
from otflow.records.record import EventReceived, Record, RunCompleted, RunFailed, RunStarted, StepStarted, StreamWritten
from tests.api.loops import turn, until
from tests.api.tape import Tape
from tests.api.test_sinks import Everything, drive


class Shared:
    """A journal that commits batches of several runs at once, until it refuses those of some run.

    Args:
        after: how many commits it takes before it refuses; default: it never does.
        run: the only run that it refuses; default "": all.
    """

    def __init__(self, after: int = 1_000_000, run: str = "", error: BaseException | None = None) -> None:
        self.after, self.run = after, run
        self.error = error or OSError("disk full")
        self.records: list[Record] = []
        self.sizes: list[int] = []

    def __call__(self, records: Sequence[Record]) -> None:
        [error] = self.write_all([records])
        if error is not None:
            raise error

    def write_all(self, batches: Sequence[Sequence[Record]]) -> list[BaseException | None]:
        self.sizes.append(len(batches))
        return [self.write(records) for records in batches]

    def write(self, records: Sequence[Record]) -> BaseException | None:
        if len(self.sizes) > self.after and self.run in {"", records[0].run}:
            if not isinstance(self.error, Exception):
                raise self.error
            return self.error
        self.records.extend(records)
        return None


class Round(Event):
    left: int


class Loop(Workflow):
    """Goes round so many times, and counts the rounds for which the journal has no record yet."""

    early = 0
    journal: Shared

    @step
    async def begin(self, ev: StartEvent) -> Round:
        return Round(left=ev.rounds)

    @step
    async def go(self, ctx: Context, ev: Round) -> Round | StopEvent:
        begun = [r for r in self.journal.records if isinstance(r, StepStarted) and r.step == "go"]
        mine = ctx.idempotency_key
        self.early += all(f"{r.run}:{r.invocation}" != mine for r in begun)
        return Round(left=ev.left - 1) if ev.left else StopEvent(result="end")


def attach(journal: Shared, tape: Tape | None = None) -> Dispatcher:
    """Make a dispatcher with a journal."""
    dispatcher = tape.dispatcher if tape is not None else Dispatcher()
    dispatcher.attach(journal, journal=True)
    return dispatcher


async def test_runs_share_commits() -> None:
    """Twenty runs that go round together need one commit for each round, and no step begins before its record."""
    journal = Shared()
    workflow = Loop(dispatcher=attach(journal))
    workflow.journal = journal
    results = await asyncio.gather(*(workflow.run(rounds=10) for _ in range(20)))
    assert set(results) == {"end"}
    assert workflow.early == 0
    starts, rounds = journal.sizes[:20], journal.sizes[20:]
    assert set(starts) == {1}  # each is on record when run() returns
    assert rounds == [20] * 12
    for run in {record.run for record in journal.records}:
        numbers = [record.seq for record in journal.records if record.run == run]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_a_lonely_run_waits_for_nobody() -> None:
    """A run that is alone commits each round at once, without a turn of the event loop in between."""
    journal = Shared()
    workflow = Loop(dispatcher=attach(journal))
    workflow.journal = journal
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    assert await workflow.run(rounds=50) == "end"
    counter.cancel()
    assert workflow.early == 0
    assert turns < 20


async def test_each_run_of_a_group_stands_for_itself() -> None:
    """When the journal refuses one run of a group, that one ends with the error, and the others with their results."""
    journal, tape = Shared(after=8, run="bad"), Tape()
    workflow = Loop(dispatcher=attach(journal, tape))
    workflow.journal = journal
    handlers = [workflow.run(run_id=run, rounds=10) for run in ("good", "bad", "fine")]
    results = await asyncio.gather(*handlers, return_exceptions=True)
    assert [results[0], results[2]] == ["end", "end"]
    assert isinstance(results[1], WorkflowRuntimeError)
    assert results[1].__cause__ is journal.error
    of_bad = [record for record in tape.records if record.run == "bad"]
    assert of_bad[:-1] == [record for record in journal.records if record.run == "bad"]
    assert isinstance(of_bad[-1], RunFailed)
    assert [record.seq for record in of_bad] == list(range(1, len(of_bad) + 1))


async def test_a_refusal_at_any_commit_stops_the_run() -> None:
    """Whichever commit is refused: the run ends with that error, and nothing that it held has happened."""
    after = 0
    while await refuse_from(after):
        after += 1
    assert after > 5  # on a busy machine a turn may be cut in two


async def refuse_from(after: int) -> bool:
    """Have a journal refuse everything after so many commits, and check what comes of it; False if none was left."""
    journal, tape = Shared(after), Tape()
    workflow = Everything(dispatcher=attach(journal, tape))
    handler = workflow.run()
    [end] = await asyncio.gather(drive(handler), return_exceptions=True)
    if not isinstance(end, WorkflowRuntimeError):
        return False
    assert end.__cause__ is journal.error
    *committed, last = tape.records
    assert committed == journal.records
    assert isinstance(last, RunFailed)
    assert [record.seq for record in tape.records] == list(range(1, len(tape.records) + 1))
    started = Counter((record.step, record.attempt) for record in committed if isinstance(record, StepStarted))
    assert Counter(workflow.bodies) <= started
    streamed = [event async for event in handler.stream_events()]
    assert len(streamed) - 1 == len([record for record in committed if isinstance(record, StreamWritten)])
    return True


class Ask(Workflow):
    """Waits for an answer."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(HumanResponseEvent)
        return StopEvent(result=answer.response)


async def test_what_callers_do_is_on_record_when_the_call_returns() -> None:
    """A run that was begun and an answer that was sent are in the journal at once: the caller may tell others."""
    journal = Shared()
    handler = Ask(dispatcher=attach(journal)).run()
    assert isinstance(journal.records[0], RunStarted)
    await turn()
    handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert sum(isinstance(record, EventReceived) for record in journal.records) == 2  # the start event is one
    assert await handler == "yes"


async def test_saved_data_is_on_record() -> None:
    """What `ctx.to_dict` gives is never ahead of the journal."""
    journal, dispatcher = Shared(), Dispatcher()
    dispatcher.attach(journal, journal=True)

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("n", 1)
            before = len(journal.records)
            ctx.to_dict()
            return StopEvent(result=len(journal.records) - before)

    assert await Writes(dispatcher=dispatcher).run() == 1


def test_the_loop_closes_under_a_group() -> None:
    """Runs whose batches are held when their loop is closed are cancelled like all others, on record."""
    journal = Shared()

    async def main() -> None:
        workflow = Loop(dispatcher=attach(journal))
        workflow.journal = journal
        handlers = [workflow.run(rounds=1_000_000) for _ in range(3)]
        await until(lambda: len(journal.sizes) > 10)
        assert not any(handler.done() for handler in handlers)

    asyncio.run(main())
    for run in {record.run for record in journal.records}:
        of_run = [record for record in journal.records if record.run == run]
        assert type(of_run[-1]).__name__ == "RunCancelled"
        assert [record.seq for record in of_run] == list(range(1, len(of_run) + 1))


def test_a_journal_that_is_interrupted_ends_all_its_runs() -> None:
    """A KeyboardInterrupt in the middle of a commit gets out, and no run of the group waits for ever."""
    journal, tape = Shared(after=8, error=KeyboardInterrupt()), Tape()

    async def main() -> None:
        workflow = Loop(dispatcher=attach(journal, tape))
        workflow.journal = journal
        await asyncio.gather(*(workflow.run(rounds=1_000_000) for _ in range(3)))

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert not tape.dispatcher.runs()


async def test_a_mixed_set_of_journals_commits_one_by_one() -> None:
    """Next to a journal that takes one batch at a time nothing is held, and both have the same."""
    journal, plain = Shared(), []
    dispatcher = attach(journal)
    detach = dispatcher.attach(plain.extend, journal=True)
    workflow = Loop(dispatcher=dispatcher)
    workflow.journal = journal
    await asyncio.gather(*(workflow.run(rounds=3) for _ in range(3)))
    assert journal.records == plain
    assert set(journal.sizes) == {1}
    detach()
    await asyncio.gather(*(workflow.run(rounds=3) for _ in range(3)))
    assert max(journal.sizes) == 3
    assert sum(isinstance(record, RunCompleted) for record in journal.records) == 6


async def test_who_begins_to_watch_sees_what_comes_after() -> None:
    """What was held when somebody began to watch a run comes before what is committed for him at once."""
    journal, seen = Shared(), []

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("a", 1)
            ctx.run.driver.commits.taps = (seen.extend,)
            await ctx.store.set("b", 2)
            return StopEvent()

    await Writes(dispatcher=attach(journal)).run()
    numbers = [record.seq for record in journal.records]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [getattr(record, "path", "") for record in seen][:2] == ["a", "b"]


def test_ctrl_c_in_a_commit_of_a_real_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt while SQLite commits is not taken for a fault of the journal: it gets out of the program."""
    dispatcher = Dispatcher()
    dispatcher.attach(journal := Journal(tmp_path / "runs.db", synchronous="normal"), journal=True)
    write_all, calls = book.write_all, []

    def write(*arguments, **options):
        calls.append(1)
        if len(calls) == 10:
            signal.raise_signal(signal.SIGINT)
        return write_all(*arguments, **options)

    monkeypatch.setattr(book, "write_all", write)

    async def main() -> None:
        workflow = Loop(dispatcher=dispatcher)
        workflow.journal = Shared()
        ends = await asyncio.gather(*(workflow.run(rounds=1_000_000) for _ in range(3)), return_exceptions=True)
        assert [type(end) for end in ends] == [WorkflowRuntimeError] * 3
        assert all("KeyboardInterrupt came in the middle. Go on from" in str(end) for end in ends)

    loop = asyncio.new_event_loop()
    whole = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(whole)
    loop.run_until_complete(whole)  # a program that goes on waits for nobody
    assert not dispatcher.runs()
    loop.close()
    journal.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 is the first with eager tasks")
async def test_tasks_that_begin_at_once() -> None:
    """With the eager task factory runs share commits as without it."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    journal = Shared()
    workflow = Loop(dispatcher=attach(journal))
    workflow.journal = journal
    assert set(await asyncio.gather(*(workflow.run(rounds=10) for _ in range(5)))) == {"end"}
    assert workflow.early == 0
    assert max(journal.sizes) == 5


async def test_two_dispatchers_in_one_loop() -> None:
    """Runs of two dispatchers end each with its own journal; a journal that fails harms no run of the other one."""
    good, bad = Shared(), Shared(after=5)
    workflows = [Loop(dispatcher=attach(journal)) for journal in (good, bad)]
    for workflow, journal in zip(workflows, (good, bad), strict=True):
        workflow.journal = journal
    runs = [workflow.run(rounds=10) for workflow in workflows for _ in range(2)]
    results = await asyncio.gather(*runs, return_exceptions=True)
    assert results[:2] == ["end", "end"]
    assert [type(result) for result in results[2:]] == [WorkflowRuntimeError] * 2
