"""Workflow: how it is made, how it is checked, how its runs begin and end."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    WorkflowValidationError,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.records.record import RunStarted
from otflow.testing import ManualClock
from tests.api.loops import turn, until
from tests.bounds import run_bounded


class One(Event):
    pass


class Two(Event):
    pass


class SubOne(One):
    pass


class Begin(StartEvent):
    number: int
    text: str = "none"


class End(StopEvent):
    total: int


class OtherEnd(StopEvent):
    pass


class OtherBegin(StartEvent):
    pass


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Greet(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.get('name', 'you')}!")


class Forever(Workflow):
    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        await asyncio.Event().wait()
        return StopEvent()


class Custom(Workflow):
    @step
    async def add(self, ev: Begin) -> End:
        return End(total=ev.number + 1)


# --- construction ----------------------------------------------------------------------------------------------------


def test_no_start_fails_at_construction():
    """A workflow that no start event enters cannot be made."""

    class NoStart(Workflow):
        @step
        async def only(self, ev: One) -> StopEvent:
            return StopEvent()

    message = "At least one Event of type StartEvent must be received by any step"
    with pytest.raises(WorkflowConfigurationError, match=message):
        NoStart()


def test_no_stop_fails_at_construction():
    """A workflow that no stop event leaves cannot be made."""

    class NoStop(Workflow):
        @step
        async def only(self, ev: StartEvent) -> One:
            return One()

    message = "At least one Event of type StopEvent must be returned by any step"
    with pytest.raises(WorkflowConfigurationError, match=message):
        NoStop()


def test_two_starts_fail_at_construction():
    """A workflow has one class of start event."""

    class TwoStarts(Workflow):
        @step
        async def one(self, ev: Begin) -> StopEvent:
            return StopEvent()

        @step
        async def two(self, ev: OtherBegin) -> StopEvent:
            return StopEvent()

    message = "Only one type of StartEvent is allowed per workflow, found 2"
    with pytest.raises(WorkflowConfigurationError, match=message):
        TwoStarts()


def test_two_stops_fail_at_construction():
    """A workflow has one class of stop event."""

    class TwoStops(Workflow):
        @step
        async def one(self, ev: StartEvent) -> End | OtherEnd:
            return OtherEnd()

    message = "Only one type of StopEvent is allowed per workflow, found 2"
    with pytest.raises(WorkflowConfigurationError, match=message):
        TwoStops()


def test_construction_reports_start_and_stop_together():
    """A workflow without both ends is told of both at once."""

    class Neither(Workflow):
        @step
        async def only(self, ev: One) -> Two:
            return Two()

    with pytest.raises(WorkflowConfigurationError, match=r"(?s)StartEvent.*StopEvent"):
        Neither()


def test_graph_faults_wait_for_the_run():
    """A workflow whose events do not meet can be made, and is refused when it is run."""

    class Loose(Workflow):
        @step
        async def only(self, ev: StartEvent) -> One | StopEvent:
            return StopEvent()

    loose = Loose()
    with pytest.raises(WorkflowValidationError, match="produced but never consumed: One"):
        loose.validate()


def test_signature_faults_fail_at_import():
    """A wrong signature is an error where the step is written."""
    with pytest.raises(WorkflowValidationError, match="at least one parameter annotated as type Event"):

        class Wrong(Workflow):
            @step
            async def nothing(self) -> StopEvent:
                return StopEvent()


@pytest.mark.parametrize("timeout", [0, -1, True, "1"])
def test_a_wrong_timeout_is_refused(timeout: object):
    """The timeout is a number of seconds above zero."""
    with pytest.raises(WorkflowValidationError, match="timeout must be a number of seconds greater than 0"):
        Greet(timeout=timeout)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5])
def test_a_wrong_limit_of_runs_is_refused(limit: object):
    """num_concurrent_runs is an integer above zero."""
    with pytest.raises(WorkflowValidationError, match="num_concurrent_runs must be an integer greater than 0"):
        Greet(num_concurrent_runs=limit)


def test_unknown_checks_are_refused():
    """Only checks that exist can be skipped."""
    with pytest.raises(WorkflowValidationError, match="Unknown graph check names: spelling"):
        Greet(skip_graph_checks={"spelling"})


def test_what_a_workflow_says_of_itself():
    """Steps, events, ends and name of a workflow can be asked for."""
    workflow = Custom()
    assert workflow.start_event_class is Begin
    assert workflow.stop_event_class is End
    assert set(workflow.events) == {Begin, End}
    assert list(workflow.steps) == ["add"]
    assert workflow.workflow_name == "Custom"
    assert Custom(workflow_name="mine").workflow_name == "mine"


# --- steps from classes and functions -----------------------------------------------------------------------


async def test_steps_are_inherited_replaced_and_removed():
    """A subclass has the steps of its base, its own in their place, and none where it puts something else."""

    class Base(Workflow):
        @step
        async def first(self, ev: StartEvent) -> One:
            return One()

        @step
        async def last(self, ev: One) -> StopEvent:
            return StopEvent(result="base")

        @step
        async def spare(self, ev: One) -> None:
            raise AssertionError("removed")

    class Derived(Base):
        spare = None

        @step
        async def last(self, ev: One) -> StopEvent:
            return StopEvent(result="derived")

    assert list(Base().steps) == ["first", "last", "spare"]
    assert set(Derived().steps) == {"first", "last"}
    assert await Derived().run() == "derived"


async def test_free_functions_become_steps_of_a_class():
    """A free function is a step of the class that it names, of subclasses, and of no other class."""

    class Free(Workflow):
        pass

    class Other(Workflow):
        pass

    class Derived(Free):
        pass

    @step(workflow=Free)
    async def only(ev: StartEvent) -> StopEvent:
        return StopEvent(result="free")

    assert await Free().run() == "free"
    assert await Derived().run() == "free"
    with pytest.raises(WorkflowConfigurationError, match="has no steps"):
        Other().validate()


async def test_free_functions_become_steps_of_an_instance():
    """A free function that names an instance is a step of that instance alone, even of the bare Workflow."""
    workflow = Workflow()

    @step(workflow=workflow)
    async def first(ev: StartEvent) -> One:
        return One()

    @step(workflow=workflow)
    async def second(ctx: Context, ev: One) -> StopEvent:
        return StopEvent(result="free")

    assert await workflow.run() == "free"
    assert list(workflow.steps) == ["first", "second"]
    with pytest.raises(WorkflowConfigurationError, match="has no steps"):
        Workflow().run()


async def test_a_step_may_come_after_a_run():
    """A step that is added later takes part in the next run, on instances that exist too."""

    class Grow(Workflow):
        @step
        async def first(self, ev: StartEvent) -> One | StopEvent:
            return One() if ev.get("on") else StopEvent(result=1)

    made = Grow(disable_validation=True)
    assert await made.run() == 1

    @step(workflow=Grow)
    async def second(ev: One) -> StopEvent:
        return StopEvent(result=2)

    assert await made.run(on=True) == 2


async def test_a_step_of_an_instance_joins_those_of_its_class():
    """A free function on an instance works beside the methods of its class."""

    class Half(Workflow):
        @step
        async def first(self, ev: StartEvent) -> One:
            return One()

    class Whole(Half):
        @step
        async def unused(self, ev: Two) -> StopEvent:
            return StopEvent()

    workflow = Whole(disable_validation=True)

    @step(workflow=workflow)
    async def second(ev: One) -> StopEvent:
        return StopEvent(result="joined")

    assert await workflow.run() == "joined"
    assert "second" not in Whole(disable_validation=True).steps


def test_add_step_refuses_what_is_no_step():
    """A function without `@step` is no step."""

    async def plain(ev: StartEvent) -> StopEvent:
        return StopEvent()

    with pytest.raises(WorkflowValidationError, match="Step function plain is missing the `@step` decorator"):
        Workflow.add_step(plain)


def test_add_step_refuses_a_name_twice():
    """The names of steps are unique, on the class and on the instance."""
    workflow = Greet()
    for target in (Greet, workflow):
        with pytest.raises(WorkflowValidationError, match="A step greet is already part of this workflow"):

            @step(workflow=target)
            async def greet(ev: StartEvent) -> StopEvent:
                return StopEvent()


# --- validation at the run ----------------------------------------------------------------------------------


async def test_run_refuses_what_cannot_work():
    """`run()` itself raises when events do not meet, and names every fault."""

    class Broken(Workflow):
        @step
        async def first(self, ev: StartEvent) -> One | StopEvent:
            return StopEvent()

        @step
        async def second(self, ev: Two) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowValidationError) as caught:
        Broken().run()
    assert "The following events are consumed but never produced: Two" in str(caught.value)
    assert "The following events are produced but never consumed: One" in str(caught.value)
    assert await Broken(disable_validation=True).run() is None


async def test_steps_cannot_take_stop_events():
    """A step that takes a stop event is refused, by name."""

    class Late(Workflow):
        @step
        async def first(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        @step
        async def after(self, ev: StopEvent) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowValidationError, match="Step 'after' cannot accept StopEvent"):
        Late().run()


async def test_checks_can_be_skipped_one_by_one():
    """A check that is named in skip_graph_checks does not stop the run."""

    class Loose(Workflow):
        @step
        async def only(self, ev: StartEvent) -> One | StopEvent:
            return StopEvent(result=1)

    assert await Loose(skip_graph_checks={"terminal_event"}).run() == 1


def test_validate_tells_of_humans():
    """`validate()` says whether the workflow asks the outside, or takes answers from it."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent()

    assert Asks().validate() is True
    assert Greet().validate() is False


