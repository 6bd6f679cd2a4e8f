"""A workflow of which tests are written from a recorded run; it lives in a module that such a test can import."""

from __future__ import annotations

SOURCE = '''
"""A shop."""

import enum
from datetime import UTC, datetime

from pydantic import BaseModel

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.retry_policy import retry_policy, wait_none


class Color(enum.Enum):
    RED = "red"


class Size(BaseModel):
    width: int
    height: float = 1.0


class Order(Event):
    item: str
    color: Color | None = None
    size: Size | None = None
    at: datetime | None = None


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
    @step
    async def note(self, ctx: Context, ev: StartEvent) -> Log:
        await ctx.store.set("goods", ev.goods)
        return Log(text="noted")

    @step
    async def split(self, ctx: Context, ev: Log) -> Order | None:
        goods = await ctx.store.get("goods")
        await ctx.store.set("count", len(goods))
        for item in goods:
            order = Order(item=item, color=Color.RED, size=Size(width=3), at=datetime(2024, 1, 2, tzinfo=UTC))
            ctx.send_event(order, step="price" if item == "bolt" else None)

    @step(num_workers=1, retry_policy=retry_policy(wait=wait_none()))
    async def price(self, ctx: Context, ev: Order) -> Price:
        if ev.item == "bolt" and ctx.attempt == 1:
            raise ConnectionError("no line")
        ctx.write_event_to_stream(Log(text=f"price of \\"{ev.item}\\" isn't\\n\\x1b known \\\\ é"))
        await ctx.store.set(f"prices.{ev.item}", PRICE)
        return Price(item=ev.item, cents=PRICE)

    @step
    async def total(self, ctx: Context, ev: Price) -> StopEvent | None:
        found = ctx.collect_events(ev, [Price] * await ctx.store.get("count"))
        if found is None:
            return None
        answer = await ctx.wait_for_event(Answer, waiter_event=Ask(question="Pay?"), requirements={"text": "yes"})
        return StopEvent(result={"sum": sum(each.cents for each in found), "paid": answer.text, "size": Size(width=1)})


PRICE = 100
'''

RUN = """
import asyncio, sys
from otflow.records.execution import Execution
from otflow.replay.testing import write_test
from otflow.testing import capture_records
import shopping

async def main():
    handler = shopping.Shop(timeout=None).run(goods=["nut", "bolt"])
    async for event in handler.stream_events():
        if isinstance(event, shopping.Ask):
            handler.ctx.send_event(shopping.Answer(text="yes"))
    await handler

with capture_records() as records:
    asyncio.run(main())
open("test_written.py", "w", encoding="utf-8").write(write_test(Execution(records), "shopping:Shop"))
"""
