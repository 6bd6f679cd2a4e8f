"""What other libraries recorded below a step comes back from the real servers, and makes the stubs of its test."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind, Tracer

import otflow
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.errors import ReaderError
from otflow.readers import Foreign, read_foreign
from otflow.replay.outside import find_calls
from otflow.testing import HttpCall, ModelCall
from stack.servers import Collector, Jaeger, Phoenix
from tests.integration.reading import unique, wait_for
from tests.integration.sending import provider

CHAT = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "small-1",
    "llm.system": "openai",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "What now?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "Tea.",
    "llm.token_count.prompt": 7,
    "llm.token_count.completion": 3,
}
GET = {"http.request.method": "GET", "url.full": "https://a.example/tea", "http.response.status_code": 200}
STUBS = [HttpCall("GET", "https://a.example/tea"), ModelCall("small-1", "What now?", "Tea.", tokens=(7, 3))]


class Asking(Workflow):
    """Its step calls the outside, as instrumentations tell it."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    @step
    async def ask(self, ev: StartEvent) -> StopEvent:
        begin = self.tracer.start_as_current_span
        with begin("mine"):
            with begin("GET", kind=SpanKind.CLIENT, attributes=GET), begin("GET /tea", kind=SpanKind.SERVER):
                pass
            with begin("chat", attributes=CHAT):
                pass
        return StopEvent()


def send(endpoint: str) -> str:
    """Run it, with the trace of a caller around it; give the id of the run."""
    name = unique("asking")

    async def main(tracer: Tracer) -> None:
        with tracer.start_as_current_span("of the caller"):
            await Asking(tracer).run(run_id=name)

    with provider(endpoint, name) as made:
        undo = otflow.configure(tracer_provider=made)
        try:
            asyncio.run(main(made.get_tracer("library")))
        finally:
            undo()
    return name


def read(place: str | Path, run: str) -> Foreign:
    """Wait until all is there, and give it."""

    def look() -> Foreign | None:
        try:
            source = otflow.open(place)
            found = source.run(run)
        except ReaderError:
            return None
        foreign = read_foreign(source, found)
        return foreign if found.complete and len(foreign.spans) == 4 else None

    return wait_for(look)


@pytest.mark.parametrize("server", ["jaeger", "phoenix", "collector"])
def test_calls_come_back(request: pytest.FixtureRequest, server: str) -> None:
    """From Jaeger, Phoenix and the collector's file come the spans below the step, with what a stub needs."""
    there: Jaeger | Phoenix | Collector = request.getfixturevalue(server)
    run = send(there.url if isinstance(there, Phoenix) else there.otlp_http)
    place = there.archive if isinstance(there, Collector) else there.url
    found = read(place, run)
    assert [span.name for span in found.spans] == ["mine", "GET", "GET /tea", "chat"]
    [calls] = find_calls(otflow.open(place).run(run), found.spans).values()
    assert [call.stub for call in calls] == STUBS
