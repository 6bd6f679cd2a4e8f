"""A context is saved as JSON in every phase of a run, and goes on in another workflow object."""

import asyncio
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from otflow import (
    Context,
    ContextSerdeError,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    PickleSerializer,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    step,
)
from otflow.records.record import EventReceived, RunResumed, RunStarted, StepStarted, StreamWritten
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import Tape


class Ask(InputRequiredEvent):
    text: str = ""


class Answer(HumanResponseEvent):
    text: str = ""


class Job(Event):
    n: int = 0


class SmallJob(Job):
    size: int = 1


class Progress(Event):
    """An event for the stream, which no signature names."""

    part: int


class Opaque(Event):
    thing: object = None


class Totals(BaseModel):
    count: int = 0
    names: list[str] = []


def again(data: dict) -> dict:
    """Bring data through real JSON text."""
    return json.loads(json.dumps(data))


def restored(workflow: Workflow, ctx: Context) -> Context:
    """Make a context for another workflow object from what a context saves now."""
    return Context.from_dict(workflow, again(ctx.to_dict()))


class Gate(Workflow):
    """Three jobs for one worker, which stands still until the gate is open; their numbers are the result."""

    def __init__(self, *, is_open=False, **options) -> None:
        super().__init__(**options)
        self.gate = asyncio.Event()
        self.seen: list[tuple[int, int, str]] = []
        if is_open:
            self.gate.set()

    @step
    async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
        self.seen.append((-1, ctx.attempt, ctx.idempotency_key))
        for n in range(3):
            ctx.send_event(Job(n=n, label=f"job {n}"))

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
        self.seen.append((ev.n, ctx.attempt, ctx.idempotency_key))
        assert ev.label == f"job {ev.n}"
        await self.gate.wait()
        found = ctx.collect_events(ev, [Job] * 3)
        return StopEvent(result=[job.n for job in found]) if found else None


class Dialogue(Workflow):
    """Asks three questions in one step; the answers are the result."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.bodies = 0

    @step
    async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.bodies += 1
        heard = []
        for n in range(3):
            answer = await ctx.wait_for_event(Answer, waiter_event=Ask(text=f"{n}?"), waiter_id="q")
            heard.append(answer.text)
        return StopEvent(result=heard)


def waits(handler) -> int:
    """Count the open waits of a run."""
    return len(handler.ctx.run.driver.state.waits)


# --- idle ---------------------------------------------------------------------------------------------------


async def test_an_idle_context():
    """Between runs the state is saved, and a restored context begins anew with it."""

    class Count(Workflow):
        @step
        async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("n", await ctx.get("n", default=0) + 1)
            return StopEvent(result=await ctx.get("n"))

    ctx = Context(Count())
    await ctx.set("n", 5)
    await ctx.set("deep.list", [1, {"a": None}])
    ctx = restored(workflow := Count(), ctx)
    assert not ctx.is_running
    assert await ctx.get("deep.list.1") == {"a": None}
    assert await workflow.run(ctx=ctx) == 6
    ctx = restored(workflow := Count(), ctx)
    assert not ctx.is_running
    assert await workflow.run(ctx=ctx) == 7


async def test_left_over_collected_events_are_saved():
    """What a run put aside and did not use comes along, and completes a collection of the next run."""

    class Pairs(Workflow):
        @step
        async def pair(self, ctx: Context, ev: StartEvent) -> StopEvent:
            found = ctx.collect_events(ev, [StartEvent] * 2)
            return StopEvent(result=[e.n for e in found] if found else None)

    handler = Pairs().run(n=1)
    assert await handler is None
    ctx = restored(workflow := Pairs(), handler.ctx)
    assert await workflow.run(ctx=ctx, n=2) == [1, 2]
    assert await workflow.run(ctx=ctx, n=3) is None


async def test_a_typed_state():
    """A state of a class of its own is an object of that class again."""

    class Typed(Workflow):
        @step
        async def count(self, ctx: Context[Totals], ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state.count += 1
                state.names.append("x")
            return StopEvent(result=await ctx.store.get_state())

    handler = Typed().run()
    await handler
    ctx = restored(workflow := Typed(), handler.ctx)
    assert await ctx.store.get_state() == Totals(count=1, names=["x"])
    result = await workflow.run(ctx=ctx)
    assert result == Totals(count=2, names=["x", "x"])
    assert type(result) is Totals


async def test_a_state_whose_class_only_the_workflow_knows():
    """The class of the state need not be found by its name: the workflow that it is restored for knows it."""

    class Local(BaseModel):
        count: int = 0

    class Typed(Workflow):
        @step
        async def count(self, ctx: Context[Local], ev: StartEvent) -> StopEvent:
            async with ctx.store.edit_state() as state:
                state.count += 1
            return StopEvent(result=await ctx.store.get_state())

    handler = Typed().run()
    await handler
    ctx = restored(workflow := Typed(), handler.ctx)
    assert await workflow.run(ctx=ctx) == Local(count=2)


# --- in the middle of a run ---------------------------------------------------------------------------------


async def test_queued_and_running_work_is_done_after_a_restart():
    """What was queued is still to be done, what ran runs again as the same attempt; nothing starts a second time."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    saved = again(handler.ctx.to_dict())
    tape = Tape()
    other = Gate(is_open=True, dispatcher=tape.dispatcher)
    ctx = Context.from_dict(other, saved)
    assert ctx.is_running
    resumed = other.run(ctx=ctx)
    assert resumed.run_id == handler.run_id
    assert await resumed == [0, 1, 2]
    assert not ctx.is_running
    assert [n for n, _, _ in other.seen] == [0, 1, 2]
    # the same attempt of the same invocation
    assert other.seen[0] == gate.seen[1]
    assert tape.all(RunStarted) + tape.all(EventReceived) == []
    assert isinstance(tape.records[0], RunResumed)
    # once: a further run on that context begins at the start
    assert await other.run(ctx=ctx) == [0, 1, 2]
    assert [n for n, _, _ in other.seen[3:]] == [-1, 0, 1, 2]
    # the first one does not know
    gate.gate.set()
    assert await handler == [0, 1, 2]


