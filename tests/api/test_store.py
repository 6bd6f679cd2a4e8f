"""The store as steps use it: one state for all of them, plain or typed, edited by one at a time."""

import asyncio
import json

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otflow import Context, Event, StartEvent, StopEvent, Workflow, WorkflowRuntimeError, step
from otflow.context import DictState
from otflow.context.state_store import DELETED, apply_write
from otflow.records.record import ContextWritten
from otflow.retry_policy import retry_policy, wait_fixed
from tests.api.loops import until
from tests.api.tape import Tape


class Tick(Event):
    n: int = 0


class Inner(BaseModel):
    name: str = "none"


class Account(BaseModel):
    model_config = ConfigDict(validate_assignment=True)

    balance: int = 0
    owner: Inner = Field(default_factory=Inner)
    log: list[str] = []


class Fan(Workflow):
    """Sends `size` ticks; a subclass adds the step that takes them, and ends the run with the last."""

    def __init__(self, size: int, **options) -> None:
        super().__init__(**options)
        self.size = size

    @step
    async def fan(self, ctx: Context, ev: StartEvent) -> Tick | None:
        for n in range(self.size):
            ctx.send_event(Tick(n=n))


# --- one state for all steps --------------------------------------------------------------------------------


async def test_steps_share_one_state():
    """What one step writes, the next one reads; what was there before the run, the first one reads."""

    class Chain(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Tick:
            await ctx.store.set("a.b", await ctx.store.get("given") + 1)
            return Tick()

        @step
        async def second(self, ctx: Context, ev: Tick) -> StopEvent:
            return StopEvent(result=await ctx.store.get("a.b"))

    ctx = Context(workflow := Chain())
    await ctx.store.set("given", 1)
    assert await workflow.run(ctx=ctx) == 2
    assert await ctx.store.get("a") == {"b": 2}


async def test_runs_without_a_common_context_share_nothing():
    """Each run that is not given a context has a state of its own."""

    class Count(Workflow):
        @step
        async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("n", await ctx.store.get("n", default=0) + 1)
            return StopEvent(result=await ctx.store.get("n"))

    workflow = Count()
    assert await asyncio.gather(*[workflow.run() for _ in range(3)]) == [1, 1, 1]


async def test_get_gives_the_live_object():
    """What get returns is the object in the store, so that changing it changes the state."""

    class Live(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Tick:
            names: list[str] = []
            await ctx.store.set("names", names)
            assert await ctx.store.get("names") is names
            names.append("Ada")
            return Tick()

        @step
        async def second(self, ctx: Context, ev: Tick) -> StopEvent:
            return StopEvent(result=await ctx.store.get("names"))

    assert await Live().run() == ["Ada"]


async def test_writes_are_recorded_with_the_step_that_made_them():
    """Each write is a record with its path and value; writes from outside belong to no invocation."""

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("a.b", [1])
            async with ctx.store.edit_state() as state:
                state["c"] = 2
                state["a"]["b"].append(3)
            await ctx.store.clear()
            return StopEvent()

    tape = Tape()
    handler = Writes(dispatcher=tape.dispatcher).run()
    await handler.ctx.store.set("x", 0)
    await handler
    written = tape.all(ContextWritten)
    assert [(w.path, w.value.json) for w in written[:2]] == [("x", b"0"), ("a.b", b"[1]")]
    # an edit gives one record for each top-level key that it changed
    assert {w.path: w.value.json for w in written[2:4]} == {"c": b"2", "a": b'{"b":[1,3]}'}
    assert written[4].path == ""
    assert written[0].invocation == 0
    assert len({w.invocation for w in written[1:]} - {0}) == 1


async def test_records_rebuild_the_state():
    """Written again from its records, one after the other, the state is the same; also what was removed is gone."""

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.store.set("a.b.c", 1)
            await ctx.store.set("gone", 1)
            async with ctx.store.edit_state() as state:
                state["d"] = {"e": [1, 2]}
                del state._undeclared["gone"]
            await ctx.store.set("d.e.0", 5)
            return StopEvent()

    tape = Tape()
    handler = Writes(dispatcher=tape.dispatcher).run()
    await handler
    state = DictState()
    for record in tape.all(ContextWritten):
        state = apply_write(state, record.path, DELETED if record.deleted else json.loads(record.value.json))
    assert dict(state.items()) == dict((await handler.ctx.store.get_state()).items())
    assert dict(state.items()) == {"a": {"b": {"c": 1}}, "d": {"e": [5, 2]}}


# --- typed state --------------------------------------------------------------------------------------------


class Bank(Workflow):
    @step
    async def open(self, ctx: Context[Account], ev: StartEvent) -> Tick:
        assert await ctx.store.get("balance") == 0
        await ctx.store.set("balance", "5")
        await ctx.store.set("owner.name", "Ada")
        return Tick()

    @step
    async def close(self, ctx: Context[Account], ev: Tick) -> StopEvent:
        async with ctx.store.edit_state() as state:
            state.balance += 1
            state.log.append(state.owner.name)
        return StopEvent(result=await ctx.store.get_state())


async def test_the_annotation_makes_the_state():
    """`Context[State]` in a signature makes the state an object of that class, validated on each write."""
    handler = Bank().run()
    result = await handler
    assert isinstance(result, Account)
    assert result == Account(balance=6, owner=Inner(name="Ada"), log=["Ada"])
    with pytest.raises(ValidationError):
        await handler.ctx.store.set("balance", "many")
    assert await handler.ctx.store.get("balance") == 6


async def test_a_state_without_defaults_is_named():
    """A state class that cannot be made without arguments is reported by its name and its field."""

    class Strict(BaseModel):
        needed: int

    class Needs(Workflow):
        @step
        async def need(self, ctx: Context[Strict], ev: StartEvent) -> StopEvent:
            await ctx.store.get("needed")
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError) as caught:
        await Needs().run()
    assert "Strict" in str(caught.value)
    assert "needed" in str(caught.value)
    assert "default" in str(caught.value)


async def test_the_most_derived_state_class_wins():
    """Where one state class derives from another the derived one is made, for all steps."""

    class Base(BaseModel):
        a: int = 1

    class Derived(Base):
        b: int = 2

    class Both(Workflow):
        @step
        async def first(self, ctx: Context[Base], ev: StartEvent) -> Tick:
            await ctx.store.set("a", 5)
            return Tick()

        @step
        async def second(self, ctx: Context[Derived], ev: Tick) -> StopEvent:
            return StopEvent(result=await ctx.store.get_state())

    assert await Both().run() == Derived(a=5, b=2)


async def test_unrelated_state_classes_are_refused():
    """Two state classes of which neither derives from the other are refused, both named."""

    class One(BaseModel):
        a: int = 1

    class Two(BaseModel):
        a: int = 1

    class Both(Workflow):
        @step
        async def first(self, ctx: Context[One], ev: StartEvent) -> Tick:
            await ctx.store.get("a")
            return Tick()

        @step
        async def second(self, ctx: Context[Two], ev: Tick) -> StopEvent:
            return StopEvent()

    with pytest.raises(ValueError, match="Multiple state types are not supported") as caught:
        await Both().run()
    assert "One, Two" in str(caught.value)


# --- one at a time ------------------------------------------------------------------------------------------


async def test_an_edit_is_exclusive_across_awaits():
    """No update is lost when many workers edit the state and stand still within the edit."""

    class Adds(Fan):
        @step(num_workers=8)
        async def add(self, ctx: Context, ev: Tick) -> StopEvent | None:
            async with ctx.store.edit_state() as state:
                seen = state.get("n", 0)
                await asyncio.sleep(0)
                state["n"] = seen + 1
            return StopEvent(result=seen + 1) if seen + 1 == self.size else None

    assert await Adds(20).run() == 20


async def test_others_read_the_state_as_it_was_during_an_edit():
    """While one step edits, another reads what stood there before, and its own write waits."""

    class Reads(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Tick:
            await ctx.store.set("n", 1)
            ctx.send_event(Tick(n=1))
            async with ctx.store.edit_state() as state:
                state["n"] = 2
                await edited.wait()
            return Tick(n=2)

        @step
        async def second(self, ctx: Context, ev: Tick) -> StopEvent | None:
            seen.append(await ctx.store.get("n"))
            edited.set()
            await ctx.store.set("n", 10 * ev.n)
            seen.append(await ctx.store.get("n"))
            return StopEvent() if ev.n == 2 else None

    seen: list[int] = []
    edited = asyncio.Event()
    await Reads().run()
    assert seen[0] == 1  # not 2
    assert seen[-1] == 20


async def test_writes_within_an_edit_do_not_deadlock():
    """The task that edits may use the store as usual, and sees its own changes."""

    class Nested(Workflow):
        @step
        async def nest(self, ctx: Context, ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state["a"] = 1
                await ctx.store.set("b", await ctx.store.get("a") + 1)
                async with ctx.store.edit_state() as again:
                    again["c"] = state.b + 1
            return StopEvent(result=dict((await ctx.store.get_state()).items()))

    assert await Nested().run() == {"a": 1, "b": 2, "c": 3}


async def test_an_edit_that_fails_is_taken_back_whole():
    """A step that raises within an edit leaves the state as it was, so that its retry does not count twice."""

    class Pays(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def pay(self, ctx: Context[Account], ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state.balance += 10
                state.log.append("paid")
                await asyncio.sleep(0)
                if ctx.attempt < 3:
                    raise OSError
            return StopEvent(result=await ctx.store.get_state())

    tape = Tape()
    result = await Pays(dispatcher=tape.dispatcher).run()
    assert (result.balance, result.log) == (10, ["paid"])
    assert sorted(record.path for record in tape.all(ContextWritten)) == ["balance", "log"]


async def test_a_cancelled_edit_is_taken_back_and_lets_others_in():
    """A run that ends in the middle of an edit leaves the state as it was, and unlocked."""

    class Stuck(Workflow):
        @step
        async def edit(self, ctx: Context, ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state["n"] = 2
                await asyncio.Event().wait()
            return StopEvent()

    ctx = Context(workflow := Stuck())
    await ctx.store.set("n", 1)
    handler = workflow.run(ctx=ctx)
    await until(lambda: not ctx.store.lock_free)
    await handler.cancel_run()
    assert await ctx.store.get("n") == 1
    await ctx.store.set("n", 3)
    assert await ctx.store.get("n") == 3
