"""The spans of OpenAI clients stand under the attempt that called the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInferenceInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as OpenTelemetryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.retry_policy import ConstantDelayRetryPolicy
from tests.instrumentation.stub import ANSWER, MODEL


def show_opentelemetry(span: ReadableSpan) -> tuple[object, ...]:
    """Give what a span says about a call: operation, model, tokens in and out."""
    keys = ("operation.name", "response.model", "usage.input_tokens", "usage.output_tokens")
    return tuple(span.attributes[f"gen_ai.{key}"] for key in keys)


def show_openinference(span: ReadableSpan) -> tuple[object, ...]:
    """Give the same in the words of OpenInference."""
    assert span.attributes["openinference.span.kind"] == "LLM"
    keys = ("model_name", "token_count.prompt", "token_count.completion")
    return "chat", *(span.attributes[f"llm.{key}"] for key in keys)


Show = Callable[[ReadableSpan], tuple[object, ...]]


@pytest.fixture(
    params=[(OpenTelemetryInstrumentor, show_opentelemetry), (OpenInferenceInstrumentor, show_openinference)]
)
def show(request, provider) -> Iterator[Show]:
    """Trace the calls of models, and give a way to read their spans."""
    kind, show = request.param
    instrumentor = kind()
    instrumentor.instrument(tracer_provider=provider)
    yield show
    instrumentor.uninstrument()


def ask(client: AsyncOpenAI | OpenAI, message: str, **options: object) -> object:
    """Ask the model."""
    messages = [{"role": "user", "content": message}]
    return client.chat.completions.create(model=MODEL, messages=messages, **options)


def settings(url: str) -> dict[str, object]:
    """Say how the stub is reached."""
    return {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}


class Question(Event):
    url: str
    number: int


class Answered(Event):
    text: str


class Panel(Workflow):
    """Several workers ask at once; every second one streams its answer."""

    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> Question | None:
        for number in range(8):
            ctx.send_event(Question(url=ev.url, number=number))

    @step(num_workers=4)
    async def ask(self, ev: Question) -> Answered:
        async with AsyncOpenAI(**settings(ev.url)) as client:
            if ev.number % 2:
                options = {"include_usage": True}
                parts = await ask(client, f"question {ev.number}", stream=True, stream_options=options)
                texts = [part.choices[0].delta.content or "" async for part in parts if part.choices]
                return Answered(text="".join(texts))
            return Answered(text=(await ask(client, f"question {ev.number}")).choices[0].message.content)

    @step
    async def gather(self, ctx: Context, ev: Answered) -> StopEvent | None:
        answers = ctx.collect_events(ev, [Answered] * 8)
        return StopEvent(result=[answer.text for answer in answers]) if answers else None


async def test_several_workers(stub, tree, show):
    """Each call stands under the attempt that made it, streamed or not, and says its model and its tokens."""
    assert await Panel().run(url=stub.url) == [ANSWER] * 8
    tree.check()
    calls = tree.of_scope("openai")
    assert len(calls) == 8
    assert {tree.parent(call).name for call in calls} == {"step ask"}
    assert len({call.parent.span_id for call in calls}) == 8
    assert {show(call) for call in calls} == {("chat", MODEL, 7, 3)}


class Persistent(Workflow):
    @step(retry_policy=ConstantDelayRetryPolicy(delay=0, maximum_attempts=3))
    async def ask(self, ev: StartEvent) -> StopEvent:
        async with AsyncOpenAI(**settings(ev.url)) as client:
            answer = await ask(client, "hard one")
        return StopEvent(result=answer.choices[0].message.content)


async def test_retries(stub, tree, show):
    """A call that fails stands under the attempt that fails with it, the next one under the next."""
    stub.failures["hard one"] = 2
    assert await Persistent().run(url=stub.url) == ANSWER
    tree.check()
    attempts = tree.named("step ask")
    assert [attempt.attributes["otflow.attempt"] for attempt in attempts] == [1, 2, 3]
    calls = [call for attempt in attempts for call in tree.under(attempt)]
    assert len(calls) == 3
    assert [call.status.is_ok for call in calls] == [False, False, True]
    assert attempts[0].events[0].attributes["exception.type"].endswith(BadRequestError.__name__)


class Plain(Workflow):
    @step
    def ask(self, ev: StartEvent) -> StopEvent:
        with OpenAI(**settings(ev.url)) as client:
            parts = ask(client, "plain", stream=True, stream_options={"include_usage": True})
            return StopEvent(result="".join(part.choices[0].delta.content or "" for part in parts if part.choices))


async def test_a_plain_step_in_a_thread(stub, tree, show):
    """A call from the thread of a plain step stands under its attempt, also when its answer is streamed."""
    assert await Plain().run(url=stub.url) == ANSWER
    tree.check()
    [call] = tree.of_scope("openai")
    assert tree.parent(call).name == "step ask"
    assert show(call) == ("chat", MODEL, 7, 3)


class Hasty(Workflow):
    """Reads the beginning of a streamed answer, and lets another task close the rest."""

    @step
    async def ask(self, ev: StartEvent) -> StopEvent:
        async with AsyncOpenAI(**settings(ev.url)) as client:
            parts = await ask(client, "long one", stream=True)
            first = await anext(aiter(parts))
            await asyncio.create_task(parts.close())
        return StopEvent(result=first.choices[0].delta.role)


async def test_an_answer_that_is_not_read_to_its_end(stub, tree, show):
    """A streamed answer that is closed early, by another task, spoils no span of otflow and no context."""
    assert await Hasty().run(url=stub.url) == "assistant"
    [attempt] = tree.named("step ask")
    assert attempt.status.is_ok
    [call] = tree.of_scope("openai")
    assert tree.parent(call) is attempt


class Layered(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> StopEvent:
        async with httpx.AsyncClient() as http, AsyncOpenAI(**settings(ev.url), http_client=http) as client:
            answer = await ask(client, "over httpx")
        return StopEvent(result=answer.choices[0].message.content)


async def test_both_layers_nest(stub, tree, show, provider):
    """With the client's HTTP traced too, the request stands under the call, and the call under the attempt."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        assert await Layered().run(url=stub.url) == ANSWER
    finally:
        instrumentor.uninstrument()
    tree.check()
    [request] = tree.of_scope("httpx")
    [call] = tree.of_scope("openai")
    assert tree.parent(request) is call
    assert tree.parent(call).name == "step ask"
    assert stub.requests[0].span_id == f"{request.context.span_id:016x}"
