"""Sinks of a running workflow: observers cannot harm it, and a journal that fails stops it before anything happens."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.records.record import EventSent, Record, RunFailed, StepStarted, StreamWritten
from otflow.retry_policy import retry_policy, wait_fixed
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import LIMIT, Tape


class Job(Event):
    n: int = 0


class Report(Event):
    n: int = 0


class Answer(HumanResponseEvent):
    pass


class Everything(Workflow):
    """Does one of each: sends, collects, waits, retries, writes to state and stream."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.bodies: list[tuple[str, int]] = []

    @step
    async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
        self.bodies.append(("fan", ctx.attempt))
        await ctx.set("size", 2)
        for n in range(2):
            ctx.send_event(Job(n=n))
        ctx.write_event_to_stream(Report(n=-1))

    @step(retry_policy=retry_policy(wait=wait_fixed(0)))
    async def work(self, ctx: Context, ev: Job) -> Report:
        self.bodies.append(("work", ctx.attempt))
        async with ctx.store.edit_state() as state:
            state["last"] = ev.n
        if ctx.attempt == 1:
            raise ValueError
        await asyncio.sleep(0)
        return Report(n=ev.n)

    @step
    async def end(self, ctx: Context, ev: Report) -> StopEvent | None:
        self.bodies.append(("end", ctx.attempt))
        found = ctx.collect_events(ev, [Report] * await ctx.get("size"))
        if found is None:
            return None
        await ctx.wait_for_event(Answer)
        return StopEvent(result=sorted(report.n for report in found))


async def drive(handler) -> object:
    """Bring the workflow to its end: answer its question once it is asked."""

    async def answer() -> None:
        await until(lambda: handler.done() or handler.ctx.run.driver.state.waits)
        if not handler.done():
            handler.ctx.send_event(Answer())

    answering = asyncio.create_task(answer())
    try:
        return await handler
    finally:
        await answering


class Breaks:
    """A sink that raises from its nth batch on, and keeps what it took before."""

    def __init__(self, after: int, error: Exception) -> None:
        self.after, self.error = after, error
        self.records: list[Record] = []
        self.calls = 0

    def __call__(self, records: Sequence[Record]) -> None:
        self.calls += 1
        if self.calls > self.after:
            raise self.error
        self.records.extend(records)


# --- observers ----------------------------------------------------------------------------------------------


async def test_an_observer_that_raises_harms_nobody(caplog):
    """A run with an observer that always raises ends as without it; the failures are counted and reported once."""
    dispatcher, tape = Dispatcher(), Tape()
    broken = Breaks(0, OSError("disk full"))
    dispatcher.attach(broken)
    dispatcher.attach(tape.records.extend)
    assert await drive(Everything(dispatcher=dispatcher).run()) == [0, 1]
    assert tape.names()[0] == "RunStarted"
    assert tape.names()[-1] == "RunCompleted"
    assert [record.seq for record in tape.records] == list(range(1, len(tape.records) + 1))
    assert dispatcher.failures == {"Breaks": broken.calls}
    assert broken.calls > 10
    (message,) = [record for record in caplog.records if record.name == "otflow"]
    assert "The sink Breaks raised" in message.getMessage()
    assert "Runs go on without it" in message.getMessage()
    assert message.exc_info[1] is broken.error


async def test_a_scope_that_raises_harms_nobody(caplog):
    """What is to surround the steps for a sink may fail too, and is counted and reported like the sink."""

    class Scope:
        def enter(self, started) -> None:
            """Fail."""
            raise OSError("enter")

        def origin(self) -> str:
            """Fail."""
            raise OSError("origin")

    tape = Tape()
    tape.dispatcher.attach(lambda _: None, scope=Scope())
    assert await drive(Everything(dispatcher=tape.dispatcher).run()) == [0, 1]
    assert tape.dispatcher.failures.total() >= len(tape.all(StepStarted)) + 1  # origins of events are asked for too
    assert len([record for record in caplog.records if record.name == "otflow"]) == 1


async def test_a_sink_that_is_taken_away_hears_no_more():
    """The function that attach returns ends what attach began; the run goes on."""
    dispatcher, heard = Dispatcher(), []
    detach = dispatcher.attach(heard.extend)
    handler = Everything(dispatcher=dispatcher).run()
    await until(lambda: handler.ctx.run.driver.state.waits)
    detach()
    known = len(heard)
    assert await drive(handler) == [0, 1]
    assert len(heard) == known


async def test_what_is_no_sink_is_refused():
    """Something that cannot be called is no sink, and the error says what one is."""
    with pytest.raises(TypeError, match="a sink is a callable that takes a sequence of records, not 3"):
        Dispatcher().attach(3)


# --- journals -----------------------------------------------------------------------------------------------


async def test_the_journal_comes_first():
    """Every batch is in the journal before any observer sees it, and before anything is done about it."""
    order: list[tuple[str, int]] = []
    dispatcher = Dispatcher()
    dispatcher.attach(lambda batch: order.extend(("observer", record.seq) for record in batch))
    dispatcher.attach(lambda batch: order.extend(("journal", record.seq) for record in batch), journal=True)
    await drive(Everything(dispatcher=dispatcher).run())
    for number in {seq for _, seq in order}:
        assert order.index(("journal", number)) < order.index(("observer", number))


