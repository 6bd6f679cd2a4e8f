"""Batches of several runs that come together are committed together, and each has its own fate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otflow.journal import Journal, JournalError, JournalSource, RunOwnedError
from otflow.records.body import Body
from otflow.records.record import ContextWritten, Record, RunCompleted, RunPaused, RunResumed, RunStarted, StepStarted
from tests.journal.test_journal import SHARED
from tests.journal.writing import check_list, elsewhere

TABLES = ("runs", "record", "superseded", "inbox")


def begin(run: str) -> list[Record]:
    """Return a first batch."""
    return [RunStarted(1, run, 1, "W", "g"), StepStarted(2, run, 1, 2, 1, "a", 1)]


def go_on(run: str, seq: int = 3) -> list[Record]:
    """Return a batch in the middle."""
    return [ContextWritten(seq, run, seq, 2, "x", Body(seq))]


def content(path: Path | str) -> list[object]:
    """Return all that is in a journal, but for the process that wrote it."""
    connection = sqlite3.connect(path)
    found: list[object] = []
    for table in TABLES:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if "owner" not in row[1]]
        found += connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1").fetchall()
    connection.close()
    return found


def commits(journal: Journal, batches: list[list[Record]]) -> tuple[list[BaseException | None], int]:
    """Write batches; return the errors, and how many transactions that took."""
    seen: list[str] = []
    journal.connection.set_trace_callback(seen.append)
    errors = journal.write_all(batches)
    journal.connection.set_trace_callback(None)
    return errors, sum(each.startswith("COMMIT") for each in seen)


def test_batches_of_several_runs_are_one_transaction(tmp_path: Path) -> None:
    """Runs that begin, go on and end are committed at once, and what they wrote is there afterwards."""
    journal = Journal(tmp_path / "a.db")
    journal(begin("first"))
    batches = [go_on("first"), begin("second"), [RunCompleted(1, "third", 1, 0)]]
    assert commits(journal, batches) == ([None] * 3, 1)
    assert commits(journal, [go_on("first", 4), go_on("second")]) == ([None] * 2, 1)
    source = JournalSource(journal.path)
    assert {info.id: (info.records, info.outcome) for info in source.runs()} == {
        "first": (4, "open"),
        "second": (3, "open"),
        "third": (1, "completed"),
    }
    assert source.run("first").state() == {"x": 4}


def test_a_group_goes_on_with_a_run_and_takes_it_up_anew(tmp_path: Path) -> None:
    """What a group holds of a run counts, whatever else it brings of that run."""
    journal = Journal(tmp_path / "a.db")
    resumed: list[Record] = [RunResumed(4, "r", 4, Body(json=b'{"run":"r"}'))]
    assert journal.write_all([begin("r"), go_on("r"), resumed, go_on("r", 5), go_on("r", 6)]) == [None] * 5
    check_list(journal, "r")


def test_a_count_that_is_wrong_is_put_right(tmp_path: Path) -> None:
    """Whoever takes a run up counts its records, whatever another journal has made of its row."""
    journal, other = Journal(tmp_path / "a.db"), Journal(tmp_path / "a.db")
    journal(begin("r"))
    journal(go_on("r"))
    journal.abandon("r")
    other.claim("r")
    other(go_on("r", 4))
    check_list(other, "r")
    other.connection.execute("UPDATE run SET records = 1, last = 4")
    other.abandon("r")
    journal.claim("r")
    journal(go_on("r", 5))
    check_list(journal, "r")


def test_nobody_sees_a_half_of_it(tmp_path: Path) -> None:
    """What a group wrote is there as a whole, or not at all if the file fails; each batch gets that error then."""
    journal = Journal(tmp_path / "a.db", busy_timeout=0.01)
    journal(begin("first"))
    before = content(journal.path)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    errors = journal.write_all([go_on("first"), begin("second")])
    assert [type(error).__name__ for error in errors] == ["JournalBusyError"] * 2
    other.execute("ROLLBACK")
    assert content(journal.path) == before


def test_a_refused_batch_does_not_take_the_others_along(tmp_path: Path) -> None:
    """One that may not be written gets the error that it would get alone; all others are written."""
    journal = Journal(tmp_path / "a.db")
    journal(begin("old"))
    journal(begin("mine"))
    theirs = "j([RunStarted(1, 'theirs', 1, 'W', 'g')]); print('ready', flush=True); input()"
    with elsewhere(journal.path, theirs) as said:
        assert said == "ready"
        batches = [begin("old"), go_on("mine"), go_on("mine", 3), go_on("theirs", 2), begin("new")]
        alone = [_refused(journal, batches[0]), None, None, _refused(journal, batches[3]), None]
        errors, transactions = commits(journal, batches)
        assert transactions == 1
        assert [str(error) if error else None for error in errors[:2]] == [str(alone[0]), None]
        assert "Record 3 of run mine is in the journal already" in str(errors[2])
        assert isinstance(errors[3], RunOwnedError)
        assert str(errors[3]) == str(alone[3])
        assert errors[4] is None
        source = JournalSource(journal.path)
        assert {info.id: info.records for info in source.runs()} == {"old": 2, "mine": 3, "theirs": 1, "new": 2}


def _refused(journal: Journal, records: list[Record]) -> JournalError:
    with pytest.raises(JournalError) as caught:
        journal(records)
    return caught.value


_RUNS = ("a", "b", "c")
_KINDS = ("begin", "go on", "again", "pause", "end")


def _make(kind: str, run: str, seq: int) -> list[Record]:
    match kind:
        case "begin":
            return begin(run)
        case "go on":
            return go_on(run, seq)
        case "again":
            return go_on(run, 2)  # which is there, or will be refused later
        case "pause":
            return [RunPaused(seq, run, seq, "waiting")]
        case _:
            return [RunCompleted(seq, run, seq, 0)]


def _in_order(numbers: Iterable[int]) -> bool:
    """Tell whether a run has written something, and in the order of its numbers, as every real one does."""
    some = list(numbers)
    return bool(some) and some == sorted(some)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(_KINDS), st.sampled_from(_RUNS)), min_size=1, max_size=5), max_size=4)
)
def test_a_refused_group_leaves_what_the_good_ones_write(groups: list[list[tuple[str, str]]]) -> None:
    """Whatever is refused: the journal is as if only the batches that were not had ever been given to it."""
    SHARED.count += 1
    path = Path(SHARED.folder.name) / f"group-{SHARED.count}.db"
    journal, good = Journal(path, synchronous="normal"), list[list[Record]]()
    seq = 2
    for group in groups:
        batches = []
        for kind, run in group:
            seq += 1
            batches.append(_make(kind, run, seq))
        errors = journal.write_all(batches)
        assert all(error is None or isinstance(error, JournalError) for error in errors)
        good += [batch for batch, error in zip(batches, errors, strict=True) if error is None]
        check_list(
            journal,
            *(run for run in _RUNS if _in_order(record.seq for batch in good for record in batch if record.run == run)),
        )
    other = Journal(path.with_suffix(".good"), synchronous="normal")
    for batch in good:
        other(batch)
    assert content(path) == content(other.path)
    journal.close()
    other.close()
