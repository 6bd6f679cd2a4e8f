"""What patient observers get."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.records.record import Record


class Note(Event):
    """Goes to nobody."""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=4))
def test_patient_observers_get_every_record_in_order(rounds: list[tuple[int, int]]) -> None:
    """However sends and writes alternate, what patient observers get late is what the others got at once."""

    class Mixed(Workflow):
        @step
        async def mix(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for sends, writes in rounds:
                for _ in range(sends):
                    ctx.send_event(Note())
                for number in range(writes):
                    await ctx.store.set("k", number)
            return StopEvent()

    at_once: list[Record] = []
    late: list[Record] = []
    dispatcher = Dispatcher()
    dispatcher.attach(late.extend, patient=True)

    async def main() -> None:
        await Mixed(dispatcher=dispatcher, disable_validation=True).run()

    asyncio.run(main())
    dispatcher = Dispatcher()
    dispatcher.attach(at_once.extend)
    asyncio.run(main())
    assert [(r.seq, type(r)) for r in late] == [(r.seq, type(r)) for r in at_once]
    assert [r.seq for r in late] == list(range(1, len(late) + 1))


async def test_patient_observers_hear_of_a_run_that_stands_still() -> None:
    """What happens while a step stands still reaches patient observers soon, although nothing follows from it."""

    class Stands(Workflow):
        @step
        async def stand(self, ctx: Context, ev: StartEvent) -> StopEvent:
            standing.set()
            await go_on.wait()
            await ctx.store.set("k", 1)
            written.set()
            await asyncio.Event().wait()
            return StopEvent()

    standing, go_on, written, heard = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    at_once: list[Record] = []
    late: list[Record] = []
    dispatcher = Dispatcher()
    dispatcher.attach(at_once.extend)
    dispatcher.attach(lambda records: (late.extend(records), heard.set()), patient=True)
    handler = Stands(dispatcher=dispatcher, timeout=None, disable_validation=True).run()

    async def hear() -> None:
        async with asyncio.timeout(30):
            while len(late) < len(at_once):
                heard.clear()
                await heard.wait()

    await standing.wait()
    await hear()
    go_on.set()
    await written.wait()
    await hear()
    handler.ctx.send_event(Note())
    assert len(late) < len(at_once)
    await hear()
    assert [record.seq for record in late] == [record.seq for record in at_once]
    await handler.cancel_run()
