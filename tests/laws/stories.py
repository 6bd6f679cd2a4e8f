"""Random scenarios: stories that could happen to a real workflow, told in the language of `tests.scenario`.

They are made by playing along with the core, so that each line is possible where it stands.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from otflow.records.record import WaitStarted
from tests.drivers import CoreDriver
from tests.printing import Names
from tests.scenario import Scenario, Step, read_action

KINDS = ("B", "C")
OPENING = "start Start"


def tell_story(seed: int, numbers: list[int]) -> Scenario:
    """Make the scenario that these numbers stand for: the workflow by the first, each line by one of the others."""
    scenario = make_workflow(Random(seed))
    teller = _Teller(scenario)
    teller.add(OPENING)
    for number in numbers:
        teller.dice = Random(number)
        for line in teller.next():
            teller.add(line)
        if teller.core.state.ended is not None:
            break
    return scenario


def make_workflow(dice: Random) -> Scenario:
    """Make a workflow of two or three steps, perhaps with an error handler, perhaps with checkpoints."""
    names = ["a", "b", "c"][: dice.randint(2, 3)]
    handled = dice.random() < 0.5
    steps = []
    for name in names:
        accepts = ("Start",) if name == "a" else tuple(sorted(dice.sample(KINDS, dice.randint(1, 2))))
        # a run that may get messages never stalls
        accepts = (*accepts, "Message") if dice.random() < 0.3 else accepts
        retry = dice.choice([(), (), (2.0,), (0.0, 7.0)])
        steps.append(Step(name, accepts, ("B", "C", "Ask", "Stop"), dice.randint(1, 3), retry))
    if handled:
        steps.append(Step("h", ("StepFailedEvent",), ("B", "Stop"), 1, (), tuple(names), dice.randint(1, 2)))
    return Scenario(Path("story"), "# a story", steps, timeout=500.0, checkpoints=dice.random() < 0.2)


class _Teller:
    """Chooses lines that are possible, by the state of a core that lives through them."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.core = CoreDriver(scenario)
        self.names = Names()
        self.dice = Random(0)
        self.unsaved: list[str] = []
        self.standing: dict[int, int] = {}
        self.told = 0

    def add(self, line: str) -> None:
        """Let a line happen, and keep it."""
        self.scenario.lines.append(line)
        for record in self.core.do(read_action(line), self.names):
            self.names.learn(record)
            if isinstance(record, WaitStarted) and " beside " not in line:
                self.standing[record.invocation] = record.seq

    def next(self) -> list[str]:
        """Choose what happens next."""
        state, pick = self.core.state, self.dice.choice
        if self.unsaved and pick([True, False]):
            return [f"{self.unsaved.pop(0)} was saved"]
        able = sorted(id for id in state.running if self.standing.get(id) not in state.waits)
        if not able or self.dice.random() < 0.2:
            return self.from_outside()
        who = self.names.invocations[pick(able)]
        return getattr(
            self, pick(["returns"] * 3 + ["raises", "sends", "sends", "collects", "collects", "waits", "writes"])
        )(who)

    def from_outside(self) -> list[str]:
        """Choose something that the outside does."""
        kind = self.dice.choice(["time", "time", "time", "send", "send", "send", "restore", "cancel"])
        match kind:
            case "time":
                return [f"time +{self.dice.choice([0.5, 2, 7])}s"]
            case "send":
                return [f"send {self.dice.choice(['Answer', 'Answer', 'B', 'Message', 'Lost'])}{self.fields()}"]
            case "restore":
                self.unsaved.clear()
                return ["save and restore"]
            case _:
                return ["cancel"] if self.dice.random() < 0.05 else ["time +1s"]

    def moment(self) -> str:
        """Let a little time go by, so that no two timers ring at once."""
        self.told += 1
        return f"time +{0.001 * self.told:.3f}s"

    def fields(self) -> str:
        return self.dice.choice(["", "(k=1)", "(k=2)"])

    def returns(self, who: str) -> list[str]:
        if self.scenario.checkpoints:
            self.unsaved.append(who)
        kinds = self.dice.choice([["B"], ["B"], ["C"], ["C"], ["Ask"], ["Lost"], ["B", "C", "B"], [], []])
        kinds = ["Stop"] if self.dice.random() < 0.04 else kinds
        return [f"{who} returns {', '.join(kind + self.fields() for kind in kinds) or 'nothing'}"]

    def raises(self, who: str) -> list[str]:
        final = not self.core.steps[who.partition("#")[0]].retry and self.dice.random() < 0.8
        return self.sends(who) if final else [self.moment(), f"{who} raises ValueError"]

    def sends(self, who: str) -> list[str]:
        kind = self.dice.choice(["B", "B", "C", "C", "Lost", "Ask"])
        takers = ["", *(f" to {step.name}" for step in self.scenario.steps if kind in step.accepts)]
        return [f"{who} sends {kind}{self.fields()}{self.dice.choice(takers)}"]

    def collects(self, who: str) -> list[str]:
        foreign = "B(k=2) into " if self.dice.random() < 0.1 else ""
        types, buffer = self.dice.choice(["B, C", "B, B", "C, B, B"]), self.dice.choice(["", " in box"])
        return [f"{who} collects {foreign}{types}{buffer}"]

    def waits(self, who: str) -> list[str]:
        pick = self.dice.choice
        kind = pick(["Answer", "Answer", "Answer", "B"])
        name = kind.lower() + pick("uv")  # a name is for one type, as in a step that does the same when it runs again
        wait = f"waits{pick(['', ' beside'])} for {kind}{pick(['', '(k=1)'])} as {name}"
        return [self.moment(), f"{who} {wait}{pick(['', ' within 3s'])}{pick(['', ' asking Ask'])}"]

    def writes(self, who: str) -> list[str]:
        return [self.dice.choice([f"{who} writes x.y = 5", f"{who} streams Progress{self.fields()}"])]
