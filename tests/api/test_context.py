"""Context: what a step may ask of its run, and what a caller keeps between runs."""

import asyncio
from datetime import UTC, datetime

import pytest

from otflow import (
    Context,
    ContextStateError,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowRuntimeError,
    step,
)
from otflow.retry_policy import RetryInfo, retry_policy, stop_after_attempt, wait_fixed
from otflow.runtime.clock import ManualClock
from tests.api.loops import until
from tests.api.tape import Tape


class Ping(Event):
    n: int = 0


class Done(StopEvent):
    total: int


class Counter(Workflow):
    """Adds one to what the context holds."""

    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        seen = await ctx.get("seen", default=0) + 1
        await ctx.set("seen", seen)
        return StopEvent(result=seen)


class Gate(Workflow):
    """Stands still in its step until the gate is open."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.gate = asyncio.Event()

    @step
    async def hold(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await self.gate.wait()
        return StopEvent(result="through")


# --- get, set, clear ----------------------------------------------------------------------------------------


async def test_get_returns_what_set_put():
    """A value put under a path is found under it, and under each part of it."""
    ctx = Context(Counter())
    await ctx.set("user.name", "Ada")
    assert await ctx.get("user.name") == "Ada"
    assert await ctx.get("user") == {"name": "Ada"}


async def test_get_of_nothing_says_the_path():
    """Where nothing stands a default is returned, even None; without one the error names the path."""
    ctx = Context(Counter())
    assert await ctx.get("user.name", default=None) is None
    assert await ctx.get("user.name", default=7) == 7
    with pytest.raises(ValueError, match=r"'user\.name' not found in state"):
        await ctx.get("user.name")


async def test_clear_makes_the_state_anew():
    """After clear nothing is left."""
    ctx = Context(Counter())
    await ctx.set("a", 1)
    await ctx.clear()
    assert await ctx.get("a", default="gone") == "gone"


async def test_make_private_changes_nothing():
    """The old keyword of set is taken, and the value is there."""
    ctx = Context(Counter())
    await ctx.set("a", 1, make_private=True)
    assert await ctx.get("a") == 1


# --- whether and what runs ----------------------------------------------------------------------------------


async def test_is_running_follows_the_run():
    """A context runs from the call of run() until the end of the run, however it ends."""

    class Ends(Workflow):
        @step
        async def end(self, ctx: Context, ev: StartEvent) -> StopEvent:
            seen.append(ctx.is_running)
            if ev.fail:
                raise ValueError("no")
            return StopEvent()

    seen: list[bool] = []
    ctx = Context(workflow := Ends())
    assert not ctx.is_running
    handler = workflow.run(ctx=ctx, fail=False)
    assert ctx.is_running
    await handler
    assert not ctx.is_running
    with pytest.raises(ValueError, match="no"):
        await workflow.run(ctx=ctx, fail=True)
    assert not ctx.is_running
    assert seen == [True, True]


async def test_running_steps_names_each_step_once():
    """The steps that run now are named once each, however many invocations they have; queued ones are not."""

    class Busy(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Ping | None:
            for n in range(3):
                ctx.send_event(Ping(n=n))

        @step(num_workers=2)
        async def second(self, ev: Ping) -> StopEvent | None:
            await gate.wait()
            return StopEvent() if ev.n == 2 else None

    gate = asyncio.Event()
    ctx = Context(workflow := Busy())
    assert await ctx.running_steps() == []
    handler = workflow.run(ctx=ctx)
    await until(lambda: len(handler.ctx.run.driver.state.running) == 2)
    assert await ctx.running_steps() == ["second"]
    gate.set()
    await handler
    assert await ctx.running_steps() == []


async def test_get_result_is_that_of_the_handler():
    """The context tells the result once there is one: the value of a plain stop event, else the event."""

    class Sub(Workflow):
        @step
        async def end(self, ev: StartEvent) -> Done:
            return Done(total=3)

    gate = Gate()
    handler = gate.run()
    assert Context(gate).get_result() is None
    assert handler.ctx.get_result() is None
    gate.gate.set()
    assert await handler == handler.ctx.get_result() == "through"
    sub = Sub().run()
    assert await sub is sub.ctx.get_result()
    assert sub.ctx.get_result().total == 3


async def test_running_steps_of_an_ended_run():
    """A run that was cancelled while steps stood has no running steps."""
    gate = Gate()
    handler = gate.run()
    await until(handler.ctx.run.running_steps)
    await handler.cancel_run()
    assert await handler.ctx.running_steps() == []


# --- the attempt --------------------------------------------------------------------------------------------


class Flaky(Workflow):
    """Fails twice for each event, and notes what the context says."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.seen: list[tuple[int, str, RetryInfo]] = []

    @step(retry_policy=retry_policy(wait=wait_fixed(10), stop=stop_after_attempt(3)))
    async def flaky(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.seen.append((ctx.attempt, ctx.idempotency_key, ctx.retry_info()))
        self.clock.advance(1)
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return StopEvent()


async def test_attempts_are_counted_from_one():
    """A step knows the number of its attempt, and what the attempts before it came to."""
    workflow = Flaky(clock=(clock := ManualClock()))
    workflow.clock = clock
    handler = workflow.run()
    for _ in range(2):
        await until(lambda: handler.ctx.run.driver.state.delayed)
        clock.advance(10)
    await handler
    first, second, third = (info for _, _, info in workflow.seen)
    assert [number for number, _, _ in workflow.seen] == [1, 2, 3]
    assert first == RetryInfo(0, 0.0, None, None)
    # it began at second 1 and failed at second 2; the clock went on by 10 before each further attempt
    assert (second.retry_number, second.elapsed_seconds) == (1, 11.0)
    assert isinstance(second.last_exception, ValueError)
    assert str(second.last_exception) == "attempt 1"
    assert second.last_failed_at == datetime.fromtimestamp(2, UTC)
    assert (third.retry_number, third.elapsed_seconds) == (2, 22.0)
    assert str(third.last_exception) == "attempt 2"
    assert third.last_failed_at == datetime.fromtimestamp(13, UTC)


async def test_the_idempotency_key_is_that_of_the_invocation():
    """All attempts of an invocation share a key; another invocation, of the same run or of another, has another."""

    class Keys(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Ping | None:
            for n in range(2):
                ctx.send_event(Ping(n=n))

        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def second(self, ctx: Context, ev: Ping) -> StopEvent | None:
            keys.append((ev.n, ctx.idempotency_key))
            if ctx.attempt == 1:
                raise ValueError
            return StopEvent() if ev.n else None

    keys: list[tuple[int, str]] = []
    workflow = Keys()
    for _ in range(2):
        await workflow.run()
    assert len(keys) == 8
    assert len(set(keys)) == 4
    assert len({key for _, key in keys}) == 4


@pytest.mark.parametrize("ask", ["attempt", "idempotency_key", "retry_info()"])
async def test_an_attempt_is_asked_for_inside_a_step(ask):
    """Outside a step there is no attempt to tell of, and the error says what was asked."""
    handler = Counter().run()
    with pytest.raises(ContextStateError) as caught:
        getattr(handler.ctx, ask.rstrip("()")) if ask[-1] != ")" else handler.ctx.retry_info()
    assert ask in str(caught.value)
    assert "inside a step" in str(caught.value)
    await handler


# --- where a step is ----------------------------------------------------------------------------------------


async def test_get_step_context_from_anywhere_below_a_step():
    """Code that a step calls finds its context: in a function, in a child task, in a thread, in a plain step."""

    def find():
        return Context.get_step_context()

    async def find_later():
        await asyncio.sleep(0)
        return find()

    class Deep(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Ping:
            found = [find(), await find_later(), await asyncio.create_task(find_later())]
            found.append(await asyncio.to_thread(find))
            seen.extend(other is ctx for other in found)
            return Ping()

        @step
        def second(self, ctx: Context, ev: Ping) -> StopEvent:
            seen.append(find() is ctx)
            return StopEvent()

    seen: list[bool] = []
    await Deep().run()
    assert seen == [True] * 5


async def test_get_step_context_of_a_nested_run():
    """A step of a run that a step started is in its own context, and the outer step in its own again after it."""

    class Inner(Workflow):
        @step
        async def inner(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=Context.get_step_context() is ctx)

    class Outer(Workflow):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            inside = await Inner().run()
            return StopEvent(result=(inside, Context.get_step_context() is ctx))

    assert await Outer().run() == (True, True)


async def test_get_step_context_outside_says_so():
    """Nobody but steps has a step context."""
    with pytest.raises(WorkflowRuntimeError, match="only in code that a step calls"):
        Context.get_step_context()
    await Counter().run()
    with pytest.raises(WorkflowRuntimeError, match="only in code that a step calls"):
        Context.get_step_context()


# --- one context, several runs ------------------------------------------------------------------------------


async def test_a_context_keeps_its_state_from_run_to_run():
    """A further run on a context begins anew, at its start event, and finds the state as it was left."""
    ctx = Context(workflow := Counter())
    handlers = [workflow.run(ctx=ctx)]
    assert handlers[0].ctx is ctx
    assert await handlers[0] == 1
    handlers.append(workflow.run(ctx=ctx))
    assert await handlers[1] == 2
    assert handlers[0].run_id != handlers[1].run_id
    assert await Counter().run() == 1


async def test_what_a_run_inherits_is_recorded():
    """The start of a run says what state came along, as it was at that moment; without any it says nothing."""
    tape = Tape()
    ctx = Context(workflow := Counter(dispatcher=tape.dispatcher))
    await workflow.run(ctx=ctx)
    await workflow.run(ctx=ctx)
    first, second = (record for record in tape.records if type(record).__name__ == "RunStarted")
    assert first.carried is None
    assert b'"seen":1' in second.carried.json.replace(b" ", b"")


async def test_left_over_collected_events_meet_those_of_the_next_run():
    """An event that one run put aside completes a collection of the next run on the same context."""

    class Pairs(Workflow):
        @step
        async def pair(self, ctx: Context, ev: StartEvent) -> StopEvent:
            found = ctx.collect_events(ev, [StartEvent] * 2)
            return StopEvent(result=[e.n for e in found] if found else None)

    ctx = Context(workflow := Pairs())
    assert [await workflow.run(ctx=ctx, n=n) for n in range(4)] == [None, [0, 1], None, [2, 3]]
    assert await workflow.run(n=9) is None


async def test_a_failed_run_leaves_its_context_readable_and_usable():
    """After a failure the state is there, for a look and for the next run."""

    class Fails(Workflow):
        @step
        async def end(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("tries", await ctx.get("tries", default=0) + 1)
            if ev.fail:
                raise ValueError("no")
            return StopEvent(result=await ctx.get("tries"))

    ctx = Context(workflow := Fails())
    with pytest.raises(ValueError, match="no"):
        await workflow.run(ctx=ctx, fail=True)
    assert await ctx.get("tries") == 1
    assert await workflow.run(ctx=ctx, fail=False) == 2


async def test_a_running_context_is_refused():
    """A context that a run uses cannot be given to another run: the error names the run, which goes on unharmed."""
    gate = Gate()
    handler = gate.run()
    with pytest.raises(ContextStateError) as caught:
        gate.run(ctx=handler.ctx)
    assert f"in use by run {handler.run_id} of workflow 'Gate'" in str(caught.value)
    assert "Await that run first" in str(caught.value)
    gate.gate.set()
    assert await handler == "through"
    assert await gate.run(ctx=handler.ctx) == "through"


async def test_a_context_whose_run_waits_for_a_slot_is_refused():
    """A run that has not begun, because others go on, uses its context all the same."""
    gate = Gate(num_concurrent_runs=1)
    first, second = gate.run(), gate.run()
    with pytest.raises(ContextStateError, match=second.run_id):
        gate.run(ctx=second.ctx)
    gate.gate.set()
    assert await asyncio.gather(first, second) == ["through", "through"]
