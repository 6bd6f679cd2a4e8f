"""How records move the state: what `evolve` trusts, and what it lets go."""

from __future__ import annotations

import pytest

from otflow.core.decide import advance
from otflow.core.evolve import evolve
from otflow.core.inputs import Start, StepRaised, StepReturned, Wait, Write
from otflow.core.state import Ended, new_state
from otflow.records.body import Body
from otflow.records.record import (
    Failure,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunTimedOut,
)
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B", "Stop"))])
BODY = Body({})


@pytest.mark.parametrize(
    ("record", "how"),
    [
        (RunCompleted(5, "run", 0, 2), "completed"),
        (RunFailed(5, "run", 0, Failure("E", "")), "failed"),
        (RunCancelled(5, "run", 0), "cancelled"),
        (RunTimedOut(5, "run", 0, 1.0), "timed out"),
    ],
)
def test_endings(record, how):
    """Each of the four endings has its word, and a run that ended is not paused."""
    state = new_state(PLAN, "run")
    evolve(state, RunPaused(4, "run", 0, "waiting"))
    evolve(state, record)
    assert (state.ended, state.paused, state.seq) == (Ended(how, 5), "", 5)


def test_a_retry_without_a_failure():
    """Records that `decide` cannot have made are not folded into something plausible."""
    with pytest.raises(AssertionError, match="a retry follows a failure"):
        evolve(new_state(PLAN, "run"), RetryScheduled(1, "run", 0, 1, 2, 0.0, 0))


def test_writes_are_counted():
    """The state of the core counts writes; what was written is somebody else's concern."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY))
    for _ in range(3):
        advance(state, Write(0, 3, "x", BODY))
    assert state.writes == 3


@pytest.mark.parametrize("end", [StepReturned(0, 3, 1), StepRaised(0, 3, 1, Failure("E", ""), 1.0)])
def test_the_waits_of_an_attempt_go_with_it(end):
    """When an attempt ends, so do its waits, without a record of their own."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY))
    advance(state, Wait(0, 3, "w", "Answer"))
    advance(state, Wait(0, 3, "v", "Question"))
    advance(state, end)
    assert (state.waits, state.waits_by_type, state.waiting) == ({}, {}, 0)
