"""Handler: what the caller of `workflow.run()` holds. A future, a stream, and a few words to the run.

It is a real `asyncio.Future`: it can be awaited any number of times, gathered, and asked for `result()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from otflow.context.context import Context
from otflow.errors import WorkflowCancelledByUser
from otflow.events import Event, StopEvent
from otflow.runtime.local import LocalRun
from otflow.runtime.stepwise import Stepper
from otflow.runtime.watch import watch

__all__ = ["WorkflowHandler"]

if TYPE_CHECKING:
    _Future = asyncio.Future[Any]
else:
    _Future = asyncio.Future


class WorkflowHandler(_Future):
    """A run of a workflow, from outside.

    `await handler` gives the result, any number of times: the `result` of a plain `StopEvent`, or the event itself
    if it is a subclass. It raises what a step raised (which is a `WorkflowRuntimeError` too), `WorkflowTimeoutError`,
    or `WorkflowCancelledByUser`.

    Attributes:
        ctx: the context of the run.
        run_id: the id of the run.
    """

    def __init__(self, *, ctx: Context[Any], run_id: str) -> None:
        super().__init__()
        self.ctx = ctx
        self.run_id = run_id
        self._local: LocalRun | None = None
        self._stepper: Stepper | None = None

    def attach(self, local: LocalRun, stepper: Stepper | None) -> None:
        """Connect the handler to its run; done before anyone has it."""
        self._local = local
        self._stepper = stepper

    def settle(self, result: object, error: Exception | None) -> None:
        """Take the end of the run."""
        if self.done():
            return
        if error is None:
            self.set_result(result)
            return
        self.set_exception(error)
        if isinstance(error, WorkflowCancelledByUser):
            self.exception()  # who cancelled knows; asyncio need not warn that nobody asked

    def __str__(self) -> str:
        fine = self.done() and not self.cancelled() and self.exception() is None
        return str(self.result()) if fine else repr(self)

    def is_done(self) -> bool:
        """Tell whether the run has ended."""
        return self.done()

    def cancel(self, msg: object = None) -> bool:
        """Cancel the future and, with it, the run; `asyncio.wait_for` does so when its time is over."""
        cancelled = super().cancel(msg)  # first, so that whoever awaits it learns of this, and not of the run's end
        if self._local is not None and cancelled:
            self._local.cancel("its handler was cancelled")
        return cancelled

    async def cancel_run(self, *, timeout: float | None = 5.0) -> None:
        """End the run; `await handler` then raises `WorkflowCancelledByUser`.

        Running steps get a `CancelledError`. The state stays readable and can be saved.

        Args:
            timeout: seconds to wait for the steps to end; default 5; None waits as long as they take.
        """
        if self._local is None or self.done():
            return
        self._local.cancel("")
        await asyncio.wait([self], timeout=timeout)

    async def stream_events(self, expose_internal: bool = False) -> AsyncGenerator[Event, None]:
        """Yield the events that steps write to the stream, up to and with the stop event.

        A pass that was broken off can be continued by another one; events are kept until they are read.

        Args:
            expose_internal: whether to yield `StepStateChanged` and its like too: first of the steps that run now,
                then of all that changes; default False.

        Raises:
            WorkflowRuntimeError: the stream was read to its end before.
        """
        local = self._run()
        stop = watch(local.driver, local.stream) if expose_internal else None
        try:
            async for event in local.stream.read(expose_internal=expose_internal):
                yield event
        finally:
            if stop is not None:
                stop()

    async def send_event(self, message: Event, step: str | None = None) -> None:
        """Send an event into the run; as `handler.ctx.send_event`."""
        self.ctx.send_event(message, step)

    def get_stop_event(self) -> StopEvent | None:
        """Return the event that ended the stream, once there is one."""
        return self._local.stream.last if self._local is not None else None

    async def stop_event_result(self) -> Any:
        """Wait for the end, and return the stop event."""
        await self
        return self.get_stop_event()

    async def run_step(self) -> list[Event] | None:
        """Release one step of a stepwise run.

        Returns:
            The events that the step returned and sent, which are held until they are sent with
            `handler.ctx.send_event`; None when the run has ended.

        Raises:
            ValueError: the run was not started with `stepwise=True`.
            Exception: what the step raised.
        """
        if self._stepper is None:
            raise ValueError("Workflow must be created passing stepwise=True to call this method.")
        return await self._stepper.step(self)

    def _run(self) -> LocalRun:
        if self._local is None:
            raise AssertionError("a handler is attached to its run before anyone has it")
        return self._local
