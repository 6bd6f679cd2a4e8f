"""Laws of counting, for runs of any kind: metrics agree with the trace, and cost nothing that grows."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import msgspec
from hypothesis import given
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow.core.decide import advance
from otflow.core.express import begin, pass_on
from otflow.core.inputs import Start
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.state import new_state
from otflow.metrics.cells import Cells
from otflow.metrics.instruments import EVENTS, QUEUE_DURATION, RUN_DURATION, STEP_DURATION, STEP_RETRIES
from otflow.metrics.labels import MAX_ERRORS, MAX_TYPES, MAX_WORKFLOWS
from otflow.metrics.tally import Tally
from otflow.records.body import Body
from otflow.records.record import (
    EventReceived,
    EventSent,
    Failure,
    Record,
    RetryQueued,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from otflow.records.spans import to_spans
from otflow.sinks.metrics import MetricSink
from otflow.sinks.spans import SpanSink
from tests.laws.strategies import histories, restored_histories
from tests.metrics.counts import House
from tests.metrics.flows import live_a_little

NS = 1_000_000_000
ENDINGS = (RunCompleted, RunFailed, RunCancelled, RunTimedOut)


def count(records: list[Record], size: int = 1) -> Cells:
    """Count records that come in batches of a size."""
    cells = Cells()
    sink = MetricSink(cells, sampled=lambda _: True)
    for start in range(0, len(records), size):
        sink(records[start : start + size])
    return cells


# --- the trace says the same --------------------------------------------------------------------------------


@given(histories())
def test_attempts_are_those_of_the_trace(records):
    """Each attempt that ended counts once: with the outcome of its last span, and the time of all of its spans.

    A span knows only what it put aside itself, so "buffered" and "ok" are one here. An attempt that still waits when
    its run ends has ended with it.
    """
    cells = count(records, len(records))
    taken: dict[tuple[int, int, str], int] = defaultdict(int)
    last = {}
    for span in to_spans(records):
        attributes = span.attributes
        if "otflow.attempt" in attributes:
            key = attributes["otflow.invocation.id"], attributes["otflow.attempt"], attributes["otflow.step.name"]
            taken[key] += span.end - span.start
            last[key] = attributes.get("otflow.outcome", ""), attributes.get("error.type", "")
    wanted: dict[tuple[str, ...], list[int]] = defaultdict(list)
    ending = next((record for record in records if isinstance(record, ENDINGS)), None)
    for (invocation, attempt, step), (shown, error) in last.items():
        outcome = shown
        if outcome == "waiting" and ending is not None:
            outcome = "timeout" if isinstance(ending, RunTimedOut) else "cancelled"
        if outcome not in ("waiting", "crashed"):
            retry = "true" if attempt > 1 else "false"
            ended = outcome.replace("buffered", "ok")
            wanted[step, ended, error, retry].append(taken[invocation, attempt, step])
    found: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0, 0.0])
    for each in cells.family(STEP_DURATION).spreads:
        if number := sum(each.counts):
            totals = found[each.labels[1], each.labels[2].replace("buffered", "ok"), *each.labels[3:]]
            totals[0] += number
            totals[1] += round(each.sum * NS)
    assert dict(found) == {labels: [len(values), sum(values)] for labels, values in wanted.items()}


@given(histories())
def test_runs_are_active_as_long_as_their_segments(records):
    """The duration of a run that ended is that of its segments, but for what came while it was paused."""
    cells = count(records, len(records))
    spans = [span for span in to_spans(records) if "otflow.attempt" not in span.attributes]
    spreads = cells.family(RUN_DURATION).spreads
    ended = [record for record in records if isinstance(record, ENDINGS)]
    assert sum(sum(each.counts) for each in spreads) == len(ended)
    if ended:
        assert round(sum(each.sum for each in spreads) * NS) == sum(span.end - span.start for span in spans)
        assert [each.labels[1] for each in spreads] == [spans[-1].attributes["otflow.outcome"]]


@given(histories())
def test_waits_for_a_worker_are_those_of_the_trace(records):
    """The time in the queue is what the spans say of it, for each attempt."""
    spans = [span for span in to_spans(records) if "otflow.attempt" in span.attributes]
    waits = [span.attributes["otflow.queue.duration"] for span in spans if "otflow.queue.duration" in span.attributes]
    spreads = count(records, len(records)).family(QUEUE_DURATION).spreads
    assert sum(sum(each.counts) for each in spreads) == sum(isinstance(record, StepStarted) for record in records)
    assert round(sum(each.sum for each in spreads), 6) == round(sum(waits), 6)


@given(restored_histories())
def test_counts_are_those_of_the_records(records):
    """Retries and events are counted one by one, whatever happens to the run."""
    cells = count(records, len(records))
    retries = sum(isinstance(record, RetryScheduled) for record in records)
    events = Counter(record.type for record in records if isinstance(record, EventSent | EventReceived))
    assert sum(point.value for point in cells.family(STEP_RETRIES).points) == retries
    emitted = {p.labels[1]: p.value for p in cells.family(EVENTS).points if p.labels[2] == "emitted"}
    assert emitted == dict(events)


@given(restored_histories())
def test_no_duration_is_negative(records):
    """Whatever clocks do, no time is less than nothing."""
    backwards = [msgspec.structs.replace(record, at=10**12 - record.at) for record in records]
    for family in count(backwards, len(backwards)).collect():
        assert all(each.sum >= 0 for each in family.spreads)


async def test_exemplars_name_spans_that_exist():
    """Every exemplar has the ids of a span that was exported in the same run, and its value fits that span."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    house = House(sampled=lambda _: True)
    spans = SpanSink(provider)
    house.detach()
    house.dispatcher.attach(spans, patient=True, scope=spans)
    house.dispatcher.attach(MetricSink(house.cells, house.dispatcher.runs, lambda _: True), patient=True)
    async with live_a_little(house):
        pass
    exported = {(s.context.trace_id, s.context.span_id): s for s in exporter.get_finished_spans()}
    shown = Counter()
    for family in house.cells.collect():
        for spread in family.spreads:
            for exemplar in filter(None, spread.exemplars):
                span = exported[exemplar.trace_id, exemplar.span_id]
                shown[family.instrument.name] += 1
                assert span.attributes["otflow.workflow.name"] == "Everything"
                if family.instrument in (STEP_DURATION, QUEUE_DURATION):
                    assert span.attributes["otflow.step.name"] == spread.labels[1]
                elif family.instrument is RUN_DURATION:
                    assert span.attributes["otflow.outcome"] == spread.labels[1]
    assert set(shown) == {
        "otflow.run.duration",
        "otflow.step.duration",
        "otflow.step.queue.duration",
        "otflow.run.time_to_first_event",
        "otflow.hitl.wait.duration",
    }


