"""After a SIGKILL at any moment a run goes on with all that stands below it: nothing that had ended runs again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import pytest

from otflow.journal import JournalSource
from otflow.records.record import StepStarted
from tests.journal.killed_nested import RESULT

CHILDREN = {"Top": 1, "Middle": 1, "Leaf": 6}
EFFECTS = 2 + 2 * CHILDREN["Leaf"]
COMMITS, BATCHES = 17, 36  # that the undisturbed run has, about


def live_through(folder: Path, moments: list[str]) -> None:
    """Have runs killed at moments, brought to their ends, and checked."""
    command = [sys.executable, "-m", "tests.journal.killed_nested", str(folder), *moments]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for moment in moments:
        check(folder / f"{moment}.db")
    died = sum((folder / f"{moment}.deaths").exists() for moment in moments)
    assert died > len(moments) * 0.8  # some moments lie behind the end


def check(path: Path) -> None:
    """Check the laws for one journal."""
    assert json.loads(path.with_suffix(".result").read_text()) == RESULT, path
    source = JournalSource(path)
    infos = list(source.runs())
    assert Counter(info.workflow for info in infos) == CHILDREN, path  # none was begun twice
    assert {info.outcome for info in infos} == {"completed"}, path
    started: Counter[tuple[str, int]] = Counter()
    for info in infos:
        execution = source.run(info.id)
        assert execution.complete, (path, execution.gaps)
        assert info.records == len(execution.records)
        for record in execution.records:
            if isinstance(record, StepStarted):
                started[f"{record.run}:{record.invocation}", record.attempt] += 1
    called: Counter[tuple[str, int]] = Counter()
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for line in path.with_suffix(".log").read_text().splitlines():
        key, name, attempt = line.split()
        called[key, int(attempt)] += 1
        keys[name].add(key)
    assert len(keys) == EFFECTS
    assert all(len(found) == 1 for found in keys.values()), keys  # the outside can tell that it is the same effect
    assert all(called[key] <= started[key] for key in called), (called, started)


def make_moments(dice: Random, count: int) -> list[str]:
    """Choose when runs are killed: once, twice or three times; every third is resumed by the name of its journal."""

    def choose() -> str:
        side = dice.choice("abo")
        return f"{dice.randint(1, BATCHES if side == 'o' else COMMITS)}{side}"

    def live() -> str:
        return dice.choice(["", "", "x"]) + ",".join(choose() for _ in range(dice.choice([1, 2, 2, 3])))

    return sorted({live() for _ in range(count)})


def test_a_family_survives_some_deaths(tmp_path: Path) -> None:
    """In the middle of each of its runs, whichever way the topmost one is resumed."""
    live_through(tmp_path, ["3a,2a", "6b", "10a,3b", "14a", "18b,2a", "x4a,3a", "x9b,6a", "x16a", "30o"])


@pytest.mark.integration
def test_a_family_survives_death_at_any_moment(tmp_path: Path) -> None:
    """A hundred random moments."""
    live_through(tmp_path, make_moments(Random(7), 110))
