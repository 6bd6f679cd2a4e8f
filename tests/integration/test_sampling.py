"""The variants for production: what is kept, what is dropped, and what a crash in the middle costs."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Status, StatusCode, format_trace_id, set_span_in_context

from stack.process import Process, find_free_ports, kill_process
from stack.servers import Collector, Jaeger, Phoenix, Plan, plan_collector, plan_jaeger
from tests.integration.reading import (
    read_archive,
    read_jaeger,
    read_phoenix,
    read_text,
    span_ids,
    unique,
    wait_for,
    wait_for_spans,
)
from tests.integration.sending import Dull, Failing, Retrying, ids, provider, run, watched

Start = Callable[[Plan], Process]

QUICK = {
    "COLLECTOR_DECISION_WAIT": "6s",
    "COLLECTOR_DECISION_WAIT_AFTER_ROOT": "2s",
    "COLLECTOR_SLOW_MS": "5000",
    "COLLECTOR_KEEP_PERCENT": "0",
    "COLLECTOR_SPAN_METRICS_INTERVAL": "1s",
}


def address(url: str) -> str:
    """Give host and port of a URL."""
    return url.removeprefix("http://")


def plan_sampler(work: Path, jaeger: Jaeger, phoenix: Phoenix, **more: str) -> tuple[Plan, Collector]:
    """Plan a sampler that decides quickly, and keeps nothing without a reason."""
    settings = {**QUICK, **more, "COLLECTOR_JAEGER": address(jaeger.otlp_grpc), "COLLECTOR_PHOENIX": phoenix.url}
    return plan_collector(work, "production-sampler", find_free_ports(5), settings)


def plan_gateway(work: Path, samplers: Sequence[Collector]) -> tuple[Plan, Collector]:
    """Plan a gateway in front of samplers."""
    listed = ",".join(address(sampler.otlp_grpc) for sampler in samplers)
    return plan_collector(work, "production-gateway", find_free_ports(5), {"COLLECTOR_SAMPLERS": f"[{listed}]"})


def count_dropped(sampler: Collector) -> int:
    """Tell how many traces a sampler has decided not to keep."""
    rows = re.findall(
        r'^otelcol_processor_tail_sampling_global_count_traces_sampled\w*\{.*?sampled="false".*?\} (\d+)',
        read_text(sampler.own_metrics),
        re.MULTILINE,
    )
    return sum(map(int, rows))


def make_trace(tracer: Tracer, seconds: float = 0.01, **attributes: bool | int | str) -> str:
    """Make a trace of a root and a child that took some time; the attributes are the child's. Give its id."""
    end = time.time_ns()
    begin = end - int(seconds * 1e9)
    root = tracer.start_span("root", start_time=begin)
    named = {f"otflow.{name}": value for name, value in attributes.items()}
    tracer.start_span("child", set_span_in_context(root), start_time=begin, attributes=named).end(end)
    root.end(end)
    return format_trace_id(root.get_span_context().trace_id)


async def test_what_went_wrong_is_kept_whole(work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """A run with an error or a retry is kept with all its spans; a dull one is dropped, but counted and archived."""
    plan, sampler = plan_sampler(work, jaeger, phoenix)
    start(plan)
    service = unique("sampled")
    with watched(sampler.otlp_http, service) as dull:
        dropped = [await run(Dull()) for _ in range(5)]
    with watched(sampler.otlp_http, service) as notable:
        kept = {await run(Failing()), await run(Retrying())}
    wait_for(lambda: count_dropped(sampler) == len(dropped))
    spans = len(ids(notable))
    wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), spans)
    found = read_jaeger(jaeger, service)
    assert set(found) == kept
    assert span_ids(found) == ids(notable)
    found = wait_for_spans(lambda: read_phoenix(phoenix, service), spans)
    assert {span["context"]["span_id"] for span in found} == ids(notable)
    archived = {span["spanId"] for span in read_archive(sampler.archive, service)}
    assert archived == ids(notable) | ids(dull)
    wait_for(lambda: count_calls(sampler, service) == len(archived))


def count_calls(sampler: Collector, service: str) -> int:
    """Tell how many spans of a service a sampler has counted."""
    counter = rf'^traces_span_metrics_calls_total\{{.*job="{service}".*\}} (\d+)'
    return sum(map(int, re.findall(counter, read_text(sampler.metrics), re.MULTILINE)))


