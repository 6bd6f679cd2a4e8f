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
