"""The stream of a run: what steps write, up to and with the event that ends it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from otflow import (
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowTimedOutEvent,
    WorkflowTimeoutError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.events import InternalDispatchEvent, StepState, UnhandledEvent, WorkflowIdleEvent
from otflow.testing import ManualClock
from tests.api.loops import turn


class Note(Event):
    number: int


class One(Event):
    pass


class Ask(InputRequiredEvent):
    text: str = ""


class Answer(HumanResponseEvent):
    text: str = ""


class Writes(Workflow):
    """Writes as many notes as it is told, with a turn of the loop after each."""

    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for number in range(ev.get("count", 3)):
            ctx.write_event_to_stream(Note(number=number))
            await asyncio.sleep(0)
        if ev.get("fail"):
            raise ValueError("bad")
        if ev.get("hang"):
            await asyncio.Event().wait()
        return StopEvent(result="done")


async def numbers(handler) -> list[object]:
    """Read the stream: the numbers of the notes, and the types of the others."""
    return [ev.number if isinstance(ev, Note) else type(ev) async for ev in handler.stream_events()]


async def test_the_stream_ends_with_the_stop_event():
    """The stream gives what steps wrote, in order, and the stop event last."""
    handler = Writes().run()
    assert await numbers(handler) == [0, 1, 2, StopEvent]
    assert await handler == "done"


async def test_the_stream_gives_the_objects_that_were_written():
    """What is read is the object that was written, and the last one is the stop event with its result."""
    note = Note(number=1)

    class Same(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(note)
            return StopEvent(result=5)

    first, last = [ev async for ev in Same().run().stream_events()]
    assert first is note
    assert last.result == 5


async def test_events_come_while_the_run_goes_on():
    """A reader sees an event before the run is over."""
    handler = Writes().run(hang=True)
    async for ev in handler.stream_events():
        if ev.number == 2:
            break
    assert not handler.done()
    await handler.cancel_run()


async def test_events_wait_for_their_reader():
    """Events that nobody reads are kept, also after the end of the run."""
    handler = Writes().run()
    await handler
    assert await numbers(handler) == [0, 1, 2, StopEvent]


async def test_a_pass_that_was_broken_off_can_be_continued():
    """A second loop goes on where the first one stopped, during the run and after it."""
    handler = Writes().run(count=4)
    async for ev in handler.stream_events():
        if ev.number == 1:
            break
    async for ev in handler.stream_events():
        assert ev.number == 2
        break
    await handler
    assert await numbers(handler) == [3, StopEvent]


async def test_a_second_full_pass_is_refused():
    """A stream that was read to its end is empty for good, and says so."""
    handler = Writes().run()
    await numbers(handler)
    for _ in range(2):
        with pytest.raises(WorkflowRuntimeError, match="All the streamed events have already been consumed"):
            await numbers(handler)


async def test_a_stream_ends_when_the_run_fails():
    """After a failure the stream ends with an event that carries the exception."""
    handler = Writes().run(fail=True)
    streamed = [ev async for ev in handler.stream_events()]
    assert [type(ev) for ev in streamed] == [Note, Note, Note, WorkflowFailedEvent]
    assert str(streamed[-1].exception) == "bad"
    with pytest.raises(ValueError, match="bad"):
        await handler


async def test_a_stream_ends_when_the_time_is_over():
    """After a timeout the stream ends with an event that says how long it was and what was active."""
    clock = ManualClock()
    handler = Writes(timeout=7, clock=clock).run(count=1, hang=True)
    await turn()
    clock.advance(7)
    streamed = [ev async for ev in handler.stream_events()]
    assert streamed == [Note(number=0), WorkflowTimedOutEvent(timeout=7, active_steps=["only"])]
    with pytest.raises(WorkflowTimeoutError):
        await handler


async def test_a_stream_ends_when_the_run_is_cancelled():
    """After a cancellation the stream ends with an event that says so, for a reader that waits."""
    handler = Writes().run(count=1, hang=True)
    reading = asyncio.ensure_future(numbers(handler))
    await turn()
    await handler.cancel_run()
    assert await reading == [0, WorkflowCancelledEvent]


async def test_a_stream_ends_when_the_handler_is_cancelled():
    """To cancel the future ends the stream as well."""
    handler = Writes().run(count=1, hang=True)
    reading = asyncio.ensure_future(numbers(handler))
    await turn()
    handler.cancel()
    assert await reading == [0, WorkflowCancelledEvent]


async def test_a_stream_ends_when_a_waiting_run_is_cancelled():
    """The stream of a run that never got a slot ends too."""
    workflow = Writes(num_concurrent_runs=1)
    first, second = workflow.run(hang=True), workflow.run()
    await second.cancel_run()
    assert await numbers(second) == [WorkflowCancelledEvent]
    await first.cancel_run()


async def test_a_custom_stop_event_ends_the_stream():
    """A stop event of a subclass is the last item."""

    class End(StopEvent):
        total: int

    class Custom(Workflow):
        @step
        async def only(self, ev: StartEvent) -> End:
            return End(total=1)

    assert [ev async for ev in Custom().run().stream_events()] == [End(total=1)]


async def test_nothing_follows_the_stop_event():
    """A task that outlives the run cannot write to its stream."""
    tasks: list[asyncio.Task[None]] = []

    class Leaves(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            async def later() -> None:
                await turn()
                ctx.write_event_to_stream(Note(number=9))

            tasks.append(asyncio.ensure_future(later()))
            return StopEvent()

    handler = Leaves().run()
    await handler
    await tasks[0]
    assert await numbers(handler) == [StopEvent]


async def test_two_readers_share_the_events():
    """Each event goes to one reader, and both come to an end."""
    handler = Writes().run(count=50)

    async def read() -> list[object]:
        return [ev async for ev in handler.stream_events()]

    one, two = await asyncio.gather(read(), read())
    assert len(one) + len(two) == 51
    assert {ev.number for ev in (*one, *two) if isinstance(ev, Note)} == set(range(50))


async def test_a_reader_that_is_cancelled_leaves_the_rest():
    """A task that is cancelled while it reads takes nothing along, and the run goes on."""
    handler = Writes().run(count=1, hang=True)
    reading = asyncio.ensure_future(numbers(handler))
    await turn()
    reading.cancel()
    await asyncio.wait([reading])
    assert not handler.done()
    await handler.cancel_run()
    assert await numbers(handler) == [WorkflowCancelledEvent]


async def test_none_is_not_written():
    """`write_event_to_stream(None)` does nothing."""

    class Nothing(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(None)
            return StopEvent()

    assert await numbers(Nothing().run()) == [StopEvent]


async def test_a_context_without_a_run_has_no_stream():
    """To write to the stream of a context that no run uses is an error that says what to do."""
    with pytest.raises(ContextStateError, match="no stream to write to"):
        Context(Writes()).write_event_to_stream(Note(number=1))


async def test_events_of_the_outside_can_be_written():
    """Whoever holds the handler may write to the stream of a run that goes on."""
    handler = Writes().run(count=1, hang=True)
    await turn()
    handler.ctx.write_event_to_stream(Note(number=5))
    await handler.cancel_run()
    assert await numbers(handler) == [0, 5, WorkflowCancelledEvent]


async def test_what_is_written_before_the_slot_is_kept():
    """What is written to the stream of a run that waits for its slot comes first when it begins."""
    workflow = Writes(num_concurrent_runs=1)
    first, second = workflow.run(), workflow.run(count=1)
    second.ctx.write_event_to_stream(Note(number=7))
    await asyncio.gather(first, second)
    assert await numbers(second) == [7, 0, StopEvent]


async def test_a_returned_question_is_streamed():
    """An InputRequiredEvent that a step returns is written to the stream, once; its answer comes by send_event."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask(text="?")

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    handler = Asks().run()
    streamed = []
    async for ev in handler.stream_events():
        streamed.append(ev)
        if isinstance(ev, Ask):
            handler.ctx.send_event(Answer(text="!"))
    assert streamed == [Ask(text="?"), StopEvent(result="!")]