# --- the start event -------------------------------------------------------------------------------------------------


async def test_keywords_make_the_start_event():
    """The keywords of `run` are the fields of the start event, of whatever class the steps take."""
    assert await Greet().run(name="Ada") == "Hello, Ada!"
    assert (await Custom().run(number=1)).total == 2


async def test_a_start_event_may_be_given():
    """An instance of the start event begins the run as it is."""
    assert (await Custom().run(start_event=Begin(number=5))).total == 6


async def test_a_start_event_is_not_mixed_with_keywords(caplog: pytest.LogCaptureFixture):
    """With a start event, further keywords are left out, and a warning says so."""
    with caplog.at_level(logging.WARNING, logger="otflow"):
        assert (await Custom().run(start_event=Begin(number=5), number=7)).total == 6
    assert "number" in caplog.text


async def test_keywords_that_do_not_fit_are_refused():
    """`run()` raises at once when the start event cannot be made."""
    with pytest.raises(WorkflowRuntimeError, match="Failed creating a start event of type 'Begin'") as caught:
        Custom().run(text="no number")
    assert "number" in str(caught.value)


async def test_only_start_events_start():
    """What is no StartEvent, or of a class that no step takes, is refused at once."""
    with pytest.raises(ValueError, match="must be an instance of 'StartEvent', not One"):
        Custom().run(start_event=One())
    with pytest.raises(WorkflowRuntimeError, match="No step of workflow 'Custom' accepts the start event OtherBegin"):
        Custom().run(start_event=OtherBegin())


