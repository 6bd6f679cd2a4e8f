"""Workflows and records that touch every metric."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from otflow import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, step
from otflow.records.body import Body
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    Record,
    RunCompleted,
    RunStarted,
    StepCompleted,
    StepStarted,
)
from otflow.retry_policy import ConstantDelayRetryPolicy
from tests.api.loops import turn
from tests.metrics.counts import House

__all__ = ["Everything", "live_a_little", "replay_a_little"]

NS = 1_000_000_000


class Part(Event):
    n: int


class Nobody(Event):
    pass


class Reply(HumanResponseEvent):
    pass


class Everything(Workflow):
    """Retries, waits, collects, writes, streams; and fails in the end if it is told to."""

    house: House
    fail = False

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=1))
    async def begin(self, ctx: Context, ev: StartEvent) -> Part | None:
        self.house.clock.advance(0.02)
        if ctx.attempt == 1:
            raise OSError("not yet")
        ctx.write_event_to_stream(Nobody())
        ctx.send_event(Nobody())
        await ctx.store.set("begun", True)
        await ctx.wait_for_event(Reply)
        for n in range(3):
            ctx.send_event(Part(n=n))
        return None

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=1, delay=1))
    async def end(self, ctx: Context, ev: Part) -> StopEvent | None:
        self.house.clock.advance(0.3)
        if self.fail:
            raise ValueError("never")
        return StopEvent() if ctx.collect_events(ev, [Part] * 3) else None


@asynccontextmanager
async def live_a_little(house: House) -> AsyncIterator[None]:
    """Let some runs live: one succeeds, one fails, one is cancelled, and one goes on until the end of the block."""
    for number in range(4):
        workflow = Everything(**house.terms)
        workflow.house, workflow.fail = house, number == 1
        handler = workflow.run()
        await turn()
        house.clock.advance(1)
        await turn()
        house.clock.advance(40)
        if number == 3:
            yield
        if number >= 2:
            await handler.cancel_run()
            continue
        handler.ctx.send_event(Reply())
        await turn()
        house.clock.advance(2)
        with suppress(ValueError):
            await handler


def replay_a_little(sink: Callable[[Sequence[Record]], None], run: str = "run") -> None:
    """Give a sink the records of one short run: two seconds, one step."""
    body = Body({})
    sink(
        [
            RunStarted(1, run, NS, "Flow", "digest"),
            EventReceived(2, run, NS, "m:Start", body),
            StepStarted(3, run, NS, 3, 1, "go", 2),
        ]
    )
    sink([ContextWritten(4, run, 2 * NS, 3, "x", body)])
    sink(
        [
            StepCompleted(5, run, 3 * NS, 3, 1),
            EventSent(6, run, 3 * NS, 3, "m:Stop", body, "", returned=True),
            RunCompleted(7, run, 3 * NS, 6),
        ]
    )
