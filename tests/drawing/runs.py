"""Runs whose time is made by hand, so that what is drawn of them is the same on every machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from otflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    catch_error,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.errors import OtflowError
from otflow.records.record import Record, RunPaused
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from otflow.runtime.clock import ManualClock

MS = 0.001


class City(Event):
    name: str
    place: int


class Weather(Event):
    city: str
    degrees: int


class Log(Event):
    text: str


class Again(Event):
    round: int


class Ask(InputRequiredEvent):
    question: str


class Reply(HumanResponseEvent):
    text: str


class Trip(Workflow):
    """Fan-out, a retry, a queue for two workers, and fan-in."""

    clock: ManualClock

    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> City | None:
        self.clock.advance(2 * MS)
        await ctx.store.set("cities", ev.cities)
        for place, name in enumerate(ev.cities):
            ctx.send_event(City(name=name, place=place))

    @step(num_workers=2, retry_policy=retry_policy(wait=wait_fixed(0.5)))
    async def look_up(self, ctx: Context, ev: City) -> Weather:
        self.clock.advance(10 * MS)
        if ev.name == "Oslo" and ctx.attempt == 1:
            raise TimeoutError("no answer from the weather station on the roof of the town hall, which is closed today")
        ctx.write_event_to_stream(Log(text=ev.name))
        return Weather(city=ev.name, degrees=20 + ev.place)

    @step
    async def choose(self, ctx: Context, ev: Weather) -> StopEvent | None:
        self.clock.advance(1 * MS)
        found = ctx.collect_events(ev, [Weather] * len(await ctx.store.get("cities")))
        if found is None:
            return None
        await ctx.store.set("best.city", found[-1].city)
        return StopEvent(result=found[-1].city)


class Loop(Workflow):
    """A loop of many rounds, each of which also says something that nobody takes."""

    clock: ManualClock

    @step
    async def go(self, ctx: Context, ev: StartEvent | Again) -> Again | StopEvent:
        self.clock.advance(3 * MS)
        number = ev.round if isinstance(ev, Again) else 0
        ctx.send_event(Log(text=f"round {number}"))
        return Again(round=number + 1) if number < 40 else StopEvent(result=number)


class Interview(Workflow):
    """A question to the outside in the middle of a step, and one by a returned event; then the step fails for good."""

    clock: ManualClock

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Ask:
        self.clock.advance(4 * MS)
        first = await ctx.wait_for_event(Reply, waiter_event=Ask(question="Who?"))
        await ctx.store.set("who", first.text)
        return Ask(question="Why?")

    @step(retry_policy=retry_policy(wait=wait_fixed(60), stop=stop_after_attempt(2)))
    async def judge(self, ctx: Context, ev: Reply) -> StopEvent:
        self.clock.advance(5 * MS)
        raise ValueError(f"{ev.text} is no reason")

    @catch_error(for_steps=["judge"])
    async def report(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
        raise RuntimeError("what now?\x1b[31m red\nand a second line")


async def _record(
    kind: Callable[..., Workflow],
    drive: Callable[[WorkflowHandler, ManualClock], object],
    **fields: object,
) -> list[Record]:
    records: list[Record] = []
    clock, dispatcher = ManualClock(), Dispatcher()
    dispatcher.attach(records.extend)
    workflow = kind(timeout=None, dispatcher=dispatcher, clock=clock)
    workflow.clock = clock
    handler = workflow.run(run_id="4f2a9c1e77", **fields)
    for _ in range(1000):
        if records and isinstance(records[-1], RunPaused):
            drive(handler, clock)
        await asyncio.sleep(0)
    with suppress(OtflowError):
        await handler
    return records


def trip() -> list[Record]:
    """A trip to many cities."""
    cities = ["Rome", "Lima", "Oslo", *(f"City {number}" for number in range(9))]
    return asyncio.run(_record(Trip, lambda _, clock: clock.advance(0.5), cities=cities))


def loop() -> list[Record]:
    """A long loop."""
    return asyncio.run(_record(Loop, lambda *_: None))


def interview() -> list[Record]:
    """An interview that comes to nothing."""
    replies = iter(["Ada", "because"])

    def answer(handler: WorkflowHandler, clock: ManualClock) -> None:
        clock.advance(30)
        if (text := next(replies, None)) is not None:
            handler.ctx.send_event(Reply(text=text))

    return asyncio.run(_record(Interview, answer))


def torn() -> list[Record]:
    """The trip, of which some records were lost and the end has not come."""
    lost = {2, 3, 4, 20, 21, 22, 23, 40, 41}
    return [record for record in trip()[:90] if record.seq not in lost]


RUNS = {"trip": trip, "loop": loop, "interview": interview, "torn": torn}
