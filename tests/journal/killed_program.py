"""A process that runs workflows in children of its own and has them killed: `killed_program.py FOLDER MOMENT...`.

A moment is one or more places with commas between, such as `7b,3a`: the first child ends itself by SIGKILL when the
seventh batch is about to be written (`b`) or has just been written (`a`), the second one, which resumes the run, at its
third batch. A last child brings the run to its end. What each child did stands in files beside the journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
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

RUN = "the-run"


class Job(Event):
    """One part of the work."""

    number: int


class Done(Event):
    """A part that is done."""

    number: int


class Checked(Event):
    """All parts."""

    total: int


class Ask(InputRequiredEvent):
    """A question to the outside."""

    total: int


class Shop(Workflow):
    """Fans out, retries, collects, asks, and keeps a state."""

    log: Path

    def note(self, ctx: Context, name: str, number: int = 0) -> None:
        """Have an effect on the outside."""
        with self.log.open("a") as file:
            file.write(f"{ctx.idempotency_key} {name} {number} {ctx.attempt}\n")

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Job | None:
        """Send the parts on their way, one by one: each once, wherever it is interrupted."""
        self.note(ctx, "begin")
        await ctx.store.set("sizes", (1, 2))
        for number in range(ev.parts):
            ctx.send_event(Job(number=number))

    @step(num_workers=2, retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=0))
    async def work(self, ctx: Context, ev: Job) -> Done:
        """Do a part; every third fails at first."""
        self.note(ctx, "work", ev.number)
        await asyncio.sleep(0)
        if ev.number % 3 == 0 and ctx.attempt == 1:
            raise ValueError("not yet")
        async with ctx.store.edit_state() as state:
            done = set(state.get("done", ()))
            state["done"] = sorted({*done, ev.number})
        return Done(number=ev.number)

    @step
    async def gather(self, ctx: Context, ev: Done) -> Checked | None:
        """Wait for all parts."""
        self.note(ctx, "gather", ev.number)
        parts = ctx.collect_events(ev, [Done] * 4)
        return None if parts is None else Checked(total=sum(part.number for part in parts))

    @step
    async def finish(self, ctx: Context, ev: Checked) -> StopEvent:
        """Ask, and end."""
        self.note(ctx, "finish")
        answer = await ctx.wait_for_event(HumanResponseEvent, Ask(total=ev.total))
        sizes = await ctx.store.get("sizes")
        return StopEvent(result=[ev.total, answer.response, await ctx.store.get("done"), isinstance(sizes, tuple)])


class Killer:
    """A sink that ends the process at a place.

    Args:
        place: at which call, and on which side of the journal: "3b" is before the third commit, "3a" after it, and
            before the observers see it.
        side: the side on which this one stands.
    """

    def __init__(self, place: str, side: str) -> None:
        self.left = int(place[:-1]) if place.endswith(side) else 0

    def __call__(self, records: Sequence[Record]) -> None:
        """Count a batch."""
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_all(self, batches: Sequence[Sequence[Record]]) -> list[None]:
        """Count what is committed at once."""
        self([])
        return [None] * len(batches)


async def live(path: Path, place: str) -> None:
    """Run, or go on, until the end or until the process is killed."""
    Shop.log = path.with_suffix(".log")
    dispatcher = Dispatcher()
    journal = Journal(path, synchronous="normal")
    dispatcher.attach(Killer(place, "b"), journal=True)
    dispatcher.attach(journal, journal=True)
    dispatcher.attach(Killer(place, "a"), journal=True)
    dispatcher.attach(Killer(place, "o"))
    workflow = Shop(dispatcher=dispatcher)
    known = {info.id: info.outcome for info in JournalSource(path).runs()}
    if known.get(RUN) == "completed":  # it was killed on its way from the last record to its end
        [result] = [
            r.body.content for r in JournalSource(path).run(RUN).records if "StopEvent" in getattr(r, "type", "")
        ]
        path.with_suffix(".result").write_text(json.dumps(result["result"]))
        return
    handler = workflow.resume(RUN) if known else workflow.run(run_id=RUN, parts=4)
    async for event in handler.stream_events():
        if isinstance(event, Ask):
            handler.ctx.send_event(HumanResponseEvent(response="fine"))
    path.with_suffix(".result").write_text(json.dumps(await handler))


def dump(path: Path, number: int) -> None:
    """Keep what the journal says after a death."""
    journal = Journal(path, synchronous="normal")
    rows = journal.connection.execute("SELECT id, data FROM record ORDER BY id").fetchall()
    path.with_suffix(f".{number}.json").write_text(json.dumps(rows))
    journal.close()


def main(folder: Path, moments: Sequence[str]) -> None:
    """Live through each moment."""
    for moment in moments:
        path = folder / f"{moment}.db"
        for number, place in enumerate([*moment.split(","), "0-"]):
            child = os.fork()
            if not child:
                asyncio.run(live(path, place))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if path.with_suffix(".result").exists():
                break
            if not os.WIFSIGNALED(status):
                raise SystemExit(f"{moment}: the child for {place} ended with {status}")
            looker = os.fork()
            if not looker:
                dump(path, number)
                os._exit(0)
            os.waitpid(looker, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
