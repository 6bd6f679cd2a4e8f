"""Resources in steps: made once for a workflow instance, whoever asks first, however many ask at once."""

import asyncio
import json
from typing import Annotated

import pytest
from pydantic import BaseModel

from otflow import (
    Context,
    Event,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowValidationError,
    step,
)
from otflow.records.record import StepStarted
from otflow.resource import ResourceManager
from otflow.retry_policy import retry_policy, wait_fixed
from tests.api.loops import turn, until
from tests.api.tape import Tape


class Job(Event):
    n: int = 0


class Settings(BaseModel):
    size: int


class Maker:
    """A factory that counts its calls and may stand still."""

    def __init__(self, value=None, *, gate: asyncio.Event | None = None) -> None:
        self.calls = 0
        self.value = value
        self.gate = gate
        self.errors: list[Exception] = []

    async def __call__(self):
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        return self.value


class Counted:
    """An object with a method that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def make(self) -> int:
        """Count."""
        self.calls += 1
        return self.calls


class Noted:
    """A retry policy that keeps what it is asked about, and lets a step fail for good after its third question."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def next(self, elapsed_time, attempts, error):
        """Give up in the end."""
        self.errors.append(error)
        return 3600 if len(self.errors) < 3 else None


def using(resource, kind=object):
    """Make a workflow of two steps that both ask for a resource, and return what they got."""

    class Uses(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent, given: Annotated[kind, resource]) -> Job:
            await ctx.set("first", [given])
            return Job()

        @step
        def second(self, ev: Job, given: Annotated[kind, resource]) -> StopEvent:
            return StopEvent(result=given)

    return Uses


# --- how often ----------------------------------------------------------------------------------------------


async def test_a_resource_is_made_once_for_an_instance():
    """One call of the factory serves all steps and all runs of a workflow instance; another instance has its own."""
    maker = Maker(value=[1])
    kind = using(Resource(maker))
    one, other = kind(), kind()
    first = await one.run()
    assert await one.run() is first is maker.value
    assert maker.calls == 1
    await other.run()
    assert maker.calls == 2


async def test_a_resource_that_is_not_kept_is_made_for_each_step():
    """With cache=False each step that asks has its own."""
    calls = []
    await using(Resource(lambda: calls.append(1), cache=False))().run()
    assert len(calls) == 2


@pytest.mark.parametrize("value", [None, 0, "", [], False])
async def test_a_false_value_is_kept(value):
    """A value that counts as false is not made again."""
    maker = Maker(value=value)
    workflow = using(Resource(maker))()
    for _ in range(2):
        assert await workflow.run() == value
    assert maker.calls == 1


async def test_steps_that_ask_at_once_share_one_call():
    """Invocations that need a resource at the same time wait for one call of its factory."""
    maker = Maker(value=[], gate=asyncio.Event())

    class Fan(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(6):
                ctx.send_event(Job(n=n))

        @step(num_workers=6)
        async def use(self, ctx: Context, ev: Job, given: Annotated[object, Resource(maker)]) -> StopEvent | None:
            given.append(ev.n)
            return StopEvent(result=given) if len(given) == 6 else None

    handler = Fan().run()
    await until(lambda: maker.calls)
    await turn()
    maker.gate.set()
    assert sorted(await handler) == [0, 1, 2, 3, 4, 5]
    assert maker.calls == 1


async def test_steps_that_wait_for_one_call_share_its_error():
    """When the one call of a factory fails, all invocations that wait for it fail with it; none calls it again."""
    maker, error, noted = Maker(gate=asyncio.Event()), OSError("no connection"), Noted()

    class Fan(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(3):
                ctx.send_event(Job(n=n))

        @step(num_workers=3, retry_policy=noted)
        async def use(self, ev: Job, given: Annotated[object, Resource(maker)]) -> StopEvent:
            return StopEvent()

    handler = Fan().run()
    await until(lambda: maker.calls)
    await turn()
    maker.errors = [error]
    maker.gate.set()
    with pytest.raises(OSError, match="no connection"):
        await handler
    assert maker.calls == 1
    assert noted.errors == [error] * 3


async def test_a_factory_may_be_any_callable():
    """Plain functions, coroutine functions, classes and methods of objects make resources."""

    def plain() -> str:
        return "plain"

    async def coroutine() -> str:
        return "coroutine"

    class Thing:
        def __init__(self) -> None:
            self.name = "class"

        def method(self) -> str:
            return "method"

    assert await using(Resource(plain))().run() == "plain"
    assert await using(Resource(coroutine))().run() == "coroutine"
    assert (await using(Resource(Thing))().run()).name == "class"
    assert await using(Resource(Thing().method))().run() == "method"
    # each look at a method makes a new object, and it is the same factory all the same
    maker = Counted()

    class Both(Workflow):
        @step
        async def both(
            self, ev: StartEvent, a: Annotated[int, Resource(maker.make)], b: Annotated[int, Resource(maker.make)]
        ) -> StopEvent:
            return StopEvent(result=(a, b))

    assert await Both().run() == (1, 1)


async def test_two_factories_of_one_name_are_two_resources():
    """Factories are told apart by identity, not by what they are called."""

    def make(value):
        def factory():
            return value

        return Resource(factory)

    class Two(Workflow):
        @step
        async def both(self, ev: StartEvent, a: Annotated[str, make("a")], b: Annotated[str, make("b")]) -> StopEvent:
            return StopEvent(result=(a, b))

    assert await Two().run() == ("a", "b")


# --- resources of resources ---------------------------------------------------------------------------------


async def test_a_factory_may_ask_for_resources():
    """What a factory asks for by annotation is made before it, once."""

    def address() -> str:
        made.append("address")
        return "here"

    async def client(where: Annotated[str, Resource(address)]) -> str:
        made.append("client")
        return f"client of {where}"

    made: list[str] = []
    workflow = using(Resource(client))()
    assert await workflow.run() == "client of here"
    await workflow.run()
    assert made == ["address", "client"]


def _chicken(egg: Annotated[object, Resource(lambda: None)]):
    """Need an egg."""


def _egg(chicken: Annotated[object, Resource(_chicken)]):
    """Need a chicken."""


_chicken.__annotations__["egg"] = Annotated[object, Resource(_egg)]


async def test_resources_that_need_each_other_are_named():
    """A circle of factories fails the step that asks, with the way round the circle, and hangs nobody."""
    with pytest.raises(ValueError, match="Circular resource dependency detected: ") as caught:
        await using(Resource(_egg))().run()
    assert "_egg -> _chicken -> _egg" in str(caught.value)
    assert "Error in step 'first'" in str(caught.value)


async def test_a_configuration_file_becomes_a_model(tmp_path):
    """A ResourceConfig gives its file as the model of the annotation, read once, by way of a selector."""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"deep": {"size": 3}}))
    workflow = using(ResourceConfig(config_file=str(path), path_selector="deep"), Settings)()
    assert await workflow.run() == Settings(size=3)
    path.unlink()
    assert await workflow.run() == Settings(size=3)