async def test_a_resumed_run_numbers_its_records_on():
    """The sequence of a run goes on where it was saved, without a gap and without a number twice."""
    tape = Tape()
    gate = Gate(dispatcher=tape.dispatcher)
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    first = len(tape.records) - 1  # but for the end, which came later
    other = Gate(is_open=True, dispatcher=tape.dispatcher)
    await other.run(ctx=Context.from_dict(other, saved))
    numbers = [record.seq for record in [*tape.records[:first], *tape.records[first + 1 :]]]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_buffered_events_are_saved():
    """Events that a step has put aside complete its collection after a restart."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    gate.gate.set()
    await turn(0)
    gate.gate.clear()
    await until(lambda: len(gate.seen) == 3)
    # the first job is in the buffer, the second one runs, the third one is queued
    ctx = restored(other := Gate(is_open=True), handler.ctx)
    assert await other.run(ctx=ctx) == [0, 1, 2]
    assert [n for n, _, _ in other.seen] == [1, 2]
    await handler.cancel_run()


async def test_waiting_work_is_saved():
    """A step that waits begins again; it gets the answers again that it had, and asks no question twice."""
    first = Dialogue()
    handler = first.run()
    asked = []
    async for event in handler.stream_events():
        asked.append(event.text)
        if event.text == "1?":
            break
        handler.ctx.send_event(Answer(text="a"))
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    tape = Tape()
    second = Dialogue(dispatcher=tape.dispatcher)
    handler = second.run(ctx=Context.from_dict(second, saved))
    await until(partial(waits, handler))
    assert tape.all(StreamWritten) == []
    handler.ctx.send_event(Answer(text="b"))
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.text)
            handler.ctx.send_event(Answer(text="c"))
    assert await handler == ["a", "b", "c"]
    assert asked == ["0?", "1?", "2?"]
    assert (first.bodies, second.bodies) == (1, 1)


async def test_a_question_that_nobody_has_read_is_asked_after_a_restart():
    """What stands in the stream unread is there after a restart; what was read is not."""
    handler = Dialogue().run()
    await until(partial(waits, handler))
    unread = again(handler.ctx.to_dict())
    async for _ in handler.stream_events():
        break
    read = again(handler.ctx.to_dict())
    await handler.cancel_run()
    counts = []
    for saved in (unread, read):
        other = Dialogue()
        handler = other.run(ctx=Context.from_dict(other, saved))
        await until(partial(waits, handler))
        for _ in range(3):
            handler.ctx.send_event(Answer(text="x"))
        await handler
        counts.append([event.text async for event in handler.stream_events() if isinstance(event, Ask)])
    assert counts[0][0] == "0?"
    assert counts[0][1:] == counts[1]


async def test_an_answer_between_two_waits_is_saved():
    """An event that came while nobody waited for it is found by the next wait, after a restart too."""

    class Slow(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            first = await ctx.wait_for_event(Answer)
            between.set()
            await go_on.wait()
            return StopEvent(result=[first.text, (await ctx.wait_for_event(Answer)).text])

    between, go_on = asyncio.Event(), asyncio.Event()
    handler = Slow().run()
    await until(partial(waits, handler))
    handler.ctx.send_event(Answer(text="1"))
    await between.wait()
    handler.ctx.send_event(Answer(text="2"))
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    go_on.set()
    other = Slow()
    assert await other.run(ctx=Context.from_dict(other, saved)) == ["1", "2"]


class Flaky(Workflow):
    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.attempts: list[int] = []

    @step(retry_policy=retry_policy(wait=wait_fixed(60), stop=stop_after_attempt(3)))
    async def fail(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.attempts.append(ctx.attempt)
        raise ValueError(f"attempt {ctx.attempt}")


async def test_delayed_work_is_saved():
    """A step that waits for its retry is tried again when its time has come, and its attempts are counted on."""
    clock = ManualClock()
    handler = Flaky(clock=clock).run()
    await until(lambda: handler.ctx.run.driver.state.delayed)
    clock.advance(20)
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    other = Flaky(clock=clock, timeout=None)
    handler = other.run(ctx=Context.from_dict(other, saved))
    await turn()
    clock.advance(39.9)
    await turn()
    assert other.attempts == []
    clock.advance(0.1)
    await until(lambda: len(other.attempts) == 1 and handler.ctx.run.driver.state.delayed)
    clock.advance(60)
    with pytest.raises(ValueError, match="attempt 3"):
        await handler
    assert other.attempts == [2, 3]


async def test_a_delay_that_is_over_when_the_run_goes_on():
    """When the time of a retry has passed while nobody was there, it begins at once."""
    clock = ManualClock()
    handler = Flaky(clock=clock).run()
    await until(lambda: handler.ctx.run.driver.state.delayed)
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    clock.advance(1_000_000)
    other = Flaky(clock=clock, timeout=None)
    handler = other.run(ctx=Context.from_dict(other, saved))
    clock.advance(0)
    await until(lambda: other.attempts == [2])
    await handler.cancel_run()


async def test_an_unread_stream_of_events_that_no_signature_names():
    """Events that were only ever written to the stream are found by their class."""

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for part in range(3):
                ctx.write_event_to_stream(Progress(part=part, extra="x"))
            return StopEvent(result=(await ctx.wait_for_event(Answer)).text)

    handler = Writes().run()
    async for event in handler.stream_events():
        assert event.part == 0
        break
    # right after the reader broke off
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    other = Writes()
    handler = other.run(ctx=Context.from_dict(other, saved))
    await until(partial(waits, handler))
    handler.ctx.send_event(Answer(text="done"))
    events = [event async for event in handler.stream_events() if isinstance(event, Progress)]
    # the step ran again from its top: what it writes then comes behind what nobody had read
    assert [event.part for event in events] == [1, 2, 0, 1, 2]
    assert {event.extra for event in events} == {"x"}
    assert await handler == "done"


async def test_a_queued_event_of_a_subclass():
    """A step that accepts subclasses gets an event of one after a restart too, as an object of that class."""

    class Broad(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job:
            return SmallJob(n=1, size=9)

        @step(accept_event_subclasses=True)
        async def take(self, ev: Job) -> StopEvent:
            await gate.wait()
            return StopEvent(result=(type(ev).__name__, ev.size))

    gate = asyncio.Event()
    handler = Broad().run()
    await turn()
    ctx = restored(other := Broad(), handler.ctx)
    gate.set()
    assert await other.run(ctx=ctx) == await handler == ("SmallJob", 9)


async def test_a_run_that_has_not_begun_is_saved_with_its_start():
    """A run that waits for a slot is saved with its start event, and what was restored and waits with all it had."""
    gate = Gate(num_concurrent_runs=1)
    handlers = [gate.run(), gate.run()]
    ctx = restored(other := Gate(is_open=True), handlers[1].ctx)
    assert await other.run(ctx=ctx) == [0, 1, 2]
    # once more, of a run that was restored and waits for a slot
    await until(lambda: len(gate.seen) == 2)
    again_gate = Gate(num_concurrent_runs=1)
    blocker = again_gate.run()
    waiting = again_gate.run(ctx=restored(again_gate, handlers[0].ctx))
    ctx = restored(third := Gate(is_open=True), waiting.ctx)
    assert await third.run(ctx=ctx) == [0, 1, 2]
    assert [n for n, _, _ in third.seen] == [0, 1, 2]
    for handler in (*handlers, blocker, waiting):
        await handler.cancel_run()


async def test_a_step_may_save_its_own_run():
    """to_dict works inside a step; the step itself is then work to be done again."""

    class Saves(Workflow):
        @step
        async def save(self, ctx: Context, ev: StartEvent) -> Job:
            if not saved:
                saved.append(again(ctx.to_dict()))
            return Job()

        @step
        async def end(self, ev: Job) -> StopEvent:
            return StopEvent(result="end")

    saved: list[dict] = []
    assert await Saves().run() == "end"
    tape = Tape()
    other = Saves(dispatcher=tape.dispatcher)
    assert await other.run(ctx=Context.from_dict(other, saved[0])) == "end"
    assert [record.step for record in tape.all(StepStarted)] == ["save", "end"]


# --- after the end ------------------------------------------------------------------------------------------


async def test_a_cancelled_run_can_go_on():
    """What a cancelled run had still to do is saved, and done after a restart."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    ctx = restored(other := Gate(is_open=True), handler.ctx)
    assert ctx.is_running
    assert await other.run(ctx=ctx) == [0, 1, 2]


