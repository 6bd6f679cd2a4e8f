"""Mistakes: each gets an error that says what was wrong, where it was, and what to do.

Those of saved data are in test_saving.py, those of sinks and journals in test_sinks.py, those of retry policies in
test_retry.py, those of waits in test_wait.py, those of sent events in test_send.py.
"""

import asyncio
from typing import Annotated

import pytest
from pydantic import field_serializer

from otflow import (
    Context,
    ContextSerdeError,
    ContextStateError,
    Event,
    InputRequiredEvent,
    OtflowError,
    Resource,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowValidationError,
    step,
)
from otflow.records.record import EventSent
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.runtime.clock import ManualClock
from tests.api.loops import until
from tests.api.tape import Tape


class Job(Event):
    n: int = 0


class Other(Event):
    pass


class Lost(Event):
    pass


class Begin(StartEvent):
    topic: str
    size: int = 1


class Greet(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello {ev.get('name')}")


class Typed(Workflow):
    @step
    async def begin(self, ev: Begin) -> StopEvent:
        return StopEvent(result=ev.topic)


def says(error: BaseException, *parts: str) -> None:
    """Check that an error is one of otflow, and that its text has all these parts."""
    assert isinstance(error, OtflowError)
    for part in parts:
        assert part in str(error)


# --- steps that are written wrongly -------------------------------------------------------------------------


def no_event(self, x: int) -> StopEvent:
    """Take no event."""


def two_events(self, a: StartEvent, b: Job) -> StopEvent:
    """Take two."""


def half_event(self, ev: StartEvent | int) -> StopEvent:
    """Take an event, or not."""


def no_return(self, ev: StartEvent):
    """Say nothing about what is returned."""


def text_return(self, ev: StartEvent) -> str:
    """Return text."""


def two_contexts(self, a: Context, b: Context, ev: StartEvent) -> StopEvent:
    """Take two contexts."""


def yields(self, ev: StartEvent) -> StopEvent:
    """Yield."""
    yield StopEvent()


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (no_event, ["at least one parameter annotated as type Event", "`x` is annotated with int", "ev: StartEvent"]),
        (two_events, ["exactly one parameter of type Event but found 2", "`a`, `b`", "write `ev: A | B`"]),
        (half_event, ["at least one parameter annotated as type Event", "in a union each member has to be an event"]),
        (no_return, ["Return types of workflows step functions must be annotated", "Write `-> StopEvent`"]),
        (text_return, ["must be events", "Found str", "return StopEvent(result=...)"]),
        (two_contexts, ["at most one parameter of type Context", "Keep one of `a`, `b`"]),
        (yields, ["return their events, not yield them", "ctx.send_event"]),
    ],
)
def test_wrong_annotations(function, parts):
    """A signature that is no step's is refused when the workflow is made, with the parameter and the right form."""
    with pytest.raises(WorkflowValidationError) as caught:
        type("Wrong", (Workflow,), {"wrong": step(function)})()
    says(caught.value, *parts, function.__name__, "test_bad_input.py")


def test_an_annotation_that_nothing_is_called():
    """A name that does not exist is refused when the workflow is made, with the name and where it may stand."""

    class Slips(Workflow):
        @step
        async def slip(self, ev: "Strat") -> StopEvent:  # noqa: F821  the slip is what is tested
            return StopEvent()

    with pytest.raises(WorkflowValidationError) as caught:
        Slips()
    says(caught.value, "Failed to resolve type annotations", "slip", "Missing name: Strat", "in module scope")