async def count_batches() -> int:
    """Count the batches that the workflow leads to."""
    dispatcher, journal = Dispatcher(), Breaks(1000, OSError())
    dispatcher.attach(journal, journal=True)
    await drive(Everything(dispatcher=dispatcher).run())
    return journal.calls


async def test_a_journal_that_fails_stops_the_run_at_any_point():
    """Whichever batch the journal refuses: the run ends with that error, nothing of the batch takes effect, no hang."""
    for after in range(await count_batches()):
        journal, tape = Breaks(after, OSError("disk full")), Tape()
        tape.dispatcher.attach(journal, journal=True)
        workflow = Everything(dispatcher=tape.dispatcher)
        handler = workflow.run()
        with pytest.raises(WorkflowRuntimeError) as caught:
            await drive(handler)
        assert f"The journal of run {handler.run_id} of workflow 'Everything' refused a record" in str(caught.value)
        assert "OSError: disk full" in str(caught.value)
        assert "Make the journal writable" in str(caught.value)
        assert caught.value.__cause__ is journal.error
        # no more was asked of it, and observers know what it took, the end, and nothing else
        assert journal.calls == after + 1
        *committed, last = tape.records
        assert committed == journal.records
        assert isinstance(last, RunFailed)
        assert [record.seq for record in tape.records] == list(range(1, len(tape.records) + 1))
        # no step ran and no event was streamed that the journal does not know of
        started = Counter((record.step, record.attempt) for record in committed if isinstance(record, StepStarted))
        assert Counter(workflow.bodies) <= started
        streamed = [event async for event in handler.stream_events()]
        assert isinstance(streamed[-1], WorkflowFailedEvent)
        assert streamed[-1].exception is caught.value
        assert len(streamed) - 1 == len([record for record in committed if isinstance(record, StreamWritten)])
        assert workflow.is_done()


async def test_a_journal_that_fails_while_a_thread_works():
    """A plain step whose run was stopped by its journal ends on its own; the run does not wait for it."""

    class Threads(Workflow):
        @step
        def work(self, ctx: Context, ev: StartEvent) -> Job | StopEvent:
            ctx.send_event(Job())
            go_on.wait(LIMIT)
            return StopEvent()

        @step
        async def never(self, ev: Job) -> None:
            raise AssertionError("never")

    go_on = threading.Event()
    dispatcher = Dispatcher()
    dispatcher.attach(Breaks(1, OSError("disk full")), journal=True)
    with pytest.raises(WorkflowRuntimeError, match="disk full"):
        await Threads(dispatcher=dispatcher).run()
    go_on.set()


async def test_a_journal_that_fails_at_a_timer():
    """When the journal refuses what a timer brings, the run ends with that, not with silence."""

    class Waits(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(Answer, timeout=self.patience)
            return StopEvent()

    for patience in (5, 1000):  # the end of a wait, and the end of the run
        dispatcher, clock, journal = Dispatcher(), ManualClock(), Breaks(1000, OSError("disk full"))
        dispatcher.attach(journal, journal=True)
        workflow = Waits(dispatcher=dispatcher, clock=clock, timeout=50)
        workflow.patience = patience
        handler = workflow.run()
        await until(partial(len, handler.ctx.run.driver.state.waits))
        journal.after = 0
        clock.advance(50)
        with pytest.raises(WorkflowRuntimeError, match="disk full"):
            await handler


async def test_a_journal_that_fails_at_the_cancellation():
    """A run that is cancelled while its journal fails ends all the same, with the error of the journal."""
    dispatcher, journal = Dispatcher(), Breaks(1000, OSError("disk full"))
    dispatcher.attach(journal, journal=True)
    handler = Everything(dispatcher=dispatcher).run()
    await until(lambda: handler.ctx.run.driver.state.waits)
    journal.after = 0
    await handler.cancel_run()
    with pytest.raises(WorkflowRuntimeError, match="disk full"):
        await handler


async def test_nothing_counts_after_the_journal_failed():
    """What a step still does when its run was stopped leads to no record, and the next run is not concerned."""

    class Goes(Workflow):
        @step
        async def go(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for n in range(5):
                ctx.write_event_to_stream(Report(n=n))
                await ctx.set("n", n)
            return StopEvent(result="end")

    journal, tape = Breaks(2, OSError("disk full")), Tape()
    tape.dispatcher.attach(journal, journal=True)
    workflow = Goes(dispatcher=tape.dispatcher)
    handler = workflow.run()
    with pytest.raises(WorkflowRuntimeError, match="disk full"):
        await handler
    await turn()
    assert tape.names()[-1] == "RunFailed"
    assert tape.names().count("RunFailed") == 1
    assert not tape.all(EventSent)
    journal.after = 1000
    assert await workflow.run() == "end"