def test_every_reason_to_keep_a_trace_works(work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """Slow, forced, tried again, ended badly, waiting, resumed, open for long: each keeps a trace, and nothing else."""
    plan, sampler = plan_sampler(work, jaeger, phoenix)
    start(plan)
    service = unique("reasons")
    outcomes = ("error", "timeout", "cancelled", "crashed", "waiting", "paused")
    with provider(sampler.otlp_http, service) as made:
        tracer = made.get_tracer("test")
        kept = {make_trace(tracer, outcome=outcome) for outcome in outcomes}
        kept |= {make_trace(tracer, keep=True), make_trace(tracer, seconds=7), make_trace(tracer, attempt=2)}
        kept |= {make_trace(tracer, pending=True), make_trace(tracer, segment=1)}
        dull = [
            make_trace(tracer, keep=False),
            make_trace(tracer, outcome="ok", segment=0, attempt=1),
            make_trace(tracer, outcome="buffered"),
        ]
    wait_for(lambda: count_dropped(sampler) == len(dull))
    wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 2 * len(kept))
    found = read_jaeger(jaeger, service)
    assert {trace: len(spans) for trace, spans in found.items()} == dict.fromkeys(kept, 2)


def test_what_comes_late_is_not_lost(work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """Late spans of a kept trace are kept; of a dropped one, those that are a reason to keep it, and no others."""
    plan, sampler = plan_sampler(work, jaeger, phoenix)
    start(plan)
    service = unique("late")
    reasons = {"dull": {}, "failing": {}, "slow": {}, "noted": {"otflow.keep": True}}
    with provider(sampler.otlp_http, service) as made:
        tracer = made.get_tracer("test")
        late = {}
        for count, (name, attributes) in enumerate(reasons.items(), 1):
            root = tracer.start_span(name, attributes=attributes, start_time=time.time_ns())
            late[name] = set_span_in_context(root)
            root.end()
            made.force_flush()
            if attributes:
                wait_for(lambda: read_jaeger(jaeger, service))
            else:
                wait_for(lambda count=count: count_dropped(sampler) == count)
        for _ in range(2):
            make_trace(tracer)
        made.force_flush()
        wait_for(lambda: count_dropped(sampler) == 5)  # and nothing is in memory any more of those before
        end = time.time_ns()
        for name, context in late.items():
            begin = end - (7 * 10**9 if name == "slow" else 10**6)
            span = tracer.start_span(f"late in {name}", context, start_time=begin)
            if name == "failing":
                span.set_status(Status(StatusCode.ERROR, "broken"))
            span.end(end)
    wait_for(lambda: count_dropped(sampler) == 6)
    wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 4)
    found = [span["operationName"] for spans in read_jaeger(jaeger, service).values() for span in spans]
    assert sorted(found) == ["late in failing", "late in noted", "late in slow", "noted"]


def test_a_long_run_is_whole_though_it_fails_late(work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """A run that announces what is open is kept from then on, so that it has all its spans when it fails."""
    plan, sampler = plan_sampler(work, jaeger, phoenix)
    start(plan)
    service = unique("long")
    with provider(sampler.otlp_http, service) as made:
        tracer = made.get_tracer("test")
        root = tracer.start_span("run")
        context = set_span_in_context(root)
        tracer.start_span("first step", context).end()
        tracer.start_span("run_started", context, attributes={"otflow.pending": True}).end()
        made.force_flush()
        wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 2)
        tracer.start_span("second step", context).end()
        root.set_status(Status(StatusCode.ERROR, "broken"))
        root.end()
    found = wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 4)
    assert {span["operationName"] for span in found} == {"run", "first step", "run_started", "second step"}


def test_the_share_of_the_rest_is_drawn_by_the_trace(
    work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix
) -> None:
    """Of a trace that is there by chance all spans are, also those that were decided about later."""
    plan, sampler = plan_sampler(work, jaeger, phoenix, COLLECTOR_KEEP_PERCENT="50")
    start(plan)
    service = unique("share")
    with provider(sampler.otlp_http, service) as made:
        tracer = made.get_tracer("test")
        roots = [tracer.start_span("root") for _ in range(40)]
        for root in roots:
            root.end()
        made.force_flush()
        wait_for(lambda: count_dropped(sampler) + len(read_jaeger(jaeger, service)) == len(roots))
        dropped = count_dropped(sampler)
        for root in roots:
            tracer.start_span("late", set_span_in_context(root)).end()
    wait_for(lambda: count_dropped(sampler) == 2 * dropped)
    found = wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 2 * (len(roots) - dropped))
    assert 0 < dropped < len(roots)
    assert len({span["traceID"] for span in found}) == len(roots) - dropped


def count_backlog(collector: Collector) -> int:
    """Tell how much waits in the queues of a collector."""
    rows = re.findall(r"^otelcol_exporter_queue_size\{.*?\} (\d+)", read_text(collector.own_metrics), re.MULTILINE)
    return sum(map(int, rows))


