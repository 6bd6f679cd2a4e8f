"""The workloads as workflows, once, in the API that otflow and LlamaIndex Workflows share.

An environment holds exactly one of the two libraries, so the very same source text runs on both.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache

from peers.adapter import SpanWindow, kibibyte

try:
    from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
except ModuleNotFoundError:
    from workflows import Context, Workflow, step  # type: ignore[import-not-found,no-redef]
    from workflows.events import Event, StartEvent, StopEvent  # type: ignore[import-not-found,no-redef]

__all__ = ["FlowAdapter"]


class Begin(StartEvent):
    number: int = 0
    size: int = 0


class Next(Event):
    number: int
    size: int


class Middle(Event):
    number: int


class Last(Event):
    number: int


class Work(Event):
    number: int


class Done(Event):
    number: int


class Token(Event):
    number: int


class Chain(Workflow):
    @step
    async def first(self, ev: Begin) -> Next | StopEvent:
        return Next(number=ev.number + 1, size=ev.size)

    @step
    async def again(self, ev: Next) -> Next | StopEvent:
        number = ev.number + 1
        if number == ev.size:
            return StopEvent(result=number)
        return Next(number=number, size=ev.size)


class Short(Workflow):
    @step
    async def first(self, ev: Begin) -> Middle:
        return Middle(number=ev.number + 1)

    @step
    async def second(self, ev: Middle) -> Last:
        return Last(number=ev.number + 1)

    @step
    async def third(self, ev: Last) -> StopEvent:
        return StopEvent(result=ev.number + 1)


@lru_cache
def all_done(size: int) -> list[type[Done]]:
    """Return what the collector waits for, made once: a list per event would make user code quadratic."""
    return [Done] * size


class FanOut(Workflow):
    @step
    async def emit(self, ctx: Context, ev: Begin) -> Work | None:
        await ctx.store.set("size", ev.size)
        for number in range(ev.size):
            ctx.send_event(Work(number=number))
        return None

    @step(num_workers=16)
    async def work(self, ev: Work) -> Done:
        await asyncio.sleep(0)
        return Done(number=ev.number)

    @step
    async def gather(self, ctx: Context, ev: Done) -> StopEvent | None:
        done = ctx.collect_events(ev, all_done(await ctx.store.get("size")))
        if done is None:
            return None
        return StopEvent(result=sum(one.number for one in done if isinstance(one, Done)))


class State(Workflow):
    @step
    async def write(self, ctx: Context, ev: Begin) -> StopEvent:
        for number in range(ev.size):
            await ctx.store.set("key", kibibyte(number))
        return StopEvent(result=ev.size)


class Stream(Workflow):
    @step
    async def produce(self, ctx: Context, ev: Begin) -> StopEvent:
        for number in range(ev.size):
            ctx.write_event_to_stream(Token(number=number))
        return StopEvent(result=ev.size)


class FlowAdapter:
    """The workloads on whichever library the environment holds."""

    def __init__(self, spans: SpanWindow | None = None) -> None:
        self.spans = spans

    async def setup(self) -> None:
        """Build the workflows."""
        self._chain = Chain(timeout=None)
        self._short = Short(timeout=None)
        self._fanout = FanOut(timeout=None)
        self._state = State(timeout=None)
        self._stream = Stream(timeout=None)

    async def chain(self, steps: int) -> int:
        """See `Adapter.chain`."""
        return int(await self._chain.run(start_event=Begin(size=steps)))

    async def short(self, number: int) -> int:
        """See `Adapter.short`."""
        return int(await self._short.run(start_event=Begin(number=number)))

    async def fanout(self, events: int) -> int:
        """See `Adapter.fanout`."""
        return int(await self._fanout.run(start_event=Begin(size=events)))

    async def state(self, writes: int) -> int:
        """See `Adapter.state`."""
        return int(await self._state.run(start_event=Begin(size=writes)))

    async def stream(self, events: int) -> int:
        """See `Adapter.stream`."""
        handler = self._stream.run(start_event=Begin(size=events))
        seen = 0
        async for event in handler.stream_events():
            if type(event) is Token:
                seen += 1
        await handler
        return seen
