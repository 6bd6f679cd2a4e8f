"""`wait_for_event` lets a step stand still in its body until an event comes, and loses none of those that do."""

import asyncio

import pytest

from otflow import (
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowTimeoutError,
    WorkflowValidationError,
    step,
)
from otflow.records.record import StepStarted, StreamWritten, WaitEnded, WaitStarted
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import Tape


class Ask(InputRequiredEvent):
    text: str = ""


class Answer(HumanResponseEvent):
    text: str = ""
    user: str = ""


class Note(Event):
    n: int = 0


class Asker(Workflow):
    """A workflow of one step, which `body` is."""

    def __init__(self, body, **options) -> None:
        super().__init__(**options)
        self.body = body

    @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(2)))
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.body(ctx))


def waits(handler) -> int:
    """Count the open waits of a run."""
    return len(handler.ctx.run.driver.state.waits)


# --- the body runs once -------------------------------------------------------------------------------------


async def test_the_body_goes_on_where_it_stands():
    """A step that waits is not run again when its event comes: it goes on, with the very object that was sent."""

    async def body(ctx):
        bodies.append("top")
        answer = await ctx.wait_for_event(Answer)
        bodies.append("on")
        return answer

    bodies: list[str] = []
    tape = Tape()
    handler = Asker(body, dispatcher=tape.dispatcher).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(answer := Answer(text="yes"))
    assert await handler is answer
    assert bodies == ["top", "on"]
    assert len(tape.all(StepStarted)) == 1


async def test_an_event_of_a_step_answers_too():
    """What another step returns or sends ends a wait, and still goes to the steps that accept it."""

    class Two(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            ctx.send_event(Ask())
            heard = [await ctx.wait_for_event(Note), await ctx.wait_for_event(Note)]
            return StopEvent(result=([note.n for note in heard], accepted))

        @step
        async def answer(self, ctx: Context, ev: Ask) -> Note:
            await turn()
            ctx.send_event(Note(n=1))
            await turn()
            return Note(n=2)

        @step
        async def accept(self, ev: Note) -> None:
            accepted.append(ev.n)

    accepted: list[int] = []
    assert await Two().run() == ([1, 2], [1, 2])


# --- which event --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requirements", "wrong", "right"),
    [
        ({"user": "ada"}, {"user": "bob"}, {"user": "ada"}),  # a declared field
        ({"mood": "good"}, {"mood": "bad"}, {"mood": "good", "text": "x"}),  # an undeclared one
        ({"mood": "good"}, {}, {"mood": "good"}),
        ({"user": "ada", "mood": "good"}, {"user": "ada"}, {"user": "ada", "mood": "good"}),
        ({"text": ""}, {"text": "x"}, {}),  # a default counts as a value
        ({"list": [1, {"a": 2}]}, {"list": [1]}, {"list": [1, {"a": 2}]}),
    ],
)
async def test_requirements_on_declared_and_undeclared_fields(requirements, wrong, right):
    """Only an event with all the required values ends the wait, whether its class declares the fields or not."""

    async def body(ctx):
        return await ctx.wait_for_event(Answer, requirements=requirements)

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(Answer(**wrong))
    await turn(3)
    assert waits(handler) == 1
    handler.ctx.send_event(answer := Answer(**right))
    assert await handler is answer


async def test_an_event_that_does_not_match_does_not_end_the_wait():
    """An event that one wait passes over is there for the next wait, in the order of arrival."""

    async def body(ctx):
        ada = await ctx.wait_for_event(Answer, requirements={"user": "ada"})
        others = [await ctx.wait_for_event(Answer) for _ in range(2)]
        return [answer.text for answer in (ada, *others)]

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    for user, text in (("bob", "1"), ("cleo", "2"), ("ada", "3")):
        handler.ctx.send_event(Answer(user=user, text=text))
    assert await handler == ["3", "1", "2"]


