"""What drives a scenario: the core alone, and a real workflow of which each step does what the scenario says.

Both live by a clock that the scenario moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from otflow.core.collecting import may_complete
from otflow.core.commands import StartTimer
from otflow.core.decide import advance
from otflow.core.inputs import (
    Cancel,
    Checkpoint,
    Collect,
    DelayOver,
    Input,
    Receive,
    Release,
    Restore,
    Send,
    Start,
    StepRaised,
    StepReturned,
    TimeOut,
    Wait,
    WaitExpired,
    Write,
    WriteStream,
)
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.snapshot import carry_out, pack, save
from otflow.core.state import RunState, new_state, pending
from otflow.records.body import Body
from otflow.records.record import Failure, Record
from tests.printing import DEFAULT_WAIT, NS, Names
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
    Who,
    Writes,
)

FAILED = "StepFailedEvent"


def make_plan(steps: Sequence[Step]) -> Plan:
    """Make the plan of the workflow that a scenario describes."""
    produced: dict[str, tuple[str, ...]] = {}
    accepted: dict[str, tuple[str, ...]] = {}
    for step in steps:
        for kind in step.returns:
            produced[kind] = (*produced.get(kind, ()), step.name)
        for kind in step.accepts:
            accepted[kind] = (*accepted.get(kind, ()), step.name)
    routes = {
        kind: Route(accepted.get(kind, ()), kind.startswith("Stop"), kind.startswith("Ask"))
        for kind in (*produced, *accepted, "Stop", "Ask")
    }
    external = {kind for kind in accepted.keys() - produced.keys() if not kind.startswith("Start") and kind != FAILED}
    plans = {step.name: StepPlan(step.name, step.workers, *_find_catcher(step, steps)) for step in steps}
    return Plan("Flow", "digest", plans, routes, frozenset(external), produced)


def _find_catcher(step: Step, steps: Sequence[Step]) -> tuple[str, int]:
    for handler in steps:
        if handler.catches is not None and step.name in handler.catches:
            return handler.name, handler.recoveries
    return "", 1


class CoreDriver:
    """Drives the core alone, as a world without delays would."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.steps = {step.name: step for step in scenario.steps}
        self.plan = make_plan(scenario.steps)
        self.state = new_state(self.plan, "run1")
        self.now = NS
        self.deadline = 0
        self.waited: Counter[tuple[int, int, str]] = Counter()
        self.names = Names()

    def feed(self, input: Input) -> list[Record]:
        """Take one input."""
        return advance(self.state, input)

    def do(self, action: Action, names: Names) -> list[Record]:
        """Let one thing happen, and give the records that follow."""
        self.names = names
        match action:
            case Begin() | Outside() | SendHeld() | Plain() | Pass():
                return self.from_outside(action)
            case Saved():
                return self.was_saved(self.id(action.who))
            case GivesUp():
                return self.feed(WaitExpired(self.now, names.find(names.waits, action.waiter)))
            case _:
                return self.feed(self.from_step(action))

    def id(self, who: Who) -> int:
        return self.names.find(self.names.invocations, f"{who.step}#{who.number}")

    def attempt(self, who: Who) -> int:
        return who.attempt or self.state.running[self.id(who)].attempt

    # --- what steps do --------------------------------------------------------------------------------------

    def from_step(self, action: Returns | Raises | Sends | Writes | Streams | Collects | Waits) -> Input:
        """Make the input that an attempt gives."""
        now, id = self.now, self.id(action.who)
        match action:
            case Returns(who, events):
                input = StepReturned(now, id, self.attempt(who), hold=self.scenario.checkpoints)
                if events:
                    (input.type, input.body), *more = [(event.type, body(event)) for event in events]
                    input.more = tuple(more)
                return input
            case Raises():
                return self.raised(action, id)
            case Sends(_, event, target):
                return Send(now, id, event.type, body(event), target)
            case Writes(_, path, text):
                return Write(now, id, path, Body(json=text.encode() if text else b"null"), text is None)
            case Streams(_, event):
                return WriteStream(now, id, event.type, body(event))
            case Collects(_, expected, buffer, event):
                input = Collect(now, id, buffer, len(expected))
                if may_complete(self.state, id, buffer, len(expected)):
                    input.expected = expected
                if event is not None:
                    input.type, input.body = event.type, body(event)
                return input
            case Waits():
                return self.waits(action, id)
            case _:
                assert_never(action)

    def raised(self, action: Raises, id: int) -> StepRaised:
        step, attempt = self.steps[action.who.step], self.attempt(action.who)
        delay = step.retry[attempt - 1] if attempt <= len(step.retry) else None
        input = StepRaised(self.now, id, attempt, Failure(f"builtins.{action.error}", "bad"), delay)
        if delay is None and self.plan.steps[step.name].catcher:
            input.recovery_type, input.recovery = FAILED, Body({"exception": action.error})
        return input

    def waits(self, action: Waits, id: int) -> Wait:
        key = id, self.attempt(action.who), action.waiter
        occurrence = self.waited[key]
        self.waited[key] += 1
        wanted = body(action.event) if action.event.fields else None
        due = self.now + int((action.seconds or DEFAULT_WAIT) * NS)
        bounded = action.seconds is not None or action.beside
        input = Wait(self.now, id, action.waiter, action.event.type, occurrence, wanted, due, bounded)
        if action.question is not None:
            input.question_type, input.question = action.question.type, body(action.question)
        return input

    def was_saved(self, id: int) -> list[Record]:
        """Let the output of a step go on, after its checkpoint."""
        held = [event for event in self.state.held.values() if event.invocation == id]
        step = self.names.invocations[id].partition("#")[0]
        inputs: list[Input] = [Checkpoint(self.now, id, step)]
        inputs += [Receive(self.now, event.type, event.body, held=event.seq) for event in held]
        return [record for input in inputs for record in self.feed(input)]

    # --- what the outside does ------------------------------------------------------------------------------

    def from_outside(self, action: Begin | Outside | SendHeld | Plain | Pass) -> list[Record]:
        """Let the outside do something."""
        match action:
            case Begin(event):
                return self.begin(event)
            case Outside(event, target):
                return self.feed(Receive(self.now, event.type, body(event), target))
            case SendHeld(name):
                held = self.state.held[self.names.find(self.names.events, name)]
                return self.feed(Receive(self.now, held.type, held.body, held=held.seq))
            case Pass(seconds):
                return self.let_time_pass(self.now + round(seconds * NS))
            case Plain("release"):
                return self.feed(Release(self.now))
            case Plain("cancel"):
                return self.feed(Cancel(self.now))
            case Plain("save and restore"):
                snapshot = save(self.state)
                self.state = new_state(self.plan, self.state.run)
                self.waited.clear()
                return self.feed(Restore(self.now, snapshot))
            case Plain():
                carried = pack(carry_out(self.state))
                self.state = new_state(self.plan, "run2")
                return self.begin(Event("Start"), carried)
            case _:
                assert_never(action)

    def begin(self, event: Event, carried: Body | None = None) -> list[Record]:
        timeout = self.scenario.timeout
        self.deadline = self.now + round((timeout or 0) * NS)
        start = Start(self.now, event.type, body(event), timeout, self.scenario.stepwise, carried=carried)
        return self.feed(start)

    def let_time_pass(self, end: int) -> list[Record]:
        """Ring each timer that falls due, in order."""
        records: list[Record] = []
        while (timer := next_timer(self.state, self.scenario.timeout, self.deadline)) and timer[0] <= end:
            due, kind, id = timer
            self.now = max(self.now, due)
            match kind:
                case "delay":
                    records += self.feed(DelayOver(self.now, id))
                case "wait":
                    records += self.feed(WaitExpired(self.now, id))
                case _:
                    records += self.feed(TimeOut(self.now, self.scenario.timeout or 0))
        self.now = end
        return records


def next_timer(state: RunState, timeout: float | None, deadline: int) -> tuple[int, str, int] | None:
    """Find the timer of a run that rings first."""
    if state.ended is not None:
        return None
    timers = [(each.due, each.kind, each.id) for each in pending(state) if isinstance(each, StartTimer)]
    if timeout is not None:
        timers.append((deadline, "run", 0))
    return min(timers, default=None)


def body(event: Event) -> Body:
    """Make the payload of an event."""
    return Body(event.fields)