async def test_a_refused_run_leaves_nothing_behind():
    """After a refused run the context is free, no slot is taken, and the workflow is done."""
    workflow = Custom(num_concurrent_runs=1)
    context = Context(workflow)
    with pytest.raises(WorkflowRuntimeError):
        workflow.run(ctx=context)
    assert workflow.is_done()
    assert not context.is_running
    assert (await workflow.run(ctx=context, number=1)).total == 2


async def test_a_run_begins_at_once():
    """`run` is a plain call; the run goes on without anyone awaiting its handler."""
    seen: list[str] = []

    class Note(Workflow):
        @step
        async def note(self, ev: StartEvent) -> StopEvent:
            seen.append("ran")
            return StopEvent()

    handler = Note().run()
    assert not asyncio.iscoroutine(handler)
    await until(lambda: seen)
    await handler


def test_a_run_needs_an_event_loop():
    """Outside an event loop `run` says what to do."""
    with pytest.raises(WorkflowRuntimeError, match="can run only in an event loop"):
        Greet().run()


def test_a_workflow_runs_in_one_loop_after_another():
    """The same instance works in a second event loop, with a limit of runs too."""
    for workflow in (Greet(), Greet(num_concurrent_runs=1)):

        async def main(workflow: Workflow = workflow) -> list[str]:
            return await asyncio.gather(*(workflow.run(name=str(i)) for i in range(3)))

        assert run_bounded(main()) == run_bounded(main()) == ["Hello, 0!", "Hello, 1!", "Hello, 2!"]


