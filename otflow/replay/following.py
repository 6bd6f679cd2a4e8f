"""Following: the handler of a run that somebody else runs, for the step that had begun it.

It looks from time to time whether the run has ended, or is nobody's any more, and is then the handler that is found.
How one looks, it is told; it knows handlers, and no journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from otflow.context.context import Context
from otflow.errors import WorkflowCancelledByUser
from otflow.events import Event, StopEvent
from otflow.handler import WorkflowHandler

__all__ = ["LONGEST", "SHORTEST", "Following"]

SHORTEST = 0.05
"""Seconds between the first two looks; the time doubles with each."""
LONGEST = 1.0
"""Seconds between two looks, at most."""


class Following(WorkflowHandler):
    """A run, from outside, that somebody else runs. Cancelling it ends the following, and not the run.

    Args:
        ctx: the context that the run gets when it is found.
        run_id: the id of the run.
        look: returns the handler of the run once it has ended, or goes on here; None before.
        done: called when there is nothing more to look for.

    Attributes:
        found: the handler of the run, once there is one.
    """

    def __init__(
        self, ctx: Context[Any], run_id: str, look: Callable[[], WorkflowHandler | None], done: Callable[[], None]
    ) -> None:
        super().__init__(ctx=ctx, run_id=run_id)
        self.found: WorkflowHandler | None = None
        self._look = look
        self._task = asyncio.get_running_loop().create_task(self._follow())
        self._task.add_done_callback(lambda _: done())

    async def _follow(self) -> None:
        pause = SHORTEST
        try:
            while (found := self._look()) is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST)
        except Exception as error:  # whatever it is, the step that waits has to know
            self.settle(None, error)
            return
        self.found = found
        found.add_done_callback(self._take_over)

    def _take_over(self, found: asyncio.Future[Any]) -> None:
        """End as the run does."""
        if found.cancelled():
            self.cancel()
        else:
            error = found.exception()
            self.settle(None if error else found.result(), error)  # type: ignore[arg-type]  # handlers end by these

    async def _wait_for_run(self) -> WorkflowHandler | None:
        """Wait until the run is found; None if it will not be."""
        await asyncio.wait([self._task])
        return self.found

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future, and end the following; a run that goes on here is cancelled with it."""
        cancelled = super().cancel(msg)
        if cancelled:
            self._task.cancel()
            if self.found is not None:
                self.found.cancel(msg)
        return cancelled

    async def cancel_run(self, *, timeout: float | None = 5.0) -> None:
        """End the following, or the run if it goes on here; `await handler` then raises `WorkflowCancelledByUser`."""
        if self.found is not None:
            await self.found.cancel_run(timeout=timeout)
            await asyncio.wait([self], timeout=timeout)
        elif not self.done():
            self._task.cancel()
            self.settle(None, WorkflowCancelledByUser(f"Run {self.run_id} is no longer followed; it may go on."))

    async def stream_events(self, expose_internal: bool = False) -> AsyncGenerator[Event, None]:
        """Yield the events of the stream once the run has ended, or goes on here; none if it is followed no more."""
        if (found := await self._wait_for_run()) is not None:
            async for event in found.stream_events(expose_internal):
                yield event

    def get_stop_event(self) -> StopEvent | None:
        """Return the event that ended the stream, once there is one."""
        return self.found.get_stop_event() if self.found is not None else None

    async def run_step(self) -> list[Event] | None:
        """Release one step of a stepwise run, once it goes on here."""
        found = await self._wait_for_run()
        return await found.run_step() if found is not None else None
