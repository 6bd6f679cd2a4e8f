"""@catch_error: a handler gets what a step could not do, and what it returns goes on in its place."""

from __future__ import annotations

import pytest

from otflow import (
    Context,
    Event,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowValidationError,
    catch_error,
    step,
)
from otflow.retry_policy import ConstantDelayRetryPolicy, retry_policy, stop_after_attempt, wait_none
from otflow.testing import ManualClock, WorkflowTestRunner, capture_records
from tests.api.loops import turn, until


class One(Event):
    number: int = 0


class Two(Event):
    number: int = 0


class Rescue(Workflow):
    """Its step fails as often as it is told; its handler ends the run."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        raise ValueError("bad")

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=ev)


async def test_a_handler_gets_the_failure():
    """A handler gets the step, its event, the exception itself, and how long and how often it was tried."""
    failed = await Rescue().run(word="x")
    assert isinstance(failed, StepFailedEvent)
    assert failed.step_name == "work"
    assert failed.input_event == StartEvent(word="x")
    assert type(failed.exception) is ValueError
    assert str(failed.exception) == "bad"
    assert failed.attempts == 1


async def test_a_handler_runs_when_the_retries_are_used_up():
    """The retry policy goes first; the handler is called once, and told about all attempts."""
    clock = ManualClock()
    tries: list[int] = []

    class Tries(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=10))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            tries.append(ctx.attempt)
            raise ValueError("bad")

        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=(ev.attempts, ev.elapsed_seconds, ev.failed_at))

    handler = Tries(clock=clock, timeout=None).run()
    while not handler.done():
        await turn()
        clock.advance(10)
    begun = 1.0  # the time that a manual clock begins with
    assert await handler == (len(tries), 10.0 * (len(tries) - 1), begun + 10.0 * (len(tries) - 1))
    assert len(tries) > 1


async def test_the_run_goes_on_with_what_the_handler_returns():
    """A handler may return any event, and the steps that take it go on."""

    class Detour(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            raise ValueError("bad")

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent(result=ev.number)

        @catch_error
        async def rescue(self, ctx: Context, ev: StepFailedEvent) -> One:
            await ctx.store.set("rescued", ev.step_name)
            return One(number=7)

    handler = Detour().run()
    assert await handler == 7
    assert await handler.ctx.store.get("rescued") == "begin"


async def test_a_handler_that_names_a_step_goes_first():
    """A handler with `for_steps` covers those steps, the one without covers the rest."""

    class Covered(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One | Two:
            if ev.first:
                raise ValueError("begin")
            return One()

        @step
        async def middle(self, ev: One) -> StopEvent:
            raise ValueError("middle")

        @step
        async def never(self, ev: Two) -> StopEvent:
            return StopEvent()

        @catch_error
        async def rest(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=("rest", ev.step_name))

        @catch_error(for_steps=["middle"])
        async def named(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=("named", ev.step_name))

    assert await Covered().run(first=True) == ("rest", "begin")
    assert await Covered().run(first=False) == ("named", "middle")


async def test_a_step_that_no_handler_covers_fails_the_run():
    """A handler with `for_steps` is nothing to the other steps."""

    class Partly(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> One:
            raise ValueError("begin")

        @step
        async def end(self, ev: One) -> StopEvent:
            return StopEvent()

        @catch_error(for_steps=["end"])
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            raise AssertionError("not covered")

    with pytest.raises(ValueError, match="begin"):
        await Partly().run()


async def test_an_error_in_a_handler_fails_the_run():
    """What a handler raises is the error of the run; no handler covers a handler."""

    class Worse(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            raise KeyError("worse")

    handler = Worse().run()
    with pytest.raises(KeyError, match="Error in step 'rescue'"):
        await handler
    stop = handler.get_stop_event()
    assert isinstance(stop, WorkflowFailedEvent)
    assert stop.step_name == "rescue"


class Loop(Workflow):
    """Its step fails for ever, and its handler sends it back to work."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.rescued = 0

    @step
    async def begin(self, ev: StartEvent) -> One:
        return One()

    @step
    async def work(self, ev: One) -> StopEvent:
        raise ValueError("bad")

    @catch_error(max_recoveries=3)
    async def rescue(self, ev: StepFailedEvent) -> One:
        self.rescued += 1
        return One()


async def test_a_handler_is_bounded():
    """In one line of descent a handler runs `max_recoveries` times, then the error of the step fails the run."""
    workflow = Loop()
    with pytest.raises(ValueError, match="bad"):
        await workflow.run()
    assert workflow.rescued == 3


async def test_by_default_a_handler_runs_once():
    """Without max_recoveries a second failure in the same line of descent fails the run."""

    class Once(Loop):
        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> One:
            self.rescued += 1
            return One()

    workflow = Once()
    with pytest.raises(ValueError, match="bad"):
        await workflow.run()
    assert workflow.rescued == 1


