"""Forks: a new run from any point of an old one, with another event or state, refused when something is missing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from otflow import Context, ContextSerdeError, Event, StartEvent, StopEvent, Workflow, WorkflowValidationError, step
from otflow.records.body import OPAQUE, REDACTED, Body
from otflow.records.capture import NONE
from otflow.records.codec import decode, encode
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark, payload_of, replace_payload
from otflow.records.record import ContextWritten, EventReceived, EventSent, RunResumed, StepFailed, StepStarted
from otflow.records.semconv import FORKED_FROM, ORIGIN_RUN_ID, ORIGIN_SEQ, RESUMED_FROM
from otflow.records.spans import from_spans, to_spans
from otflow.replay import MisfitError, fork, make_context
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.testing import capture_records
from tests.api.loops import turn
from tests.bounds import run_bounded
from tests.replay.flows import Answer, Chain, Extra, Fan, One, Two, Waits, find, quiet, record


class Bread(BaseModel):
    slices: int = 0
    toasts: list[str] = []


def read_again(execution: Execution) -> Execution:
    """Return the run as a reader of a file gives it."""
    return Execution([decode(encode(each)) for each in execution.records])


@pytest.mark.parametrize("kind", [Chain, Fan])
async def test_each_position_leads_to_the_same_result(kind):
    """From each record of a run that depends on nothing but its records, a fork has the same result."""
    execution = read_again(await record(kind(), number=5))
    result = await kind().run(number=5)
    for at in quiet(execution):
        assert await fork(execution, kind(), at=at) == result


async def test_a_run_that_asked_can_be_forked_at_each_position():
    """Before the answer a fork waits for it, behind it the answer is known."""
    execution = read_again(await record(Waits(), "four"))
    answered = find(execution, Answer)
    for each in execution.records:
        handler = fork(execution, Waits(), at=each.seq)
        if each.seq < answered:
            await turn()
            handler.ctx.send_event(Answer(text="three"))
        assert await handler == (50 if each.seq < answered else 40)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(1, 3))
def test_random_workflows_can_be_forked_at_each_position(width, rounds, failing, workers):
    """Loops of fans with retries and collections have the same result from each of their positions."""

    class Item(Event):
        round: int
        number: int

    class Done(Item):
        pass

    class Loop(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent | Extra) -> Item | None:
            around = await ctx.store.get("round", default=0) if isinstance(ev, StartEvent) else ev.number
            for number in range(width):
                ctx.send_event(Item(round=around, number=number))
            return None

        @step(num_workers=workers, retry_policy=ConstantDelayRetryPolicy(3, 0))
        async def work(self, ctx: Context, ev: Item) -> Done:
            if ctx.attempt <= failing and ev.number == 0:
                raise OSError("again")
            await ctx.store.set(f"at.{ev.round}-{ev.number}", ev.number)
            return Done(**ev.model_dump())

        @step
        async def gather(self, ctx: Context, ev: Done) -> Extra | StopEvent | None:
            if ctx.collect_events(ev, [Done] * width) is None:
                return None
            if ev.round + 1 < rounds:
                return Extra(number=ev.round + 1)
            return StopEvent(result=sorted((await ctx.store.get("at")).items()))

    async def main() -> None:
        execution = read_again(await record(Loop()))
        result = [[key, value] for key, value in await Loop().run()]
        for at in quiet(execution):
            found = await fork(execution, Loop(), at=at)
            assert [list(pair) for pair in found] == result

    run_bounded(main())


async def test_an_event_can_be_another_one():
    """The event that record `at` brought is replaced, by one of its type or of another; what came before stays."""
    execution = read_again(await record(Chain(), number=1))
    assert await fork(execution, Chain(), at=2, event=StartEvent(number=7)) == [8, 7]
    assert await fork(execution, Chain(), at=find(execution, One), event=One(number=7)) == [8, 1]
    assert await fork(execution, Chain(), at=find(execution, One), event=Two(number=7)) == [7, 1]
    assert await fork(execution, Chain(), at=find(execution, Two), event=StopEvent(result="short")) == "short"
    assert await fork(execution, Chain(), at=find(execution, StopEvent), event=Two(number=9)) == [9, 1]


async def test_an_answer_can_be_another_one():
    """A changed answer ends the wait that the recorded one ended."""
    execution = read_again(await record(Waits(), "four"))
    assert await fork(execution, Waits(), at=find(execution, Answer), event=Answer(text="a longer one")) == 120


async def test_one_of_several_sent_events_can_be_another_one():
    """Only the event of the record `at` is changed, not its siblings, which came before or behind it."""

    class Many(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[One]:
            return [One(number=number) for number in range(4)]

        @step
        async def end(self, ctx: Context, ev: One) -> StopEvent | None:
            events = ctx.collect_events(ev, [One] * 4)
            return None if events is None else StopEvent(result=sorted(event.number for event in events))

    execution = read_again(await record(Many()))
    for which in range(4):
        result = await fork(execution, Many(), at=find(execution, One, which), event=One(number=8))
        assert result == sorted({0, 1, 2, 3, 8} - {which})


async def test_only_an_event_can_be_changed():
    """A record that brought no event is refused, with the number of the one that did; so is what is no event."""
    execution = await record(Chain(), number=1)
    started = next(each for each in execution.records if isinstance(each, StepStarted))
    with pytest.raises(WorkflowValidationError, match=r"is a StepStarted.*give at=2"):
        fork(execution, Chain(), at=started.seq, event=One(number=1))
    with pytest.raises(WorkflowValidationError, match="has to be an Event"):
        fork(execution, Chain(), at=2, event="one")


async def test_the_state_can_be_another_one():
    """Values are written over the recorded state by their paths, or the whole state is replaced."""
    execution = read_again(await record(Chain(), number=1))
    at = find(execution, Two)
    assert await fork(execution, Chain(), at=at, state={"seen.first": 9}) == [2, 9]
    context = make_context(execution, Chain(), at, state={"more": [1]})
    assert (await context.store.get_state()).to_dict() == {"seen": {"first": 1, "second": 1}, "more": [1]}


async def test_a_typed_state_comes_back_typed():
    """A state class makes its own types of the recorded values; one that they do not fit is refused."""

    class Toast(Workflow):
        @step
        async def cut(self, ctx: Context[Bread], ev: StartEvent) -> One:
            await ctx.store.set("slices", 2)
            async with ctx.store.edit_state() as state:
                state.toasts.append("light")
            return One(number=1)

        @step
        async def eat(self, ctx: Context[Bread], ev: One) -> StopEvent:
            state = await ctx.store.get_state()
            return StopEvent(result=[type(state) is Bread, state.slices, state.toasts])

    execution = read_again(await record(Toast()))
    at = find(execution, One)
    assert await fork(execution, Toast(), at=at) == [True, 2, ["light"]]
    assert await fork(execution, Toast(), at=at, state=Bread(slices=5)) == [True, 5, []]
    with pytest.raises(ContextSerdeError, match="slices"):
        await fork(execution, Toast(), at=at, state={"slices": "many"})


async def test_a_failed_run_is_tried_again():
    """At its end, a fork of a failed run calls the failed step again, with the code of today."""

    class Broken(Chain):
        @step
        async def second(self, ctx: Context, ev: One) -> Two:
            raise OSError("down")

    execution = read_again(await record(Broken(workflow_name="Chain"), number=3))
    assert execution.outcome == "failed"
    assert await fork(execution, Chain()) == [4, 3]
    failed = next(each for each in execution.records if isinstance(each, StepFailed))
    assert await fork(execution, Chain(), at=failed.seq) == [4, 3]


async def test_the_new_run_names_its_origin():
    """A fork has an id and a trace of its own; its first span links to the old run and says which record it was."""
    execution = read_again(await record(Chain(), number=1))
    old = to_spans(execution.records)
    with capture_records() as records:
        handler = fork(execution, Chain(), at=find(execution, One), run_id="mine")
        await handler
    assert handler.run_id == "mine"
    forked = Execution(records)
    spans = to_spans(forked.records)
    assert {span.trace_id for span in spans}.isdisjoint({span.trace_id for span in old})
    segment = next(span for span in spans if not span.invocation)
    assert segment.attributes[ORIGIN_RUN_ID] == execution.run_id
    assert segment.attributes[ORIGIN_SEQ] == find(execution, One)
    [link] = [link for link in segment.links if link.kind == FORKED_FROM]
    assert (link.trace_id, link.span_id) in {(span.trace_id, span.span_id) for span in old if not span.invocation}
    assert RESUMED_FROM not in {link.kind for span in spans for link in span.links}
    assert Execution(from_spans(spans)) == forked


async def test_a_fork_is_whole_by_itself():
    """The records of a fork say all: nothing of them is missing, and it can be forked again, without the old run."""
    execution = read_again(await record(Chain(), number=1))
    with capture_records() as records:
        await fork(execution, Chain(), at=find(execution, One), state={"seen.first": 5})
    forked = read_again(Execution(records))
    assert forked.complete
    assert forked.workflow == "Chain"
    assert forked.history.faults == ()
    assert forked.state() == {"seen": {"first": 5, "second": 1}}
    for each in forked.records:
        assert await fork(forked, Chain(), at=each.seq) == [2, 5]


async def test_a_missing_record_is_named():
    """Behind a hole nothing can be forked; before it everything can."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    torn = Execution([each for each in execution.records if each.seq != at])
    with pytest.raises(MisfitError, match=f"number {at + 1} follows number {at - 1}"):
        fork(torn, Chain(), at=find(execution, Two))
    with pytest.raises(MisfitError, match=f"no record {at}"):
        fork(torn, Chain(), at=at)
    with pytest.raises(MisfitError, match="no record 99"):
        fork(torn, Chain(), at=99)
    assert await fork(torn, Chain(), at=4) == [2, 1]


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (Body(json=msgspec.json.encode({"number": {OPAQUE: "x.Y", "repr": "<Y>"}})), "could not be serialised: number"),
        (Body(json=msgspec.json.encode({"number": REDACTED})), "is hidden: number"),
        (make_mark(5000), "left out: it has 5000 bytes"),
    ],
)
async def test_a_payload_that_is_not_whole_is_named(mark, reason):
    """What is needed and was opaque, hidden or cut is refused by name; what is not needed any more is no fault."""
    execution = await record(Chain(), number=1)
    at = find(execution, One)
    lame = Execution([replace_payload(each, mark) if each.seq == at else each for each in execution.records])
    with pytest.raises(MisfitError, match=reason):
        fork(lame, Chain(), at=at)
    assert await fork(lame, Chain(), at=find(execution, Two)) == [2, 1]
    assert await fork(lame, Chain(), at=at, event=One(number=4)) == [5, 1]
    write = next(each for each in execution.records if isinstance(each, ContextWritten))
    lame = Execution([replace_payload(each, mark) if each is write else each for each in execution.records])
    with pytest.raises(MisfitError, match=r"its state is not whole \('seen.first'\)"):
        fork(lame, Chain(), at=find(execution, Two))
    assert await fork(lame, Chain(), at=find(execution, Two), state={"seen.first": 6}) == [2, 6]