@pytest.mark.parametrize("number", [0, -1, -4, True, 1.5, "4", None])
def test_a_worker_count_that_is_none(number):
    """num_workers has to be a whole number above 0; the error shows what it was, and where."""
    with pytest.raises(WorkflowValidationError) as caught:

        @step(num_workers=number)
        async def wrong(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    says(caught.value, "num_workers must be an integer greater than 0", f"It is {number!r}", "wrong", "@step(num_wor")


def test_a_retry_policy_that_is_none():
    """A policy class in place of a policy, and what has no next(), are refused with the right form."""
    for policy, part in (
        (ConstantDelayRetryPolicy, "Write `retry_policy=ConstantDelayRetryPolicy(...)`"),
        (3, "int has"),
    ):
        with pytest.raises(WorkflowValidationError) as caught:

            @step(retry_policy=policy)
            async def wrong(self, ev: StartEvent) -> StopEvent:
                return StopEvent()

        says(caught.value, "retry_policy must", part)


def test_an_undecorated_function():
    """A function without @step cannot be added, and the error names it and what is missing."""

    async def plain(ev: StartEvent) -> StopEvent:
        return StopEvent()

    with pytest.raises(WorkflowValidationError) as caught:
        Greet.add_step(plain)
    says(caught.value, "plain", "missing the `@step` decorator")


def test_a_free_function_without_a_workflow():
    """A free function has to say which workflow it belongs to."""
    with pytest.raises(WorkflowValidationError) as caught:

        @step
        async def free(ev: StartEvent) -> StopEvent:
            return StopEvent()

    says(caught.value, "free", "please pass a workflow class to the @step decorator")


def test_a_step_of_a_name_that_is_taken():
    """Two steps of one name are refused, by that name."""

    class Mine(Greet):
        pass

    with pytest.raises(WorkflowValidationError) as caught:

        @step(workflow=Mine)
        async def greet(ev: Job) -> StopEvent:
            return StopEvent()

    says(caught.value, "A step greet is already part of this workflow", "please choose another name")


# --- workflows that cannot work -----------------------------------------------------------------------------


def test_no_start():
    """A workflow that nothing can start is refused when it is made."""

    class Endless(Workflow):
        @step
        async def end(self, ev: Job) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowConfigurationError) as caught:
        Endless()
    says(
        caught.value, "At least one Event of type StartEvent must be received", "'Endless'", "Annotate the event param"
    )


