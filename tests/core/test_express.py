"""The short ways leave to `advance` what is out of the ordinary. That they agree with it is a law of its own."""

from __future__ import annotations

import pytest

from otflow.core.decide import advance
from otflow.core.express import begin, pass_on, put_aside, send, stop
from otflow.core.inputs import Cancel, Collect, Send, Start, Wait
from otflow.core.snapshot import Leftovers, pack
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.record import EventSent, StepCompleted, StepStarted
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B", "C")), Step("b", ("B", "C"), ("Stop",)), Step("c", ("C",), ("Stop",))])
BODY = Body({})


def run(**options: object):
    """Begin a run, and give the record that started its first step."""
    state = new_state(PLAN, "run")
    records = advance(state, Start(0, "Start", BODY, **options))
    return state, next(
        (each for each in records if isinstance(each, StepStarted)), StepStarted(3, "run", 0, 3, 1, "a", 2)
    )


@pytest.mark.parametrize("kind", ["C", "Lost", "Unheard"])
def test_only_events_for_one_step(kind):
    """An event that goes to several steps, or to none, takes the long way."""
    state, started = run()
    before = state.seq
    assert pass_on(state, 0, started, kind, BODY) is None
    assert send(state, 0, 3, kind, BODY) is None
    assert state.seq == before


def test_only_runs_that_go_on():
    """A run that ended, is paused or stepwise takes the long way."""
    ended, started = run()
    advance(ended, Cancel(0))
    paused, _ = run()
    advance(paused, Wait(0, 3, "w", "Answer"))
    stepwise, _ = run(stepwise=True)
    for state in (ended, paused, stepwise):
        assert pass_on(state, 0, started, "B", BODY) is None
        assert send(state, 0, 3, "B", BODY) is None
        assert stop(state, 0, started, "Stop", BODY) is None


def test_only_attempts_that_count():
    """A word of an attempt or an invocation that is over takes the long way, where it leads to nothing."""
    state, started = run()
    other = StepStarted(3, "run", 0, 3, 2, "a", 2)
    gone = StepStarted(9, "run", 0, 9, 1, "a", 2)
    for late in (other, gone):
        assert pass_on(state, 0, late, "B", BODY) is None
        assert stop(state, 0, late, "Stop", BODY) is None
    assert send(state, 0, 9, "B", BODY) is None
    assert stop(state, 0, started, "Stop", BODY) is not None


def test_only_types_that_nobody_waits_for():
    """An event that may end a wait takes the long way."""
    state, started = run()
    advance(state, Send(0, 3, "B", BODY))
    other = next(id for id in state.running if id != 3)
    advance(state, Wait(0, other, "w", "B"))
    advance(state, Wait(0, other, "v", "Stop"))
    assert pass_on(state, 0, started, "B", BODY) is None
    assert send(state, 0, 3, "B", BODY) is None
    assert stop(state, 0, started, "Stop", BODY) is None


def test_only_steps_without_open_waits():
    """A step that returns while it waits takes the long way, which ends its waits."""
    state, started = run()
    advance(state, Send(0, 3, "B", BODY))
    advance(state, Wait(0, 3, "w", "Answer"))
    assert pass_on(state, 0, started, "", None) is None
    assert stop(state, 0, started, "Stop", BODY) is None


def test_only_collections_that_have_begun():
    """The first event of its type, and a step that has collected before, take the long way."""
    state, _ = run()
    for _ in range(2):
        advance(state, Send(0, 3, "B", BODY))
    first, second = [id for id in state.running if id != 3]
    advance(state, Collect(0, first, "default", 9, ("C", "B", "B"), "C", BODY))
    assert put_aside(state, 0, first, "default") is None
    advance(state, Collect(0, first, "default", 9, ("C", "B", "B")))
    assert put_aside(state, 0, first, "default") is None
    assert put_aside(state, 0, second, "default") is not None


def test_only_plain_beginnings():
    """A stepwise run, one that inherits something, and one whose event is for several steps begin the long way."""
    state = new_state(PLAN, "run")
    assert begin(state, Start(0, "Start", BODY, stepwise=True)) is None
    assert begin(state, Start(0, "Start", BODY, carried=pack(Leftovers()))) is None
    assert begin(state, Start(0, "C", BODY)) is None
    assert begin(state, Start(0, "Start", BODY)) is not None


@pytest.mark.parametrize("target", ["b", "d"])
def test_chains_go_the_short_way(target):
    """A step that returns an event for a step with a free worker, itself or another, hands it over in one piece."""
    steps = [
        Step("a", ("Start",), ("B",)),
        Step("b", ("B",), ("B", "D"), workers=1),
        Step("d", ("D",), ("B",), workers=1),
    ]
    state = new_state(make_plan(steps), "run")
    started = advance(state, Start(0, "Start", BODY))[-1]
    started = pass_on(state, 0, started, "B", BODY)[-1]
    for _ in range(3):
        kind = "D" if target == "d" and started.step == "b" else "B"
        records = pass_on(state, 0, started, kind, BODY)
        assert [type(record) for record in records] == [StepCompleted, EventSent, StepStarted]
        started = records[-1]


def test_queues_go_the_short_way():
    """A step that returns leaves its worker to what is queued, whether or not it returned an event."""
    state, _ = run()
    for _ in range(9):
        send(state, 0, 3, "B", BODY)
    first, second, *_ = [StepStarted(id, "run", 0, id, 1, "b", found.event.seq) for id, found in state.running.items()][
        1:
    ]
    assert [type(record) for record in pass_on(state, 0, first, "", None)] == [StepCompleted, StepStarted]
    assert [type(record) for record in pass_on(state, 0, second, "B", BODY)] == [StepCompleted, EventSent, StepStarted]
