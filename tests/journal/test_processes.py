"""Several processes and one journal: who owns what, who is let in, and what the child of a fork has."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest

from otflow import StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalError, JournalSource, RunOwnedError
from otflow.journal.owners import find_owner
from otflow.records.record import RunCompleted, RunResumed, RunStarted, StepCompleted
from tests.journal.writing import Human, elsewhere, until_asked, wire

BEGIN = "j([RunStarted(1, 'new', 1, 'W', 'g')]); print('begun', flush=True)"
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


class Faster(Journal):
    """A journal of which another process completes a run as soon as this one has found it."""

    def find(self, run: str) -> str:
        """Find a run too late."""
        id = super().find(run)
        code = f"j.claim({id!r}); r = len(j.read({id!r})) + 1; j([RunResumed(r, {id!r}, 9)]); "
        code += f"j([RunCompleted(r + 1, {id!r}, 9, 1)]); print('done', flush=True)"
        with elsewhere(self.path, code) as said:
            assert said == "done"
        return id


def test_a_run_that_ended_meanwhile_is_not_gone_on_with(tmp_path: Path) -> None:
    """However little time there is between a look at a run and its claim: what has completed stays completed."""
    dispatcher = Dispatcher()
    dispatcher.attach(Journal(tmp_path / "a.db"), journal=True)
    id = asyncio.run(until_asked(Human(dispatcher=dispatcher)))
    journal = Faster(tmp_path / "a.db")

    async def main() -> None:
        with pytest.raises(JournalError, match=r"has ended \(completed\), so there is nothing to go on with"):
            Human(dispatcher=Dispatcher()).resume(id, journal)

    asyncio.run(main())
    execution = JournalSource(tmp_path / "a.db").run(id)
    assert [type(record) for record in execution.records[-2:]] == [RunResumed, RunCompleted]
    assert execution.outcome == "completed"


def test_what_has_ended_cannot_be_claimed(tmp_path: Path) -> None:
    """A run that completed belongs to nobody again, and one that was cancelled can be claimed."""
    journal = Journal(tmp_path / "a.db")
    journal([RunStarted(1, "r", 1, "W", "g"), RunCompleted(2, "r", 1, 0)])
    with pytest.raises(JournalError, match="has ended"):
        journal.claim("r")
    assert JournalSource(journal.path).run("r").outcome == "completed"


def test_a_refused_beginning_keeps_nobody_out(tmp_path: Path) -> None:
    """A process of which the first batch was refused holds no number that others are given."""
    path = tmp_path / "a.db"
    with elsewhere(path, BEGIN) as said:
        assert said == "begun"
    journal = Journal(path)
    with pytest.raises(JournalError, match="is in the journal already"):
        journal([RunStarted(1, "new", 1, "W", "g")])
    for number in range(2):
        with elsewhere(path, BEGIN.replace("new", f"new-{number}")) as said:
            assert said == "begun"
    journal([RunStarted(1, "mine", 1, "W", "g")])


def test_a_number_that_was_not_written_down_is_left(tmp_path: Path) -> None:
    """If the transaction fails in which a process gets its number, the lock of the number goes with it."""
    journal = Journal(tmp_path / "a.db")
    connection = journal.connection
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE above (x PRIMARY KEY);"
        "CREATE TABLE below (x REFERENCES above DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TRIGGER late AFTER INSERT ON owner BEGIN INSERT INTO below VALUES (1); END;"
    )
    with pytest.raises(JournalError, match="FOREIGN KEY"):
        journal([RunStarted(1, "r", 1, "W", "g")])
    connection.execute("DROP TRIGGER late")
    with elsewhere(journal.path, BEGIN + "; input()") as said:
        assert said == "begun"
        assert connection.execute("SELECT number FROM owner").fetchall() == [(1,)]
        journal([RunStarted(1, "r", 1, "W", "g")])
        assert connection.execute("SELECT number FROM owner").fetchall() == [(1,), (2,)]


def test_a_number_whose_lock_is_taken_is_passed_over(tmp_path: Path) -> None:
    """A process that still has the locks of an older file of this name keeps nobody from using the new one."""
    path = tmp_path / "a.db"
    owner = find_owner(f"{path}-owners")
    assert owner.take(1)
    with elsewhere(path, BEGIN) as said:
        assert said == "begun"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT number FROM owner").fetchall() == [(2,)]
    connection.close()
    owner.leave()


# ---------------------------------------------------------------- forks


def in_child(work: Callable[[], object]) -> int:
    """Fork, and do something in the child; return the number of the child. Its exit code is 0 if that went well."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(30)  # ends a child that hangs
        work()
        code = 0
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """Wait for a child; return its status: 0 if all went well."""
    return os.waitpid(child, 0)[1]


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the law is about forks beside threads
def test_a_fork_beside_a_thread_that_writes_does_not_hang(tmp_path: Path) -> None:
    """Whatever the other threads do in that moment, the child can run workflows, and the parent goes on."""

    class One(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    dispatcher, journal, _ = wire(tmp_path / "a.db", synchronous="normal")
    begun, over = Flag(), Flag()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            journal([RunStarted(1, f"r{number}", 1, "W", "g"), RunCompleted(2, f"r{number}", 1, 0)])
            begun.set()

    async def run(number: int) -> None:
        assert await One(dispatcher=dispatcher).run(run_id=f"child-{number}") == 1

    thread = Thread(target=write)
    thread.start()
    begun.wait(30)
    try:
        for number in range(20):
            assert wait(in_child(lambda number=number: asyncio.run(run(number)))) == 0  # type: ignore[misc]  # bound
    finally:
        over.set()
        thread.join()
    infos = {info.id: info.outcome for info in JournalSource(journal.path).runs()}
    assert set(infos.values()) == {"completed"}
    assert len([id for id in infos if id.startswith("child")]) == 20


@forks
def test_a_child_has_locks_of_its_own(tmp_path: Path) -> None:
    """The child of a fork is known to others as a user of the file, also when its parent has closed it."""
    path = tmp_path / "a.db"
    journal, source = Journal(path), JournalSource(path)
    journal([RunStarted(1, "parent", 1, "W", "g")])
    (wait_for_parent, parent), (wait_for_child, child) = os.pipe(), os.pipe()

    def work() -> None:
        journal([RunStarted(1, "child", 1, "W", "g")])
        os.write(child, b"x")
        os.read(wait_for_parent, 1)
        journal([StepCompleted(2, "child", 1, 2, 1)])
        assert {info.id for info in source.runs()} == {"parent", "child", "new"}

    process = in_child(work)
    os.read(wait_for_child, 1)
    journal.close()
    source.close()
    with elsewhere(path, BEGIN + "; j.close()") as said:
        assert said == "begun"
    assert Path(f"{path}-wal").exists()  # the last user of a file removes it
    os.write(parent, b"x")
    assert wait(process) == 0
    assert {info.id: info.records for info in JournalSource(path).runs()} == {"parent": 1, "child": 2, "new": 1}
    for pipe in (wait_for_parent, parent, wait_for_child, child):
        os.close(pipe)


@forks
def test_a_child_owns_nothing_of_its_parent(tmp_path: Path) -> None:
    """Runs of the parent are refused to the child, as to any other process, and its number is another one."""
    journal = Journal(tmp_path / "a.db")
    journal([RunStarted(1, "r", 1, "W", "g")])

    def work() -> None:
        with pytest.raises(RunOwnedError, match=f"process {os.getppid()}"):
            journal.claim("r")
        journal([RunStarted(1, "s", 1, "W", "g")])

    assert wait(in_child(work)) == 0
    owners = journal.connection.execute("SELECT run.id, run.owner FROM run ORDER BY id").fetchall()
    assert owners == [("r", 1), ("s", 2)]
    journal.claim("s")  # its process has ended


@forks
def test_a_closed_journal_stays_closed_in_a_child(tmp_path: Path) -> None:
    """Forking opens nothing that was closed."""
    journal = Journal(tmp_path / "a.db")
    journal.close()

    def work() -> None:
        with pytest.raises(JournalError):
            journal([RunStarted(1, "r", 1, "W", "g")])

    assert wait(in_child(work)) == 0