async def test_a_trace_without_payloads_is_refused_with_the_reason():
    """From spans that captured nothing, no run can go on."""
    execution = await record(Chain(), number=1)
    bare = Execution(from_spans(to_spans(execution.records, NONE)))
    with pytest.raises(MisfitError, match="left out"):
        fork(bare, Chain(), at=find(execution, One))


async def test_a_workflow_that_does_not_fit_is_refused():
    """A workflow without a step that took part cannot go on with the run, and says so."""

    class Shorter(Workflow):
        @step
        async def first(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    execution = await record(Chain(), number=1)
    with pytest.raises(MisfitError, match="no step 'second'"):
        fork(execution, Shorter(workflow_name="Chain"), at=find(execution, Two))


async def test_fewer_workers_are_no_misfit():
    """How many workers a step has today makes no difference for going on."""

    class Slow(Fan):
        @step(num_workers=1, retry_policy=ConstantDelayRetryPolicy(2, 0))
        async def work(self, ctx: Context, ev: One) -> Two:
            return await super().work(ctx, ev)

    class Fast(Fan):
        @step(num_workers=4, retry_policy=ConstantDelayRetryPolicy(2, 0))
        async def work(self, ctx: Context, ev: One) -> Two:
            return await super().work(ctx, ev)

    execution = read_again(await record(Fan()))
    for kind in (Slow, Fast):
        for at in quiet(execution):
            assert await fork(execution, kind(workflow_name="Fan"), at=at) == [[0, 1, 2, 3]] * 2


async def test_the_old_run_is_not_touched():
    """Forking writes nothing under the id of the old run."""
    execution = await record(Chain(), number=1)
    with capture_records() as records:
        await fork(execution, Chain(), at=2, event=StartEvent(number=3))
    assert execution.run_id not in {each.run for each in records}
    assert isinstance(records[0], RunResumed)
    assert payload_of(records[0]) is not None
    assert not [each for each in records if isinstance(each, EventReceived)]
    assert [each for each in records if isinstance(each, EventSent)]


async def test_an_answer_belongs_to_the_event_that_brought_it():
    """Behind an event that ended a wait the answer is known, also if a step took that event."""

    class Both(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(Answer)).text)

        @step
        async def note(self, ev: Answer) -> None:
            return None

    with capture_records() as records:
        handler = Both().run()
        await turn()
        handler.ctx.send_event(Answer(text="yes"))
        await handler
    execution = read_again(Execution(records))
    forked = fork(execution, Both(), at=find(execution, Answer))
    await turn()
    assert forked.done()
    assert await forked == "yes"
