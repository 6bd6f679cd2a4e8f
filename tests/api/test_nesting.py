"""Spans of users stand under the attempt in which they were opened, wherever its code runs."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from opentelemetry import trace

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.events import HumanResponseEvent, InputRequiredEvent
from otflow.retry_policy import retry_policy, wait_fixed
from tests.api.traces import Traced


class Job(Event):
    number: int


class Done(Event):
    number: int


@pytest.fixture(autouse=True)
def _nothing_is_detached_in_the_wrong_place(caplog: pytest.LogCaptureFixture):
    """Whatever happens, OpenTelemetry has no reason to complain about its context, nor asyncio about anything."""
    with caplog.at_level(logging.DEBUG):
        yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Failed to detach context" not in caplog.text


def invocation(traced: Traced, name: str) -> list[object]:
    """Give the numbers of the attempts under which spans of a name stand."""
    return [traced.above(span).attributes["otflow.invocation.id"] for span in traced.spans(name)]


async def test_in_an_async_step_before_and_after_it_stands_still():
    """A span around awaits stands under the attempt, and what is opened in it stands under that."""
    traced = Traced()

    class Flow(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            with traced.tracer.start_as_current_span("outer"):
                await asyncio.sleep(0)
                with traced.tracer.start_as_current_span("inner"):
                    await asyncio.sleep(0)
            with traced.tracer.start_as_current_span("last"):
                return StopEvent()

    await Flow(dispatcher=traced.dispatcher).run()
    assert traced.path(traced.span("inner")) == ["inner", "outer", "step work", "invoke_workflow Flow"]
    assert traced.path(traced.span("last")) == ["last", "step work", "invoke_workflow Flow"]


async def test_in_plain_steps_at_once():
    """Plain steps that run in several threads at the same time do not mix up their spans."""
    traced = Traced()

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Job]:
            return [Job(number=n) for n in range(8)]

        @step(num_workers=4)
        def work(self, ev: Job) -> Done:
            with traced.tracer.start_as_current_span("work", attributes={"number": ev.number}):
                traced.tracer.start_span("deep").end()
                return Done(number=ev.number)

        @step
        async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Done] * 8) else None

    await Flow(dispatcher=traced.dispatcher).run()
    assert len(traced.spans("deep")) == 8
    for span in traced.spans("deep"):
        assert traced.path(span) == ["deep", "work", "step work", "invoke_workflow Flow"]
    for span in traced.spans("work"):
        assert f'"number":{span.attributes["number"]}' in traced.above(span).attributes["input.value"]


async def test_in_concurrent_invocations_of_an_async_step():
    """Invocations that take turns on one loop keep their own spans, whatever the order in which they go on."""
    traced, gates = Traced(), [asyncio.Event() for _ in range(5)]

    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Job]:
            return [Job(number=n) for n in range(5)]

        @step(num_workers=5)
        async def work(self, ev: Job) -> Done:
            with traced.tracer.start_as_current_span("work", attributes={"number": ev.number}):
                if ev.number + 1 < len(gates):
                    await gates[ev.number + 1].wait()  # the last one goes first
                with traced.tracer.start_as_current_span("deep", attributes={"number": ev.number}):
                    gates[ev.number].set()
            return Done(number=ev.number)

        @step
        async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Done] * 5) else None

    await Flow(dispatcher=traced.dispatcher).run()
    for span in traced.spans("deep"):
        assert traced.above(span).attributes["number"] == span.attributes["number"]
        attempt = traced.above(traced.above(span))
        assert f'"number":{span.attributes["number"]}' in attempt.attributes["input.value"]
    assert len(set(invocation(traced, "work"))) == 5


async def test_in_tasks_that_a_step_starts():
    """Tasks, groups, gathered calls and threads that a step starts inherit the span that is current there."""
    traced = Traced()

    async def child(name: str) -> None:
        with traced.tracer.start_as_current_span(name):
            await asyncio.sleep(0)

    def in_thread() -> None:
        with traced.tracer.start_as_current_span("threaded"):
            pass

    class Flow(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            task = asyncio.create_task(child("task"))
            async with asyncio.TaskGroup() as group:
                group.create_task(child("grouped"))
            await asyncio.gather(child("gathered"), task)
            await asyncio.to_thread(in_thread)
            with traced.tracer.start_as_current_span("around"), ThreadPoolExecutor(1) as pool:
                pool.submit(copy_context().run, in_thread).result()
            return StopEvent()

    await Flow(dispatcher=traced.dispatcher).run()
    for name in ("task", "grouped", "gathered", "around"):
        assert traced.path(traced.span(name)) == [name, "step work", "invoke_workflow Flow"]
    assert [traced.above(span).name for span in traced.spans("threaded")] == ["step work", "around"]


async def test_each_attempt_has_its_own():
    """What a step does in its second attempt stands under the second span of it."""
    traced = Traced()

    class Flow(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with traced.tracer.start_as_current_span("try"):
                if ctx.attempt == 1:
                    raise ConnectionError("busy")
            return StopEvent()

    await Flow(dispatcher=traced.dispatcher).run()
    assert [traced.above(span).attributes["otflow.attempt"] for span in traced.spans("try")] == [1, 2]


@pytest.mark.parametrize("plain", [False, True])
async def test_a_nested_run_stands_under_the_attempt_that_started_it(plain):
    """The run of another workflow, and what its steps open, stand under the attempt, also from a thread's loop."""
    traced = Traced()

    class Inner(Workflow):
        @step
        async def inside(self, ev: StartEvent) -> StopEvent:
            with traced.tracer.start_as_current_span("leaf"):
                return StopEvent(result=ev.number)

    class Outer(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Job]:
            return [Job(number=n) for n in range(3)]

        @step
        async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Done] * 3) else None

    if plain:

        @step(workflow=Outer, num_workers=3)
        def outside(ev: Job) -> Done:
            async def run() -> int:
                return await Inner(dispatcher=traced.dispatcher).run(number=ev.number)

            return Done(number=asyncio.run(run()))
    else:

        @step(workflow=Outer, num_workers=3)
        async def outside(ev: Job) -> Done:
            with traced.tracer.start_as_current_span("call"):
                return Done(number=await Inner(dispatcher=traced.dispatcher).run(number=ev.number))

    await Outer(dispatcher=traced.dispatcher).run()
    between = [] if plain else ["call"]
    for leaf in traced.spans("leaf"):
        up = ["leaf", "step inside", "invoke_workflow Inner", *between, "step outside", "invoke_workflow Outer"]
        assert traced.path(leaf) == up
    attempts = [traced.above(traced.above(leaf)) for leaf in traced.spans("leaf")]
    assert len({span.context.span_id for span in attempts}) == 3
    assert len({span.context.trace_id for span in traced.spans()}) == 1
    assert {span.attributes["otflow.parent.run.id"] for span in traced.spans("invoke_workflow Inner")} == {
        traced.span("invoke_workflow Outer").attributes["otflow.run.id"]
    }


async def test_while_a_step_waits_for_an_answer():
    """A span of a user may be open across a pause: it ends in the context in which it began."""
    traced = Traced()

    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with traced.tracer.start_as_current_span("question"):
                answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent())
                with traced.tracer.start_as_current_span("answer"):
                    return StopEvent(result=answer.response)

    handler = Flow(dispatcher=traced.dispatcher).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert await handler == "yes"
    first, second = traced.spans("step ask")
    assert traced.path(traced.span("answer"))[:3] == ["answer", "question", "step ask"]
    assert traced.above(traced.span("question")) is first
    assert [link.context.span_id for link in second.links if link.attributes["otflow.link.kind"] == "resumed_from"] == [
        first.context.span_id
    ]


async def test_nothing_is_current_outside():
    """Neither the caller of a run nor the reader of its stream sees a span of it."""
    traced = Traced()

    class Flow(Workflow):
        @step
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Job(number=1))
            await asyncio.sleep(0)
            return StopEvent()

    handler = Flow(dispatcher=traced.dispatcher).run()
    seen = [trace.get_current_span().get_span_context().is_valid async for _ in handler.stream_events()]
    await handler
    assert seen == [False, False]
    assert not trace.get_current_span().get_span_context().is_valid
