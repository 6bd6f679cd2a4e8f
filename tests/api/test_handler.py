"""Handler: a future that can be awaited, gathered and cancelled, and a few words to its run."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowHandler,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.testing import ManualClock
from tests.api.loops import turn, until


class One(Event):
    pass


class Go(HumanResponseEvent):
    pass


class Echo(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("seen", ev.get("value"))
        return StopEvent(result=ev.get("value"))


class Fails(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("before", 1)
        raise ValueError("bad")


class Forever(Workflow):
    """Notes what its step goes through."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.seen: list[str] = []

    @step
    async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.seen.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await turn()  # to clean up takes time
            self.seen.append("cleaned up")
            raise
        return StopEvent()


# --- a future -----------------------------------------------------------------------------------------------


async def test_a_handler_can_be_awaited_many_times():
    """Each await gives the same result, also to several tasks at once."""
    handler = Echo().run(value=[1])
    first = await handler
    assert first == [1]
    assert await handler is first
    again = Echo().run(value=[2])

    async def wait() -> object:
        return await again

    one, two = await asyncio.gather(wait(), wait())
    assert one is two


async def test_a_failed_handler_raises_each_time():
    """Each await of a failed run raises the same exception."""
    handler = Fails().run()
    caught = []
    for _ in range(2):
        with pytest.raises(ValueError, match="bad") as info:
            await handler
        caught.append(info.value)
    assert caught[0] is caught[1]


async def test_a_handler_is_a_future():
    """`done`, `result`, `exception` and callbacks are those of asyncio.Future."""
    handler = Echo().run(value=1)
    called: list[object] = []
    handler.add_done_callback(called.append)
    assert isinstance(handler, asyncio.Future)
    assert isinstance(handler, WorkflowHandler)
    assert not handler.done()
    assert not handler.is_done()
    with pytest.raises(asyncio.InvalidStateError):
        handler.result()
    with pytest.raises(asyncio.InvalidStateError):
        handler.exception()
    await asyncio.wait([handler])
    await turn()
    assert handler.done()
    assert handler.is_done()
    assert handler.result() == 1
    assert handler.exception() is None
    assert not handler.cancelled()
    assert called == [handler]
    assert str(handler) == "1"


async def test_a_failure_can_be_asked_for():
    """`exception()` gives what await would raise; `result()` raises it."""
    handler = Fails().run()
    await asyncio.wait([handler])
    assert isinstance(handler.exception(), ValueError)
    with pytest.raises(ValueError, match="bad"):
        handler.result()
    assert not handler.cancelled()


async def test_handlers_can_be_gathered():
    """`gather` takes handlers as it takes coroutines, with failures among them."""
    workflow = Echo()
    assert await asyncio.gather(*(workflow.run(value=i) for i in range(3))) == [0, 1, 2]
    good, bad = await asyncio.gather(workflow.run(value=1), Fails().run(), return_exceptions=True)
    assert good == 1
    assert isinstance(bad, ValueError)


async def test_handlers_work_in_a_task_group():
    """A coroutine that awaits a handler is a task like any other."""

    async def run(value: int) -> int:
        return await Echo().run(value=value)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(i)) for i in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]


async def test_a_handler_can_be_shielded():
    """To give up waiting on a shield leaves the run alone."""

    class Waits(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

        @step
        async def end(self, ev: Go) -> StopEvent:
            return StopEvent(result="done")

    handler = Waits().run()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(handler), 0)
    await turn()
    handler.ctx.send_event(Go())
    assert await handler == "done"


async def test_wait_for_ends_the_run():
    """When the time of `wait_for` is over, the run is cancelled with the handler, and its steps clean up."""
    workflow = Forever()
    handler = workflow.run()
    await turn()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handler, 0)
    assert handler.cancelled()
    assert handler.is_done()
    await until(lambda: workflow.seen == ["begun", "cleaned up"])
    assert workflow.is_done()
    with pytest.raises(asyncio.CancelledError):
        await handler


