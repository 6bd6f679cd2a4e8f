"""How often a failing step is tried, what its policy is told, and what of a failed attempt stays."""

import asyncio
import zlib

import pytest

from otflow import Context, Event, StartEvent, StopEvent, Workflow, WorkflowFailedEvent, WorkflowRuntimeError, step
from otflow.records.record import EventSent, RetryQueued, RetryScheduled, RunPaused, StepFailed, StepStarted
from otflow.retry_policy import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_never,
    retry_policy,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_exponential,
    wait_fixed,
    wait_full_jitter,
    wait_incrementing,
    wait_none,
    wait_random,
)
from otflow.runtime.clock import ManualClock
from tests.api.loops import turn, until
from tests.api.tape import Tape


class Job(Event):
    n: int = 0


class Report(Event):
    n: int = 0


class Noted:
    """A policy of a user: notes what it is asked, and answers as it is told."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, int, Exception]] = []

    def next(self, elapsed_time, attempts, error):
        """Give the next answer, or None when there is none left."""
        self.asked.append((elapsed_time, attempts, error))
        return self.answers.pop(0) if self.answers else None


class Seeded(Noted):
    """As above, and notes the seeds."""

    seeds: list[int]

    def next(self, elapsed_time, attempts, error, *, seed=None):
        """Give the next answer, or None when there is none left."""
        self.seeds = [*getattr(self, "seeds", []), seed]
        return super().next(elapsed_time, attempts, error)


def failing(policy, *, work=0.0, errors=None, **options):
    """Make a workflow whose step takes `work` seconds of the clock and fails, with these errors or for ever."""

    class Fails(Workflow):
        @step(retry_policy=policy)
        async def fail(self, ev: StartEvent) -> StopEvent:
            clock.advance(work)
            if errors is None:
                raise ValueError("always")
            if errors:
                raise errors.pop(0)
            return StopEvent(result="done")

    clock, tape = ManualClock(), Tape()
    workflow = Fails(timeout=None, clock=clock, dispatcher=tape.dispatcher)
    return workflow, clock, tape


async def settle(handler, clock, tape) -> list[float]:
    """Bring a run to its end, letting each delay pass; return the delays."""
    seen = 0
    while not handler.done():
        await turn(3)
        scheduled = tape.all(RetryScheduled)[seen:]
        for record in scheduled:
            clock.advance(record.delay)
        seen += len(scheduled)
    return [record.delay for record in tape.all(RetryScheduled)]


# --- how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (None, []),
        (ConstantDelayRetryPolicy(maximum_attempts=3, delay=5), [5, 5, 5]),  # it counts retries: 4 executions
        (ConstantDelayRetryPolicy(maximum_attempts=0, delay=5), []),
        (ConstantDelayRetryPolicy(), [5, 5, 5]),
        (ExponentialBackoffRetryPolicy(maximum_attempts=4, jitter=False), [1, 2, 4]),  # it counts attempts
        (
            ExponentialBackoffRetryPolicy(maximum_attempts=5, initial_delay=4, max_delay=10, jitter=False),
            [4, 8, 10, 10],
        ),
        (retry_policy(), [5, 5]),
        (retry_policy(stop=stop_after_attempt(1)), []),
        (retry_policy(wait=wait_none(), stop=stop_after_attempt(4)), [0, 0, 0]),
        (retry_policy(wait=wait_incrementing(1, 2), stop=stop_after_attempt(4)), [1, 3, 5]),
        (retry_policy(wait=wait_exponential(), stop=stop_after_attempt(5)), [1, 2, 4, 8]),
        (retry_policy(wait=wait_chain(wait_fixed(1), wait_fixed(7)), stop=stop_after_attempt(5)), [1, 7, 7, 7]),
        (retry_policy(wait=wait_fixed(1) + wait_fixed(2), stop=stop_after_attempt(3)), [3, 3]),
        (retry_policy(wait=wait_fixed(4), stop=stop_after_delay(10)), [4, 4, 4]),
        (retry_policy(wait=wait_fixed(4), stop=stop_before_delay(10)), [4, 4]),
        (retry_policy(wait=wait_fixed(4), stop=stop_after_attempt(9) | stop_after_delay(4)), [4]),
        (retry_policy(wait=wait_fixed(4), stop=stop_after_attempt(2) & stop_after_delay(8)), [4, 4]),
        (retry_policy(retry=retry_never(), stop=stop_never()), []),
        (retry_policy(retry=retry_if_exception_type(OSError)), []),
        (retry_policy(retry=retry_if_exception_type((OSError, ValueError))), [5, 5]),
        (retry_policy(retry=retry_unless_exception_type(OSError)), [5, 5]),
        (retry_policy(retry=retry_if_exception_message(message="always")), [5, 5]),
        (retry_policy(retry=retry_if_exception_message(match="never")), []),
        (Noted(1, 0.5, 2), [1, 0.5, 2]),
    ],
)
async def test_number_of_executions(policy, delays):
    """Each kind of policy leads to its number of executions, with its delays between them, and then to the error."""
    workflow, clock, tape = failing(policy)
    handler = workflow.run()
    assert await settle(handler, clock, tape) == delays
    with pytest.raises(ValueError, match="always"):
        await handler
    assert [record.attempt for record in tape.all(StepStarted)] == list(range(1, len(delays) + 2))
    assert len(tape.all(StepFailed)) == len(delays) + 1


async def test_a_retry_that_succeeds_ends_as_if_nothing_had_been():
    """When an attempt returns, the run goes on with what it returned."""
    workflow, clock, tape = failing(retry_policy(), errors=[ValueError(), OSError()])
    handler = workflow.run()
    await settle(handler, clock, tape)
    assert await handler == "done"


async def test_plain_steps_retry_too():
    """A plain step is tried again like any other."""

    class Plain(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0), stop=stop_after_attempt(3)))
        def fail(self, ctx: Context, ev: StartEvent) -> StopEvent:
            seen.append(ctx.attempt)
            if ctx.attempt < 3:
                raise ValueError
            return StopEvent(result="done")

    seen: list[int] = []
    assert await Plain().run() == "done"
    assert seen == [1, 2, 3]


async def test_jitter_is_the_same_for_the_same_run():
    """A random wait is drawn with a seed made of run, invocation and attempt, so that it can be drawn again."""
    drawn = []
    for run_id in ("one", "one", "two"):
        policy = retry_policy(wait=wait_random(0, 100) + wait_full_jitter(), stop=stop_after_attempt(4))
        workflow, clock, tape = failing(policy)
        handler = workflow.run(run_id=run_id)
        drawn.append(await settle(handler, clock, tape))
        assert handler.exception()
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 3


# --- what a policy is told ----------------------------------------------------------------------------------


async def test_a_policy_is_told_time_attempts_and_the_error_itself():
    """Elapsed counts from the first failure, attempts from 1, and the error is the very one that was raised."""
    errors = [ValueError("1"), OSError("2"), ValueError("3")]
    policy = Noted(10, 20)
    workflow, clock, tape = failing(policy, work=1, errors=list(errors))
    handler = workflow.run()
    await settle(handler, clock, tape)
    assert [(elapsed, attempts) for elapsed, attempts, _ in policy.asked] == [(0.0, 1), (11.0, 2), (32.0, 3)]
    assert [error for _, _, error in policy.asked] == errors
    assert all(given is raised for (_, _, given), raised in zip(policy.asked, errors, strict=True))
    with pytest.raises(ValueError, match="3"):
        await handler


async def test_a_policy_that_takes_a_seed_gets_one():
    """The keyword `seed` is given to a policy whose next takes it: another one for each attempt."""
    policy = Seeded(0, 0)
    workflow, clock, tape = failing(policy)
    handler = workflow.run(run_id="r")
    await settle(handler, clock, tape)
    invocation = tape.all(StepStarted)[0].invocation
    assert policy.seeds == [zlib.crc32(f"r:{invocation}:{n}".encode()) for n in (1, 2, 3)]
    assert handler.exception()


async def test_each_invocation_has_its_own_count():
    """Attempts and elapsed time are counted for each invocation of a step by itself."""

    class Many(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(3):
                ctx.send_event(Job(n=n))

        @step(retry_policy=policy_of_all())
        async def fail(self, ctx: Context, ev: Job) -> Report:
            seen.append((ev.n, ctx.attempt))
            if ctx.attempt <= ev.n:
                raise ValueError
            return Report(n=ev.n)

        @step
        async def end(self, ctx: Context, ev: Report) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Report] * 3) else None

    seen: list[tuple[int, int]] = []
    await Many().run()
    assert sorted(seen) == [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


def policy_of_all():
    """Make a policy that retries at once, for ever."""
    return retry_policy(wait=wait_none(), stop=stop_never())


@pytest.mark.parametrize("policy_class", [ConstantDelayRetryPolicy, Noted])
async def test_one_policy_serves_many_steps(policy_class):
    """A policy knows no step: the same object may stand at several of them."""
    shared = policy_class(1, 0) if policy_class is ConstantDelayRetryPolicy else policy_class(0, 0)

    class Two(Workflow):
        @step(retry_policy=shared)
        async def first(self, ctx: Context, ev: StartEvent) -> Job:
            if ctx.attempt == 1:
                raise ValueError
            return Job()

        @step(retry_policy=shared)
        async def second(self, ctx: Context, ev: Job) -> StopEvent:
            if ctx.attempt == 1:
                raise ValueError
            return StopEvent()

    tape = Tape()
    await Two(dispatcher=tape.dispatcher).run()
    assert [record.attempt for record in tape.all(StepStarted)] == [1, 2, 1, 2]


# --- policies that are wrong --------------------------------------------------------------------------------


class Raises:
    def next(self, elapsed_time, attempts, error):
        """Fail."""
        raise KeyError("policy")


class Waits:
    async def next(self, elapsed_time, attempts, error):
        """Answer too late."""
        return 1


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (Raises(), "raised KeyError('policy') when asked about attempt 1"),
        (Waits(), "Write next() as a plain function"),
        (Noted("soon"), "answered 'soon' after attempt 1"),
        (Noted(-1), "answered -1 after attempt 1"),
        (Noted(float("nan")), "answered nan"),
        (Noted(float("inf")), "answered inf"),
        (Noted(True), "answered True"),
        (Noted(0, "soon"), "answered 'soon' after attempt 2"),
    ],
)
async def test_a_policy_that_is_no_good_ends_the_run_by_name(policy, says):
    """A policy that raises, or answers nonsense, ends the run with an error that names it and what it has to do."""
    workflow, clock, tape = failing(policy)
    handler = workflow.run()
    await settle(handler, clock, tape)
    with pytest.raises(WorkflowRuntimeError) as caught:
        await handler
    assert says in str(caught.value)
    assert f"Retry policy {type(policy).__module__}.{type(policy).__qualname__}" in str(caught.value)
    assert "next() " in str(caught.value)
    last = [event async for event in handler.stream_events()][-1]
    assert (last.step_name, last.exception) == ("fail", caught.value)


# --- while it is delayed ------------------------------------------------------------------------------------


async def test_the_slot_is_free_during_the_delay():
    """A step that waits for its retry holds no worker: other events are worked on, and the retry goes first then."""

    class One(Workflow):
        @step
        async def fan(self, ctx: Context, ev: StartEvent) -> Job | None:
            for n in range(3):
                ctx.send_event(Job(n=n))

        @step(num_workers=1, retry_policy=retry_policy(wait=wait_fixed(10)))
        async def work(self, ctx: Context, ev: Job) -> StopEvent | None:
            seen.append((ev.n, ctx.attempt))
            if ev.n == 0 and ctx.attempt == 1:
                raise ValueError
            if ev.n == 1:
                await go_on.wait()
            return StopEvent() if ev.n == 2 else None

    seen: list[tuple[int, int]] = []
    go_on, clock, tape = asyncio.Event(), ManualClock(), Tape()
    handler = One(clock=clock, dispatcher=tape.dispatcher).run()
    await until(lambda: len(seen) == 2)
    clock.advance(10)
    await until(lambda: tape.all(RetryQueued))
    go_on.set()
    await handler
    # the retry began before the event that was queued behind the second one
    assert seen == [(0, 1), (1, 1), (0, 2), (2, 1)]


async def test_a_run_is_paused_while_it_only_waits_for_a_retry():
    """Nothing stands while nothing runs: the run pauses, and resumes when the delay is over, not before."""
    workflow, clock, tape = failing(retry_policy(), errors=[ValueError()])
    handler = workflow.run()
    await until(lambda: tape.all(RunPaused))
    assert tape.all(RunPaused)[0].reason == "delayed"
    clock.advance(4.999)
    await turn()
    assert len(tape.all(StepStarted)) == 1
    clock.advance(0.001)
    await turn()
    assert tape.names()[-1] == "RunCompleted"
    assert await handler == "done"


async def test_a_cancelled_run_does_not_retry():
    """The end of a run ends its delays."""
    workflow, clock, tape = failing(retry_policy())
    handler = workflow.run()
    await until(lambda: tape.all(RunPaused))
    await handler.cancel_run()
    known = len(tape.records)
    assert not any(timer.call for _, _, timer in clock._timers)  # nor is anything kept for them
    clock.advance(100)
    await turn()
    assert len(tape.records) == known
    assert len(tape.all(StepStarted)) == 1


# --- what stays ---------------------------------------------------------------------------------------------


async def test_what_a_failed_attempt_did_stays_done():
    """Events that a failed attempt sent are delivered, and its writes to state and stream stay."""

    class Effects(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def act(self, ctx: Context, ev: StartEvent) -> Job | Report:
            ctx.send_event(Report(n=ctx.attempt))
            ctx.write_event_to_stream(Report(n=ctx.attempt))
            await ctx.set("attempts", [*await ctx.get("attempts", default=[]), ctx.attempt])
            if ctx.attempt < 3:
                raise ValueError
            return Job()

        @step(num_workers=1)
        async def hear(self, ctx: Context, ev: Report) -> None:
            heard.append(ev.n)

        @step
        async def end(self, ctx: Context, ev: Job) -> StopEvent:
            return StopEvent(result=await ctx.get("attempts"))

    heard: list[int] = []
    handler = Effects().run()
    assert [event.n async for event in handler.stream_events() if isinstance(event, Report)] == [1, 2, 3]
    assert await handler == [1, 2, 3]
    assert heard == [1, 2, 3]


async def test_the_error_of_the_last_attempt_is_the_error_of_the_run():
    """The run raises what the last attempt raised, and its stream ends with that error and the number of attempts."""
    errors = [OSError("first"), ValueError("second"), KeyError("third")]
    workflow, clock, tape = failing(retry_policy(wait=wait_fixed(2)), work=1, errors=list(errors))
    handler = workflow.run()
    await settle(handler, clock, tape)
    with pytest.raises(KeyError) as caught:
        await handler
    assert caught.value.__cause__ is errors[2]
    last = [event async for event in handler.stream_events()][-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception, last.attempts) == ("fail", errors[2], 3)
    assert last.elapsed_seconds == 7.0


async def test_a_step_that_returns_something_wrong_is_not_tried_again():
    """Returning what is no event is a mistake in the code: another attempt would not mend it."""

    class Wrong(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def wrong(self, ev: StartEvent) -> StopEvent:
            return "text"

    tape = Tape()
    with pytest.raises(WorkflowRuntimeError, match="Step function wrong returned str instead of an Event"):
        await Wrong(dispatcher=tape.dispatcher).run()
    assert len(tape.all(StepStarted)) == 1


async def test_what_comes_after_a_retry_has_its_own_reason():
    """A run that recovers from an error and then ends for another reason does not blame the first one."""

    class Then(Workflow):
        @step(retry_policy=retry_policy(wait=wait_fixed(0)))
        async def first(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            if ctx.attempt == 1:
                raise KeyError("old")

    tape = Tape()
    handler = Then(dispatcher=tape.dispatcher).run()
    with pytest.raises(WorkflowRuntimeError, match="can make no more progress") as caught:
        await handler
    assert "old" not in repr(caught.value)
    assert [event async for event in handler.stream_events()][-1].exception is caught.value
    assert not tape.all(EventSent)
