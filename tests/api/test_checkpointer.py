"""Checkpoints: one after each step, before its output goes on its way, to go on from later."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import BaseModel

from otflow import (
    Checkpoint,
    Context,
    ContextSerdeError,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowCheckpointer,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    step,
)
from otflow.testing import capture_records
from tests.api.loops import turn, until
from tests.bounds import run_bounded


class One(Event):
    number: int


class Two(Event):
    number: int


class Go(HumanResponseEvent):
    pass


class Chain(Workflow):
    """Notes which steps ran, in all runs of the instance."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.seen: list[str] = []

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> One:
        self.seen.append("first")
        await ctx.store.set("text", ev.get("text", "none"))
        return One(number=1)

    @step
    async def second(self, ctx: Context, ev: One) -> Two:
        self.seen.append("second")
        return Two(number=ev.number + 1)

    @step
    async def third(self, ctx: Context, ev: Two) -> StopEvent:
        self.seen.append("third")
        return StopEvent(result=[ev.number, await ctx.store.get("text")])


def steps_of(checkpoints: list[Checkpoint]) -> list[str | None]:
    """Name the steps after which the checkpoints were taken."""
    return [checkpoint.last_completed_step for checkpoint in checkpoints]


# --- taking ----------------------------------------------------------------------------------------------------------


async def test_each_step_leaves_a_checkpoint():
    """A run leaves one checkpoint for each step, in the order in which they returned, under its id."""
    workflow = Chain()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(text="x")
    assert await handler == [2, "x"]
    assert list(checkpointer.checkpoints) == [handler.run_id]
    first, second, third = checkpointer.checkpoints[handler.run_id]
    assert steps_of([first, second, third]) == ["first", "second", "third"]
    assert type(first.input_event) is StartEvent
    assert first.output_event == second.input_event == One(number=1)
    assert third.output_event == StopEvent(result=[2, "x"])
    assert len({first.id_, second.id_, third.id_}) == 3


async def test_a_checkpoint_is_taken_before_its_output_goes_on():
    """While the callback is awaited, nothing that follows from the step has begun."""
    let_go = asyncio.Event()
    calls: list[tuple[object, ...]] = []

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        calls.append((run_id, last_completed_step, input_ev, output_ev))
        await let_go.wait()

    workflow = Chain()
    handler = workflow.run(checkpoint_callback=keep)
    await turn()
    assert workflow.seen == ["first"]
    assert calls == [(handler.run_id, "first", StartEvent(), One(number=1))]
    let_go.set()
    assert await handler == [2, "none"]
    assert [name for _, name, *_ in calls] == ["first", "second", "third"]


async def test_callbacks_come_by_keyword_or_position():
    """The callback is a function of five arguments, and `ctx` is the context of the run."""
    given: list[object] = []

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        given.append(ctx)

    handler = Chain().run(checkpoint_callback=keep)
    await handler
    assert given == [handler.ctx] * 3


async def test_records_name_the_checkpoint():
    """A checkpoint is a position in the run: a record between the end of the step and what follows from it."""
    with capture_records() as records:
        await WorkflowCheckpointer(workflow=Chain()).run()
    names = [type(record).__name__ for record in records]
    assert names[:8] == [
        "RunStarted",
        "EventReceived",
        "StepStarted",
        "ContextWritten",
        "StepCompleted",
        "EventSent",
        "CheckpointTaken",
        "EventReleased",
    ]


