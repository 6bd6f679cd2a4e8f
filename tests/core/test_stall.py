"""Stalls told apart from waiting: what a run may still hope for."""

from __future__ import annotations

import pytest

from otflow.core.decide import advance
from otflow.core.inputs import Collect, Receive, Send, Start, StepReturned, Wait
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.record import RunFailed, RunPaused
from tests.drivers import make_plan
from tests.scenario import Step

BODY = Body({})


def begin(*more: Step):
    """Begin a run whose first step, invocation 3, goes on."""
    state = new_state(make_plan([Step("a", ("Start",), ("B", "Stop")), *more]), "run")
    advance(state, Start(0, "Start", BODY))
    return state


@pytest.mark.parametrize(
    ("wait", "ending"),
    [
        (Wait(0, 3, "w", "B"), RunFailed),
        (Wait(0, 3, "w", "Answer"), RunPaused),
        (Wait(0, 3, "w", "B", due=9, bounded=True), RunPaused),
        (Wait(0, 3, "w", "B", due=9), RunFailed),
        (Wait(0, 3, "w", "B", question_type="Ask", question=BODY), RunPaused),
    ],
)
def test_hope(wait, ending):
    """A wait has hope if the outside may answer, if a question was asked, or if the step chose its time."""
    assert isinstance(advance(begin(), wait)[-1], ending)


def test_one_hope_is_enough():
    """A run waits on as long as one of its waits has hope."""
    state = begin()
    advance(state, Wait(0, 3, "w", "Answer"))
    assert isinstance(advance(state, Wait(0, 3, "v", "B"))[-1], RunPaused)


def test_a_step_for_the_outside_is_hope():
    """A run in which some step accepts what only the outside can send is never stalled."""
    state = begin(Step("b", ("Message",), ("Stop",)))
    assert advance(state, StepReturned(0, 3, 1))[-1].reason == "waiting"


def test_each_unhandled_type_is_named_once():
    """However many events nobody took, each type is named once."""
    state = begin()
    for kind in ["Lost", "Gone", "Lost"]:
        advance(state, Send(0, 3, kind, BODY))
    message = advance(state, StepReturned(0, 3, 1))[-1].error.message
    assert message.count("no step accepts Lost") == message.count("no step accepts Gone") == 1


def test_only_some_unhandled_events_are_kept():
    """A run that is sent more than it can take remembers the last few."""
    state = begin()
    for _ in range(1000):
        advance(state, Receive(0, "Lost", BODY))
    assert len(state.unhandled) == 16


def test_a_collection_that_has_all_it_wants_is_not_incomplete():
    """A buffer with nothing missing, of a step that never asked again, is told as it is."""
    state = begin(Step("b", ("B",), ("Stop",)))
    advance(state, Collect(0, 3, "default", 2, ("B", "B"), "B", BODY))
    advance(state, Collect(0, 3, "default", 3, ("B", "B", "C"), "B", BODY))
    message = advance(state, StepReturned(0, 3, 1))[-1].error.message
    assert "step 'a' has collected 2 x B." in message
    assert "waits for" not in message
