"""The laws of replay and fork over random runs: a run is accepted by its own workflow, and can be forked anywhere."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otflow.context.state_store import DictState
from otflow.core.decide import advance
from otflow.core.evolve import evolve
from otflow.core.inputs import Restore
from otflow.core.snapshot import save
from otflow.core.state import new_state
from otflow.records.execution import Execution
from otflow.records.record import EventReleased, RunResumed
from otflow.replay import rebuild, replay
from otflow.replay.contexts import make_data
from otflow.replay.positions import find_position
from tests.laws.books import deliveries
from tests.laws.stories import tell_story
from tests.laws.strategies import NS, play, scripts
from tests.laws.test_laws import finish
from tests.runtime_driver import RuntimeDriver
from tests.scenario import run_scenario

number = st.integers(0, 2**32)


class Bare:
    """A workflow of which there is only a plan."""

    state_type = DictState
    event_types = ()

    def __init__(self, plan):
        self.plan = plan
        self.workflow_name = plan.workflow

    @property
    def blueprint(self):
        return self

    def find(self, key):
        return None


@settings(max_examples=60)
@given(number, st.lists(number, min_size=20, max_size=60) | st.lists(number, max_size=9))
def test_a_workflow_accepts_its_own_history(seed, numbers):
    """What a workflow did, it would do again: its own records are accepted, from the start or from saved data on."""
    story = tell_story(seed, numbers)
    with RuntimeDriver(story) as driver:
        run_scenario(story, driver)
        for stage in driver.stages:
            of_run = [record for record in stage.records if record.run == "run1"]
            verdict = replay(Execution(of_run), stage.workflow)
            assert verdict.ok, verdict.lines
            assert verdict.judged == verdict.records


@settings(max_examples=60)
@given(scripts(inputs=30))
def test_rebuilding_gives_the_live_state(script):
    """The state that is rebuilt from the records is the one that the run had, across restores from saved data too."""
    records = []
    for played in play(script):
        if played.records and isinstance(played.records[0], RunResumed) and played.records[0].snapshot is not None:
            records = [record for record in records if record.seq < played.records[0].seq]
        records += played.records
        assert rebuild(records, Bare(script.plan)) == played.state
    half = records[len(records) // 2].seq
    assert rebuild(records, Bare(script.plan), half).seq == half


@settings(max_examples=60)
@given(scripts(inputs=24))
def test_every_position_gives_a_consistent_run(script):
    """From each position a run can be taken up with exactly what is open there, and come to its end."""
    records = []
    for played in play(script):
        if played.records and isinstance(played.records[0], RunResumed) and played.records[0].snapshot is not None:
            records = [record for record in records if record.seq < played.records[0].seq]
        records += played.records
    execution = Execution(records)
    for record in records:
        position = find_position(records, record.seq)
        data = make_data(execution, Bare(script.plan), record.seq)
        there = rebuild(position.records, Bare(script.plan), skipped=position.skipped)
        state = new_state(script.plan, "fork")
        begun = advance(state, Restore(NS, save(there)))
        assert begun[0].seq == position.at + 1
        assert data["run"]["seq"] == position.at
        if state.ended is None:
            expected = deliveries(there) + deliveries_of_held(there)
            assert deliveries(state) == expected
            finish(state)
            assert state.ended is not None or not deliveries(state)


def deliveries_of_held(there):
    """Count what the events that were held come to when the run that goes on sends them."""
    again = new_state(there.plan, "held")
    for number, event in there.held.items():
        again.held[number] = event
        evolve(again, EventReleased(number, "held", NS, number))
    return deliveries(again)
