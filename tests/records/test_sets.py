"""Sets in payloads: whichever process writes them, their JSON is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field, field_serializer

from otflow.events import Event
from otflow.records.body import Body
from otflow.records.sets import holds_set

PROGRAM = """
from otflow.events import Event
from otflow.records.body import Body
words = {f"word {number}" for number in range(20)}
print(Body(Event(words=words, inner={frozenset(words), frozenset({"a", "b"})})).json.decode())
"""


class Tagged(Event):
    tags: set[str] = Field(set())
    names: frozenset[int] = Field(frozenset(), serialization_alias="Names")
    inner: dict[int, set[str]] = Field({})


class Renamed(Event, serialize_by_alias=True):
    names: set[str] = Field(alias="Names")


class Written(Event):
    tags: set[str]

    @field_serializer("tags")
    def write(self, value: set[str]) -> str:
        return ",".join(sorted(value))


class Closed(BaseModel):
    rows: list[tuple[float, str]]
    kind: Literal["a", "b"] = "a"
    note: str | None = None


@dataclass
class Plain:
    items: set[str]


@dataclass
class Slotted:
    __slots__ = ("items",)
    items: set[str]


def told(value: object) -> object:
    """Return what is written of a value."""
    return msgspec.json.decode(Body(value).json)


def test_processes_write_the_same():
    """However a process hashes texts, it writes a set in the same order."""
    written = set()
    for seed in range(3):
        environment = os.environ | {"PYTHONHASHSEED": f"{seed}"}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        written.add(ran.stdout)
    assert len(written) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"c", "a", "b"}, ["a", "b", "c"]),
        ({10, 9, 2.5}, [2.5, 9, 10]),
        ({"b", 1, None}, ['"b"', "1", "null"]),
        ({frozenset({"d", "c"}), frozenset({"b", "a"})}, [["a", "b"], ["c", "d"]]),
        ({"way": [({"y", "x"},)]}, {"way": [[["x", "y"]]]}),
        ({1: {"y", "x"}}, {"1": ["x", "y"]}),
        (OrderedDict(z={"y", "x"}), {"z": ["x", "y"]}),
        (Plain({"y", "x"}), {"items": ["x", "y"]}),
        (Event(tags={"y", "x"}), {"tags": ["x", "y"]}),
        (Tagged(tags={"y", "x"}, inner={1: {"b", "a"}}), {"tags": ["x", "y"], "names": [], "inner": {"1": ["a", "b"]}}),
        (Renamed(Names={"y", "x"}), {"Names": ["x", "y"]}),
        (Written(tags={"y", "x"}, more=[1]), {"tags": "x,y", "more": [1]}),
        ({"a": {1, 2}, 1: [], "1": []}, {"a": [1, 2], "1": []}),
    ],
)
def test_sets_are_in_order(value, expected):
    """Numbers and texts are sorted as such, all else by its JSON, at any depth; what is no set stays as it is."""
    if expected == ['"b"', "1", "null"]:
        expected = ["b", 1, None]
    assert told(value) == expected


def test_other_lists_keep_their_order():
    """What has an order of its own is not sorted."""
    assert told(Event(items=["b", "a"], pair=("b", "a"), sets=[{"b", "a"}])) == {
        "items": ["b", "a"],
        "pair": ["b", "a"],
        "sets": [["a", "b"]],
    }


def test_numbers_and_texts_are_kept():
    """Large numbers, fractions and all letters are the same beside a set as without one."""
    value: dict[str, Any] = {"big": 2**80, "small": 1e-300, "text": 'é"\n\u2028', "none": None}
    assert Body(value | {"s": set()}).json == Body(value | {"s": []}).json


def test_what_cannot_have_a_set_is_not_searched():
    """A field whose annotation leaves no room for a set is not looked at, and a long list only at its beginning."""
    assert not holds_set(Closed(rows=[(1.0, "x")]))
    assert not holds_set(Event())
    assert not holds_set(Closed.model_construct(rows={1}))
    assert holds_set([0, {1}])
    assert not holds_set([0] * 100 + [{1}])
    assert not holds_set({number: number for number in range(1000)})
    assert holds_set(Event(**{f"n{number}": number for number in range(200)}, last={1}))
    assert not holds_set(Slotted({"x"}))


def test_what_holds_itself_is_searched_to_a_depth():
    """A search ends, although an object never does."""
    around: list[object] = []
    around.append(around)
    assert not holds_set(around)
