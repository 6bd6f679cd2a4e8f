"""Edges where one run meets another, or its caller, at an odd moment."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from otflow import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.records.record import Record, RunCancelled, RunStarted
from otflow.retry_policy import ConstantDelayRetryPolicy


class Late(Event):
    """Comes too late."""


class Patient(Workflow):
    """Tries again much later."""

    @step(retry_policy=ConstantDelayRetryPolicy(delay=3600))
    async def fail(self, ev: StartEvent) -> StopEvent:
        raise ValueError("not yet")


async def test_wait_for_says_that_its_time_is_over():
    """`asyncio.wait_for` raises TimeoutError also when no step stands still, and the run ends with it."""
    handler = Patient().run()
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handler, 0.001)
    assert handler.cancelled()
    assert not handler.ctx.is_running


async def test_a_failed_handler_can_be_printed():
    """Printing a handler raises nothing, whatever its run came to."""

    class Fails(Workflow):
        @step
        async def fail(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

    handler = Fails().run()
    with pytest.raises(ValueError, match="bad"):
        await handler
    assert "WorkflowHandler" in str(handler)


async def test_a_step_that_raises_generator_exit_fails():
    """GeneratorExit out of a step is a failure with a name, before and after it stood still."""

    class Exits(Workflow):
        @step
        async def leave(self, ev: StartEvent) -> StopEvent:
            if ev.stand:
                await asyncio.sleep(0)
            raise GeneratorExit

    for stand in (False, True):
        with pytest.raises(WorkflowRuntimeError, match=r"step 'leave'.*GeneratorExit"):
            await Exits(timeout=None).run(stand=stand)


async def test_a_refusing_journal_ends_every_run_that_waits_for_a_slot():
    """When each run ends as it begins, hundreds that wait for one slot all get their error."""

    def refuse(_: object) -> None:
        raise OSError("disk full")

    class Short(Workflow):
        @step
        async def end(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    dispatcher = Dispatcher()
    dispatcher.attach(refuse, journal=True)
    workflow = Short(num_concurrent_runs=1, dispatcher=dispatcher)
    results = await asyncio.gather(*(workflow.run() for _ in range(400)), return_exceptions=True)
    assert {type(result) for result in results} == {WorkflowRuntimeError}
    assert all("disk full" in str(result) for result in results)


async def test_a_step_that_outlived_its_run_does_not_reach_the_next():
    """What a thread of a timed-out run sends or streams does not count for a later run of the same context."""
    go, gone = threading.Event(), threading.Event()

    class Slow(Workflow):
        @step
        async def take(self, ev: Late) -> StopEvent:
            return StopEvent(result="late")

        @step
        async def hold(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            if ev.hang:
                return None
            go.set()
            while not gone.is_set():
                await asyncio.sleep(0)
            return StopEvent(result="fine")

        @step
        def hang(self, ctx: Context, ev: StartEvent) -> Late | None:
            if ev.hang:
                go.wait(10)
                ctx.send_event(Late())
                ctx.write_event_to_stream(Late())
                gone.set()
            return None

    workflow = Slow(timeout=0.05)
    ctx = Context(workflow)
    with pytest.raises(WorkflowTimeoutError):
        await workflow.run(ctx=ctx, hang=True)
    handler = Slow(timeout=20).run(ctx=ctx, hang=False)
    assert await handler == "fine"
    assert [type(event) async for event in handler.stream_events()] == [StopEvent]


async def test_a_run_that_is_cancelled_while_it_waits_for_a_slot_can_be_resumed():
    """Its records begin with RunStarted, and its saved data holds the start event."""

    class One(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            if ev.stand:
                await asyncio.Event().wait()
            return StopEvent(result=ev.n)

    records: list[Record] = []
    dispatcher = Dispatcher()
    dispatcher.attach(records.extend)
    workflow = One(num_concurrent_runs=1, dispatcher=dispatcher)
    first = workflow.run(stand=True)
    second = workflow.run(stand=False, n=7)
    await second.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await second
    own = [type(record) for record in records if record.run == second.run_id]
    assert own[0] is RunStarted
    assert own[-1] is RunCancelled
    await first.cancel_run()
    data = json.loads(json.dumps(second.ctx.to_dict()))
    assert await workflow.run(ctx=Context.from_dict(workflow, data)) == 7


async def test_an_error_keeps_what_its_class_keeps_outside_of_its_dict():
    """`filename` of an OSError, `name` of an ImportError and slots of users come out of the handler."""

    class Slotted(Exception):
        __slots__ = ("code",)

    class Opens(Workflow):
        @step
        async def open(self, ev: StartEvent) -> StopEvent:
            if ev.how == "slot":
                error = Slotted()
                error.code = 42
                raise error
            if ev.how == "import":
                raise ImportError("none", name="missing")
            raise FileNotFoundError(2, "nothing there", "nope.txt")

    with pytest.raises(FileNotFoundError) as found:
        await Opens().run(how="file")
    assert (found.value.filename, found.value.errno) == ("nope.txt", 2)
    with pytest.raises(ImportError) as imported:
        await Opens().run(how="import")
    assert imported.value.name == "missing"
    with pytest.raises(Slotted) as slotted:
        await Opens().run(how="slot")
    assert slotted.value.code == 42
