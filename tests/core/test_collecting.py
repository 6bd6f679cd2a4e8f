"""Fan-in, where a scenario would be too long."""

from __future__ import annotations

import pytest

from otflow.core.collecting import may_complete
from otflow.core.decide import advance
from otflow.core.inputs import Collect, Send, Start, StepReturned
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.record import EventBuffered, EventsCollected, StepStarted
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan([Step("a", ("Start",), ("B", "C")), Step("b", ("B", "C", "D"), ("Stop",), workers=200)])
BODY = Body({})


def begin():
    """Begin a run whose first step, invocation 3, goes on."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY))
    return state


def send(state, kind):
    """Let the first step send an event, and give the invocation that takes it."""
    return next(each.invocation for each in advance(state, Send(0, 3, kind, BODY)) if isinstance(each, StepStarted))


def offer(state, invocation, expected, **more):
    """Collect as the runtime does: types are spelt out only if they may matter."""
    spelt = may_complete(state, invocation, "default", len(expected))
    return advance(state, Collect(0, invocation, "default", len(expected), expected if spelt else None, **more))


def test_types_are_spelt_out_when_they_matter():
    """The first event, the one that may be the last, and one that may not belong are compared with what is expected."""
    state = begin()
    expected = ("B", "B", "B", "C")
    assert may_complete(state, send(state, "B"), "default", 4)
    offer(state, send(state, "B"), expected)
    assert not may_complete(state, send(state, "B"), "default", 4)
    assert may_complete(state, send(state, "D"), "default", 4)
    offer(state, send(state, "B"), expected)
    offer(state, send(state, "B"), expected)
    assert may_complete(state, send(state, "C"), "default", 4)


def test_nobody_collects_for_an_invocation_that_is_over():
    """A task that outlived its step has nothing to collect."""
    state = begin()
    over = send(state, "B")
    advance(state, StepReturned(0, over, 1))
    assert not may_complete(state, over, "default", 2)
    assert advance(state, Collect(0, over, "default", 2, ("B", "B"))) == []


def test_a_full_buffer_completes_without_the_event_that_is_offered():
    """When the buffer has all that is asked for, the oldest events leave and the new one is put aside."""
    state = begin()
    ids = [send(state, "B") for _ in range(3)]
    for id in ids[:2]:
        offer(state, id, ("B", "B", "B"))
    records = offer(state, ids[2], ("B", "B"))
    events = [state.running[id].event.seq for id in ids]
    assert [type(record) for record in records] == [EventBuffered, EventsCollected]
    assert records[1].events == tuple(events[:2])
    kept = state.lanes["b"].buffers["default"]
    assert (kept.total, [event.seq for event in kept.events["B"]]) == (1, events[2:])


def test_a_foreign_event_completes_under_its_own_id():
    """An event that no delivery brought is recorded with its body, and collected by the number of that record."""
    state = begin()
    own = send(state, "B")
    buffered, collected = offer(state, own, ("C",), type="C", body=BODY)
    assert (buffered.type, buffered.body, buffered.event) == ("C", BODY, buffered.seq)
    assert collected.events == (buffered.seq,)
    assert state.running[own].collected["default"][0].body is BODY


def test_a_foreign_event_that_is_too_much_stays():
    """A full buffer gives the oldest events, not the foreign one that is offered."""
    state = begin()
    first, second = send(state, "B"), send(state, "B")
    offer(state, first, ("B", "B", "B"))
    offer(state, second, ("B", "B", "B"))
    buffered, collected = offer(state, second, ("B", "B"), type="B", body=BODY)
    assert collected.events == tuple(state.running[id].event.seq for id in (first, second))
    assert [event.seq for event in state.lanes["b"].buffers["default"].events["B"]] == [buffered.seq]


def test_a_new_collection_does_not_count_the_own_event_again():
    """After a second collection of foreign events a step that offers its own event again gets no third one."""
    state = begin()
    own = send(state, "B")
    assert isinstance(offer(state, own, ("B",))[-1], EventsCollected)
    assert isinstance(offer(state, own, ("C", "C"), type="C", body=BODY)[-1], EventBuffered)
    assert offer(state, own, ("B",)) == []
    assert isinstance(offer(state, own, ("C", "C"), type="C", body=BODY)[-1], EventsCollected)


@pytest.mark.parametrize("size", [1, 100])
def test_order_is_that_of_the_question(size):
    """Whatever the order of arrival, the answer has the order that was asked for, oldest first within a type."""
    state = begin()
    expected = ("C", *["B"] * size)
    ids = [send(state, "B") for _ in range(size)] + [send(state, "C")]
    taken = [offer(state, id, expected) for id in ids][-1][-1].events
    assert taken == (state.running[ids[-1]].event.seq, *[state.running[id].event.seq for id in ids[:-1]])
