"""The ways out for metrics: which cells are filled, and who shows them or sends them.

Everybody who wants the metrics of this process gets them from the same cells; only a meter provider of the user, and
the files that several processes share, need cells of their own. It knows cells and exporters, and no run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from opentelemetry import metrics

from otflow.dispatcher import Dispatcher
from otflow.errors import WorkflowConfigurationError
from otflow.metrics.cells import Cells, Drops
from otflow.sinks.metrics import Sampled, attach
from otflow.telemetry.choices import Choices, OwnMeters, aim, find_meters
from otflow.telemetry.environment import Environment
from otflow.telemetry.process import Bound

__all__ = ["Measuring", "open_metrics"]

_log = logging.getLogger("otflow.telemetry")


class Measuring(NamedTuple):
    """What is counted in this process, and the function that ends it."""

    cells: Cells
    close: Callable[[], None]


def open_metrics(
    dispatcher: Dispatcher, choices: Choices, wanted: Environment, drops: Drops, sampled: Sampled, bound: Bound
) -> Measuring:
    """Count what the runs of a dispatcher do, and show it to those who want it.

    Args:
        dispatcher: whose runs.
        choices: what `configure` was called with.
        wanted: what the environment asks for.
        drops: gives what is lost on the way out.
        sampled: tells by the id of a run whether its spans go out.
        bound: how much time there is for the end.

    Raises:
        WorkflowConfigurationError: the port is taken.
    """
    with ExitStack() as ends:
        cells = Cells(drops=drops, opt_in=wanted.opt_in)
        ends.callback(attach(dispatcher, cells, sampled))
        theirs = find_meters(choices) if choices.metrics is not False else None
        if theirs is not None:
            from otflow.metrics.instrumented import instrument
            from otflow.telemetry.tracing import read_version

            instruments, end = instrument(theirs, read_version(), drops, wanted.opt_in)
            ends.callback(end)
            ends.callback(attach(dispatcher, instruments, sampled))
        elif choices.metrics or (choices.metrics is None and set(wanted.metrics) & {"otlp", "console"}):
            ends.callback(_send(cells, choices, wanted, bound))
        _serve(ends, dispatcher, cells, choices, wanted, drops)
        return Measuring(cells, ends.pop_all().close)


def _serve(
    ends: ExitStack, dispatcher: Dispatcher, cells: Cells, choices: Choices, wanted: Environment, drops: Drops
) -> None:
    """Let metrics be scraped, if that is wanted."""
    port = choices.prometheus_port or wanted.prometheus_port
    if not port:
        return
    from otflow.metrics.multiprocess import SharedCells, is_wanted
    from otflow.metrics.prometheus import serve

    if is_wanted():
        shared = SharedCells(drops, frozenset(wanted.opt_in))
        ends.callback(shared.close)
        ends.callback(attach(dispatcher, shared))
    host = choices.prometheus_host if choices.prometheus_port else wanted.prometheus_host
    try:
        ends.callback(serve(cells, port, host).close)
    except WorkflowConfigurationError as error:
        if choices.prometheus_port:
            raise
        _log.warning("OTFLOW_PROMETHEUS_PORT=%d: %s", port, error)  # never the end of a program


def _send(cells: Cells, choices: Choices, wanted: Environment, bound: Bound) -> Callable[[], None]:
    """Make a meter provider that sends the cells; the global one of it if there is none."""
    from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter

    from otflow.metrics.otlp import CellReader
    from otflow.telemetry.sending import OtlpMetrics
    from otflow.telemetry.tracing import describe_service, read_version

    resource = describe_service(choices.service_name or "")
    exporters: list[MetricExporter] = []
    if choices.metrics or "otlp" in wanted.metrics:
        exporters.append(OtlpMetrics(aim(choices, wanted.metrics_target, "metrics"), wanted.temporality))
    if "console" in wanted.metrics:
        exporters.append(ConsoleMetricExporter())
    readers: Sequence[CellReader] = [CellReader(cells, exporter, resource, read_version()) for exporter in exporters]
    provider = SdkProvider(readers, resource=resource, shutdown_on_exit=False)
    if isinstance(metrics.get_meter_provider(), metrics.NoOpMeterProvider) or _is_unset():
        metrics.set_meter_provider(provider)
        OwnMeters.provider = provider

    def close() -> None:
        provider.shutdown(bound.left() * 1000)

    return close


def _is_unset() -> bool:
    found = metrics.get_meter_provider()
    return type(found).__name__ == "_ProxyMeterProvider"
