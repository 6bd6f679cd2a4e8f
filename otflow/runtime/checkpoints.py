"""Checkpoints by callback: after each step, before its output goes on its way.

The output is held, the callback is awaited, then the output is released. Callbacks of one run come one at a time, in
the order in which its steps returned. With the run its callbacks end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol

from otflow.context.context import Context
from otflow.core.inputs import Checkpoint, Receive
from otflow.errors import WorkflowRuntimeError
from otflow.events import Event
from otflow.records.record import Ending, EventSent, StepStarted
from otflow.runtime.crew import Crew

__all__ = ["CheckpointCallback", "take_checkpoints"]


class CheckpointCallback(Protocol):
    """Is awaited after each step of a run."""

    def __call__(
        self,
        run_id: str,
        last_completed_step: str | None,
        input_ev: Event | None,
        output_ev: Event | None,
        ctx: Context[Any],
    ) -> Awaitable[None]:
        """Keep what is needed to go on from here."""


def take_checkpoints(crew: Crew, context: Context[Any], callback: CheckpointCallback) -> None:
    """Let a callback be awaited after each step of a run."""
    driver = crew.driver
    turn = asyncio.Lock()
    tasks: set[asyncio.Task[None]] = set()

    async def take(started: StepStarted, received: Event, held: list[EventSent]) -> None:
        output = held[0].body.live if held else None
        async with turn:
            try:
                await callback(
                    started.run, started.step, received, output if isinstance(output, Event) else None, context
                )
            except Exception as error:  # the border to user code
                driver.fail(error)
                return
            except asyncio.CancelledError:
                driver.fail(WorkflowRuntimeError(f"The checkpoint callback was cancelled after step '{started.step}'."))
                raise
            driver.feed(Checkpoint(driver.now(), started.invocation, started.step))
            for sent in held if not driver.state.stepwise else ():  # a stepwise run leaves that to its caller
                driver.feed(Receive(driver.now(), sent.type, sent.body, "", sent.seq))

    def after_step(started: StepStarted, received: Event, held: list[EventSent]) -> None:
        task = asyncio.get_running_loop().create_task(take(started, received, held))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    ended = driver.on_end

    def stop(ending: Ending) -> None:
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        ended(ending)

    crew.after_step = after_step
    driver.on_end = stop