def test_runs_that_a_loop_left_behind_free_their_slot():
    """A loop that ended with a run in progress does not keep the slot from the next loop."""
    workflow = Forever(num_concurrent_runs=1, timeout=None)

    async def leave() -> None:
        workflow.run()
        await asyncio.sleep(0)

    async def again() -> None:
        handler = workflow.run()
        await asyncio.sleep(0)
        assert await handler.ctx.running_steps() == ["wait"]
        await handler.cancel_run()

    run_bounded(leave())
    run_bounded(again())


def test_idle_runs_that_a_loop_left_behind_are_over():
    """A run that only waited when its loop was closed holds no slot and no context, and is no run that goes on."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    workflow = Asks(num_concurrent_runs=1, timeout=None)
    context = Context(workflow)

    async def leave() -> None:
        workflow.run(ctx=context)
        workflow.run()
        await turn()

    async def again() -> str:
        handler = workflow.run(ctx=context)
        await turn()
        context.send_event(Answer(text="yes"))
        return await handler

    run_bounded(leave())
    assert workflow.is_done()
    assert not context.is_running
    assert run_bounded(again()) == "yes"


def test_runs_of_one_instance_may_go_on_in_several_threads():
    """The limit of runs holds across event loops, and a run goes on in the loop that it was started in."""
    begun, waiting = threading.Event(), threading.Event()

    class Holds(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            if ev.first:
                begun.set()
                await asyncio.to_thread(waiting.wait)
            return StopEvent(result=threading.get_ident())

    workflow = Holds(num_concurrent_runs=1)

    async def first() -> bool:
        return await workflow.run(first=True) == threading.get_ident()

    async def second() -> bool:
        handler = workflow.run(first=False)
        await turn()
        assert await handler.ctx.running_steps() == []
        waiting.set()
        return await handler == threading.get_ident()

    with ThreadPoolExecutor() as threads:
        one = threads.submit(run_bounded, first())
        begun.wait()
        two = threads.submit(run_bounded, second())
        assert two.result()
        assert one.result()


async def test_runs_have_ids():
    """`run_id` names the run everywhere; without it each run gets one of its own."""
    records: list[object] = []
    dispatcher = Dispatcher()
    dispatcher.attach(records.extend)
    workflow = Greet(dispatcher=dispatcher)
    handler = workflow.run(run_id="mine")
    await handler
    assert handler.run_id == "mine"
    assert {record.run for record in records} == {"mine"}
    one, two = workflow.run(), workflow.run()
    assert one.run_id != two.run_id
    await asyncio.gather(one, two)


async def test_is_done_means_that_no_run_goes_on():
    """`is_done()` is False exactly while a run of the instance goes on."""
    workflow = Forever(timeout=None)
    assert workflow.is_done()
    handler = workflow.run()
    assert not workflow.is_done()
    await turn()
    assert not workflow.is_done()
    await handler.cancel_run()
    assert workflow.is_done()


async def test_verbose_prints_steps(capsys: pytest.CaptureFixture[str]):
    """`verbose=True` prints a line when a step starts and one when it returns, otherwise nothing is printed."""
    await Greet(verbose=True).run()
    assert capsys.readouterr().out == "Running step greet\nStep greet produced event StopEvent\n"
    await Greet().run()
    assert capsys.readouterr().out == ""


# --- results ---------------------------------------------------------------------------------------------------------


async def test_a_plain_stop_event_gives_its_result():
    """The result of a run is `result` of a plain stop event."""
    assert await Greet().run() == "Hello, you!"


async def test_a_stop_event_of_a_subclass_is_the_result():
    """The result is the event itself when its class is not StopEvent."""
    result = await Custom().run(number=1)
    assert isinstance(result, End)


async def test_a_stop_event_decides_about_its_result():
    """A subclass may say what the result is."""

    class Short(StopEvent):
        parts: list[str]

        def _get_result(self) -> str:
            return "".join(self.parts)

    class Shorten(Workflow):
        @step
        async def only(self, ev: StartEvent) -> Short:
            return Short(parts=["a", "b"])

    assert await Shorten().run() == "ab"


async def test_a_subclass_is_accepted_where_stop_event_is_declared():
    """A step that declares StopEvent may return a subclass: the run ends, and the result is that event."""

    class Sub(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return End(total=1)

    result = await Sub().run()
    assert result == End(total=1)


async def test_the_first_stop_event_wins():
    """The first stop event ends the run; the others are cancelled, and nothing of them counts."""
    ended: list[str] = []
    records: list[object] = []

    class Race(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One | Two | None:
            for _ in range(3):
                ctx.send_event(One())
            ctx.send_event(Two())

        @step
        async def slow(self, ctx: Context, ev: One) -> StopEvent:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                ctx.write_event_to_stream(One())
                ctx.send_event(Two())
                await ctx.store.set("late", 1)
                return StopEvent(result="slow")
            raise AssertionError("nobody sets the event")

        @step
        async def quick(self, ev: Two) -> StopEvent:
            await turn()
            return StopEvent(result="quick")

    dispatcher = Dispatcher()
    dispatcher.attach(records.extend)
    handler = Race(dispatcher=dispatcher).run()
    streamed = [ev async for ev in handler.stream_events()]
    assert await handler == "quick"
    assert ended == ["cancelled"] * 3
    assert streamed == [StopEvent(result="quick")]
    assert type(records[-1]).__name__ == "RunCompleted"


# --- the end of a run that has none -------------------------------------------------------------------------


async def test_a_timeout_names_the_steps_that_were_running():
    """The message of a timeout says how long it was, and which steps were active."""
    clock = ManualClock()
    handler = Forever(timeout=0.5, clock=clock).run()
    await turn()
    clock.advance(0.5)
    with pytest.raises(WorkflowTimeoutError, match=r"^Operation timed out after 0\.5 seconds\. .*active steps: wait$"):
        await handler


async def test_a_timeout_says_that_nothing_was_active():
    """A run that only waits for the outside says so when its time is over."""

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Ask:
            return Ask()

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent()

    clock = ManualClock()
    handler = Asks(timeout=3, clock=clock).run()
    await turn()
    clock.advance(3)
    with pytest.raises(WorkflowTimeoutError, match=r"timed out after 3 seconds\. No steps active"):
        await handler


async def test_a_timeout_names_what_was_waited_for():
    """A step that waits for an event is named with that event."""

    class Waits(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(Answer)
            return StopEvent()

    clock = ManualClock()
    handler = Waits(timeout=3, clock=clock).run()
    await turn()
    clock.advance(3)
    with pytest.raises(WorkflowTimeoutError, match=r"active steps: wait \(step 'wait' waited for Answer\)"):
        await handler


async def test_without_a_timeout_no_time_is_too_long():
    """`timeout=None` lets a run take as long as it takes."""
    clock = ManualClock()
    handler = Forever(timeout=None, clock=clock).run()
    await turn()
    clock.advance(10**9)
    await turn()
    assert not handler.done()
    await handler.cancel_run()


async def test_the_default_timeout_is_45_seconds():
    """A run that is not told otherwise has 45 seconds."""
    clock = ManualClock()
    handler = Forever(clock=clock).run()
    await turn()
    clock.advance(44.9)
    await turn()
    assert not handler.done()
    clock.advance(0.1)
    with pytest.raises(WorkflowTimeoutError):
        await handler


async def test_a_run_without_progress_fails_at_once():
    """A run in which nothing can happen any more fails, and says which event nobody took."""

    class Lost(Workflow):
        @step
        async def first(self, ev: StartEvent) -> One:
            return SubOne()

        @step
        async def second(self, ev: One) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowStalledError, match="no step accepts SubOne"):
        await Lost().run()


async def test_a_run_whose_steps_all_return_nothing_fails():
    """A run in which every step has ended without a stop event fails, and says so."""

    class Silent(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent | None:
            return None

    with pytest.raises(WorkflowStalledError, match="none of them returned a stop event"):
        await Silent().run()


@pytest.mark.parametrize("value", ["text", 1, [], {}, (One(),), One])
async def test_what_is_no_event_fails_the_run(value: object):
    """A step that returns something else than an event is named, with the type that it returned."""

    class Wrong(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return value

    name = type(value).__name__
    with pytest.raises(WorkflowRuntimeError, match=f"Step function only returned {name} instead of an Event instance"):
        await Wrong().run()


async def test_a_step_error_has_two_faces():
    """What a step raised is caught by its own type and as WorkflowRuntimeError; the cause is the original."""
    original = KeyError("key")

    class Fails(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise original

    with pytest.raises(WorkflowRuntimeError, match="Error in step 'only'") as caught:
        await Fails().run()
    assert isinstance(caught.value, KeyError)
    assert caught.value.__cause__ is original


async def test_a_cancelled_error_of_a_step_fails_the_run():
    """A CancelledError that comes out of the step's own doing fails the run, and does not hang it."""

    class Odd(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            task = asyncio.ensure_future(asyncio.sleep(0))
            task.cancel()
            await task
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError, match="it raised CancelledError although nobody cancelled it"):
        await Odd().run()


