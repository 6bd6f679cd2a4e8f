"""What tests send to the servers: runs of small workflows, and spans of no workflow at all, by stock exporters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

import otflow
from otflow import Context, StartEvent, StopEvent, Workflow, step
from otflow.records.span import derive_ids
from otflow.retry_policy import retry_policy, stop_after_attempt


class Dull(Workflow):
    """Nothing happens."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result="done")


class Failing(Workflow):
    """Its only step fails."""

    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        raise ValueError("broken")


class Retrying(Workflow):
    """Its only step works when it is tried again."""

    @step(retry_policy=retry_policy(stop=stop_after_attempt(2)))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        if ctx.attempt == 1:
            raise ConnectionError("line is busy")
        return StopEvent(result="done")


async def run(workflow: Workflow, **start: object) -> str:
    """Run a workflow to its end, however it ends, and give the id of its trace."""
    handler = workflow.run(**start)
    with suppress(ValueError):
        await handler
    return format_trace_id(derive_ids(handler.run_id)[0])


@contextmanager
def provider(endpoint: str, service: str) -> Iterator[TracerProvider]:
    """Give a stock provider that sends to an endpoint by OTLP over HTTP; all is sent when the block ends."""
    made = TracerProvider(resource=Resource({"service.name": service, "openinference.project.name": service}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces"), schedule_delay_millis=200))
    try:
        yield made
    finally:
        made.shutdown()


@contextmanager
def watched(endpoint: str, service: str) -> Iterator[InMemorySpanExporter]:
    """Send the spans of all runs in the block to an endpoint, with everything that their payloads hold.

    What is given has the same spans.
    """
    sent = InMemorySpanExporter()
    with provider(endpoint, service) as made:
        made.add_span_processor(SimpleSpanProcessor(sent))
        undo = otflow.configure(tracer_provider=made, redact=False)
        try:
            yield sent
        finally:
            undo()


def ids(sent: InMemorySpanExporter) -> set[str]:
    """Give the ids of the spans that were sent."""
    return {format_span_id(span.context.span_id) for span in sent.get_finished_spans()}
