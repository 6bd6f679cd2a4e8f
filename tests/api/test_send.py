"""send_event: to all steps that accept an event, or to one; from steps, from outside, from threads, at any time."""

import asyncio
import threading
from contextvars import copy_context

import pytest

from otflow import (
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    step,
)
from otflow.records.record import EventReceived, EventSent, StepStarted
from tests.api.loops import turn
from tests.api.tape import LIMIT, Tape


class Job(Event):
    n: int = 0


class Report(Event):
    n: int = 0


class Message(HumanResponseEvent):
    text: str = ""


class Pair(Workflow):
    """Two steps accept a job, `left` and `right`; the run ends when `count` invocations have come."""

    def __init__(self, count: int, send, **options) -> None:
        super().__init__(**options)
        self.count, self.send, self.seen = count, send, []

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Job | None:
        self.send(ctx)

    @step
    async def left(self, ev: Job) -> StopEvent | None:
        return self.take("left", ev)

    @step
    async def right(self, ev: Job) -> StopEvent | None:
        return self.take("right", ev)

    def take(self, name: str, ev: Job) -> StopEvent | None:
        self.seen.append((name, ev.n))
        return StopEvent(result=self.seen) if len(self.seen) == self.count else None


class Inbox(Workflow):
    """Takes messages from outside until one says "stop"."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.seen: list[str] = []

    @step
    async def begin(self, ev: StartEvent) -> None:
        pass

    @step(num_workers=1)
    async def take(self, ev: Message) -> StopEvent | None:
        self.seen.append(ev.text)
        return StopEvent(result=self.seen) if ev.text == "stop" else None


# --- to whom ------------------------------------------------------------------------------------------------


async def test_all_accepting_steps_get_an_event():
    """Without a name an event goes to every step that accepts its type, the same object to each."""
    got = []

    class Both(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job | None:
            ctx.send_event(job)

        @step
        async def left(self, ev: Job) -> StopEvent | None:
            got.append(ev)

        @step
        async def right(self, ev: Job) -> StopEvent | None:
            got.append(ev)
            return StopEvent()

    job = Job()
    await Both().run()
    assert got[0] is got[1] is job


async def test_a_step_can_be_named():
    """With a name only that step gets the event."""

    def send(ctx: Context) -> None:
        ctx.send_event(Job(n=1), step="right")
        ctx.send_event(Job(n=2), step="left")

    assert sorted(await Pair(2, send).run()) == [("left", 2), ("right", 1)]


async def test_a_wrong_name_is_refused_at_the_call():
    """A step that does not exist, or does not accept the event, is named by an error of the call itself."""

    def send(ctx: Context) -> None:
        with pytest.raises(WorkflowRuntimeError, match=r"Step middle does not exist.*are first, left, right"):
            ctx.send_event(Job(), step="middle")
        with pytest.raises(
            WorkflowRuntimeError, match=r"Step left does not accept event of type .*Report.*accepted by no step"
        ):
            ctx.send_event(Report(), step="left")
        ctx.send_event(Job(n=1), step="left")

    tape = Tape()
    workflow = Pair(1, send, dispatcher=tape.dispatcher)
    handler = workflow.run()
    with pytest.raises(WorkflowRuntimeError, match="Step middle does not exist"):
        handler.ctx.send_event(Job(), step="middle")
    with pytest.raises(WorkflowRuntimeError, match=r"Step first does not accept.*accepted by left, right"):
        await handler.send_event(Job(), step="first")
    assert await handler == [("left", 1)]
    assert tape.all(EventSent)[0].target == "left"
    # nothing of what was refused is recorded: the start event is all that came from outside
    assert len(tape.all(EventReceived)) == 1


async def test_what_is_no_event_is_refused():
    """Something else than an event is refused by the call, with what it was and what to do."""
    seen = []

    def send(ctx: Context) -> None:
        for wrong in ("text", {"n": 1}, Job):
            with pytest.raises(WorkflowRuntimeError, match="takes an Event instance") as caught:
                ctx.send_event(wrong)
            seen.append(str(caught.value))
        with pytest.raises(WorkflowRuntimeError, match=r"write_event_to_stream.*takes an Event instance, not str"):
            ctx.write_event_to_stream("text")
        ctx.send_event(Job(), step="left")

    await Pair(1, send).run()
    assert "not str: 'text'" in seen[0]
    assert "not dict" in seen[1]
    assert "Make a subclass of Event" in seen[0]


# --- from where ---------------------------------------------------------------------------------------------


async def test_a_step_sends_and_goes_on():
    """Events are sent when the call is made: in order, each with its step as the sender, before what it returns."""

    class Sends(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job:
            ctx.send_event(Job(n=1))
            await asyncio.sleep(0)
            ctx.send_event(Job(n=2))
            return Job(n=3)

        @step(num_workers=1)
        async def take(self, ev: Job) -> StopEvent | None:
            seen.append(ev.n)
            return StopEvent() if ev.n == 3 else None

    seen: list[int] = []
    tape = Tape()
    await Sends(dispatcher=tape.dispatcher).run()
    assert seen == [1, 2, 3]
    sent = tape.all(EventSent)[:3]
    assert [(record.invocation, record.returned) for record in sent] == [
        (tape.all(StepStarted)[0].invocation, returned) for returned in (False, False, True)
    ]


async def test_a_sent_stop_event_ends_the_run():
    """A stop event may be sent as well as returned; what its step does afterwards does not count."""

    class Sends(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(StopEvent(result="sent"))
            return StopEvent(result="returned")

        @step
        async def never(self, ctx: Context, ev: Message) -> StopEvent:
            return StopEvent()

    assert await Sends().run() == "sent"


async def test_from_outside():
    """While a run goes on its context and its handler send events into it, in the order of the calls."""
    tape = Tape()
    handler = Inbox(dispatcher=tape.dispatcher).run()
    handler.ctx.send_event(Message(text="at once"))
    await turn()
    handler.ctx.send_event(Message(text="later"))
    await handler.send_event(Message(text="by handler"))
    handler.ctx.send_event(Message(text="stop"))
    assert await handler == ["at once", "later", "by handler", "stop"]
    assert len(tape.all(EventReceived)) == 5


async def test_a_stop_event_from_outside_ends_the_run():
    """The outside may end a run with a result."""
    handler = Inbox().run()
    handler.ctx.send_event(StopEvent(result="enough"))
    assert await handler == "enough"


async def test_from_another_run():
    """A step that sends into another run is the outside of that run."""

    class Talks(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            inbox = Inbox(dispatcher=tape.dispatcher).run()
            inbox.ctx.send_event(Message(text="stop"))
            return StopEvent(result=await inbox)

    tape = Tape()
    assert await Talks().run() == ["stop"]
    assert len(tape.all(EventReceived)) == 2


async def test_from_child_tasks():
    """A task that a step starts sends in the name of the step."""

    class Tasks(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job | None:
            async def send(n: int) -> None:
                await asyncio.sleep(0)
                ctx.send_event(Job(n=n))

            await asyncio.gather(*[send(n) for n in range(5)])

        @step
        async def take(self, ctx: Context, ev: Job) -> StopEvent | None:
            found = ctx.collect_events(ev, [Job] * 5)
            return StopEvent(result=sorted(job.n for job in found)) if found else None

    tape = Tape()
    assert await Tasks(dispatcher=tape.dispatcher).run() == [0, 1, 2, 3, 4]
    first = tape.all(StepStarted)[0].invocation
    assert [record.invocation for record in tape.all(EventSent)[:5]] == [first] * 5


async def test_from_a_thread_of_nobody():
    """A thread without any context of a step is the outside; its events come in its order."""

    def talk() -> None:
        for text in (*"abc", "stop"):
            handler.ctx.send_event(Message(text=text))

    tape = Tape()
    handler = Inbox(dispatcher=tape.dispatcher).run()
    thread = threading.Thread(target=talk)
    thread.start()
    assert await handler == ["a", "b", "c", "stop"]
    thread.join()
    assert not any(record.invocation for record in tape.all(EventSent) if record.type.endswith("Message"))


async def test_from_a_thread_of_a_step():
    """A thread that carries the context variables of a step sends in the name of the step."""

    class Threads(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job | None:
            await asyncio.to_thread(lambda: [ctx.send_event(Job(n=n)) for n in range(3)])

        @step(num_workers=1)
        async def take(self, ev: Job) -> StopEvent | None:
            seen.append(ev.n)
            return StopEvent(result=seen) if ev.n == 2 else None

    seen: list[int] = []
    tape = Tape()
    assert await Threads(dispatcher=tape.dispatcher).run() == [0, 1, 2]
    assert {record.invocation for record in tape.all(EventSent)[:3]} == {tape.all(StepStarted)[0].invocation}


# --- when ---------------------------------------------------------------------------------------------------


async def test_from_a_task_that_outlived_its_step():
    """A task that goes on after its step has returned still reaches the run, as the outside does."""

    class Leaves(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> Report:
            async def later() -> None:
                await standing.wait()
                ctx.send_event(Job(n=7))

            tasks.append(asyncio.create_task(later()))
            return Report()

        @step
        async def stand(self, ctx: Context, ev: Report) -> Job | None:
            standing.set()
            await done.wait()

        @step
        async def take(self, ev: Job) -> StopEvent:
            done.set()
            return StopEvent(result=ev.n)

    standing, done, tasks = asyncio.Event(), asyncio.Event(), []
    tape = Tape()
    assert await Leaves(dispatcher=tape.dispatcher).run() == 7
    await tasks[0]
    assert len(tape.all(EventReceived)) == 2


async def test_before_the_run_has_its_slot():
    """What is sent to a run that still waits for a slot is there when it begins, behind its start event."""
    tape = Tape()
    workflow = Inbox(num_concurrent_runs=1, dispatcher=tape.dispatcher)
    first, second = workflow.run(), workflow.run()
    second.ctx.send_event(Message(text="early"))
    second.ctx.write_event_to_stream(Report(n=1))
    await second.ctx.set("early", 1)
    await turn()
    assert workflow.seen == []
    first.ctx.send_event(Message(text="stop"))
    await first
    second.ctx.send_event(Message(text="stop"))
    await second
    assert workflow.seen == ["stop", "early", "stop"]
    mine = [type(record).__name__ for record in tape.records if record.run == second.run_id]
    assert mine[:2] == ["RunStarted", "EventReceived"]
    assert {"StreamWritten", "ContextWritten"} <= set(mine)
    assert [record.seq for record in tape.records if record.run == second.run_id] == list(range(1, len(mine) + 1))


async def test_a_run_that_never_gets_its_slot_forgets_what_was_sent():
    """A run that is cancelled while it waits for a slot begins nothing, and takes nothing from others."""
    workflow = Inbox(num_concurrent_runs=1)
    first, second = workflow.run(), workflow.run()
    second.ctx.send_event(Message(text="lost"))
    await second.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await second
    first.ctx.send_event(Message(text="stop"))
    assert await first == ["stop"]
    third = workflow.run()
    third.ctx.send_event(Message(text="stop"))
    await third


async def test_after_the_end():
    """When no run uses the context any more, a call is told that nobody takes the event, and how to make it right."""
    handler = Inbox().run()
    handler.ctx.send_event(Message(text="stop"))
    await handler
    with pytest.raises(ContextStateError) as caught:
        handler.ctx.send_event(Message(text="late"))
    assert "Nobody can take this Message" in str(caught.value)
    assert "workflow 'Inbox'" in str(caught.value)
    assert "Call workflow.run(ctx=...) first" in str(caught.value)
    with pytest.raises(ContextStateError, match="Nobody can take this Message"):
        Context(Inbox()).send_event(Message())


async def test_before_any_run_there_is_no_stream():
    """A context that no run ever used has no stream to write to, and says so."""
    ctx = Context(Inbox())
    with pytest.raises(ContextStateError, match="no stream to write to") as caught:
        ctx.write_event_to_stream(Report())
    assert "workflow.run(ctx=...)" in str(caught.value)
    ctx.write_event_to_stream(None)


async def test_a_thread_that_sends_after_the_end_harms_nobody():
    """What a thread of a step says when its run has ended leads to no record, and to no noise in the loop."""

    class Slow(Workflow):
        @step
        def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            begun.set()
            go_on.wait(LIMIT)
            try:
                ctx.send_event(Job())
            except ContextStateError as error:
                errors.append(error)
            ctx.write_event_to_stream(Job())
            finished.set()
            return StopEvent()

    begun, go_on, finished, errors = threading.Event(), threading.Event(), threading.Event(), []
    tape = Tape()
    handler = Slow(dispatcher=tape.dispatcher).run()
    await asyncio.to_thread(begun.wait, LIMIT)
    await handler.cancel_run()
    known = list(tape.records)
    go_on.set()
    await asyncio.to_thread(finished.wait, LIMIT)
    await turn()
    assert tape.records == known
    assert len(errors) == 1


async def test_a_context_copied_into_a_thread_keeps_its_step():
    """A plain thread that was started with the context variables of a step sends in the name of the step."""

    class Threads(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Job | None:
            thread = threading.Thread(target=copy_context().run, args=(ctx.send_event, Job(n=1)))
            thread.start()
            await asyncio.to_thread(thread.join)

        @step
        async def take(self, ev: Job) -> StopEvent:
            return StopEvent(result=ev.n)

    tape = Tape()
    assert await Threads(dispatcher=tape.dispatcher).run() == 1
    assert tape.all(EventSent)[0].invocation == tape.all(StepStarted)[0].invocation
