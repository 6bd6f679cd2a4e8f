"""The ways out: whatever way the cells go, what arrives is what they hold."""

from __future__ import annotations

import logging
import math
import urllib.request

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Counter as SdkCounter
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as read_old

from otflow.errors import WorkflowConfigurationError
from otflow.metrics.cells import Cells
from otflow.metrics.instrumented import instrument
from otflow.metrics.instruments import BY_NAME, INSTRUMENTS, attributes_of, label_name, prometheus_name
from otflow.metrics.otlp import CellReader
from otflow.metrics.prometheus import Collector, serve
from otflow.sinks.metrics import MetricSink
from tests.metrics.counts import House
from tests.metrics.flows import live_a_little, replay_a_little

RESOURCE = Resource({"service.name": "tests"})
DELTA = AggregationTemporality.DELTA

Series = tuple[str, frozenset[tuple[str, object]]]


class Keeper(MetricExporter):
    """Keeps what it is to send, as the bytes that would have been sent, and reads them again."""

    def __init__(self, preferred: dict[type, AggregationTemporality] | None = None) -> None:
        super().__init__(preferred_temporality=preferred)
        self.requests: list[ExportMetricsServiceRequest] = []
        self.closed = False
        self.result = MetricExportResult.SUCCESS

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        sent = encode_metrics(metrics_data).SerializeToString()
        self.requests.append(ExportMetricsServiceRequest.FromString(sent))
        return self.result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        self.closed = True


def expected(cells: Cells) -> dict[Series, object]:
    """Give what the cells hold, by name and attributes: a number, or the counts of the buckets and their sum."""
    found: dict[Series, object] = {}
    for family in cells.collect():
        it = family.instrument
        for point in family.points:
            found[it.name, frozenset(attributes_of(it, point.labels).items())] = point.value
        for spread in family.spreads:
            key = it.name, frozenset(attributes_of(it, spread.labels).items())
            found[key] = (list(spread.counts), pytest.approx(spread.sum))
    return found


def read_otlp(request: ExportMetricsServiceRequest) -> dict[Series, object]:
    """Give what was sent, likewise."""
    found: dict[Series, object] = {}
    for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
        for point in metric.sum.data_points:
            found[metric.name, attributes(point)] = point.as_int
        for point in metric.histogram.data_points:
            found[metric.name, attributes(point)] = (list(point.bucket_counts), point.sum)
    return found


def attributes(point: object) -> frozenset[tuple[str, object]]:
    """Give the attributes of a point."""
    return frozenset((each.key, getattr(each.value, each.value.WhichOneof("value"))) for each in point.attributes)


def read_openmetrics(text: str) -> dict[Series, object]:
    """Give what Prometheus reads, under the names of OpenTelemetry again."""
    names = {prometheus_name(it): it for it in INSTRUMENTS}
    found: dict[Series, object] = {}
    buckets: dict[Series, list[float]] = {}
    sums: dict[Series, float] = {}
    for family in text_string_to_metric_families(text):
        it = names.get(family.name) or names[f"{family.name}_total"]
        labels = {label_name(label): label for label in it.labels}
        for sample in family.samples:
            own = {labels[name]: value for name, value in sample.labels.items() if name != "le" and value}
            truths = {name: value == "true" if name == "otflow.retry" else value for name, value in own.items()}
            key = it.name, frozenset(truths.items())
            if sample.name.endswith("_bucket"):
                buckets.setdefault(key, []).append(sample.value)
            elif sample.name.endswith("_sum"):
                sums[key] = sample.value
            elif not sample.name.endswith("_count"):
                found[key] = sample.value
    for key, counts in buckets.items():
        single = [new - old for new, old in zip(counts, [0, *counts], strict=False)]
        found[key] = (single, sums[key])
    return found


# --- all say the same ---------------------------------------------------------------------------------------