def test_no_stop():
    """A workflow that nothing can end is refused when it is made."""

    class Endless(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            pass

    with pytest.raises(WorkflowConfigurationError) as caught:
        Endless()
    says(caught.value, "At least one Event of type StopEvent must be returned", "'Endless'", "-> StopEvent")


def test_several_starts_and_stops():
    """Only one class of start events and one of stop events is allowed; all that were found are named."""

    class OtherStop(StopEvent):
        pass

    class Two(Workflow):
        @step
        async def one(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

        @step
        async def other(self, ev: Begin) -> OtherStop:
            return OtherStop()

    with pytest.raises(WorkflowConfigurationError) as caught:
        Two()
    says(caught.value, "Only one type of StartEvent is allowed per workflow, found 2: Begin, StartEvent", "'Two'")


async def test_no_steps():
    """A workflow without steps can be made, for free functions may follow; run() says that there are none."""
    with pytest.raises(WorkflowConfigurationError) as caught:
        Workflow().run()
    says(caught.value, "Workflow 'Workflow' has no steps", "Mark a method with @step")


async def test_events_that_lead_nowhere():
    """run() lists all faults of the graph at once, each with its steps and its remedy."""

    class Broken(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Lost | StopEvent:
            return StopEvent()

        @step
        async def lost(self, ev: InputRequiredEvent) -> StopEvent:
            return StopEvent()

        @step
        async def starved(self, ev: Job) -> StopEvent:
            return StopEvent()

        @step
        async def late(self, ev: StopEvent) -> None:
            pass

        @step
        async def never(self, ev: Other) -> Other:
            return ev

    with pytest.raises(WorkflowValidationError) as caught:
        Broken().run()
    says(
        caught.value,
        "The following events are produced but never consumed: Lost",
        "The following events are consumed but never produced: Job",
        "Accepted by 'starved'",
        "Step 'late' cannot accept StopEvent",
        "Unreachable steps: never, starved",
        "Dead-end steps: never",
        "(in workflow 'Broken')",
    )


async def test_a_service_that_is_not_there():
    """A parameter that is neither event, context nor resource is a service; one that is missing is named."""

    class Needs(Workflow):
        @step
        async def begin(self, ev: StartEvent, helper) -> StopEvent:
            return StopEvent()

    with pytest.raises(WorkflowValidationError) as caught:
        Needs().run()
    says(caught.value, "The following services are not available: helper", "'begin'", "add_workflows(helper=...)")


@pytest.mark.parametrize("timeout", [-1, 0, -0.5, float("nan"), True, "5"])
def test_a_timeout_that_is_none(timeout):
    """A timeout has to be a number above 0, or None."""
    with pytest.raises(WorkflowValidationError) as caught:
        Greet(timeout=timeout)
    says(caught.value, "'Greet' cannot be made", "greater than 0, or None for no limit", repr(timeout))


@pytest.mark.parametrize("runs", [-1, 0, True, 1.5])
def test_a_number_of_runs_that_is_none(runs):
    """num_concurrent_runs has to be a whole number above 0, or None."""
    with pytest.raises(WorkflowValidationError) as caught:
        Greet(num_concurrent_runs=runs)
    says(caught.value, "'Greet' cannot be made", "num_concurrent_runs must be an integer greater than 0", repr(runs))


# --- calls of run() -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"clock": ManualClock()}])
def test_run_outside_an_event_loop(options):
    """run() needs a running loop, whatever the clock; without one it says so, and how to have one."""
    workflow = Greet(**options)
    with pytest.raises(WorkflowRuntimeError) as caught:
        workflow.run()
    says(caught.value, "Workflow 'Greet' can run only in an event loop", "asyncio.run(main())")
    assert workflow.is_done()


async def test_wrong_keywords_for_the_start_event():
    """Keywords that make no start event are refused by run(), with the class, the keywords and the field."""
    tape = Tape()
    workflow = Typed(dispatcher=tape.dispatcher)
    for keywords, field in (({}, "topic"), ({"topic": "x", "size": "big"}, "size")):
        with pytest.raises(WorkflowRuntimeError) as caught:
            workflow.run(**keywords)
        says(caught.value, "Failed creating a start event of type 'Begin' with the keyword arguments: ", field)
        says(caught.value, str(keywords))
    assert tape.records == []
    assert workflow.is_done()
    assert await workflow.run(topic="fine") == "fine"


async def test_a_wrong_start_event():
    """A start event that no step accepts is refused by run(), and so is what is no start event."""
    with pytest.raises(WorkflowRuntimeError) as caught:
        Typed().run(start_event=StartEvent(topic="x"))
    says(caught.value, "No step of workflow 'Typed' accepts the start event StartEvent", "start_event=Begin(...)")
    for wrong, name in ((Job(), "Job"), ("text", "str"), (Begin, "ModelMetaclass")):
        with pytest.raises(ValueError, match="must be an instance of 'StartEvent'") as caught:
            Typed().run(start_event=wrong)
        assert f"not {name}" in str(caught.value)
        assert "workflow 'Typed' starts with Begin" in str(caught.value)


async def test_what_is_no_context():
    """The first argument of run() is a context: whoever gives the input there is told where it belongs."""
    with pytest.raises(WorkflowValidationError) as caught:
        Greet().run("Ada")
    says(caught.value, "run() of workflow 'Greet' takes a Context as ctx, not str: 'Ada'", "run(field=...)")


async def test_a_context_that_is_in_use():
    """A context cannot serve two runs at once; the error names the run that has it."""

    class Stands(Workflow):
        @step
        async def stand(self, ev: StartEvent) -> StopEvent:
            await asyncio.Event().wait()
            return StopEvent()

    workflow = Stands()
    handler = workflow.run(run_id="the-first")
    with pytest.raises(ContextStateError) as caught:
        workflow.run(ctx=handler.ctx)
    says(caught.value, "in use by run the-first of workflow 'Stands'", "a context of its own")
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_data_of_another_library():
    """Data that otflow did not write is refused with what is missing."""
    with pytest.raises(ContextSerdeError) as caught:
        Context.from_dict(Greet(), {"state": {}, "queues": {}, "version": 1})
    says(caught.value, "no version", "'otflow_context'", "start a new run")


async def test_a_state_that_cannot_be_saved():
    """Saving names the key whose value has no JSON, and what could hold it."""
    ctx = Context(Greet())
    await ctx.set("client", object())
    with pytest.raises(ValueError, match="key client") as caught:
        ctx.to_dict()
    says(caught.value, "builtins.object", "PickleSerializer")


# --- while it runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [("text", "str"), (3, "int"), ([StopEvent()], "list"), (StopEvent, "ModelMetaclass"), ({}, "dict")],
)
async def test_a_step_that_returns_no_event(value, name):
    """Returning what is no event fails the step at once, with the type that came."""

    class Wrong(Workflow):
        @step
        async def wrong(self, ev: StartEvent) -> StopEvent:
            return value

    with pytest.raises(WorkflowRuntimeError) as caught:
        await Wrong().run()
    says(caught.value, f"Step function wrong returned {name} instead of an Event instance")


async def test_a_factory_that_fails():
    """An error inside a resource factory is that of the step, and its note leads to the factory."""

    def connect():
        raise ConnectionError("refused")

    class Uses(Workflow):
        @step
        async def use(self, ev: StartEvent, client: Annotated[object, Resource(connect)]) -> StopEvent:
            return StopEvent()

    with pytest.raises(ConnectionError) as caught:
        await Uses().run()
    says(caught.value, "Error in step 'use': refused")
    note = "\n".join(caught.value.__cause__.__notes__)
    assert "connect" in note
    assert "test_bad_input.py" in note
    assert "asked for by step 'use'" in note


async def test_a_task_inside_a_step_that_is_cancelled():
    """A step that lets the cancellation of something else out fails with what it should have done."""

    class Awaits(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError) as caught:
        await Awaits().run()
    says(caught.value, "Error in step 'wait'", "although nobody cancelled it", "Catch asyncio.CancelledError")


async def test_a_result_that_cannot_be_had():
    """A stop event whose own code fails ends the run with that error, and does not leave its caller waiting."""

    class Result(StopEvent):
        def _get_result(self):
            raise ZeroDivisionError("result")

    class Ends(Workflow):
        @step
        async def end(self, ev: StartEvent) -> Result:
            return Result()

    with pytest.raises(ZeroDivisionError, match="result"):
        await Ends().run()


class Torn(Event):
    part: int = 0

    @field_serializer("part")
    def write(self, part):
        raise RuntimeError("no JSON")

    def __repr__(self):
        raise RuntimeError("no repr")


async def test_an_event_that_breaks_when_it_is_written_down():
    """An event whose own code fails when it is serialised does no harm to the run: its record says what it was."""

    class Sends(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> Torn:
            ctx.write_event_to_stream(Torn())
            await ctx.set("torn", Torn())
            return Torn()

        @step
        async def second(self, ev: Torn) -> StopEvent:
            return StopEvent(result="fine")

    tape = Tape()
    assert await Sends(dispatcher=tape.dispatcher).run() == "fine"
    sent = tape.all(EventSent)[0]
    assert sent.body.opaque
    assert b"test_bad_input.Torn" in sent.body.json


async def test_nobody_hangs_on_a_step_that_will_not_end():
    """A step that ignores its cancellation does not keep its caller: cancel_run returns when its patience ends."""

    class Stubborn(Workflow):
        @step
        async def stay(self, ev: StartEvent) -> StopEvent:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    refused.append(1)
                    if len(refused) > 1:
                        raise
            return StopEvent()

    released, refused = asyncio.Event(), []
    handler = Stubborn(clock=(clock := ManualClock())).run()
    await until(lambda: handler.ctx.run.crew._standing)
    await handler.cancel_run(timeout=0)
    assert not handler.done()
    await until(lambda: refused)
    clock.advance(5)  # the time that a cancelled step has
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    released.set()


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class NoRepr(Exception):
    def __repr__(self):
        raise RuntimeError("no repr")


class Final(Exception):
    def __init_subclass__(cls):
        raise RuntimeError("final")


class Fussy(Exception):
    def __init__(self, one, *, two):
        self.both = (one, two)


class Locked(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)


@pytest.mark.parametrize("error", [NoText("a"), NoRepr("a"), Final("a"), Fussy(1, two=2), Locked("a"), UnicodeError()])
async def test_exceptions_that_are_odd(error):
    """Whatever class of exception a step raises, the run ends with it as the cause, and nobody hangs."""

    class Odd(Workflow):
        @step
        async def odd(self, ev: StartEvent) -> StopEvent:
            raise error

    tape = Tape()
    handler = Odd(dispatcher=tape.dispatcher).run()
    with pytest.raises(WorkflowRuntimeError) as caught:
        await handler
    assert caught.value.__cause__ is error
    assert "Error in step 'odd'" in str(caught.value)
    assert isinstance(caught.value, type(error)) or isinstance(error, Final | Locked)
    assert tape.records[-1].error.type == f"{type(error).__module__}.{type(error).__qualname__}"
