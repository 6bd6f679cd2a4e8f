"""The cells as OTLP: in the data types of the OpenTelemetry SDK, so that its exporters send them like other metrics.

A reader takes them along with whatever else its meter provider has. What was sent before is remembered, for receivers
that ask for what is new only. Histograms always have the buckets of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import local
from time import time_ns
from typing import cast

import msgspec
from opentelemetry.sdk.metrics import Exemplar as SentExemplar
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics import ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otflow.metrics.cells import Cells, Family, Point, Spread
from otflow.metrics.instruments import Instrument, attributes_of
from otflow.records.semconv import SCOPE

__all__ = ["CellReader", "Outbox"]

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA

_NEVER = Spread((), (), 0.0)


class _Sent(msgspec.Struct):
    """What was sent last, by instrument and labels; `began_at` is since when the cells counted then."""

    began_at: int
    at: int
    points: dict[tuple[str, tuple[str, ...]], int] = {}
    spreads: dict[tuple[str, tuple[str, ...]], Spread] = {}


class Outbox:
    """Turns cells into metrics of the SDK, for one receiver.

    Args:
        cells: the cells.
        preferred: which temporality the receiver wants, by class of instruments, as exporters say it; what is left out
            is cumulative.
        version: the version of otflow that the scope of the metrics names.
    """

    def __init__(
        self, cells: Cells, preferred: Mapping[type, AggregationTemporality] | None = None, version: str = ""
    ) -> None:
        preferred = preferred or {}
        self._cells = cells
        self._scope = InstrumentationScope(SCOPE, version)
        self._of_histograms = preferred.get(HistogramInstrument, _CUMULATIVE)
        self._of_counters = preferred.get(ObservableCounter, _CUMULATIVE)
        self._sent = self._taken = _Sent(0, 0)

    def take(self) -> ScopeMetrics:
        """Return what there is to send now."""
        cells, now = self._cells, time_ns()
        families = cells.collect()
        if self._sent.began_at != cells.began_at:  # the first time, or in a process that was forked
            self._sent = _Sent(cells.began_at, cells.began_at)
        self._taken = _Sent(cells.began_at, now)
        metrics = [self._convert(family, now) for family in families]
        return ScopeMetrics(self._scope, metrics, "")

    def confirm(self) -> None:
        """Note that what was taken last has arrived; otherwise the next one brings it too."""
        self._sent = self._taken

    def _convert(self, family: Family, now: int) -> Metric:
        it = family.instrument
        data: Histogram | Sum
        if it.kind == "histogram":
            data = Histogram([self._spread(it, each, now) for each in family.spreads], self._of_histograms)
        else:
            temporality = self._of_counters if it.kind == "counter" else _CUMULATIVE
            data = Sum([self._number(it, each, now) for each in family.points], temporality, it.kind == "counter")
        return Metric(it.name, it.description, it.unit, data)

    def _number(self, instrument: Instrument, point: Point, now: int) -> NumberDataPoint:
        value, since = point.value, self._sent.began_at
        if instrument.kind == "counter" and self._of_counters is _DELTA:
            key = (instrument.name, point.labels)
            value, since = value - self._sent.points.get(key, 0), self._sent.at
            self._taken.points[key] = point.value
        return NumberDataPoint(attributes_of(instrument, point.labels), since, now, value)

    def _spread(self, instrument: Instrument, spread: Spread, now: int) -> HistogramDataPoint:
        key = (instrument.name, spread.labels)
        last = self._sent.spreads.get(key, _NEVER)
        self._taken.spreads[key] = spread
        counts, total, since = list(spread.counts), spread.sum, self._sent.began_at
        if self._of_histograms is _DELTA:
            since = self._sent.at
            total -= last.sum
            counts = [new - old for new, old in zip(counts, last.counts or [0] * len(counts), strict=True)]
        exemplars = [
            SentExemplar({}, new.value, new.at, new.span_id, new.trace_id)
            for new, old in zip(spread.exemplars, last.exemplars or [None] * len(counts), strict=True)
            if new is not None and new != old  # each is sent once
        ]
        nothing = cast("float", None)  # smallest and largest are not kept; the protocol allows to leave them out
        return HistogramDataPoint(
            attributes_of(instrument, spread.labels),
            since,
            now,
            sum(counts),
            total,
            counts,
            instrument.buckets,
            nothing,
            nothing,
            exemplars,
        )


class _Enclosing(MetricExporter):
    """Puts the cells into whatever an exporter is to send. The SDK calls it from one thread at a time."""

    def __init__(self, exporter: MetricExporter, outbox: Outbox, resource: Resource) -> None:
        aggregation = getattr(exporter, "_preferred_aggregation", None)
        super().__init__(getattr(exporter, "_preferred_temporality", None), aggregation)
        self._exporter = exporter
        self._outbox = outbox
        self._resource = resource

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        own, others = self._outbox.take(), list(metrics_data.resource_metrics)
        if own.metrics:
            first = others[0] if others else ResourceMetrics(self._resource, [], self._resource.schema_url)
            # in one piece: encoders keep one entry for each resource
            scopes = [*first.scope_metrics, own]
            others[:1] = [ResourceMetrics(first.resource, scopes, first.schema_url)]
        if not others:
            return MetricExportResult.SUCCESS
        result = self._exporter.export(MetricsData(others), timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self._outbox.confirm()
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        self._exporter.shutdown(timeout_millis, **kwargs)


class CellReader(PeriodicExportingMetricReader):
    """Sends the cells, together with all other metrics of the meter provider that it is given to.

    It sends them at the interval of OTEL_METRIC_EXPORT_INTERVAL, on `force_flush` and on `shutdown`, whether or not
    the provider has any instrument.

    Args:
        cells: the cells.
        exporter: sends them; whether it wants to know totals or what is new, it says itself.
        resource: where they come from; that of the meter provider.
        version: the version of otflow that the scope of the metrics names.
        interval: milliseconds between two exports; default that of OTEL_METRIC_EXPORT_INTERVAL, or 60,000.
        timeout: milliseconds that an export may take; default that of OTEL_METRIC_EXPORT_TIMEOUT, or 30,000.
    """

    def __init__(
        self,
        cells: Cells,
        exporter: MetricExporter,
        resource: Resource,
        version: str = "",
        interval: float | None = None,
        timeout: float | None = None,
    ) -> None:
        outbox = Outbox(cells, getattr(exporter, "_preferred_temporality", None), version)
        self._here = local()  # the timer and whoever flushes may collect at the same time
        super().__init__(_Enclosing(exporter, outbox, resource), interval, timeout)

    def collect(self, timeout_millis: float = 10_000) -> None:  # type: ignore[misc]  # final, but it may not end early
        """Send everything, also when there is nothing but cells, of which the provider does not know."""
        self._here.sent = False
        super().collect(timeout_millis)
        if not self._here.sent:
            self._receive_metrics(MetricsData([]), timeout_millis)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> None:
        self._here.sent = True
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)
