"""Stepwise runs: one call releases one step, and its events are held until the caller sends them on."""

from __future__ import annotations

import asyncio

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.testing import ManualClock, capture_records
from tests.api.loops import turn


class One(Event):
    number: int = 0


class Two(Event):
    number: int = 0


class Chain(Workflow):
    """Notes which steps ran."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.seen: list[str] = []

    @step
    async def first(self, ev: StartEvent) -> One:
        self.seen.append("first")
        return One(number=1)

    @step
    async def second(self, ev: One) -> Two:
        self.seen.append("second")
        return Two(number=ev.number + 1)

    @step
    async def third(self, ev: Two) -> StopEvent:
        self.seen.append("third")
        return StopEvent(result=ev.number)


class Fan(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
        for number in range(3):
            ctx.send_event(One(number=number))
        return None

    @step
    async def work(self, ev: One) -> Two:
        return Two(number=ev.number)

    @step
    async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
        events = ctx.collect_events(ev, [Two] * 3)
        return None if events is None else StopEvent(result=sum(it.number for it in events))


async def test_each_call_releases_one_step():
    """Nothing runs without a call; each call runs one step and returns what it returned."""
    workflow = Chain()
    handler = workflow.run(stepwise=True)
    await turn()
    assert workflow.seen == []
    assert await handler.run_step() == [One(number=1)]
    await turn()
    assert workflow.seen == ["first"]
    handler.ctx.send_event(One(number=1))
    await turn()
    assert workflow.seen == ["first"]


async def test_the_loop_of_the_documentation():
    """To send on what each call returns, until it returns None, brings the run to its end."""
    handler = Chain().run(stepwise=True)
    seen: list[list[str]] = []
    while (events := await handler.run_step()) is not None:
        seen.append([type(event).__name__ for event in events])
        for event in events:
            handler.ctx.send_event(event)
    assert seen == [["One"], ["Two"], ["StopEvent"]]
    assert handler.is_done()
    assert await handler == 2
    assert await handler.run_step() is None


async def test_the_short_loop_of_the_documentation():
    """The loop may also ask `is_done()`."""
    handler = Chain().run(stepwise=True)
    while not handler.is_done():
        for event in await handler.run_step() or ():
            handler.ctx.send_event(event)
    assert handler.result() == 2


async def test_sent_events_are_returned_and_held():
    """Events that a step sends are returned too; nothing goes on before the caller sends them, once."""
    handler = Fan().run(stepwise=True)
    steps = 0
    with capture_records() as records:
        while (events := await handler.run_step()) is not None:
            steps += 1
            for event in events:
                handler.ctx.send_event(event)
    assert await handler == 3
    assert steps == 7
    names = [type(record).__name__ for record in records]
    assert names.count("StepStarted") == 7
    assert names.count("EventReceived") == 0
    assert names.count("EventReleased") == 7


async def test_several_ready_steps_do_not_block_each_other():
    """When several steps are ready, each call releases the next of them."""

    class Both(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return One()

        @step
        async def left(self, ev: One) -> Two:
            return Two(number=1)

        @step
        async def right(self, ev: One) -> Two:
            return Two(number=2)

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            events = ctx.collect_events(ev, [Two, Two])
            return None if events is None else StopEvent(result=[it.number for it in events])

    handler = Both().run(stepwise=True)
    (one,) = await handler.run_step()
    handler.ctx.send_event(one)
    (left,) = await handler.run_step()
    (right,) = await handler.run_step()
    assert (left, right) == (Two(number=1), Two(number=2))
    handler.ctx.send_event(right)
    handler.ctx.send_event(left)
    assert await handler.run_step() == []
    (stop,) = await handler.run_step()
    handler.ctx.send_event(stop)
    assert await handler == [2, 1]


async def test_the_caller_may_send_something_else():
    """An event may be held back for good, and another one be sent in its place."""
    handler = Chain().run(stepwise=True)
    await handler.run_step()
    handler.ctx.send_event(One(number=10))
    (two,) = await handler.run_step()
    handler.ctx.send_event(two)
    (stop,) = await handler.run_step()
    handler.ctx.send_event(stop)
    assert await handler == 11


async def test_a_step_that_takes_its_time_is_waited_for():
    """A call returns when its step has returned, however many turns that takes."""

    class Slow(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            await turn()
            return StopEvent(result="slow")

    handler = Slow().run(stepwise=True)
    assert await handler.run_step() == [StopEvent(result="slow")]
    await handler.cancel_run()


async def test_plain_steps_can_be_stepped():
    """A step in a thread is released and waited for like any other, with what it sends from there."""

    class Plain(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> One | Two:
            ctx.send_event(Two())
            return One()

        @step
        async def end(self, ev: One | Two) -> StopEvent:
            return StopEvent()

    handler = Plain().run(stepwise=True)
    assert await handler.run_step() == [Two(), One()]
    await handler.cancel_run()


async def test_a_failure_is_raised_by_the_call():
    """A call raises what its step raised, and so does the handler."""

    class Fails(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

    handler = Fails().run(stepwise=True)
    with pytest.raises(ValueError, match="bad"):
        await handler.run_step()
    with pytest.raises(ValueError, match="bad"):
        await handler


async def test_a_call_covers_the_retries_of_its_step():
    """A step that is retried is still one step: the call returns after the attempt that succeeds."""
    clock = ManualClock()

    class Flaky(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=5))
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ctx.attempt < 3:
                raise ValueError("x")
            return StopEvent(result=ctx.attempt)

    handler = Flaky(clock=clock).run(stepwise=True)
    call = asyncio.ensure_future(handler.run_step())
    for _ in range(2):
        await turn()
        assert not call.done()
        clock.advance(5)
    assert await call == [StopEvent(result=3)]
    await handler.cancel_run()


async def test_a_run_can_be_cancelled_between_calls():
    """`cancel_run` works while nothing is released, and further calls return None."""
    handler = Chain().run(stepwise=True)
    await handler.run_step()
    await handler.cancel_run()
    assert await handler.run_step() is None
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_a_run_can_be_cancelled_during_a_call():
    """A call that waits for its step returns None when the run is cancelled."""

    class Forever(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    handler = Forever().run(stepwise=True)
    call = asyncio.ensure_future(handler.run_step())
    await turn()
    await handler.cancel_run()
    assert await call is None


async def test_the_timeout_holds_for_stepwise_runs():
    """A caller that takes too long is told by the next call."""
    clock = ManualClock()
    handler = Chain(clock=clock, timeout=5).run(stepwise=True)
    await handler.run_step()
    clock.advance(5)
    with pytest.raises(WorkflowTimeoutError, match="timed out after 5 seconds"):
        await handler.run_step()


async def test_a_call_with_nothing_ready_says_what_is_held():
    """A call that can release nothing is an error that names the events to send, and harms nothing."""
    handler = Chain().run(stepwise=True)
    (one,) = await handler.run_step()
    with pytest.raises(WorkflowRuntimeError, match="it holds back One"):
        await handler.run_step()
    handler.ctx.send_event(one)
    assert await handler.run_step() == [Two(number=2)]
    await handler.cancel_run()


async def test_calls_at_once_come_one_after_the_other():
    """Two calls at once release two steps, and each gets the events of its own."""
    handler = Fan().run(stepwise=True)
    for event in await handler.run_step():
        handler.ctx.send_event(event)
    results = await asyncio.gather(*(handler.run_step() for _ in range(3)))
    assert results == [[Two(number=0)], [Two(number=1)], [Two(number=2)]]
    await handler.cancel_run()


async def test_humans_cannot_be_asked_stepwise():
    """A workflow that asks the outside cannot be run stepwise, whether it is validated or not."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent()

    for workflow in (Asks(), Asks(disable_validation=True)):
        with pytest.raises(WorkflowRuntimeError, match="not supported with stepwise execution"):
            workflow.run(stepwise=True)
        assert workflow.is_done()


