"""Random workflows that really run, in a program that sends their spans away and says which records they had.

    python -m tests.integration.readback.telling ENDPOINT JOURNAL FILE STATES COUNT NAME

The stories are those of `tests.laws.stories`, each told to a real workflow. Beside what a story says, events carry
payloads of every kind, some steps run a whole workflow of their own, and some make spans of another library. FILE gets
the records, one JSON object a line, in the order in which they were made; STATES what the state of each context was
when all was told.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opentelemetry import trace

import otflow
from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import default_dispatcher
from otflow.journal import Journal
from otflow.records.codec import encode
from otflow.records.record import Record
from otflow.retry_policy import retry_policy, stop_after_attempt, wait_none
from otflow.runtime.clock import ManualClock
from otflow.testing import capture_records
from tests.laws.stories import tell_story
from tests.printing import Names
from tests.runtime_driver import RuntimeDriver, Stage, Types, turn
from tests.scenario import Action, Begin, Plain, Scenario, Streams, Writes, run_scenario
from tests.scenario import Event as ToldEvent

__all__ = ["ODD", "Teller", "draw_stories"]

ODD: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.1,
    1e-300,
    1.5e300,
    -0.0,
    5.0,
    "",
    "Grüße, 日本, \U0001f600",
    'say "a\\b", <&>, \u2028',
    "\u0000 and \u001b[1m, \r\n\t",
    "$truncated",
    '{"not": "JSON"',
    [],
    {},
    [[], [None, {}], [[1.0]]],
    {"": 0, "a.b": 1, "a": {"b": 2}, "ü": [1, "1", 1.0]},
    {"$ref": "x", "otflow.records": "[]", "record": "RunStarted"},
    "long " * 300,
    list(range(300)),
)
"""Payloads as JSON can hold them."""


_MOMENT = 0.05  # seconds
_PATIENCE = 120.0  # seconds, for servers that are busy


class Part(Event):
    number: int


class Nested(Workflow):
    """Fans out, is tried again, goes round in a circle, writes its state, fans in, and now and then fails."""

    @step
    async def divide(self, ctx: Context, ev: StartEvent) -> Part | None:
        for number in range(3):
            ctx.send_event(Part(number=number))
        return None

    @step(num_workers=2, retry_policy=retry_policy(wait=wait_none(), stop=stop_after_attempt(2)))
    async def work(self, ctx: Context, ev: Part) -> Part | StopEvent | None:
        if ev.number == 1 and ctx.attempt == 1:
            raise ConnectionError("line is busy")
        if ev.number < 3:
            await ctx.store.set(f"seen.n{ev.number}", {"odd": ODD[ev.number]})
            return Part(number=ev.number + 3)
        found = ctx.collect_events(ev, [Part] * 3)
        if found is None:
            return None
        return StopEvent(result=[each.number for each in found])


class Refusing(Workflow):
    """Fails at once."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        raise ValueError(f"nothing to be done with {ev.number}")


class OddTypes(Types):
    """Event classes whose events carry something odd beside what the story says."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self.dice = dice

    def make(self, event: ToldEvent) -> Event:
        more = {"odd": self.dice.choice(ODD)} if self.dice.random() < 0.5 else {}
        return self[event.type](**event.fields, **more)


class SharedStage(Stage):
    """A run whose records go where those of all runs go."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(teller.scenario, teller.clock, teller.types)
        self.detach()
        self.dice = teller.dice
        self.detach = default_dispatcher.attach(
            lambda batch: self.records.extend(each for each in batch if each.run == teller.run_id)
        )
        kind, timeout = type(self.workflow), teller.scenario.timeout
        self.workflow = kind(timeout, disable_validation=True, clock=teller.clock)

    async def say(self, ctx: Context, ev: Event, action: Action, invocation: int) -> None:
        """Say it, and do something beside it that no story tells of."""
        await super().say(ctx, ev, action, invocation)
        if isinstance(action, Writes):
            with trace.get_tracer("of.somebody.else").start_as_current_span("GET /") as span:
                span.set_attribute("http.request.method", "GET")
                await ctx.store.set(f"odd.n{self.dice.randrange(4)}", self.dice.choice(ODD))
        elif isinstance(action, Streams) and self.dice.random() < 0.5:
            kind = self.dice.choice([Nested, Nested, Refusing])
            try:
                await kind(timeout=None).run(
                    number=invocation, run_id=f"{ctx.idempotency_key}:{self.dice.getrandbits(32):08x}"
                )
            except ValueError:
                await ctx.store.set("refused", True)