async def test_cancelling_the_awaiting_task_ends_the_run():
    """A task that is cancelled while it awaits a handler takes the run along, as with every future."""
    workflow = Forever()

    async def run() -> object:
        return await workflow.run()

    task = asyncio.ensure_future(run())
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: workflow.seen == ["begun", "cleaned up"])
    await until(workflow.is_done)


async def test_cancel_is_that_of_a_future():
    """`cancel()` cancels handler and run, once; a run that is over cannot be cancelled."""
    workflow = Forever()
    handler = workflow.run()
    await turn()
    assert handler.cancel()
    assert handler.cancelled()
    assert not handler.cancel()
    over = Echo().run()
    await over
    assert not over.cancel()
    assert not over.cancelled()
    await until(workflow.is_done)


async def test_nobody_is_reproached_for_a_cancelled_run():
    """A cancelled run whose handler is thrown away makes no noise."""
    handler = Forever().run()
    await turn()
    await handler.cancel_run()
    del handler
    gc.collect()


# --- what the handler knows ---------------------------------------------------------------------------------


async def test_the_context_is_the_one_that_was_given():
    """`handler.ctx` is the context of the run, and stays readable after it failed."""
    workflow = Echo()
    ctx = Context(workflow)
    handler = workflow.run(ctx=ctx, value=1)
    assert handler.ctx is ctx
    await handler
    assert await ctx.store.get("seen") == 1
    failed = Fails().run()
    with pytest.raises(ValueError, match="bad"):
        await failed
    assert await failed.ctx.store.get("before") == 1


async def test_the_stop_event_can_be_asked_for():
    """`stop_event_result` waits for the stop event, `get_stop_event` gives it once it is there."""
    handler = Echo().run(value=3)
    assert handler.get_stop_event() is None
    stop = await handler.stop_event_result()
    assert stop == StopEvent(result=3)
    assert handler.get_stop_event() is stop


async def test_each_way_to_end_has_its_stop_event():
    """A run that failed, timed out or was cancelled has a stop event that says so."""
    clock = ManualClock()
    failed, late, cancelled = Fails().run(), Forever(timeout=2, clock=clock).run(), Forever().run()
    await turn()
    clock.advance(2)
    await cancelled.cancel_run()
    await asyncio.wait([failed, late])
    stop = failed.get_stop_event()
    assert isinstance(stop, WorkflowFailedEvent)
    assert (stop.step_name, type(stop.exception), stop.attempts) == ("only", ValueError, 1)
    assert late.get_stop_event() == WorkflowTimedOutEvent(timeout=2, active_steps=["wait"])
    assert isinstance(cancelled.get_stop_event(), WorkflowCancelledEvent)
    for handler, error in ((failed, ValueError), (late, WorkflowTimeoutError)):
        assert isinstance(handler.exception(), error)


