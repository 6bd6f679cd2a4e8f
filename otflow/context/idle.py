"""What a context does while no run uses it: collect, wait and send, among its own callers.

Nothing of it is part of a run, so nothing of it is recorded. It exists because the followed API allows it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence

from otflow.events import Event
from otflow.records.body import Body

__all__ = ["IdleDesk"]


class IdleDesk:
    """Buffers and waits of a context that is not running."""

    def __init__(self) -> None:
        self._buffers: dict[str, dict[type[Event], deque[Event]]] = {}
        self._waits: list[tuple[type[Event], Body, asyncio.Future[Event]]] = []

    def collect(self, event: Event, expected: Sequence[type[Event]], buffer: str) -> list[Event] | None:
        """Put an event aside; give all expected ones, in their order, once they are there."""
        kept = self._buffers.setdefault(buffer, {})
        if type(event) in expected:
            kept.setdefault(type(event), deque()).append(event)
        if any(len(kept.get(kind, ())) < count for kind, count in Counter(expected).items()):
            return None
        return [kept[kind].popleft() for kind in expected]

    async def wait(self, kind: type[Event], requirements: Mapping[str, object], timeout: float | None) -> Event:
        """Stand still until `send` brings an event of this type; `timeout` in seconds."""
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        wait = (kind, Body(dict(requirements)), future)
        self._waits.append(wait)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._waits.remove(wait)

    def send(self, event: Event) -> bool:
        """Answer every wait that the event satisfies; tell whether there was one."""
        answered = False
        for kind, requirements, future in self._waits:
            if type(event) is kind and not future.done() and Body(event).satisfies(requirements):
                future.set_result(event)
                answered = True
        return answered