async def test_a_cancelled_error_raised_by_hand_fails_the_run():
    """Likewise when the step raises it before it ever stands still."""

    class Odd(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise asyncio.CancelledError

    with pytest.raises(WorkflowRuntimeError, match="it raised CancelledError although nobody cancelled it"):
        await Odd().run()


# --- limits of runs --------------------------------------------------------------------------------------------------


class Gated(Workflow):
    """Its runs end when they are let go."""

    def __init__(self, **kwargs: object):
        super().__init__(**kwargs)
        self.active = self.most = 0
        self.begun: list[int] = []
        self.go = asyncio.Semaphore(0)

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        self.begun.append(ev.number)
        self.active += 1
        self.most = max(self.most, self.active)
        await self.go.acquire()
        self.active -= 1
        if ev.get("fail"):
            raise ValueError("x")
        return StopEvent(result=ev.number)


async def test_num_concurrent_runs_limits_the_runs_of_an_instance():
    """More runs than the limit wait, and begin in the order of their calls."""
    workflow = Gated(num_concurrent_runs=2)
    handlers = [workflow.run(number=i) for i in range(5)]
    await turn()
    assert workflow.begun == [0, 1]
    for _ in range(5):
        workflow.go.release()
    assert await asyncio.gather(*handlers) == [0, 1, 2, 3, 4]
    assert workflow.begun == [0, 1, 2, 3, 4]
    assert workflow.most == 2


async def test_a_slot_is_free_again_after_its_run():
    """Runs of a limited workflow that come one after the other never wait, and make no noise when none waits."""
    workflow = Greet(num_concurrent_runs=1)
    for number in range(3):
        assert await workflow.run(name=str(number)) == f"Hello, {number}!"


async def test_without_a_limit_all_runs_go_on_at_once():
    """By default any number of runs goes on at once."""
    workflow = Gated()
    handlers = [workflow.run(number=i) for i in range(20)]
    await turn()
    assert workflow.most == 20
    for _ in handlers:
        workflow.go.release()
    await asyncio.gather(*handlers)


async def test_the_limit_belongs_to_the_instance():
    """Two instances of one class do not share their limit."""
    one, two = Gated(num_concurrent_runs=1), Gated(num_concurrent_runs=1)
    handlers = [one.run(number=1), two.run(number=2)]
    await turn()
    assert (one.active, two.active) == (1, 1)
    one.go.release()
    two.go.release()
    await asyncio.gather(*handlers)


async def test_the_timeout_begins_with_the_slot():
    """A run that waits for its slot does not use up its time."""
    clock = ManualClock()
    workflow = Gated(num_concurrent_runs=1, timeout=1, clock=clock)
    handlers = [workflow.run(number=i) for i in range(3)]
    for handler in handlers:
        await turn()
        clock.advance(0.9)
        workflow.go.release()
        await handler
    assert [handler.result() for handler in handlers] == [0, 1, 2]


async def test_a_failed_run_frees_its_slot():
    """A run that fails lets the next one begin."""
    workflow = Gated(num_concurrent_runs=1)
    bad, good = workflow.run(number=1, fail=True), workflow.run(number=2)
    workflow.go.release()
    workflow.go.release()
    with pytest.raises(ValueError, match="x"):
        await bad
    assert await good == 2


@pytest.mark.parametrize("how", ["cancel_run", "cancel"])
async def test_a_run_can_be_cancelled_while_it_waits_for_a_slot(how: str):
    """A run that never began ends at once, calls no step, and keeps no slot."""
    workflow = Gated(num_concurrent_runs=1)
    first, second, third = (workflow.run(number=i) for i in range(3))
    await turn()
    if how == "cancel_run":
        await second.cancel_run()
    else:
        second.cancel()
    assert second.done()
    for _ in range(3):
        workflow.go.release()
    assert await asyncio.gather(first, third) == [0, 2]
    assert workflow.begun == [0, 2]
    assert workflow.is_done()


async def test_a_stepwise_call_waits_for_the_slot():
    """What is sent and written before the slot is free reaches the run when it begins."""

    class Takes(Workflow):
        @step
        async def first(self, ev: StartEvent) -> None:
            return None

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    workflow = Takes(num_concurrent_runs=1)
    first, second = workflow.run(), workflow.run()
    second.ctx.send_event(Answer(text="second"))
    await turn()
    assert not second.done()
    first.ctx.send_event(Answer(text="first"))
    assert [await first, await second] == ["first", "second"]


# --- what stays behind -----------------------------------------------------------------------------------------------


async def test_nothing_keeps_a_workflow_whose_runs_are_over():
    """A workflow nobody holds any more is gone after its runs: no timer, context or task keeps it."""
    workflow, slow = Greet(), Forever()
    await workflow.run()
    handler = slow.run()
    await turn()
    await handler.cancel_run()
    del handler
    gone = [weakref.ref(workflow), weakref.ref(slow)]
    del workflow, slow
    await turn()
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


async def test_runs_of_one_instance_do_not_mix():
    """Runs of one instance that go on at once have their own events, state and results."""

    class Count(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> One:
            await ctx.store.set("number", ev.number)
            await turn(ev.number)
            return One()

        @step
        async def end(self, ctx: Context, ev: One) -> StopEvent:
            return StopEvent(result=await ctx.store.get("number"))

    workflow = Count()
    assert await asyncio.gather(*(workflow.run(number=i) for i in range(20))) == list(range(20))


async def test_a_nested_run_knows_its_parent():
    """A run that a step starts records the run and the invocation that it stands under."""
    records: list[object] = []
    dispatcher = Dispatcher()
    dispatcher.attach(records.extend)

    class Outer(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await Greet(dispatcher=dispatcher).run(run_id="inner"))

    await Outer(dispatcher=dispatcher).run(run_id="outer")
    outer, inner = (record for record in records if isinstance(record, RunStarted))
    assert (outer.run, outer.parent_run, outer.parent_invocation) == ("outer", "", 0)
    assert (inner.run, inner.parent_run, inner.parent_invocation) == ("inner", "outer", 3)
