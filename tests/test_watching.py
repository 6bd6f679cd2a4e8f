"""docs/watching.md says what there is, no more and no less, in the words of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from otflow.records.record import Record
from otflow.records.semconv import ATTRIBUTES, LINKS, OUTCOMES, SPANS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "watching.md").read_text(encoding="utf-8")


def read_table(head: str) -> dict[str, str]:
    """Read the table whose first column is called so: first column to second column, without marks for code."""
    found = re.search(rf"^\| {re.escape(head)} \| (meaning|what it is) \|$", PAGE, re.MULTILINE)
    assert found, f"docs/watching.md has no table '{head}'"
    rows = []
    for line in PAGE[found.end() :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return {row[0].strip("`"): row[1].replace("`", "") for row in rows}


@pytest.mark.parametrize(
    ("heads", "table"),
    [
        (["span"], SPANS),
        (["otflow's own", "of conventions that others define"], ATTRIBUTES),
        (["`otflow.link.kind`"], LINKS),
        (["`otflow.outcome`"], OUTCOMES),
    ],
    ids=["spans", "attributes", "links", "outcomes"],
)
def test_names_are_documented(heads, table):
    """Every span, attribute, link kind and outcome stands in the page with the meaning that the code gives it."""
    written: dict[str, str] = {}
    for head in heads:
        written |= read_table(head)
    assert written == {name: meaning.replace("`", "") for name, meaning in table.items()}


def test_own_attributes_stand_apart():
    """What otflow defines is not mixed with what others define."""
    assert all(key.startswith("otflow.") for key in read_table("otflow's own"))
    assert not [key for key in read_table("of conventions that others define") if key.startswith("otflow.")]


def test_records_are_documented():
    """Every record stands in the page, with all of its own fields; no field is told that there is not."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (.*) \|$", PAGE, re.MULTILINE)
    told = {
        name: set(re.findall(r"`(\w+)`", fields))
        for name, fields in rows
        if name in {k.__name__ for k in get_args(Record)}
    }
    fields = {kind.__name__: set(kind.__struct_fields__[3:]) for kind in get_args(Record)}
    assert told.keys() == fields.keys()
    names = set().union(*fields.values())
    for name, own in fields.items():
        assert own <= told[name], name
        assert told[name] & names - own <= {"parent"}, name
