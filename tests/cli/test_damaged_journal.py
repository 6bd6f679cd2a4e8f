"""Commands over a journal in which something is damaged, taken already, or not there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.cli.test_commands import SHOP, TEA, Said, is_one_line, otflow, shop

__all__ = ["otflow", "shop"]


def test_one_damaged_record_does_not_hide_the_other_runs(shop: Callable[..., Said]) -> None:
    """`stats --all` leaves out a run that cannot be read, names it with the record, and tells no payload."""
    with closing(sqlite3.connect(".otflow/runs.db")) as connection, connection:
        connection.execute(
            'UPDATE record SET data = \'{"record":"sesame"}\' WHERE id = (SELECT (no << 32) + 3 FROM run WHERE id = ?)',
            ("first",),
        )
    assert shop("run", SHOP, *TEA, "--run-id", "third").code == 0
    told = shop("stats", "--all", "--json")
    assert told.code == 0
    assert [each["run"] for each in told.json()["runs"]] == ["second", "third"]  # type: ignore[index]  # it is a dict
    words = " ".join(told.err.split())
    assert "run first is left out: Record 3 of run first cannot be read from the journal" in words
    assert shop("stats", "first").code == 1
    only = shop("stats", "first", "second")
    assert only.code == 1
    is_one_line(only, "Record 3 of run first")


def test_a_mistyped_journal_is_not_made(otflow: Callable[..., Said]) -> None:
    """Going on with a run of a journal that is not there leaves no file behind."""
    said = otflow("resume", "r", "--journal", "typo.db")
    assert said.code == 3
    assert not list(Path().iterdir())
