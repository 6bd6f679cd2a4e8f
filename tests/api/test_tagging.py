"""What runs belong to is said around their start, recorded, and shown on their segments."""

from __future__ import annotations

import asyncio
import contextvars
import json

import pytest
from opentelemetry import context as otel

import otflow
from otflow import Context, StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError
from otflow.events import HumanResponseEvent, InputRequiredEvent
from otflow.records.body import Body
from otflow.records.record import About, RunResumed, RunStarted
from otflow.tagging import find_about
from tests.api.tape import Tape
from tests.api.traces import Traced


class Flow(Workflow):
    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


async def test_a_run_is_tagged():
    """The record of the start says what was said around it; the segment shows it under the usual names."""
    traced = Traced()
    with otflow.tagged(session="chat-7", user="ada", tags=["beta"], metadata={"plan": "pro"}):
        await Flow(dispatcher=traced.dispatcher).run()
    await Flow(dispatcher=traced.dispatcher).run()
    first, second = traced.all(RunStarted)
    assert first.about == About("chat-7", "ada", ("beta",), Body({"plan": "pro"}))
    assert second.about is None
    tagged, plain = (dict(span.attributes) for span in traced.spans("invoke_workflow Flow"))
    assert (tagged["session.id"], tagged["gen_ai.conversation.id"], tagged["user.id"]) == ("chat-7", "chat-7", "ada")
    assert (tagged["tag.tags"], json.loads(tagged["metadata"])) == (("beta",), {"plan": "pro"})
    assert plain["session.id"] == second.run
    assert not {"gen_ai.conversation.id", "user.id", "tag.tags", "metadata"} & plain.keys()


