"""The laws of the core: what holds for every run, whatever happens to it."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given

from otflow.core.commands import EndRun
from otflow.core.decide import advance, decide, settle
from otflow.core.evolve import evolve
from otflow.core.inputs import DelayOver, Input, Receive, Release, Restore, StepReturned
from otflow.core.snapshot import SavedRun, read_saved, save
from otflow.core.state import RunState, new_state, pending
from otflow.records.codec import decode, encode
from otflow.records.record import (
    Record,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunResumed,
    RunStarted,
    RunTimedOut,
    WaitEnded,
)
from tests.laws.books import Books, deliveries, kept
from tests.laws.strategies import NS, Script, play, scripts, segments

ENDINGS = {RunCompleted, RunFailed, RunCancelled, RunTimedOut}


def rebuild(script: Script, records: list[Record]) -> RunState:
    """Fold records into a new state."""
    state = new_state(script.plan, "run")
    for record in records:
        evolve(state, record)
    return state


@given(scripts())
def test_records_are_the_state(script):
    """Folding the records of a run gives its live state, after every input; and the world owes both the same."""
    folded = new_state(script.plan, "run")
    for played in play(script):
        if isinstance(played.input, Restore):
            folded = new_state(script.plan, "run")
        for record in played.records:
            evolve(folded, record)
        assert folded == played.state
        assert pending(folded) == pending(played.state)


@given(scripts())
def test_records_survive_their_text(script):
    """A record that was written and read again is the same record, and folds to the same state."""
    for records in segments(script):
        again = [decode(encode(record)) for record in records]
        assert again == records
        assert rebuild(script, again) == rebuild(script, records)


@given(scripts())
def test_deciding_changes_nothing(script):
    """Only records move the state: asking what would follow from an input leaves it as it was."""
    inputs, folded = script.inputs, new_state(script.plan, "run")
    for played, coming in zip(play(script), [*inputs[1:], None], strict=True):
        if isinstance(played.input, Restore):
            folded = new_state(script.plan, "run")
        for record in played.records:
            evolve(folded, record)
        if coming is not None:
            decide(played.state, coming, played.state.seq)
            settle(played.state, coming.at)
        assert folded == played.state


@given(scripts())
def test_numbers_have_no_gaps(script):
    """The records of a run are numbered from 1 on; those behind a snapshot go on from its number."""
    last = 0
    for records in segments(script):
        first = 1 if isinstance(records[0], RunStarted) else last + 1
        assert [record.seq for record in records] == list(range(first, first + len(records)))
        last = records[-1].seq


@given(scripts())
def test_nothing_follows_the_end(script):
    """The end of a run is its last record, and nothing is recorded behind it, whatever still comes in."""
    *_, last = play(script)
    kinds = [type(record) for record in segments(script)[-1]]
    assert ENDINGS.isdisjoint(kinds[:-1])
    assert (kinds[-1] in ENDINGS) == (last.state.ended is not None)
    if last.state.ended is not None:
        assert [record for input in script.inputs for record in advance(last.state, input)] == []
        assert pending(last.state) == [EndRun(last.state.seq)]


@given(scripts())
def test_workers_are_limited_and_busy(script):
    """No step runs more often at once than it has workers, and none has a free worker and something queued."""
    for state in (played.state for played in play(script)):
        running = Counter(invocation.step for invocation in state.running.values())
        for name, lane in state.lanes.items():
            assert lane.running == running[name] <= lane.plan.num_workers
            assert lane.promised == state.startable.count(name) <= len(lane.queue)
            free = lane.plan.num_workers - lane.running - lane.promised
            assert free == 0 or (free > 0 and len(lane.queue) == lane.promised)
        if state.ended is None and not state.stepwise:
            assert not state.startable


@given(scripts())
def test_no_delivery_is_lost(script):
    """Each delivery of an event is queued, running, delayed or over, also across a snapshot."""
    books = Books(script.plan)
    for played in play(script):
        for record in played.records:
            books.take(record)
        assert deliveries(played.state) == books.open
        assert played.state.held == books.held


@given(scripts())
def test_waits_are_those_that_began_and_did_not_end(script):
    """A wait is open from its start to its end, or to the end of its attempt; its step counts as waiting."""
    books = Books(script.plan)
    for played in play(script):
        for record in played.records:
            books.take(record)
        state = played.state
        assert {wait.id: wait.invocation for wait in state.waits.values()} == books.waits
        assert {id for some in state.waits_by_type.values() for id in some} == set(books.waits)
        assert state.waiting == len(set(books.waits.values()))
        for record in played.records:
            if isinstance(record, WaitEnded) and record.invocation in state.running:
                answers = state.running[record.invocation].answers or {}
                assert record.event in {event.seq if event is not None else 0 for event in answers.values()}


@given(scripts())
def test_collected_events_count_once(script):
    """An event is in a buffer or was collected from it, once; carried events are in it from the start."""
    books = Books(script.plan)
    for played in play(script):
        for record in played.records:
            books.take(record)
        now = kept(played.state)
        for box in books.buffered.keys() | books.collected.keys() | now.keys():
            own = [id for id in now.get(box, ()) if id > 0]
            taken = books.collected[box]
            assert len(set(taken)) == len(taken)
            assert set(taken).isdisjoint(own)
            assert set(books.buffered[box]) - set(taken) == set(own)


@given(scripts())
def test_a_run_pauses_when_nothing_executes(script):
    """A run is paused or over exactly when no step executes, but for the moment in which events are held."""
    for state in (played.state for played in play(script)):
        executes = len(state.running) > state.waiting
        if state.ended is None and not (state.held and not state.stepwise):
            assert bool(state.paused) == (not executes)
        if state.paused == "delayed":
            assert state.delayed
        if state.paused == "stepwise":
            assert state.stepwise
            assert state.startable or state.held


@given(scripts())
def test_a_saved_run_can_be_finished(script):
    """From a snapshot a run goes on with all that was open, and each of it ends once."""
    books = Books(script.plan)
    for played in play(script):
        for record in played.records:
            books.take(record)
    if played.state.ended is not None:
        return
    state = new_state(script.plan, "run")
    for record in advance(state, Restore(NS, save(played.state))):
        books.take(record)
    assert deliveries(state) == books.open
    for record in finish(state):
        books.take(record)
    assert state.ended is not None or not books.open


def finish(state: RunState) -> list[Record]:
    """Let everything that is open in a run come to its end, without a stop event."""
    records: list[Record] = []
    while state.ended is None and (inputs := closing(state)):
        for input in inputs:
            records += advance(state, input)
    return records


def closing(state: RunState) -> list[Input]:
    """Give the inputs that bring a run nearer to its end."""
    inputs: list[Input] = [StepReturned(NS, i.id, i.attempt) for i in state.running.values()]
    inputs += [DelayOver(NS, id) for id in state.delayed]
    inputs += [Receive(NS, event.type, event.body, held=id) for id, event in state.held.items()]
    inputs += [Release(NS) for _ in state.startable]
    return inputs


@given(scripts())
def test_a_snapshot_of_a_restored_run_says_the_same(script):
    """Saving, restoring and saving again loses nothing: no event, no answer, no question that was asked."""
    *_, last = play(script)
    first = save(last.state)
    state = new_state(script.plan, "run")
    evolve(state, RunResumed(last.state.seq + 1, "run", NS, first))
    assert digest(read_saved(save(state))) == digest(read_saved(first))


def digest(saved: SavedRun) -> object:
    """Say what a snapshot holds, without its order between steps; open waits are waits to reopen."""
    data = msgspec.to_builtins(saved, enc_hook=lambda body: body.json.decode())
    waits = {(wait["invocation"], wait["waiter"], wait["occurrence"]) for wait in data.pop("waits", [])}
    data["reopened"] = waits | {tuple(wait) for wait in data.pop("reopened", [])}
    steps = [invocation["step"] for invocation in data.pop("queued", [])]
    queued = {step: [i for i in saved.queued if i.step == step] for step in steps}
    events = sorted(data.pop("events", []), key=lambda event: event["seq"])
    del data["seq"]
    return data, queued, events