async def test_the_type_has_to_match_exactly():
    """An event of a subclass does not end a wait for its base."""

    class Other(Answer):
        pass

    async def body(ctx):
        return await ctx.wait_for_event(Answer)

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(Other(text="sub"))
    await turn()
    assert not handler.done()
    handler.ctx.send_event(Answer(text="base"))
    assert (await handler).text == "base"


async def test_one_event_answers_several_waits():
    """Every open wait that an event satisfies ends with it, in whatever steps they stand."""

    class Many(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Note | None:
            for n in range(3):
                ctx.send_event(Note(n=n))

        @step
        async def wait(self, ctx: Context, ev: Note) -> StopEvent | None:
            wanted = {"user": "ada"} if ev.n == 2 else {}
            heard.append((ev.n, await ctx.wait_for_event(Answer, requirements=wanted)))
            return StopEvent() if len(heard) == 3 else None

    heard: list[tuple[int, Answer]] = []
    handler = Many().run()
    await until(lambda: waits(handler) == 3)
    handler.ctx.send_event(first := Answer(user="bob"))
    await turn()
    assert sorted(heard) == [(0, first), (1, first)]
    handler.ctx.send_event(second := Answer(user="ada"))
    await handler
    assert heard[2] == (2, second)


# --- when it comes ------------------------------------------------------------------------------------------


async def test_an_answer_between_two_waits_is_kept():
    """An event that comes while a step does something else between two waits is not lost."""

    async def body(ctx):
        first = await ctx.wait_for_event(Answer)
        between.set()
        await go_on.wait()
        return [first.text, (await ctx.wait_for_event(Answer)).text]

    between, go_on = asyncio.Event(), asyncio.Event()
    handler = Asker(body).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(Answer(text="1"))
    await between.wait()
    handler.ctx.send_event(Answer(text="2"))
    go_on.set()
    assert await handler == ["1", "2"]


async def test_answers_that_come_at_once_go_to_one_wait_after_the_other():
    """Several events sent in a row, before the step goes on, are the answers of as many waits."""

    async def body(ctx):
        return [(await ctx.wait_for_event(Answer)).text for _ in range(4)]

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    for text in "abcd":
        handler.ctx.send_event(Answer(text=text))
    assert await handler == list("abcd")


async def test_a_loop_asks_again_under_the_same_name():
    """Each turn of a loop that waits under one name is a wait of its own, with a question of its own."""

    async def body(ctx):
        heard = []
        while len(heard) < 3:
            answer = await ctx.wait_for_event(Answer, waiter_id="loop", waiter_event=Ask(text=f"{len(heard)}?"))
            heard.append(answer.text)
        return heard

    handler = Asker(body).run()
    asked = []
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            asked.append(event.text)
            handler.ctx.send_event(Answer(text=event.text[0]))
    assert await handler == ["0", "1", "2"]
    assert asked == ["0?", "1?", "2?"]


async def test_an_event_before_any_wait_for_its_type_is_not_seen():
    """What comes before the first wait for its type is gone; the wait ends with what comes after it."""

    async def body(ctx):
        await go_on.wait()
        return await ctx.wait_for_event(Answer)

    go_on = asyncio.Event()
    handler = Asker(body).run()
    await turn()
    handler.ctx.send_event(Answer(text="early"))
    go_on.set()
    await until(lambda: waits(handler))
    handler.ctx.send_event(Answer(text="late"))
    assert (await handler).text == "late"


# --- several waits in one step ------------------------------------------------------------------------------


async def test_gathered_waits_of_one_step():
    """A step may wait for several things at once; each wait ends with its own event."""

    async def body(ctx):
        answer, note = await asyncio.gather(ctx.wait_for_event(Answer), ctx.wait_for_event(Note))
        return answer.text, note.n

    handler = Asker(body).run()
    await until(lambda: waits(handler) == 2)
    handler.ctx.send_event(Note(n=1))
    await turn()
    assert not handler.done()
    handler.ctx.send_event(Answer(text="yes"))
    assert await handler == ("yes", 1)


async def test_gathered_waits_for_one_type():
    """Two waits of one step for the same type both end with the first event that satisfies them."""

    async def body(ctx):
        pair = await asyncio.gather(
            ctx.wait_for_event(Answer, waiter_id="a", waiter_event=Ask(text="a?")),
            ctx.wait_for_event(Answer, waiter_id="b", waiter_event=Ask(text="b?")),
        )
        return [answer.text for answer in pair]

    tape = Tape()
    handler = Asker(body, dispatcher=tape.dispatcher).run()
    await until(lambda: waits(handler) == 2)
    handler.ctx.send_event(Answer(text="both"))
    assert await handler == ["both", "both"]
    assert len(tape.all(StreamWritten)) == 2
    assert len(tape.all(WaitEnded)) == 2


async def test_the_first_of_two_waits_may_call_the_other_off():
    """A wait that its step no longer wants is called off, and takes no event that another wait could have."""

    async def body(ctx):
        tasks = [asyncio.create_task(ctx.wait_for_event(kind)) for kind in (Answer, Note)]
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.wait(rest)
        return next(iter(done)).result().n, (await ctx.wait_for_event(Answer)).text

    handler = Asker(body).run()
    await until(lambda: waits(handler) == 2)
    handler.ctx.send_event(Note(n=1))
    await turn()
    assert waits(handler) == 1
    handler.ctx.send_event(Answer(text="later"))
    assert await handler == (1, "later")


# --- timeouts -----------------------------------------------------------------------------------------------


async def test_the_default_timeout_is_2000_seconds():
    """A wait that is told nothing else gives up after 2000 seconds, whatever the workflow's own timeout."""

    async def body(ctx):
        with pytest.raises(TimeoutError, match=r"'ask' waited 2000\.0 seconds for Answer, and nobody sent one"):
            await ctx.wait_for_event(Answer)
        return "gave up"

    handler = Asker(body, timeout=None, clock=(clock := ManualClock())).run()
    await until(lambda: waits(handler))
    clock.advance(1999.9)
    await turn()
    assert waits(handler) == 1
    clock.advance(0.1)
    assert await handler == "gave up"


@pytest.mark.parametrize("seconds", [0, 0.5, 5])
async def test_an_explicit_timeout(seconds):
    """A wait gives up after the time that it is given, and the error names step, time and event."""

    async def body(ctx):
        with pytest.raises(asyncio.TimeoutError, match=f"'ask' waited {seconds} seconds for Answer"):
            await ctx.wait_for_event(Answer, timeout=seconds)
        return "gave up"

    handler = Asker(body, clock=(clock := ManualClock())).run()
    await until(lambda: waits(handler))
    clock.advance(seconds)
    assert await handler == "gave up"


async def test_a_wait_without_a_timeout():
    """With timeout=None a wait has no end of its own; the workflow's timeout still ends the run, and says why."""

    async def body(ctx):
        await ctx.wait_for_event(Answer, timeout=None)

    handler = Asker(body, timeout=10_000, clock=(clock := ManualClock())).run()
    await until(lambda: waits(handler))
    clock.advance(9_999)
    await turn()
    assert waits(handler) == 1
    clock.advance(1)
    with pytest.raises(WorkflowTimeoutError, match="step 'ask' waited for Answer"):
        await handler


async def test_a_timeout_leaves_the_wait_to_the_next_turn():
    """A step may wait again after a timeout, under the same name."""

    async def body(ctx):
        for patience in range(3):
            try:
                return patience, await ctx.wait_for_event(Answer, waiter_id="w", waiter_event=Ask(), timeout=5)
            except TimeoutError:
                pass
        return None

    handler = Asker(body, clock=(clock := ManualClock())).run()
    for _ in range(2):
        await until(lambda: waits(handler))
        clock.advance(5)
        await turn()
    handler.ctx.send_event(answer := Answer())
    assert await handler == (2, answer)


async def test_asyncio_timeout_around_a_wait():
    """`asyncio.timeout` around a wait works as around any await; the wait is over then, and the step goes on."""

    async def body(ctx):
        try:
            async with asyncio.timeout(0):
                await ctx.wait_for_event(Answer)
        except TimeoutError:
            pass
        asked.set()
        return await ctx.wait_for_event(Answer)

    asked = asyncio.Event()
    tape = Tape()
    handler = Asker(body, dispatcher=tape.dispatcher).run()
    await asked.wait()
    await until(lambda: waits(handler))
    handler.ctx.send_event(answer := Answer())
    assert await handler is answer
    first, second = tape.all(WaitEnded)
    assert (first.event, second.event > 0) == (0, True)


async def test_a_timeout_outside_the_step_may_fail_it():
    """A TimeoutError that the step does not catch fails the step; the run's error is a TimeoutError too."""

    async def body(ctx):
        await ctx.wait_for_event(Answer, timeout=1)

    handler = Asker(body, clock=(clock := ManualClock())).run()
    await until(lambda: waits(handler))
    clock.advance(1)
    await until(lambda: handler.ctx.run.driver.state.delayed)  # the policy allows a second attempt
    clock.advance(0)
    await until(lambda: waits(handler))
    clock.advance(1)
    with pytest.raises(TimeoutError, match="waited 1 seconds"):
        await handler


# --- questions ----------------------------------------------------------------------------------------------


async def test_the_question_is_streamed_once():
    """The waiter event is written to the stream when the wait begins, and once only for one wait."""

    async def body(ctx):
        return await ctx.wait_for_event(Answer, waiter_event=Ask(text="?"), waiter_id="q")

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    await turn()
    handler.ctx.send_event(Answer())
    assert [type(event).__name__ async for event in handler.stream_events()] == ["Ask", "StopEvent"]
    await handler


async def test_one_question_for_a_name_that_several_steps_wait_under():
    """Invocations that wait under one name at the same time ask the outside one question."""

    class Many(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Note | None:
            for n in range(3):
                ctx.send_event(Note(n=n))

        @step
        async def wait(self, ctx: Context, ev: Note) -> StopEvent | None:
            heard.append(await ctx.wait_for_event(Answer, waiter_event=Ask(), waiter_id="same"))
            return StopEvent() if len(heard) == 3 else None

    heard: list[Answer] = []
    handler = Many().run()
    await until(lambda: waits(handler) == 3)
    handler.ctx.send_event(Answer())
    await handler
    assert [type(event).__name__ async for event in handler.stream_events()] == ["Ask", "StopEvent"]


async def test_an_answer_that_is_there_already_needs_no_question():
    """A wait that ends at once, with an answer that came before, asks nobody."""

    async def body(ctx):
        await ctx.wait_for_event(Answer, waiter_event=Ask(text="first"))
        await go_on.wait()
        await ctx.wait_for_event(Answer, waiter_event=Ask(text="second"))

    go_on = asyncio.Event()
    handler = Asker(body).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(Answer())
    handler.ctx.send_event(Answer())
    go_on.set()
    await handler
    assert [event.text async for event in handler.stream_events() if isinstance(event, Ask)] == ["first"]


# --- retries ------------------------------------------------------------------------------------------------


async def test_a_retry_after_an_answer_does_not_ask_again():
    """An attempt that fails after its answer came is followed by one that gets the same answer at once."""

    async def body(ctx):
        heard.append(await ctx.wait_for_event(Answer, waiter_event=Ask(), waiter_id="q"))
        if ctx.attempt == 1:
            raise OSError
        heard.append(await ctx.wait_for_event(Answer, waiter_event=Ask(), waiter_id="q"))

    heard: list[Answer] = []
    tape = Tape()
    handler = Asker(body, dispatcher=tape.dispatcher).run()
    await until(lambda: waits(handler))
    handler.ctx.send_event(first := Answer(text="1"))
    await until(lambda: len(heard) == 2 and waits(handler))
    handler.ctx.send_event(second := Answer(text="2"))
    await handler
    assert heard == [first, first, second]
    assert len(tape.all(WaitStarted)) == 2
    assert len(tape.all(StreamWritten)) == 2


async def test_a_retry_waits_again_after_a_timeout():
    """A wait that ran out is no answer: the next attempt waits anew."""

    async def body(ctx):
        return await ctx.wait_for_event(Answer, timeout=5)

    tape = Tape()
    handler = Asker(body, clock=(clock := ManualClock()), dispatcher=tape.dispatcher).run()
    await until(lambda: waits(handler))
    clock.advance(5)
    await until(lambda: handler.ctx.run.driver.state.delayed)
    clock.advance(0)
    await until(lambda: waits(handler))
    handler.ctx.send_event(answer := Answer())
    assert await handler is answer
    assert len(tape.all(WaitStarted)) == 2


# --- outside a step -----------------------------------------------------------------------------------------


async def test_an_idle_context_waits_for_its_caller():
    """Outside a run a context waits too: for what is sent to it, by the same rules."""
    ctx = Context(Asker(None))
    first = asyncio.create_task(ctx.wait_for_event(Answer, requirements={"user": "ada"}))
    second = asyncio.create_task(ctx.wait_for_event(Answer))
    await turn()
    ctx.send_event(bob := Answer(user="bob"))
    assert await second is bob
    assert not first.done()
    ctx.send_event(ada := Answer(user="ada"))
    assert await first is ada
    with pytest.raises(TimeoutError):
        await ctx.wait_for_event(Answer, timeout=0)
    with pytest.raises(ContextStateError, match="Nobody can take this Answer"):
        ctx.send_event(Answer())


async def test_waiting_on_a_running_context_from_outside_is_refused():
    """Whoever is no step of the run is told at once how to hear of its events, and does not hang."""

    async def body(ctx):
        await ctx.wait_for_event(Answer)

    handler = Asker(body).run()
    await until(lambda: waits(handler))
    with pytest.raises(ContextStateError, match=r"wait_for_event\(\).*only inside a step.*stream_events") as caught:
        await handler.ctx.wait_for_event(Answer)
    assert handler.run_id in str(caught.value)
    handler.ctx.send_event(Answer())
    await handler


async def test_a_step_that_goes_on_after_its_run_cannot_wait():
    """A step that does not heed its cancellation is told that there is nothing to wait for, and does not hang."""

    class Ends(Workflow):
        @step
        async def stubborn(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                with pytest.raises(ContextStateError, match="has ended") as caught:
                    await ctx.wait_for_event(Answer)
                errors.append(caught.value)
            return StopEvent()

    errors: list[ContextStateError] = []
    handler = Ends().run()
    await turn()
    await handler.cancel_run()
    assert len(errors) == 1


async def test_a_cancelled_run_ends_its_waits():
    """When the run ends, a step that waits gets a CancelledError, as at any other await."""

    async def body(ctx):
        try:
            await ctx.wait_for_event(Answer)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    seen: list[str] = []
    handler = Asker(body).run()
    await until(lambda: waits(handler))
    await handler.cancel_run()
    assert seen == ["cancelled"]


async def test_a_task_that_still_waits_when_the_run_ends():
    """A wait in a task that its step has left alone is cancelled with the run, and not left hanging."""

    async def body(ctx):
        tasks.append(asyncio.create_task(ctx.wait_for_event(Answer)))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task] = []
    await Asker(body).run()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()


async def test_wrong_arguments_of_a_wait_are_named():
    """What is no class of events, and a negative time, are refused with what would be right."""
    ctx = Context(Asker(None))
    with pytest.raises(WorkflowValidationError, match=r"a class of events, not for Answer\(") as caught:
        await ctx.wait_for_event(Answer())
    assert "ctx.wait_for_event(HumanResponseEvent)" in str(caught.value)
    with pytest.raises(WorkflowValidationError, match=r"wait_for_event\(Answer\) was given timeout=-1") as caught:
        await ctx.wait_for_event(Answer, timeout=-1)
    assert "at least 0, or None" in str(caught.value)
