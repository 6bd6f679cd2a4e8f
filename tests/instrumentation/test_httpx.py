"""The spans of HTTP clients stand under the attempt that made the request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowCancelledByUser
from otflow.retry_policy import ConstantDelayRetryPolicy


@pytest.fixture(autouse=True)
def _instrumented(provider) -> Iterator[None]:
    """Trace the requests of httpx."""
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield
    instrumentor.uninstrument()


class Page(Event):
    url: str
    number: int
    pages: int


class Fetched(Event):
    pass


class Crawl(Workflow):
    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> Page | None:
        for number in range(ev.pages):
            ctx.send_event(Page(number=number, url=ev.url, pages=ev.pages))

    @step(num_workers=4)
    async def fetch(self, ctx: Context, ev: Page) -> StopEvent | None:
        async with httpx.AsyncClient() as client:
            await client.get(f"{ev.url}/first/{ev.number}")
            await asyncio.sleep(0)
            await client.get(f"{ev.url}/second/{ev.number}")
        return StopEvent() if ctx.collect_events(ev, [Page] * ev.pages) else None


async def test_several_workers(stub, tree):
    """Each request stands under the attempt that made it, however many workers stand still between their requests."""
    await Crawl().run(url=stub.url, pages=12)
    tree.check()
    requests = tree.of_scope("httpx")
    assert len(requests) == 24
    for span in requests:
        above = tree.parent(span)
        assert above.name == "step fetch"
        number = span.attributes["http.url"].rpartition("/")[2]
        assert f'"number":{number},' in above.attributes["input.value"]
    assert {len(tree.under(fetch)) for fetch in tree.named("step fetch")} == {2}


async def test_the_server_is_told(stub, tree):
    """A request carries its span, so that what the server does becomes part of the trace."""
    await Crawl().run(url=stub.url, pages=2)
    told = {request.span_id for request in stub.requests}
    assert told == {f"{span.context.span_id:016x}" for span in tree.of_scope("httpx")}


class Retrying(Workflow):
    @step(retry_policy=ConstantDelayRetryPolicy(delay=0, maximum_attempts=4))
    async def fetch(self, ev: StartEvent) -> StopEvent:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"{ev.url}/often")
        response.raise_for_status()
        return StopEvent(result=response.text)


async def test_retries(stub, tree):
    """Each request stands under its own attempt; the failed ones are told apart."""
    stub.failures[""] = 2
    assert await Retrying().run(url=stub.url) == "hello"
    tree.check()
    attempts = tree.named("step fetch")
    assert [attempt.attributes["otflow.attempt"] for attempt in attempts] == [1, 2, 3]
    statuses = [[span.attributes["http.status_code"] for span in tree.under(attempt)] for attempt in attempts]
    assert statuses == [[500], [500], [200]]
    assert [attempt.status.is_ok for attempt in attempts] == [False, False, True]


class Plain(Workflow):
    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> Page | None:
        for number in range(6):
            ctx.send_event(Page(number=number, url=ev.url, pages=6))

    @step(num_workers=3)
    def fetch(self, ev: Page) -> Fetched:
        httpx.get(f"{ev.url}/{ev.number}")
        return Fetched()

    @step
    async def gather(self, ctx: Context, ev: Fetched) -> StopEvent | None:
        return StopEvent() if ctx.collect_events(ev, [Fetched] * 6) else None


async def test_plain_steps_in_threads(stub, tree):
    """A request from the thread of a plain step stands under its attempt."""
    await Plain().run(url=stub.url)
    tree.check()
    requests = tree.of_scope("httpx")
    assert len(requests) == 6
    for span in requests:
        number = span.attributes["http.url"].rpartition("/")[2]
        assert tree.parent(span).name == "step fetch"
        assert f'"number":{number},' in tree.parent(span).attributes["input.value"]


class Parallel(Workflow):
    @step
    async def fetch(self, ev: StartEvent) -> StopEvent:
        async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(client.get(f"{ev.url}/{number}"))
            with trace.get_tracer("mine", tracer_provider=ev.provider).start_as_current_span("mine"):
                await client.get(f"{ev.url}/within")
        return StopEvent()


async def test_tasks_and_spans_of_a_step(stub, tree, provider):
    """Requests of child tasks stand under the attempt, those within a span of the user under that span."""
    await Parallel().run(url=stub.url, provider=provider)
    tree.check()
    [fetch], [mine] = tree.named("step fetch"), tree.named("mine")
    assert len(tree.under(fetch)) == 4
    [within] = tree.under(mine)
    assert within.attributes["http.url"].endswith("/within")


class Asking(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        async with httpx.AsyncClient() as client:
            await client.get(f"{ev.url}/before")
            await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="Go on?"))
            await client.get(f"{ev.url}/after")
        return StopEvent()


async def test_a_wait_between_requests(stub, tree):
    """What is requested after a pause still has its place in the tree."""
    handler = Asking().run(url=stub.url)
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="yes"))
    await handler
    before, after = tree.of_scope("httpx")
    assert tree.parent(before).name == tree.parent(after).name == "step ask"
    assert len({span.context.trace_id for span in tree.spans()}) == 1


class Outer(Workflow):
    @step
    async def delegate(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await Retrying().run(url=ev.url))


async def test_a_run_within_a_step(stub, tree):
    """A request of a nested run stands under the nested step."""
    await Outer().run(url=stub.url)
    tree.check()
    [request] = tree.of_scope("httpx")
    [fetch] = tree.named("step fetch")
    assert tree.parent(request) is fetch
    assert tree.parent(tree.parent(fetch)).name == "step delegate"


async def test_a_stream_that_nobody_reads_to_its_end(stub, tree):
    """A stream of events that is left early, and closed by another task, leaves no context behind."""
    handler = Asking().run(url=stub.url)
    stream = handler.stream_events()
    await anext(stream)
    await asyncio.create_task(stream.aclose())
    await handler.cancel_run()
    with suppress(WorkflowCancelledByUser):
        await handler
    assert tree.parent(tree.of_scope("httpx")[0]).name == "step ask"
    assert not trace.get_current_span().get_span_context().is_valid
