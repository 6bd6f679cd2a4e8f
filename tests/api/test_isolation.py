"""To asyncio a step is a task like any other, and to other steps it is a stranger: nothing of it leaks."""

import asyncio
from contextvars import ContextVar

import pytest

from otflow import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    step,
)
from otflow.records.record import RunStarted, StepStarted
from otflow.retry_policy import retry_policy, wait_fixed
from tests.api.loops import turn, until
from tests.api.tape import Tape

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


class Job(Event):
    n: int = 0


class Next(Event):
    pass


class Two(Workflow):
    """Two steps, one after the other, which `first` and `second` are."""

    def __init__(self, first, second, **options) -> None:
        super().__init__(**options)
        self.bodies = (first, second)

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Next:
        await self.bodies[0](ctx)
        return Next()

    @step
    async def second(self, ctx: Context, ev: Next) -> StopEvent:
        return StopEvent(result=await self.bodies[1](ctx))


async def nothing(ctx) -> None:
    """Do nothing."""


# --- context variables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stands", [False, True])
async def test_what_a_step_sets_is_its_own(stands):
    """A context variable set in a step is there for the rest of that step, and for no other step nor the caller."""

    async def first(ctx):
        COLOUR.set("red")
        if stands:
            await asyncio.sleep(0)
        seen.append(COLOUR.get())

    async def second(ctx):
        if stands:
            await asyncio.sleep(0)
        seen.append(COLOUR.get())

    seen: list[str] = []
    COLOUR.set("blue")
    await Two(first, second).run()
    assert seen == ["red", "blue"]
    assert COLOUR.get() == "blue"


async def test_the_variables_of_the_caller_are_those_of_the_call():
    """Steps see the context variables as they were when run() was called; later changes are the caller's own."""

    async def show(ctx):
        return COLOUR.get()

    COLOUR.set("then")
    handler = Two(show, show).run()
    COLOUR.set("now")
    assert await handler == "then"


async def test_runs_do_not_share_variables():
    """Each run has the variables of its own caller, also one that had to wait for a slot."""

    async def show(ctx):
        await asyncio.sleep(0)
        return COLOUR.get()

    async def call(colour: str) -> str:
        COLOUR.set(colour)
        return await workflow.run()

    workflow = Two(nothing, show, num_concurrent_runs=1)
    assert await asyncio.gather(call("red"), call("green"), call("blue")) == ["red", "green", "blue"]


async def test_a_run_that_waited_for_a_slot_stands_under_its_own_parent():
    """The recorded parent of a run is what was current where run() was called, not where a slot came free."""

    class Origin:
        def enter(self, started) -> None:
            """Leave everything as it is."""

        def origin(self) -> str:
            """Name the span of the caller."""
            return f"00-{COLOUR.get()}-01"

    async def call(colour: str) -> None:
        COLOUR.set(colour)
        await workflow.run()

    tape = Tape()
    tape.dispatcher.attach(lambda _: None, scope=Origin())
    workflow = Two(nothing, nothing, num_concurrent_runs=1, dispatcher=tape.dispatcher)
    await asyncio.gather(call("red"), call("green"))
    assert [record.parent for record in tape.all(RunStarted)] == ["00-red-01", "00-green-01"]


