"""What the tests of the journal share: a workflow or two, and runs that are written down."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from otflow import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalSource
from otflow.records.record import Record


class Part(Event):
    """A part of the work."""

    number: int


class Ask(InputRequiredEvent):
    """A question."""

    text: str = "how?"


class Fan(Workflow):
    """Fans out and in, with a failure on the way."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part | None:
        """Send parts."""
        await ctx.store.set("user", {"name": "Ada", "age": 36})
        await ctx.store.set("user.age", 37)
        for number in range(3):
            ctx.send_event(Part(number=number))
        return None

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=0))
    async def work(self, ctx: Context, ev: Part) -> StopEvent | None:
        """Do a part."""
        if ev.number == 1 and ctx.attempt == 1:
            raise ValueError("not yet")
        parts = ctx.collect_events(ev, [Part] * 3)
        return None if parts is None else StopEvent(result=len(parts))


class Human(Workflow):
    """Waits for a human."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Ask, and wait."""
        await ctx.store.set("seen", await ctx.store.get("seen", default=0) + 1)
        answer = await ctx.wait_for_event(HumanResponseEvent, Ask(), timeout=None)
        return StopEvent(result=answer.response)


def wire(path: Path, **options: object) -> tuple[Dispatcher, Journal, list[Record]]:
    """Make a dispatcher with a journal, and a list of all records that were committed."""
    dispatcher, seen = Dispatcher(), list[Record]()
    journal = Journal(path, **options)  # type: ignore[arg-type]  # the tests name them
    dispatcher.attach(journal, journal=True)
    dispatcher.attach(seen.extend)
    return dispatcher, journal, seen


def run(workflow: Workflow, **fields: object) -> object:
    """Run a workflow to its end."""

    async def main() -> object:
        return await workflow.run(**fields)

    return asyncio.run(main())


async def until_asked(workflow: Workflow, **fields: object) -> str:
    """Run a workflow until it asks; return the id of its run."""
    handler = workflow.run(**fields)
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            break
    return handler.run_id


def check_list(journal: Journal, *runs: str) -> None:
    """See to it that lists tell of runs what is there, and look at few of their records for it."""
    connection = sqlite3.connect(journal.path)
    listed = {info.id: info for info in JournalSource(journal.path).runs()}
    for run in runs:
        no, records, last = connection.execute("SELECT no, records, last FROM run WHERE id = ?", (run,)).fetchone()
        rows = connection.execute(
            "SELECT id & 0xFFFFFFFF, at FROM record WHERE id BETWEEN ? AND ? ORDER BY id", (no << 32, no + 1 << 32)
        ).fetchall()
        assert (listed[run].records, listed[run].ended) == (len(rows), rows[-1][1])
        view = connection.execute("SELECT records, ended_ns FROM runs WHERE id = ?", (run,)).fetchone()
        assert view == (len(rows), rows[-1][1])
        newer = sum(seq > last for seq, _ in rows)
        assert newer == len(rows) - records
        assert newer < 64
    connection.close()


def numbers(records: Sequence[Record]) -> list[int]:
    """Return the numbers of records."""
    return [record.seq for record in records]


@contextmanager
def elsewhere(path: Path | str, code: str) -> Iterator[str]:
    """Run code in another process, with a journal `j`, until it ends or waits for input; give what it printed.

    It ends when the block does.
    """
    head = f"from otflow.journal import *; from otflow.records.record import *; j = Journal({str(path)!r})\n"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", head + code],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()