async def test_events_can_be_sent_through_the_handler():
    """`await handler.send_event(...)` is `handler.ctx.send_event(...)`, targeted too."""

    class Waits(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

        @step
        async def one(self, ev: Go) -> StopEvent:
            return StopEvent(result="one")

        @step
        async def two(self, ev: Go) -> StopEvent:
            return StopEvent(result="two")

    handler = Waits().run()
    await handler.send_event(Go(), step="two")
    assert await handler == "two"
    with pytest.raises(WorkflowRuntimeError):
        await handler.send_event(Go())


# --- cancel_run ------------------------------------------------------------------------------------------------------


async def test_cancel_run_ends_the_run():
    """After `cancel_run` the handler is done, and raises WorkflowCancelledByUser; the steps have cleaned up."""
    workflow = Forever()
    handler = workflow.run()
    await turn()
    await handler.cancel_run()
    assert workflow.seen == ["begun", "cleaned up"]
    assert handler.is_done()
    assert workflow.is_done()
    assert not handler.cancelled()
    with pytest.raises(WorkflowCancelledByUser, match="of workflow 'Forever' was cancelled"):
        await handler


async def test_a_run_can_be_cancelled_before_it_does_anything():
    """A run that is cancelled at once calls no step."""
    workflow = Forever()
    handler = workflow.run()
    await handler.cancel_run()
    assert workflow.seen == []
    assert isinstance(handler.exception(), WorkflowCancelledByUser)


async def test_cancel_run_may_be_called_again():
    """To cancel twice, or at once from two tasks, is no error."""
    handler = Forever().run()
    await turn()
    await asyncio.gather(handler.cancel_run(), handler.cancel_run())
    await handler.cancel_run()
    assert isinstance(handler.exception(), WorkflowCancelledByUser)


async def test_a_run_that_is_over_cannot_be_cancelled():
    """After its end a run keeps its result."""
    handler = Echo().run(value=1)
    await handler
    await handler.cancel_run()
    assert await handler == 1


async def test_a_cancelled_run_can_go_on():
    """The context of a cancelled run can be saved, and a new run takes up what was going on."""

    class Waits(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("count", await ctx.store.get("count", default=0) + 1)
            answer = await ctx.wait_for_event(Go)
            return StopEvent(result=[answer.text, await ctx.store.get("count")])

    workflow = Waits()
    handler = workflow.run()
    await turn()
    await handler.cancel_run()
    ctx = Context.from_dict(workflow, handler.ctx.to_dict())
    assert ctx.is_running
    again = workflow.run(ctx=ctx)
    await turn()
    ctx.send_event(Go(text="yes"))
    assert await again == ["yes", 2]


async def test_a_step_may_cancel_its_own_run():
    """`cancel_run` inside a step of the run ends it, and the step."""
    ended: list[str] = []

    class Suicidal(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            await turn()
            try:
                await self.handler.cancel_run()
            finally:
                ended.append("step")
            return StopEvent()

    workflow = Suicidal()
    workflow.handler = workflow.run()
    with pytest.raises(WorkflowCancelledByUser):
        await workflow.handler
    assert ended == ["step"]


async def test_a_step_that_goes_on_after_cancellation_counts_no_more():
    """What a step does after the end of its run has no effect, whether it sends, writes, waits or returns."""

    class Stubborn(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> One | StopEvent:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ctx.write_event_to_stream(One())
                await ctx.store.set("late", 1)
                return StopEvent(result="late")
            raise AssertionError

    handler = Stubborn(disable_validation=True).run()
    await turn()
    await handler.cancel_run()
    assert [type(ev) async for ev in handler.stream_events()] == [WorkflowCancelledEvent]
    assert isinstance(handler.exception(), WorkflowCancelledByUser)


async def test_a_step_that_fails_to_clean_up_is_not_heard():
    """An exception in the clean-up of a cancelled step changes nothing, and makes no noise."""

    class Clumsy(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            try:
                await asyncio.Event().wait()
            finally:
                raise RuntimeError("clean-up")

    handler = Clumsy().run()
    await turn()
    await handler.cancel_run()
    assert isinstance(handler.exception(), WorkflowCancelledByUser)


async def test_a_step_that_ignores_cancellation_has_five_seconds():
    """A run does not wait for a step for ever: after the grace it is over, and what the step does is not heard."""
    clock = ManualClock()
    let_go = asyncio.Event()

    class Deaf(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            return StopEvent(result="late")

    handler = Deaf(clock=clock).run()
    await turn()
    await handler.cancel_run(timeout=0)
    assert not handler.done()
    clock.advance(4.9)
    await turn()
    assert not handler.done()
    clock.advance(0.1)
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    let_go.set()
    await turn()


async def test_a_thread_that_cannot_be_cancelled_does_not_hold_up_the_run():
    """The run of a plain step in a thread ends at once; what the thread then says is not heard."""
    begun, let_go, over = threading.Event(), threading.Event(), threading.Event()

    class Blocks(Workflow):
        @step
        def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            begun.set()
            let_go.wait()
            ctx.write_event_to_stream(One())
            over.set()
            return StopEvent(result="late")

    handler = Blocks().run()
    await until(begun.is_set)
    await handler.cancel_run()
    assert isinstance(handler.exception(), WorkflowCancelledByUser)
    let_go.set()
    await until(over.is_set)
    await turn()
    assert [type(ev) async for ev in handler.stream_events()] == [WorkflowCancelledEvent]


async def test_a_run_can_be_cancelled_during_a_retry_delay():
    """A retry that is to come is called off with its run."""
    clock = ManualClock()
    attempts: list[int] = []

    class Tries(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=5, delay=10))
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            attempts.append(ctx.attempt)
            raise ValueError("x")

    handler = Tries(clock=clock, timeout=None).run()
    await turn()
    await handler.cancel_run()
    clock.advance(100)
    await turn()
    assert attempts == [1]
    assert isinstance(handler.exception(), WorkflowCancelledByUser)


async def test_cancelling_a_run_ends_the_runs_that_its_steps_await():
    """A step that awaits a run of another workflow takes that run along when it is cancelled."""
    inner = Forever()

    class Outer(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await inner.run())

    handler = Outer().run()
    await turn()
    assert not inner.is_done()
    await handler.cancel_run()
    await until(inner.is_done)
    assert inner.seen == ["begun", "cleaned up"]


async def test_all_running_steps_are_cancelled():
    """Cancellation reaches every worker of every step, and calls none that is queued."""
    seen: list[str] = []

    class Many(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | StopEvent | None:
            for _ in range(10):
                ctx.send_event(One())
            return None

        @step(num_workers=3)
        async def work(self, ev: One) -> None:
            seen.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("ended")

    handler = Many().run()
    await turn()
    await handler.cancel_run()
    assert seen == ["begun"] * 3 + ["ended"] * 3


# --- what steps may do --------------------------------------------------------------------------------------


async def test_steps_may_use_timeouts_and_groups():
    """Timeouts, task groups and cancelled child tasks inside a step are those of any coroutine."""

    class Uses(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen = ["timeout"]
            child = asyncio.ensure_future(asyncio.Event().wait())
            await asyncio.sleep(0)
            child.cancel()
            try:
                await child
            except asyncio.CancelledError:
                seen.append("child")
            async with asyncio.TaskGroup() as group:
                group.create_task(turn())
                group.create_task(turn())
            return StopEvent(result=seen)

    assert await Uses().run() == ["timeout", "child"]


async def test_an_exception_group_keeps_its_parts():
    """What a task group raises comes out of the handler as a group."""

    class Groups(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            async def fail(kind: type[Exception]) -> None:
                raise kind("x")

            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ValueError))
                group.create_task(fail(KeyError))
            return StopEvent()

    with pytest.raises(ExceptionGroup) as caught:
        await Groups().run()
    assert isinstance(caught.value, WorkflowRuntimeError)
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}


async def test_exceptions_of_any_make_come_out():
    """An exception whose constructor takes other arguments than it keeps still comes out as itself."""

    class Odd(Exception):
        def __init__(self, code: int, *, where: str) -> None:
            super().__init__(f"{code} at {where}")
            self.code = code

    class Raises(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise Odd(7, where="here")

    with pytest.raises(Odd, match="Error in step 'only': 7 at here") as caught:
        await Raises().run()
    assert caught.value.code == 7


async def test_what_is_no_exception_ends_the_run_too():
    """A BaseException of a step, as test frameworks raise it, fails the run as its cause, and does not hang it."""

    class Outcome(BaseException):
        pass

    class Raises(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            if ev.late:
                await turn()
            raise Outcome("no")

    for late in (False, True):
        with pytest.raises(WorkflowRuntimeError, match=r"step 'only': it raised Outcome.*: no") as caught:
            await Raises().run(late=late)
        assert isinstance(caught.value.__cause__, Outcome)


async def test_a_step_that_cancels_its_own_task_ends_the_run():
    """A step whose task is cancelled from within ends the run as cancelled."""

    class Self(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            asyncio.current_task().cancel()
            await turn()
            return StopEvent()

    with pytest.raises(WorkflowCancelledByUser):
        await Self().run()


async def test_a_stall_is_a_runtime_error():
    """A run that cannot go on ends like a failed one: by exception and by stop event."""

    class Silent(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent | None:
            return None

    handler = Silent().run()
    streamed = [ev async for ev in handler.stream_events()]
    assert [type(ev) for ev in streamed] == [WorkflowFailedEvent]
    assert streamed[0].step_name == ""
    assert isinstance(streamed[0].exception, WorkflowStalledError)
    with pytest.raises(WorkflowRuntimeError):
        await handler
