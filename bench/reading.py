"""What it costs to look at runs: reading a file of spans, drawing a large run, listing a large journal.

Run it on a disk, not in memory: `python bench/reading.py FOLDER`. The folder needs 1 GB for a while. Reading is also
told as a ratio: how many times as long it takes as `json.loads` of the same lines.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from otflow import Context, Event, StartEvent, StopEvent, Workflow, draw_execution, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalSource
from otflow.readers import open_source, read_all

_RUNS, _ROUNDS = 500, 100
_DRAWN = 5_000
_MANY, _FEW = 10_000, 24
_AT_ONCE = 100
_TIMES = 3


class Count(Event):
    """One round."""

    left: int
    text: str = "x" * 50


class Loop(Workflow):
    """A chain of steps, each of which writes a value."""

    @step
    async def begin(self, ev: StartEvent) -> Count:
        """Begin."""
        return Count(left=ev.rounds)

    @step
    async def go(self, ctx: Context, ev: Count) -> Count | StopEvent:
        """Go round."""
        await ctx.store.set("left", ev.left)
        return Count(left=ev.left - 1) if ev.left else StopEvent(result=ev.text)


def fill(path: Path, runs: int, rounds: int) -> None:
    """Keep runs in a journal."""

    async def main() -> None:
        dispatcher = Dispatcher()
        dispatcher.attach(journal := Journal(path, synchronous="normal"), journal=True)
        workflow = Loop(dispatcher=dispatcher, timeout=None)
        for _ in range(0, runs, _AT_ONCE):
            await asyncio.gather(*(workflow.run(rounds=rounds) for _ in range(min(runs, _AT_ONCE))))
        journal.close()

    asyncio.run(main())


def measure(call: Callable[[], object]) -> float:
    """Return the seconds of CPU that a call takes: the best of some."""
    best = float("inf")
    for _ in range(_TIMES):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def measure_reading(folder: Path) -> None:
    """Read a file of spans."""
    fill(folder / "runs.db", _RUNS, _ROUNDS)
    file = folder / "runs.jsonl"
    command = [sys.executable, "-m", "otflow", "export", str(folder / "runs.db"), "--to", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    lines = file.read_bytes().splitlines()
    spans = sum(
        len(scope["spans"])
        for line in lines
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
    )
    bare = measure(lambda: [bool(json.loads(line)) for line in lines])  # each is forgotten at once
    read = measure(lambda: list(read_all(open_source(file))))
    asked = measure(lambda: [execution.history for execution in read_all(open_source(file))])
    print(f"reading   {spans:7} spans, {file.stat().st_size >> 20} MiB: {spans / read:8.0f} spans/s,", end=" ")
    print(f"{read / bare:.2f} times json.loads; {spans / asked:.0f} spans/s with the history of each run")


def measure_drawing(folder: Path) -> None:
    """Draw a run as a page, and as text."""
    fill(folder / "large.db", 1, _DRAWN)
    [info] = JournalSource(folder / "large.db").runs()
    execution = JournalSource(folder / "large.db").run(info.id)
    page = folder / "large.html"
    seconds = measure(lambda: draw_execution(execution, str(page)))
    print(f"drawing   {_DRAWN:7} steps: {seconds:.2f} s, {page.stat().st_size >> 10} KiB of HTML")


def measure_listing(folder: Path) -> None:
    """List a journal that holds a lot."""
    fill(folder / "many.db", _MANY, _FEW)
    source = JournalSource(folder / "many.db")
    records = sum(info.records for info in source.runs())
    newest, everything = measure(lambda: list(source.latest(20))), measure(lambda: list(source.runs()))
    print(f"listing   {records:7} records: {newest * 1e3:.1f} ms for the newest 20 runs,", end=" ")
    print(f"{everything * 1e3:.0f} ms for all {_MANY}")


def main(folder: str) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        measure_reading(Path(place))
        measure_drawing(Path(place))
        measure_listing(Path(place))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
