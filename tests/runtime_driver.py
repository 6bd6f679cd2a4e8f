"""Drives a real workflow by a scenario: each of its steps stands still until the scenario says what it does next.

Time is moved by the scenario alone, and after each input the event loop turns until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import builtins
import json
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Self

from otflow.context.context import Context
from otflow.decorators import catch_error, step
from otflow.dispatcher import Dispatcher
from otflow.errors import ContextStateError
from otflow.events import Event as LiveEvent
from otflow.events import HumanResponseEvent, InputRequiredEvent, StartEvent, StepFailedEvent, StopEvent
from otflow.handler import WorkflowHandler
from otflow.records.body import Body
from otflow.records.record import (
    EventBuffered,
    EventReceived,
    EventsCollected,
    EventSent,
    Record,
    RunStarted,
    WaitEnded,
    WaitStarted,
)
from otflow.runtime.clock import ManualClock
from otflow.workflow import Workflow
from tests.printing import Names, carried_events
from tests.scenario import (
    Action,
    Begin,
    Collects,
    Event,
    GivesUp,
    Outside,
    Pass,
    Plain,
    Raises,
    Returns,
    Saved,
    Scenario,
    SendHeld,
    Sends,
    Step,
    Streams,
    Waits,
    Writes,
)

BASES = {"Start": StartEvent, "Stop": StopEvent, "Ask": InputRequiredEvent, "Answer": HumanResponseEvent}
TURNS = 50
"""Turns of the event loop after which everything that could happen has happened."""


class Delays:
    """A retry policy: the delays before the further attempts, then no more."""

    def __init__(self, delays: tuple[float, ...]) -> None:
        self.delays = delays

    def next(self, elapsed_time: float, attempts: int, error: Exception) -> float | None:
        return self.delays[attempts - 1] if attempts <= len(self.delays) else None


class Types(dict[str, type[LiveEvent]]):
    """The event classes of a scenario, made when they are first named."""

    def __missing__(self, name: str) -> type[LiveEvent]:
        if name == "StepFailedEvent":
            return StepFailedEvent
        base = next((base for prefix, base in BASES.items() if name.startswith(prefix)), LiveEvent)
        self[name] = type(name, (base,), {"__module__": "tests.flow"})
        return self[name]

    def make(self, event: Event) -> LiveEvent:
        return self[event.type](**event.fields)


class Stage:
    """One run, or what goes on with it after a restore: its workflow, its steps, its records."""

    def __init__(self, scenario: Scenario, clock: ManualClock, types: Types) -> None:
        self.types = types
        self.records: list[Record] = []
        self.mailboxes: dict[tuple[int, int], asyncio.Queue[Action]] = {}
        self.waits: dict[tuple[int, str], list[asyncio.Future[LiveEvent]]] = {}
        self.collected: dict[int, list[LiveEvent] | None] = {}
        self.saving: asyncio.Future[None] | None = None
        self.handler: WorkflowHandler | None = None
        dispatcher = Dispatcher()
        self.detach = dispatcher.attach(self.records.extend)
        steps = {each.name: self.make_step(each) for each in scenario.steps}
        kind: type[Workflow] = type("Flow", (Workflow,), steps)
        self.workflow = kind(scenario.timeout, disable_validation=True, dispatcher=dispatcher, clock=clock)
        self.options = {"stepwise": scenario.stepwise}
        if scenario.checkpoints:
            self.options["checkpoint_callback"] = self.keep

    def run(self, **options: object) -> None:
        """Begin a run, with someone who reads its stream."""
        self.handler = self.workflow.run(**self.options, **options)
        self.reader = asyncio.create_task(self.read())

    async def read(self) -> None:
        async for _ in self.handler.stream_events():
            pass

    def make_step(self, plan: Step) -> object:
        """Make a step of the workflow, with the signature that the scenario gives."""

        async def act(_, ctx, ev):
            return await self.act(ctx, ev)

        accepts, returns = ([self.types[name] for name in names] for names in (plan.accepts, plan.returns))
        some = reduce(or_, [*returns, list[reduce(or_, returns)]]) | None if returns else None
        act.__name__, act.__qualname__ = plan.name, f"Flow.{plan.name}"
        act.__annotations__ = {"ctx": Context, "ev": reduce(or_, accepts), "return": some}
        if plan.catches is not None:
            return catch_error(for_steps=list(plan.catches), max_recoveries=plan.recoveries)(act)
        return step(num_workers=plan.workers, retry_policy=Delays(plan.retry) if plan.retry else None)(act)

    async def act(self, ctx: Context, ev: LiveEvent) -> object:
        """Be a step: do what the scenario says, until it says what comes of it."""
        invocation = int(ctx.idempotency_key.rpartition(":")[2])
        box = self.mailboxes[invocation, ctx.attempt] = asyncio.Queue()
        self.waits = {key: tasks for key, tasks in self.waits.items() if key[0] != invocation}
        while True:
            match action := await box.get():
                case Returns(_, events):
                    made = [self.types.make(event) for event in events]
                    return made if len(made) > 1 else made[0] if made else None
                case Raises(_, error):
                    raise getattr(builtins, error)("bad")
                case Waits():
                    outcome = asyncio.get_running_loop().create_future()
                    self.waits.setdefault((invocation, action.waiter), []).append(outcome)
                    outcome.add_done_callback(lambda future: future.cancelled() or future.exception())
                    wait = self.wait(ctx, action, outcome)
                    if action.beside:
                        task = asyncio.create_task(wait)
                        outcome.add_done_callback(lambda future, task=task: future.cancelled() and task.cancel())
                    else:
                        await wait
                case GivesUp(_, waiter):
                    self.waits[invocation, waiter][-1].cancel()
                case _:
                    await self.say(ctx, ev, action, invocation)

    async def wait(self, ctx: Context, action: Waits, outcome: asyncio.Future[LiveEvent]) -> None:
        """Wait as a step does that can live without an answer."""
        question = self.types.make(action.question) if action.question is not None else None
        wanted = action.event.fields or None
        limit = {"timeout": action.seconds} if action.seconds is not None else {}
        kind = self.types[action.event.type]
        try:
            outcome.set_result(await ctx.wait_for_event(kind, question, action.waiter, wanted, **limit))
        except TimeoutError as error:
            outcome.set_exception(error)

    async def say(self, ctx: Context, ev: LiveEvent, action: Action, invocation: int) -> None:
        """Say something as a step does, without waiting for an answer."""
        match action:
            case Sends(_, event, target):
                ctx.send_event(self.types.make(event), target or None)
            case Writes(_, path, None):
                async with ctx.store.edit_state() as state:
                    delattr(state, path)
            case Writes(_, path, text):
                await ctx.store.set(path, json.loads(text))
            case Streams(_, event):
                ctx.write_event_to_stream(self.types.make(event))
            case Collects(_, expected, buffer, event):
                offered = ev if event is None else self.types.make(event)
                taken = ctx.collect_events(offered, [self.types[name] for name in expected], buffer)
                self.collected[invocation] = taken
            case _:
                raise AssertionError(f"no step can do this: {action}")

    async def keep(self, *_: object) -> None:
        """Keep a checkpoint, for as long as the scenario takes."""
        self.saving = asyncio.get_running_loop().create_future()
        await self.saving

    def close(self) -> None:
        """Leave the run as it is; what it still records is nobody's concern."""
        self.detach()
        if self.handler is None:
            return
        self.reader.cancel()
        self.handler.cancel()
        self.handler.add_done_callback(lambda handler: handler.cancelled() or handler.exception())


