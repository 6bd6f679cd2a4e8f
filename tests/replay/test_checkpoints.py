"""Checkpoints derived from records: a position after each step that returned, from which `run_from` goes on."""

from __future__ import annotations

import json

from otflow import Checkpoint, Context, StartEvent, StopEvent, Workflow, WorkflowCheckpointer, step
from otflow.checkpointer import checkpoints
from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark, replace_payload
from otflow.testing import capture_records
from tests.replay.flows import Chain, Fan, One, Two, find, record


async def test_each_step_that_returned_is_a_position():
    """Without having been run with checkpoints, a run has one after each step that returned; each leads to its end."""
    execution = Execution([decode(encode(each)) for each in (await record(Chain(), number=1)).records])
    found = checkpoints(execution, Chain())
    assert [each.last_completed_step for each in found] == ["first", "second", "third"]
    assert found[0].input_event == StartEvent(number=1)
    assert found[0].output_event == found[1].input_event == One(number=1)
    assert found[2].output_event == StopEvent(result=[2, 1])
    for each in found:
        assert await Chain().run_from(each) == [2, 1]


async def test_a_derived_checkpoint_is_the_one_that_was_taken():
    """What is derived from the records says the same as what was saved while the run went on."""
    checkpointer = WorkflowCheckpointer(workflow=Chain())
    with capture_records() as records:
        handler = checkpointer.run(number=1)
        await handler
    taken = checkpointer.checkpoints[handler.run_id]
    derived = checkpoints(Execution(records), Chain())
    assert len(taken) == len(derived) == 3
    for one, other in zip(taken, derived, strict=True):
        assert one.last_completed_step == other.last_completed_step
        assert (one.input_event, one.output_event) == (other.input_event, other.output_event)
        mine, theirs = one.ctx_state, other.ctx_state
        assert mine["state"] == theirs["state"]
        assert mine["run"].get("held") == theirs["run"].get("held")
        assert mine["run"].get("queued") == theirs["run"].get("queued")


async def test_a_derived_checkpoint_can_be_kept():
    """Loaded, it is a checkpoint like any other: it survives as JSON."""
    execution = await record(Chain(), number=1)
    first = checkpoints(execution, Chain())[0].load()
    again = Checkpoint.model_validate_json(json.dumps(json.loads(first.model_dump_json())))
    assert again.id_ == f"{execution.run_id}:{checkpoints(execution, Chain())[0].seq}"
    assert await Chain().run_from(again) == [2, 1]


async def test_positions_of_a_run_with_several_things_at_once():
    """Positions in the middle of a fan hold what was queued, running and collected."""
    execution = await record(Fan())
    found = checkpoints(execution, Fan())
    assert [each.last_completed_step for each in found].count("work") == 4
    for each in found[1:]:
        assert await Fan().run_from(each) == [[0, 1, 2, 3], [0, 1, 2, 3]]


async def test_an_event_that_is_not_whole_is_left_out():
    """A checkpoint whose events cannot be made again has none, and says so only when it is gone on from."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    cut = Execution([replace_payload(r, make_mark(9)) if r.seq == at else r for r in execution.records])
    first, second, _ = checkpoints(cut, Chain())
    assert first.output_event is None
    assert second.input_event is None
    assert await Chain().run_from(second) == [2, 1]
    assert repr(first) == f"<RecordedCheckpoint {first.id_} after step 'first'>"


async def test_stepwise_runs_leave_checkpoints():
    """A stepwise run takes checkpoints, held events wait for the caller, and each checkpoint leads to the end."""

    class Steps(Workflow):
        @step
        async def first(self, ctx: Context, ev: StartEvent) -> One:
            return One(number=1)

        @step
        async def second(self, ctx: Context, ev: One) -> Two:
            return Two(number=ev.number + 1)

        @step
        async def third(self, ctx: Context, ev: Two) -> StopEvent:
            return StopEvent(result=ev.number)

    checkpointer = WorkflowCheckpointer(workflow=Steps())
    with capture_records() as records:
        handler = checkpointer.run(stepwise=True)
        produced = await handler.run_step()
        while produced is not None:
            for event in produced:
                handler.ctx.send_event(event)
            produced = await handler.run_step()
        assert await handler == 2
    taken = checkpointer.checkpoints[handler.run_id]
    derived = checkpoints(Execution([each for each in records if each.run == handler.run_id]), Steps())
    assert [each.last_completed_step for each in taken] == ["first", "second", "third"]
    assert [each.last_completed_step for each in derived] == ["first", "second", "third"]
    for each in (*taken, *derived):
        assert await Steps().run_from(each) == 2
    again = Steps().run_from(derived[0], stepwise=True)
    assert await again.run_step() == [Two(number=2)]
    await again.cancel_run()
