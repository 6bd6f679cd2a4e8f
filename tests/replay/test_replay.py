"""Replay: which changes of a workflow a recorded history does not survive, each named where it first shows."""

from __future__ import annotations

import msgspec
import pytest

from otflow import Context, Event, StartEvent, StopEvent, Workflow, catch_error, step
from otflow.events import StepFailedEvent
from otflow.records.body import OPAQUE, Body
from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.records.payloads import replace_payload
from otflow.records.record import EventReceived, EventsCollected, EventSent, StepFailed
from otflow.replay import replay
from otflow.retry_policy import (
    ConstantDelayRetryPolicy,
    retry_if_exception_type,
    retry_policy,
    stop_after_attempt,
    wait_fixed,
)
from otflow.retry_policy import wait_exponential_jitter as jitter
from tests.replay.flows import Chain, Extra, Fan, One, Two, Waits, find, record


def read_again(execution: Execution) -> Execution:
    """Return the run as a reader of a file gives it."""
    return Execution([decode(encode(each)) for each in execution.records])


class Retries(Workflow):
    """Fails twice, then succeeds."""

    @step(retry_policy=retry_policy(retry_if_exception_type(OSError), wait_fixed(0), stop_after_attempt(5)))
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if ctx.attempt < 3:
            raise OSError("again")
        return StopEvent()


@pytest.mark.parametrize("kind", [Chain, Fan, Waits, Retries])
async def test_unchanged_code_accepts_its_history(kind):
    """A history is accepted by the code that made it, to the last record, live or read from a file."""
    execution = await record(kind(), "yes" if kind is Waits else "", number=1)
    for each in (execution, read_again(execution)):
        verdict = replay(each, kind())
        assert verdict.ok, verdict.lines
        assert verdict.judged == verdict.records == len(execution.records)
        assert verdict.position == 0
        assert verdict.notes == ()
        assert verdict.lines == [
            f"ok    {execution.run_id}  Workflow '{kind.__name__}' accepts all {verdict.records} records."
        ]


async def test_no_step_is_called():
    """Replaying calls no step."""
    execution = await record(Chain(), number=1)

    class Never(Chain):
        @step
        async def second(self, ctx: Context, ev: One) -> Two:
            raise AssertionError("called")

    assert replay(execution, Never()).ok


async def test_other_code_in_a_step_is_no_divergence():
    """What a step does inside is its own affair, and so are steps that this history never came to."""

    class More(Chain):
        @step
        async def beside(self, ev: Extra) -> StopEvent:
            return StopEvent()

        @step
        async def second(self, ctx: Context, ev: One) -> Two | Extra:
            return Extra()

    assert replay(await record(Chain(), number=1), More()).ok


async def test_a_removed_step_is_named():
    """A step that took part and is gone is named, with the one that may have taken its place."""

    class Renamed(Workflow):
        first = Chain.first
        third = Chain.third

        @step
        async def middle(self, ev: One) -> Two:
            return Two(number=1)

    execution = await record(Chain(), number=1)
    verdict = replay(execution, Renamed())
    assert not verdict.ok
    assert verdict.position == find(execution, One)
    assert verdict.divergence.kind == "step"
    assert verdict.sentence == (
        "There is no step 'second' any more, which worked on One. Step 'middle' accepts One today: was it renamed?"
    )
    assert verdict.lines[0].startswith(f"FAIL  {execution.run_id}  record {verdict.position}: There is no step")


async def test_an_event_that_is_no_longer_accepted_is_named():
    """A step that took an event and does not accept its type any more is named."""

    class Narrow(Workflow):
        first = Chain.first
        third = Chain.third

        @step
        async def second(self, ev: Extra) -> Two:
            return Two(number=1)

    execution = await record(Chain(), number=1)
    verdict = replay(execution, Narrow(skip_graph_checks=["reachability"]))
    assert (verdict.position, verdict.divergence.kind) == (find(execution, One), "event")
    assert verdict.sentence == f"Step 'second' no longer accepts One, which it took as event {verdict.position}."


async def test_a_further_step_that_takes_an_event_is_named():
    """A step that did not take part and would today is named."""

    class More(Chain):
        @step
        async def beside(self, ev: One) -> None:
            return None

    verdict = replay(await record(Chain(), number=1), More())
    assert verdict.divergence.kind == "step"
    assert "Step 'beside' would take event" in verdict.sentence


async def test_an_event_class_that_is_gone_is_named():
    """An event of a class that cannot be found any more, and that a step took, is named."""
    execution = await record(Chain(), number=1)
    text = "tests.replay.flows:Vanished"
    gone = [msgspec.structs.replace(r, type=text) if r.seq == find(execution, One) else r for r in execution.records]
    verdict = replay(Execution(gone), Chain())
    assert verdict.sentence == f"The event class {text} is gone."


async def test_a_payload_that_is_no_longer_valid_is_named():
    """A recorded payload is read by the class of today; what it does not take is named."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    old = Body(json=b'{"value": 1}')
    verdict = replay(Execution([replace_payload(r, old) if r.seq == at else r for r in execution.records]), Chain())
    assert (verdict.position, verdict.divergence.kind) == (at, "payload")
    assert "no valid One any more: number: Field required" in verdict.sentence


async def test_a_payload_that_is_not_whole_is_not_judged():
    """Nothing is said against a payload of which something is missing, but that it was not judged."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    lame = Body(json=msgspec.json.encode({OPAQUE: "x.Y", "repr": "<Y>"}))
    verdict = replay(Execution([replace_payload(r, lame) if r.seq == at else r for r in execution.records]), Chain())
    assert verdict.ok
    assert "Not judged" in verdict.notes[0]


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (None, "was tried again after 0 s; today it would not be"),
        (ConstantDelayRetryPolicy(1, 0), "attempt 2 of step 'only' failed with builtins.OSError and was tried again"),
        (ConstantDelayRetryPolicy(5, 3), "after 0 s; today that would be after 3 s"),
        (
            retry_policy(retry_if_exception_type(KeyError), wait_fixed(0), stop_after_attempt(5)),
            "today it would not be",
        ),
        (ConstantDelayRetryPolicy(5, 0), ""),
    ],
)
async def test_another_retry_policy_is_named(policy, sentence):
    """A retry that today's policy would not make, or after another delay, is named where the attempt failed."""

    class Other(Workflow):
        @step(retry_policy=policy)
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent()

    execution = await record(Retries())
    verdict = replay(read_again(execution), Other())
    if not sentence:
        assert verdict.ok
        return
    assert verdict.divergence.kind == "retry"
    assert sentence in verdict.sentence
    assert isinstance(execution.records[verdict.position - 1], StepFailed)


