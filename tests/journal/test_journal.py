"""The journal writes what the dispatcher passes on, first and whole, or stops the run."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow import (
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    configure,
    step,
)
from otflow.dispatcher import default_dispatcher
from otflow.journal import (
    Journal,
    JournalBusyError,
    JournalError,
    JournalSource,
    RunNotFoundError,
    RunOwnedError,
)
from otflow.records.body import Body
from otflow.records.record import Record, RunResumed, RunStarted, StepCompleted, StepStarted
from tests.drivers import CoreDriver
from tests.journal.writing import Fan, Human, check_list, run, until_asked, wire
from tests.laws.stories import tell_story
from tests.printing import Names
from tests.scenario import read_action


class Big(Event):
    """Does not fit."""

    text: str


class Little(Workflow):
    """Fits into what is left."""

    @step
    async def first(self, ev: StartEvent) -> StopEvent:
        """End."""
        return StopEvent()


class Shared:
    """One journal for many examples, in which no run has the id of another."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory()
        self.count = 0

    def journal(self) -> Journal:
        """Open it, for runs with ids of their own."""
        self.count += 1
        return Journal(Path(self.folder.name) / "a.db", synchronous="normal")

    def rename(self, record: Record) -> Record:
        """Return a record of the run as one with an id of its own."""
        record = msgspec.structs.replace(record, run=f"run-{self.count}")
        if isinstance(record, RunResumed) and record.snapshot is not None:
            saved = msgspec.json.decode(record.snapshot.whole) | {"run": record.run}
            return msgspec.structs.replace(record, snapshot=Body(json=msgspec.json.encode(saved)))
        return record


SHARED = Shared()


def test_records_come_back(tmp_path: Path) -> None:
    """What the journal gives is what was committed."""
    dispatcher, _, seen = wire(tmp_path / "a.db")
    assert run(Fan(dispatcher=dispatcher)) == 3
    source = JournalSource(tmp_path / "a.db")
    [info] = source.runs()
    assert list(source.run(info.id).records) == seen
    assert info[1:] == ("Fan", seen[0].at, seen[-1].at, "completed", len(seen), str(tmp_path / "a.db"))
    assert source.run(info.id).complete


@given(st.integers(0, 2**32), st.lists(st.integers(0, 2**32), min_size=5, max_size=25))
def test_records_of_any_story_come_back(seed: int, numbers: list[int]) -> None:
    """Also those of random stories, in one journal beside each other."""
    scenario = tell_story(seed, numbers)
    core, names, seen = CoreDriver(scenario), Names(), list[Record]()
    journal = SHARED.journal()
    for line in scenario.lines:
        batch = [*core.do(read_action(line), names)]
        for record in batch:
            names.learn(record)
            if isinstance(record, RunResumed) and record.snapshot is not None:
                journal.abandon(f"run-{SHARED.count}")  # as if its process had ended
        journal([SHARED.rename(record) for record in batch])
        check_list(journal, f"run-{SHARED.count}")
        seen += map(SHARED.rename, batch)
    read = JournalSource(journal.path).run(f"run-{SHARED.count}")
    assert list(read.records) == seen
    journal.close()


def test_the_journal_comes_before_effects(tmp_path: Path) -> None:
    """While a step works, its start and all that led to it can be read by others."""
    path = tmp_path / "a.db"

    class Look(Workflow):
        @step
        async def first(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=[type(r).__name__ for r in JournalSource(path).run("r").records])

    dispatcher, *_ = wire(path)
    assert run(Look(dispatcher=dispatcher), run_id="r") == ["RunStarted", "EventReceived", "StepStarted"]


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    """What cannot be written is not done: the run fails with that error, and what was written stays."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")
    called = []

    class Grow(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Big:
            [pages] = journal.connection.execute("PRAGMA page_count").fetchone()
            journal.connection.execute(f"PRAGMA max_page_count = {pages}")
            return Big(text="x" * 100_000)

        @step
        async def second(self, ev: Big) -> StopEvent:
            called.append(ev)
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError, match="no room left"):
        run(Grow(dispatcher=dispatcher), run_id="r")
    assert not called
    read = JournalSource(tmp_path / "a.db").run("r")
    assert [type(record).__name__ for record in read.records] == ["RunStarted", "EventReceived", "StepStarted"]
    assert read.outcome == "open"
    journal.connection.execute("PRAGMA max_page_count = 1000000")
    assert run(Little(dispatcher=dispatcher)) is None


def test_a_locked_journal_stops_the_run(tmp_path: Path) -> None:
    """Who cannot write within the busy timeout says that another process writes."""
    dispatcher, *_ = wire(tmp_path / "a.db", busy_timeout=0.01)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        WorkflowRuntimeError, match=r"locked: another process has been writing it for more than 0\.01"
    ) as c:
        run(Fan(dispatcher=dispatcher))
    assert isinstance(c.value.__cause__, JournalBusyError)
    other.execute("ROLLBACK")
    assert run(Fan(dispatcher=dispatcher)) == 3


def test_runs_of_several_threads_share_commits(tmp_path: Path) -> None:
    """Records of runs in the loops of several threads all come to the journal, and a fault of one is its own."""
    dispatcher, journal, seen = wire(tmp_path / "a.db", synchronous="normal")
    run(Fan(dispatcher=dispatcher), run_id="twice")
    failed = []

    def live(number: int) -> None:
        try:
            run(Fan(dispatcher=dispatcher), run_id="twice" if number % 4 == 0 else f"r{number}")
        except WorkflowRuntimeError as error:
            failed.append(str(error))

    threads = [Thread(target=live, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 4
    assert all("is in the journal already (completed)" in text for text in failed)
    infos = list(JournalSource(journal.path).runs())
    assert {info.outcome for info in infos} == {"completed"}
    assert len(infos) == 13
    assert sum(info.records for info in infos) == len(seen) - 4  # a RunFailed each, which only observers got


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """The journal and its companions have the mode 0600."""
    dispatcher, *_ = wire(tmp_path / "a.db")
    run(Fan(dispatcher=dispatcher))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert len(modes) == 4


def test_no_record_is_written_twice(tmp_path: Path) -> None:
    """A second copy of a record is refused."""
    journal = Journal(tmp_path / "a.db")
    first = RunStarted(1, "r", 1, "W", "g")
    journal([first, StepStarted(2, "r", 1, 2, 1, "a", 1)])
    with pytest.raises(JournalError, match="nothing is written twice"):
        journal([StepStarted(2, "r", 1, 2, 1, "a", 1)])
    with pytest.raises(JournalError, match="is in the journal already"):
        journal([first])
    assert JournalSource(tmp_path / "a.db").run("r").records[-1].seq == 2


def test_a_child_of_a_fork_writes_for_itself(tmp_path: Path) -> None:
    """A forked process opens the file anew, and owns its own runs."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")
    run(Fan(dispatcher=dispatcher), run_id="parent")
    journal([RunStarted(1, "open", 1, "W", "g")])
    child = os.fork()
    if not child:
        code = 1
        try:
            journal([RunStarted(1, "child", 1, "W", "g")])
            journal([StepCompleted(2, "open", 1, 2, 1)])
        except RunOwnedError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    journal([StepCompleted(2, "open", 1, 2, 1)])
    assert {info.id for info in JournalSource(journal.path).runs()} == {"parent", "open", "child"}


