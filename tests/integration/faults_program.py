"""A program with many short runs, which tells at its end what became of them and of their spans.

Its argument is JSON: `runs`, how many; `stops`, after how many of them it says so and waits for a line; and what
`otflow.configure` gets, if `settings` are given.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import otflow
from otflow import Event, StartEvent, StopEvent, Workflow, step
from otflow.pipeline.buffer import Buffer
from otflow.telemetry import _wiring

wanted = json.loads(sys.argv[1])
AT_ONCE = 25
longest = 0.0
lock = Lock()


class First(Event):
    number: int


class Second(Event):
    number: int


class Sum(Workflow):
    @step
    async def one(self, ev: StartEvent) -> First:
        return First(number=ev.number + 1)

    @step
    async def two(self, ev: First) -> Second:
        return Second(number=ev.number * 2)

    @step
    async def three(self, ev: Second) -> StopEvent:
        return StopEvent(result=ev.number - 1)


def timed(put: Callable[..., None]) -> Callable[..., None]:
    """Measure how long whoever brings spans is held."""

    def measured(self: Buffer, *arguments: object) -> None:
        global longest  # noqa: PLW0603  one number for the whole program
        start = time.monotonic()
        put(self, *arguments)
        with lock:
            longest = max(longest, time.monotonic() - start)

    return measured


def memory(line: str) -> int:
    """Return the bytes that this program has in memory now (VmRSS), or had at most (VmHWM).

    What `getrusage` tells of the most counts what stood here before the program: its parent's memory.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith(line)) * 1024


async def work(first: int, last: int) -> int:
    """Do some runs; tell how many of them gave the right result."""
    right = 0
    workflow = Sum(timeout=None)
    for start in range(first, last, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, last))
        results = await asyncio.gather(*(workflow.run(number=number) for number in numbers))
        right += sum(result == (number + 1) * 2 - 1 for number, result in zip(numbers, results, strict=True))
    return right


Buffer.put, Buffer.put_all = timed(Buffer.put), timed(Buffer.put_all)
if wanted.get("settings"):
    otflow.configure(**wanted["settings"])
right = asyncio.run(work(0, 200))
otflow.telemetry.flush(0.2)
before = memory("VmRSS")
exporter = getattr(_wiring.spans._own, "exporter", None)
done = 200
for stop in [*wanted.get("stops", ()), wanted["runs"]]:
    right += asyncio.run(work(done, stop))
    done = stop
    if stop != wanted["runs"]:
        print(stop, flush=True)
        sys.stdin.readline()
peak = memory("VmHWM")
if wanted.get("flush"):
    otflow.telemetry.flush(wanted["flush"])
otflow.configure()
status = exporter.status()._asdict() if exporter is not None else None
print(json.dumps({"right": right, "grown": peak - before, "peak": peak, "longest": longest, "status": status}))
