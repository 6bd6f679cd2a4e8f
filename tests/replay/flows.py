"""Workflows of the tests of replay, and the records of their runs."""

from __future__ import annotations

from contextlib import suppress

from otflow import Event, StartEvent, StopEvent, Workflow, catch_error, step
from otflow.context.context import Context
from otflow.events import HumanResponseEvent, InputRequiredEvent, StepFailedEvent
from otflow.records.execution import Execution
from otflow.records.record import EventReceived, EventSent, StepCompleted, StepStarted
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.testing import capture_records


class One(Event):
    number: int


class Two(Event):
    number: int


class Extra(Event):
    number: int = 0


class Ask(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    text: str


class Chain(Workflow):
    """Three steps in a row, with a state."""

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> One:
        await ctx.store.set("seen.first", ev.number)
        return One(number=ev.number)

    @step
    async def second(self, ctx: Context, ev: One) -> Two:
        await ctx.store.set("seen.second", ev.number)
        return Two(number=ev.number + 1)

    @step
    async def third(self, ctx: Context, ev: Two) -> StopEvent:
        return StopEvent(result=[ev.number, await ctx.store.get("seen.first")])


class Fan(Workflow):
    """Sends four events, works on them with retries, collects them."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> One | None:
        for number in range(4):
            ctx.send_event(One(number=number))
        return None

    @step(num_workers=2, retry_policy=ConstantDelayRetryPolicy(2, 0))
    async def work(self, ctx: Context, ev: One) -> Two:
        if ev.number % 2 and ctx.attempt == 1:
            raise ValueError("once")
        async with ctx.store.edit_state() as state:
            state[f"n{ev.number}"] = ev.number
        return Two(number=ev.number)

    @step
    async def end(self, ctx: Context, ev: Two) -> StopEvent | None:
        events = ctx.collect_events(ev, [Two] * 4)
        if events is None:
            return None
        state = await ctx.store.get_state()
        return StopEvent(result=[sorted(event.number for event in events), sorted(state.to_dict().values())])


class Waits(Workflow):
    """Asks the outside in the middle of a step, and recovers from a failure."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> One | Ask:
        answer = await ctx.wait_for_event(Answer, Ask())
        return One(number=len(answer.text))

    @step
    async def fail(self, ev: One) -> Two:
        raise ValueError(f"no {ev.number}")

    @step
    async def end(self, ev: Two) -> StopEvent:
        return StopEvent(result=ev.number)

    @catch_error(for_steps=["fail"])
    async def mend(self, ev: StepFailedEvent) -> Two:
        return Two(number=ev.input_event.number * 10)


async def record(workflow: Workflow, answer: str = "", **fields: object) -> Execution:
    """Run a workflow to its end, however it ends, and return what it left."""
    with capture_records() as records:
        handler = workflow.run(**fields)
        if answer:
            async for event in handler.stream_events():
                if isinstance(event, Ask):
                    handler.ctx.send_event(Answer(text=answer))
        with suppress(Exception):  # how it ended stands in its records
            await handler
    return Execution(each for each in records if each.run == handler.run_id)


def quiet(execution: Execution) -> list[int]:
    """Return the numbers of records at which no step that runs has sent something that it would send again."""
    numbers: list[int] = []
    running: set[int] = set()
    sent: set[int] = set()
    for each in execution.records:
        match each:
            case StepStarted(invocation=id):
                running.add(id)
            case EventSent(invocation=id, returned=False, target=""):
                sent.add(id)
            case StepCompleted(invocation=id):
                running.discard(id)
            case _:
                pass
        if not running & sent:
            numbers.append(each.seq)
    return numbers


def find(execution: Execution, kind: type, which: int = 0) -> int:
    """Return the number of the record that brought an event of a class."""
    key = f"{kind.__module__}:{kind.__qualname__}"
    brought = [r for r in execution.records if isinstance(r, EventReceived | EventSent) and r.type == key]
    return brought[which].seq