def test_prefixes_name_runs(tmp_path: Path) -> None:
    """A run is found by the beginning of its id that no other one shares."""
    journal = Journal(tmp_path / "a.db")
    for id in ("abc", "abd", "ab%"):
        journal([RunStarted(1, id, 1, "W", "g")])
    source = JournalSource(tmp_path / "a.db")
    assert source.run("abc").run_id == source.run("abc").run_id == "abc"
    assert source.run("ab%").run_id == "ab%"
    with pytest.raises(RunNotFoundError, match="Several runs begin with 'ab': ab%, abc, abd"):
        source.run("ab")
    with pytest.raises(RunNotFoundError, match="no run 'x'"):
        source.run("x")
    with pytest.raises(RunNotFoundError, match="no run ''"):
        source.run("")


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    """Other files are named, and left as they are."""
    with pytest.raises(JournalError, match="There is no journal"):
        JournalSource(tmp_path / "no.db")
    (tmp_path / "text").write_text("no database, but a text of some length" * 10)
    with pytest.raises(JournalError, match="is no SQLite database"):
        Journal(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE x (y)")
    other.commit()
    for make in (Journal, JournalSource):
        with pytest.raises(JournalError, match="database of something else"):
            make(tmp_path / "other.db")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "no" / "a.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalError, match="is empty"):
        JournalSource(tmp_path / "empty.db")
    with pytest.raises(WorkflowConfigurationError, match="use 'full' or 'normal'"):
        Journal(tmp_path / "a.db", synchronous="off")  # type: ignore[arg-type]  # that is the point


def test_configure_takes_a_path(tmp_path: Path) -> None:
    """A path, a journal or the variable attach a journal; taking it back closes what was opened."""
    undo = configure(journal=tmp_path / "a.db")
    run(Fan())
    [journal] = default_dispatcher.journals
    undo()
    assert default_dispatcher.journals == ()
    assert isinstance(journal, Journal)
    with pytest.raises(JournalError):
        journal([RunStarted(1, "r", 1, "W", "g")])
    own = Journal(tmp_path / "a.db")
    undo = configure(journal=own)
    run(Fan())
    undo()
    assert [info.outcome for info in JournalSource(own.path).runs()] == ["completed"] * 2


def test_the_variable_asks_for_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTFLOW_JOURNAL is enough; a file that cannot be used stops runs from beginning."""
    monkeypatch.setenv("OTFLOW_JOURNAL", str(tmp_path / "a.db"))
    configure()
    run(Fan())
    assert len(list(JournalSource(tmp_path / "a.db").runs())) == 1
    monkeypatch.setenv("OTFLOW_JOURNAL", str(tmp_path / "no" / "a.db"))
    configure()
    with pytest.raises(JournalError, match="cannot be opened"):
        run(Fan())
    monkeypatch.delenv("OTFLOW_JOURNAL")
    configure()
    run(Fan())


def test_redacted_journals_hide_secrets(tmp_path: Path) -> None:
    """Payloads are whole, unless the journal is told to hide what spans hide."""
    for redacted in (False, True):
        path = tmp_path / f"{redacted}.db"
        dispatcher, journal, _ = wire(path, redacted=redacted)
        run(Fan(dispatcher=dispatcher), password="sesame")
        journal.close()
        assert (b"sesame" in b"".join(p.read_bytes() for p in tmp_path.glob(f"{redacted}.db*"))) is not redacted


def test_a_run_that_waits_is_shown_as_paused(tmp_path: Path) -> None:
    """The list of runs says where each stands, while it goes on and after its process has ended it."""
    dispatcher, journal, _ = wire(tmp_path / "a.db")

    async def main() -> None:
        await until_asked(Human(dispatcher=dispatcher))
        await asyncio.sleep(0)
        [info] = JournalSource(journal.path).latest()
        assert info.outcome == "paused"

    asyncio.run(main())
    [info] = JournalSource(journal.path).latest(workflow="Human")
    assert info.outcome == "cancelled"
    assert JournalSource(journal.path).latest(workflow="Other") == []
