"""Workflows that do, between them, whatever a trace can show; the tests send their runs to real servers."""

from __future__ import annotations

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_fixed

__all__ = ["Answer", "Approve", "Audit", "Broken", "Order", "Outer", "Question", "Small"]

SECRET = "hunter2-of-the-shop"


class Begin(StartEvent):
    wares: list[str]
    api_key: str = SECRET


class Item(Event):
    name: str
    number: int


class Price(Event):
    name: str
    price: float


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Approve(HumanResponseEvent):
    by: str


class Decided(Event):
    yes: bool


class Progress(Event):
    """For the stream."""

    text: str


class Check(StartEvent):
    total: float


class Audit(Workflow):
    """The nested workflow."""

    @step
    async def add_up(self, ctx: Context, ev: Check) -> StopEvent:
        """Write to the state of its own run."""
        await ctx.store.set("total", ev.total)
        return StopEvent(result=ev.total > 1)


class Order(Workflow):
    """Fans out, is tried again, fans in, calls another workflow, asks a human, and waits for another one."""

    @step
    async def split(self, ctx: Context, ev: Begin) -> Item | None:
        """Fan out."""
        await ctx.store.set("order", {"items": len(ev.wares), "grüße": "日本 \u0001"})
        for number, name in enumerate(ev.wares):
            ctx.send_event(Item(name=name, number=number))
        return None

    @step(num_workers=2, retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(3)))
    async def price(self, ctx: Context, ev: Item) -> Price:
        """Fail at the second item until the third attempt."""
        if ev.number == 1 and ctx.attempt < 3:
            raise ConnectionError("the list of prices is not there")
        ctx.write_event_to_stream(Progress(text=f"{ev.name} has a price"))
        return Price(name=ev.name, price=ev.number + 0.5)

    @step
    async def join(self, ctx: Context, ev: Price) -> Question | None:
        """Fan in, and let another workflow look at it."""
        prices = ctx.collect_events(ev, [Price] * 3)
        if prices is None:
            return None
        total = sum(each.price for each in prices)
        await ctx.store.set("order.total", total)
        fine = await Audit().run(total=total)
        return Question(text=f"{total} for all, which is {fine}: is that right?")

    @step
    async def decide(self, ctx: Context, ev: Answer) -> Decided:
        """Wait for another human in the middle of a step."""
        await ctx.store.set("answer", ev.text)
        approval = await ctx.wait_for_event(Approve)
        return Decided(yes=approval.by == "ada")

    @step
    async def end(self, ev: Decided) -> StopEvent:
        """End."""
        return StopEvent(result=ev.yes)


class Broken(Workflow):
    """Is tried twice, and fails."""

    @step(retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(2)))
    async def work(self, ev: StartEvent) -> StopEvent:
        """Fail."""
        raise ValueError("it cannot be done")


class Outer(Workflow):
    """Calls another workflow, and is no part of a session."""

    @step
    async def call(self, ev: StartEvent) -> StopEvent:
        """Call it."""
        return StopEvent(result=await Audit().run(total=2.5))


class Small(Workflow):
    """One of each, in a fixed order: what golden files hold."""

    @step(retry_policy=retry_policy(wait=wait_fixed(1), stop=stop_after_attempt(2)))
    async def ask(self, ctx: Context, ev: StartEvent) -> Question:
        """Fail once, then ask."""
        if ctx.attempt == 1:
            raise ConnectionError("line is busy")
        await ctx.store.set("asked", True)
        return Question(text="Ready? Grüße")

    @step
    async def tell(self, ev: Answer) -> list[Price]:
        """Fan out."""
        return [Price(name="a", price=0.5), Price(name="b", price=2)]

    @step
    async def add(self, ctx: Context, ev: Price) -> StopEvent | None:
        """Fan in."""
        prices = ctx.collect_events(ev, [Price] * 2)
        return StopEvent(result=sum(each.price for each in prices)) if prices else None
