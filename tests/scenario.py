"""Scenarios: a run as text, what happens to it (`> ...`) and the records that follow, one a line.

A file begins with comments (`#`) that state its law, then describes the workflow:

    step a: Start -> B | C, workers 2, retry 5s 10s
    step b: B -> Stop
    step h: StepFailedEvent -> Stop, catches a b, recoveries 2
    run: timeout 60s, stepwise, checkpoints
    only core: the reason why nothing but the core can be driven like this

What an event does follows from its name: `Start...` starts a run, `Stop...` ends it, `Ask...` is a question to the
outside, `Answer...` comes from there. A handler has one worker, other steps have four. `a#2` is the second invocation
of step `a`, `a#2/3` its third attempt; `B2` is the second event of type `B`. Fields stand in parentheses: `B(k=1)`.
What may stand behind `>` is `ACTIONS`.

This room reads and compares; what drives a run stands in `tests.drivers`, how a record looks in `tests.printing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from otflow.records.record import Record
from tests.printing import Names, show


@dataclass(frozen=True)
class Event:
    """An event as a scenario names it."""

    type: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A step of the workflow; `retry` are the delays before its further attempts, in seconds."""

    name: str
    accepts: tuple[str, ...]
    returns: tuple[str, ...]
    workers: int = 4
    retry: tuple[float, ...] = ()
    catches: tuple[str, ...] | None = None
    recoveries: int = 1


@dataclass(frozen=True)
class Who:
    """An attempt, by step and number of the invocation; attempt 0 is the one that runs."""

    step: str
    number: int
    attempt: int


@dataclass(frozen=True)
class Returns:
    who: Who
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Raises:
    who: Who
    error: str


@dataclass(frozen=True)
class Sends:
    who: Who
    event: Event
    target: str


@dataclass(frozen=True)
class Writes:
    """`text` is the value as JSON; None deletes."""

    who: Who
    path: str
    text: str | None


@dataclass(frozen=True)
class Streams:
    who: Who
    event: Event


@dataclass(frozen=True)
class Collects:
    """`event` is None for the event that the step was called with."""

    who: Who
    expected: tuple[str, ...]
    buffer: str
    event: Event | None


@dataclass(frozen=True)
class Waits:
    """`beside` means in a task of its own: the step may do other things meanwhile."""

    who: Who
    event: Event
    waiter: str
    seconds: float | None
    question: Event | None
    beside: bool


@dataclass(frozen=True)
class GivesUp:
    """The step stops waiting beside its work, of its own will."""

    who: Who
    waiter: str


@dataclass(frozen=True)
class Begin:
    event: Event


@dataclass(frozen=True)
class Outside:
    event: Event
    target: str


@dataclass(frozen=True)
class SendHeld:
    name: str


@dataclass(frozen=True)
class Pass:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True)
class Saved:
    """The callback that keeps a checkpoint returns, so that the output of the step goes on."""

    who: Who


@dataclass(frozen=True)
class Plain:
    """`release`, `cancel`, `save and restore`, or `run again`."""

    what: str


Action: TypeAlias = (
    Returns
    | Raises
    | Sends
    | Writes
    | Streams
    | Collects
    | Waits
    | GivesUp
    | Begin
    | Outside
    | SendHeld
    | Pass
    | Saved
    | Plain
)


@dataclass
class Scenario:
    """A file, read; `lines` are its actions as text."""

    path: Path
    head: str
    steps: list[Step]
    timeout: float | None = None
    stepwise: bool = False
    checkpoints: bool = False
    only_core: str = ""
    lines: list[str] = field(default_factory=list)


class Driver(Protocol):
    """What can be driven by the actions of a scenario."""

    def do(self, action: Action, names: Names) -> Sequence[Record]:
        """Let one thing happen, and give the records that follow. `names` knows all that was recorded before."""


# --- reading ------------------------------------------------------------------------------------------------

_WHO = r"(?P<who>\w+#\d+(?:/\d+)?)"
_EVENT = r"(?P<event>\w+(?:\([^)]*\))?)"
_SECONDS = r"(?P<seconds>[\d.]+)s"

Groups: TypeAlias = dict[str, str]

