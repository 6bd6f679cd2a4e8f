"""Fields with aliases: JSON has the names of fields, whatever a constructor takes."""

from __future__ import annotations

import asyncio

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.context.serializers import JsonSerializer
from otflow.events import read_event
from otflow.records.body import Body
from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.replay import fork, replay
from otflow.replay.testing import write_test
from otflow.testing import capture_records


class Inner(BaseModel):
    x: int = Field(alias="X")
    y: int = Field(0, validation_alias=AliasChoices("Y", "why"))


class Box(BaseModel):
    size: int = Field(0, alias="Size")
    inner: Inner | None = Field(None, alias="Inner")


class First(Event):
    a: int = Field(0, alias="A")
    c: int = Field(0, validation_alias=AliasChoices("C1", "C2"))
    s: int = Field(0, serialization_alias="S")
    inner: Inner | None = None


class Second(Event):
    model_config = ConfigDict(serialize_by_alias=True)
    seen: list[int] = Field(alias="Seen")


class Own(Event):
    """An event with a constructor of its own."""

    a: int = Field(0, alias="A")

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)


class Aliased(Workflow):
    @step
    async def begin(self, ctx: Context[Box], ev: StartEvent) -> First:
        await ctx.store.set("inner", Inner(X=3, Y=4))
        async with ctx.store.edit_state() as state:
            state.size = 5
        return First(A=1, C2=2, s=6, inner=Inner(X=7, why=8))

    @step
    async def middle(self, ctx: Context[Box], ev: First) -> Second:
        box = await ctx.store.get_state()
        return Second(Seen=[ev.a, ev.c, ev.s, ev.inner.x, ev.inner.y, box.size, box.inner.x, box.inner.y])

    @step
    async def end(self, ev: Second) -> StopEvent:
        return StopEvent(result=ev.seen)


RESULT = [1, 2, 6, 7, 8, 5, 3, 4]


async def record() -> Execution:
    """Return what a run left, as a reader gives it."""
    with capture_records() as records:
        assert await Aliased().run() == RESULT
    return Execution([decode(encode(each)) for each in records])


async def test_a_run_with_aliases_can_be_forked_at_each_position():
    """Events and states come back from JSON with the values of all their fields."""
    execution = await record()
    assert replay(execution, Aliased()).ok
    for each in execution.records:
        assert await fork(execution, Aliased(), at=each.seq) == RESULT


def test_an_event_takes_names_and_aliases():
    """An event may be made by either, and what is read back is equal to what was written."""
    made = First(A=1, C2=2, inner=Inner(X=7))
    assert First(a=1, c=2, inner=Inner(X=7)) == made
    assert read_event(First, Body(made).json) == made
    assert read_event(Own, Body(Own(A=4)).json).a == 4
    assert read_event(First, b'{"more":1}').get("more") == 1


def test_a_saved_state_keeps_its_aliases():
    """A state with aliases, also in models within, survives the serializer of contexts."""
    serializer = JsonSerializer()
    box = Box(Size=3, Inner=Inner(X=1, Y=2))
    assert serializer.deserialize(serializer.serialize(box)) == box


async def test_a_test_of_aliases_passes():
    """A test that is written from such a run makes the same events, and passes on the code that ran."""
    text = write_test(await record(), f"{__name__}:Aliased")
    assert "inner=Inner(X=7, Y=8)" in text
    exec(compile(text, "written", "exec"), scope := {})
    names = [name for name in scope if name.startswith("test_")]
    assert len(names) == 3
    for name in names:
        await asyncio.to_thread(scope[name])
