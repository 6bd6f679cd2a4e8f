"""What runs come to: exact numbers, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio

import pytest

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.errors import WorkflowStalledError, WorkflowTimeoutError
from otflow.metrics.cells import Cells
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.sinks import metrics as sink_module
from otflow.sinks.metrics import MetricSink, attach
from tests.api.loops import turn, until
from tests.metrics.counts import House, numbers

START = "otflow.events:StartEvent"
STOP = "otflow.events:StopEvent"


class Work(Event):
    n: int


class Done(Event):
    n: int


class Lost(Event):
    pass


class Answer(HumanResponseEvent):
    text: str = ""


class Question(InputRequiredEvent):
    pass


def kind(event: type[Event]) -> str:
    """Name a type as records do."""
    return f"{event.__module__}:{event.__qualname__}"


WORK, DONE, LOST, ANSWER, QUESTION = map(kind, (Work, Done, Lost, Answer, Question))


class FanOut(Workflow):
    """Sends four pieces of work to two workers, each of which takes a second, and collects what they return."""

    house: House

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for n in range(4):
            ctx.send_event(Work(n=n))
        ctx.send_event(Lost())
        await ctx.store.set("pieces", 4)
        ctx.write_event_to_stream(Lost())
        return None

    @step(num_workers=2)
    async def work(self, ev: Work) -> Done:
        woken = asyncio.get_running_loop().create_future()
        self.house.clock.call_later(1, lambda: woken.set_result(None))
        await woken
        return Done(n=ev.n)

    @step
    async def join(self, ctx: Context, ev: Done) -> StopEvent | None:
        found = ctx.collect_events(ev, [Done] * 4)
        return StopEvent(result=len(found)) if found else None


async def test_a_fan_out():
    """Each attempt counts once: those that put an event aside apart, and waits for a worker by their length."""
    house = House()
    workflow = FanOut(**house.terms)
    workflow.house = house
    handler = workflow.run()
    await turn()
    assert house.numbers("step.active", "step.queued", "step.workers", "run.active") == {
        "step.active{FanOut, work}": 2,
        "step.queued{FanOut, work}": 2,
        "step.workers{FanOut, split}": 4,
        "step.workers{FanOut, work}": 2,
        "step.workers{FanOut, join}": 4,
        "run.active{FanOut}": 1,
    }
    for _ in range(2):
        house.clock.advance(1)
        await turn()
    assert await handler == 4
    assert house.numbers() == {
        "run.duration{FanOut, ok, }": (1, 2.0),
        "step.duration{FanOut, split, ok, , false}": (1, 0.0),
        "step.duration{FanOut, work, ok, , false}": (4, 4.0),
        "step.duration{FanOut, join, buffered, , false}": (3, 0.0),
        "step.duration{FanOut, join, ok, , false}": (1, 0.0),
        "step.queue.duration{FanOut, split}": (1, 0.0),
        "step.queue.duration{FanOut, work}": (4, 2.0),
        "step.queue.duration{FanOut, join}": (4, 0.0),
        "run.time_to_first_event{FanOut}": (1, 0.0),
        f"events{{FanOut, {START}, emitted}}": 1,
        f"events{{FanOut, {WORK}, emitted}}": 4,
        f"events{{FanOut, {DONE}, emitted}}": 4,
        f"events{{FanOut, {STOP}, emitted}}": 1,
        f"events{{FanOut, {LOST}, emitted}}": 1,
        f"events{{FanOut, {LOST}, unhandled}}": 1,
        f"events{{FanOut, {LOST}, streamed}}": 1,
        "state.writes{FanOut}": 1,
    }


class Flaky(Workflow):
    """Fails so often, each time after a second."""

    house: House
    failures = 1

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=10))
    async def go(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.house.clock.advance(1)
        if ctx.attempt <= self.failures:
            raise ConnectionError("no line")
        return StopEvent(result=ctx.attempt)


async def run_flaky(failures: int) -> House:
    """Run it to its end."""
    house = House()
    workflow = Flaky(**house.terms)
    workflow.house, workflow.failures = house, failures
    handler = workflow.run()
    for _ in range(2):
        await turn()
        assert house.numbers("run.waiting") == ({} if handler.done() else {"run.waiting{Flaky}": 1})
        house.clock.advance(10)
    await turn()
    if failures < 3:
        assert await handler == failures + 1
    else:
        with pytest.raises(ConnectionError):
            await handler
    return house


@pytest.mark.parametrize("failures", [1, 2])
async def test_retries_that_help(failures):
    """A retry counts by what failed; the delay is neither work nor a wait for a worker, and the run is paused."""
    house = await run_flaky(failures)
    error = "builtins.ConnectionError"
    again = {f"step.duration{{Flaky, go, error, {error}, true}}": (1, 1.0)} if failures == 2 else {}
    assert house.numbers() == {
        "run.duration{Flaky, ok, }": (1, failures + 1.0),
        f"step.duration{{Flaky, go, error, {error}, false}}": (1, 1.0),
        **again,
        "step.duration{Flaky, go, ok, , true}": (1, 1.0),
        "step.queue.duration{Flaky, go}": (failures + 1, 0.0),
        f"step.retries{{Flaky, go, {error}}}": failures,
        f"events{{Flaky, {START}, emitted}}": 1,
        f"events{{Flaky, {STOP}, emitted}}": 1,
    }


async def test_retries_that_do_not_help():
    """When the last attempt fails too, that counts once, and the run has failed by the same error."""
    house = await run_flaky(3)
    error = "builtins.ConnectionError"
    assert house.numbers("run.duration", "step.duration", "step.retries", "step.retries_exhausted") == {
        f"run.duration{{Flaky, error, {error}}}": (1, 3.0),
        f"step.duration{{Flaky, go, error, {error}, false}}": (1, 1.0),
        f"step.duration{{Flaky, go, error, {error}, true}}": (2, 2.0),
        f"step.retries{{Flaky, go, {error}}}": 2,
        f"step.retries_exhausted{{Flaky, go, {error}}}": 1,
    }


async def test_a_first_attempt_exhausts_nothing():
    """A step without retries that fails has no retries to exhaust."""
    house = House()

    class Breaks(Workflow):
        @step
        async def go(self, ev: StartEvent) -> StopEvent:
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await Breaks(**house.terms).run()
    assert house.numbers("step.retries", "step.retries_exhausted", "run.duration") == {
        "run.duration{Breaks, error, builtins.ValueError}": (1, 0.0)
    }


class Waits(Workflow):
    """Asks, and waits for the answer."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(), timeout=1000)
        return StopEvent(result=answer.text)


