"""A run that can make no more progress fails at once and says why; one that waits for something real does not."""

import asyncio
import threading

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    step,
)
from otflow.records.record import RunFailed
from otflow.retry_policy import retry_policy, wait_fixed
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import LIMIT, Tape


class A(Event):
    n: int = 0


class B(Event):
    n: int = 0


class SmallA(A):
    pass


class Stray(Event):
    pass


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    text: str = ""


async def stalled(workflow: Workflow) -> str:
    """Run a workflow to the stall that it comes to, without any clock; return the reason."""
    tape = Tape()
    workflow._dispatcher, workflow._clock = tape.dispatcher, ManualClock()
    handler = workflow.run()
    with pytest.raises(WorkflowStalledError) as caught:
        await handler
    text = str(caught.value)
    assert isinstance(caught.value, WorkflowRuntimeError)
    assert text.startswith(f"The run {handler.run_id} of workflow '{workflow.workflow_name}' can make no more progress")
    (failed,) = tape.all(RunFailed)
    assert (failed.step, failed.error.message) == ("", text)
    last = [event async for event in handler.stream_events()][-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception) == ("", caught.value)
    return text


# --- each reason --------------------------------------------------------------------------------------------


async def test_an_event_that_nobody_accepts():
    """An event of a subclass, which no step accepts, ends the run with its name and the rule."""

    class Wrong(Workflow):
        @step
        async def first(self, ev: StartEvent) -> A:
            return SmallA()

        @step
        async def second(self, ev: A) -> StopEvent:
            return StopEvent()

    text = await stalled(Wrong())
    assert "no step accepts SmallA" in text
    assert "exact type match" in text


