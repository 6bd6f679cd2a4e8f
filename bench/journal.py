"""What a journal costs: steps per second with a commit for each, against bare SQLite with the same commits.

Then many runs at once in one event loop, whose steps share commits, against one run that has nobody to share with.

Run it on a disk, not in memory: `python bench/journal.py FOLDER`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from otflow import Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal

_SHORT, _LONG = 1_000, 20_000
_RUNS = 50
_RECORD = "x" * 170


class Count(Event):
    """One round."""

    left: int


class Loop(Workflow):
    """A chain of steps that do nothing."""

    @step
    async def begin(self, ev: StartEvent) -> Count:
        """Begin."""
        return Count(left=ev.rounds)

    @step
    async def go(self, ev: Count) -> Count | StopEvent:
        """Go round."""
        return Count(left=ev.left - 1) if ev.left else StopEvent()


def run_bare(path: Path, rounds: int, synchronous: str) -> float:
    """Commit three rows a round; return rounds per second."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data TEXT)")
    began = time.perf_counter()
    for _ in range(rounds):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO t (data) VALUES (?)", [(_RECORD,)] * 3)
        connection.execute("COMMIT")
    return rounds / (time.perf_counter() - began)


def run_loop(path: Path, rounds: int, synchronous: Literal["full", "normal"], runs: int = 1) -> float:
    """Run the workflow with a journal, so many times at once; return steps per second."""
    dispatcher = Dispatcher()
    dispatcher.attach(Journal(path, synchronous=synchronous), journal=True)

    async def main() -> float:
        workflow = Loop(dispatcher=dispatcher, timeout=None)
        began = time.perf_counter()
        await asyncio.gather(*(workflow.run(rounds=rounds) for _ in range(runs)))
        return rounds * runs / (time.perf_counter() - began)

    return asyncio.run(main())


def main(folder: str) -> None:
    """Measure, and print."""
    levels: tuple[Literal["full", "normal"], ...] = ("full", "normal")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for level in levels:
            bare = run_bare(Path(place) / f"bare-{level}.db", _SHORT, level)
            steps = run_loop(Path(place) / f"{level}.db", _SHORT, level)
            print(f"{level:8} {steps:9.0f} steps/s   {bare:9.0f} bare commits/s   ratio {steps / bare:.2f}")
            many = run_loop(Path(place) / f"{level}-many.db", _SHORT // 5, level, _RUNS)
            print(f"{level:8} {many:9.0f} steps/s   in {_RUNS} runs at once        ratio {many / steps:.2f} to one run")
        short = run_loop(Path(place) / "short.db", _SHORT, "normal")
        long = run_loop(Path(place) / "long.db", _LONG, "normal")
        print(f"a step of {_LONG} costs {short / long:.2f} times a step of {_SHORT}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
