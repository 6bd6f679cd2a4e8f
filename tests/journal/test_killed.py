"""After a SIGKILL at any moment a run goes on: no record lost, no outcome twice, only attempts in flight again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from otflow.journal import JournalSource
from otflow.records.record import EventReceived, EventSent, Record, StepCompleted, StepFailed, StepStarted

PROGRAM = Path(__file__).with_name("killed_program.py")
COMMITS, BATCHES = 11, 28  # that the undisturbed run has, about
RESULT = [6, "fine", [0, 1, 2, 3], True]


def live_through(folder: Path, moments: list[str]) -> None:
    """Have runs killed at moments, and brought to their ends."""
    command = [sys.executable, "-m", "tests.journal.killed_program", str(folder), *moments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for moment in moments:
        check(folder / f"{moment}.db")
    died = sum((folder / f"{moment}.0.json").exists() for moment in moments)
    assert died > len(moments) * 0.8  # some moments lie behind the end


def check(path: Path) -> None:
    """Check the laws for one journal."""
    assert json.loads(path.with_suffix(".result").read_text()) == RESULT, path
    [info] = JournalSource(path).runs()
    assert info.outcome == "completed", path
    execution = JournalSource(path).run(info.id)
    records = execution.records
    assert [record.seq for record in records] == list(range(1, len(records) + 1)), path
    assert info.records == len(records)
    assert execution.complete, execution.gaps
    lost_nothing(path)
    counted_once(records)
    ran_again_in_flight_only(path, records)


def lost_nothing(path: Path) -> None:
    """What was in the journal at a death is in it at the end, unchanged."""
    whole = dict(rows_of(path))
    for dump in path.parent.glob(f"{path.stem}.*.json"):
        for id, data in json.loads(dump.read_text()):
            assert whole[id] == data, path


def rows_of(path: Path) -> list[tuple[int, str]]:
    """Read the table."""
    source = JournalSource(path)
    return source._file.connection.execute("SELECT id, data FROM record").fetchall()


def counted_once(records: tuple[Record, ...]) -> None:
    """No attempt ends twice, no invocation completes twice, no event is delivered to a step twice."""
    ends = Counter((r.invocation, r.attempt) for r in records if isinstance(r, StepCompleted | StepFailed))
    assert set(ends.values()) <= {1}
    deliveries = Counter((r.event, r.step) for r in records if isinstance(r, StepStarted) and r.seq == r.invocation)
    assert set(deliveries.values()) == {1}
    emitted = Counter(type(r).__name__ for r in records if isinstance(r, EventReceived | EventSent))
    completed = Counter(r.invocation for r in records if isinstance(r, StepCompleted))
    assert set(completed.values()) == {1}
    assert emitted["EventReceived"] == 2


def ran_again_in_flight_only(path: Path, records: tuple[Record, ...]) -> None:
    """Each call of a step body has its record, so what had ended was not called again."""
    started = Counter((f"{r.run}:{r.invocation}", r.attempt) for r in records if isinstance(r, StepStarted))
    called: Counter[tuple[str, int]] = Counter()
    for line in path.with_suffix(".log").read_text().splitlines():
        key, _, _, attempt = line.split()
        called[key, int(attempt)] += 1
    assert all(called[key] <= started[key] for key in called), (called, started)


def make_moments(dice: Random, count: int) -> list[str]:
    """Choose when runs are killed: once, twice or three times."""

    def choose() -> str:
        side = dice.choice("abo")
        return f"{dice.randint(1, BATCHES if side == 'o' else COMMITS)}{side}"

    return sorted({",".join(choose() for _ in range(dice.choice([1, 2, 2, 3]))) for _ in range(count)})


def test_a_run_survives_some_deaths(tmp_path: Path) -> None:
    """A few moments, among them the first and the last."""
    live_through(tmp_path, ["1b,1b,2a", "1a", "2a,2b", "8a,3b", "10b", "12o,1a", "22o,3o"])


@pytest.mark.integration
def test_a_run_survives_death_at_any_moment(tmp_path: Path) -> None:
    """Two hundred random moments, of which many are second and third deaths."""
    moments = make_moments(Random(5), 340)
    assert len(moments) >= 200
    live_through(tmp_path, moments)