async def test_a_wait_for_a_person():
    """A wait counts by the type that it was for; neither the run nor the attempt worked meanwhile."""
    house = House()
    handler = Waits(**house.terms).run()
    await turn()
    house.clock.advance(60)
    assert house.numbers("run.active", "run.waiting", "step.active") == {
        "run.waiting{Waits}": 1,
        "step.active{Waits, ask}": 1,
    }
    handler.ctx.send_event(Answer(text="yes"))
    assert await handler == "yes"
    assert house.numbers("hitl.wait.duration", "run.duration", "step.duration", "events") == {
        f"hitl.wait.duration{{Waits, {ANSWER}}}": (1, 60.0),
        "run.duration{Waits, ok, }": (1, 0.0),
        "step.duration{Waits, ask, ok, , false}": (1, 0.0),
        f"events{{Waits, {START}, emitted}}": 1,
        f"events{{Waits, {ANSWER}, emitted}}": 1,
        f"events{{Waits, {QUESTION}, streamed}}": 1,
        f"events{{Waits, {STOP}, emitted}}": 1,
    }


async def test_a_wait_that_nobody_answers():
    """A wait that runs out counts with the time that it took."""
    house = House()
    handler = Waits(**house.terms).run()
    await turn()
    house.clock.advance(1000)
    with pytest.raises(TimeoutError):
        await handler
    assert house.numbers("hitl.wait.duration") == {f"hitl.wait.duration{{Waits, {ANSWER}}}": (1, 1000.0)}