async def test_a_run_that_timed_out_can_go_on():
    """A run that ran out of time is saved with its work, and has its time anew."""
    clock = ManualClock()
    gate = Gate(timeout=10, clock=clock)
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    clock.advance(10)
    with pytest.raises(WorkflowTimeoutError):
        await handler
    ctx = restored(other := Gate(timeout=10, clock=clock), handler.ctx)
    resumed = other.run(ctx=ctx)
    await until(lambda: other.seen)
    clock.advance(9)
    await turn()
    assert not resumed.done()
    saved = again(ctx.to_dict())
    clock.advance(1)
    with pytest.raises(WorkflowTimeoutError):
        await resumed
    third = Gate(is_open=True, timeout=10, clock=clock)
    assert await third.run(ctx=Context.from_dict(third, saved)) == [0, 1, 2]


async def test_a_failed_run_begins_anew():
    """What failed is not done again by itself: a further run begins at the start, with the state."""

    class Fails(Workflow):
        @step
        async def fail(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("n", await ctx.get("n", default=0) + 1)
            if await ctx.get("n") == 1:
                raise ValueError
            return StopEvent(result=await ctx.get("n"))

    handler = Fails().run()
    with pytest.raises(ValueError, match="Error in step"):
        await handler
    ctx = restored(other := Fails(), handler.ctx)
    assert not ctx.is_running
    assert await other.run(ctx=ctx) == 2


# --- data ---------------------------------------------------------------------------------------------------


async def test_saving_twice_gives_the_same():
    """A context that was restored, and has not run on, saves what it was made from; and data may serve several runs."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    await handler.ctx.set("a.b", [1])
    saved = again(handler.ctx.to_dict())
    assert Context.from_dict(Gate(), saved).to_dict() == saved
    kept = json.dumps(saved)
    for _ in range(2):
        other = Gate(is_open=True)
        assert await other.run(ctx=Context.from_dict(other, saved)) == [0, 1, 2]
    assert json.dumps(saved) == kept
    await handler.cancel_run()


async def test_the_state_of_a_restored_context_may_be_changed_before_it_runs_on():
    """A restored context can be read and written before its run goes on, and saved again with it."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    ctx = restored(other := Gate(is_open=True), handler.ctx)
    await ctx.set("given", 1)
    ctx = restored(other, ctx)
    assert await ctx.get("given") == 1
    assert await other.run(ctx=ctx) == [0, 1, 2]
    await handler.cancel_run()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "no version"),
        (None, "no version"),
        ("text", "no version"),
        ([], "no version"),
        ({"otflow_context": 99}, "version 99"),
        ({"otflow_context": "1"}, "version 1"),
        ({"state": {}, "is_running": True, "queues": {}, "broker_log": []}, "no version"),  # another library's
    ],
)
async def test_data_of_another_version_is_refused(data, says):
    """Data without the version that this release writes is refused, with what was found and what to do."""
    with pytest.raises(ContextSerdeError) as caught:
        Context.from_dict(Gate(), data)
    assert says in str(caught.value)
    assert "otflow_context" in str(caught.value)
    assert "start a new run" in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("state"),
        lambda data: data.update(state=3),
        lambda data: data.update(run="text"),
        lambda data: data.update(stream=[{"type": 3}]),
        lambda data: data["state"].update(state_data="text", state_module="x"),
        lambda data: data["state"].update(state_data=3),
        lambda data: data["state"]["state_data"]["_data"].update(x="{not json"),
    ],
)
async def test_damaged_data_is_refused(damage):
    """Data that is not as it was written is refused when it is read."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    damage(saved)
    with pytest.raises(ContextSerdeError):
        Context.from_dict(Gate(), saved)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: run.update(format=99), "format 99"),
        (lambda run: run.pop("events"), "lacks events of its own"),
        (lambda run: run.pop("seq"), "damaged"),
        (lambda run: run["queued"][0].update(step="gone"), "has work for gone"),
    ],
)
async def test_a_damaged_run_is_refused(damage, says):
    """A saved run that cannot go on is refused by run(), each time; the context is not taken for in use."""
    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    saved = again(handler.ctx.to_dict())
    await handler.cancel_run()
    damage(saved["run"])
    other = Gate(is_open=True, num_concurrent_runs=1)
    ctx = Context.from_dict(other, saved)
    for _ in range(2):
        with pytest.raises(ContextSerdeError) as caught:
            other.run(ctx=ctx)
        assert says in str(caught.value)
        assert other.is_done()
    # nor is the slot
    assert await other.run() == [0, 1, 2]


async def test_work_for_a_step_that_is_gone_is_named():
    """A workflow that lacks a step of the saved run is told which one, and what to do."""

    class Changed(Workflow):
        @step
        async def fan(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    gate = Gate()
    handler = gate.run()
    await until(lambda: len(gate.seen) == 2)
    ctx = restored(other := Changed(), handler.ctx)
    with pytest.raises(ContextSerdeError) as caught:
        other.run(ctx=ctx)
    assert "has work for work" in str(caught.value)
    assert "workflow 'Changed'" in str(caught.value)
    assert "Restore it with the workflow that it was saved from" in str(caught.value)
    await handler.cancel_run()


async def test_an_event_whose_class_is_gone_is_named():
    """An unread event whose class no longer exists is refused by run(), by its name."""

    class Writes(Workflow):
        @step
        async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Progress(part=1))
            await ctx.wait_for_event(Answer)
            return StopEvent()

    handler = Writes().run()
    await until(partial(waits, handler))
    saved = again(handler.ctx.to_dict())
    for name, says in (("Vanished", "cannot be found"), ("Totals", "is no event")):
        saved["stream"][0]["type"] = f"{Progress.__module__}:{name}"
        other = Writes()
        with pytest.raises(WorkflowRuntimeError, match=says) as caught:
            other.run(ctx=Context.from_dict(other, saved))
        assert name in str(caught.value)
        assert other.is_done()
    await handler.cancel_run()


# --- what cannot be saved -----------------------------------------------------------------------------------


async def test_a_state_that_cannot_be_saved_names_its_key():
    """A value that JSON cannot hold makes saving fail, and the error names its key and its class."""
    ctx = Context(Gate())
    await ctx.set("fine", 1)
    await ctx.set("handle", lambda: None)
    with pytest.raises(ValueError, match="key handle") as caught:
        ctx.to_dict()
    assert "function" in str(caught.value)
    assert "PickleSerializer" in str(caught.value)


async def test_a_memory_that_cannot_be_saved_is_left_out():
    """The key "memory" alone is left out with a warning."""
    ctx = Context(Gate())
    await ctx.set("memory", lambda: None)
    await ctx.set("n", 1)
    with pytest.warns(UserWarning, match="'memory' is left out"):
        saved = again(ctx.to_dict())
    ctx = Context.from_dict(Gate(), saved)
    assert await ctx.get("n") == 1
    assert await ctx.get("memory", default=None) is None


async def test_a_queued_event_that_cannot_be_saved_is_named():
    """A run with an event that JSON cannot hold is not saved by halves: the error names event, field and class."""

    class Holds(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Opaque:
            return Opaque(thing={"inner": [lambda: None]})

        @step
        async def second(self, ev: Opaque) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    handler = Holds().run()
    await turn()
    with pytest.raises(ValueError, match="cannot be serialised") as caught:
        handler.ctx.to_dict()
    assert "Opaque" in str(caught.value)
    assert "builtins.function of at thing.inner.0 of" in str(caught.value)
    await handler.cancel_run()


async def test_a_streamed_event_that_cannot_be_saved_is_named():
    """The same goes for an unread event of the stream, and for one that was put aside."""

    class Streams(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ev.streamed:
                ctx.write_event_to_stream(Opaque(thing=print))
            else:
                ctx.collect_events(Opaque(thing=print), [Opaque, Opaque])
            await ctx.wait_for_event(Answer)
            return StopEvent()

    for streamed in (True, False):
        handler = Streams().run(streamed=streamed)
        await until(partial(waits, handler))
        with pytest.raises(ValueError, match="cannot be serialised") as caught:
            handler.ctx.to_dict()
        assert "Opaque" in str(caught.value)
        assert "builtin_function_or_method" in str(caught.value)
        await handler.cancel_run()


async def test_pickle_holds_what_json_cannot():
    """With PickleSerializer the state may hold any picklable object, and comes back only by the same choice."""
    ctx = Context(Gate())
    await ctx.set("kind", Path)
    await ctx.set("plain", 1)
    saved = again(ctx.to_dict(PickleSerializer()))
    assert await Context.from_dict(Gate(), saved, PickleSerializer()).get("kind") is Path
    with pytest.raises(ContextSerdeError, match="only PickleSerializer reads"):
        Context.from_dict(Gate(), saved)


# --- another process ----------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, sys
from otflow import *

class Ask(InputRequiredEvent):
    text: str

class Answer(HumanResponseEvent):
    text: str

class Talk(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ask:
        await ctx.set("begun", await ctx.get("begun", default=0) + 1)
        return Ask(text="name?")

    @step
    async def end(self, ctx: Context, ev: Answer) -> StopEvent:
        return StopEvent(result=[ev.text, await ctx.get("begun")])

async def main():
    workflow = Talk()
    if len(sys.argv) == 1:
        handler = workflow.run()
        async for event in handler.stream_events():
            print(json.dumps(handler.ctx.to_dict()))
            break
    else:
        handler = workflow.run(ctx=Context.from_dict(workflow, json.loads(sys.argv[1])))
        handler.ctx.send_event(Answer(text="Ada"))
        print(json.dumps(await handler))

asyncio.run(main())
"""


