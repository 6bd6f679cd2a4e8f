"""Plain coroutines as in raw_asyncio with one stock SDK span per step and one per run: tracing by hand."""

from __future__ import annotations

import asyncio

from peers.adapter import Adapter, kibibyte
from peers.encoded import StockBytes
from peers.raw_asyncio import WORKERS, Message, increment, suspend
from peers.spans import RecentSpans

__all__ = ["adapter"]

_RUN = {"workflow": "bench"}
_STEP = {"step": "increment", "event": "Message"}
_AS_MUCH = {
    **{f"flow.fact.{number}": "a fact of few words" for number in range(9)},
    **{f"flow.number.{number}": 4_711 + number for number in range(5)},
    **{f"flow.ids.{number}": (4_711,) for number in range(2)},
    **{f"flow.types.{number}": ("bench.peers.flows:Next",) for number in range(2)},
    "flow.waited": 0.000_1,
    "flow.input": '{"number":4711,"size":5000}',
    "flow.output": '{"number":4712,"size":5000}',
    "flow.records": "x" * 520,
}
"""As many attributes, of the same kinds and lengths, as a span of otflow has."""
_EMIT = {"step": "emit", "event": "Begin"}
_WORK = {"step": "work", "event": "Message"}
_GATHER = {"step": "gather", "event": "Message"}


class RawOtel:
    """The workloads by hand; every step and every run in `start_as_current_span` with attributes."""

    def __init__(self, spans: RecentSpans | StockBytes, attributes: dict[str, object] = _STEP) -> None:
        self.spans = spans
        self._attributes = attributes
        self._span = self.spans.provider.get_tracer("bench").start_as_current_span

    async def setup(self) -> None:
        """Nothing is kept between runs."""

    async def _count_to(self, start: int, end: int) -> int:
        queue: asyncio.Queue[Message] = asyncio.Queue()
        span = self._span
        with span("run", attributes=_RUN):
            queue.put_nowait(Message(start))
            while True:
                message = await queue.get()
                if message.number == end:
                    return message.number
                with span("step", attributes=self._attributes):
                    following = await increment(message)
                queue.put_nowait(following)

    async def chain(self, steps: int) -> int:
        """See `Adapter.chain`."""
        return await self._count_to(0, steps)

    async def short(self, number: int) -> int:
        """See `Adapter.short`; a run is a task of its own."""
        return await asyncio.create_task(self._count_to(number, number + 3))

    async def _serve(self, todo: asyncio.Queue[Message | None], done: asyncio.Queue[Message]) -> None:
        while (message := await todo.get()) is not None:
            with self._span("step", attributes=_WORK):
                handled = await suspend(message)
            done.put_nowait(handled)

    async def fanout(self, events: int) -> int:
        """See `Adapter.fanout`."""
        todo: asyncio.Queue[Message | None] = asyncio.Queue()
        done: asyncio.Queue[Message] = asyncio.Queue()
        total = 0
        with self._span("run", attributes=_RUN):
            with self._span("step", attributes=_EMIT):
                for number in range(events):
                    todo.put_nowait(Message(number))
            for _ in range(WORKERS):
                todo.put_nowait(None)
            workers = [asyncio.create_task(self._serve(todo, done)) for _ in range(WORKERS)]
            for _ in range(events):
                message = await done.get()
                with self._span("step", attributes=_GATHER):
                    total += message.number
            await asyncio.gather(*workers)
        return total

    async def state(self, writes: int) -> int:
        """See `Adapter.state`; a dict behind a lock."""
        store: dict[str, str] = {}
        lock = asyncio.Lock()
        with self._span("run", attributes=_RUN), self._span("step", attributes=_STEP):
            for number in range(writes):
                async with lock:
                    store["key"] = kibibyte(number)
        return writes

    async def stream(self, events: int) -> int:
        """See `Adapter.stream`."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue()

        async def produce() -> None:
            with self._span("step", attributes=_STEP):
                for number in range(events):
                    queue.put_nowait(Message(number))
            queue.put_nowait(None)

        seen = 0
        with self._span("run", attributes=_RUN):
            producer = asyncio.create_task(produce())
            while await queue.get() is not None:
                seen += 1
            await producer
        return seen


def adapter(variant: str) -> Adapter:
    """Return the adapter.

    Args:
        variant: "traced", "encoded", or "as much": encoded, with as many attributes as spans of otflow have.
    """
    match variant:
        case "traced":
            return RawOtel(RecentSpans())
        case "encoded":
            return RawOtel(StockBytes())
        case _:
            return RawOtel(StockBytes(), _AS_MUCH)