async def test_nested_runs_inherit():
    """Runs that steps start belong to what the run belongs to; other runs at the same time do not."""
    tape = Tape()

    class Outer(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(0)
            await Flow(dispatcher=tape.dispatcher).run()
            return StopEvent()

    with otflow.tagged(session="one"):
        first = Outer(dispatcher=tape.dispatcher).run()
    with otflow.tagged(session="two"):
        second = Outer(dispatcher=tape.dispatcher).run()
    await asyncio.gather(first, second)
    sessions = {(record.workflow, record.about.session) for record in tape.all(RunStarted)}
    assert sessions == {(name, session) for name in ("Outer", "Flow") for session in ("one", "two")}
    assert len(tape.all(RunStarted)) == 4


def test_an_inner_block_adds():
    """Session and user are replaced, tags and metadata are added to; after the block all is as before."""
    with otflow.tagged(session="s", user="u", tags=["a"], metadata={"x": 1, "y": 1}):
        with otflow.tagged(user="v", tags=["b", "a"], metadata={"y": 2}):
            assert find_about() == About("s", "v", ("a", "b"), Body({"x": 1, "y": 2}))
        assert find_about() == About("s", "u", ("a",), Body({"x": 1, "y": 1}))
        with otflow.tagged(session="t"):
            assert find_about() == About("t", "u", ("a",), Body({"x": 1, "y": 1}))
    assert find_about() is None


def test_a_block_may_end_in_another_context():
    """A generator that is closed elsewhere ends its block without a complaint."""

    def block():
        with otflow.tagged(session="s"):
            yield

    opened = block()
    contextvars.copy_context().run(next, opened)
    opened.close()
    assert find_about() is None


async def test_a_run_that_waits_for_its_slot():
    """A run that begins later belongs to what was said where it was called, also if it is saved before."""
    tape, gate = Tape(), asyncio.Event()

    class Slow(Workflow):
        @step
        async def work(self, ev: StartEvent) -> StopEvent:
            await gate.wait()
            return StopEvent()

    flow = Slow(dispatcher=tape.dispatcher, num_concurrent_runs=1)
    first = flow.run()
    with otflow.tagged(session="late"):
        second = flow.run()
    saved = second.ctx.to_dict()
    assert saved["run"]["about"] == {"session": "late"}
    gate.set()
    await asyncio.gather(first, second)
    assert [record.about and record.about.session for record in tape.all(RunStarted)] == [None, "late"]


class Ask(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent()

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)


async def test_a_restored_run_keeps_what_it_belongs_to():
    """In the next process it belongs to what it belonged to; and it stands in the same trace, under its beginning."""
    first, second = Traced(), Traced()
    with otflow.tagged(session="chat-7"):
        handler = Ask(dispatcher=first.dispatcher).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            break
    data = json.loads(json.dumps(handler.ctx.to_dict()))
    flow = Ask(dispatcher=second.dispatcher)
    again = flow.run(ctx=Context.from_dict(flow, data))
    again.ctx.send_event(HumanResponseEvent(response="yes"))
    assert await again == "yes"
    assert len(second.all(RunResumed)) >= 1
    [before] = first.spans("invoke_workflow Ask")
    after = second.spans("invoke_workflow Ask")
    assert {span.attributes["session.id"] for span in after} == {"chat-7"}
    assert {span.context.trace_id for span in after} == {before.context.trace_id}
    assert {span.parent.span_id for span in after} == {before.context.span_id}
    assert after[0].links[0].context.span_id == before.context.span_id
    assert [span.attributes["otflow.segment"] for span in after] == list(range(1, 1 + len(after)))
    await handler.cancel_run()


async def test_a_run_that_is_saved_at_work():
    """A step that saves its own run saves where it stands, although its sinks may be behind."""
    first, second, saved = Traced(), Traced(), []

    class Save(Workflow):
        @step
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if not saved:
                saved.append(ctx.to_dict())
            return StopEvent()

    await Save(dispatcher=first.dispatcher).run()
    flow = Save(dispatcher=second.dispatcher)
    await flow.run(ctx=Context.from_dict(flow, saved[0]))
    [before], [after] = (traced.spans("invoke_workflow Save") for traced in (first, second))
    assert (after.context.trace_id, after.parent.span_id) == (before.context.trace_id, before.context.span_id)


async def test_saving_without_spans_says_nothing_of_a_trace():
    """Who is not traced has no place in a trace; from a thread the place is that of the last records."""
    tape, traced = Tape(), Traced()
    handler, other = Ask(dispatcher=tape.dispatcher).run(), Ask(dispatcher=traced.dispatcher).run()
    for each in (handler, other):
        async for event in each.stream_events():
            if isinstance(event, InputRequiredEvent):
                break
    assert "trace" not in handler.ctx.to_dict()["run"]
    threaded = await asyncio.to_thread(other.ctx.to_dict)
    assert threaded["run"]["trace"] == other.ctx.to_dict()["run"]["trace"]
    for each in (handler, other):
        await each.cancel_run()


# --- what others say ----------------------------------------------------------------------------------------


def say(**values: object) -> otel.Context:
    """Make a context as OpenInference does."""
    around = otel.Context()
    for name, value in values.items():
        around = otel.set_value(name.replace("_", "."), value, around)
    return around


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, None),
        ({"something": 1}, None),
        ({"session_id": "s", "user_id": "u"}, About("s", "u")),
        ({"tag_tags": ["a", "b"], "metadata": '{"x":1}'}, About("", "", ("a", "b"), Body({"x": 1}))),
        ({"metadata": {"x": 1}}, About("", "", (), Body({"x": 1}))),
        ({"metadata": "{"}, About()),
        ({"metadata": "[1]"}, About()),
        ({"metadata": {"x": "y" * 9000}}, About()),
        ({"session_id": 7, "tag_tags": "word"}, About()),
        ({"session_id": "s" * 1000}, About("s" * 256)),
    ],
)
def test_openinference_is_understood(said, found):
    """What OpenInference's own blocks say counts too, as far as it is of the right kind."""
    token = otel.attach(say(**said))
    try:
        assert find_about() == found
    finally:
        otel.detach(token)


def test_our_own_word_comes_first():
    """Where both say something, ours counts; what only one of them says counts too."""
    token = otel.attach(say(session_id="theirs", user_id="them", tag_tags=["t"], metadata={"x": 1}))
    try:
        with otflow.tagged(session="ours"):
            assert find_about() == About("ours", "them", ("t",), Body({"x": 1}))
        with otflow.tagged(user="us", tags=["o"], metadata={"y": 2}):
            assert find_about() == About("theirs", "us", ("o",), Body({"y": 2}))
    finally:
        otel.detach(token)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"session": 7}, "session=7 is no text"),
        ({"session": "x" * 257}, "up to 256 characters"),
        ({"user": None}, "user=None is no text"),
        ({"tags": "beta"}, "tags='beta' is no list of words"),
        ({"tags": 7}, "tags=7 is no list of words"),
        ({"tags": ["a", 7]}, "tag=7 is no text"),
        ({"tags": [str(n) for n in range(65)]}, "there are 65 tags"),
        ({"metadata": [1]}, "metadata=.* is no mapping"),
        ({"metadata": {1: 2}}, "metadata=.* is no mapping"),
        ({"metadata": {"x": "y" * 9000}}, "up to 8192 bytes"),
        ({"metadata": {"x": object()}}, "of plain values"),
        ({"session": 7, "user": 8}, "session=7.*; user=8"),
    ],
)
def test_wrong_words_are_refused(arguments, text):
    """What is of another kind is refused at once, all faults together, and changes nothing."""
    with pytest.raises(WorkflowConfigurationError, match=text), otflow.tagged(**arguments):
        pass
    assert find_about() is None
