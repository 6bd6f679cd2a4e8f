"""Plain `def` steps run in threads, where everything that a step may do works as in a coroutine."""

import asyncio
import threading
from contextvars import ContextVar

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from otflow import (
    Context,
    ContextStateError,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowTimeoutError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.records.record import ContextWritten, EventSent, StepStarted, StreamWritten
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import LIMIT, Tape

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


class Job(Event):
    n: int = 0


class Note(Event):
    n: int = 0


class AttemptSpans:
    """A scope that makes a span current for each attempt; its id is the number of the record that began it."""

    def enter(self, started: StepStarted) -> None:
        """Make the span current."""
        parent = trace.SpanContext(trace_id=1, span_id=started.seq, is_remote=False)
        otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))

    def origin(self) -> str:
        """Stand under nothing."""
        return ""


def spanned() -> tuple[Dispatcher, Tape]:
    """Make a dispatcher with such a scope, and its tape."""
    tape = Tape()
    tape.dispatcher.attach(lambda _: None, scope=AttemptSpans())
    return tape.dispatcher, tape


# --- where they run -----------------------------------------------------------------------------------------


async def test_a_plain_step_runs_in_a_thread():
    """A plain step blocks neither the loop nor the other workers of its step."""

    class Plain(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(2):
                ctx.send_event(Job(n=n))

        @step
        def meet(self, ctx: Context, ev: Job) -> StopEvent | None:
            barrier.wait(LIMIT)  # both have to be here at once
            return StopEvent(result=threading.get_ident()) if ev.n else None

    barrier = threading.Barrier(2)
    assert await Plain().run() != threading.get_ident()


async def test_a_plain_step_is_limited_like_any_other():
    """num_workers counts plain steps too."""

    class Plain(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(6):
                ctx.send_event(Job(n=n))

        @step(num_workers=2)
        def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            begun.append(ev.n)
            go_on.wait(LIMIT)
            return StopEvent() if ctx.collect_events(ev, [Job] * 6) else None

    begun, go_on = [], threading.Event()
    handler = Plain().run()
    await until(lambda: len(begun) == 2)
    await turn()
    assert begun == [0, 1]
    assert len(handler.ctx.run.driver.state.running) == 2
    go_on.set()
    await handler
    assert len(begun) == 6


async def test_context_variables_reach_the_thread_and_do_not_leak():
    """A plain step sees the variables of the caller of run(); what it sets is seen by no one else."""

    class Plain(Workflow):
        @step
        def first(self, ev: StartEvent) -> Job:
            seen.append(COLOUR.get())
            COLOUR.set("red")
            return Job()

        @step
        def second(self, ev: Job) -> StopEvent:
            seen.append(COLOUR.get())
            return StopEvent()

    seen: list[str] = []
    COLOUR.set("blue")
    handler = Plain().run()
    COLOUR.set("green")
    await handler
    assert seen == ["blue", "blue"]
    assert COLOUR.get() == "green"


async def test_the_span_of_the_attempt_is_current_in_the_thread():
    """The span that a sink's scope puts around an attempt is the active span in the thread of a plain step."""

    class Plain(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Job:
            spans.append(trace.get_current_span().get_span_context().span_id)
            return Job()

        @step
        def second(self, ev: Job) -> StopEvent:
            spans.append(trace.get_current_span().get_span_context().span_id)
            return StopEvent()

    spans: list[int] = []
    dispatcher, tape = spanned()
    await Plain(dispatcher=dispatcher).run()
    assert spans == [record.seq for record in tape.all(StepStarted)]
    assert not trace.get_current_span().get_span_context().is_valid


# --- what they may do ---------------------------------------------------------------------------------------


async def test_a_plain_step_sends_events():
    """send_event works in a thread: in order, in the name of the step, before what the step returns."""

    class Plain(Workflow):
        @step
        def first(self, ctx: Context, ev: StartEvent) -> Job:
            for n in range(50):
                ctx.send_event(Job(n=n))
            return Job(n=50)

        @step(num_workers=1)
        async def take(self, ev: Job) -> StopEvent | None:
            seen.append(ev.n)
            return StopEvent() if ev.n == 50 else None

    seen: list[int] = []
    tape, threads = Tape(), set()
    tape.dispatcher.attach(lambda _: threads.add(threading.get_ident()))
    await Plain(dispatcher=tape.dispatcher).run()
    assert seen == list(range(51))
    # whatever thread a step runs in: its records are made in the thread of the loop
    assert threads == {threading.get_ident()}
    assert {record.invocation for record in tape.all(EventSent)[:51]} == {tape.all(StepStarted)[0].invocation}


async def test_a_plain_step_writes_to_the_stream():
    """write_event_to_stream works in a thread: all is there, in order, before the stop event."""

    class Plain(Workflow):
        @step
        def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for n in range(50):
                ctx.write_event_to_stream(Note(n=n))
            return StopEvent()

    tape = Tape()
    handler = Plain(dispatcher=tape.dispatcher).run()
    events = [event async for event in handler.stream_events()]
    assert [event.n for event in events[:-1]] == list(range(50))
    assert isinstance(events[-1], StopEvent)
    assert {record.invocation for record in tape.all(StreamWritten)} == {tape.all(StepStarted)[0].invocation}
    await handler


async def test_plain_steps_collect():
    """collect_events answers in a thread too, each event counted once."""

    class Plain(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(12):
                ctx.send_event(Job(n=n))

        @step
        def take(self, ctx: Context, ev: Job) -> Note | None:
            found = ctx.collect_events(ev, [Job] * 3)
            return Note(n=sum(job.n for job in found)) if found else None

        @step
        def end(self, ctx: Context, ev: Note) -> StopEvent | None:
            found = ctx.collect_events(ev, [Note] * 4)
            return StopEvent(result=sum(note.n for note in found)) if found else None

    assert await Plain().run() == sum(range(12))


async def test_a_plain_step_writes_the_state_through_the_loop():
    """A plain step writes the state by handing the coroutine to the loop, in the name of the step."""

    class Plain(Workflow):
        @step
        def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
            asyncio.run_coroutine_threadsafe(ctx.store.set("n", 1), loop).result(LIMIT)
            return StopEvent(result=asyncio.run_coroutine_threadsafe(ctx.store.get("n"), loop).result(LIMIT))

    loop = asyncio.get_running_loop()
    tape = Tape()
    assert await Plain(dispatcher=tape.dispatcher).run() == 1
    assert [record.invocation for record in tape.all(ContextWritten)] == [tape.all(StepStarted)[0].invocation]


async def test_a_plain_step_waits_through_the_loop():
    """A plain step waits for an event by handing the coroutine to the loop."""

    class Plain(Workflow):
        @step
        def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            note = asyncio.run_coroutine_threadsafe(ctx.wait_for_event(Note), loop).result(LIMIT)
            return StopEvent(result=note.n)

    loop = asyncio.get_running_loop()
    handler = Plain().run()
    while not handler.ctx.run.driver.state.waits:
        await asyncio.sleep(0)
    handler.ctx.send_event(Note(n=4))
    assert await handler == 4


async def test_asyncio_run_in_a_plain_step():
    """A plain step may run a loop of its own, even another workflow in it."""

    class Inner(Workflow):
        @step
        async def inner(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("n", ev.n)
            return StopEvent(result=await ctx.get("n") + 1)

    class Outer(Workflow):
        @step
        def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            async def main() -> int:
                return await Inner().run(n=1)

            return StopEvent(result=asyncio.run(main()))

    assert await Outer().run() == 2


# --- how they end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "seen"), [(ValueError("no"), ValueError), (StopIteration(3), RuntimeError), (OSError(2, "no"), OSError)]
)
async def test_what_a_plain_step_raises(raised, seen):
    """What a thread raises is the error of the run, as it is for a coroutine."""

    class Plain(Workflow):
        @step
        def fail(self, ev: StartEvent) -> StopEvent:
            raise raised

    with pytest.raises(seen):
        await Plain().run()


async def test_a_cancelled_run_does_not_wait_for_its_threads():
    """A thread cannot be stopped: a cancelled run ends without it, and what the thread says later does not count."""

    class Plain(Workflow):
        @step
        def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            begun.set()
            go_on.wait(LIMIT)
            for say in (lambda: ctx.send_event(Job()), lambda: ctx.collect_events(ev, [Job, Job])):
                try:
                    answers.append(say())
                except ContextStateError as error:
                    answers.append(error)
            ctx.write_event_to_stream(Note())
            finished.set()
            return StopEvent()

    begun, go_on, finished = threading.Event(), threading.Event(), threading.Event()
    answers: list[object] = []
    tape = Tape()
    handler = Plain(dispatcher=tape.dispatcher).run()
    await asyncio.to_thread(begun.wait, LIMIT)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    known = len(tape.records)
    go_on.set()
    await asyncio.to_thread(finished.wait, LIMIT)
    await turn()
    assert len(tape.records) == known
    assert isinstance(answers[0], ContextStateError)
    assert answers[1] is None


async def test_a_timeout_ends_a_run_whose_step_stands_in_a_thread():
    """A workflow's timeout holds for plain steps too, and names them."""

    class Plain(Workflow):
        @step
        def work(self, ev: StartEvent) -> StopEvent:
            begun.set()
            go_on.wait(LIMIT)
            return StopEvent()

    begun, go_on = threading.Event(), threading.Event()
    handler = Plain(timeout=30, clock=(clock := ManualClock())).run()
    await asyncio.to_thread(begun.wait, LIMIT)
    clock.advance(30)
    with pytest.raises(WorkflowTimeoutError, match=r"after 30 seconds\. Currently active steps: work"):
        await handler
    go_on.set()


async def test_many_plain_steps_lose_nothing():
    """Threads of many invocations send, write and collect at once, and everything arrives once."""

    class Plain(Workflow):
        @step
        def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(100):
                ctx.send_event(Job(n=n))

        @step(num_workers=8)
        def work(self, ctx: Context, ev: Job) -> Note:
            ctx.write_event_to_stream(Note(n=ev.n))
            return Note(n=ev.n)

        @step(num_workers=8)
        def end(self, ctx: Context, ev: Note) -> StopEvent | None:
            found = ctx.collect_events(ev, [Note] * 100)
            return StopEvent(result=sorted(note.n for note in found)) if found else None

    tape, threads = Tape(), set()
    tape.dispatcher.attach(lambda _: threads.add(threading.get_ident()))
    handler = Plain(dispatcher=tape.dispatcher).run()
    written = [event.n async for event in handler.stream_events() if isinstance(event, Note)]
    assert sorted(written) == list(range(100))
    assert await handler == list(range(100))
    assert threads == {threading.get_ident()}
