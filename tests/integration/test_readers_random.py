"""Hundreds of random workflows are read back from every place as they were, and in part where spans are lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

import otflow
from otflow.readers import Execution, Source, read_all
from otflow.records.record import EventsCollected, EventSent, Record, RunFailed, RunStarted, StepStarted
from stack.recipes import ROOT
from stack.servers import Jaeger, Phoenix
from tests.integration.readback.losing import Sent, draw_loss, read_sent, thin_file, thin_jaeger, thin_phoenix
from tests.integration.readback.relay import relay
from tests.integration.reading import read_jaeger, read_json, read_phoenix, span_ids, unique, wait_for
from tests.readers.truth import Truth, check_part, check_traces, check_whole, read_truth

COUNT = 205
PLACES = ("journal", "file", "jaeger", "phoenix")
LOSSES = 6


@dataclass
class Sending:
    """What a program did, and where it can be read."""

    truths: dict[str, Truth]
    sent: Sent
    file: Path
    service: str
    places: dict[str, str]
    read: dict[str, dict[str, Execution]] = field(default_factory=dict)

    def open(self, place: str) -> Source:
        """Open one of the places."""
        return otflow.open(self.places[place])

    def all(self, place: str) -> dict[str, Execution]:
        """Read all runs of the program from a place, once."""
        if place not in self.read:
            self.read[place] = {each.run_id: each for each in read_all(self.open(place)) if each.run_id in self.truths}
        return self.read[place]


def run_program(jaeger: Jaeger, phoenix: Phoenix, folder: Path) -> Sending:
    """Run the program that lives all the stories, and give what it did; its spans are on their way then."""
    service, records, states = unique("told"), folder / "records.jsonl", folder / "states.json"
    journal, file = folder / "runs.db", folder / "spans.pb"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={service}",
    }
    with relay([jaeger.otlp_http, phoenix.url], file) as passed:
        arguments = [passed.endpoint, str(journal), str(records), str(states), str(COUNT), service]
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.integration.readback.telling", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed.refused == []
    places = {"journal": str(journal), "file": str(file), "jaeger": jaeger.url, "phoenix": phoenix.url}
    return Sending(read_truth(records, states), read_sent(file), file, service, places)


@pytest.fixture(scope="module")
def told(jaeger: Jaeger, phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Sending:
    """Let all the stories happen, and return when both servers have what they were sent."""
    made = run_program(jaeger, phoenix, tmp_path_factory.mktemp("told"))

    spans, last = made.sent.spans.keys(), made.sent.last
    address = f"{phoenix.url}/v1/projects/{made.service}/spans"  # it takes spans in, in order, for a while
    wait_for(lambda: last in {span["context"]["trace_id"] for span in read_json(address, trace_id=last)["data"]})
    wait_for(lambda: spans <= {span["context"]["span_id"] for span in read_phoenix(phoenix, made.service)})
    wait_for(lambda: spans <= span_ids(read_jaeger(jaeger, made.service, lookback="2h")))
    return made


def test_all_kinds_of_runs_are_among_them(told: Sending) -> None:
    """There are at least 200 different runs, with all that workflows do: the laws below are about that."""
    runs = [truth.counting for truth in told.truths.values()]
    kinds = Counter(kind for records in runs for kind in {type(record).__name__ for record in records})
    assert len(runs) > COUNT > 200  # with those that steps of others began
    wanted = (
        "RunCompleted RunFailed RunCancelled RunPaused RunResumed RetryScheduled RetryQueued StepFailed WaitStarted "
        "WaitEnded EventBuffered EventsCollected EventReleased CheckpointTaken ContextWritten StreamWritten"
    )
    assert {kind: kinds[kind] for kind in wanted.split() if kinds[kind] < 10} == {}
    assert sum(any(isinstance(each, RunStarted) and each.parent_run for each in records) for records in runs) >= 30
    assert sum(map(loops, runs)) >= 30
    assert sum(map(fans_out, runs)) >= 50
    assert sum(any(isinstance(each, EventsCollected) and len(each.events) > 1 for each in records) for records in runs)
    assert sum(truth.lives > 1 for truth in told.truths.values()) >= 30
    assert sum(not truth.ended for truth in told.truths.values()) >= 10
    assert sum(isinstance(records[-1], RunFailed) for records in runs) >= 20


def loops(records: tuple[Record, ...]) -> bool:
    """Tell whether a step worked on what had come, over other steps or none, from itself."""
    started = {each.invocation: each for each in records if isinstance(each, StepStarted)}
    source = {each.seq: each.invocation for each in records if isinstance(each, EventSent)}
    for each in started.values():
        above = started.get(source.get(each.event, 0))
        while above is not None:
            if above.step == each.step:
                return True
            above = started.get(source.get(above.event, 0))
    return False


def fans_out(records: tuple[Record, ...]) -> bool:
    """Tell whether one invocation sent several events."""
    return max(Counter(each.invocation for each in records if isinstance(each, EventSent)).values(), default=0) > 1


@pytest.mark.parametrize("place", PLACES)
def test_records_come_back(told: Sending, place: str) -> None:
    """From each place all runs are read as they were recorded, to the byte, with their states and without a gap."""
    found = told.all(place)
    assert found.keys() == told.truths.keys()
    for run, execution in found.items():
        check_whole(execution, told.truths[run])


@pytest.mark.parametrize("place", PLACES)
def test_lists_say_the_same(told: Sending, place: str) -> None:
    """A list of runs says of each what reading it says, and one run is found by the beginning of its id."""
    found = told.all(place)
    infos = {info.id: info for info in told.open(place).runs() if info.id in told.truths}
    assert infos.keys() == found.keys()
    for run, info in infos.items():
        records, history = found[run].records, found[run].history
        assert (info.workflow, info.outcome, info.records) == (history.workflow, history.outcome, len(records))
        assert (info.started, info.ended) == (records[0].at, records[-1].at)
    for run in sorted(infos)[:: len(infos) // 5]:
        assert told.open(place).run(run) == found[run]


def test_exported_files_come_back(told: Sending, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `otflow export` writes from a journal, as JSON lines or protobuf, holds the same runs."""
    for name in ("runs.jsonl", "runs.binpb"):
        run_command("export", told.places["journal"], "--to", str(tmp_path / name), OTFLOW_REDACT="false")
        found = {each.run_id: each for each in read_all(otflow.open(tmp_path / name))}
        assert found.keys() == told.truths.keys()
        for run, execution in found.items():
            check_whole(execution, told.truths[run])


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "otflow", *arguments],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


