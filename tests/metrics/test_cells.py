"""Cells count like the libraries of others, and their labels are bounded."""

from __future__ import annotations

import threading
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram as TheirHistogram

from otflow.dispatcher import Load, StepLoad
from otflow.metrics.cells import Cells, Histogram, scale_of
from otflow.metrics.instruments import INSTRUMENTS, OTHER, RUN_DURATION, STATE_WRITES, STEP_DURATION
from otflow.metrics.labels import MAX_LENGTH, MAX_STEPS, MAX_WORKFLOWS, Names, clean
from tests.metrics.counts import numbers

NS = 1_000_000_000
HISTOGRAMS = [it for it in INSTRUMENTS if it.buckets]


@pytest.mark.parametrize("it", HISTOGRAMS, ids=lambda it: it.name)
@given(data=st.data())
def test_histograms_count_like_prometheus(it, data):
    """Whatever is observed, buckets, count and sum are those of a histogram of prometheus_client."""
    scale = scale_of(it)
    bounds = st.sampled_from([round(bound * scale) for bound in it.buckets])
    near = st.builds(lambda bound, by: max(0, bound + by), bounds, st.integers(-1, 1))
    values = data.draw(st.lists(near | st.integers(0, 10**6 * scale), max_size=30))
    cells, theirs = Cells(opt_in=[it.opt_in]), TheirHistogram("t", "t", registry=None, buckets=it.buckets)
    cell = cells.histogram(it, *("x" for _ in it.labels))
    for value in values:
        cell.observe(value, 0, None, 0)
        theirs.observe(value / scale)
    (spread,) = cells.family(it).spreads
    samples = [sample for family in theirs.collect() for sample in family.samples]
    assert list(accumulate(spread.counts)) == [each.value for each in samples if each.name == "t_bucket"]
    assert spread.sum == pytest.approx(next(each.value for each in samples if each.name == "t_sum"))


def test_each_bucket_keeps_its_last_exemplar():
    """An exemplar stands in the bucket of its value, the newest one wins, and runs without spans leave none."""
    cells = Cells()
    cell = cells.histogram(RUN_DURATION, "Flow", "ok", "")
    for value, at, origin in ((1 * NS, 1, (7, 100)), (1 * NS, 2, (8, 100)), (1 * NS, 3, None), (9 * NS, 4, (9, 0))):
        cell.observe(value, at, origin, 1)
    (spread,) = cells.family(RUN_DURATION).spreads
    shown = [(each.value, each.at, each.trace_id) for each in spread.exemplars if each is not None]
    assert shown == [(1.0, 2, 8), (9.0, 4, 9)]


def test_what_is_not_opted_in_to_is_not_there():
    """An instrument of a convention that is not stable is left out unless it is asked for by name."""
    plain, asked = Cells(), Cells(opt_in=["gen_ai_latest_experimental"])
    names = [{it.name for it in each.instruments} for each in (plain, asked)]
    assert names[1] - names[0] == {"gen_ai.workflow.duration"}


def test_gauges_add_up_what_runs_hold():
    """Gauges are sums over the runs that go on, and a workflow that was there before stays, with zeros."""
    cells = Cells()
    steps = (StepLoad("a", 1, 2, 4), StepLoad("b", 0, 0, 1))
    loads = [Load("1", "Flow", False, steps), Load("2", "Flow", True, steps), Load("3", "Other", False, ())]
    cells.loads = (lambda: loads[:2], lambda: loads[2:])
    assert numbers(cells) == {
        "run.active{Flow}": 1,
        "run.active{Other}": 1,
        "run.waiting{Flow}": 1,
        "step.active{Flow, a}": 2,
        "step.queued{Flow, a}": 4,
        "step.workers{Flow, a}": 8,
        "step.workers{Flow, b}": 2,
    }
    loads.clear()
    assert numbers(cells) == {}
    shown = {family.instrument.name: len(family.points) for family in cells.collect()}
    assert shown == {
        "otflow.run.active": 2,
        "otflow.run.waiting": 2,
        "otflow.step.active": 2,
        "otflow.step.queued": 2,
        "otflow.step.workers": 2,
    }


