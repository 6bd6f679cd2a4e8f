"""As `killed_program`, with runs that begin runs: `killed_nested.py FOLDER MOMENT...`.

A moment that begins with "x" resumes the run by the name of the journal only, which no dispatcher knows.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalSource
from tests.journal.killed_program import Killer

RUN = "the-run"
RESULT = ["one!", "two!", ["a!", "bb!", "ccc!"], "deep!!"]


class Half(Event):
    """The middle."""

    name: str


class Noting(Workflow):
    """Has effects on the outside."""

    log: Path

    def note(self, ctx: Context, name: str) -> None:
        """Have one."""
        with self.log.open("a") as file:
            file.write(f"{ctx.idempotency_key} {name} {ctx.attempt}\n")


class Leaf(Noting):
    """Two effects, one after the other."""

    @step
    async def first(self, ctx: Context, ev: StartEvent) -> Half:
        """Have the first one."""
        self.note(ctx, f"first-{ev.name}")
        await asyncio.sleep(0)
        return Half(name=ev.name)

    @step
    async def second(self, ctx: Context, ev: Half) -> StopEvent:
        """Have the second one."""
        self.note(ctx, f"second-{ev.name}")
        await asyncio.sleep(0)
        return StopEvent(result=f"{ev.name}!")


class Middle(Noting):
    """Begins a run, and is one that another one begins."""

    @step
    async def call(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Begin it."""
        self.note(ctx, "call")
        return StopEvent(result=f"{await Leaf(dispatcher=self._dispatcher).run(name='deep')}!")


class Top(Noting):
    """Begins two runs one after the other, three at once, and one that begins another."""

    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Begin them."""
        leaf, middle = Leaf(dispatcher=self._dispatcher), Middle(dispatcher=self._dispatcher)
        self.note(ctx, "work")
        one = await leaf.run(name="one")
        two = await leaf.run(name="two")
        three = await asyncio.gather(*(leaf.run(name=name) for name in ("a", "bb", "ccc")))
        return StopEvent(result=[one, two, three, await middle.run()])


async def live(path: Path, place: str) -> None:
    """Run, or go on, until the end or until the process is killed."""
    Noting.log = path.with_suffix(".log")
    journal = Journal(path, synchronous="normal")
    known = {info.id: info.outcome for info in JournalSource(path).runs()}
    if known.get(RUN) == "completed":  # it was killed on its way from the last record to its end
        [result] = [
            r.body.content for r in JournalSource(path).run(RUN).records if "StopEvent" in getattr(r, "type", "")
        ]
        path.with_suffix(".result").write_text(json.dumps(result["result"]))
        return
    dispatcher = Dispatcher()
    dispatcher.attach(Killer(place, "b"), journal=True)
    if path.name.startswith("x") and RUN in known:
        journal.close()
    else:
        dispatcher.attach(journal, journal=True)
    dispatcher.attach(Killer(place, "a"), journal=True)
    dispatcher.attach(Killer(place, "o"))
    top = Top(dispatcher=dispatcher)
    result = await (top.resume(RUN, path) if RUN in known else top.run(run_id=RUN))
    path.with_suffix(".result").write_text(json.dumps(result))


def main(folder: Path, moments: Sequence[str]) -> None:
    """Live through each moment."""
    for moment in moments:
        path = folder / f"{moment}.db"
        for place in [*moment.removeprefix("x").split(","), "0-"]:
            child = os.fork()
            if not child:
                asyncio.run(live(path, place))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if path.with_suffix(".result").exists():
                break
            if not os.WIFSIGNALED(status):
                raise SystemExit(f"{moment}: the child for {place} ended with {status}")
            with path.with_suffix(".deaths").open("a") as file:
                file.write("died\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