async def test_the_bound_is_per_line_of_descent():
    """Failures of events that do not descend from each other do not use up the same bound."""
    rescued: list[int] = []

    class Fan(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(5):
                ctx.send_event(One(number=number))
            return None

        @step
        async def work(self, ev: One) -> Two:
            raise ValueError(ev.number)

        @step
        async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
            events = ctx.collect_events(ev, [Two] * 5)
            return None if events is None else StopEvent(result=sorted(it.number for it in events))

        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> Two:
            rescued.append(ev.input_event.number)
            return Two(number=ev.input_event.number)

    assert await Fan().run() == [0, 1, 2, 3, 4]
    assert sorted(rescued) == [0, 1, 2, 3, 4]


async def test_the_bound_holds_for_sent_events_too():
    """An event that a handler sends, and does not return, descends from the failure as well."""

    class Sends(Loop):
        @catch_error(max_recoveries=2)
        async def rescue(self, ctx: Context, ev: StepFailedEvent) -> One | None:
            self.rescued += 1
            ctx.send_event(One())
            return None

    workflow = Sends()
    with pytest.raises(ValueError, match="bad"):
        await workflow.run()
    assert workflow.rescued == 2


async def test_a_handler_that_returns_nothing_ends_its_branch():
    """A handler may return None: the branch is over, and the others go on."""

    class Best(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
            for number in range(ev.good + 2):
                ctx.send_event(One(number=number))
            return None

        @step
        async def work(self, ev: One) -> StopEvent:
            if ev.number < 2:
                raise ValueError("bad")
            return StopEvent(result=ev.number)

        @catch_error
        async def drop(self, ev: StepFailedEvent) -> None:
            return None

    assert await Best().run(good=1) == 2
    with pytest.raises(WorkflowStalledError):
        await Best().run(good=0)


async def test_plain_functions_can_be_handlers():
    """A handler without `async` runs in a thread, and the steps that it covers may be plain too."""

    class Plain(Workflow):
        @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
        def work(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

        @catch_error
        def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=ev.attempts)

    assert await Plain().run() == 2


async def test_a_cancelled_error_is_caught_like_any_failure():
    """What otflow makes of a CancelledError that a step lets out goes to the handler."""

    class Odd(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            import asyncio  # noqa: PLC0415  # only here

            raise asyncio.CancelledError

        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=type(ev.exception))

    assert await Odd().run() is WorkflowRuntimeError


async def test_a_wrong_return_is_no_failure_to_catch():
    """A step that returns something else than an event is written wrongly: the run fails, handler or not."""

    class Wrong(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            return "text"

        @catch_error
        async def rescue(self, ev: StepFailedEvent) -> StopEvent:
            raise AssertionError("nothing to rescue")

    with pytest.raises(WorkflowRuntimeError, match="returned str instead of an Event instance"):
        await Wrong().run()


async def test_the_failure_that_was_caught_leaves_no_trace_in_the_stream():
    """The stream of a rescued run ends with its stop event, and the failure is among the records."""
    with capture_records() as records:
        ran = await WorkflowTestRunner(Rescue()).run(expose_internal=False)
    assert list(ran.event_types) == [StopEvent]
    names = [type(record).__name__ for record in records]
    assert names == [
        "RunStarted",
        "EventReceived",
        "StepStarted",
        "StepFailed",
        "EventSent",
        "StepStarted",
        "StepCompleted",
        "EventSent",
        "RunCompleted",
    ]


async def test_a_run_can_be_resumed_before_its_handler_ran():
    """A failure that waits for its handler is saved with the run, and the handler is called after the resume."""

    class Saves(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

        @catch_error
        async def rescue(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
            if not await ctx.store.get("again", default=False):
                await ctx.store.set("again", True)
                await ctx.wait_for_event(One)
            return StopEvent(result=(ev.step_name, type(ev.exception), str(ev.exception), ev.input_event.get("word")))

    workflow = Saves()
    handler = workflow.run(word="x")
    await until(lambda: handler.ctx.store.current.get("again"))
    data = handler.ctx.to_dict()
    await handler.cancel_run()
    again = workflow.run(ctx=Context.from_dict(workflow, data))
    assert await again == ("work", ValueError, "bad", "x")


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1"])
def test_a_wrong_bound_is_refused(limit: object):
    """max_recoveries is an integer of at least one."""
    with pytest.raises(WorkflowValidationError, match="max_recoveries must be an integer >= 1"):
        catch_error(max_recoveries=limit)


@pytest.mark.parametrize("names", ["work", ("work",), [1]])
def test_wrong_names_are_refused(names: object):
    """for_steps is a list of names."""
    with pytest.raises(WorkflowValidationError, match="for_steps must be None or a list of step name strings"):
        catch_error(for_steps=names)


def test_a_handler_takes_a_failure():
    """A handler is annotated with StepFailedEvent."""
    with pytest.raises(WorkflowValidationError, match="must accept StepFailedEvent"):

        class Wrong(Workflow):
            @catch_error
            async def rescue(self, ev: StartEvent) -> StopEvent:
                return StopEvent()


class Base(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> One:
        return One()

    @step
    async def end(self, ev: One) -> StopEvent:
        return StopEvent()

    @catch_error
    async def rescue(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent()


def test_wiring_faults_are_refused():
    """Two handlers without names, unknown steps, handlers of handlers and steps with two handlers are refused."""

    class Wild(Base):
        @catch_error
        async def other(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    class Unknown(Base):
        @catch_error(for_steps=["missing", "rescue"])
        async def other(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    class Twice(Base):
        @catch_error(for_steps=["end"])
        async def one(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

        @catch_error(for_steps=["end"])
        async def two(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    assert Base().validate() is False
    with pytest.raises(
        WorkflowValidationError, match=r"Only one wildcard @catch_error handler .* found 2: other, rescue"
    ):
        Wild().validate()
    with pytest.raises(
        WorkflowValidationError, match=r"(?s)lists unknown step 'missing'.*cannot cover another handler"
    ):
        Unknown().validate()
    with pytest.raises(WorkflowValidationError, match="Step 'end' is claimed by two @catch_error handlers"):
        Twice().validate()
