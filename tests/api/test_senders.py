"""An event from outside knows the span in which it was sent, if that is not the one that the run stands under."""

from __future__ import annotations

import asyncio

from opentelemetry import trace

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.context.context import Context as AnyContext
from otflow.events import HumanResponseEvent, InputRequiredEvent
from otflow.records.record import EventReceived
from tests.api.tape import Tape
from tests.api.traces import Traced


class Ask(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent()

    @step
    async def take(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)


async def asked(handler) -> None:
    """Wait for the question."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            return


async def test_an_answer_leads_back_to_its_request():
    """The span of the request that brings the answer is linked from the segment, and from the step that takes it."""
    traced = Traced()
    handler = Ask(dispatcher=traced.dispatcher).run()
    await asked(handler)
    with traced.tracer.start_as_current_span("POST /answer") as request:
        handler.ctx.send_event(HumanResponseEvent(response="yes"))
    assert await handler == "yes"
    sent = request.get_span_context()
    _, answer = traced.all(EventReceived)
    assert answer.sender == f"00-{sent.trace_id:032x}-{sent.span_id:016x}-{sent.trace_flags:02x}"
    segment = traced.spans("invoke_workflow Ask")[-1]
    for span in (traced.span("step take"), segment):
        told = [link for link in span.links if link.attributes["otflow.link.kind"] == "sent_by"]
        assert [(link.context.trace_id, link.context.span_id) for link in told] == [(sent.trace_id, sent.span_id)]
        assert told[0].attributes["otflow.event.id"] == answer.seq
    assert segment.context.trace_id != sent.trace_id


async def test_the_parent_of_the_run_is_no_sender():
    """What the request itself sends that started the run has no sender: the run stands under it."""
    traced = Traced()
    with traced.tracer.start_as_current_span("POST /run"):
        handler = Ask(dispatcher=traced.dispatcher).run()
        await asked(handler)
        handler.ctx.send_event(HumanResponseEvent(response="yes"))
        await handler
    assert [record.sender for record in traced.all(EventReceived)] == ["", ""]


async def test_without_spans_there_is_no_sender():
    """Outside of any span, and where nobody makes spans, nothing is recorded."""
    for tape in (Traced(), Tape()):
        handler = Ask(dispatcher=tape.dispatcher).run()
        await asked(handler)
        with trace.use_span(trace.INVALID_SPAN):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
        await handler
        assert [record.sender for record in tape.all(EventReceived)] == ["", ""]


async def test_a_sender_in_a_thread():
    """What a thread sends is recorded with the span that is current there."""
    traced = Traced()
    handler = Ask(dispatcher=traced.dispatcher).run()
    await asked(handler)
    with traced.tracer.start_as_current_span("request") as request:
        await asyncio.to_thread(handler.ctx.send_event, HumanResponseEvent(response="yes"))
    await handler
    assert f"{request.get_span_context().span_id:016x}" in traced.all(EventReceived)[-1].sender


async def test_a_step_of_another_run_is_a_sender():
    """What the step of one run sends to another run leads back to its attempt."""
    traced = Traced()

    class Caller(Workflow):
        @step
        async def call(self, ev: StartEvent) -> StopEvent:
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
            return StopEvent()

    handler = Ask(dispatcher=traced.dispatcher).run()
    await asked(handler)
    await Caller(dispatcher=traced.dispatcher).run()
    await handler
    told = [record.sender.split("-")[2] for record in traced.all(EventReceived) if record.sender]
    assert told == [f"{traced.span('step call').context.span_id:016x}"]


async def test_a_task_that_outlived_its_step_is_a_sender():
    """What a task sends after its step returned comes from outside, and leads back to the attempt."""
    traced, gate, sent = Traced(), asyncio.Event(), asyncio.Event()

    class More(Event):
        pass

    class Left(Workflow):
        @step
        async def leave(self, ctx: Context, ev: StartEvent) -> More | None:
            self.task = asyncio.create_task(self.later(ctx))
            return More()

        async def later(self, ctx: AnyContext) -> None:
            await gate.wait()
            ctx.send_event(HumanResponseEvent(response="late"))
            sent.set()

        @step
        async def wait(self, ev: More) -> None:
            gate.set()
            await sent.wait()

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.response)

    assert await Left(dispatcher=traced.dispatcher).run() == "late"
    leave = traced.span("step leave")
    assert traced.all(EventReceived)[-1].sender.split("-")[2] == f"{leave.context.span_id:016x}"
