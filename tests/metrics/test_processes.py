"""Several processes: one endpoint for all of them, and forks that begin at zero."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from otflow import Context, HumanResponseEvent, StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError
from otflow.metrics.cells import Cells
from otflow.metrics.prometheus import serve, shared_registry
from otflow.sinks.metrics import MetricSink, attach
from tests.api.loops import turn
from tests.metrics.counts import House, numbers
from tests.metrics.flows import replay_a_little


class Reply(HumanResponseEvent):
    pass


class Waits(Workflow):
    @step
    async def wait(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.wait_for_event(Reply)
        return StopEvent()


ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def workers(folder: Path, *runs: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes, wait until each says that its runs are over, and end them in the end."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([*command, *each.split()], env=environment, stdin=pipe, stdout=pipe, text=True)
        for each in runs
    ]
    try:
        assert [process.stdout.readline() for process in started] == ["ready\n"] * len(started)
        yield started
    finally:
        for process in started:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
    assert [process.returncode for process in started] == [0] * len(started)


def scrape() -> dict[str, float]:
    """Read what all processes have written, by name and labels."""
    text = generate_latest(shared_registry()).decode()
    found = {}
    for sample in (each for family in text_string_to_metric_families(text) for each in family.samples):
        labels = ", ".join(value for _, value in sorted(sample.labels.items()))
        found[f"{sample.name.removeprefix('otflow_')}{{{labels}}}"] = sample.value
    return found


def test_processes_are_added_up(tmp_path, monkeypatch):
    """Whoever is scraped shows the sum over all processes, forked ones too: of counts, and of what goes on now."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with workers(tmp_path, "3", "4", "5 forked"):
        found = scrape()
        assert found["run_duration_seconds_count{, ok, Short}"] == 12
        for name in ("first", "second"):
            assert found[f"step_duration_seconds_count{{, ok, false, {name}, Short}}"] == 12
            assert found[f"step_duration_seconds_bucket{{, +Inf, ok, false, {name}, Short}}"] == 12
        assert found["events_total{emitted, otflow.events:StartEvent, Short}"] == 12
        assert found["run_active{Stuck}"] == found["step_active{stand, Stuck}"] == 3
        assert found["step_workers{stand, Stuck}"] == 9
        assert found["run_active{Short}"] == 0
        assert found["telemetry_dropped_total{queue_full, spans}"] == 6
    after = scrape()
    assert after["run_active{Stuck}"] == 0  # it was cancelled, and the process said so when it ended
    assert after["run_duration_seconds_count{, cancelled, Stuck}"] == 3
    assert after["run_duration_seconds_count{, ok, Short}"] == 12


def test_the_endpoint_shows_all_processes(tmp_path, monkeypatch):
    """In multi-process mode an endpoint shows the files of all processes, whatever cells it is given."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    endpoint = serve(Cells(), 0)
    endpoint.close()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    with pytest.raises(WorkflowConfigurationError, match="missing' is no directory"):
        serve(Cells(), 0)


def test_one_process_has_no_files():
    """Without the variable there is nothing to share."""
    assert shared_registry() is None


# --- forks --------------------------------------------------------------------------------------------------


def in_fork(check: object) -> int:
    """Run a check in a forked process, and return how it exited: 0 if the check held."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of threads, which are no matter here
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        check()
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(repr(error))
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_begins_at_zero():
    """A forked process counts what it does itself, also when the parent was counting at that moment."""
    house = House()
    sink = MetricSink(house.cells)
    attach(house.dispatcher, house.cells)
    for observer in house.dispatcher.patient:
        replay_a_little(observer)
    before = numbers(house.cells)

    def check() -> None:
        assert numbers(house.cells) == {}
        for observer in house.dispatcher.patient[:1]:
            replay_a_little(observer)
        assert numbers(house.cells, "run.duration") == {"run.duration{Flow, ok, }": (1, 2.0)}

    with house.cells.lock:
        assert in_fork(check) == 0
    assert numbers(house.cells) == before
    replay_a_little(sink)
    assert numbers(house.cells) != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_fork_does_not_hold_the_runs_of_its_parent():
    """What goes on in the parent does not go on in a fork of it."""
    house = House()
    handler = Waits(**house.terms).run()
    await turn()
    assert numbers(house.cells, "run.waiting") == {"run.waiting{Waits}": 1}

    def check() -> None:
        assert numbers(house.cells) == {}

    assert in_fork(check) == 0
    await handler.cancel_run()
