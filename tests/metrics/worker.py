"""A process of a server with several: it runs workflows in multi-process mode, and waits to be told to end.

    python worker.py RUNS

It prints a line when its runs are over and one more stands still, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys

from otflow import Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.metrics.multiprocess import SharedCells, is_wanted
from otflow.sinks.metrics import attach


class More(Event):
    pass


class Short(Workflow):
    @step
    async def first(self, ev: StartEvent) -> More:
        return More()

    @step
    async def second(self, ev: More) -> StopEvent:
        return StopEvent()


class Stuck(Workflow):
    @step(num_workers=3)
    async def stand(self, ev: StartEvent) -> StopEvent:
        await asyncio.get_running_loop().create_future()
        return StopEvent()


async def work(runs: int, cells: SharedCells) -> None:
    """Do the runs, let one stand still, say so, and wait."""
    dispatcher = Dispatcher()
    attach(dispatcher, cells, sampled=lambda _: True)
    for _ in range(runs):
        await Short(dispatcher=dispatcher).run()
    stuck = Stuck(dispatcher=dispatcher, timeout=None).run()
    await asyncio.sleep(0)
    cells.refresh()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await stuck.cancel_run()


def main() -> None:
    """Work in this process; with a second argument in a fork of it, which is how servers that preload begin."""
    assert is_wanted()
    cells = SharedCells(drops=lambda: {("spans", "queue_full"): 2})
    if len(sys.argv) > 2 and (child := os.fork()):
        _, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status))
    asyncio.run(work(int(sys.argv[1]), cells))
    cells.close()


if __name__ == "__main__":
    main()
