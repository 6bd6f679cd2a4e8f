"""A workflow as a user would write it, for programs that differ only in who set up the telemetry.

Run as a program: the address of the stub comes as the argument, the result goes to stdout.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import httpx

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step


class Item(Event):
    name: str
    url: str


class Weighed(Event):
    text: str


class Shop(Workflow):
    @step
    async def order(self, ctx: Context, ev: StartEvent) -> Item | None:
        logging.getLogger("shop").warning("ordering")
        for name in ("tea", "milk"):
            ctx.send_event(Item(name=name, url=ev.url))

    @step(num_workers=2)
    async def fetch(self, ev: Item) -> Weighed:
        async with httpx.AsyncClient() as client:
            return Weighed(text=(await client.get(f"{ev.url}/{ev.name}")).text)

    @step
    def pack(self, ctx: Context, ev: Weighed) -> StopEvent | None:
        found = ctx.collect_events(ev, [Weighed] * 2)
        return StopEvent(result=[each.text for each in found]) if found else None


async def main(url: str) -> list[str]:
    """Run it once."""
    return await Shop().run(url=url)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
