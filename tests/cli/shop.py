"""A workflow for the command line: it fans out, tries again, collects, and asks if it is told to."""

from __future__ import annotations

import os
import signal

from otflow import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Order(StartEvent):
    """What is ordered, by whom."""

    goods: list[str]
    customer: str = "ada"


class Item(Event):
    """One of the goods."""

    name: str


class Packed(Event):
    """It is packed."""

    size: int


class Shop(Workflow):
    """Packs goods."""

    @step
    async def take(self, ctx: Context, ev: Order) -> Item | None:
        """Divide an order."""
        await ctx.store.set("customer", ev.customer)
        await ctx.store.set("count", len(ev.goods))
        for name in ev.goods:
            ctx.send_event(Item(name=name))

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=0))
    async def pack(self, ctx: Context, ev: Item) -> Packed:
        """Pack one; some fail."""
        if ev.name == "bomb" or (ev.name == "tea" and ctx.attempt == 1):
            raise ValueError(f"no {ev.name} yet")
        if ev.name == "kill" and "SHOP_KILLS" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return Packed(size=len(ev.name))

    @step
    async def bill(self, ctx: Context, ev: Packed) -> StopEvent | None:
        """Wait for all, and end."""
        packed = ctx.collect_events(ev, [Packed] * await ctx.store.get("count"))
        if packed is None:
            return None
        if await ctx.store.get("customer") == "human":
            answer = await ctx.wait_for_event(HumanResponseEvent, InputRequiredEvent(prefix="Ship it?"))
            return StopEvent(result=answer.response)
        return StopEvent(result={"size": sum(each.size for each in packed)})


class Renamed(Workflow):
    """The same shop, in which a step has another name."""

    take, bill = Shop.take, Shop.bill

    @step
    async def wrap(self, ev: Item) -> Packed:
        """Pack one."""
        return Packed(size=len(ev.name))


class Needy(Workflow):
    """A workflow that cannot be made without arguments."""

    def __init__(self, price: int) -> None:
        super().__init__()
        self.price = price

    @step
    async def only(self, ev: StartEvent) -> StopEvent:
        """Do nothing."""
        return StopEvent()
