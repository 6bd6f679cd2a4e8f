"""The law of memory: what a run keeps depends on what is in flight, never on how long it has been going on."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import msgspec
import pytest

from otflow.core.decide import advance
from otflow.core.inputs import (
    Checkpoint,
    Collect,
    DelayOver,
    Receive,
    Release,
    Send,
    Start,
    StepRaised,
    StepReturned,
    Wait,
    Write,
    WriteStream,
)
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.state import Lane, RunState, new_state
from otflow.records.body import Body
from otflow.records.record import Failure, StepStarted

BODY = Body({})
ERROR = Failure("builtins.ValueError", "bad")
Turn = Callable[[RunState, int], None]


def begin(*, stepwise: bool = False) -> RunState:
    """Begin a run of two steps: `a` goes round in a circle, `b` takes what it sends."""
    steps = {"a": StepPlan("a", 1), "b": StepPlan("b", 2)}
    state = new_state(Plan("chain", "", steps, {"A": Route(("a",)), "B": Route(("b",))}), "run")
    advance(state, Start(0, "A", BODY, stepwise=stepwise))
    return state


def invocation(state: RunState, step: str) -> int:
    """Find the invocation of a step that runs."""
    return next(id for id, found in state.running.items() if found.step == step)


def go_on(state: RunState, id: int) -> None:
    """Let the step return the event that it takes."""
    advance(state, StepReturned(0, id, state.running[id].attempt, "A", BODY))


def just_return(state: RunState, id: int) -> None:
    """Do nothing else."""
    go_on(state, id)


def write_and_stream(state: RunState, id: int) -> None:
    """Write the state and the stream, and take a checkpoint."""
    advance(state, Write(0, id, "x", BODY))
    advance(state, WriteStream(0, id, "A", BODY))
    advance(state, Checkpoint(0, id))
    go_on(state, id)


def send_to_nobody(state: RunState, id: int) -> None:
    """Send an event that no step accepts."""
    advance(state, Send(0, id, "Lost", BODY))
    go_on(state, id)


def fail_once(state: RunState, id: int) -> None:
    """Fail, and work in the second attempt."""
    advance(state, StepRaised(0, id, 1, ERROR, 1.0))
    advance(state, DelayOver(0, id))
    go_on(state, id)


def collect_two(state: RunState, id: int) -> None:
    """Let the other step collect two events."""
    for _ in range(2):
        records = advance(state, Send(0, id, "B", BODY))
        other = next(record.invocation for record in records if isinstance(record, StepStarted))
        advance(state, Collect(0, other, "default", 2, ("B", "B")))
        advance(state, StepReturned(0, other, 1))
    go_on(state, id)


def wait_for_answer(state: RunState, id: int) -> None:
    """Ask the outside, and get an answer."""
    advance(state, Wait(0, id, "w", "Answer", question_type="Ask", question=BODY))
    advance(state, Receive(0, "Answer", BODY))
    go_on(state, id)


def answer_early(state: RunState, id: int) -> None:
    """Get an answer before the question."""
    advance(state, Receive(0, "Answer", BODY))
    advance(state, Wait(0, id, "w", "Answer"))
    if id in {wait.invocation for wait in state.waits.values()}:
        advance(state, Receive(0, "Answer", BODY))
    go_on(state, id)


def hold_and_release(state: RunState, id: int) -> None:
    """Be released by hand, as in a stepwise run."""
    go_on(state, id)
    ((seq, event),) = state.held.items()
    advance(state, Receive(0, event.type, event.body, held=seq))
    advance(state, Release(0))


TURNS: list[Turn] = [
    just_return,
    write_and_stream,
    send_to_nobody,
    fail_once,
    collect_two,
    wait_for_answer,
    answer_early,
    hold_and_release,
]


def measure(value: object) -> int:
    """Count the objects that a state is made of."""
    match value:
        case Plan():
            return 0
        case msgspec.Struct():
            return 1 + sum(measure(getattr(value, name)) for name in value.__struct_fields__)
        case RunState() | Lane():
            return 1 + sum(measure(getattr(value, each.name)) for each in dataclasses.fields(value))
        case dict():
            return 1 + sum(measure(key) + measure(each) for key, each in value.items())
        case list() | tuple() | set() | deque():
            return 1 + sum(map(measure, value))
        case _:
            return 1


@pytest.mark.parametrize("turn", TURNS)
def test_state_does_not_grow(turn):
    """A run is as large after 10,000 turns as after 100, whatever happens in a turn."""
    state = begin(stepwise=turn is hold_and_release)
    advance(state, Release(0))
    sizes = []
    for number in range(1, 10_001):
        turn(state, invocation(state, "a"))
        if number in {100, 10_000}:
            sizes.append(measure(state))
    assert state.ended is None
    assert sizes[0] == sizes[1]
