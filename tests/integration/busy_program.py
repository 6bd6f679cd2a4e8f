"""A program that is always busy: workflows that succeed, fail, are tried again, fan out, wait for people, and give up.

It serves its metrics on the port that it is given, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import default_dispatcher
from otflow.metrics.cells import Cells
from otflow.metrics.prometheus import serve
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_fixed
from otflow.sinks.metrics import attach

RUNS_EACH_SECOND = 20
UNANSWERED = 30  # of the questions before this one, each tenth gets no answer
BEGAN = time.monotonic()


class Begin(StartEvent):
    number: int


class Item(Event):
    number: int


class Priced(Event):
    number: int


class Basket(Event):
    fails: bool


class Question(InputRequiredEvent):
    pass


class Answer(HumanResponseEvent):
    pass


class Lost(Event):
    """No step takes it."""


class Checkout(Workflow):
    """Fans out, is tried again, fails now and then, and writes to its stream."""

    @step
    async def split(self, ctx: Context, ev: Begin) -> Item | None:
        ctx.write_event_to_stream(Priced(number=0))
        await ctx.store.set("number", ev.number)
        for number in range(3):
            ctx.send_event(Item(number=number))
        if not ev.number % 5:
            ctx.send_event(Lost())
        return None

    @step(num_workers=2, retry_policy=retry_policy(wait=wait_fixed(0.01), stop=stop_after_attempt(2)))
    async def price(self, ctx: Context, ev: Item) -> Priced:
        await asyncio.sleep(random.expovariate(50))
        # half of what fails once fails twice, and then there is no retry left
        if random.random() < (0.2 if ctx.attempt == 1 else 0.5):
            raise ConnectionError("the price list is busy")
        return Priced(number=ev.number)

    @step
    async def total(self, ctx: Context, ev: Priced) -> StopEvent | None:
        return StopEvent() if ctx.collect_events(ev, [Priced] * 3) else None


class Approval(Workflow):
    """Asks someone."""

    @step
    async def ask(self, ev: Begin) -> Question:
        return Question()

    @step
    async def decide(self, ev: Answer) -> StopEvent:
        return StopEvent()


class Hasty(Workflow):
    """Has less time than it needs."""

    def __init__(self) -> None:
        super().__init__(timeout=0.05)

    @step
    async def hurry(self, ev: Begin) -> StopEvent:
        await asyncio.sleep(5)
        return StopEvent()


async def approve(workflow: Workflow, number: int) -> None:
    """Run a workflow that asks, and answer; a few are never answered."""
    handler = workflow.run(number=number)
    async for event in handler.stream_events():
        if isinstance(event, Question):
            if not number % 10 and number < UNANSWERED:
                return
            await asyncio.sleep(random.uniform(0, 1.5))
            handler.ctx.send_event(Answer())


async def main(cells: Cells) -> None:
    """Begin runs, for ever."""

    async def save(*_: object) -> None:
        cells.record_checkpoint("Checkout", "memory", random.uniform(0, 0.01), random.randrange(5000))

    checkout, approval, hasty = Checkout(), Approval(timeout=None), Hasty()
    tasks: set[asyncio.Task[object]] = set()
    for number in range(sys.maxsize):
        begun = [checkout.run(number=number, checkpoint_callback=save)]
        if not number % 3:
            begun.append(approve(approval, number // 3))
        if not number % 7:
            begun.append(hasty.run(number=number))
        tasks.update(asyncio.ensure_future(each) for each in begun)
        for task in [task for task in tasks if task.done()]:
            task.exception()  # runs fail here on purpose
            tasks.discard(task)
        await asyncio.sleep(1 / RUNS_EACH_SECOND)


def count_losses() -> dict[tuple[str, str], int]:
    """Say that spans are lost, more and more."""
    return {("spans", "queue_full"): int(time.monotonic() - BEGAN)}


if __name__ == "__main__":
    cells = Cells(drops=count_losses)
    attach(default_dispatcher, cells, sampled=lambda _: True)
    serve(cells, int(sys.argv[1]))
    asyncio.run(main(cells))
