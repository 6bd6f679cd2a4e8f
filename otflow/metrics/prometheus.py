"""The cells as Prometheus scrapes them: a collector for whoever serves metrics already, and an endpoint for the others.

Exemplars are shown to scrapers that ask for OpenMetrics, as Prometheus does; the older text format has none. This is
one of the two rooms that know prometheus_client.
"""

from __future__ import annotations

import errno
import math
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple, Protocol
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Exemplar as ShownExemplar
from prometheus_client.utils import floatToGoString

from otflow.errors import WorkflowConfigurationError
from otflow.metrics.cells import Exemplar, Family, Spread
from otflow.metrics.instruments import label_name, prometheus_name

__all__ = ["Collected", "Collector", "Endpoint", "serve", "shared_registry"]

_MAX_PORT = 65535
_TAKEN = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)

_servers: weakref.WeakSet[WSGIServer] = weakref.WeakSet()


class Collected(Protocol):
    """Gives all series as they are now."""

    def collect(self) -> Iterable[Family]:
        """Return them, by instrument."""


class Collector:
    """Shows cells to a registry of prometheus_client.

    Args:
        cells: the cells.

    Example:
        >>> from prometheus_client import CollectorRegistry, generate_latest
        >>> from otflow.metrics.cells import Cells
        >>> registry = CollectorRegistry()
        >>> registry.register(Collector(Cells(drops=lambda: {("spans", "queue_full"): 3})))
        >>> print(generate_latest(registry).decode().splitlines()[-1])
        otflow_telemetry_dropped_total{otflow_reason="queue_full",otflow_sink="spans"} 3.0
    """

    def __init__(self, cells: Collected) -> None:
        self._cells = cells

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is, is not known before there are runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Give a family for each instrument that has any series."""
        for family in self._cells.collect():
            yield _convert(family)


class Endpoint(NamedTuple):
    """An endpoint that is served: the address to scrape, and the function that ends it."""

    url: str
    close: Callable[[], None]


def serve(cells: Collected, port: int, host: str = "127.0.0.1", registry: CollectorRegistry | None = None) -> Endpoint:
    """Serve /metrics in a thread of its own.

    Args:
        cells: what to show; in multi-process mode the files of all processes are shown instead.
        port: the TCP port; 0 for any that is free.
        host: the address to listen on; default only this machine.
        registry: what else to show; default the registry of prometheus_client that all share, so that metrics of
            yours and those of the process stand there too.

    Raises:
        WorkflowConfigurationError: the port is no port, or is taken.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _MAX_PORT:
        raise WorkflowConfigurationError(f"{port!r} is no port for metrics: it is a whole number from 0 to {_MAX_PORT}")
    shared = shared_registry()
    shown, collector = shared or registry or REGISTRY, Collector(cells)
    try:
        server, thread = start_http_server(port, host, shown)
    except OSError as error:
        reason = f"{host}:{port}: {error.strerror or error}"
        hint = "Give another port, or end what listens there." if error.errno in _TAKEN else "Give another host."
        raise WorkflowConfigurationError(f"Metrics cannot be served on {reason}. {hint}") from error
    if shared is None:
        shown.register(collector)
    _servers.add(server)
    process = os.getpid()

    def close() -> None:
        if shared is None:
            shown.unregister(collector)
        if os.getpid() != process:  # the thread that would answer is the parent's, and so is the port
            return
        server.shutdown()
        server.server_close()
        thread.join()

    address = f"[{host}]" if ":" in host else host
    return Endpoint(f"http://{address}:{server.server_port}/metrics", close)


def shared_registry() -> CollectorRegistry | None:
    """Return a registry that shows the files of all processes; None unless PROMETHEUS_MULTIPROC_DIR is set.

    Raises:
        WorkflowConfigurationError: it is set, and is no directory.
    """
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if path is None:
        return None
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types there
    except ValueError as error:
        raise WorkflowConfigurationError(
            f"PROMETHEUS_MULTIPROC_DIR={path!r} is no directory. Make it before the first process starts, and empty it."
        ) from error
    return registry


def _convert(family: Family) -> Metric:
    instrument = family.instrument
    name, text = prometheus_name(instrument), instrument.description
    labels = [label_name(label) for label in instrument.labels]
    if instrument.kind == "histogram":
        bounds = [_write(bound) for bound in (*instrument.buckets, math.inf)]
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for spread in family.spreads:
            histogram.add_metric(spread.labels, _buckets(spread, bounds), spread.sum)
        return histogram
    simple = (CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily)(name, text, labels=labels)
    for point in family.points:
        simple.add_metric(point.labels, point.value)
    return simple


def _buckets(spread: Spread, bounds: list[str]) -> list[tuple[str, float] | tuple[str, float, ShownExemplar]]:
    """Count from below, as Prometheus does: a bucket holds all that is not larger than its bound."""
    found: list[tuple[str, float] | tuple[str, float, ShownExemplar]] = []
    for bound, count, exemplar in zip(bounds, accumulate(spread.counts), spread.exemplars, strict=True):
        found.append((bound, count) if exemplar is None else (bound, count, _show(exemplar)))
    return found


def _write(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]  # the library has no types there


def _show(exemplar: Exemplar) -> ShownExemplar:
    ids = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
    return ShownExemplar(ids, exemplar.value, exemplar.at / 1e9)


def _let_go() -> None:
    """Close what a forked process inherited: the port belongs to its parent."""
    for server in list(_servers):
        server.socket.close()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_let_go)