class RuntimeDriver:
    """Drives a workflow in an event loop of its own; to be used in a `with` statement."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clock = ManualClock()
        self.types = Types()
        self.runner = asyncio.Runner()
        self.stages: list[Stage] = []
        self.bodies: dict[int, Body] = {}
        self.waits: dict[int, WaitStarted] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.run(self.close())
        self.runner.close()

    async def close(self) -> None:
        for stage in self.stages:
            stage.close()
        await turn()

    def do(self, action: Action, names: Names) -> Sequence[Record]:
        """Let one thing happen, and give the records that follow."""
        return self.runner.run(self.act(action, names))

    async def act(self, action: Action, names: Names) -> Sequence[Record]:
        if not self.stages:
            self.stages.append(Stage(self.scenario, self.clock, self.types))
        before = len(self.stages[-1].records)
        match action:
            case Begin() | Outside() | SendHeld() | Plain() | Pass() | Saved():
                if await self.from_outside(action, names):
                    before = 0
            case _:
                self.tell(action, names)
        await turn()
        records = self.stages[-1].records[before:]
        for record in records:
            self.check(record)
        return records

    def check(self, record: Record) -> None:
        """Make sure that steps get the events that are recorded as collected or as answers."""
        stage = self.stages[-1]
        match record:
            case RunStarted():
                self.bodies = {event.seq: event.body for event in carried_events(record.carried)}
            case EventReceived() | EventSent() | EventBuffered(body=Body()):
                self.bodies[record.seq] = record.body
            case EventsCollected():
                taken = stage.collected[record.invocation] or []
                assert [Body(event) for event in taken] == [self.bodies[id] for id in record.events]
            case WaitStarted():
                self.waits[record.seq] = record
            case WaitEnded():
                wait = self.waits[record.wait]
                task = stage.waits[record.invocation, wait.waiter][wait.occurrence]
                if record.event:
                    assert Body(task.result()) == self.bodies[record.event]
                else:
                    assert task.cancelled() or isinstance(task.exception(), TimeoutError)
            case _:
                pass

    def tell(self, action: Action, names: Names) -> None:
        """Tell the attempt that runs what to do next; one whose run is over no longer hears it."""
        who, stage = action.who, self.stages[-1]
        id = names.find(names.invocations, f"{who.step}#{who.number}")
        last = max(attempt for other, attempt in stage.mailboxes if other == id)
        stage.mailboxes[id, last].put_nowait(action)

    async def from_outside(self, action: Action, names: Names) -> bool:
        """Let the outside do something; tell whether a new stage has begun."""
        stage = self.stages[-1]
        match action:
            case Begin(event):
                stage.run(start_event=self.types.make(event), run_id="run1")
            case Outside(event, target):
                try:
                    stage.handler.ctx.send_event(self.types.make(event), target or None)
                except ContextStateError:
                    assert stage.handler.done()
            case SendHeld(name):
                id = names.find(names.events, name)
                held = next(r for r in stage.records if isinstance(r, EventSent) and r.seq == id)
                stage.handler.ctx.send_event(held.body.live)
            case Pass(seconds):
                self.clock.advance(seconds)
            case Saved():
                stage.saving.set_result(None)
            case Plain("release"):
                stage.stepping = asyncio.create_task(stage.handler.run_step())
            case Plain("cancel"):
                stage.cancelling = asyncio.create_task(stage.handler.cancel_run())
            case Plain("save and restore"):
                data = json.loads(json.dumps(stage.handler.ctx.to_dict()))
                stage.close()
                self.stages.append(stage := Stage(self.scenario, self.clock, self.types))
                stage.run(ctx=Context.from_dict(stage.workflow, data))
                return True
            case _:
                stage.run(ctx=stage.handler.ctx, start_event=self.types["Start"](), run_id="run2")
        return False


async def turn() -> None:
    """Turn the event loop until nothing is left to do."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
