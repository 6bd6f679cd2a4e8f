"""A shop whose runs are compared: fan-out, retries, fan-in, state, a stream, a wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.errors import OtflowError
from otflow.records.execution import Execution
from otflow.records.record import Record, RunPaused
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_none
from otflow.runtime.clock import ManualClock


class Order(Event):
    item: str
    amount: int = 1


class Price(Event):
    item: str
    cents: int


class Log(Event):
    text: str


class Ask(InputRequiredEvent):
    question: str


class Answer(HumanResponseEvent):
    text: str


class Shop(Workflow):
    """What is ordered is priced piece by piece, and summed up."""

    clock: ManualClock
    prices: dict[str, int]
    broken: dict[str, int]

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Order | None:
        self.clock.advance(0.002)
        await ctx.store.set("count", len(ev.goods))
        for item in ev.goods:
            ctx.send_event(Order(item=item))

    @step(retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(3)))
    async def price(self, ctx: Context, ev: Order) -> Price:
        self.clock.advance(0.010)
        if ctx.attempt <= self.broken.get(ev.item, 0):
            raise ConnectionError(f"no price of {ev.item}")
        ctx.write_event_to_stream(Log(text=ev.item))
        await ctx.store.set(f"prices.{ev.item}", self.prices.get(ev.item, 100))
        return Price(item=ev.item, cents=self.prices.get(ev.item, 100))

    @step
    async def total(self, ctx: Context, ev: Price) -> StopEvent | None:
        self.clock.advance(0.001)
        found = ctx.collect_events(ev, [Price] * await ctx.store.get("count"))
        if found is None:
            return None
        await ctx.store.set("sum", sum(each.cents for each in found))
        return StopEvent(result=sum(each.cents for each in found))


class Interview(Workflow):
    """A question in the middle of a step."""

    clock: ManualClock

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        with suppress(TimeoutError):
            answer = await ctx.wait_for_event(Answer, waiter_event=Ask(question="Who?"), timeout=60)
            return StopEvent(result=answer.text)
        return StopEvent(result="nobody")


def shop(*items: str, prices: dict[str, int] | None = None, broken: dict[str, int] | None = None) -> list[Record]:
    """Run the shop."""
    return asyncio.run(record(Shop, {"prices": prices or {}, "broken": broken or {}}, goods=list(items)))


def interview(answer: str | None) -> list[Record]:
    """Run the interview; without an answer its wait times out."""
    return asyncio.run(record(Interview, {}, answer=answer))


async def record(kind: type[Workflow], settings: dict[str, object], **fields: object) -> list[Record]:
    """Run a workflow by a clock that is moved by hand."""
    records: list[Record] = []
    clock, dispatcher = ManualClock(), Dispatcher()
    dispatcher.attach(records.extend)
    workflow = kind(timeout=None, dispatcher=dispatcher, clock=clock)
    for name, value in {"clock": clock, **settings}.items():
        setattr(workflow, name, value)
    answer = fields.pop("answer", None)
    handler = workflow.run(run_id="r1", **fields)
    for _ in range(200):
        if records and isinstance(records[-1], RunPaused):
            clock.advance(30)
            if answer is not None and not handler.done():
                handler.ctx.send_event(Answer(text=answer))
                answer = None
        await asyncio.sleep(0)
    with suppress(OtflowError, ConnectionError):
        await handler
    return records


def execution(records: list[Record], *lost: int) -> Execution:
    """Make an execution, without the records of these numbers."""
    return Execution([record for record in records if record.seq not in lost])
