"""A minimal engine without a dispatcher: the yardstick for what otflow's idle dispatcher costs.

It knows a dispatch table made once, continuation in place (a worker task takes a ready step, awaits it and
goes on with what it returned), a limit per step, counted collecting and pydantic events. It has nothing else:
no records, no retries, no time limits, no cancellation, no validation of workflows. It is not a product.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

from peers.adapter import Adapter, kibibyte

__all__ = ["adapter"]

_STEPS_PER_TURN = 128
"""After so many steps in place a worker lets the event loop turn once, so that others are served."""


class Event(BaseModel):
    """A message between steps."""


class Stop(Event):
    """The message that ends a run."""

    result: int


E = TypeVar("E", bound=Event)
# Any: each body takes its own type of event, the plan says which.
Body: TypeAlias = Callable[["Run", Any], Awaitable[Event | None]]
Plan: TypeAlias = dict[type[Event], tuple[Body, int]]


class Lane:
    """One step within one run: how many invocations run, and what waits for a free place."""

    __slots__ = ("body", "limit", "running", "waiting")

    def __init__(self, body: Body, limit: int) -> None:
        self.body = body
        self.limit = limit
        self.running = 0
        self.waiting: deque[Event] = deque()


class Run:
    """One run. Awaiting it gives the result."""

    __slots__ = (
        "_arrived",
        "_buffers",
        "_lanes",
        "_loop",
        "_ready",
        "_result",
        "_starting",
        "_stream",
        "store",
    )

    def __init__(self, plan: Plan, first: Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._result: asyncio.Future[int] = self._loop.create_future()
        self._lanes = {kind: Lane(body, limit) for kind, (body, limit) in plan.items()}
        self._ready: deque[tuple[Lane, Event]] = deque()
        self._starting = 0
        self._buffers: dict[type[Event], list[Any]] = {}
        self._stream: deque[Event] | None = None
        self._arrived: asyncio.Future[None] | None = None
        self.store: dict[str, Any] = {}
        self.send(first)

    def __await__(self) -> Generator[object, None, int]:
        return self._result.__await__()

    def send(self, event: Event) -> None:
        """Route an event; start a worker when nobody is on the way to take it."""
        self._route(event)
        if self._ready and not self._starting:
            self._start_worker()

    async def set(self, key: str, value: object) -> None:
        """Write to the state of the run."""
        self.store[key] = value

    async def get(self, key: str) -> Any:
        """Read from the state of the run."""
        return self.store[key]

    def collect(self, event: E, amount: int) -> list[E] | None:
        """Return all events of this type once `amount` of them have come, else None."""
        buffer = self._buffers.setdefault(type(event), [])
        buffer.append(event)
        if len(buffer) < amount:
            return None
        return self._buffers.pop(type(event))

    def publish(self, event: Event) -> None:
        """Write to the stream of the run."""
        if self._stream is None:
            self._stream = deque()
        self._stream.append(event)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def stream(self) -> AsyncIterator[Event]:
        """Iterate over what is published, until the run stops."""
        if self._stream is None:
            self._stream = deque()
        while True:
            while self._stream:
                event = self._stream.popleft()
                yield event
                if type(event) is Stop:
                    return
            self._arrived = self._loop.create_future()
            await self._arrived

    def _route(self, event: Event) -> None:
        if isinstance(event, Stop):
            self._result.set_result(event.result)
            if self._stream is not None:
                self.publish(event)
            return
        lane = self._lanes[type(event)]
        if lane.running < lane.limit:
            lane.running += 1
            self._ready.append((lane, event))
        else:
            lane.waiting.append(event)

    def _start_worker(self) -> None:
        self._starting += 1
        self._loop.create_task(self._work())

    async def _work(self) -> None:
        self._starting -= 1
        ready = self._ready
        done = 0
        while ready:
            lane, event = ready.popleft()
            if ready and not self._starting:
                self._start_worker()
            done += 1
            if done % _STEPS_PER_TURN == 0:
                await asyncio.sleep(0)
            following = await lane.body(self, event)
            if lane.waiting:
                ready.append((lane, lane.waiting.popleft()))
            else:
                lane.running -= 1
            if following is not None:
                self._route(following)


class Begin(Event):
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


async def first(run: Run, ev: Begin) -> Event:
    return Next(number=ev.number + 1, size=ev.size)


async def again(run: Run, ev: Next) -> Event:
    number = ev.number + 1
    return Stop(result=number) if number == ev.size else Next(number=number, size=ev.size)


async def opening(run: Run, ev: Begin) -> Event:
    return Middle(number=ev.number + 1)


async def middle(run: Run, ev: Middle) -> Event:
    return Last(number=ev.number + 1)


async def last(run: Run, ev: Last) -> Event:
    return Stop(result=ev.number + 1)


async def emit(run: Run, ev: Begin) -> None:
    await run.set("size", ev.size)
    for number in range(ev.size):
        run.send(Work(number=number))


async def work(run: Run, ev: Work) -> Event:
    await asyncio.sleep(0)
    return Done(number=ev.number)


async def gather(run: Run, ev: Done) -> Event | None:
    size = await run.get("size")
    done = run.collect(ev, size)
    return None if done is None else Stop(result=sum(one.number for one in done))


async def write(run: Run, ev: Begin) -> Event:
    for number in range(ev.size):
        await run.set("key", kibibyte(number))
    return Stop(result=ev.size)


async def produce(run: Run, ev: Begin) -> Event:
    for number in range(ev.size):
        run.publish(Token(number=number))
    return Stop(result=ev.size)


class Prototype:
    """The workloads on the engine above."""

    spans = None

    async def setup(self) -> None:
        """Make the dispatch tables."""
        self._chain: Plan = {Begin: (first, 4), Next: (again, 4)}
        self._short: Plan = {Begin: (opening, 4), Middle: (middle, 4), Last: (last, 4)}
        self._fanout: Plan = {Begin: (emit, 4), Work: (work, 16), Done: (gather, 4)}
        self._state: Plan = {Begin: (write, 4)}
        self._stream: Plan = {Begin: (produce, 4)}

    async def chain(self, steps: int) -> int:
        """See `Adapter.chain`."""
        return await Run(self._chain, Begin(size=steps))

    async def short(self, number: int) -> int:
        """See `Adapter.short`."""
        return await Run(self._short, Begin(number=number))

    async def fanout(self, events: int) -> int:
        """See `Adapter.fanout`."""
        return await Run(self._fanout, Begin(size=events))

    async def state(self, writes: int) -> int:
        """See `Adapter.state`."""
        return await Run(self._state, Begin(size=writes))

    async def stream(self, events: int) -> int:
        """See `Adapter.stream`."""
        run = Run(self._stream, Begin(size=events))
        seen = 0
        async for event in run.stream():
            if type(event) is Token:
                seen += 1
        await run
        return seen


def adapter(variant: str) -> Adapter:
    """Return the adapter; there is one variant."""
    return Prototype()
