"""Metrics by OTLP, over the same ways as spans. A receiver that takes no metrics is asked once, then left in peace."""

from __future__ import annotations

import logging

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)

from otflow.pipeline.target import Refused, Sender, Sent, Target

__all__ = ["OtlpMetrics", "connect"]

_log = logging.getLogger("otflow.telemetry")
_DELTA = AggregationTemporality.DELTA
_TEMPORALITIES: dict[str, dict[type, AggregationTemporality]] = {
    "cumulative": {},
    "delta": {Counter: _DELTA, Histogram: _DELTA, ObservableCounter: _DELTA},
    "lowmemory": {Counter: _DELTA, Histogram: _DELTA},
}
"""What OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE means; other instruments are cumulative."""
_SECONDS = 1000


def connect(target: Target) -> Sender:
    """Make a sender of metrics. The library for it is loaded now."""
    if target.protocol == "grpc":
        from otflow.pipeline.grpc import METRICS, GrpcSender

        return GrpcSender(target, METRICS)
    from otflow.pipeline.http import HttpSender

    return HttpSender(target)


class OtlpMetrics(MetricExporter):
    """Sends metrics; what one export does not bring, the next one does, because they are sums.

    Args:
        target: the receiver.
        temporality: what it prefers: "cumulative", "delta" or "lowmemory"; default "cumulative".
    """

    def __init__(self, target: Target, temporality: str = "cumulative") -> None:
        super().__init__(preferred_temporality=dict(_TEMPORALITIES[temporality]))
        self._target = target
        self._sender: Sender | None = None
        self._refused = False
        self._told = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        """Send what there is, once; the next export is the next attempt."""
        if self._refused:
            return MetricExportResult.SUCCESS  # so that nobody reports a failure once a minute
        if self._sender is None:
            self._sender = connect(self._target)
        request = encode_metrics(metrics_data).SerializePartialToString()
        answer = self._sender.send(request, min(self._target.timeout, timeout_millis / _SECONDS))
        if isinstance(answer, Sent):
            self._told = False
            return MetricExportResult.SUCCESS
        self._refused = isinstance(answer, Refused)
        if not self._told:
            self._told = True
            hint = " OTEL_METRICS_EXPORTER=none says that none are to be sent." if self._refused else ""
            _log.warning("%s does not take metrics (%s).%s", self._target.place, answer.reason, hint)
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing: nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Close the connection."""
        if self._sender is not None:
            self._sender.close()
