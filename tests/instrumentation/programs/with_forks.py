"""A program that forks after its first run, in two ways, and goes on: prints the ids of the runs.

The argument is the address of an OTLP receiver.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Callable

import otflow
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.telemetry import flush


class Greet(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=os.getpid())

    @classmethod
    def once(cls, who: str) -> None:
        """Run it, and say under which id."""

        async def main() -> None:
            handler = cls().run()
            assert await handler == os.getpid()
            print(who, handler.run_id, flush=True)

        asyncio.run(main())


class Splits(Workflow):
    """Forks while it runs; the child leaves at once."""

    @step
    async def split(self, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(0)
        forked(lambda: None)
        return StopEvent()


def forked(work: Callable[[], object]) -> None:
    """Do something in a child that leaves without saying goodbye, and wait for it."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def greet_and_flush() -> None:
    """Work in a child that takes care of its telemetry itself."""
    Greet.once("fork")
    assert flush(60)


async def split() -> None:
    """Run the workflow that forks."""
    handler = Splits().run()
    await handler
    print("splits", handler.run_id, flush=True)


otflow.configure(endpoint=sys.argv[1], service_name="family")
Greet.once("before")
forked(greet_and_flush)
worker = multiprocessing.get_context("fork").Process(target=Greet.once, args=("worker",))
worker.start()
worker.join()
asyncio.run(split())
Greet.once("after")