async def test_a_configuration_file_that_is_not_there_is_found_before_the_run(tmp_path):
    """A missing file is reported by run(), with the step, the parameter and the path; nothing begins."""
    tape = Tape()
    path = tmp_path / "missing.json"
    kind = using(ResourceConfig(config_file=str(path)), Settings)
    with pytest.raises(WorkflowValidationError) as caught:
        kind(dispatcher=tape.dispatcher).run()
    assert "step 'first', parameter 'given'" in str(caught.value)
    assert "missing.json" in str(caught.value)
    assert tape.records == []


# --- when it goes wrong -------------------------------------------------------------------------------------


async def test_an_error_of_a_factory_says_where_it_came_from():
    """What a factory raises is the error of the step, with a note that names resource, factory and step."""
    maker = Maker()
    maker.errors = [OSError("no connection")]
    with pytest.raises(OSError, match="Error in step 'first': no connection") as caught:
        await using(Resource(maker))().run()
    (note,) = caught.value.__cause__.__notes__
    assert "While making resource" in note
    assert "Maker" in note
    assert "asked for by step 'first'" in note


async def test_an_error_of_a_factory_is_not_kept():
    """The next run asks the factory again."""
    maker = Maker(value="fine")
    maker.errors = [OSError("no connection")]
    workflow = using(Resource(maker))()
    with pytest.raises(OSError, match="no connection"):
        await workflow.run()
    assert await workflow.run() == "fine"
    assert maker.calls == 2


async def test_a_failing_factory_is_retried_with_its_step():
    """A factory is called inside the attempt, so that the step's retry policy holds for it."""
    maker = Maker(value="fine")
    maker.errors = [OSError("1"), OSError("2")]

    class Uses(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def use(self, ev: StartEvent, given: Annotated[str, Resource(maker)]) -> StopEvent:
            return StopEvent(result=given)

    tape = Tape()
    assert await Uses(dispatcher=tape.dispatcher).run() == "fine"
    assert len(tape.all(StepStarted)) == 3


async def test_a_cancelled_maker_hangs_nobody():
    """When the run that makes a resource is cancelled, another run that waits for it makes it."""
    maker = Maker(value="fine", gate=asyncio.Event())
    workflow = using(Resource(maker))()
    first, second = workflow.run(), workflow.run()
    await until(lambda: maker.calls)
    await turn()
    await first.cancel_run()
    maker.gate.set()
    assert await second == "fine"
    assert maker.calls == 2


# --- by hand ------------------------------------------------------------------------------------------------


async def test_a_manager_given_to_the_workflow():
    """Workflows that share a manager share what it keeps; a value that was set by hand is taken as it is."""
    maker = Maker(value="made")
    manager = ResourceManager()
    kind = using(Resource(maker))
    assert await kind(resource_manager=manager).run() == "made"
    assert await kind(resource_manager=manager).run() == "made"
    assert maker.calls == 1

    def client() -> str:
        return "real"

    await manager.set(Resource(client).name, "double")
    assert await using(Resource(client))(resource_manager=manager).run() == "double"