def test_drops_come_from_a_callback():
    """What was dropped is asked for when somebody looks."""
    drops = {("spans", "queue_full"): 2}
    cells = Cells(drops=lambda: drops)
    assert numbers(cells) == {"telemetry.dropped{spans, queue_full}": 2}
    drops["logs", "closed"] = 1
    assert numbers(cells)["telemetry.dropped{logs, closed}"] == 1


def test_checkpoints_of_stores():
    """Whoever saves a run says how long it took and how large it was, as far as that is known."""
    cells = Cells()
    cells.record_checkpoint("Flow", "disk", 0.5, 1000)
    cells.record_checkpoint("Flow", "disk", None, 24)
    cells.record_checkpoint("Flow", "disk", -1.0, None)
    assert numbers(cells) == {"checkpoint.duration{Flow, disk}": (2, 0.5), "checkpoint.size{Flow, disk}": (2, 1024)}


def test_renewed_cells_begin_at_zero():
    """A forked process does not go on with the counts of its parent."""
    cells = Cells()
    cells.counter(STATE_WRITES, "Flow").add()
    began_at = cells.began_at
    cells.renew()
    assert numbers(cells) == {}
    assert cells.began_at >= began_at


def test_threads_lose_no_count():
    """Any number of threads may fill the cells while another one reads them."""
    cells = Cells()

    def fill() -> None:
        for number in range(2000):
            with cells.lock:
                cells.counter(STATE_WRITES, f"flow {number % 10}").add()
                cells.histogram(STEP_DURATION, "Flow", "go", "ok", "", "false").observe(number, 0, (1, 1), 1)

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        cells.collect()
    assert sum(point.value for point in cells.family(STATE_WRITES).points) == 8000
    assert sum(cells.family(STEP_DURATION).spreads[0].counts) == 8000


# --- labels -------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_name_makes_a_value_that_can_be_sent(name):
    """Whatever a name holds, its value is UTF-8 on one line, of at most 200 characters."""
    value = clean(name)
    assert value.encode().decode() == value
    assert len(value) <= MAX_LENGTH
    assert "\n" not in value
    assert clean(value) == value


@given(st.lists(st.text(alphabet=st.characters(), max_size=3), max_size=60))
def test_names_are_bounded_and_steady(names):
    """There are at most so many values; a name that got one keeps it, and the rest share one."""
    known = Names(5)
    first = {name: known.label(name) for name in names}
    assert len(known.values) <= 5
    assert set(first.values()) <= known.values | {OTHER}
    assert all(known.label(name) == value for name, value in first.items())


def test_names_that_differ_behind_the_cut_share_a_series():
    """Two names that are cut to the same value are one series."""
    cells = Cells()
    for end in "ab":
        with cells.lock:
            cells.counter(STATE_WRITES, cells.workflow("x" * 500 + end)).add()
    assert [point.value for point in cells.family(STATE_WRITES).points] == [2]


def test_random_loads_are_bounded():
    """Gauges of runs with random names make no more series than there may be names."""
    cells = Cells()
    loads = [Load(str(run), f"flow {run % 500}", False, (StepLoad(f"step {run}", 1, 0, 1),)) for run in range(5000)]
    cells.loads = (lambda: loads,)
    found = cells.gauges()
    assert len(found["otflow.run.active"]) == MAX_WORKFLOWS + 1
    assert sum(point.value for point in found["otflow.run.active"]) == 5000
    assert sum(point.value for point in found["otflow.step.active"]) == 5000
    per_flow = [point.labels[0] for point in found["otflow.step.active"]]
    assert max(per_flow.count(name) for name in set(per_flow)) <= MAX_STEPS + 1


def test_bounds_lie_in_their_bucket():
    """A value that is exactly a bound belongs to the bucket below it, as in Prometheus."""
    cell = Histogram((10, 20))
    for value in (10, 11, 20, 21):
        cell.observe(value, 0, None, 0)
    assert cell.counts == [1, 2, 1]
