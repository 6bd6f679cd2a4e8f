"""Measures one cell in the environment of its peer and prints one line of JSON.

    python worker.py PEER VARIANT WORKLOAD [--quick]

It is started by run.py. It knows the interface of a peer, not how peers are compared. Whatever goes wrong (an
exception, a wrong check value, missing spans) ends it with an error and without a result.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import assert_never

from catalogue import PEERS
from cells import RESULT_MARK, Cell, Measurement, encode
from metronome import Metronome, Taken
from peers.adapter import Adapter
from workloads import IN_FLIGHT, WORKLOADS, Operation, Workload, expected_spans

_SECONDS = 0.4
_QUICK_SECONDS = 0.1
_FEWEST, _MOST = 3, 200


@dataclass(frozen=True, slots=True)
class Iteration:
    """One timed pass, and the latencies (seconds) of the short runs in it."""

    taken: Taken
    latencies: list[float]


def expect(actual: object, wanted: object, what: str) -> None:
    """Raise ValueError when a check value is wrong."""
    if actual != wanted:
        raise ValueError(f"{what}: expected {wanted!r}, got {actual!r}")


async def one_short(adapter: Adapter, number: int, latencies: list[float]) -> None:
    """Do one short run and note its latency."""
    begin = time.perf_counter()
    result = await adapter.short(number)
    latencies.append(time.perf_counter() - begin)
    expect(result, number + 3, "short run")


async def short_runs(adapter: Adapter, runs: int, in_flight: int) -> list[float]:
    """Do short runs, at most `in_flight` at once; return their latencies."""
    latencies: list[float] = []
    if in_flight == 1:
        for number in range(runs):
            await one_short(adapter, number, latencies)
        return latencies
    places = asyncio.Semaphore(in_flight)

    async def admitted(number: int) -> None:
        async with places:
            await one_short(adapter, number, latencies)

    await asyncio.gather(*(admitted(number) for number in range(runs)))
    return latencies


async def perform(adapter: Adapter, operation: Operation, size: int) -> list[float]:
    """Do a workload once and check what it returned."""
    match operation:
        case "chain":
            expect(await adapter.chain(size), size, "chain")
        case "short_sequential":
            return await short_runs(adapter, size, 1)
        case "short_concurrent":
            return await short_runs(adapter, size, IN_FLIGHT)
        case "fanout":
            expect(await adapter.fanout(size), size * (size - 1) // 2, "fan-out")
        case "state":
            expect(await adapter.state(size), size, "state")
        case "stream":
            expect(await adapter.stream(size), size, "stream")
        case _:
            assert_never(operation)
    return []


async def timed(adapter: Adapter, operation: Operation, size: int, metronome: Metronome) -> Iteration:
    """Do a workload once by the clock; work that was put off until the flush is inside."""
    metronome.start()
    latencies = await perform(adapter, operation, size)
    if adapter.spans is not None:
        adapter.spans.flush()
    return Iteration(metronome.stop(), latencies)


async def repeat(once: Callable[[], Awaitable[Iteration]], seconds: float) -> list[Iteration]:
    """Repeat until `seconds` are spent, at least three times; a slow workload is done once."""
    passes: list[Iteration] = []
    spent = 0.0
    while spent < 4 * seconds and len(passes) < _MOST and (spent < seconds or len(passes) < _FEWEST):
        passes.append(await once())
        spent += passes[-1].taken.wall
    return passes


def peak_memory() -> int:
    """Return the highest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would also count what the parent held before exec
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def percentile_ms(latencies: list[float], share: float) -> float | None:
    """Return a percentile in milliseconds, None without latencies."""
    if not latencies:
        return None
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3


async def measure(cell: Cell, workload: Workload, metronome: Metronome, *, quick: bool) -> Measurement:
    """Set the peer up, warm it up, check its spans and measure it."""
    adapter: Adapter = importlib.import_module(f"peers.{cell.peer}").adapter(cell.variant)
    operation, size = workload.operation, workload.sized(quick=quick)
    await adapter.setup()
    await timed(adapter, operation, workload.warm_up, metronome)
    spans = adapter.spans
    if spans is not None:
        spans.verify()
    gc.collect()
    spans_before, memory_before = spans.count if spans else 0, peak_memory()
    passes = await repeat(lambda: timed(adapter, operation, size, metronome), _QUICK_SECONDS if quick else _SECONDS)
    memory = peak_memory()
    finished = (spans.count - spans_before) / len(passes) if spans else None
    if finished is not None and finished < expected_spans(operation, size):
        raise ValueError(f"{finished:,.0f} spans arrived, expected {expected_spans(operation, size):,}")
    latencies = [latency for one in passes for latency in one.latencies]
    return Measurement(
        cell=cell,
        repetition=0,
        size=size,
        iterations=len(passes),
        rate=size / statistics.median(one.taken.beats for one in passes),
        rate_cpu=size / statistics.median(one.taken.cpu for one in passes),
        rate_wall=size / min(one.taken.wall for one in passes),
        speed=metronome.fastest,
        spans_per_op=None if finished is None else finished / size,
        p50_ms=percentile_ms(latencies, 0.50),
        p99_ms=percentile_ms(latencies, 0.99),
        bytes_per_op=(memory - memory_before) / size,
        peak_bytes=memory,
        python=platform.python_version(),
        versions={name: version(name) for name in PEERS[cell.peer].distributions},
    )


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Measure one cell.")
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("variant")
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    cell = Cell(given.peer, given.variant, given.workload)
    with Metronome() as metronome:
        measurement = asyncio.run(measure(cell, WORKLOADS[given.workload], metronome, quick=given.quick))
    print(f"\n{RESULT_MARK}{json.dumps(encode(measurement))}", flush=True)


if __name__ == "__main__":
    main()
