"""A program that sends its runs to a server by otflow's own pipeline, and says which records they had.

    python -m tests.integration.readback.program STORY ENDPOINT PROTOCOL FILE

Name and project are told by the environment, as for any program. The file gets one record a line, in JSON.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from opentelemetry import trace

import otflow
from otflow import Workflow
from otflow.cli.demo import DEFAULT_QUESTION, show_demo
from otflow.cli.screen import Screen
from otflow.handler import WorkflowHandler
from otflow.records.codec import encode
from otflow.records.record import Record, RetryScheduled, RunPaused
from otflow.telemetry import flush
from otflow.testing import ManualClock, capture_records
from tests.integration.readback.story import Answer, Approve, Broken, Order, Outer, Small

SMALL_RUN = "small-run"
SMALL_START = 1_700_000_000_000_000_000  # in November 2023


async def until_paused(records: Sequence[Record], handler: WorkflowHandler, times: int = 1) -> None:
    """Return when a run waits for the outside for the `times`-th time."""
    while sum(isinstance(each, RunPaused) and each.reason == "waiting" for each in records) < times:
        if handler.done():
            raise AssertionError("the run ended before it was asked anything")
        await asyncio.sleep(0.001)


def tell_demo(records: Sequence[Record]) -> None:
    """Run the real demo."""
    show_demo(Screen(io.StringIO()), None, [DEFAULT_QUESTION], offline=True, hint=False)


def tell_order(records: Sequence[Record]) -> None:
    """Run the long story, and one that fails, in a session."""
    session = f"session-{os.environ['OTEL_SERVICE_NAME']}"

    async def main() -> None:
        about = {"user": "ada", "tags": ["beta", "shop"], "metadata": {"plan": "pro", "seats": 3}}
        with otflow.tagged(session=session, **about):
            handler = Order().run(wares=["tea", "cup", "pot"])
            await until_paused(records, handler)
            with trace.get_tracer("desk").start_as_current_span("answer the phone"):
                handler.ctx.send_event(Answer(text="yes"))
            await until_paused(records, handler, 2)
            handler.ctx.send_event(Approve(by="ada"))
            await handler
            with suppress(ValueError):
                await Broken().run()

    asyncio.run(main())


def tell_outer(records: Sequence[Record]) -> None:
    """Run a workflow that calls another one, without a session."""

    async def main() -> None:
        await Outer().run()

    asyncio.run(main())


def tell_small(records: Sequence[Record]) -> None:
    """Run the small one, which is the same each time, to the nanosecond."""
    clock = ManualClock(SMALL_START)

    async def settle() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def main() -> None:
        workflow: Workflow = Small(clock=clock, timeout=None)
        handler = workflow.run(run_id=SMALL_RUN)
        await settle()
        assert isinstance(records[-2], RetryScheduled), records
        clock.advance(1)
        await settle()
        clock.advance(60)
        handler.ctx.send_event(Answer(text="yes"))
        await handler

    asyncio.run(main())


STORIES: dict[str, Callable[[Sequence[Record]], None]] = {
    "demo": tell_demo,
    "order": tell_order,
    "outer": tell_outer,
    "small": tell_small,
}


def main(story: str, endpoint: str, protocol: str, file: str) -> None:
    """Tell a story."""
    undo = otflow.configure(endpoint=endpoint, protocol=protocol)
    with capture_records() as records:
        STORIES[story](records)
    if not flush(30):
        raise SystemExit("not all spans were sent")
    undo()
    Path(file).write_bytes(b"\n".join(map(encode, records)))


if __name__ == "__main__":
    main(*sys.argv[1:])