class Teller(RuntimeDriver):
    """Lets a real workflow live a story under a run id."""

    def __init__(self, scenario: Scenario, run_id: str, dice: Random, now: int) -> None:
        super().__init__(scenario)
        self.run_id, self.dice = run_id, dice
        self.clock, self.types = ManualClock(now), OddTypes(dice)

    async def act(self, action: Action, names: Names) -> Sequence[Record]:
        """Let one thing happen."""
        if not self.stages:
            self.stages.append(SharedStage(self))
        return await super().act(action, names)

    async def from_outside(self, action: Action, names: Names) -> bool:
        """Let the outside do something."""
        stage = self.stages[-1]
        match action:
            case Begin(event):
                stage.run(start_event=self.types.make(event), run_id=self.run_id)
                return False
            case Plain("save and restore"):
                data = json.loads(json.dumps(stage.handler.ctx.to_dict()))
                stage.close()
                await turn()  # what it still records comes before another one goes on
                self.clock.advance(0.5)
                self.stages.append(stage := SharedStage(self))
                stage.run(ctx=Context.from_dict(stage.workflow, data))
                return True
            case _:
                return await super().from_outside(action, names)

    def state(self) -> dict[str, object]:
        """Read the state of the context, as JSON can say it."""
        state = self.runner.run(self.stages[-1].handler.ctx.store.get_state())
        return dict(state.model_dump(mode="json").get("_data", {}))

    def is_told(self, records: Sequence[Record], seen: Sequence[Record]) -> bool:
        """Tell whether those who make spans have got all there is; the last records come a moment later, if at all."""
        end = time.monotonic() + _MOMENT
        while len(seen) < len(records) and time.monotonic() < end:
            self.runner.run(turn())
        return len(seen) == len(records)


def draw_stories(count: int) -> list[tuple[Scenario, Random]]:
    """Draw different stories, the same ones each time, each with dice for what is not told."""
    number = st.integers(0, 2**32)
    found: dict[tuple[str, ...], tuple[Scenario, Random]] = {}

    @settings(max_examples=2 * count, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(number, st.lists(number, min_size=10, max_size=24))
    def keep(seed: int, numbers: list[int]) -> None:
        if len(found) < count:
            story = tell_story(seed, numbers)
            found[str(story.steps), *story.lines] = story, Random(seed)

    keep()
    return list(found.values())


def main(endpoint: str, journal: str, file: str, states: str, count: str, name: str) -> None:
    """Let all workflows live; those that have not ended are cancelled, or left as they are."""
    told_all = Journal(journal, synchronous="normal")
    undo = otflow.configure(endpoint=endpoint, journal=told_all, redact=False, exit_timeout=_PATIENCE)
    now, left, seen, found = time.time_ns() - 3600 * 10**9, [], [], {}
    detach = default_dispatcher.attach(seen.extend, patient=True)
    with capture_records() as records:
        for place, (story, dice) in enumerate(draw_stories(int(count))):
            teller = Teller(story, f"{name}-{place:03}", dice, now + place * 10**9)
            run_scenario(story, teller)
            found[teller.run_id] = teller.state()
            if dice.random() < 0.5 and teller.is_told(records, seen):
                left.append(teller)
            else:
                teller.__exit__()
        told = bytes(b"\n".join(map(encode, records)))
        detach()
        undo()
    for teller in left:
        teller.__exit__()
    told_all.close()
    Path(file).write_bytes(told)
    Path(states).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