async def test_another_process_goes_on(tmp_path):
    """A run that waits for a person is saved by one process and brought to its end by another."""
    program = tmp_path / "talk.py"
    program.write_text(PROGRAM)

    def run(*arguments: str) -> str:
        root = Path(__file__).parents[2]
        command = [sys.executable, "-W", "error", str(program), *arguments]
        return subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, stdout=-1, text=True, check=True).stdout

    saved = await asyncio.to_thread(run)
    assert json.loads(await asyncio.to_thread(run, saved)) == ["Ada", 1]


class First(Event):
    """What the step accepted when the run was saved."""


class Second(Event):
    """What it accepts since, beside that."""


def test_a_saved_event_that_its_step_no_longer_accepts_is_refused():
    """Work for a step whose signature has changed is refused before anything runs; step and event are named."""

    class Before(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> First:
            return First()

        @step
        async def work(self, ctx: Context, ev: First) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    class After(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> First | Second:
            return Second()

        @step
        async def work(self, ev: Second) -> StopEvent:
            return StopEvent()

        @step
        async def other(self, ev: First) -> StopEvent:
            return StopEvent()

    async def main() -> None:
        handler = Before().run()
        async with asyncio.timeout(10):
            while await handler.ctx.running_steps() != ["work"]:
                await asyncio.sleep(0)
        data = json.loads(json.dumps(handler.ctx.to_dict()))
        await handler.cancel_run()
        workflow = After()
        with pytest.raises(ContextSerdeError, match=r"step 'work' no longer accepts .*First"):
            workflow.run(ctx=Context.from_dict(workflow, data))

    asyncio.run(main())