async def test_both_ways_say_the_same():
    """The OTLP bytes and the OpenMetrics text hold exactly what the cells hold."""
    house = House(sampled=lambda _: True)
    async with live_a_little(house):
        keeper = Keeper()
        provider = MeterProvider([CellReader(house.cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
        provider.force_flush()
        registry = CollectorRegistry()
        registry.register(Collector(house.cells))
        wanted = expected(house.cells)
        assert len(wanted) > 30
        assert read_otlp(keeper.requests[-1]) == wanted
        assert read_openmetrics(generate_openmetrics(registry).decode()) == wanted
        provider.shutdown()


async def test_exemplars_are_the_same_both_ways():
    """An exemplar has the same value, time and ids whichever way it goes."""
    house = House(sampled=lambda _: True)
    async with live_a_little(house):
        keeper = Keeper()
        provider = MeterProvider([CellReader(house.cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
        provider.force_flush()
        sent = {
            (metric.name, each.as_double, each.trace_id.hex(), each.span_id.hex(), each.time_unix_nano)
            for resource in keeper.requests[-1].resource_metrics
            for metric in resource.scope_metrics[0].metrics
            for point in metric.histogram.data_points
            for each in point.exemplars
        }
        registry = CollectorRegistry()
        registry.register(Collector(house.cells))
        names = {prometheus_name(it): it.name for it in INSTRUMENTS}
        shown = {
            (
                names[family.name],
                sample.exemplar.value,
                sample.exemplar.labels["trace_id"],
                sample.exemplar.labels["span_id"],
                round(float(sample.exemplar.timestamp) * 1e9),
            )
            for family in text_string_to_metric_families(generate_openmetrics(registry).decode())
            for sample in family.samples
            if sample.exemplar
        }
        assert len(sent) > 5
        assert shown == sent
        provider.force_flush()
        assert not any(
            point.exemplars
            for metric in keeper.requests[-1].resource_metrics[0].scope_metrics[0].metrics
            for point in metric.histogram.data_points
        )  # each is sent once
        provider.shutdown()


# --- Prometheus ---------------------------------------------------------------------------------------------


def fetch(url: str, accept: str) -> tuple[str, str]:
    """Get a page: its type and its text."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


async def test_the_endpoint():
    """Who asks for OpenMetrics gets exemplars, who does not gets the older text, and own metrics stand beside."""
    house, registry = House(sampled=lambda _: True), CollectorRegistry()
    async with live_a_little(house):
        Gauge("mine", "Mine.", registry=registry).set(7)
        endpoint = serve(house.cells, 0, registry=registry)
        assert endpoint.url.startswith("http://127.0.0.1:")
        kind, text = fetch(endpoint.url, "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert ' # {span_id="' in text
        old_kind, old = fetch(endpoint.url, "text/plain")
        assert old_kind.startswith("text/plain")
        assert "# {" not in old
        assert {"mine", "otflow_step_duration_seconds"} <= {family.name for family in read_old(old)}
        endpoint.close()
        with pytest.raises(OSError, match="refused"):
            fetch(endpoint.url, "text/plain")
        assert b"otflow" not in generate_latest(registry)


def test_a_port_that_is_taken():
    """A port that somebody else has is named in the error, and nothing is left behind."""
    first = serve(Cells(), 0, registry=CollectorRegistry())
    port, registry = int(first.url.split(":")[2].partition("/")[0]), CollectorRegistry()
    with pytest.raises(WorkflowConfigurationError, match=f"127.0.0.1:{port}.*Give another port"):
        serve(Cells(), port, registry=registry)
    first.close()
    again = serve(Cells(), port, registry=registry)
    again.close()


@pytest.mark.parametrize("port", [-1, 65536, "9464", True, 1.5])
def test_what_is_no_port(port):
    """A port is a whole number in range."""
    with pytest.raises(WorkflowConfigurationError, match="is no port"):
        serve(Cells(), port)


def test_a_host_that_is_not_ours():
    """An address that this machine does not have is refused in words."""
    with pytest.raises(WorkflowConfigurationError, match=r"203\.0\.113\.1"):
        serve(Cells(), 0, host="203.0.113.1")


# --- OTLP ---------------------------------------------------------------------------------------------------


def test_cells_go_out_without_any_instrument():
    """The reader sends the cells on flush and on shutdown although its provider has nothing to send."""
    cells, keeper = Cells(), Keeper()
    replay_a_little(MetricSink(cells))
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, "1.2", interval=math.inf)], RESOURCE)
    provider.force_flush()
    (resource,) = keeper.requests[0].resource_metrics
    assert [each.value.string_value for each in resource.resource.attributes] == ["tests"]
    (scope,) = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("otflow", "1.2")
    assert {metric.name for metric in scope.metrics} <= set(BY_NAME)
    provider.shutdown()
    assert keeper.closed


def test_the_timer_sends_and_so_does_the_end():
    """With an interval the reader sends by itself; what came since then goes out on shutdown."""
    cells, keeper = Cells(), Keeper()
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=60_000)], RESOURCE)
    replay_a_little(MetricSink(cells))
    provider.shutdown()
    assert read_otlp(keeper.requests[-1]) == expected(cells)


def test_users_metrics_go_out_together_with_the_cells():
    """What users measure themselves and what otflow counts are one request, under one resource."""
    cells, keeper = Cells(), Keeper()
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
    provider.get_meter("theirs").create_counter("mine").add(3)
    replay_a_little(MetricSink(cells))
    provider.force_flush()
    (resource,) = keeper.requests[0].resource_metrics
    assert [each.scope.name for each in resource.scope_metrics] == ["theirs", "otflow"]
    assert read_otlp(keeper.requests[0])["mine", frozenset()] == 3
    provider.shutdown()


def test_nothing_is_sent_of_nothing():
    """As long as there is nothing at all, nothing is sent."""
    keeper = Keeper()
    provider = MeterProvider([CellReader(Cells(), keeper, RESOURCE, interval=math.inf)], RESOURCE)
    provider.force_flush()
    provider.shutdown()
    assert keeper.requests == []


def test_totals_since_the_beginning():
    """By default every value is a total since the cells began, gauges included."""
    cells, keeper = Cells(), Keeper()
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
    for _ in range(2):
        replay_a_little(MetricSink(cells))
        provider.force_flush()
    key = ("otflow.state.writes", frozenset({("otflow.workflow.name", "Flow")}))
    assert [read_otlp(request)[key] for request in keeper.requests] == [1, 2]
    for point in points(keeper.requests[1]):
        assert point.start_time_unix_nano == cells.began_at < point.time_unix_nano
    provider.shutdown()


def points(request: ExportMetricsServiceRequest) -> list[object]:
    """Give all points of a request."""
    metrics = [m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return [point for m in metrics for point in (*m.sum.data_points, *m.histogram.data_points)]


def test_only_what_is_new():
    """A receiver that wants it so gets the difference to the last time, and the times touch each other."""
    cells, keeper = Cells(), Keeper({SdkCounter: DELTA, SdkHistogram: DELTA, ObservableCounter: DELTA})
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
    sink = MetricSink(cells)
    replay_a_little(sink)
    total = expected(cells)
    provider.force_flush()
    replay_a_little(sink)
    provider.force_flush()
    provider.force_flush()
    first, second, third = (read_otlp(request) for request in keeper.requests)
    gauges = {key for key in total if BY_NAME[key[0]].kind == "gauge"}
    assert first == second == total
    assert {value for key, value in third.items() if key not in gauges and isinstance(value, int)} == {0}
    assert {sum(value[0]) for value in third.values() if isinstance(value, tuple)} == {0}
    moving = [p for p in points(keeper.requests[1]) if p.start_time_unix_nano != cells.began_at]
    assert {p.start_time_unix_nano for p in moving} == {points(keeper.requests[0])[0].time_unix_nano}
    provider.shutdown()


def test_what_did_not_arrive_is_still_new():
    """What an export did not bring, the next one brings, also to a receiver that wants only what is new."""
    cells, keeper = Cells(), Keeper({SdkCounter: DELTA, SdkHistogram: DELTA, ObservableCounter: DELTA})
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
    sink = MetricSink(cells)
    replay_a_little(sink)
    keeper.result = MetricExportResult.FAILURE
    provider.force_flush()
    replay_a_little(sink)
    keeper.result = MetricExportResult.SUCCESS
    provider.force_flush()
    assert read_otlp(keeper.requests[1]) == expected(cells)
    provider.shutdown()


def test_the_stock_exporter_says_which_it_wants(monkeypatch):
    """OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE is respected, because the stock exporter reads it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    cells = Cells()
    reader = CellReader(cells, OTLPMetricExporter("http://127.0.0.1:1/v1/metrics"), RESOURCE, interval=math.inf)
    assert reader._exporter._outbox._of_counters is DELTA
    assert reader._exporter._outbox._of_histograms is DELTA


def test_a_forked_process_begins_anew():
    """After the cells have been renewed, totals and differences begin at zero again."""
    cells, keeper = Cells(), Keeper({SdkHistogram: DELTA, ObservableCounter: DELTA})
    sink = MetricSink(cells)
    provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
    for _ in range(3):
        replay_a_little(sink)
    provider.force_flush()
    sink.renew()
    replay_a_little(sink)
    provider.force_flush()
    assert read_otlp(keeper.requests[1]) == expected(cells)
    provider.shutdown()


def test_the_encoder_has_nothing_to_complain(caplog):
    """The SDK finds no fault with what it is given."""
    cells, keeper = Cells(), Keeper()
    replay_a_little(MetricSink(cells))
    with caplog.at_level(logging.WARNING):
        provider = MeterProvider([CellReader(cells, keeper, RESOURCE, interval=math.inf)], RESOURCE)
        provider.force_flush()
        provider.shutdown()
    assert caplog.records == []


# --- somebody else's provider -------------------------------------------------------------------------------


def read_memory(reader: InMemoryMetricReader) -> dict[Series, object]:
    """Give what a provider holds, by name and attributes."""
    found: dict[Series, object] = {}
    data = reader.get_metrics_data()
    for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics) if data else ():
        for point in metric.data.data_points:
            key = metric.name, frozenset(point.attributes.items())
            found[key] = point.value if hasattr(point, "value") else (list(point.bucket_counts), point.sum)
    return found


async def test_a_provider_of_the_user():
    """The instruments in somebody else's provider show what cells would hold, with the buckets of the table."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE)
    cells, close = instrument(provider, drops=lambda: {("spans", "full"): 2})
    house, other = House(sampled=lambda _: True), Cells(drops=lambda: {("spans", "full"): 2})
    mine = MetricSink(other, house.dispatcher.runs)
    house.detach()
    house.cells = cells
    detach = house.dispatcher.attach(MetricSink(cells, house.dispatcher.runs, lambda _: True), patient=True)
    house.dispatcher.attach(mine, patient=True)
    async with live_a_little(house):
        wanted = expected(other)
        found = read_memory(reader)
        assert {key: value for key, value in found.items() if value != 0} == {
            key: value
            for key, value in wanted.items()
            if value != 0 and (not isinstance(value, tuple) or any(value[0]))
        }
        detach()
        close()
        assert {key[0] for key in read_memory(reader) if BY_NAME[key[0]].kind != "histogram"} == set()


def test_a_provider_shows_the_latest_cells():
    """A provider keeps its instruments; they show the cells that were made last, without a complaint."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE)
    _, close = instrument(provider)
    cells, _ = instrument(provider)
    close()  # too late: others are shown by now
    replay_a_little(MetricSink(cells))
    key = ("otflow.state.writes", frozenset({("otflow.workflow.name", "Flow")}))
    assert read_memory(reader)[key] == 1


def test_exemplars_in_a_provider_of_the_user():
    """The provider takes exemplars of sampled runs only, and they name the span of the attempt."""
    reader = InMemoryMetricReader()
    cells, _ = instrument(MeterProvider([reader], RESOURCE))
    own = Cells()
    replay_a_little(MetricSink(cells, sampled=lambda _: True))
    replay_a_little(MetricSink(own, sampled=lambda _: True))
    replay_a_little(MetricSink(cells, sampled=lambda _: False), run="unsampled")
    data = reader.get_metrics_data()
    metrics = {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    for name in ("otflow.step.duration", "otflow.run.duration"):
        taken = {(e.trace_id, e.span_id) for p in metrics[name].data.data_points for e in p.exemplars}
        (spread, *_) = own.family(BY_NAME[name]).spreads
        assert taken == {(e.trace_id, e.span_id) for e in spread.exemplars if e is not None}
