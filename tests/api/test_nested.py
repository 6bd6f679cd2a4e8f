"""Nested workflows: a workflow as a service of another one, found by the name of a parameter."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    Resource,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowStalledError,
    WorkflowTimeoutError,
    WorkflowValidationError,
    step,
)
from otflow.service import ServiceManager, ServiceNotFoundError
from otflow.testing import ManualClock
from tests.api.loops import turn, until


class One(Event):
    text: str


class Ask(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Improve(Workflow):
    @step
    async def improve(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.text.upper())


class Shout(Improve):
    @step
    async def improve(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"{ev.text}!")


class Outer(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent, helper: Workflow) -> One:
        return One(text=await helper.run(text=ev.text))

    @step
    async def end(self, ev: One) -> StopEvent:
        return StopEvent(result=ev.text)


class Forever(Workflow):
    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.ended = 0

    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1
        return StopEvent()


async def test_a_step_gets_a_workflow_by_name():
    """A parameter that is neither event, context nor resource gets the workflow that was added under its name."""
    workflow = Outer()
    workflow.add_workflows(helper=Improve())
    assert await workflow.run(text="x") == "X"


async def test_a_missing_workflow_is_refused_at_the_run():
    """Without the workflow the run is refused, with the name of the parameter."""
    workflow = Outer()
    with pytest.raises(WorkflowValidationError, match="The following services are not available: helper"):
        workflow.run(text="x")
    workflow.add_workflows(helper=Improve())
    assert await workflow.run(text="x") == "X"


async def test_without_validation_a_missing_workflow_fails_its_step():
    """With the checks off the step fails when it is called, with what to do."""
    with pytest.raises(ServiceNotFoundError, match=r"Service 'helper' not found.*add_workflows\(helper=...\)"):
        await Outer(disable_validation=True).run(text="x")


async def test_a_workflow_may_be_replaced():
    """What is added under a name that is taken replaces it, from the next run on."""
    workflow = Outer()
    workflow.add_workflows(helper=Improve())
    assert await workflow.run(text="x") == "X"
    workflow.add_workflows(helper=Shout())
    assert await workflow.run(text="x") == "x!"


async def test_a_default_makes_a_workflow_optional():
    """A parameter with a default is filled by the default, and by what is added once there is something."""

    class Filled(Workflow):
        @step
        async def only(self, ev: StartEvent, helper: Workflow = Improve()) -> StopEvent:  # noqa: B008  # what is tested
            return StopEvent(result=await helper.run(text=ev.text))

    workflow = Filled()
    assert await workflow.run(text="x") == "X"
    workflow.add_workflows(helper=Shout())
    assert await workflow.run(text="x") == "x!"


async def test_a_default_of_none_is_a_default():
    """A parameter that is None by default is None while nothing was added."""

    class Maybe(Workflow):
        @step
        async def only(self, ev: StartEvent, helper: Workflow | None = None) -> StopEvent:
            return StopEvent(result=helper)

    assert await Maybe().run() is None


async def test_services_may_be_given_at_construction():
    """A service manager may be shared by several workflows."""
    services = ServiceManager()
    services.add("helper", Shout())
    for workflow in (Outer(service_manager=services), Outer(service_manager=services)):
        assert await workflow.run(text="x") == "x!"


async def test_a_service_may_be_anything():
    """What a step asks for by name need not be a workflow."""

    class Uses(Workflow):
        @step
        async def only(self, ev: StartEvent, table: dict[str, int]) -> StopEvent:
            return StopEvent(result=table["x"])

    workflow = Uses()
    workflow.add_workflows(table={"x": 1})
    assert await workflow.run() == 1


async def test_services_resources_and_context_stand_side_by_side():
    """A step may ask for all of them, in any order, also when it is a plain function."""

    def make() -> str:
        return "resource"

    class Full(Workflow):
        @step
        async def begin(
            self, helper: Workflow, ctx: Context, word: Annotated[str, Resource(make)], ev: StartEvent
        ) -> One:
            await ctx.store.set("word", word)
            return One(text=await helper.run(text="x"))

        @step
        def end(self, helper: Workflow, ev: One, word: Annotated[str, Resource(make)]) -> StopEvent:
            return StopEvent(result=(type(helper).__name__, ev.text, word))

    workflow = Full()
    workflow.add_workflows(helper=Improve())
    assert await workflow.run() == ("Improve", "X", "resource")


async def test_runs_of_one_nested_workflow_go_on_at_once():
    """Several runs use the same nested instance, each with a run of its own."""
    workflow = Outer()
    workflow.add_workflows(helper=Improve())
    results = await asyncio.gather(*(workflow.run(text=f"a{i}") for i in range(20)))
    assert results == [f"A{i}" for i in range(20)]


async def test_a_workflow_may_be_nested_in_itself():
    """A workflow may be its own service, and call itself to some depth."""

    class Recurse(Workflow):
        @step
        async def only(self, ev: StartEvent, again: Workflow) -> StopEvent:
            if not ev.depth:
                return StopEvent(result=0)
            return StopEvent(result=1 + await again.run(depth=ev.depth - 1))

    workflow = Recurse()
    workflow.add_workflows(again=workflow)
    assert await workflow.run(depth=30) == 30


async def test_nested_contexts_are_their_own():
    """The state of the outer run is not that of the inner one."""

    class Inner(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("name", "inner")
            assert Context.get_step_context() is ctx
            return StopEvent(result=await ctx.store.get("name"))

    class Holds(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent, helper: Workflow) -> StopEvent:
            await ctx.store.set("name", "outer")
            inner = await helper.run()
            assert Context.get_step_context() is ctx
            return StopEvent(result=(inner, await ctx.store.get("name")))

    workflow = Holds()
    workflow.add_workflows(helper=Inner())
    assert await workflow.run() == ("inner", "outer")


async def test_the_error_of_a_nested_run_is_that_of_its_step():
    """What the inner run raises, the outer step raises; both keep the type."""

    class Fails(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise KeyError("deep")

    workflow = Outer()
    workflow.add_workflows(helper=Fails())
    with pytest.raises(KeyError) as caught:
        await workflow.run(text="x")
    assert "Error in step 'only'" in str(caught.value)


async def test_the_stall_of_a_nested_run_is_told():
    """An inner run that can make no progress fails the outer one at once."""

    class Stalls(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent | None:
            return None

    workflow = Outer()
    workflow.add_workflows(helper=Stalls())
    with pytest.raises(WorkflowStalledError, match="Stalls"):
        await workflow.run(text="x")


async def test_the_timeout_of_a_nested_run_is_told():
    """An inner run that times out raises so in the outer step."""
    clock = ManualClock()
    workflow = Outer(timeout=None)
    workflow.add_workflows(helper=Forever(timeout=1, clock=clock))
    handler = workflow.run(text="x")
    await turn()
    clock.advance(1)
    with pytest.raises(WorkflowTimeoutError, match="after 1 seconds"):
        await handler


async def test_the_timeout_of_the_outer_run_ends_the_inner_one():
    """When the outer run times out, its step is cancelled, and with it the run that it awaits."""
    clock, inner = ManualClock(), Forever(timeout=None)
    workflow = Outer(timeout=1, clock=clock)
    workflow.add_workflows(helper=inner)
    handler = workflow.run(text="x")
    await turn()
    clock.advance(1)
    with pytest.raises(WorkflowTimeoutError):
        await handler
    await until(inner.is_done)
    assert inner.ended == 1


async def test_cancelling_the_outer_run_ends_the_inner_one():
    """`cancel_run` reaches the run that a step awaits."""
    inner = Forever()
    workflow = Outer()
    workflow.add_workflows(helper=inner)
    handler = workflow.run(text="x")
    await turn()
    await handler.cancel_run()
    assert isinstance(handler.exception(), WorkflowCancelledByUser)
    await until(inner.is_done)
    assert inner.ended == 1


async def test_cancelling_the_inner_run_is_an_error_of_the_step():
    """A step whose nested run is cancelled by someone else fails with that."""
    handlers: list[object] = []

    class Keeps(Workflow):
        @step
        async def only(self, ev: StartEvent, helper: Workflow) -> StopEvent:
            handlers.append(helper.run())
            return StopEvent(result=await handlers[0])

    workflow = Keeps()
    workflow.add_workflows(helper=Forever())
    outer = workflow.run()
    await until(lambda: handlers)
    await handlers[0].cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await outer


async def test_the_stream_of_a_nested_run_can_be_passed_on():
    """The outer step may write what it reads from the stream of the inner run to its own."""

    class Talks(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for text in "abc":
                ctx.write_event_to_stream(One(text=text))
            return StopEvent(result="inner")

    class Passes(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent, helper: Workflow) -> StopEvent:
            handler = helper.run()
            async for event in handler.stream_events():
                if not isinstance(event, StopEvent):
                    ctx.write_event_to_stream(event)
            return StopEvent(result=await handler)

    workflow = Passes()
    workflow.add_workflows(helper=Talks())
    handler = workflow.run()
    texts = [ev.text if isinstance(ev, One) else ev.result async for ev in handler.stream_events()]
    assert texts == ["a", "b", "c", "inner"]


async def test_the_question_of_a_nested_run_can_be_passed_on():
    """An inner run that asks the outside gets its answer through the outer one."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask(text="name?")

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    class Passes(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent, helper: Workflow) -> StopEvent:
            handler = helper.run()
            async for event in handler.stream_events():
                if isinstance(event, Ask):
                    handler.ctx.send_event(await ctx.wait_for_event(Answer, waiter_event=event))
            return StopEvent(result=await handler)

    workflow = Passes()
    workflow.add_workflows(helper=Asks())
    handler = workflow.run()
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            handler.ctx.send_event(Answer(text="Ada"))
    assert await handler == "Ada"


async def test_a_slot_for_nested_runs_is_waited_for():
    """A limit of runs on the inner workflow holds for all outer runs together."""
    active = most = 0

    class Limited(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            nonlocal active, most
            active += 1
            most = max(most, active)
            await turn(3)
            active -= 1
            return StopEvent(result=ev.text)

    workflow = Outer()
    workflow.add_workflows(helper=Limited(num_concurrent_runs=2))
    assert await asyncio.gather(*(workflow.run(text=str(i)) for i in range(7))) == [str(i) for i in range(7)]
    assert most == 2
