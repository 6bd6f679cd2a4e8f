"""Only what a record says in full becomes a test; everything else is left out, with the reason."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import pytest
from pydantic import BaseModel

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark
from otflow.records.record import ContextWritten, EventsCollected, EventSent, StepCompleted, StepStarted
from otflow.replay import fork
from otflow.replay.testing import write_test
from otflow.testing import capture_records
from tests.drawing.runs import RUNS


class Box(BaseModel):
    width: int = 1
    tags: list[str] = []


class Pair(Event):
    n: int


class Reply(HumanResponseEvent):
    text: str


class Typed(Workflow):
    @step
    async def begin(self, ctx: Context[Box], ev: StartEvent) -> Pair | None:
        await ctx.store.set("width", 7)
        for n in range(2):
            ctx.send_event(Pair(n=n))

    @step(num_workers=1)
    async def join(self, ctx: Context[Box], ev: Pair) -> StopEvent | None:
        if ctx.collect_events(ev, [Pair, Pair], "both") is None:
            return None
        with suppress(TimeoutError):
            await ctx.wait_for_event(Reply, timeout=0)
        return StopEvent(result=await ctx.store.get("width"))


class Loose(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Pair:
        await ctx.store.set("old", {"odd key": 1})
        async with ctx.store.edit_state() as state:
            state["new"] = [1.5, None]
        return Pair(n=1)

    @step
    async def end(self, ctx: Context, ev: Pair) -> StopEvent:
        async with ctx.store.edit_state() as state:
            del state.__pydantic_extra__["old"]
        return StopEvent()


class Sets(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("seen", {"e", "b", "a", "d", "c"})
        return StopEvent()


class Sends(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Pair | StopEvent:
        ctx.send_event(Pair(n=1))
        answer = await ctx.wait_for_event(HumanResponseEvent, InputRequiredEvent(text="?"))
        return StopEvent(result=answer.text)

    @step
    async def take(self, ev: Pair) -> None:
        pass


async def interrupt():
    """Interrupt an attempt that waits; write the test of the run that is resumed, and of one that is forked."""
    texts = []
    with capture_records() as records:
        handler = Sends(timeout=None).run()
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                break
        saved = handler.ctx.to_dict()
        asked = list(records)
        await handler.cancel_run()
    for again in (
        lambda: Sends(timeout=None).run(ctx=Context.from_dict(Sends(), saved), run_id=asked[0].run),
        lambda: fork(Execution(asked), Sends(timeout=None)),
    ):
        with capture_records() as records:
            handler = again()
            handler.ctx.send_event(HumanResponseEvent(text="yes"))
            assert await handler == "yes"
        before = asked if records[0].run == asked[0].run else []
        texts.append(write([*before, *records], Sends))
    return texts


class Broken(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> Pair:
        return Pair(n=1)

    @step
    async def end(self, ev: Pair) -> StopEvent:
        raise ConnectionError("down")


def run(kind):
    """Record a run."""

    async def main():
        await asyncio.gather(kind(timeout=None).run(), return_exceptions=True)

    with capture_records() as records:
        asyncio.run(main())
    return records


def write(records, kind):
    """Write the test of a run, as words on one line without comment signs."""
    return write_test(Execution(records), f"{__name__}:{kind.__name__}")


def words(text):
    """Take line ends and comment signs away."""
    return " ".join(text.replace("\n#  ", " ").split())


def change(records, match, **fields):
    """Change the records that match."""
    return [msgspec.structs.replace(each, **fields) if match(each) else each for each in records]


def test_a_typed_state_is_written_by_its_class():
    """A state of a class is an object of it; buffers have names, and a wait that timed out is None."""
    text = write(run(Typed), Typed)
    assert "state=Box(width=7)" in text
    assert 'collected={"both": [Pair(n=0), Pair(n=1)]}' in text
    assert "answers=[None]" in text
    exec(compile(text, "written", "exec"), scope := {})
    [scope[name]() for name in scope if name.startswith("test_")]


def test_a_loose_state_is_written_by_its_keys():
    """A state without a class is a dict, and what was taken away of it is expected to be."""
    text = write(run(Loose), Loose)
    assert 'state={"old": {"odd key": 1}, "new": [1.5, None]}' in text
    assert 'assert called.written == [("old", DELETED)]' in text
    exec(compile(text, "written", "exec"), scope := {})
    [scope[name]() for name in scope if name.startswith("test_")]


def test_sets_are_written_in_one_order():
    """What a step wrote as a set is compared in an order that every process gives it."""
    text = write(run(Sets), Sets)
    assert 'assert called.written == [("seen", ["a", "b", "c", "d", "e"])]' in text
    exec(compile(text, "written", "exec"), scope := {})
    [scope[name]() for name in scope if name.startswith("test_")]


def test_what_was_taken_up_is_held_to_what_is_known_of_it():
    """Of an attempt that was interrupted its last try is tested, without what the one before it had sent already."""
    for text in asyncio.run(interrupt()):
        assert "It was interrupted, and what it had sent before is not recorded again" in words(text)
        assert text.count("def test_begin") == 1
        assert "called.streamed" not in text.partition("def test_begin")[2].partition("def test_")[0]
        exec(compile(text, "written", "exec"), scope := {})
        [scope[name]() for name in scope if name.startswith("test_")]


def test_what_failed_is_left_out():
    """A step whose last attempt failed cannot be held to that."""
    assert "end #6: its last attempt failed (ConnectionError)" in words(write(run(Broken), Broken))


def is_write(each):
    """Tell whether a record is a write to the state."""
    return isinstance(each, ContextWritten)


@pytest.mark.parametrize(
    ("kind", "alter", "reason"),
    [
        (
            Loose,
            lambda r: change(r, lambda e: is_write(e) and e.path == "new", value=make_mark(3)),
            "is not known at 'new'",
        ),
        (
            Loose,
            lambda r: [e for e in r if not (is_write(e) and e.path == "old" and not e.deleted)],
            "not known for certain: Record",
        ),
        (
            Loose,
            lambda r: change(r, lambda e: is_write(e) and e.path == "new", invocation=900),
            "others wrote to the state",
        ),
        (Typed, lambda r: change(r, is_write, value=Body(json=b'"wide"')), "does not fit the state"),
        (
            Loose,
            lambda r: change(r, lambda e: is_write(e) and e.path == "old", value=Body(json=b'"__REDACTED__"')),
            "hidden",
        ),
        (Typed, lambda r: change(r, lambda e: isinstance(e, EventsCollected), events=(-4, -5)), "an earlier run left"),
        (
            Typed,
            lambda r: change(r, lambda e: isinstance(e, EventsCollected), events=(900, 901)),
            "of an event is missing",
        ),
        (Loose, lambda r: change(r, lambda e: isinstance(e, StepStarted) and e.step == "end", event=0), "is missing"),
        (Broken, lambda r: [e for e in r if not isinstance(e, StepCompleted) or e.seq > 5], "not recorded"),
        (
            Loose,
            lambda r: change(r, lambda e: isinstance(e, EventSent) and e.seq < 9, type="m:Gone"),
            "cannot be found",
        ),
    ],
)
def test_what_is_not_known_is_left_out(kind, alter, reason):
    """Where something is missing that the step saw or did, there is no test, and the reason is told."""
    try:
        text = words(write(alter(run(kind)), kind))
    except Exception as error:
        text = str(error)
    assert reason in text


@pytest.mark.parametrize("name", ["trip", "loop", "interview"])
def test_any_run_can_be_asked_for(name):
    """Runs with retries, loops, questions and failures give a test, in which what is left out has a reason."""
    kind = {"trip": "Trip", "loop": "Loop", "interview": "Interview"}[name]
    text = write_test(Execution(RUNS[name]()), f"tests.drawing.runs:{kind}")
    compile(text, name, "exec")
    assert "def test_" in text
