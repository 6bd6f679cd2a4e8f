"""The physical limit: plain coroutines, a queue and tasks, without any framework."""

from __future__ import annotations

import asyncio

from peers.adapter import Adapter, kibibyte

__all__ = ["WORKERS", "Message", "RawAsyncio", "adapter"]

WORKERS = 16


class Message:
    """The cheapest event: one number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


async def increment(message: Message) -> Message:
    """Be a step that does nothing but add one."""
    return Message(message.number + 1)


async def count_to(start: int, end: int) -> int:
    """Pass a message through a queue and a step until its number is `end`."""
    queue: asyncio.Queue[Message] = asyncio.Queue()
    queue.put_nowait(Message(start))
    while True:
        message = await queue.get()
        if message.number == end:
            return message.number
        queue.put_nowait(await increment(message))


async def suspend(message: Message) -> Message:
    """Be a worker that really waits once."""
    await asyncio.sleep(0)
    return message


async def serve(todo: asyncio.Queue[Message | None], done: asyncio.Queue[Message]) -> None:
    """Handle messages until there is None."""
    while (message := await todo.get()) is not None:
        done.put_nowait(await suspend(message))


class RawAsyncio:
    """The workloads by hand."""

    spans = None

    async def setup(self) -> None:
        """Nothing is kept between runs."""

    async def chain(self, steps: int) -> int:
        """See `Adapter.chain`."""
        return await count_to(0, steps)

    async def short(self, number: int) -> int:
        """See `Adapter.short`; a run is a task of its own."""
        return await asyncio.create_task(count_to(number, number + 3))

    async def fanout(self, events: int) -> int:
        """See `Adapter.fanout`."""
        todo: asyncio.Queue[Message | None] = asyncio.Queue()
        done: asyncio.Queue[Message] = asyncio.Queue()
        for number in range(events):
            todo.put_nowait(Message(number))
        for _ in range(WORKERS):
            todo.put_nowait(None)
        workers = [asyncio.create_task(serve(todo, done)) for _ in range(WORKERS)]
        total = 0
        for _ in range(events):
            total += (await done.get()).number
        await asyncio.gather(*workers)
        return total

    async def state(self, writes: int) -> int:
        """See `Adapter.state`; a dict behind a lock."""
        store: dict[str, str] = {}
        lock = asyncio.Lock()
        for number in range(writes):
            async with lock:
                store["key"] = kibibyte(number)
        return writes

    async def stream(self, events: int) -> int:
        """See `Adapter.stream`."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue()

        async def produce() -> None:
            for number in range(events):
                queue.put_nowait(Message(number))
            queue.put_nowait(None)

        producer = asyncio.create_task(produce())
        seen = 0
        while await queue.get() is not None:
            seen += 1
        await producer
        return seen


def adapter(variant: str) -> Adapter:
    """Return the adapter; there is one variant."""
    return RawAsyncio()
