"""Saving a run as data, and what refuses to be restored."""

from __future__ import annotations

import json

import pytest

from otflow.core.decide import advance
from otflow.core.evolve import evolve
from otflow.core.inputs import Collect, Receive, Restore, Send, Start, StepRaised, StepReturned, Wait
from otflow.core.snapshot import (
    Leftovers,
    carry_in,
    carry_out,
    check_saved,
    pack,
    read_leftovers,
    read_saved,
    restore,
    save,
)
from otflow.core.state import new_state
from otflow.errors import ContextSerdeError
from otflow.records.body import Body
from otflow.records.codec import encode
from otflow.records.record import Failure, RunResumed, RunStarted
from tests.drivers import make_plan
from tests.scenario import Step

PLAN = make_plan(
    [
        Step("a", ("Start",), ("B",)),
        Step("b", ("B",), ("Stop",), workers=1),
        Step("late", ("B",), ("Stop",)),
    ]
)
BODY = Body({"k": 1})


def busy_run():
    """Make a run that has everything: queued, running, delayed, collected, answered, waiting, held, mail."""
    state = new_state(PLAN, "run")
    advance(state, Start(0, "Start", BODY, timeout=9.0))
    a = 3
    for _ in range(3):
        advance(state, Send(0, a, "B", BODY))
    first, *others = [id for id, found in state.running.items() if found.step == "late"]
    advance(state, StepRaised(0, first, 1, Failure("E", ""), 5.0))
    advance(state, Collect(0, others[0], "default", 2, ("B", "B")))
    advance(state, Collect(0, others[1], "default", 2, ("B", "B")))
    advance(state, Collect(0, a, "box", 2, ("C", "C"), "C", BODY))
    advance(state, Wait(0, a, "one", "Answer"))
    advance(state, Receive(0, "Answer", BODY))
    advance(state, Receive(0, "Answer", BODY))
    advance(state, Wait(0, others[0], "two", "Answer", requirements=Body({"k": 2})))
    advance(state, StepReturned(0, others[1], 1, "Lost", BODY, hold=True))
    return state


def tamper(snapshot: Body, change) -> Body:
    """Change saved data as nobody should."""
    data = json.loads(snapshot.json)
    change(data)
    return Body(json=json.dumps(data).encode())


def test_everything_survives():
    """What a run had before it was saved it has again, with the running steps first in their lanes."""
    before = busy_run()
    after = new_state(PLAN, "run")
    (resumed, *_) = advance(after, Restore(0, save(before)))
    assert resumed.seq == before.seq + 1
    assert {i.id: i.event for i in after.running.values()} == {i.id: i.event for i in before.running.values()}
    assert after.lanes["b"].queue == before.lanes["b"].queue
    assert after.delayed == before.delayed
    assert after.mail == before.mail
    assert after.lanes["a"].buffers == before.lanes["a"].buffers
    assert after.running[3].answers == before.running[3].answers
    assert [found.collected for found in after.running.values()] == [
        found.collected for found in before.running.values()
    ]
    assert (after.timeout, after.stepwise, after.questions) == (9.0, False, 0)


def test_a_restored_run_has_its_own_events():
    """Restored data shares nothing with the run that was saved, so that both may go on."""
    before = busy_run()
    text = save(before).json
    after = new_state(PLAN, "run")
    for record in advance(after, Restore(0, Body(json=text))):
        encode(record)
    advance(after, StepReturned(0, 3, 1))
    assert save(before).json == text


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("seq"),
        lambda data: data["queued"].append({"step": "a"}),
        lambda data: data["events"].clear(),
        lambda data: data["queued"][0].update(event=999),
        lambda data: data["held"].append(2),
        lambda data: data["mail"]["Answer"].append(999),
        lambda data: data["buffers"][0]["events"]["C"].append(999),
        lambda data: data["queued"][0].update(collected={"default": [999]}),
        lambda data: data["queued"][0].update(answers=[["w", 0, 999]]),
        lambda data: data["queued"][0].update(event=next(e["seq"] for e in data["events"] if "buffer" in e)),
    ],
)
def test_damaged_data_is_refused(change):
    """Data that was changed is refused before anything is recorded, and the message says what to do."""
    state = new_state(PLAN, "run")
    with pytest.raises(ContextSerdeError, match="unchanged"):
        advance(state, Restore(0, tamper(save(busy_run()), change)))
    assert state.seq == 0


