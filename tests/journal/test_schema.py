"""The file: its versions, its views for the sqlite3 shell, what it keeps, and where its list of runs comes from."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otflow.journal import Journal, JournalError, JournalSource
from otflow.journal.schema import MIGRATIONS, VIEWS, check_version, migrate
from otflow.records.body import Body
from otflow.records.record import ContextWritten, Record, RunCompleted, RunPaused, RunStarted, StepStarted
from tests.journal.test_journal import SHARED
from tests.journal.writing import Fan, check_list, run, wire

DAY = 86_400 * 1_000_000_000


def connect(path: Path) -> sqlite3.Connection:
    """Open the file as the sqlite3 shell does."""
    return sqlite3.connect(path, isolation_level=None)


def test_versions_lead_to_the_newest(tmp_path: Path) -> None:
    """A file of any version is brought to the newest; views are made anew; what is in it stays."""
    path = tmp_path / "a.db"
    dispatcher, journal, seen = wire(path)
    run(Fan(dispatcher=dispatcher))
    journal.close()
    connection = connect(path)
    connection.execute("DROP VIEW steps")
    steps = (*MIGRATIONS, "ALTER TABLE run ADD COLUMN more TEXT NOT NULL DEFAULT 'x'; CREATE TABLE further (a);")
    migrate(connection, str(path), steps)
    migrate(connection, str(path), steps)
    newest = len(MIGRATIONS)
    assert check_version(connection, str(path), newest + 1) == newest + 1
    assert connection.execute("SELECT more FROM run").fetchall() == [("x",)]
    assert connection.execute("SELECT count(*) FROM steps").fetchone()[0] > 0
    assert connection.execute("SELECT count(*) FROM record").fetchone() == (len(seen),)
    for make in (Journal, JournalSource):  # which are of a release that does not know this version
        with pytest.raises(JournalError, match=f"has the version {newest + 1}, and .* knows versions up to {newest}"):
            make(path)


def test_a_migration_is_whole_or_nothing(tmp_path: Path) -> None:
    """When a statement fails, the file is as it was."""
    path = tmp_path / "a.db"
    Journal(path).close()
    connection = connect(path)
    before = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, str(path), (*MIGRATIONS, "CREATE TABLE further (a); CREATE TABLE run (b)"))
    assert connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == before
    assert check_version(connection, str(path)) == len(MIGRATIONS)


def test_views_tell_the_run(tmp_path: Path) -> None:
    """Runs, events, state and steps can be read with SQL, and say what the records say."""
    path = tmp_path / "a.db"
    dispatcher, _, seen = wire(path)
    run(Fan(dispatcher=dispatcher), run_id="other")
    run(Fan(dispatcher=dispatcher), run_id="r", text="hello")
    execution = JournalSource(path).run("r")
    connection = connect(path)
    assert connection.execute("SELECT id, workflow, outcome, records FROM runs WHERE id = 'r'").fetchall() == [
        ("r", "Fan", "completed", len(execution.records))
    ]
    events = connection.execute("SELECT event, type, payload FROM events WHERE run = 'r'").fetchall()
    assert [(id, kind) for id, kind, _ in events] == [(e.id, e.type) for e in execution.events.values()]
    assert json.loads(events[0][2]) == {"text": "hello"}
    state = connection.execute("SELECT path, value FROM state WHERE run = 'r' ORDER BY seq").fetchall()
    assert [(name, json.loads(value)) for name, value in state] == [
        ("user", {"name": "Ada", "age": 36}),
        ("user.age", 37),
    ]
    steps = connection.execute(
        "SELECT invocation, attempt, step, outcome, starts FROM steps WHERE run = 'r'"
    ).fetchall()
    told = [
        (i.id, a.number, i.step, "failed" if a.error is not None else "completed", 1)
        for i in execution.history.invocations.values()
        for a in i.attempts
    ]
    assert sorted(steps) == sorted(told)
    assert len(connection.execute("SELECT * FROM records").fetchall()) == len(seen)
    assert set(VIEWS) == {"runs", "records", "events", "writes", "state", "steps"}


PATHS = ("", "a", "a.b", "a.b.c", "a-b.c", "a.bc", "ab", "b", "a..b", "a.", ".", "b.a", "ä.b")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.booleans()), max_size=12), st.booleans())
def test_the_state_is_what_nothing_was_written_over(writes: list[tuple[str, bool]], carried: bool) -> None:
    """A path is shown if it was not deleted, and neither it nor a path above it was written later."""
    SHARED.count += 1
    path = Path(SHARED.folder.name) / "states.db"
    journal, id = Journal(path, synchronous="normal"), f"s{SHARED.count}"
    start = Body(json=b'{"state":{"x":1}}') if carried else None
    records = [ContextWritten(2 + n, id, 1, 2, name, Body(n), gone) for n, (name, gone) in enumerate(writes)]
    journal([RunStarted(1, id, 1, "W", "g", carried=start), *records])
    journal([RunStarted(1, f"{id}-other", 1, "W", "g"), ContextWritten(2, f"{id}-other", 1, 2, "", Body(0))])
    told = [(1, "", False)] * carried + [(2 + n, name, gone) for n, (name, gone) in enumerate(writes)]
    standing = [
        (name, seq)
        for seq, name, gone in told
        if not gone and not any(s > seq and (o in {"", name} or name.startswith(f"{o}.")) for s, o, _ in told)
    ]
    connection = connect(path)
    rows = connection.execute("SELECT path, seq, value FROM state WHERE run = ? ORDER BY seq", (id,)).fetchall()
    assert [row[:2] for row in rows] == standing
    for name, seq, value in rows:
        assert json.loads(value) == ({"x": 1} if seq == 1 else seq - 2), name
    connection.close()
    journal.close()


def test_the_state_of_a_long_run_takes_no_longer_for_each_write(tmp_path: Path) -> None:
    """Four times as many writes are about four times as much work for SQLite."""
    journal = Journal(tmp_path / "a.db", synchronous="normal")
    for size in (500, 2000):
        writes = [ContextWritten(2 + n, f"r{size}", 1, 2, f"k.{n}", Body(n)) for n in range(size)]
        journal([RunStarted(1, f"r{size}", 1, "W", "g"), *writes])
    work = []
    for size in (500, 2000):
        connection, ticks = connect(tmp_path / "a.db"), list[int]()
        connection.set_progress_handler(lambda ticks=ticks: ticks.append(1), 1000)
        assert len(connection.execute("SELECT * FROM state WHERE run = ?", (f"r{size}",)).fetchall()) == size
        work.append(len(ticks))
        connection.close()
    assert work[1] < 6 * work[0]


def test_views_of_one_run_do_not_read_the_others(tmp_path: Path) -> None:
    """Whoever asks for one run is answered from its own rows."""
    Journal(tmp_path / "a.db").close()
    connection = connect(tmp_path / "a.db")
    for view in ("records", "events", "writes", "state", "steps"):
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE run = 'r'").fetchall()
        text = " ".join(row[3] for row in plan)
        assert "SCAN x" not in text, text
        assert "SCAN r " not in text, text


def runs_of_long_ago(journal: Journal, count: int, days: int, size: int = 10) -> None:
    """Write runs that ended long ago, the first one the longest."""
    now = time.time_ns()
    for number in range(count):
        at = now - days * DAY + number
        id = f"{days}-{number}"
        journal(
            [
                RunStarted(1, id, at, "W" * size, "g"),
                StepStarted(2, id, at, 2, 1, "a", 1),
                RunPaused(3, id, at, "waiting") if number == 0 else RunCompleted(3, id, at, 1),
            ]
        )


def test_old_runs_are_deleted(tmp_path: Path) -> None:
    """By age: ended runs only, with all their rows, and the file shrinks."""
    journal = Journal(tmp_path / "a.db", synchronous="normal", max_age=timedelta(days=10))
    runs_of_long_ago(journal, 5, 1)
    runs_of_long_ago(journal, 5, 20)
    runs_of_long_ago(journal, 5, 30, 10_000)
    pages = journal.connection.execute("PRAGMA page_count").fetchone()
    assert journal.prune() == 8
    left = [info.id for info in JournalSource(journal.path).runs()]
    assert left == ["30-0", "20-0", *(f"1-{number}" for number in range(5))]
    assert journal.connection.execute("SELECT count(*) FROM record").fetchone() == (21,)
    assert journal.connection.execute("PRAGMA page_count").fetchone() < pages
    assert journal.prune() == 0
    assert Journal(tmp_path / "a.db").prune() == 0


def test_old_runs_that_cannot_be_deleted_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is written is written: a run does not fail because others could not be deleted. This is told once."""
    journal = Journal(tmp_path / "a.db", synchronous="normal", max_age=10)
    runs_of_long_ago(journal, 3, 20)
    journal.connection.execute("CREATE TRIGGER kept BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'kept'); END")
    with caplog.at_level(logging.ERROR, "otflow"):
        runs_of_long_ago(journal, 200, 1)
        again = Journal(tmp_path / "a.db", max_age=10)  # which does so when it is opened
    assert len(list(JournalSource(journal.path).runs())) == 203
    assert [record.getMessage()[:12] for record in caplog.records] == ["The journal "] * 2
    with pytest.raises(JournalError, match="kept"):  # who asks for it is told
        again.prune()
    journal.connection.execute("DROP TRIGGER kept")
    assert again.prune() == 2