async def test_runs_do_not_mix():
    """Checkpoints of runs that go on at once stand under their own ids, with their own state."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())
    handlers = [checkpointer.run(text=str(number)) for number in range(5)]
    await asyncio.gather(*handlers)
    assert len(checkpointer.checkpoints) == 5
    for number, handler in enumerate(handlers):
        mine = checkpointer.checkpoints[handler.run_id]
        assert steps_of(mine) == ["first", "second", "third"]
        assert await checkpointer.run_from(mine[-2]) == [2, str(number)]


async def test_steps_at_once_leave_their_checkpoints_one_by_one():
    """Callbacks of one run come one at a time, in the order in which the steps returned."""
    active = most = 0
    order: list[int] = []

    class Fan(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(4):
                ctx.send_event(One(number=number))
            return None

        @step
        async def work(self, ev: One) -> Two:
            await turn(20 - 5 * ev.number)
            order.append(ev.number)
            return Two(number=ev.number)

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            return None if ctx.collect_events(ev, [Two] * 4) is None else StopEvent()

    kept: list[Event | None] = []

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        nonlocal active, most
        active += 1
        most = max(most, active)
        await turn(3)
        active -= 1
        if last_completed_step == "work":
            kept.append(output_ev.number)

    await Fan().run(checkpoint_callback=keep)
    assert most == 1
    assert kept == order == [3, 2, 1, 0]


async def test_a_step_without_output_leaves_a_checkpoint_too():
    """A step that returns None leaves a checkpoint without an output event."""

    class Quiet(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            ctx.send_event(One(number=1))
            return None

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent()

    checkpointer = WorkflowCheckpointer(workflow=Quiet())
    handler = checkpointer.run()
    await handler
    first, _ = checkpointer.checkpoints[handler.run_id]
    assert first.output_event is None
    assert await checkpointer.run_from(first) is None


async def test_a_failed_step_leaves_no_checkpoint():
    """Only a step that returned leaves a checkpoint; the one before is there to go on from."""

    class Flaky(Chain):
        broken = True

        @step
        async def second(self, ctx: Context, ev: One) -> Two:
            if self.broken:
                raise ValueError("down")
            return Two(number=7)

    workflow = Flaky()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(text="kept")
    with pytest.raises(ValueError, match="down"):
        await handler
    (last,) = checkpointer.checkpoints[handler.run_id]
    assert last.last_completed_step == "first"
    workflow.broken = False
    assert await checkpointer.run_from(last) == [7, "kept"]
    assert workflow.seen == ["first", "third"]


async def test_a_callback_that_fails_fails_the_run():
    """An exception of the callback is that of the run: a run whose checkpoints get lost does not go on."""

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        raise OSError("disk full")

    workflow = Chain()
    with pytest.raises(OSError, match="disk full"):
        await workflow.run(checkpoint_callback=keep)
    assert workflow.seen == ["first"]


async def test_a_callback_that_is_cancelled_does_not_hang_the_run():
    """A CancelledError in the callback fails the run."""

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        raise asyncio.CancelledError

    with pytest.raises(WorkflowRuntimeError, match="callback was cancelled after step 'first'"):
        await Chain().run(checkpoint_callback=keep)


async def test_a_run_can_be_cancelled_during_a_callback():
    """A run that is cancelled while a checkpoint is written ends at once, and the callback with it."""
    seen: list[str] = []

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    handler = Chain().run(checkpoint_callback=keep)
    await until(lambda: seen)
    await handler.cancel_run()
    assert isinstance(handler.exception(), WorkflowCancelledByUser)
    await until(lambda: seen == ["begun", "ended"])


async def test_nothing_is_kept_after_the_end():
    """When one step ends the run, the checkpoints of the others that wait for their turn are not taken."""
    taken: list[str | None] = []

    class Race(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | Two | None:
            ctx.send_event(One(number=1))
            ctx.send_event(Two(number=2))
            return None

        @step
        async def aside(self, ev: One) -> None:
            return None

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent:
            ctx.send_event(StopEvent(result="first"))
            return StopEvent(result="second")

    async def keep(run_id, last_completed_step, input_ev, output_ev, ctx):
        await turn()
        taken.append(last_completed_step)

    assert await Race().run(checkpoint_callback=keep) == "first"
    await turn(200)
    assert taken == []


async def test_state_that_cannot_be_saved_fails_the_run():
    """A state that no serializer can write fails the run with the key that is at fault."""

    class Odd(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("thing", object())
            return StopEvent()

    with pytest.raises(ValueError, match="thing"):
        await WorkflowCheckpointer(workflow=Odd()).run()


# --- going on --------------------------------------------------------------------------------------------------------


async def test_a_run_goes_on_from_any_checkpoint():
    """`run_from` gives the result of the run, without calling the steps before the checkpoint again."""
    workflow = Chain()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(text="x")
    await handler
    for done, checkpoint in enumerate(checkpointer.checkpoints[handler.run_id], start=1):
        workflow.seen.clear()
        assert await workflow.run_from(checkpoint) == [2, "x"]
        assert workflow.seen == ["first", "second", "third"][done:]


async def test_each_run_from_a_checkpoint_is_a_run_of_its_own():
    """A checkpoint can be gone on from many times; each such run has its own id and its own checkpoints."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())
    handler = checkpointer.run()
    await handler
    first = checkpointer.checkpoints[handler.run_id][0]
    one, two = checkpointer.run_from(first), checkpointer.run_from(first)
    assert await asyncio.gather(one, two) == [[2, "none"], [2, "none"]]
    assert len({handler.run_id, one.run_id, two.run_id}) == 3
    assert len(checkpointer.checkpoints) == 3
    for again in (one, two):
        assert steps_of(checkpointer.checkpoints[again.run_id]) == ["second", "third"]
    named = checkpointer.run_from(first, run_id="mine")
    await named
    assert named.run_id == "mine"


async def test_a_checkpoint_survives_as_json():
    """A checkpoint is data: written as JSON and read again, a run goes on from it."""
    workflow = Chain()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run(text="x")
    await handler
    first = checkpointer.checkpoints[handler.run_id][0]
    text = first.model_dump_json()
    assert json.loads(text)["last_completed_step"] == "first"
    assert json.loads(text)["output_event"] == {"number": 1}
    again = Checkpoint.model_validate_json(text)
    assert again.id_ == first.id_
    assert await Chain().run_from(again) == [2, "x"]


