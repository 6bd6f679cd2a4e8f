"""Decisions that no scenario shows."""

from __future__ import annotations

import pytest

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
from otflow.core.plan import Plan
from otflow.core.snapshot import save
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventReceived,
    EventSent,
    Failure,
    RunCompleted,
    RunFailed,
    RunStarted,
    StepStarted,
)
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B", "Stop")), Step("b", ("B",), ("Stop",), workers=1)])
BODY = Body({})
ERROR = Failure("builtins.OSError", "disk full")


def begin(plan: Plan = PLAN, **options: object):
    """Begin a run whose first step, invocation 3, goes on."""
    state = new_state(plan, "run")
    advance(state, Start(0, "Start", BODY, **options))
    return state


def test_a_start_records_where_the_run_came_from():
    """Everything that the start brings stands in its record."""
    state = new_state(PLAN, "run")
    records = advance(state, Start(5, "Start", BODY, 9.0, True, "00-trace", "other", 7, None))
    started = RunStarted(1, "run", 5, "Flow", "digest", 9.0, True, "00-trace", "other", 7)
    assert records[:2] == [started, EventReceived(2, "run", 5, "Start", BODY)]
    assert (state.timeout, state.stepwise) == (9.0, True)


def test_a_run_begins_once():
    """A run that has begun is neither started nor restored again."""
    state = begin()
    assert advance(state, Start(0, "Start", BODY)) == []
    assert advance(state, Restore(0, save(state))) == []


def test_a_run_may_fail_from_outside():
    """A reason outside the core ends the run with its error, and with no step."""
    records = advance(begin(), Fail(1, ERROR))
    assert records == [RunFailed(4, "run", 1, ERROR)]


def test_a_checkpoint_does_not_wake_a_paused_run():
    """What is said aside, as a checkpoint or a write from outside, leaves a pause as it is."""
    state = begin()
    advance(state, Wait(0, 3, "w", "Answer"))
    assert [type(record) for record in advance(state, Checkpoint(0, 3, "a"))] == [CheckpointTaken]
    assert [type(record) for record in advance(state, Write(0, 0, "x", BODY))] == [ContextWritten]
    assert state.paused == "waiting"


def test_a_step_may_end_the_run_by_sending():
    """A stop event that is sent ends the run as one that is returned does."""
    assert isinstance(advance(begin(), Send(0, 3, "Stop", BODY))[-1], RunCompleted)


def test_the_outside_may_end_the_run():
    """A stop event from outside ends the run."""
    assert isinstance(advance(begin(), Receive(0, "Stop", BODY))[-1], RunCompleted)


def test_a_held_event_that_is_gone_is_a_new_one():
    """An event that was released before is sent as a new one."""
    state = begin(stepwise=True)
    started = advance(state, Release(0))[-1]
    sent, *_ = advance(state, Send(0, started.invocation, "B", BODY))
    assert isinstance(sent, EventSent)
    advance(state, Receive(0, "B", BODY, held=sent.seq))
    assert isinstance(advance(state, Receive(0, "B", BODY, held=sent.seq))[0], EventReceived)


def test_nothing_to_release():
    """A run that is not stepwise, or has nothing ready, takes no release."""
    assert advance(begin(), Release(0)) == []


def test_an_unknown_type_goes_nowhere():
    """An event of a type that the plan does not know is kept as unhandled, and breaks nothing."""
    state = begin()
    advance(state, Send(0, 3, "Unheard", BODY))
    assert [event.type for event in state.unhandled] == ["Unheard"]


def test_a_handler_without_budget_is_not_asked():
    """A handler that may not run even once leaves the failure to the run."""
    steps = [Step("a", ("Start",), ("Stop",)), Step("h", ("StepFailedEvent",), ("Stop",), catches=("a",), recoveries=0)]
    state = begin(make_plan(steps))
    records = advance(state, StepRaised(0, 3, 1, ERROR, None, "StepFailedEvent", BODY))
    assert isinstance(records[-1], RunFailed)


def test_the_first_of_a_batch_is_the_first_in_the_queue():
    """Starts follow the order in which their events came, also across steps."""
    state = begin(make_plan([Step("a", ("Start",), ("B", "C")), Step("b", ("C",), ()), Step("c", ("B",), ())]))
    records = advance(state, StepReturned(0, 3, 1, "B", BODY, (("C", BODY), ("B", BODY))))
    assert [record.step for record in records if isinstance(record, StepStarted)] == ["c", "b", "c"]


AFTER: list[Input] = [
    Start(0, "Start", BODY),
    Receive(0, "B", BODY),
    Release(0),
    StepReturned(0, 3, 1),
    StepRaised(0, 3, 1, ERROR, 1.0),
    Send(0, 3, "B", BODY),
    Write(0, 3, "x", BODY),
    WriteStream(0, 3, "B", BODY),
    Collect(0, 3, "default", 1, ("Start",)),
    Wait(0, 3, "w", "B"),
    WaitExpired(0, 4),
    DelayOver(0, 3),
    TimeOut(0, 1.0),
    Cancel(0),
    Fail(0, ERROR),
    Checkpoint(0, 3),
]


@pytest.mark.parametrize("input", AFTER, ids=lambda input: type(input).__name__)
def test_nothing_follows_the_end(input):
    """A run that has ended records nothing more, whatever comes in."""
    state = begin()
    advance(state, Cancel(0))
    assert advance(state, input) == []
