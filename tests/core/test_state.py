"""What the world owes a run."""

from __future__ import annotations

from otflow.core.commands import EndRun, RunStep, StartTimer
from otflow.core.decide import advance
from otflow.core.inputs import Cancel, Send, Start, StepRaised, Wait
from otflow.core.state import new_state, pending
from otflow.records.body import Body
from otflow.records.record import Failure
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B",)), Step("b", ("B",), ("Stop",), workers=1)])
BODY = Body({})


def test_a_new_run_is_owed_nothing():
    """Before anything is recorded there is nothing to do."""
    assert pending(new_state(PLAN, "run")) == []


def test_all_that_is_in_flight_is_owed():
    """Running attempts, delays and the times of waits are owed; what is queued waits for its worker."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY))
    for _ in range(3):
        advance(state, Send(0, 3, "B", BODY))
    first = next(id for id in state.running if id != 3)
    advance(state, StepRaised(0, first, 1, Failure("E", ""), 2.0))
    second = next(id for id in state.running if id != 3)
    wait, *_ = advance(state, Wait(0, 3, "w", "Answer", due=7))
    advance(state, Wait(0, 3, "v", "Answer"))
    assert pending(state) == [
        RunStep(3, 1, "a"),
        RunStep(second, 1, "b"),
        StartTimer("delay", first, 2_000_000_000),
        StartTimer("wait", wait.seq, 7),
    ]
    advance(state, Cancel(0))
    assert pending(state) == [EndRun(state.seq)]