async def test_a_step_cannot_wait_for_events_stepwise():
    """A step that waits for an event could never be waited for: it fails, with the reason."""

    class Waits(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(One)
            return StopEvent()

    handler = Waits().run(stepwise=True)
    with pytest.raises(WorkflowRuntimeError, match="not supported with stepwise execution"):
        await handler.run_step()
    assert handler.exception()


async def test_only_stepwise_runs_have_steps():
    """`run_step` of another run is a ValueError that says what is missing."""
    handler = Chain().run()
    with pytest.raises(ValueError, match="stepwise=True"):
        await handler.run_step()
    assert await handler == 2


async def test_a_stepwise_run_can_be_saved_and_resumed():
    """The context of a stepwise run can be saved between two calls, and goes on stepwise from there."""
    workflow = Chain()
    handler = workflow.run(stepwise=True)
    for event in await handler.run_step():
        handler.ctx.send_event(event)
    data = handler.ctx.to_dict()
    await handler.cancel_run()
    again = workflow.run(ctx=Context.from_dict(workflow, data), stepwise=True)
    (two,) = await again.run_step()
    assert two == Two(number=2)
    again.ctx.send_event(two)
    (stop,) = await again.run_step()
    again.ctx.send_event(stop)
    assert await again == 2


@pytest.mark.parametrize("was", [True, False])
async def test_whoever_goes_on_says_whether_stepwise(was: bool):
    """A saved run goes on stepwise or not, as the caller wants, and what was held is on its way."""
    workflow = Chain()
    handler = workflow.run(stepwise=True)
    if was:
        await handler.run_step()
    data = handler.ctx.to_dict()
    await handler.cancel_run()
    assert await workflow.run(ctx=Context.from_dict(workflow, data)) == 2
    again = workflow.run(ctx=Context.from_dict(workflow, data), stepwise=True)
    calls = 0
    while (events := await again.run_step()) is not None:
        calls += 1
        for event in events:
            again.ctx.send_event(event)
    assert calls == (2 if was else 3)
    assert await again == 2


async def test_stepwise_runs_can_take_checkpoints():
    """A checkpoint callback leaves the events of a stepwise run to its caller."""
    taken: list[str | None] = []

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        taken.append(last_completed_step)

    workflow = Chain()
    handler = workflow.run(stepwise=True, checkpoint_callback=keep)
    while (events := await handler.run_step()) is not None:
        await turn()
        for event in events:
            handler.ctx.send_event(event)
    assert await handler == 2
    assert taken == ["first", "second", "third"]
    assert workflow.seen == ["first", "second", "third"]
