"""Bodies: a live object for those who have it, the same JSON for everyone else."""

from __future__ import annotations

import json
import warnings

import pytest
from pydantic import BaseModel, model_serializer

from otflow.events import Event
from otflow.records.body import Body


class Order(Event):
    number: int
    data: bytes = b"\xff"


class Refusing(BaseModel):
    @model_serializer
    def refuse(self) -> None:
        raise RuntimeError("not today")


class Broken:
    def __repr__(self) -> str:
        return "half a pair: \ud800"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_the_live_object_is_the_content():
    """Who put an object in gets the same object out."""
    order = Order(number=1)
    assert Body(order).content is order
    assert Body(None).content is None


def test_without_a_live_object_the_json_is_the_content():
    """Who reads a record gets what it says."""
    assert Body(json=b'{"a": [1, null]}').content == {"a": [1, None]}


def test_json_is_made_once():
    """What is recorded is what the body was when its JSON was made, whatever becomes of the object."""
    items = [1]
    body = Body(items)
    body.fix()
    items.append(2)
    assert body.json == b"[1]"


def test_atoms_are_not_fixed():
    """Immutable values cost nothing until somebody asks."""
    body = Body(5)
    body.fix()
    assert body._json is None
    assert body.json == b"5"


@pytest.mark.parametrize(
    ("live", "text"),
    [
        (Order(number=1, note="x"), {"number": 1, "data": "_w==", "note": "x"}),
        ({"big": 2**70, "bytes": b"\xff", "nan": float("nan")}, {"big": 2**70, "bytes": "_w==", "nan": "NaN"}),
        ({(1, 2): {3}}, {"1,2": [3]}),
    ],
)
def test_json_says_what_it_can(live, text):
    """Events with undeclared fields, bytes, sets and large numbers have a form in JSON."""
    assert json.loads(Body(live).json) == text
    assert not Body(live).opaque


def test_a_part_that_json_cannot_say_is_named():
    """The rest of an event is recorded, and the part stands in it as type and repr."""
    body = Body(Order(number=1, tool=object()))
    said = json.loads(body.json)
    assert said["number"] == 1
    assert said["tool"]["$opaque"] == "builtins.object"
    assert said["tool"]["repr"].startswith("<object object")
    assert body.opaque


@pytest.mark.parametrize(
    "live", [Refusing(), {"inner": Refusing()}, [Unspeakable()], Broken(), {"inner": Broken()}, "\ud800"]
)
def test_whatever_a_user_has_written_is_survived(live):
    """A serializer or a repr that raises, and text that is no text, leave a body that says what it was."""
    assert Body(live).opaque
    assert "$opaque" in json.loads(Body(live).json) or isinstance(live, list | dict)


def test_long_descriptions_are_cut():
    """The repr of something large is not recorded in full."""
    body = Body(type("Large", (), {"__repr__": lambda self: "x" * 10_000})())
    assert len(json.loads(body.json)["repr"]) == 200
    assert len(repr(body)) < 300


def test_fields_that_were_changed_by_hand_do_not_warn():
    """An event whose field no longer has its declared type is recorded as it is, without a warning."""
    order = Order(number=1)
    order.number = "one"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(Body(order).json)["number"] == "one"


def test_bodies_are_equal_when_they_say_the_same():
    """Live or read, spaced or not, in whatever order of keys."""
    live = Body({"a": 1, "b": [2]})
    assert live == Body({"b": [2], "a": 1})
    assert live == Body(json=b'{"b": [2], "a": 1}')
    assert live != Body({"a": 1})
    assert live == Body({"a": 1.0, "b": [2]})
    assert live != Body({"a": True, "b": [2]})
    assert Body({"b": [{"c": 0}]}) != Body(json=b'{"b": [{"c": false}]}')
    assert Body(json=b"[true, 1]") == Body([True, 1])
    assert live != {"a": 1, "b": [2]}
    with pytest.raises(TypeError, match="unhashable"):
        hash(live)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"number": 1}, True),
        ({"note": "x"}, True),
        ({"number": 1, "note": "y"}, False),
        ({"nothing": None}, False),
        ([1], False),
    ],
)
@pytest.mark.parametrize("read", ["neither", "event", "wish", "both"])
def test_requirements(wanted, fits, read):
    """Each attribute that is named, declared or not, needs its value, for live events and for read ones alike."""
    event, wish = Body(Order(number=1, note="x")), Body(wanted)
    if read in {"event", "both"}:
        event = Body(json=event.json)
    if read in {"wish", "both"}:
        wish = Body(json=wish.json)
    assert event.satisfies(wish) is fits


def test_requirements_of_plain_data():
    """Plain data is asked by its keys."""
    assert Body({"k": 1}).satisfies(Body({"k": 1}))
    assert not Body({"k": 1}).satisfies(Body({"j": 1}))
    assert not Body(json=b"[1]").satisfies(Body({"k": 1}))