async def test_a_retry_that_there_was_not_is_named():
    """A failure that ended the run and would be retried today is named; with jitter the delay is repeatable."""

    class Fails(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise OSError("down")

    class Jitters(Workflow):
        @step(retry_policy=retry_policy(wait=jitter(initial=0.001, jitter=0.001), stop=stop_after_attempt(3)))
        async def only(self, ev: StartEvent) -> StopEvent:
            raise OSError("down")

    verdict = replay(await record(Fails()), Retries())
    assert "was not tried again; today it would be" in verdict.sentence
    assert replay(read_again(await record(Jitters())), Jitters()).ok


async def test_other_numbers_of_workers_are_named():
    """With fewer or more workers today, steps would have begun at other points."""

    class Slow(Fan):
        @step(num_workers=1, retry_policy=ConstantDelayRetryPolicy(2, 0))
        async def work(self, ctx: Context, ev: One) -> Two:
            return Two(number=1)

    class Fast(Fan):
        @step(num_workers=4, retry_policy=ConstantDelayRetryPolicy(2, 0))
        async def work(self, ctx: Context, ev: One) -> Two:
            return Two(number=1)

    execution = await record(Fan())
    for kind, said in ((Slow, "has 1 workers today"), (Fast, "with the 4 workers")):
        verdict = replay(execution, kind())
        assert verdict.divergence.kind == "workers"
        assert said in verdict.sentence


async def test_a_return_type_that_is_not_declared_any_more_is_named():
    """An event that a step returned, and does not declare any more, is named."""

    class Other(Workflow):
        first = Chain.first
        third = Chain.third

        @step
        async def second(self, ev: One) -> Extra:
            return Extra()

        @step
        async def fourth(self, ev: Extra) -> Two:
            return Two(number=1)

    execution = await record(Chain(), number=1)
    verdict = replay(execution, Other())
    assert (verdict.position, verdict.divergence.kind) == (find(execution, Two), "returns")
    assert verdict.sentence == "Step 'second' returned Two; today it declares to return Extra."


async def test_another_collection_is_named():
    """A collection of events that are not in the buffer is named."""
    execution = await record(Fan())
    wrong = [
        msgspec.structs.replace(each, events=(*each.events[:3], 3)) if isinstance(each, EventsCollected) else each
        for each in execution.records
    ]
    verdict = replay(Execution(wrong), Fan())
    assert verdict.divergence.kind == "collected"


async def test_an_error_handler_that_is_new_or_gone_is_named():
    """A failure that a handler took and would not take today is named, and the other way round."""

    class Without(Workflow):
        ask = Waits.ask
        fail = Waits.fail
        end = Waits.end

    class With(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise ValueError("no")

        @catch_error(for_steps=["only"])
        async def mend(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent()

    class Plain(Workflow):
        only = With.only

    verdict = replay(await record(Waits(), "yes"), Without())
    assert "There is no step 'mend' any more" in verdict.sentence
    verdict = replay(await record(Plain()), With())
    assert "today the error handler 'mend' takes it" in verdict.sentence


async def test_a_stop_event_that_does_not_end_any_more_is_named():
    """An event that ended the run and would not end it today is named."""
    execution = await record(Chain(), number=1)
    key = "tests.replay.flows:Extra"
    at = find(execution, StopEvent)
    wrong = [msgspec.structs.replace(r, type=key) if r.seq == at else r for r in execution.records]
    verdict = replay(Execution(wrong), Chain())
    assert verdict.sentence == f"Event {at} ended the run; today it would not."


async def test_what_lies_behind_a_hole_is_not_judged():
    """Records behind a missing one are not held against the workflow; the verdict says how far it came."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    verdict = replay(Execution([each for each in execution.records if each.seq != at]), Chain())
    assert verdict.ok
    assert verdict.judged == at - 1
    assert verdict.notes == (f"Records are missing before record {at + 1}: what follows was not judged.",)
    assert verdict.sentence == f"Workflow 'Chain' accepts {at - 1} of {verdict.records} records."


async def test_each_beginning_of_a_history_is_accepted():
    """A run that is not over, or whose end is lost, is accepted up to its last record."""
    for kind in (Chain, Fan):
        execution = await record(kind(), number=1)
        for each in execution.records:
            verdict = replay(execution.until(each.seq), kind())
            assert verdict.ok, verdict.lines


async def test_an_undeclared_event_that_nobody_took_is_no_divergence():
    """A class that is defined in a function cannot be found by its name; that is said, and not held against it."""

    class Local(Event):
        pass

    class Streams(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Local())
            return StopEvent()

    execution = read_again(await record(Streams()))
    verdict = replay(execution, Streams())
    assert verdict.ok
    assert "cannot be found" in verdict.notes[0]
    assert isinstance(execution.records[1], EventReceived)
    assert any(isinstance(each, EventSent) for each in execution.records)
