"""The memory of the last runs: bounded, whole, and without any object of a user."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from otflow import Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.records.body import Body
from otflow.records.record import EventReceived, RunCompleted, RunStarted
from otflow.sinks.memory import MemorySink
from tests.laws.strategies import histories


class Thing:
    """An object of a user."""


class Carried(Event):
    thing: Any


class Carry(Workflow):
    @step
    async def give(self, ev: StartEvent) -> Carried:
        return Carried(thing=ev.thing)

    @step
    async def take(self, ev: Carried) -> StopEvent:
        return StopEvent(result=1)


def short(run: str, words: int = 0) -> list:
    """Make the records of a short run, in two batches."""
    body = Body(json=b'"' + b"a" * words + b'"')
    return [
        [RunStarted(seq=1, run=run, at=1, workflow="w", graph=""), EventReceived(2, run, 1, "t", body)],
        [RunCompleted(seq=3, run=run, at=2, event=2)],
    ]


@given(histories(inputs=20), st.data())
def test_what_is_kept_is_what_happened(records, data):
    """The records of a run are read as they were, in whatever batches they came."""
    memory = MemorySink()
    rest = list(records)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        memory(rest[:size])
        rest = rest[size:]
    assert memory.read("run") == records
    assert memory.runs() == ["run"]


def test_the_latest_run_comes_first():
    """Runs are listed by when they were heard of last, and by workflow."""
    memory = MemorySink()
    a, b = short("a"), short("b")
    for batch in (a[0], b[0], b[1], a[1]):
        memory(batch)
    assert (memory.runs(), memory.runs("w"), memory.runs("v")) == (["a", "b"], ["a", "b"], [])
    memory([*short("c")[0], *short("d")[0]])
    memory([])
    assert memory.runs() == ["d", "c", "a", "b"]
    memory.clear()
    assert (memory.runs(), memory.size, memory.read("a")) == ([], 0, [])


def test_the_number_of_runs_is_bounded():
    """Of many runs the last ones are kept."""
    memory = MemorySink(runs=3)
    for number in range(10):
        for batch in short(f"r{number}"):
            memory(batch)
    assert memory.runs() == ["r9", "r8", "r7"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 300)), max_size=30), st.integers(0, 1500))
def test_the_size_is_bounded(stories, room):
    """The bytes that are kept stay within the limit, but for the last batch alone."""
    memory = MemorySink(size=room)
    for number, words in stories:
        for batch in short(f"r{number}", words):
            memory(batch)
            assert memory.size <= room or len(memory.read(f"r{number}")) == len(batch)
    assert memory.size == sum(len(batch) for kept in memory._kept.values() for batch in kept.batches)


def test_records_that_no_json_can_hold():
    """A half of a surrogate pair is spelt out and costs no record."""
    memory = MemorySink()
    started = RunStarted(seq=1, run="r", at=1, workflow="\ud800", graph="")
    memory([started, RunCompleted(seq=2, run="r", at=2, event=0)])
    assert memory.read("r")[0] == msgspec.structs.replace(started, workflow="\\ud800")
    assert len(memory.read("r")) == 2


def test_objects_of_users_are_let_go():
    """What a run carried about is freed when the run is over, though its records are kept."""
    dispatcher, memory = Dispatcher(), MemorySink()
    dispatcher.attach(memory, patient=True)
    seen = []

    async def carry() -> None:
        thing = Thing()
        seen.append(weakref.ref(thing))
        await Carry(dispatcher=dispatcher).run(thing=thing, run_id="r")

    asyncio.run(carry())
    gc.collect()
    assert seen[0]() is None
    assert isinstance(memory.read("r")[-1], RunCompleted)