def test_no_json_is_refused():
    """Data that is no JSON is damaged."""
    with pytest.raises(ContextSerdeError, match="damaged"):
        read_saved(Body(json=b"{"))


def test_another_format_is_refused():
    """Data of another release is refused, and says which one it is."""
    with pytest.raises(ContextSerdeError, match="format 99, and this release of otflow reads the format 1"):
        read_saved(tamper(save(busy_run()), lambda data: data.update(format=99)))


def test_another_workflow_is_refused():
    """A run with work for steps that a workflow does not have cannot go on with it."""
    other = make_plan([Step("a", ("Start",), ("Stop",))])
    with pytest.raises(ContextSerdeError, match="has work for b, late, and workflow 'Flow' has no such step"):
        check_saved(read_saved(save(busy_run())), other)


def test_a_journal_with_a_damaged_snapshot_is_refused():
    """Folding a damaged snapshot, which nobody checked, fails with a name too."""
    damaged = tamper(
        save(busy_run()),
        lambda data: data["queued"][0].update(event=next(e["seq"] for e in data["events"] if "buffer" in e)),
    )
    with pytest.raises(ContextSerdeError, match="only buffered, never delivered"):
        evolve(new_state(PLAN, "run"), RunResumed(99, "run", 0, damaged))


def test_leftovers_survive_their_json():
    """What a run left in its buffers is the same from memory and from JSON, with ids of its own."""
    leftovers = carry_out(busy_run())
    assert [event.seq for event in leftovers.events] == [-1]
    live, read = new_state(PLAN, "next"), new_state(PLAN, "next")
    carry_in(live, pack(leftovers))
    carry_in(read, Body(json=pack(leftovers).json))
    assert live == read
    assert live.lanes["a"].buffers["box"].total == 1


def test_leftovers_are_passed_on_by_runs_that_do_not_use_them():
    """Events that were left over long ago are still there after a run that had no use for them."""
    first = carry_out(busy_run())
    state = new_state(PLAN, "next")
    advance(state, Start(0, "Start", BODY, carried=pack(first)))
    second = carry_out(state)
    assert [(event.type, event.body) for event in second.events] == [("C", BODY)]
    assert second.buffers == first.buffers


def test_leftovers_of_a_step_that_is_gone_are_left_out():
    """A buffer of a step that the workflow no longer has belongs to nobody."""
    state = new_state(make_plan([Step("b", ("Start",), ("Stop",))]), "next")
    carry_in(state, pack(carry_out(busy_run())))
    assert state.lanes["b"].buffers == {}


@pytest.mark.parametrize(
    "text", [b"{", b'{"events": 1}', b'{"buffers": [{"step": "a", "name": "x", "events": {"C": [5]}}]}']
)
def test_damaged_leftovers_are_refused(text):
    """Leftovers that were changed are refused with a name."""
    with pytest.raises(ContextSerdeError, match="leftovers of a run are damaged"):
        read_leftovers(Body(json=text))


def test_leftovers_in_memory_are_written_once():
    """Leftovers become JSON when somebody asks, and stay as they were then."""
    leftovers = Leftovers(BODY)
    body = pack(leftovers)
    body.fix()
    leftovers.state = None
    assert body.json == b'{"state":{"k":1}}'
    assert RunStarted(1, "run", 0, "w", "", carried=body) == RunStarted(
        1, "run", 0, "w", "", carried=Body(json=body.json)
    )


def test_restoring_fills_what_evolve_starts():
    """A restored state has its work queued; it starts when the record of it is folded in."""
    state = new_state(PLAN, "run")
    restore(state, save(busy_run()))
    assert not state.running
    assert [invocation.id for invocation in state.lanes["a"].queue] == [3]