async def test_every_event_that_nobody_accepts_is_named_once():
    """All kinds of events that were lost on the way are named, each once."""

    class Wrong(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> A:
            for event in (Stray(), Stray(), SmallA()):
                ctx.send_event(event)
            return A()

        @step
        async def second(self, ev: A) -> StopEvent | None:
            return None

    text = await stalled(Wrong())
    assert text.count("no step accepts Stray") == text.count("no step accepts SmallA") == 1


async def test_a_collection_that_can_never_be_complete():
    """A step that has collected a part says what it has, what it lacks, and in which buffer."""

    class Collects(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> A | B | None:
            for n in range(2):
                ctx.send_event(A(n=n))

        @step
        async def second(self, ctx: Context, ev: A | B) -> StopEvent | None:
            ctx.collect_events(ev, [A, A, B, B], buffer_id="second buffer")
            return StopEvent() if ctx.collect_events(ev, [A, B, A, A]) else None

    text = await stalled(Collects())
    assert "step 'second' has collected 2 x A and waits for 1 x A, 1 x B, which nobody sends" in text
    assert "step 'second' has collected 2 x A (buffer 'second buffer') and waits for 2 x B" in text


async def test_a_wait_that_nobody_can_answer():
    """A step that waits for what only a step makes that does not run any more is named, with that step."""

    class Waits(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> A:
            ctx.send_event(A())
            await ctx.wait_for_event(B)
            return A()

        @step
        async def second(self, ev: A | B) -> B | StopEvent | None:
            return None

    text = await stalled(Waits())
    assert "step 'first' waits for B, which only step 'second' makes, and nothing runs any more" in text


async def test_two_waits_for_each_other():
    """Steps that wait for one another are found, both of them."""

    class Deadlock(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> A:
            await ctx.wait_for_event(B)
            return A()

        @step
        async def second(self, ctx: Context, ev: StartEvent) -> B:
            await ctx.wait_for_event(A)
            return B()

        @step
        async def end(self, ev: A | B) -> StopEvent:
            return StopEvent()

    text = await stalled(Deadlock())
    assert "step 'first' waits for B, which only step 'second' makes" in text
    assert "step 'second' waits for A, which only step 'first' makes" in text


async def test_nothing_left_to_do():
    """When all steps have returned without a stop event, that is the reason."""

    class Quiet(Workflow):
        @step
        async def first(self, ev: StartEvent) -> StopEvent | None:
            return None

    assert "every step has returned, and none of them returned a stop event" in await stalled(Quiet())


async def test_plain_steps_stall_too():
    """The end of a thread is the end of a step."""

    class Quiet(Workflow):
        @step
        def first(self, ev: StartEvent) -> StopEvent | None:
            return None

    assert "every step has returned" in await stalled(Quiet())


async def test_a_stall_after_a_wait_that_ended():
    """A wait that was answered is no reason."""

    class Waits(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> A | StopEvent | None:
            ctx.send_event(A())
            await ctx.wait_for_event(B)
            return None

        @step
        async def second(self, ctx: Context, ev: A) -> B:
            await turn()
            return B()

        @step
        async def third(self, ev: B) -> None:
            pass

    text = await stalled(Waits())
    assert "waits for" not in text
    assert "every step has returned" in text


async def test_a_run_stalls_when_its_last_answer_leads_nowhere():
    """A run that waited for a person, and then has nothing more to wait for, stalls like any other."""

    class Talk(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            await ctx.wait_for_event(Answer, waiter_event=Ask())
            return None

    handler = Talk().run()
    await until(lambda: handler.ctx.run.driver.state.waits)
    handler.ctx.send_event(Answer())
    with pytest.raises(WorkflowStalledError, match="every step has returned"):
        await handler


# --- no false alarm -----------------------------------------------------------------------------------------


async def test_a_question_to_a_person_is_no_stall():
    """A run whose step returned a question waits for the answer, however long."""

    class Talk(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def hear(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    handler = Talk().run()
    await turn()
    assert not handler.done()
    handler.ctx.send_event(Answer(text="yes"))
    assert await handler == "yes"


async def test_a_question_is_no_stall_whatever_answers_it():
    """After a question the outside may send anything, also what steps make themselves."""

    class Talk(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def hear(self, ev: A) -> StopEvent | A:
            return StopEvent(result=ev.n)

    handler = Talk(skip_graph_checks=["reachability"]).run()
    await turn()
    assert not handler.done()
    handler.ctx.send_event(A(n=3))
    assert await handler == 3


async def test_an_event_that_only_the_outside_can_send_is_no_stall():
    """A run with a step that only the outside feeds waits for the outside."""

    class Open(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            pass

        @step(skip_graph_checks=["reachability"])
        async def take(self, ev: Stray) -> StopEvent:
            return StopEvent(result="from outside")

    handler = Open().run()
    await turn()
    assert not handler.done()
    handler.ctx.send_event(Stray())
    assert await handler == "from outside"


@pytest.mark.parametrize("kind", [Answer, Stray])
async def test_a_wait_for_what_no_step_makes_is_no_stall(kind):
    """A step may wait for anything that no step makes: then it is the outside that sends it."""

    class Waits(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.wait_for_event(kind))

    handler = Waits().run()
    await turn()
    assert not handler.done()
    handler.ctx.send_event(event := kind())
    assert await handler is event


class Hopeful(Workflow):
    """Waits for what only a step makes that never runs, with these arguments."""

    def __init__(self, **arguments) -> None:
        super().__init__(clock=ManualClock())
        self.arguments = arguments

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> A | StopEvent:
        try:
            return StopEvent(result=await ctx.wait_for_event(B, **self.arguments))
        except TimeoutError:
            return StopEvent(result="late")

    @step
    async def second(self, ev: A | B) -> B | None:
        return None


async def test_a_wait_with_a_time_of_its_own_is_no_stall():
    """A step that says how long it will wait expects that nobody may answer: its time is its own affair."""
    workflow = Hopeful(timeout=5)
    handler = workflow.run()
    await turn()
    assert not handler.done()
    workflow._clock.advance(5)
    assert await handler == "late"


async def test_a_wait_that_asks_is_no_stall():
    """A step that asks the outside a question waits for the outside."""
    handler = Hopeful(waiter_event=Ask()).run()
    await turn()
    assert not handler.done()
    handler.ctx.send_event(event := B())
    assert await handler is event


async def test_a_retry_to_come_is_no_stall():
    """A run that waits for a retry goes on by itself."""

    class Flaky(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(30)))
        async def flaky(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ctx.attempt == 1:
                raise ValueError
            return StopEvent(result="there")

    handler = Flaky(clock=(clock := ManualClock())).run()
    await turn()
    assert not handler.done()
    clock.advance(30)
    assert await handler == "there"


async def test_a_step_that_stands_still_is_no_stall():
    """While any step executes, be it at an await or in a thread, others may wait for what it will make."""

    class Works(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            heard = [await ctx.wait_for_event(A), await ctx.wait_for_event(B)]
            return StopEvent(result=[event.n for event in heard])

        @step
        async def coroutine(self, ev: StartEvent) -> A:
            await first.wait()
            return A(n=1)

        @step
        def thread(self, ev: StartEvent) -> B:
            second.wait(LIMIT)
            return B(n=2)

        @step
        async def take(self, ev: A | B) -> None:
            pass

    first, second = asyncio.Event(), threading.Event()
    handler = Works().run()
    await turn()
    assert not handler.done()
    first.set()
    await turn()
    assert not handler.done()
    second.set()
    assert await handler == [1, 2]


async def test_a_step_that_waits_beside_its_own_work_is_no_stall():
    """A step that waits in one of its tasks, and works in another one, may answer itself."""

    class Beside(Workflow):
        @step
        async def both(self, ctx: Context, ev: StartEvent) -> StopEvent | A:
            async def work() -> None:
                await turn()
                ctx.send_event(A(n=5))

            heard, _ = await asyncio.gather(ctx.wait_for_event(A), work())
            return StopEvent(result=heard.n)

        @step
        async def take(self, ev: A) -> None:
            pass

    assert await Beside().run() == 5


async def test_a_wait_that_its_step_has_left_alone_is_over():
    """A wait in a task that its step did not wait for ends with the step, and hides no other step that works."""

    class Leaves(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> None:
            tasks.append(asyncio.create_task(ctx.wait_for_event(A)))
            await asyncio.sleep(0)

        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            await turn()
            return StopEvent(result="done")

    tasks: list[asyncio.Task] = []
    assert await Leaves().run() == "done"
    await asyncio.wait(tasks)


async def test_a_context_left_with_collected_events_is_no_stall():
    """A run that ends by its stop event may leave collections incomplete."""

    class Leaves(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.collect_events(ev, [StartEvent, A])
            return StopEvent(result="end")

    assert await Leaves().run() == "end"