ACTIONS: dict[str, Callable[[Groups], Action]] = {
    f"start {_EVENT}": lambda it: Begin(read_event(it["event"])),
    f"{_WHO} returns (?P<events>.+)": lambda it: Returns(read_who(it["who"]), _read_events(it["events"])),
    f"{_WHO} raises (?P<error>\\w+)": lambda it: Raises(read_who(it["who"]), it["error"]),
    f"{_WHO} sends {_EVENT}(?: to (?P<target>\\w+))?": lambda it: Sends(
        read_who(it["who"]), read_event(it["event"]), it["target"]
    ),
    f"{_WHO} writes (?P<path>\\S+) = (?P<text>.+)": lambda it: Writes(read_who(it["who"]), it["path"], it["text"]),
    f"{_WHO} deletes (?P<path>\\S+)": lambda it: Writes(read_who(it["who"]), it["path"], None),
    f"{_WHO} streams {_EVENT}": lambda it: Streams(read_who(it["who"]), read_event(it["event"])),
    f"{_WHO} collects (?:{_EVENT} into )?(?P<types>\\w+(?:, \\w+)*)(?: in (?P<buffer>\\w+))?": lambda it: Collects(
        read_who(it["who"]),
        tuple(it["types"].split(", ")),
        it["buffer"] or "default",
        read_event(it["event"]) if it["event"] else None,
    ),
    f"{_WHO} waits(?P<beside> beside)? for {_EVENT}(?: as (?P<waiter>\\w+))?"
    f"(?: within {_SECONDS})?(?: asking (?P<ask>\\w+))?": (
        lambda it: Waits(
            read_who(it["who"]),
            read_event(it["event"]),
            it["waiter"] or "w",
            float(it["seconds"]) if it["seconds"] else None,
            Event(it["ask"]) if it["ask"] else None,
            bool(it["beside"]),
        )
    ),
    f"{_WHO} gives up (?P<waiter>\\w+)": lambda it: GivesUp(read_who(it["who"]), it["waiter"]),
    r"send held (?P<name>\w+)": lambda it: SendHeld(it["name"]),
    f"send {_EVENT}(?: to (?P<target>\\w+))?": lambda it: Outside(read_event(it["event"]), it["target"]),
    f"time \\+{_SECONDS}": lambda it: Pass(float(it["seconds"])),
    f"{_WHO} was saved": lambda it: Saved(read_who(it["who"])),
    r"(?P<what>release|cancel|save and restore|run again)": lambda it: Plain(it["what"]),
}
"""The inputs, each by the form of its line."""


def read_action(line: str) -> Action:
    """Read what stands behind `>`."""
    for form, make in ACTIONS.items():
        if match := re.fullmatch(form, line):
            return make({name: text or "" for name, text in match.groupdict().items()})
    raise ValueError(f"no input has the form of this line: > {line}")


def read_event(text: str) -> Event:
    """Read an event: `B`, or `B(k=1, name="x")`."""
    kind, _, rest = text.partition("(")
    pairs = [pair.partition("=") for pair in rest.removesuffix(")").split(", ") if pair]
    return Event(kind, {name: json.loads(value) for name, _, value in pairs})


def _read_events(text: str) -> tuple[Event, ...]:
    return () if text == "nothing" else tuple(map(read_event, re.split(r", (?![^(]*\))", text)))


def read_who(text: str) -> Who:
    """Read `a#1`, or `a#1/2`."""
    step, _, rest = text.partition("#")
    number, _, attempt = rest.partition("/")
    return Who(step, int(number), int(attempt or 0))


def _read_step(text: str) -> Step:
    name, _, rest = text.partition(": ")
    flow, *options = rest.split(", ")
    accepts, returns = ([kind for kind in side.split(" | ") if kind != "nothing"] for side in flow.split(" -> "))
    given = {word: rest.split() for word, _, rest in (option.partition(" ") for option in options)}
    step = Step(
        name,
        tuple(accepts),
        tuple(returns),
        int(given.pop("workers", ["1" if "catches" in given else "4"])[0]),
        tuple(float(delay.removesuffix("s")) for delay in given.pop("retry", [])),
        tuple(given.pop("catches")) if "catches" in given else None,
        int(given.pop("recoveries", ["1"])[0]),
    )
    if given:
        raise ValueError(f"step {name} has options that no scenario knows: {', '.join(given)}")
    return step


def read_scenario(path: Path) -> Scenario:
    """Read a file; the records in it are not looked at."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("> "))
    scenario = Scenario(path, "\n".join(lines[:first]).rstrip(), [])
    for line in filter(None, lines[:first]):
        match line.partition(" "):
            case "step", _, text:
                scenario.steps.append(_read_step(text))
            case "run:", _, text:
                for option, _, value in (each.partition(" ") for each in text.split(", ")):
                    if option not in {"timeout", "stepwise", "checkpoints"}:
                        raise ValueError(f"no run has this option: {option}")
                    setattr(scenario, option, float(value.removesuffix("s")) if value else True)
            case "only", _, text:
                scenario.only_core = text.removeprefix("core: ")
            case start, _, _ if start != "#":
                raise ValueError(f"{path.name}: no workflow is described like this: {line}")
    scenario.lines = [line.removeprefix("> ") for line in lines[first:] if line.startswith("> ")]
    return scenario


# --- running ------------------------------------------------------------------------------------------------

Batches: TypeAlias = list[tuple[str, Sequence[Record]]]


def run_scenario(scenario: Scenario, driver: Driver) -> Batches:
    """Let everything happen that a scenario names, and give the records that each input led to."""
    names, batches = Names(), []
    for line in scenario.lines:
        records = driver.do(read_action(line), names)
        for record in records:
            names.learn(record)
        batches.append((line, records))
    return batches


def print_scenario(scenario: Scenario, batches: Batches) -> str:
    """Write a scenario with the records that belong to it, as its file should be."""
    names, lines = Names(), [scenario.head, ""]
    for line, records in batches:
        lines.append(f"> {line}")
        for record in records:
            names.learn(record)
            lines.append(show(record, names))
    return "\n".join(lines) + "\n"
