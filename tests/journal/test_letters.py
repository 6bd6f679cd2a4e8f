"""Events that are kept for a run: those that it cannot take never keep it from going on, and are never lost."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from otflow import Context, Event, HumanResponseEvent, StartEvent, StopEvent, Workflow, step
from otflow.dispatcher import Dispatcher
from otflow.journal import Journal, JournalError, JournalSource, RunNotFoundError, answer, list_letters, remove_letter
from otflow.journal.schema import MIGRATIONS, VIEWS
from tests.journal.writing import Ask, Human, elsewhere, until_asked


class Reply(HumanResponseEvent):
    """An answer with a field of its own."""

    amount: int


class Asking(Workflow):
    """Waits for one answer."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        """Ask, and wait."""
        return StopEvent(result=(await ctx.wait_for_event(Reply, Ask(), timeout=None)).amount)


def leave(path: Path, kind: type[Workflow] = Asking) -> str:
    """Run until it asks; return the id."""
    dispatcher, journal = Dispatcher(), Journal(path)
    detach = dispatcher.attach(journal, journal=True)
    id = asyncio.run(until_asked(kind(dispatcher=dispatcher)))
    detach()
    journal.close()
    return id


def spoil(path: Path, column: str, value: str) -> None:
    """Change the letters that are there."""
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE inbox SET {column} = ?", (value,))
    connection.commit()
    connection.close()


def go_on(path: Path, id: str, *events: Event) -> object:
    """Go on with a run, send it events, and return its result."""

    async def main() -> object:
        handler = Asking(dispatcher=Dispatcher()).resume(id, path)
        for event in events:
            handler.ctx.send_event(event)
        return await handler

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("type", "tests.nowhere:Gone", "which cannot be found"),
        ("type", "otflow.journal.journal:Journal", "is no event"),
        ("data", '{"response": "sesame", "amount": "sesame"}', "amount: Input should be a valid integer"),
        ("data", "{}", "amount: Field required"),
        ("data", "no JSON", "Invalid JSON"),
        ("step", "nobody", "there is no step 'nobody'"),
        ("step", "ask", "step 'ask' does not accept it"),
    ],
)
def test_a_letter_that_cannot_be_read_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, value: str, reason: str
) -> None:
    """The run goes on without it; it stays in the journal with the reason, which is told once, without the payload."""
    path = tmp_path / "a.db"
    id = leave(path)
    answer(id, Reply(response="", amount=1), journal=path)
    spoil(path, column, value)
    with caplog.at_level(logging.WARNING, "otflow"):

        async def give_up() -> None:
            handler = Asking(dispatcher=Dispatcher()).resume(id, path)
            await handler.cancel_run()

        asyncio.run(give_up())
        assert go_on(path, id, Reply(response="", amount=7)) == 7
    [told] = [record.getMessage() for record in caplog.records if record.name.startswith("otflow.replay")]
    assert reason in told
    assert "sesame" not in told
    [letter] = list_letters(path)
    assert reason in letter.reason
    assert (letter.run, getattr(letter, column)) == (id, value)


def test_the_others_are_delivered(tmp_path: Path) -> None:
    """A letter that can be read is received, whatever stands before it."""
    path = tmp_path / "a.db"
    id = leave(path)
    answer(id, Reply(response="", amount=1), journal=path)
    spoil(path, "step", "nobody")
    answer(id, Reply(response="", amount=2), journal=path)
    assert go_on(path, id) == 2
    assert [letter.step for letter in list_letters(path)] == ["nobody"]


def test_a_run_that_is_refused_leaves_its_letters(tmp_path: Path) -> None:
    """If nobody can go on with the run, its letters wait for the one who can."""
    path = tmp_path / "a.db"
    id = leave(path, Human)
    answer(id, HumanResponseEvent(response="yes"), journal=path)

    async def main() -> None:
        with pytest.raises(JournalError):
            Asking(dispatcher=Dispatcher(), workflow_name="Human").resume("x", path)
        with pytest.raises(Exception, match="is one of workflow 'Human'"):
            Asking(dispatcher=Dispatcher()).resume(id, path)

    asyncio.run(main())
    [letter] = list_letters(path, id[:8])
    assert letter.reason == ""


def test_letters_are_listed_and_removed(tmp_path: Path) -> None:
    """By the file or the open journal, of one run or of all; a number that is not there is an error."""
    path = tmp_path / "a.db"
    first, second = leave(path), leave(path)
    for number, id in enumerate((first, second, first)):
        answer(id, Reply(response="", amount=number), journal=path, step="ask" if number else None)
    for place in (path, journal := Journal(path)):
        assert [letter.run for letter in list_letters(place)] == [first, second, first]
        assert [(letter.number, letter.step) for letter in list_letters(place, first)] == [(1, ""), (3, "ask")]
    remove_letter(1, journal=path)
    remove_letter(2, journal=journal)
    assert [letter.number for letter in JournalSource(path).letters()] == [3]
    with pytest.raises(JournalError, match="no letter 2 in the journal"):
        remove_letter(2, journal=path)
    with pytest.raises(RunNotFoundError):
        list_letters(path, "nobody")


def test_a_file_that_was_not_brought_up_to_date_lists_its_letters(tmp_path: Path) -> None:
    """A journal of the first version is only read, and its letters have no reasons."""
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(MIGRATIONS[0])
    connection.execute("INSERT INTO run (no, id, started, ended, last) VALUES (1, 'r', 1, 1, 1)")
    connection.execute("INSERT INTO inbox (run, at, type, data) VALUES (1, 5, 'a:B', '{}')")
    connection.executescript("PRAGMA application_id = 133234689; PRAGMA user_version = 1")
    [letter] = list_letters(path)
    assert letter == ("a:B", "{}", "", 1, "r", 5, "")
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    answer("r", Reply(response="", amount=1), journal=path)
    assert [each.number for each in list_letters(path)] == [1, 2]
    assert {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'")} == set(VIEWS)


def test_a_mistyped_name_makes_no_file(tmp_path: Path) -> None:
    """Whoever answers, lists, removes or resumes with a name that is not there is told so, and nothing is made."""
    path = tmp_path / "typo.db"

    async def resume() -> None:
        Asking(dispatcher=Dispatcher()).resume("r", path)

    for attempt in (
        lambda: answer("r", Reply(response="", amount=1), journal=path),
        lambda: list_letters(path),
        lambda: remove_letter(1, journal=path),
        lambda: asyncio.run(resume()),
    ):
        with pytest.raises(JournalError, match=r"There is no journal .*typo\.db"):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_letter_is_received_once(tmp_path: Path) -> None:
    """Whether the process that takes it lives or dies, the next one does not get it again."""
    path = tmp_path / "a.db"
    id = leave(path)
    answer(id, Reply(response="", amount=3), journal=path)
    code = (
        "import asyncio, os; from otflow.dispatcher import Dispatcher; from tests.journal.test_letters import Asking\n"
        "async def main():\n"
        f"    handler = Asking(dispatcher=Dispatcher()).resume({id!r}, j)\n"
        "    await handler\n"
        "    print('done', flush=True); os._exit(0)\n"
        "asyncio.run(main())"
    )
    with elsewhere(path, code) as said:
        assert said == "done"
    assert list_letters(path) == []
    assert JournalSource(path).run(id).outcome == "completed"
