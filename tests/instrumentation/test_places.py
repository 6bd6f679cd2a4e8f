"""Runs are traced wherever they run: in a web service, a notebook, several loops, and after a fork."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest
from opentelemetry import trace

from otflow import Event, StartEvent, StopEvent, Workflow, step
from tests.instrumentation.launch import launch, serving
from tests.otlp_sink import GENEROUS, Sink, receiving


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Receive OTLP over HTTP."""
    with receiving() as sink:
        yield sink


async def call(address: str, count: int) -> list[object]:
    """Call a service several times at once, each time from a span of our own."""
    async with httpx.AsyncClient(timeout=GENEROUS) as client:
        headers = [{"traceparent": f"00-{number:032x}-{number:016x}-01"} for number in range(1, count + 1)]
        answers = await asyncio.gather(*(client.get(f"{address}/order", headers=each) for each in headers))
    return [answer.json() for answer in answers]


async def test_uvicorn(stub, sink):
    """Under uvicorn the run of each request stands under its span, in the trace of whoever sent it."""
    with serving("with_uvicorn", sink.endpoint, stub.url, "flush") as (service, address):
        assert await call(address, 8) == [["hello", "hello"]] * 8
        service.send_signal(signal.SIGTERM)
        _, err = await asyncio.to_thread(service.communicate, timeout=GENEROUS)
    assert err == "ordering\n" * 8
    requests = {each.ids for each in sink.spans if each.data.name == "GET /order"}
    assert {trace_id for trace_id, _ in requests} == {f"{number:032x}" for number in range(1, 9)}
    for each in sink.spans:
        if each.data.name == "invoke_workflow Shop":
            assert (each.data.trace_id.hex(), each.data.parent_span_id.hex()) in requests
    assert Counter(each.data.name for each in sink.spans if each.scope == "otflow") == {
        "invoke_workflow Shop": 8,
        "step order": 8,
        "step fetch": 16,
        "step pack": 16,
    }
    tree = sink.tree()
    assert (tree["invoke_workflow Shop"], tree["GET"]) == ("GET /order", "step fetch")
    assert {name for name, parent in tree.items() if parent == "?"} == {"GET /order"}  # whose parent is the caller


def test_a_notebook(sink, tmp_path):
    """In cells, awaited at the top of a cell or in a later one, runs are traced, and no cell leaves its span behind."""
    _, err = launch("with_ipython", sink.endpoint, "", IPYTHONDIR=str(tmp_path))
    assert err == ""
    names = {each.ids: each.data.name for each in sink.spans}
    roots = [each for each in sink.spans if each.data.name == "invoke_workflow Cell"]
    parents = [names.get((each.data.trace_id.hex(), each.data.parent_span_id.hex())) for each in roots]
    assert sorted(map(str, parents)) == ["None", "None", "cell"]
    inner = {name: parent for name, parent in sink.tree().items() if name.startswith("inside")}
    assert inner == dict.fromkeys(("inside awaited", "inside later", "inside streamed"), "step work")
    assert {each.resource["service.name"] for each in sink.spans} == {"notebook"}


class Ping(Event):
    number: int


class Rally(Workflow):
    """Sends a ball to and fro, and says in a span of its own who plays."""

    @step
    async def serve(self, ev: StartEvent) -> Ping:
        ev.barrier.wait(GENEROUS)
        return Ping(number=40, who=ev.who)

    @step
    async def play(self, ev: Ping) -> Ping | StopEvent:
        with trace.get_tracer("mine").start_as_current_span(ev.who):
            await asyncio.sleep(0)
        return Ping(number=ev.number - 1, who=ev.who) if ev.number else StopEvent(result=ev.who)


def test_loops_in_several_threads(tree, provider, monkeypatch):
    """Runs in several loops at once, each in a thread of its own, keep to their own traces."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    players = ["ann", "bob", "cyd"]
    barrier = Barrier(len(players))

    async def main(who: str) -> str:
        return await Rally().run(who=who, barrier=barrier)

    with ThreadPoolExecutor(len(players)) as threads:
        assert list(threads.map(lambda who: asyncio.run(main(who)), players)) == players
    for who in players:
        spans = tree.named(who)
        assert len(spans) == 41
        assert len({span.context.trace_id for span in spans}) == 1
        assert {tree.parent(span).name for span in spans} == {"step play"}
    assert len({span.context.trace_id for span in tree.spans()}) == 3
    assert len(tree.named("invoke_workflow Rally")) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forks(sink):
    """A child's runs arrive as the child's, each once; those of the parent go on, even one in whose midst it forked."""
    out, _ = launch("with_forks", sink.endpoint)
    runs = dict(line.split() for line in out.splitlines())
    assert sorted(runs) == ["after", "before", "fork", "splits", "worker"]
    arrived = Counter(
        each.attributes["otflow.run.id"] for each in sink.spans if each.data.name.startswith("invoke_workflow")
    )
    assert arrived == dict.fromkeys(runs.values(), 1)
    homes = {
        who: {each.resource["service.instance.id"] for each in sink.spans if each.attributes["otflow.run.id"] == id}
        for who, id in runs.items()
    }
    assert homes["before"] == homes["splits"] == homes["after"]
    assert len({instance for instances in homes.values() for instance in instances}) == 3
    assert set(sink.tree().values()) == {"", "invoke_workflow Greet", "invoke_workflow Splits"}