async def test_attempts_do_not_share_variables():
    """What a failed attempt set is not seen by the next one."""

    class Flaky(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def flaky(self, ctx: Context, ev: StartEvent) -> StopEvent:
            seen.append(COLOUR.get())
            COLOUR.set("red")
            if ctx.attempt == 1:
                raise ValueError
            return StopEvent()

    seen: list[str] = []
    await Flaky().run()
    assert seen == ["none", "none"]


async def test_invocations_at_once_do_not_share_variables():
    """Workers of one step that stand still at the same time each keep their own variables."""

    class Fan(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(4):
                ctx.send_event(Job(n=n))

        @step
        async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            COLOUR.set(str(ev.n))
            await turn(ev.n)
            seen.append((str(ev.n), COLOUR.get()))
            return StopEvent() if len(seen) == 4 else None

    seen: list[tuple[str, str]] = []
    await Fan().run()
    assert all(mine == found for mine, found in seen)


async def test_a_variable_is_reset_across_awaits():
    """A token is good for the whole step: what was set before an await can be reset after it."""

    async def first(ctx):
        token = COLOUR.set("red")
        await asyncio.sleep(0)
        COLOUR.reset(token)
        return COLOUR.get()

    assert await Two(nothing, first).run() == "none"


async def test_child_tasks_inherit_what_their_step_set():
    """A task, and a thread, that a step starts see the variables of the step."""

    async def show():
        return COLOUR.get()

    async def body(ctx):
        COLOUR.set("red")
        return [await asyncio.create_task(show()), await asyncio.to_thread(COLOUR.get)]

    assert await Two(nothing, body).run() == ["red", "red"]


# --- timeouts, groups, children -----------------------------------------------------------------------------


async def test_asyncio_timeout_inside_a_step():
    """A timeout inside a step ends what it surrounds, and the step goes on."""

    async def body(ctx):
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"

    async def wait_for(ctx):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0)
        return await body(ctx)

    assert await Two(body, wait_for).run() == "late"


async def test_a_timeout_that_is_not_reached():
    """A timeout around work that ends in time changes nothing, and does not ring in the next step."""

    async def body(ctx):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    assert await Two(body, body).run() == 0


async def test_a_task_group_inside_a_step():
    """A task group works in a step: a child that fails ends the others, and the group raises its errors."""

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("child")

    async def stand():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def body(ctx):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stand())
                group.create_task(fail())
        except ExceptionGroup as caught:
            return [str(error) for error in caught.exceptions]

    seen: list[str] = []
    assert await Two(body, body).run() == ["child"]
    assert seen == ["cancelled"] * 2


