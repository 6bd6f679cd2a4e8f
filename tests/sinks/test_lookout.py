"""What is open for long is announced by a timer of the event loop, of which nothing is left when nothing is open."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow.core.decide import advance
from otflow.core.inputs import Receive, Start, StepReturned, Wait
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.state import RunState, new_state
from otflow.records.body import Body
from otflow.sinks import lookout as lookout_module
from otflow.sinks.spans import SpanSink

NS = 1_000_000_000
PLAN = Plan("Flow", "digest", {"a": StepPlan("a")}, {"S": Route(("a",)), "Stop": Route(stop=True)}, frozenset("X"))


class Timers:
    """The timers of an event loop, which ring by hand; the clock shows what is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []
        self.now = 0
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self.keep, raising=False)
        monkeypatch.setattr(lookout_module.time, "time_ns", lambda: self.now)

    def keep(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        """Take a timer."""
        self.waiting.append((seconds, call, arguments))

    def ring(self, now: int) -> None:
        """Let the only timer ring at a time."""
        self.now = now
        [(_, call, arguments)] = self.waiting
        self.waiting.clear()
        call(*arguments)

    @property
    def seconds(self) -> list[float]:
        """When the timers ring."""
        return [seconds for seconds, _, _ in self.waiting]


class Runs:
    """Runs that go through a sink."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.sink = SpanSink(provider)
        self.states: dict[str, RunState] = {}

    def begin(self, run: str, at: int) -> None:
        """Begin a run."""
        self.states[run] = new_state(PLAN, run)
        self.feed(run, Start(at, "S", Body({})))

    def feed(self, run: str, input: object) -> None:
        """Go on."""
        self.sink(advance(self.states[run], input))  # type: ignore[arg-type]

    def names(self) -> list[str]:
        """Give the names of the spans that were exported since the last time."""
        names = [span.name for span in self.exporter.get_finished_spans()]
        self.exporter.clear()
        return names


async def test_one_timer_for_all_runs(monkeypatch):
    """The first run sets the timer; it rings again when the next thing is due, and no more when nothing is open."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", NS)
    runs.begin("two", 4 * NS)
    assert timers.seconds == [5.0]
    timers.ring(6 * NS)
    assert runs.names() == ["run_started Flow", "step_started a"]
    assert timers.seconds == [3.0]
    timers.ring(9 * NS)
    assert runs.names() == ["run_started Flow", "step_started a"]
    assert timers.seconds == [5.0]
    for run in ("one", "two"):
        runs.feed(run, StepReturned(10 * NS, 3, 1, "Stop", Body({})))
    assert len(runs.names()) == 4
    timers.ring(14 * NS)
    assert (runs.names(), timers.seconds) == ([], [])
    runs.begin("three", 20 * NS)
    assert timers.seconds == [5.0]


async def test_looks_are_not_too_frequent(monkeypatch):
    """Things that are due in a row are announced together, a second apart at most."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", NS)
    runs.begin("two", NS + 1)
    timers.ring(6 * NS)
    assert (runs.names(), timers.seconds) == (["run_started Flow", "step_started a"], [1.0])
    timers.ring(7 * NS)
    assert runs.names() == ["run_started Flow", "step_started a"]


async def test_a_clock_of_another_time(monkeypatch):
    """However far away the times of a run are, someone looks again after the usual time."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", 1000 * NS)
    timers.ring(NS)
    assert (runs.names(), timers.seconds) == ([], [5.0])


async def test_a_pause_needs_no_timer(monkeypatch):
    """Nobody looks after a paused run; when it goes on, the timer is set again."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", NS)
    runs.feed("one", Wait(2 * NS, 3, "w", "X"))
    timers.ring(6 * NS)
    assert timers.seconds == []
    runs.names()
    runs.feed("one", Receive(60 * NS, "X", Body({})))
    assert timers.seconds == [5.0]
    timers.ring(65 * NS)
    assert runs.names() == ["run_started Flow", "step_started a"]


async def test_the_timer_holds_nothing(monkeypatch):
    """A sink that nobody needs any more can go, whatever is open; its timer does nothing then."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", NS)
    there, exporter = weakref.ref(runs.sink), runs.exporter
    del runs
    gc.collect()
    assert there() is None
    timers.ring(6 * NS)
    assert (exporter.get_finished_spans(), timers.seconds) == ((), [])


async def test_a_lookout_without_anybody(monkeypatch):
    """A timer that rings while its sink goes does nothing."""
    timers, runs = Timers(monkeypatch), Runs()
    runs.begin("one", NS)
    [lookout] = runs.sink._lookouts.values()
    del runs
    gc.collect()
    lookout.look(6 * NS)
    assert timers.seconds == [5.0]  # the one that was set


def test_each_loop_looks_after_its_own():
    """Runs of several event loops are announced in their own; a closed loop is forgotten."""
    runs = Runs()

    async def begin(run: str) -> object:
        runs.begin(run, NS)
        return runs.sink._lookouts[asyncio.get_running_loop()]

    first, second = asyncio.run(begin("one")), asyncio.run(begin("two"))
    assert runs.sink.reveal(6 * NS, first) == 11 * NS
    assert runs.names() == ["run_started Flow", "step_started a"]
    assert runs.sink.reveal(6 * NS) == 11 * NS
    assert runs.names() == ["run_started Flow", "step_started a"]
    assert runs.sink.reveal(6 * NS, second) == 11 * NS
    gc.collect()
    assert len(runs.sink._lookouts) == 0


def test_records_from_a_file_have_no_loop():
    """Without an event loop there is no timer; who wants to may still ask."""
    runs = Runs()
    assert runs.sink.reveal(NS) == 0
    runs.begin("one", NS)
    assert len(runs.sink._lookouts) == 0
    assert runs.sink.reveal(60 * NS) == 65 * NS
    assert runs.names() == ["run_started Flow", "step_started a"]
