"""Stepwise runs: the caller lets one step go at a time, and sends its events on.

The events of a released step are held until the caller sends the same objects with `handler.ctx.send_event`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from otflow.core.inputs import Release
from otflow.errors import WorkflowCancelledByUser, WorkflowRuntimeError
from otflow.events import Event
from otflow.records.record import EventSent, Record, RetryQueued, StepCompleted, StepStarted
from otflow.runtime.local import LocalRun

__all__ = ["Stepper"]


class Stepper:
    """Releases the steps of one run, one for each call of `step`."""

    def __init__(self, local: LocalRun) -> None:
        self._local = local
        self._events: list[Event] = []
        self._current = 0
        self._returned: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()
        local.driver.commits.taps = (*local.driver.commits.taps, self._watch)

    async def step(self, handler: asyncio.Future[Any]) -> list[Event] | None:
        """Release one step and wait for its end; None when the run has ended. Calls at once take turns."""
        async with self._turn:
            if not handler.done():
                started = self._release()
                self._current = started.invocation
                self._events = []
                self._returned = asyncio.get_running_loop().create_future()
                await asyncio.wait([self._returned, handler], return_when=asyncio.FIRST_COMPLETED)
                if self._returned.done():
                    return self._events
        error = None if handler.cancelled() else handler.exception()
        if error is not None and not isinstance(error, WorkflowCancelledByUser):
            raise error
        return None

    def _release(self) -> StepStarted:
        driver = self._local.driver
        for record in driver.feed(Release(driver.now())):
            if isinstance(record, StepStarted):
                return record
        held = ", ".join(type(sent.body.live).__name__ for sent in driver.state.held.values())
        what = f"it holds back {held}" if held else "no event is on its way"
        raise WorkflowRuntimeError(
            f"No step of run {self._local.run_id} is ready: {what}. Send the events that run_step() returned with "
            "handler.ctx.send_event(event), then call run_step() again."
        )

    def _watch(self, records: Sequence[Record]) -> None:
        for record in records:
            match record:
                case EventSent(invocation=id, body=body) if id == self._current and isinstance(body.live, Event):
                    self._events.append(body.live)
                case RetryQueued(invocation=id) if id == self._current:
                    driver = self._local.driver
                    driver.feed(Release(driver.now()))
                case StepCompleted(invocation=id) if id == self._current:
                    asyncio.get_running_loop().call_soon(self._complete)
                case _:
                    pass

    def _complete(self) -> None:
        if self._returned is not None and not self._returned.done():
            self._returned.set_result(None)