async def test_an_event_that_only_the_outside_sends():
    """A run that is paused until a step gets its event from outside waits for a person too."""
    house = House()

    class Asks(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> Question:
            return Question()

        @step
        async def take(self, ev: Answer) -> StopEvent:
            return StopEvent(result=ev.text)

    handler = Asks(**house.terms).run()
    await turn()
    house.clock.advance(30)
    handler.ctx.send_event(Answer(text="yes"))
    assert await handler == "yes"
    assert house.numbers("hitl.wait.duration", "run.duration", "run.time_to_first_event") == {
        f"hitl.wait.duration{{Asks, {ANSWER}}}": (1, 30.0),
        "run.duration{Asks, ok, }": (1, 0.0),
        "run.time_to_first_event{Asks}": (1, 0.0),
    }
    assert f"events{{Asks, {QUESTION}, unhandled}}" not in house.numbers("events")


async def test_a_wait_for_another_step_is_no_wait_for_a_person():
    """A wait that ends while the run goes on, and asks nobody, is an affair of the run."""
    house = House()

    class Pair(Workflow):
        @step
        async def wait(self, ctx: Context, ev: StartEvent) -> Work | StopEvent:
            ctx.send_event(Work(n=1))
            await ctx.wait_for_event(Done)
            return StopEvent()

        @step
        async def work(self, ev: Work) -> Done:
            return Done(n=1)

    await Pair(skip_graph_checks={"dead_end", "terminal_event"}, **house.terms).run()
    assert house.numbers("hitl.wait.duration") == {}
    assert f"events{{Pair, {DONE}, unhandled}}" not in house.numbers("events")  # somebody waited for it


class Stands(Workflow):
    """Two attempts that stand still."""

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Work | None:
        for n in range(2):
            ctx.send_event(Work(n=n))
        return None

    @step
    async def work(self, ev: Work) -> StopEvent:
        await asyncio.get_running_loop().create_future()
        return StopEvent()


async def test_a_run_that_times_out():
    """Run and open attempts end by timeout; the run says so as an error, the attempts were only stopped."""
    house = House()
    handler = Stands(**{**house.terms, "timeout": 5}).run()
    await turn()
    house.clock.advance(5)
    with pytest.raises(WorkflowTimeoutError):
        await handler
    assert house.numbers("run.duration", "step.duration", "run.active", "step.active") == {
        "run.duration{Stands, timeout, otflow.errors.WorkflowTimeoutError}": (1, 5.0),
        "step.duration{Stands, split, ok, , false}": (1, 0.0),
        "step.duration{Stands, work, timeout, , false}": (2, 10.0),
    }


async def test_a_run_that_is_cancelled():
    """Run and open attempts end by cancellation, which is no error."""
    house = House()
    handler = Stands(**house.terms).run()
    await turn()
    house.clock.advance(3)
    await handler.cancel_run()
    assert house.numbers("run.duration", "step.duration", "run.active") == {
        "run.duration{Stands, cancelled, }": (1, 3.0),
        "step.duration{Stands, split, ok, , false}": (1, 0.0),
        "step.duration{Stands, work, cancelled, , false}": (2, 6.0),
    }


async def test_a_run_that_stalls():
    """A run that can make no more progress has failed by that error."""
    house = House()

    class Stalls(Workflow):
        @step
        async def go(self, ev: StartEvent) -> StopEvent | None:
            return None

    with pytest.raises(WorkflowStalledError):
        await Stalls(**house.terms).run()
    assert house.numbers("run.duration") == {
        "run.duration{Stalls, error, otflow.errors.WorkflowStalledError}": (1, 0.0)
    }


async def test_the_genai_convention():
    """Who asks for it gets the duration of runs under the name of the GenAI conventions too."""
    house = House(opt_in=("gen_ai_latest_experimental",))
    await FlakyOnce(house)
    assert house.numbers("gen_ai.workflow.duration") == {"gen_ai.workflow.duration{Flaky, }": (1, 1.0)}


async def FlakyOnce(house: House) -> None:  # noqa: N802  # reads as what it runs
    """Run it without a failure."""
    workflow = Flaky(**house.terms)
    workflow.house, workflow.failures = house, 0
    await workflow.run()


async def test_a_checkpoint_takes_as_long_as_its_callback():
    """The time to a checkpoint is that from the return of the step until the callback is done."""
    house = House()

    class Two(Workflow):
        @step
        async def one(self, ev: StartEvent) -> Work:
            return Work(n=1)

        @step
        async def two(self, ev: Work) -> StopEvent:
            return StopEvent(result="end")

    async def keep(*_: object, **__: object) -> None:
        house.clock.advance(2)

    assert await Two(**house.terms).run(checkpoint_callback=keep) == "end"
    assert house.numbers("checkpoint.duration") == {"checkpoint.duration{Two, callback}": (2, 4.0)}


async def test_a_restored_run():
    """A run that goes on from saved data counts from there; what ran when it was saved is begun anew."""
    house = House()
    workflow = Waits(**house.terms)
    handler = workflow.run()
    await turn()
    saved = handler.ctx.to_dict()
    house.clock.advance(500)
    restored = workflow.run(ctx=Context.from_dict(workflow, saved))
    await until(lambda: restored.ctx.run.driver.state.waits)
    house.clock.advance(20)
    restored.ctx.send_event(Answer(text="yes"))
    assert await restored == "yes"
    assert house.numbers("run.duration", "step.duration", "step.queue.duration", "hitl.wait.duration") == {
        "run.duration{Waits, ok, }": (1, 0.0),
        "step.duration{Waits, ask, ok, , false}": (1, 0.0),
        "step.queue.duration{Waits, ask}": (2, 0.0),
        f"hitl.wait.duration{{Waits, {ANSWER}}}": (1, 20.0),
    }
    await handler.cancel_run()


# --- who counts, and for how long ---------------------------------------------------------------------------


async def test_a_sink_that_comes_late():
    """A run that began before anyone looked is counted under its name from there on."""
    dispatcher, cells, house = Dispatcher(), Cells(), House()
    handler = Waits(dispatcher=dispatcher, clock=house.clock, timeout=None).run()
    await turn()
    detach = attach(dispatcher, cells)
    assert numbers(cells) == {
        "run.waiting{Waits}": 1,
        "step.active{Waits, ask}": 1,
        "step.workers{Waits, ask}": 4,
    }
    house.clock.advance(7)
    handler.ctx.send_event(Answer(text="yes"))
    await handler
    assert numbers(cells) == {
        "run.duration{Waits, ok, }": (1, 0.0),
        f"events{{Waits, {ANSWER}, emitted}}": 1,
        f"events{{Waits, {STOP}, emitted}}": 1,
    }
    detach()
    await Waits(dispatcher=dispatcher).run().cancel_run()
    assert numbers(cells, "run.duration", "run.active") == {"run.duration{Waits, ok, }": (1, 0.0)}


async def test_paused_runs_are_forgotten_some_day(monkeypatch):
    """Of many runs that never go on the latest are remembered, and one that goes on all the same is counted."""
    monkeypatch.setattr(sink_module, "KEPT_PAUSED", 3)
    house = House()
    handlers = [Waits(**house.terms).run() for _ in range(10)]
    await turn()
    handlers[0].ctx.send_event(Answer(text="yes"))
    assert await handlers[0] == "yes"
    assert house.numbers("run.duration", "run.waiting") == {
        "run.duration{Waits, ok, }": (1, 0.0),
        "run.waiting{Waits}": 9,
    }
    for handler in handlers[1:]:
        await handler.cancel_run()
    assert house.numbers("run.duration", "run.waiting")["run.duration{Waits, cancelled, }"] == (9, 0.0)


def test_batches_may_be_empty():
    """A batch of nothing is nothing."""
    cells = Cells()
    MetricSink(cells)([])
    assert numbers(cells) == {}