# --- what is lost ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thin(told: Sending, jaeger: Jaeger, phoenix: Phoenix, tmp_path_factory: pytest.TempPathFactory) -> Thin:
    """Give a function that writes what a place has, without the spans that are lost."""
    folder = tmp_path_factory.mktemp("thin")

    def do(place: str, lost: frozenset[str]) -> Path:
        match place:
            case "jaeger":
                return thin_jaeger(jaeger, told.service, lost, folder / "jaeger.json")
            case "phoenix":
                return thin_phoenix(phoenix, told.service, lost, folder / "phoenix.json")
            case _:
                return thin_file(told.file, lost, folder / "spans.pb")

    return do


Thin = Callable[[str, frozenset[str]], Path]


@pytest.mark.parametrize(
    ("place", "seed"), [("jaeger", 1), ("phoenix", 2), *(("file", seed) for seed in range(3, 3 + LOSSES))]
)
def test_what_is_lost_is_named(told: Sending, thin: Thin, place: str, seed: int) -> None:
    """With a tenth of the spans gone, every gap has its name, and nothing is said that is not so."""
    lost = draw_loss(told.sent, Random(seed))
    source, telling = otflow.open(thin(place, lost)), told.sent.leaves(lost)
    found = {each.run_id: each for each in read_all(source)}
    assert sum(not each.complete for each in found.values()) > len(found) // 3
    assert sum(telling.values()) > len(telling) * 0.9
    for run, execution in found.items():
        check = check_part if telling[run] else check_traces
        check(execution, told.truths[run])
    infos = {info.id: (info.outcome, info.records, info.workflow) for info in source.runs()}
    assert infos == {run: (each.outcome, len(each.records), each.workflow) for run, each in found.items()}