async def test_a_returned_question_also_reaches_steps():
    """A step may accept the question too: it is streamed and routed."""

    class Auto(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask(text="?")

        @step
        async def auto(self, ev: Ask) -> Answer:
            return Answer(text="auto")

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    handler = Auto().run()
    assert [type(ev) async for ev in handler.stream_events()] == [Ask, StopEvent]
    assert await handler == "auto"


# --- internal events ----------------------------------------------------------------------------------------


class Pair(Workflow):
    @step
    async def first(self, ctx: Context, ev: StartEvent) -> One:
        ctx.write_event_to_stream(Note(number=1))
        return One()

    @step
    async def second(self, ev: One) -> StopEvent:
        return StopEvent()


def changes(events: list[Event]) -> list[object]:
    """Give what the events say: name and state of a step, or the type of another event."""
    return [
        (ev.name, ev.step_state.value, ev.input_event_name, ev.output_event_name)
        if isinstance(ev, StepStateChanged)
        else type(ev)
        for ev in events
    ]


async def test_internal_events_show_each_invocation():
    """`expose_internal=True` shows each invocation beginning and ending, with the events in and out."""
    streamed = [ev async for ev in Pair().run().stream_events(expose_internal=True)]
    assert changes(streamed) == [
        ("first", "running", "StartEvent", None),
        Note,
        ("first", "not_running", "StartEvent", "One"),
        ("second", "running", "One", None),
        ("second", "not_running", "One", "StopEvent"),
        StopEvent,
    ]


async def test_internal_events_are_not_shown_unasked():
    """Without expose_internal no internal event is shown, also when another reader asked for them."""
    handler = Pair().run()
    async for _ in handler.stream_events(expose_internal=True):
        break
    await handler
    rest = [ev async for ev in handler.stream_events()]
    assert not any(isinstance(ev, InternalDispatchEvent) for ev in rest)
    assert rest[-1] == StopEvent()


async def test_internal_events_show_who_waits_for_a_worker():
    """An invocation that finds no free worker is shown as preparing, and runs later."""

    class Queue(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            ctx.send_event(One())
            ctx.send_event(One())
            return None

        @step(num_workers=1)
        async def work(self, ctx: Context, ev: One) -> StopEvent | None:
            await turn()
            return None if ctx.collect_events(ev, [One, One]) is None else StopEvent()

    streamed = [ev async for ev in Queue().run().stream_events(expose_internal=True)]
    of_work = [
        (ev.step_state, ev.worker_id) for ev in streamed if isinstance(ev, StepStateChanged) and ev.name == "work"
    ]
    states = [state for state, _ in of_work]
    assert states == [
        StepState.RUNNING,
        StepState.PREPARING,
        StepState.NOT_RUNNING,
        StepState.RUNNING,
        StepState.NOT_RUNNING,
    ]
    workers = [worker for state, worker in of_work if state is not StepState.PREPARING]
    assert workers[0] == workers[1] != workers[2] == workers[3]


async def test_internal_events_show_that_nothing_goes_on():
    """A run that waits for the outside says so, and an event that nobody takes is named."""

    class Waits(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

        @step
        async def end(self, ev: Answer) -> StopEvent:
            return StopEvent()

    handler = Waits().run()
    seen: list[Event] = []
    async for ev in handler.stream_events(expose_internal=True):
        seen.append(ev)
        if isinstance(ev, WorkflowIdleEvent) and len(seen) < 4:
            handler.ctx.send_event(One())
        elif isinstance(ev, WorkflowIdleEvent):
            handler.ctx.send_event(Answer())
    lost = [ev for ev in seen if isinstance(ev, UnhandledEvent)]
    assert [(ev.event_type, ev.step_name, ev.idle) for ev in lost] == [("One", None, True)]
    assert lost[0].qualified_name.endswith("test_stream.One")
    assert [type(ev) for ev in seen].count(WorkflowIdleEvent) == 2


async def test_internal_events_begin_with_what_runs():
    """Who asks late for internal events is first shown what runs at that moment."""
    handler = Writes().run(count=1, hang=True)
    await turn()
    reading = handler.stream_events(expose_internal=True)
    assert changes([await anext(reading), await anext(reading)]) == [Note, ("only", "running", "StartEvent", None)]
    await reading.aclose()
    await handler.cancel_run()


async def test_a_failed_attempt_ends_its_invocation():
    """A step that raises is shown as no longer running, without an output."""
    handler = Writes().run(count=0, fail=True)
    streamed = [ev async for ev in handler.stream_events(expose_internal=True)]
    assert changes(streamed) == [
        ("only", "running", "StartEvent", None),
        ("only", "not_running", "StartEvent", None),
        WorkflowFailedEvent,
    ]
    assert handler.exception()


async def test_times_never_go_back_whichever_thread_writes():
    """What a step in a thread wrote before the loop went on has the time at which the loop took it."""
    written, tape = threading.Event(), []

    class Both(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            ctx.send_event(One())
            await asyncio.sleep(0)
            written.wait(30)  # the loop stands still meanwhile
            await ctx.store.set("after", 1)
            return None

        @step
        def work(self, ctx: Context, ev: One) -> StopEvent:
            ctx.write_event_to_stream(One())
            written.set()
            return StopEvent()

    dispatcher = Dispatcher()
    dispatcher.attach(tape.extend)
    await Both(dispatcher=dispatcher).run()
    kinds = [type(record).__name__ for record in tape]
    assert kinds.index("ContextWritten") < kinds.index("StreamWritten")
    times = [record.at for record in tape]
    assert times == sorted(times)