async def test_what_runs_beside_is_in_the_checkpoint():
    """A checkpoint holds the work that was queued and running when it was taken; it runs again."""

    class Both(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return One(number=1)

        @step
        async def quick(self, ev: One) -> Two:
            return Two(number=1)

        @step
        async def slow(self, ev: One) -> Two:
            await turn(100)
            return Two(number=2)

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            events = ctx.collect_events(ev, [Two, Two])
            return None if events is None else StopEvent(result=[it.number for it in events])

    checkpointer = WorkflowCheckpointer(workflow=Both())
    handler = checkpointer.run()
    assert await handler == [1, 2]
    checkpoints = checkpointer.checkpoints[handler.run_id]
    assert steps_of(checkpoints) == ["begin", "quick", "end", "slow", "end"]
    for checkpoint in checkpoints:
        assert await checkpointer.run_from(checkpoint) == [1, 2]


async def test_a_run_can_wait_for_the_outside_after_a_checkpoint():
    """A run that goes on from a checkpoint takes answers like any other."""

    class Asks(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            return One(number=1)

        @step
        async def ask(self, ctx: Context, ev: One) -> StopEvent:
            answer = await ctx.wait_for_event(Go)
            return StopEvent(result=answer.text)

    workflow = Asks()
    checkpointer = WorkflowCheckpointer(workflow=workflow)
    handler = checkpointer.run()
    await until(lambda: checkpointer.checkpoints)
    await handler.cancel_run()
    again = checkpointer.run_from(checkpointer.checkpoints[handler.run_id][0])
    await turn()
    again.ctx.send_event(Go(text="yes"))
    assert await again == "yes"


async def test_typed_state_comes_back():
    """The state of a checkpoint has its own class again."""

    class Basket(BaseModel):
        items: list[str] = []

    class Shop(Workflow):
        @step
        async def fill(self, ctx: Context[Basket], ev: StartEvent) -> One:
            async with ctx.store.edit_state() as state:
                state.items.append("apple")
            return One(number=1)

        @step
        async def pay(self, ctx: Context[Basket], ev: One) -> StopEvent:
            state = await ctx.store.get_state()
            return StopEvent(result=(type(state).__name__, state.items))

    checkpointer = WorkflowCheckpointer(workflow=Shop())
    handler = checkpointer.run()
    assert await handler == ("Basket", ["apple"])
    first = checkpointer.checkpoints[handler.run_id][0]
    assert await checkpointer.run_from(first) == ("Basket", ["apple"])


async def test_a_foreign_checkpoint_is_refused():
    """Data that is no saved context is refused, at the call."""
    wrong = Checkpoint(last_completed_step="a", input_event=None, output_event=None, ctx_state={"queues": {}})
    with pytest.raises(ContextSerdeError):
        Chain().run_from(wrong)


# --- switching off and finding ------------------------------------------------------------------------------


async def test_steps_can_be_left_out():
    """Disabled steps leave no checkpoint; they can be disabled from the beginning, or later, and enabled again."""
    checkpointer = WorkflowCheckpointer(workflow=Chain(), disabled_steps=["first"])
    handler = checkpointer.run()
    await handler
    assert steps_of(checkpointer.checkpoints[handler.run_id]) == ["second", "third"]
    checkpointer.disable_checkpoint("second")
    checkpointer.enable_checkpoint("first")
    assert checkpointer.enabled_checkpoints == {"first", "third"}
    handler = checkpointer.run()
    await handler
    assert steps_of(checkpointer.checkpoints[handler.run_id]) == ["first", "third"]


def test_unknown_steps_are_refused():
    """Only steps of the workflow can be enabled or disabled."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())
    for change in (checkpointer.enable_checkpoint, checkpointer.disable_checkpoint):
        with pytest.raises(WorkflowStepDoesNotExistError, match="does not contain a step: 'missing'"):
            change("missing")
    with pytest.raises(WorkflowStepDoesNotExistError):
        WorkflowCheckpointer(workflow=Chain(), disabled_steps=["missing"])


async def test_checkpoints_can_be_found():
    """`filter_checkpoints` gives the checkpoints that fit all filters; types fit exactly, names by their text."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())
    handlers = [checkpointer.run(), checkpointer.run()]
    await asyncio.gather(*handlers)
    find = checkpointer.filter_checkpoints
    built = f"{'sec'}ond"  # equal to the name of the step, and not the same object
    assert steps_of(find(run_id=handlers[0].run_id)) == ["first", "second", "third"]
    assert steps_of(find(last_completed_step=built)) == ["second", "second"]
    assert steps_of(find(input_event_type=One)) == ["second", "second"]
    assert steps_of(find(output_event_type=One)) == ["first", "first"]
    assert find(input_event_type=Event) == []
    assert find(run_id="unknown") == []
    (only,) = find(run_id=handlers[1].run_id, output_event_type=StopEvent)
    assert only is checkpointer.checkpoints[handlers[1].run_id][2]


def test_a_filter_is_needed():
    """To look for checkpoints without saying which is a ValueError."""
    with pytest.raises(ValueError, match="Please specify a filter"):
        WorkflowCheckpointer(workflow=Chain()).filter_checkpoints()


async def test_a_checkpointer_works_in_one_loop_after_another():
    """A checkpointer is bound to no event loop."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())

    async def main() -> None:
        await asyncio.gather(checkpointer.run(), checkpointer.run())

    await asyncio.to_thread(run_bounded, main())
    await asyncio.to_thread(run_bounded, main())
    assert len(checkpointer.checkpoints) == 4
