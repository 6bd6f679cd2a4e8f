"""What a journal costs: steps per second with a commit for each, against bare SQLite with the same commits.

Then many runs at once in one event loop, whose steps share commits, against one run that has nobody to share with; and
LangGraph with a checkpoint in SQLite after each step, in an environment of its own.

Run it on a disk, not in memory: `python bench/journal.py FOLDER`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

from catalogue import Peer
from environments import ensure
from otflow import Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal

_SHORT, _LONG = 1_000, 20_000
_RUNS = 50
_TURNS = 5
_RECORD = "x" * 170
# not in the catalogue, of which every measurement makes all environments
_PEER = Peer("langgraph", ("durable",), ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"))


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


def run_peer(folder: Path, steps: int) -> float:
    """Run the peer's chain in its environment; return steps per second."""
    worker = Path(__file__).resolve().parent / "checkpointed.py"
    command = [ensure(_PEER), worker, folder, str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_turns(measures: Sequence[Callable[[Path], float]], place: Path) -> list[list[float]]:
    """Measure by turns, because the price of a commit changes within seconds; return the rates of each turn."""
    folders = [place / str(turn) for turn in range(_TURNS)]
    for folder in folders:
        folder.mkdir(parents=True)
    return [[measure(folder) for measure in measures] for folder in folders]


def main(folder: str) -> None:
    """Measure, and print."""
    levels: tuple[Literal["full", "normal"], ...] = ("full", "normal")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for level in levels:
            turns = measure_turns(
                (
                    lambda at, level=level: run_loop(at / "one.db", _SHORT, level),
                    lambda at, level=level: run_bare(at / "bare.db", _SHORT, level),
                    lambda at, level=level: run_loop(at / "many.db", _SHORT // 5, level, _RUNS),
                    lambda at: run_peer(at, _SHORT),
                ),
                Path(place) / level,
            )
            one, bare, many, peer = (median(rates) for rates in zip(*turns, strict=True))
            print(f"{level:8}{one:8.0f} steps/s {bare:8.0f} bare commits/s  ratio {_divide(turns, 0, 1)}")
            print(f"{level:8}{many:8.0f} steps/s in {_RUNS} runs at once     ratio {_divide(turns, 2, 0)} to one run")
            print(f"{level:8}{one:8.0f} steps/s {peer:8.0f} of LangGraph     ratio {_divide(turns, 0, 3)}")
        turns = measure_turns(
            (
                lambda at: run_loop(at / "short.db", _SHORT, "normal"),
                lambda at: run_loop(at / "long.db", _LONG, "normal"),
            ),
            Path(place) / "length",
        )
        print(f"a step of {_LONG} costs {_divide(turns, 0, 1)} times a step of {_SHORT}")


def _divide(turns: Sequence[Sequence[float]], above: int, below: int) -> str:
    ratios = sorted(rates[above] / rates[below] for rates in turns)
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
