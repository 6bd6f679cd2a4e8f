"""The cells as instruments of a meter provider that somebody else set up: Logfire, a distribution, a program.

Counters and gauges are asked when the provider collects. Histograms are recorded at once, in the context of the span
that they come from, so that the provider takes exemplars if it wants any; which buckets they have, is its decision in
the end. This costs ten times what a cell costs: whoever owns the provider uses `otflow.metrics.otlp`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.metrics import Histogram as MeterHistogram
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otflow.metrics.cells import Cells, Drops, Origin, scale_of
from otflow.metrics.instruments import BY_NAME, Instrument, attributes_of
from otflow.records.semconv import SCOPE
from otflow.records.span import derive_span_id

__all__ = ["instrument"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOWHERE = set_span_in_context(INVALID_SPAN, Context())  # an empty context would be taken for none


class _Recorded:
    """A cell that records into a histogram of the provider."""

    __slots__ = ("_attributes", "_histogram", "_scale")

    def __init__(self, histogram: MeterHistogram, attributes: dict[str, str | bool], scale: int) -> None:
        self._histogram = histogram
        self._attributes = attributes
        self._scale = scale

    def observe(self, value: int, at: int, origin: Origin | None, seq: int) -> None:
        context = _NOWHERE
        if origin is not None:
            span = SpanContext(origin[0], derive_span_id(origin[1], seq), is_remote=False, trace_flags=_SAMPLED)
            context = set_span_in_context(NonRecordingSpan(span), _NOWHERE)
        self._histogram.record(value / self._scale, self._attributes, context)


class _Meters:
    """The instruments in one provider. It keeps them for ever, so whose cells they show can change.

    Attributes:
        cells: those that it shows; None for none.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._histograms: dict[str, MeterHistogram] = {}
        self.cells: Cells | None = None
        for it in BY_NAME.values():
            if it.kind == "counter":
                meter.create_observable_counter(it.name, [self._ask(it)], it.unit, it.description)
            elif it.kind == "gauge":
                meter.create_observable_up_down_counter(it.name, [self._ask(it)], it.unit, it.description)

    def make(self, it: Instrument, labels: tuple[str, ...]) -> _Recorded:
        """Make the cell of a new series."""
        histogram = self._histograms.get(it.name)
        if histogram is None:
            histogram = self._meter.create_histogram(
                it.name, it.unit, it.description, explicit_bucket_boundaries_advisory=it.buckets
            )
            self._histograms[it.name] = histogram
        return _Recorded(histogram, attributes_of(it, labels), scale_of(it))

    def _ask(self, it: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def answer(_: CallbackOptions) -> Iterable[Observation]:
            points = self.cells.family(it).points if self.cells is not None else ()
            return [Observation(point.value, attributes_of(it, point.labels)) for point in points]

        return answer


_known: weakref.WeakKeyDictionary[MeterProvider, _Meters] = weakref.WeakKeyDictionary()
"""What was made already: a provider refuses the same instrument a second time."""


def instrument(
    provider: MeterProvider, version: str = "", drops: Drops | None = None, opt_in: Iterable[str] = ()
) -> tuple[Cells, Callable[[], None]]:
    """Make cells that stand in a meter provider.

    Args:
        provider: the provider; it shows one set of cells at a time, the latest.
        version: the version of otflow that the scope of the metrics names.
        drops: as for `Cells`.
        opt_in: as for `Cells`.

    Returns:
        The cells, and the function after which the provider no longer shows them.
    """
    meters = _known.get(provider)
    if meters is None:
        meters = _known[provider] = _Meters(provider.get_meter(SCOPE, version or None))
    cells = meters.cells = Cells(meters.make, drops=drops, opt_in=opt_in)

    def close() -> None:
        if meters.cells is cells:
            meters.cells = None

    return cells, close
