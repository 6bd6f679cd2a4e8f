"""Cells that write through to prometheus_client, for servers with several processes and one endpoint.

With PROMETHEUS_MULTIPROC_DIR set, prometheus_client keeps every value in a file of its process, and whoever is scraped
adds them up. The price: no exemplars, a few microseconds more for each step, and gauges that are up to a second old.
"""

from __future__ import annotations

import os
import weakref
from functools import cache
from threading import Event, Thread

from prometheus_client import Counter as SharedCounter
from prometheus_client import Gauge as SharedGauge
from prometheus_client import Histogram as SharedHistogram

from otflow.metrics.cells import Cells, Drops, Origin, scale_of
from otflow.metrics.instruments import BY_NAME, TELEMETRY_DROPPED, Instrument, label_name, prometheus_name

__all__ = ["SharedCells", "is_wanted"]

_INTERVAL = 1.0  # seconds


def is_wanted() -> bool:
    """Tell whether prometheus_client works in multi-process mode, which its own environment variable says."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


class _Observed:
    """A cell that passes on observations."""

    __slots__ = ("_child", "_scale")

    def __init__(self, child: SharedHistogram, scale: int) -> None:
        self._child = child
        self._scale = scale

    def observe(self, value: int, at: int, origin: Origin | None, seq: int) -> None:
        self._child.observe(value / self._scale)


class _Counted:
    """A cell that passes on counts."""

    __slots__ = ("add",)

    def __init__(self, child: SharedCounter) -> None:
        self.add = child.inc


class SharedCells(Cells):
    """Cells whose values stand in the files of PROMETHEUS_MULTIPROC_DIR.

    Args:
        drops: as for `Cells`.
        opt_in: as for `Cells`.
    """

    def __init__(self, drops: Drops | None = None, opt_in: frozenset[str] = frozenset()) -> None:
        self._told: dict[tuple[str, str], int] = {}
        self._over: Event | None = None
        super().__init__(self._share_histogram, self._share_counter, drops, opt_in)

    def renew(self) -> None:
        """Begin anew, in this process, with files of its own."""
        super().renew()
        self._told.clear()
        self._over = None  # its thread stayed in the parent

    def _share_histogram(self, instrument: Instrument, labels: tuple[str, ...]) -> _Observed:
        self._start()
        return _Observed(_histogram(instrument.name).labels(*labels), scale_of(instrument))

    def _share_counter(self, instrument: Instrument, labels: tuple[str, ...]) -> _Counted:
        return _Counted(_counter(instrument.name).labels(*labels))

    def _start(self) -> None:
        """Keep the gauges up to date from now on: not before there are runs, and not in whoever only forks."""
        if self._over is None:
            self._over = Event()
            Thread(target=_keep, args=(weakref.ref(self), self._over), name="otflow-gauges", daemon=True).start()

    def refresh(self) -> None:
        """Write what the runs hold now, and what was dropped since the last time."""
        for name, points in self.gauges().items():
            gauge = _gauge(name)
            for point in points:
                gauge.labels(*point.labels).set(point.value)
        dropped = self.family(TELEMETRY_DROPPED).points
        with self.lock:
            for point in dropped:
                sink, reason = point.labels
                new = point.value - self._told.get((sink, reason), 0)
                self._told[sink, reason] = point.value
                _counter(TELEMETRY_DROPPED.name).labels(sink, reason).inc(max(0, new))

    def close(self) -> None:
        """Write for the last time: the runs that are counted here hold nothing any more."""
        if self._over is not None:
            self._over.set()
        self.loads = ()
        self.refresh()


def _keep(cells: weakref.ref[SharedCells], over: Event) -> None:
    """Refresh the gauges every second, as long as somebody has the cells."""
    while not over.wait(_INTERVAL):
        found = cells()
        if found is None:
            return
        found.refresh()
        del found


# one of each in a process: two that write to the same place would not know of each other


@cache
def _histogram(name: str) -> SharedHistogram:
    it = BY_NAME[name]
    return SharedHistogram(prometheus_name(it), it.description, _labels(it), registry=None, buckets=it.buckets)


@cache
def _counter(name: str) -> SharedCounter:
    it = BY_NAME[name]
    return SharedCounter(prometheus_name(it), it.description, _labels(it), registry=None)


@cache
def _gauge(name: str) -> SharedGauge:
    it = BY_NAME[name]
    return SharedGauge(prometheus_name(it), it.description, _labels(it), registry=None, multiprocess_mode="livesum")


def _labels(instrument: Instrument) -> list[str]:
    return [label_name(label) for label in instrument.labels]
