"""Waits, where a scenario would be too long."""

from __future__ import annotations

from otflow.core.decide import advance
from otflow.core.inputs import Receive, Send, Start, StepReturned, Wait, WaitExpired
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.record import EventSent, StreamWritten, WaitEnded
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B", "Stop")), Step("b", ("B",), ("Stop",))])
BODY = Body({})


def begin():
    """Begin a run whose first step, invocation 3, goes on."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY))
    return state


def test_a_wait_for_nobody():
    """An invocation that is over cannot wait, and a wait that is over cannot end again."""
    state = begin()
    assert advance(state, Wait(0, 99, "w", "Answer")) == []
    assert advance(state, WaitExpired(0, 99)) == []


def test_a_step_may_answer_itself():
    """What a step sends ends its own wait, too."""
    state = begin()
    started, *_ = advance(state, Wait(0, 3, "w", "Answer"))
    records = advance(state, Send(0, 3, "Answer", BODY))
    assert [record.wait for record in records if isinstance(record, WaitEnded)] == [started.seq]


def test_an_answer_from_the_mail_asks_no_question():
    """A wait whose answer has come before it began does not put its question into the stream."""
    state = begin()
    advance(state, Wait(0, 3, "w", "Answer"))
    advance(state, Receive(0, "Answer", BODY))
    advance(state, Receive(0, "Answer", BODY))
    records = advance(state, Wait(0, 3, "w", "Answer", 1, question_type="Ask", question=BODY))
    assert [type(record) for record in records][-1] is WaitEnded
    assert not any(isinstance(record, StreamWritten) for record in records)


def test_an_answered_event_is_no_longer_unhandled():
    """An event that ended a wait, at once or out of the mail, is not named when the run stalls."""
    state = begin()
    advance(state, Wait(0, 3, "w", "Answer"))
    for _ in range(3):
        advance(state, Receive(0, "Answer", BODY))
    assert len(state.unhandled) == 2
    advance(state, Wait(0, 3, "w", "Answer", 1))
    assert [event.seq for event in state.unhandled] == [event.seq for event in state.mail["Answer"]]


def test_a_returned_stop_event_ends_waits_and_the_run():
    """A stop event that somebody waits for ends the wait, and then the run."""
    state = begin()
    advance(state, Send(0, 3, "B", BODY))
    other = next(id for id in state.running if id != 3)
    advance(state, Wait(0, 3, "w", "Stop"))
    records = advance(state, StepReturned(0, other, 1, "Stop", BODY))
    assert [type(record).__name__ for record in records] == ["StepCompleted", "EventSent", "WaitEnded", "RunCompleted"]
    assert isinstance(state.latest, EventSent)