def test_large_journals_are_cut(tmp_path: Path) -> None:
    """By size: the oldest ended runs go until it fits, and no more."""
    journal = Journal(tmp_path / "a.db", synchronous="normal", max_size=500_000)
    runs_of_long_ago(journal, 63, 1, 20_000)
    assert len(list(JournalSource(journal.path).runs())) == 63
    runs_of_long_ago(journal, 4, 2, 20_000)  # with which it is looked after
    left = [info.id for info in JournalSource(journal.path).runs()]
    assert "2-0" in left
    assert "1-0" in left  # they wait
    assert "1-62" in left
    assert 10 < len(left) < 30


GROUPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.booleans()), min_size=1, max_size=4)


@given(st.lists(st.tuples(GROUPS, st.booleans()), max_size=20))
def test_lists_look_at_few_records(groups: list[tuple[list[tuple[str, int, bool]], bool]]) -> None:
    """Alone, together, beside what is refused, after a crash: a list counts less than 64 records, and is right."""
    SHARED.count += 1
    journal = Journal(Path(SHARED.folder.name) / f"list-{SHARED.count}.db", synchronous="normal")
    last = dict[str, int]()
    refused: list[Record] = [RunStarted(1, "there", 1, "W", "g")]
    journal(refused)
    for group, spoiled in groups:
        batches: list[list[Record]] = []
        for id, size, pauses in group:
            first = last.get(id, 0) + 1
            last[id] = first + size
            begin: list[Record] = [RunStarted(first, id, first, "W", "g")] if first == 1 else []
            some = range(first + len(begin), last[id] + 1)
            batches.append([*begin, *(StepStarted(seq, id, seq, 2, 1, "a", 1) for seq in some)])
            if pauses:
                last[id] += 1
                batches.append([RunPaused(last[id], id, last[id], "waiting")])
        errors = journal.write_all([*batches, refused] if spoiled else batches)
        assert errors[: len(batches)] == [None] * len(batches)
        assert [type(error) for error in errors[len(batches) :]] == [JournalError] * spoiled
        check_list(journal, *last)
        if len(group) == 1:
            journal.abandon(group[0][0])  # as if its process had ended
    journal.close()


def test_others_read_while_one_writes(tmp_path: Path) -> None:
    """A reader is not held up by a transaction that is open, and sees what was committed."""
    path = tmp_path / "a.db"
    dispatcher, *_ = wire(path)
    run(Fan(dispatcher=dispatcher))
    other = connect(path)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM record")
    assert JournalSource(path, busy_timeout=0.01).run(next(iter(JournalSource(path).runs())).id).complete
    other.execute("ROLLBACK")
