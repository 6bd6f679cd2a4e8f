"""The stream of a run: the events that steps wrote, kept until someone reads them.

Whoever reads takes from it; a reader that breaks off leaves the rest to the next. It ends with a stop event on
every way a run can end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from otflow.errors import WorkflowRuntimeError
from otflow.events import Event, InternalDispatchEvent, StopEvent

__all__ = ["EventStream"]


class EventStream:
    """Events in order, each for one reader."""

    __slots__ = ("_items", "_read", "_readers", "last")

    def __init__(self) -> None:
        self._items: deque[Event] = deque()
        self._readers: list[asyncio.Future[None]] = []
        self._read = False
        self.last: StopEvent | None = None

    def put(self, event: Event) -> None:
        """Add an event; nothing is added after the end."""
        if self.last is None:
            self._items.append(event)
            if self._readers:
                for reader in self._readers:
                    if not reader.done():
                        reader.set_result(None)
                self._readers.clear()

    def close(self, last: StopEvent) -> None:
        """Add the stop event that ends the stream."""
        if self.last is None:
            self.put(last)
            self.last = last

    def unread(self) -> list[Event]:
        """Return what nobody has read."""
        return [event for event in self._items if event is not self.last]

    async def read(self, *, expose_internal: bool) -> AsyncGenerator[Event, None]:
        """Yield the events that are left, then those to come, up to the stop event.

        Raises:
            WorkflowRuntimeError: the stop event was read before.
        """
        if self._read:
            raise WorkflowRuntimeError("All the streamed events have already been consumed.")
        items = self._items
        while True:
            while items:
                event = items.popleft()
                if event is self.last:
                    self._read = True
                    yield event
                    return
                if expose_internal or not isinstance(event, InternalDispatchEvent):
                    yield event
            if self._read:  # another reader came to the end meanwhile
                return
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            await reader