async def test_an_exception_group_is_the_error_of_the_run():
    """A group of exceptions that leaves a step is raised by the run, and can be caught by its parts."""

    async def body(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def fail():
        raise ValueError("child")

    with pytest.raises(ExceptionGroup) as caught:
        await Two(body, nothing).run()
    assert caught.value.subgroup(ValueError) is not None


async def test_gather_inside_a_step():
    """Children of a step run side by side, and the error of one is that of the step."""

    async def meet(mine, other):
        mine.set()
        await other.wait()
        return "met"

    async def body(ctx):
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(meet(one, two), meet(two, one))

    assert await Two(body, body).run() == ["met", "met"]


async def test_a_child_that_is_left_behind_goes_on():
    """A task that a step starts and does not wait for is the user's: the end of the run does not end it."""

    async def later():
        await go_on.wait()
        return "went on"

    async def body(ctx):
        tasks.append(asyncio.create_task(later()))

    go_on, tasks = asyncio.Event(), []
    await Two(body, nothing).run()
    go_on.set()
    assert await tasks[0] == "went on"


async def test_steps_that_never_stand_let_others_work():
    """A long chain of steps without a single await gives the loop to others now and then."""

    class Chain(Workflow):
        @step
        async def link(self, ev: StartEvent | Job) -> Job | StopEvent:
            n = ev.n if isinstance(ev, Job) else 0
            return Job(n=n + 1) if n < 2000 else StopEvent()

    async def tick() -> None:
        while not handler.done():
            ticks.append(1)
            await asyncio.sleep(0)

    ticks: list[int] = []
    handler = Chain().run()
    await asyncio.gather(handler, tick())
    assert len(ticks) >= 10


# --- cancellation -------------------------------------------------------------------------------------------


async def test_a_step_that_awaits_what_was_cancelled():
    """A CancelledError that nobody sent to the step is its failure: the run ends with it, and does not hang."""

    async def body(ctx):
        child = asyncio.create_task(asyncio.Event().wait())
        child.cancel()
        await child

    with pytest.raises(WorkflowRuntimeError) as caught:
        await Two(body, nothing).run()
    assert "Error in step 'first': it raised CancelledError although nobody cancelled it" in str(caught.value)
    assert "Catch asyncio.CancelledError" in str(caught.value)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_a_step_that_raises_cancelled_error():
    """The same goes for a CancelledError that a step raises itself; its retry policy may have another try."""

    class Raises(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def fail(self, ev: StartEvent) -> StopEvent:
            raise asyncio.CancelledError

    tape = Tape()
    with pytest.raises(WorkflowRuntimeError, match="it raised CancelledError"):
        await Raises(dispatcher=tape.dispatcher).run()
    assert len(tape.all(StepStarted)) == 3


async def test_a_step_that_cancels_its_own_task():
    """A step whose task is cancelled takes its run along, which ends as cancelled."""

    async def body(ctx):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(WorkflowCancelledByUser, match="its task was cancelled"):
        await Two(body, nothing).run()


@pytest.mark.parametrize("stands", [False, True])
async def test_a_cancellation_that_a_step_keeps_to_itself(stands):
    """A step that cancels its own task and gets over it leaves nothing of that to the next step."""

    async def first(ctx):
        asyncio.current_task().cancel()
        if stands:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(0)

    async def second(ctx):
        await asyncio.sleep(0)
        left = asyncio.current_task().cancelling()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0)
        return left

    assert await Two(first, second).run() == 0


async def test_a_cancelled_step_may_clean_up():
    """A step of a run that is cancelled gets a CancelledError, and may still await while it cleans up."""

    async def body(ctx):
        try:
            await asyncio.Event().wait()
        finally:
            await turn(5)
            await ctx.set("clean", value=True)
            seen.append("clean")

    seen: list[str] = []
    handler = Two(body, nothing).run()
    await until(lambda: handler.ctx.run.crew._standing)
    await handler.cancel_run()
    assert seen == ["clean"]
    assert await handler.ctx.get("clean") is True
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_what_a_cancelled_step_still_says_does_not_count():
    """Events that a step sends, returns or streams after the end of its run go nowhere."""

    class Late(Workflow):
        @step
        async def late(self, ctx: Context, ev: StartEvent) -> Job:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ctx.write_event_to_stream(Next())
            return Job()

        @step
        async def end(self, ev: Job) -> StopEvent:
            raise AssertionError("never")

    tape = Tape()
    handler = Late(dispatcher=tape.dispatcher).run()
    await turn()
    await handler.cancel_run()
    assert tape.names()[-1] == "RunCancelled"
    assert [type(event).__name__ async for event in handler.stream_events()] == ["WorkflowCancelledEvent"]
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_siblings_of_a_failed_step_are_cancelled():
    """When one step fails for good, the others get a CancelledError, and the run raises the failure."""

    class Siblings(Workflow):
        @step
        async def fail(self, ev: StartEvent) -> StopEvent:
            await standing.wait()
            raise ValueError("first")

        @step
        async def stand(self, ev: StartEvent) -> StopEvent:
            standing.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise ValueError("second") from None
            return StopEvent()

    standing, seen = asyncio.Event(), []
    with pytest.raises(ValueError, match="first"):
        await Siblings().run()
    assert seen == ["cancelled"]


class Abort(BaseException):
    """What is no Exception."""


@pytest.mark.parametrize("stands", [False, True])
async def test_a_step_that_raises_what_is_no_exception(stands):
    """A BaseException of a user is the failure of its step, by name, without another attempt; the run does not hang."""

    class Raises(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def fail(self, ev: StartEvent) -> StopEvent:
            if stands:
                await asyncio.sleep(0)
            raise Abort("enough")

    tape = Tape()
    with pytest.raises(WorkflowRuntimeError) as caught:
        await Raises(dispatcher=tape.dispatcher).run()
    assert "Error in step 'fail': it raised Abort, which is no Exception: enough" in str(caught.value)
    assert isinstance(caught.value.__cause__, Abort)
    assert len(tape.all(StepStarted)) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_the_end_of_the_process_passes_through(kind):
    """A step that ends the process ends it, and its run is cancelled on the way."""

    async def body(ctx):
        raise kind

    async def main():
        handlers.append(Two(body, nothing).run())
        await handlers[0]

    handlers = []
    with pytest.raises(kind):
        asyncio.run(main())
    with pytest.raises(WorkflowCancelledByUser, match=f"step 'first' raised {kind.__name__}"):
        handlers[0].result()


def test_a_loop_that_ends_takes_its_runs_along():
    """When a program ends while runs go on, their steps are cancelled and nothing is complained about."""

    async def stand(ctx):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def main():
        handlers[:] = [Two(stand, nothing).run() for _ in range(3)]
        await until(lambda: all(handler.ctx.run.crew._standing for handler in handlers))
        Two(nothing, nothing).run()  # has not even begun

    handlers, seen = [], []
    asyncio.run(main())
    assert seen == ["cancelled"] * 3
    assert all(isinstance(handler.exception(), WorkflowCancelledByUser) for handler in handlers)