def test_the_queue_survives_a_kill(work: Path, start: Start, phoenix: Phoenix) -> None:
    """What is sent comes to all backends, though one was away, and the collector was killed and started again."""
    jaeger_plan, jaeger = plan_jaeger(work, *find_free_ports(3))
    settings = {"COLLECTOR_JAEGER": address(jaeger.otlp_grpc), "COLLECTOR_PHOENIX": phoenix.url}
    plan, collector = plan_collector(work, "laptop", find_free_ports(5), settings)
    running = start(plan)
    service = unique("killed")
    sent: set[str] = set()
    with provider(collector.otlp_http, service) as made:
        for batch in range(20):
            sent |= {make_trace(made.get_tracer("test")) for _ in range(50)}
            if batch == 9:
                made.force_flush()
                wait_for(lambda: count_backlog(collector) > 0)
                kill_process(running)
                sent |= {make_trace(made.get_tracer("test")) for _ in range(50)}
                start(plan)
            made.force_flush()
    start(jaeger_plan)
    found = wait_for_spans(lambda: chain(*read_jaeger(jaeger, service).values()), 2 * len(sent))
    assert {span["traceID"].zfill(32) for span in found} == sent
    assert len({span["spanID"] for span in found}) == 2 * len(sent)
    wait_for(lambda: {span["context"]["trace_id"] for span in read_phoenix(phoenix, service)} == sent)


@dataclass(frozen=True)
class Tiers:
    """The two tiers of production, with all they consist of."""

    gateway: Collector
    gateway_plan: Plan
    running: Process
    samplers: tuple[Collector, Collector]
    sampler_plans: tuple[Plan, Plan]


@pytest.fixture
def tiers(work: Path, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> Tiers:
    """Start a gateway and plan two samplers."""
    planned = [plan_sampler(work / name, jaeger, phoenix) for name in ("one", "two")]
    gateway_plan, gateway = plan_gateway(work / "gateway", [sampler for _, sampler in planned])
    (first, one), (second, two) = planned
    return Tiers(gateway, gateway_plan, start(gateway_plan), (one, two), (first, second))


async def test_two_tiers(tiers: Tiers, start: Start, jaeger: Jaeger, phoenix: Phoenix) -> None:
    """Each trace comes to one sampler with all its spans, masked; what is notable comes to the backends whole."""
    for plan in tiers.sampler_plans:
        start(plan)
    service = unique("tiers")
    with watched(tiers.gateway.otlp_http, service) as dull:
        for _ in range(20):
            await run(Dull(), password="hunter2")
    with watched(tiers.gateway.otlp_http, service) as notable:
        kept = {await run(Failing(), password="hunter2"), await run(Retrying())}
    everything = ids(dull) | ids(notable)

    def archived() -> list[dict[str, set[str]]]:
        found = []
        for sampler in tiers.samplers:
            traces = defaultdict(set)
            for span in read_archive(sampler.archive, service):
                traces[span["traceId"]].add(span["spanId"])
            found.append(traces)
        return found

    wait_for(lambda: set().union(*(set().union(*traces.values()) for traces in archived())) == everything)
    one, two = archived()
    assert one
    assert two
    assert set(one) & set(two) == set()
    wait_for(lambda: span_ids(read_jaeger(jaeger, service)) == ids(notable))
    assert set(read_jaeger(jaeger, service)) == kept
    spans = wait_for_spans(lambda: read_phoenix(phoenix, service), len(ids(notable)))
    shown = json.dumps([spans, read_jaeger(jaeger, service), [s.archive.read_text() for s in tiers.samplers]])
    assert "hunter2" not in shown
    assert "****" in shown


def test_a_gateway_loses_nothing(tiers: Tiers, start: Start) -> None:
    """What a gateway accepted while no sampler was there, before it was killed, comes to the samplers afterwards."""
    service = unique("gateway")
    with provider(tiers.gateway.otlp_http, service) as made:
        sent = {make_trace(made.get_tracer("test"), keep=True) for _ in range(200)}
    wait_for(lambda: count_backlog(tiers.gateway) > 0)
    kill_process(tiers.running)
    for plan in (*tiers.sampler_plans, tiers.gateway_plan):
        start(plan)
    found: set[str] = set()

    def arrive() -> bool:
        spans = [span for sampler in tiers.samplers for span in read_archive(sampler.archive, service)]
        found.update(span["traceId"] for span in spans)
        return found == sent and len({span["spanId"] for span in spans}) == 2 * len(sent)

    wait_for(arrive)
