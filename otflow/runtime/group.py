"""Group commit: what the runs of one event loop did while it went round once is committed together.

A commit takes about as long for one batch as for fifty. So the batches of steps are held until the loop has gone round,
or until nobody can add to them; only then observers see them, and what follows from them is done. It knows holders and
batches, and no step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from typing import Protocol
from weakref import WeakKeyDictionary

from otflow.dispatcher import Dispatcher
from otflow.records.record import Record

__all__ = ["Group", "Holder", "find_group"]


class Holder(Protocol):
    """A run whose batches are held."""

    dispatcher: Dispatcher

    def tell(self, batches: Sequence[Sequence[Record]]) -> None:
        """Let observers see what was committed."""

    def follow(self, batches: Sequence[Sequence[Record]]) -> None:
        """Do what follows from what was committed."""

    def refuse(self, first: Record, error: BaseException) -> None:
        """Stop, because the records from this one on could not be committed."""

    def cancel(self, reason: str) -> None:
        """End the run."""


class Group:
    """Holds the batches of the runs of one event loop."""

    def __init__(self) -> None:
        self._held: dict[Holder, list[Sequence[Record]]] = {}
        self._task: asyncio.Task[None] | None = None

    def hold(self, holder: Holder, records: Sequence[Record]) -> None:
        """Hold a batch, until the loop has gone round at the latest."""
        batches = self._held.get(holder)
        if batches is not None:
            batches.append(records)
            return
        self._held[holder] = [records]
        if self._task is None:
            # a task, because it is ended with the others if the loop is about to close; of nobody's context, and made
            # without the loop's factory, which may begin tasks at once
            loop = asyncio.get_running_loop()
            self._task = asyncio.Task(self._wait(), loop=loop, name="otflow-commit", context=Context())
            self._task.add_done_callback(self._waited)

    def settle(self) -> None:
        """Commit what is held, and do what follows from it."""
        held, self._held = self._held, {}
        interruption: BaseException | None = None
        for dispatcher in {holder.dispatcher: None for holder in held}:
            some = {holder: batches for holder, batches in held.items() if holder.dispatcher is dispatcher}
            try:
                Context().run(_settle, dispatcher, some)
            except BaseException as error:  # the process is to end; the runs of other dispatchers are told first
                interruption = error
        if interruption is not None:
            raise interruption

    async def _wait(self) -> None:
        self._task = None
        self.settle()

    def _waited(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            return
        self._task = None
        holders = list(self._held)
        self.settle()
        for holder in holders:
            holder.cancel("its task was cancelled")


def _settle(dispatcher: Dispatcher, held: dict[Holder, list[Sequence[Record]]]) -> None:
    together = [
        batches[0] if len(batches) == 1 else [record for batch in batches for record in batch]
        for batches in held.values()
    ]
    try:
        errors = dispatcher.write_all(together)
    except BaseException as error:  # the process is to end, and nobody may wait for what will not come
        for holder, records in zip(held, together, strict=True):
            holder.refuse(records[0], error)
        raise
    committed: list[tuple[Holder, list[Sequence[Record]]]] = []
    for (holder, batches), refusal in zip(held.items(), errors, strict=True):
        if refusal is None:
            committed.append((holder, batches))
        else:
            holder.refuse(batches[0][0], refusal)
    for holder, batches in committed:
        holder.tell(batches)
    for holder, batches in committed:
        holder.follow(batches)


_groups: WeakKeyDictionary[asyncio.AbstractEventLoop, Group] = WeakKeyDictionary()


def find_group() -> Group:
    """Return the group of the event loop that runs in this thread."""
    loop = asyncio.get_running_loop()
    group = _groups.get(loop)
    if group is None:
        group = _groups[loop] = Group()
    return group
