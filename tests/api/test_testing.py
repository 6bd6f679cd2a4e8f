"""otflow.testing: a workflow run to its end, its records, and its time moved by hand."""

from __future__ import annotations

import asyncio

import pytest

from otflow import Context, Event, StartEvent, StepStateChanged, StopEvent, Workflow, WorkflowTimeoutError, step
from otflow.dispatcher import Dispatcher
from otflow.records.record import RunCompleted, RunStarted
from otflow.testing import ManualClock, WorkflowTestResult, WorkflowTestRunner, capture_records
from tests.api.loops import turn


class Begin(StartEvent):
    number: int = 2


class Note(Event):
    number: int


class Count(Workflow):
    @step
    async def count(self, ctx: Context, ev: Begin) -> StopEvent:
        for number in range(ev.number):
            ctx.write_event_to_stream(Note(number=number))
        await ctx.store.set("last", ev.number)
        return StopEvent(result=ev.number)


class Fails(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        raise ValueError("bad")


class Forever(Workflow):
    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        await asyncio.Event().wait()
        return StopEvent()


# --- the runner ---------------------------------------------------------------------------------------------


async def test_a_run_gives_all_that_it_came_to():
    """The runner gives the events of the stream, how many there are of each type, the result and the context."""
    ran = await WorkflowTestRunner(Count()).run(start_event=Begin(number=3))
    assert isinstance(ran, WorkflowTestResult)
    assert ran.result == 3
    assert [ev.number for ev in ran.collected if isinstance(ev, Note)] == [0, 1, 2]
    assert ran.event_types == {StepStateChanged: 2, Note: 3, StopEvent: 1}
    assert type(ran.collected[-1]) is StopEvent
    assert await ran.ctx.store.get("last") == 3


async def test_the_start_event_may_be_left_out():
    """Without a start event the run begins with an empty one of the class that the workflow takes."""
    assert (await WorkflowTestRunner(Count()).run()).result == 2


async def test_internal_events_may_be_left_out():
    """`expose_internal=False` leaves out what is internal."""
    ran = await WorkflowTestRunner(Count()).run(expose_internal=False)
    assert ran.event_types == {Note: 2, StopEvent: 1}


async def test_types_may_be_left_out():
    """`exclude_events` leaves out events of exactly these types."""
    ran = await WorkflowTestRunner(Count()).run(exclude_events=[Note, StepStateChanged, Event])
    assert ran.collected == [StopEvent(result=2)]
    assert ran.event_types == {StopEvent: 1}


async def test_a_context_may_be_given():
    """The run uses the context that it is given."""
    workflow = Count()
    ctx = Context(workflow)
    assert (await WorkflowTestRunner(workflow).run(ctx=ctx)).ctx is ctx
    assert await ctx.store.get("last") == 2


async def test_a_failure_is_raised():
    """A run that fails raises what its handler raises."""
    with pytest.raises(ValueError, match="bad"):
        await WorkflowTestRunner(Fails()).run()


async def test_one_runner_runs_many_times():
    """A runner keeps nothing of a run."""
    runner = WorkflowTestRunner(Count())
    first, second = await runner.run(), await runner.run()
    assert first.event_types == second.event_types
    assert first.collected is not second.collected
    assert first.ctx is not second.ctx


# --- records ------------------------------------------------------------------------------------------------


async def test_records_of_all_runs_are_captured():
    """In the block every record of every run is collected, after it none."""
    with capture_records() as records:
        await asyncio.gather(Count().run(run_id="a"), Count().run(run_id="b"))
        kept = len(records)
    await Count().run()
    assert len(records) == kept
    assert {record.run for record in records} == {"a", "b"}
    for run in "ab":
        mine = [record for record in records if record.run == run]
        assert [record.seq for record in mine] == list(range(1, len(mine) + 1))
        assert isinstance(mine[0], RunStarted)
        assert isinstance(mine[-1], RunCompleted)


async def test_records_of_one_dispatcher_can_be_captured():
    """With a dispatcher only its records are collected."""
    mine = Dispatcher()
    with capture_records(mine) as records:
        await Count().run(run_id="other")
        await Count(dispatcher=mine).run(run_id="mine")
    assert {record.run for record in records} == {"mine"}


async def test_capturing_ends_with_an_exception():
    """An exception in the block ends the capture and passes through."""
    dispatcher = Dispatcher()
    with pytest.raises(KeyError), capture_records(dispatcher):
        raise KeyError
    assert not dispatcher.listening


async def test_captures_can_be_nested():
    """An inner block collects what happens in it, the outer one everything."""
    with capture_records() as outer:
        await Count().run()
        with capture_records() as inner:
            await Count().run()
    assert outer[-len(inner) :] == inner
    assert len(outer) == 2 * len(inner)


# --- time ---------------------------------------------------------------------------------------------------


async def test_time_stands_still():
    """With a manual clock nothing is late, and all records have the same time, until the test moves it."""
    clock = ManualClock(start=5_000_000_000)
    dispatcher = Dispatcher()
    with capture_records(dispatcher) as records:
        handler = Forever(clock=clock, timeout=1, dispatcher=dispatcher).run()
        await turn()
        assert {record.at for record in records} == {5_000_000_000}
        clock.advance(1)
        with pytest.raises(WorkflowTimeoutError):
            await handler
    assert records[-1].at == 6_000_000_000


def test_timers_ring_in_order():
    """A clock that moves far rings what falls due on the way, in order, and not what was called off."""
    clock = ManualClock(start=0)
    rung: list[tuple[str, int]] = []

    def ring(name: str):
        return lambda: rung.append((name, clock.now()))

    clock.call_later(3, ring("c"))
    clock.call_later(1, ring("a"))
    clock.call_later(1, ring("b"))
    clock.call_later(2, ring("off")).cancel()
    clock.call_later(9, ring("later"))
    clock.advance(5)
    assert rung == [("a", 10**9), ("b", 10**9), ("c", 3 * 10**9)]
    assert clock.now() == 5 * 10**9


def test_a_timer_may_set_another():
    """What a timer sets rings in the same move if it falls due in it."""
    clock = ManualClock(start=0)
    rung: list[int] = []

    def again() -> None:
        rung.append(clock.now() // 10**9)
        clock.call_later(1, again)

    clock.call_later(1, again)
    clock.advance(3)
    assert rung == [1, 2, 3]