# --- bounds -------------------------------------------------------------------------------------------------


def hostile(dice: random.Random, run: int) -> list[Record]:
    """Make a run in which every name is new."""
    id, name = f"run-{run}-{dice.random()}", str(dice.random()) + '\n"\\\ud800{}' * dice.randrange(40)
    body, error = Body({}), Failure(f"m.Error{dice.random()}", "bad")
    return [
        RunStarted(1, id, NS, f"Flow{name}", "digest"),
        EventReceived(2, id, NS, f"m:Start{name}", body),
        StepStarted(3, id, NS, 3, 1, f"step{name}", 2),
        StepFailed(4, id, 2 * NS, 3, 1, error),
        RetryScheduled(5, id, 2 * NS, 3, 2, 0.0, 2 * NS),
        RetryQueued(6, id, 2 * NS, 3, 2),
        StepStarted(7, id, 2 * NS, 3, 2, f"step{name}", 2),
        StepFailed(8, id, 3 * NS, 3, 2, error),
        RunFailed(9, id, 3 * NS, error),
    ]


def series(cells: Cells) -> int:
    """Count the series."""
    return sum(len(family.points) + len(family.spreads) for family in cells.collect())


def test_hostile_names_make_no_series_without_end():
    """Five thousand runs in which every name is new make no more series than a few hundred of them."""
    dice, cells = random.Random(7), Cells()
    sink = MetricSink(cells, sampled=lambda _: True)
    sizes = []
    for run in range(5000):
        sink(hostile(dice, run))
        if run in (1000, 4999):
            sizes.append(series(cells))
    assert sizes[0] == sizes[1]
    values: dict[str, set[str]] = defaultdict(set)
    for family in cells.collect():
        for each in (*family.points, *family.spreads):
            for label, value in zip(family.instrument.labels, each.labels, strict=True):
                values[f"{label} in {each.labels[0]}" if label == "otflow.step.name" else label].add(value)
    assert len(values["otflow.workflow.name"]) == MAX_WORKFLOWS + 1
    assert len(values["error.type"]) == MAX_ERRORS + 2  # with that of what did not fail
    assert len(values["otflow.event.type"]) == MAX_TYPES + 1
    assert max(map(len, values.values())) <= 201
    assert sum(sum(each.counts) for each in cells.family(STEP_DURATION).spreads) == 10_000


def test_usual_runs_make_no_new_series():
    """Five thousand runs with ids of their own make as many series as one."""
    cells = Cells()
    sink = MetricSink(cells, sampled=lambda _: True)
    sizes = set()
    plan = Plan("Flow", "digest", {"a": StepPlan("a")}, {"S": Route(("a",))})
    for run in range(5000):
        sink(advance(new_state(plan, f"run {run}"), Start(NS, "S", Body({}))))
        sink([StepCompleted(4, f"run {run}", 2 * NS, 3, 1), RunCompleted(5, f"run {run}", 2 * NS, 0)])
        sizes.add(series(cells) if run % 1000 == 0 else 0)
    assert len(sizes - {0}) == 1


def test_a_tally_does_not_grow():
    """However long a run is, what is kept of it stays as small as it was."""
    plan = Plan("Flow", "digest", {"a": StepPlan("a")}, {"S": Route(("a",)), "M": Route(("a",))})
    state = new_state(plan, "run")
    cells = Cells()
    sink = MetricSink(cells, sampled=lambda _: True)
    records = begin(state, Start(NS, "S", Body({})))
    sizes = []
    for turn in range(5000):
        sink(records)
        started = next(record for record in records if isinstance(record, StepStarted))
        records = pass_on(state, NS + turn, started, "M", Body({"turn": turn}))
        if turn in (1000, 4999):
            (tally,) = sink._runs.values()
            assert isinstance(tally, Tally)
            sizes.append(len(tally._emitted) + len(tally._open) + len(tally._notes))
    assert max(sizes) < 1000
    sink([RunCancelled(9999, "run", 10 * NS)])
    assert not sink._runs
