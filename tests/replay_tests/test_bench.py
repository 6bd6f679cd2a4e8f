"""A step on the bench sees what a run would show it, and what it does is collected as a record would tell it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.errors import ContextStateError, WorkflowStepDoesNotExistError, WorkflowValidationError
from otflow.testing import DELETED, call_step, run_step


class Item(Event):
    number: int


class Reply(HumanResponseEvent):
    text: str


class Ask(InputRequiredEvent):
    text: str


class Box(BaseModel):
    width: int = 1
    tags: list[str] = []


class Bench(Workflow):
    @step
    async def work(self, ctx: Context[Box], ev: StartEvent) -> Item | StopEvent | list[Item] | None:
        return await ev.body(ctx)

    @step
    def plain(self, ctx: Context[Box], ev: Item) -> StopEvent:
        ctx.send_event(Item(number=ev.number + 1), step="plain")
        return StopEvent(result=Box(width=2))


class Loose(Workflow):
    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return await ev.body(ctx)


async def do(body, kind=Bench, **given):
    """Call a step that does what a function says."""
    return await call_step(kind(), "work", StartEvent(body=body), **given)


async def test_returned_events_are_told_as_a_record_tells_them():
    """Events come back as from JSON: models in open fields as dicts; one event and a list of events alike."""

    async def one(ctx):
        return Item(number=1)

    async def several(ctx):
        return [Item(number=1), Item(number=2)]

    async def none(ctx):
        return None

    async def wrong(ctx):
        return 3

    assert (await do(one)).returned == [Item(number=1)]
    assert (await do(several)).returned == [Item(number=1), Item(number=2)]
    assert (await do(none)).returned == []
    with pytest.raises(WorkflowValidationError, match="which is no event"):
        await do(wrong)


def test_plain_functions_run_in_their_thread():
    """A plain step is called too, and what it sends names its target."""
    called = run_step(Bench(), "plain", Item(number=1))
    assert called.returned == [StopEvent(result={"width": 2, "tags": []})]
    assert (called.sent, called.targets) == ([Item(number=2)], ["plain"])


async def test_events_that_json_cannot_say_stay_as_they_are():
    """What no record could give back is the object that the step made."""

    async def opaque(ctx):
        return StopEvent(result=object)

    assert (await do(opaque)).returned[0].result is object


async def test_the_state_is_laid_ready_and_writes_are_collected():
    """The step finds the state that it is given, as an object or by key, and each write is collected."""

    async def grow(ctx):
        await ctx.store.set("width", await ctx.store.get("width") + 1)
        async with ctx.store.edit_state() as state:
            state.tags = ["a"]
        return StopEvent()

    assert (await do(grow, state=Box(width=4))).written == [("width", 5), ("tags", ["a"])]
    assert (await do(grow, state={"width": 6})).written[0] == ("width", 7)
    assert (await do(grow)).written[0] == ("width", 2)

    async def lose(ctx):
        async with ctx.store.edit_state() as state:
            del state.__pydantic_extra__["old"]
        return StopEvent(result=await ctx.store.get("a b"))

    called = await do(lose, Loose, state={"old": 1, "a b": 2})
    assert (called.written, called.returned) == ([("old", DELETED)], [StopEvent(result=2)])


async def test_waits_are_answered_in_order():
    """A wait gets the next answer of its type that fits, None is a timeout, and without an answer it is an error."""

    async def ask(ctx):
        first = await ctx.wait_for_event(Reply, requirements={"text": "b"}, waiter_event=Ask(text="?"))
        second = await ctx.wait_for_event(Reply)
        try:
            await ctx.wait_for_event(Reply)
        except TimeoutError:
            return StopEvent(result=first.text + second.text)

    called = await do(ask, answers=[Reply(text="a"), Reply(text="b"), None])
    assert called.returned == [StopEvent(result="ba")]
    assert called.streamed == [Ask(text="?")]
    with pytest.raises(ContextStateError, match=r"answers=\[..., Reply\(...\)\]"):
        await do(ask)


async def test_collections_are_given():
    """A step that collects gets what it is given for its buffer, or is told that others are missing."""

    async def collect(ctx):
        found = ctx.collect_events(Item(number=1), [Item, Item], "b")
        return None if found is None else StopEvent(result=[each.number for each in found])

    given = {"b": [Item(number=1), Item(number=2)]}
    assert (await do(collect, collected=given)).returned == [StopEvent(result=[1, 2])]
    assert (await do(collect, collected=given["b"])).returned == []
    assert (await do(collect)).returned == []


async def test_the_attempt_is_told():
    """The step knows the number of its attempt, the error before it, its key, and its run."""

    async def tell(ctx):
        info = ctx.retry_info()
        text = (ctx.attempt, repr(info.last_exception), ctx.idempotency_key, ctx.is_running, await ctx.running_steps())
        return StopEvent(result=[*text, ctx.get_result(), Context.get_step_context() is ctx])

    called = await do(tell, attempt=3, error=ValueError("x"))
    assert called.returned[0].result == [3, "ValueError('x')", "bench:1", True, ["work"], None, True]
    assert (await do(tell)).returned[0].result[:2] == [1, "None"]


async def test_a_step_has_to_exist():
    """A step that the workflow does not have is refused, with those that it has."""
    with pytest.raises(WorkflowStepDoesNotExistError, match="Its steps are: work, plain"):
        await call_step(Bench(), "play", StartEvent())


async def test_what_a_step_raises_is_raised():
    """An exception comes out as it is."""

    async def fail(ctx):
        raise KeyError("x")

    with pytest.raises(KeyError):
        await do(fail)
