"""Random runs: small plans, and inputs that are valid for the state that they meet.

A `Script` is a plan and its inputs; `play` feeds them and shows the state after each. Whoever only needs records takes
`histories()`. All random choices are made while a script is drawn, so that a failing one can be played again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import TypeVar

import msgspec
from hypothesis import strategies as st

from otflow.core.collecting import may_complete
from otflow.core.decide import advance
from otflow.core.inputs import (
    Cancel,
    Checkpoint,
    Collect,
    DelayOver,
    Fail,
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
from otflow.core.snapshot import Leftovers, carry_out, pack, save
from otflow.core.state import Invocation, RunState, new_state
from otflow.records.body import Body
from otflow.records.record import EventReceived, Failure, Record

T = TypeVar("T")

NS = 1_000_000_000
KINDS = ("A", "B", "C")
EMITTED = (*KINDS, *KINDS, "Lost", "Ask", "StepFailed")
COLLECTIONS = (("A", "B"), ("A", "A"), ("B", "A", "B"), ("C",))
ERROR = Failure("builtins.ValueError", "bad")


class Script(msgspec.Struct):
    """A plan and what happens to a run of it."""

    plan: Plan
    inputs: list[Input]


class Played(msgspec.Struct):
    """What one input led to; `state` is the live one, which moves on when the script does."""

    input: Input
    records: list[Record]
    state: RunState


def play(script: Script) -> Iterator[Played]:
    """Feed the inputs of a script; a restored run gets a state of its own."""
    state = new_state(script.plan, "run")
    for input in script.inputs:
        if isinstance(input, Restore):
            state = new_state(script.plan, "run")
        yield Played(input, advance(state, input), state)


def segments(script: Script) -> list[list[Record]]:
    """Give the records of a script: a list from the start on, and one from each snapshot on."""
    found: list[list[Record]] = []
    for played in play(script):
        if not found or isinstance(played.input, Restore):
            found.append([])
        found[-1] += played.records
    return found


def scripts(*, inputs: int = 60, restores: bool = True) -> st.SearchStrategy[Script]:
    """Draw a plan, and up to `inputs` inputs for a run of it.

    The plan and each input is one number, by which dice are thrown: that draws fast, and shrinks by leaving inputs out.
    """
    number = st.integers(0, 2**32)
    few, many = st.lists(number, max_size=9), st.lists(number, min_size=inputs // 2, max_size=inputs)
    return st.builds(lambda plan, some: write_script(plan, some, restores=restores), number, many | few)


def write_script(plan: int, numbers: list[int], *, restores: bool = True) -> Script:
    """Make the script that these numbers stand for."""
    writer = _Writer(make_plan(Random(plan)), restores=restores)
    script = Script(writer.state.plan, [])
    for place, number in enumerate([plan + 1, *numbers]):
        writer.dice = Random(number)
        input = writer.next() if place else writer.start()
        script.inputs.append(input)
        if isinstance(input, Restore):
            writer.renew()
        advance(writer.state, input)
        if writer.state.ended is not None:
            break
    return script


def make_plan(dice: Random) -> Plan:
    """Make a workflow of one to three steps and a handler of their errors."""
    names = ["a", "b", "c"][: dice.randint(1, 3)]
    accepts = {name: dice.sample(KINDS, dice.choice([1, 1, 2, 3])) for name in names}
    catcher = dice.choice(["", "handler"])
    steps = {name: StepPlan(name, dice.randint(1, 3), catcher, dice.randint(0, 2)) for name in names}
    steps["handler"] = StepPlan("handler", dice.randint(1, 3))
    routes = {kind: Route(tuple(name for name in names if kind in accepts[name])) for kind in KINDS}
    routes["Start"] = Route(tuple(names[: dice.randint(1, len(names))]))
    routes["StepFailed"] = Route(("handler",))
    routes["Stop"] = Route(stop=True)
    routes["Ask"] = Route(question=True)
    routes["Lost"] = Route()
    external = frozenset(dice.sample(KINDS, dice.randint(0, 1)))
    produced = {kind: tuple(names) for kind in KINDS if kind not in external}
    return Plan("flow", "digest", steps, routes, external, produced)


def histories(*, inputs: int = 40) -> st.SearchStrategy[list[Record]]:
    """Draw the records of one run, from its `RunStarted` on."""
    return scripts(inputs=inputs, restores=False).map(lambda script: segments(script)[0])


def restored_histories(*, inputs: int = 40) -> st.SearchStrategy[list[Record]]:
    """Draw the records of one run, from its start or from the last snapshot on."""
    return scripts(inputs=inputs).map(lambda script: segments(script)[-1])


class _Writer:
    """Draws inputs that are valid for the state, which it follows."""

    def __init__(self, plan: Plan, *, restores: bool) -> None:
        self.dice = Random(0)
        self.state = new_state(plan, "run")
        self.restores = restores
        self.at = NS
        self.made = 0
        self.occurrences: Counter[tuple[int, int, str]] = Counter()

    def renew(self) -> None:
        """Begin with an empty state, as a new process does."""
        self.state = new_state(self.state.plan, self.state.run)
        self.occurrences.clear()

    def next(self) -> Input:
        """Draw what happens next."""
        self.at += self.pick(0, NS)
        possible = [name for name, weight in self.weights().items() for _ in range(weight)]
        input: Input = getattr(self, self.pick(*possible))()
        return input

    def weights(self) -> dict[str, int]:
        """Say what may happen now, and how often it should."""
        state, some = self.state, {"receive": 2, "late": 1, "checkpoint": 1}
        if state.running:
            some |= {"returned": 7, "raised": 2, "send": 3, "collect": 4, "wait": 3, "write": 1, "stream": 1}
        if state.delayed:
            some["delay_over"] = 3
        if any(wait.due for wait in state.waits.values()):
            some["expire"] = 2
        if state.stepwise:
            some["release"] = 4
        if state.held:
            some["send_held"] = 6
        if self.restores:
            some["restore"] = 1
        if self.rarely(100):
            some["end"] = 10
        return some

    def pick(self, *some: T) -> T:
        return self.dice.choice(some)

    def rarely(self, sides: int = 6) -> bool:
        return self.dice.randrange(sides) == 0

    def invocation(self) -> Invocation:
        return self.pick(*self.state.running.values())

    def body(self) -> Body:
        self.made += 1
        return Body({"k": self.made % 3})

    def target(self) -> str:
        return self.pick("", "", *self.state.lanes)

    def start(self) -> Input:
        carried = pack(_leftovers(self.state.plan)) if self.rarely() else None
        return Start(self.at, "Start", self.body(), 60.0, self.rarely(), carried=carried)

    def returned(self) -> Input:
        at = self.invocation()
        input = StepReturned(self.at, at.id, at.attempt, hold=self.rarely())
        if self.rarely():
            return input
        kinds = [self.emitted() for _ in range(self.pick(1, 1, 1, 2, 3))]
        (input.type, input.body), *more = [(kind, self.body()) for kind in kinds]
        input.more = tuple(more)
        return input

    def emitted(self) -> str:
        return "Stop" if self.rarely(100) else self.pick(*EMITTED)

    def raised(self) -> Input:
        at = self.invocation()
        delay = self.pick(0.0, 2.0, 2.0, None)
        if delay is None and not self.state.plan.steps[at.step].catcher and not self.rarely():
            delay = 2.0
        input = StepRaised(self.at, at.id, at.attempt, ERROR, delay)
        if delay is None and self.state.plan.steps[at.step].catcher:
            input.recovery_type, input.recovery = "StepFailed", self.body()
        return input

    def send(self) -> Input:
        return Send(self.at, self.invocation().id, self.emitted(), self.body(), self.target())

    def write(self) -> Input:
        return Write(self.at, self.invocation().id, "x.y", self.body(), self.rarely())

    def stream(self) -> Input:
        return WriteStream(self.at, self.invocation().id, "A", self.body())

    def collect(self) -> Input:
        at, buffer = self.invocation(), self.pick("default", "other")
        fitting = [some for some in COLLECTIONS if at.event.type in some]
        expected = self.pick(*(COLLECTIONS if self.rarely() else fitting or COLLECTIONS))
        need = len(expected)
        input = Collect(self.at, at.id, buffer, need)
        if may_complete(self.state, at.id, buffer, need):
            input.expected = expected
        if self.rarely() or at.event.type not in expected:
            input.type, input.body = self.pick(*expected), self.body()
        return input

    def wait(self) -> Input:
        at, waiter = self.invocation(), self.pick("w", "v")
        occurrence = self.occurrences[at.id, at.attempt, waiter]
        self.occurrences[at.id, at.attempt, waiter] += 1
        input = Wait(self.at, at.id, waiter, self.pick(*KINDS, "Lost"), occurrence)
        input.due = self.pick(0, self.at + 5 * NS)
        input.bounded = self.pick(False, True)
        input.requirements = self.pick(None, Body({"k": 1}))
        if self.pick(False, True):
            input.question_type, input.question = "Ask", self.body()
        return input

    def receive(self) -> Input:
        return Receive(self.at, self.pick(*KINDS, "Lost"), self.body(), self.target())

    def send_held(self) -> Input:
        held = self.pick(*self.state.held.values())
        return Receive(self.at, held.type, held.body, held=held.seq)

    def release(self) -> Input:
        return Release(self.at)

    def delay_over(self) -> Input:
        return DelayOver(self.at, self.pick(*self.state.delayed))

    def expire(self) -> Input:
        return WaitExpired(self.at, self.pick(*[wait.id for wait in self.state.waits.values() if wait.due]))

    def late(self) -> Input:
        """Draw a word of someone who no longer counts."""
        old = self.invocation() if self.state.running else Invocation("a", EventReceived(0, "", 0, "A", Body()))
        words: list[Input] = [
            StepReturned(self.at, old.id, old.attempt + 1, "Stop", self.body()),
            StepRaised(self.at, old.id, old.attempt + 1, ERROR, 1.0),
            Send(self.at, 9999, "A", self.body()),
            Collect(self.at, 9999, "default", 1, ("A",)),
            Wait(self.at, 9999, "w", "A"),
            WaitExpired(self.at, 9999),
            DelayOver(self.at, 9999),
            Start(self.at, "Start", self.body()),
        ]
        return self.pick(*words)

    def checkpoint(self) -> Input:
        return Checkpoint(self.at, self.pick(0, *self.state.running), "saved")

    def restore(self) -> Input:
        return Restore(self.at, save(self.state))

    def end(self) -> Input:
        return self.pick(TimeOut(self.at, 60.0), Cancel(self.at, "enough"), Fail(self.at, ERROR))


def _leftovers(plan: Plan) -> Leftovers:
    """Make what a run leaves behind in which each step kept one event."""
    state = new_state(plan, "before")
    advance(state, Start(NS, "Start", Body({"k": 0})))
    for invocation in list(state.running):
        advance(state, Collect(NS, invocation, "default", 2, ("A", "B"), "A", Body({"k": 0})))
    return carry_out(state)
