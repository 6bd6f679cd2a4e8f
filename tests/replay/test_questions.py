"""Questions that nobody had answered: a run that is forked asks them again, wherever it begins."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from pydantic import BaseModel

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError
from otflow.handler import WorkflowHandler
from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark
from otflow.records.record import RunResumed, StreamWritten
from otflow.replay import MisfitError, fork, make_context
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.tagging import tagged
from otflow.testing import capture_records


class Item(Event):
    number: int


class Done(Event):
    number: int


class Asked(InputRequiredEvent):
    text: str


class Said(HumanResponseEvent):
    text: str


class Box(BaseModel):
    size: int = 0


class Twice(Workflow):
    """Fans out, tries again, collects, and asks twice."""

    @step
    async def begin(self, ctx: Context[Box], ev: StartEvent) -> Item | None:
        for number in range(3):
            ctx.send_event(Item(number=number))

    @step(num_workers=2, retry_policy=ConstantDelayRetryPolicy(2, 0))
    async def work(self, ctx: Context[Box], ev: Item) -> Done:
        if ev.number == 1 and ctx.attempt == 1:
            raise ValueError("once")
        return Done(number=ev.number)

    @step
    async def end(self, ctx: Context[Box], ev: Done) -> StopEvent | None:
        got = ctx.collect_events(ev, [Done] * 3)
        if got is None:
            return None
        await ctx.store.set("size", len(got))
        one = await ctx.wait_for_event(Said, Asked(text="one?"), requirements={"text": "one"})
        two = await ctx.wait_for_event(Said, Asked(text="two?"), waiter_id="two", requirements={"text": "two"})
        return StopEvent(result=[await ctx.store.get("size"), one.text, two.text])


class Returned(Workflow):
    """Asks by an event that a step returns."""

    @step
    async def ask(self, ev: StartEvent) -> Asked:
        return Asked(text="back?")

    @step
    async def end(self, ev: Said) -> StopEvent:
        return StopEvent(result=ev.text)


async def answer(handler: WorkflowHandler) -> tuple[object, list[str]]:
    """Answer all that a run asks; return its result, and what it asked."""
    asked: list[str] = []
    async with asyncio.timeout(60):
        async for event in handler.stream_events():
            if isinstance(event, Asked):
                asked.append(event.text)
                handler.ctx.send_event(Said(text=event.text.rstrip("?")))
        return await handler, asked


async def record(workflow: Workflow) -> Execution:
    """Return what a run left that was answered, as a reader gives it."""
    with capture_records() as records:
        await answer(workflow.run())
    return Execution([decode(encode(each)) for each in records])


async def leave(handler: WorkflowHandler) -> None:
    """Wait until a run asks, and end it without an answer."""
    async for event in handler.stream_events():
        if isinstance(event, Asked):
            break
    await handler.cancel_run()


@pytest.mark.parametrize(("kind", "result"), [(Twice, [3, "one", "two"]), (Returned, "back")])
async def test_each_position_of_a_run_that_asks_leads_to_its_end(kind, result):
    """Whoever answers what a fork asks gets the result, from each position, and no question is asked twice."""
    execution = await record(kind(timeout=None))
    for each in execution.records:
        found, asked = await answer(fork(execution, kind(timeout=None), at=each.seq))
        assert found == result
        assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(("kind", "result"), [(Twice, [3, "one", "two"]), (Returned, "back")])
async def test_a_fork_of_a_fork_asks_again(kind, result):
    """What a fork was asked to ask stands in its first record, so that whoever goes on with it asks too."""
    execution = await record(kind(timeout=None))
    first = next(each.seq for each in execution.records if isinstance(each, StreamWritten))
    for _ in range(3):
        with capture_records() as records:
            await leave(fork(execution, kind(timeout=None), at=first))
        execution = Execution([decode(encode(each)) for each in records])
        assert isinstance(records[0], RunResumed)
        first = execution.records[-1].seq
    found, asked = await answer(fork(execution, kind(timeout=None)))
    assert (found, len(asked)) == (result, len(set(asked)))
    found, asked = await answer(kind(timeout=None).run(ctx=make_context(execution, kind(timeout=None))))
    assert (found, len(asked)) == (result, len(set(asked)))


async def test_a_question_that_is_not_whole_is_refused():
    """A fork that could not ask says so, and one that need not ask any more begins."""
    execution = await record(Twice(timeout=None))
    asked = next(each for each in execution.records if isinstance(each, StreamWritten))
    cut = [msgspec.structs.replace(each, body=make_mark(7)) if each is asked else each for each in execution.records]
    with pytest.raises(MisfitError, match=rf"question of record {asked.seq} \(Asked\) was left out"):
        fork(Execution(cut), Twice(timeout=None), at=asked.seq)
    assert (await answer(fork(Execution(cut), Twice(timeout=None))))[0] == [3, "one", "two"]


def about_of(records):
    """Return what the first record of a run says that it belongs to."""
    first = decode(encode(records[0]))
    saved = msgspec.json.decode(first.snapshot.json)
    return saved.get("about")


async def test_a_fork_belongs_to_what_its_origin_belongs_to():
    """Session, user, tags and metadata go on, and what is said around the fork is added or replaces them."""
    with tagged(session="chat", user="ada", tags=["beta"], metadata={"a": 1}):
        execution = await record(Returned(timeout=None))
    with capture_records() as records:
        await answer(fork(execution, Returned(timeout=None)))
    assert about_of(records) == {"session": "chat", "user": "ada", "tags": ["beta"], "metadata": {"a": 1}}
    again = Execution([decode(encode(each)) for each in records])
    with capture_records() as records, tagged(session="other", tags=["gamma"], metadata={"b": 2}):
        await answer(fork(again, Returned(timeout=None)))
    both = {"session": "other", "user": "ada", "tags": ["beta", "gamma"], "metadata": {"a": 1, "b": 2}}
    assert about_of(records) == both
    with tagged(tags=[f"{number}" for number in range(64)]), pytest.raises(WorkflowConfigurationError, match="65 tags"):
        fork(again, Returned(timeout=None))


async def test_a_fork_of_what_belongs_to_nothing_says_what_is_said_around_it():
    """A run that belonged to nothing may be forked into a session, or into nothing."""
    execution = await record(Returned(timeout=None))
    with capture_records() as records:
        await answer(fork(execution, Returned(timeout=None)))
    assert about_of(records) is None
    with capture_records() as records, tagged(session="new"):
        await answer(fork(execution, Returned(timeout=None)))
    assert about_of(records) == {"session": "new"}
