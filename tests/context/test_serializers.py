"""Laws of the serializers: what is written comes back, or is refused; a class is found by its name."""

from __future__ import annotations

import json
import pickle
import threading
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_serializer, model_serializer

from otflow.context.serializers import (
    BaseSerializer,
    JsonPickleSerializer,
    JsonSerializer,
    PickleSerializer,
)
from otflow.errors import ContextSerdeError, OtflowError, WorkflowValidationError
from otflow.events import Event, StartEvent, StopEvent


class Point(BaseModel):
    x: int
    y: int = 0


class Point3(Point):
    z: int = 0

    class Unit(BaseModel):
        """A model defined inside another."""

        name: str


class Shade(Enum):
    DARK = "dark"


class Size(IntEnum):
    BIG = 3


class Tone(StrEnum):
    LOW = "low"


class Own(BaseModel):
    """A model that writes itself."""

    inner: Any

    @model_serializer
    def write(self):
        return {"inner": str(self.inner)}


class Drawing(BaseModel):
    anything: Any = None
    point: Point | None = None
    points: list[Point] = []
    pairs: list[tuple[int, Point]] = []
    by_name: dict[str, Point] = {}
    either: Point | Point3 | str | datetime | None = None
    shade: Shade | None = None
    when: datetime | None = None
    bag: dict = {}
    numbers: dict[int, list[Point]] = {}
    some: set[Any] = set()
    any_keys: dict[Any, int] = {}
    pair_keys: dict[tuple[int, int], int] = {}
    fixed: tuple[int, Point] | None = None
    many: tuple[Point, ...] = ()
    annotated: Annotated[Annotated[Point, 1] | None, 2] = None
    raw: Own | None = None


class Shades(BaseModel):
    either: Shade | int


class Made(Event):
    drawing: Drawing
    base: Event | None = None


class Component:
    def __init__(self, size):
        self.size = size

    @classmethod
    def class_name(cls):
        return "component"

    def to_dict(self):
        return {"size": self.size}

    @classmethod
    def from_dict(cls, data):
        return cls(**data)


class Opaque:
    """A class that JSON knows nothing of, but pickle does."""

    def __eq__(self, other):
        return isinstance(other, Opaque)

    __hash__ = None


class Pair(NamedTuple):
    left: int
    right: int


def there_and_back(value, serializer=None):
    """Write a value and read it again."""
    serializer = serializer or JsonSerializer()
    return serializer.deserialize(serializer.serialize(value))


def same(left, right):
    """Tell whether two values are equal and of the same classes, all the way down."""
    if type(left) is not type(right) or left != right:
        return False
    if isinstance(left, dict):
        return all(map(same, left.keys(), right.keys())) and all(map(same, left.values(), right.values()))
    return not isinstance(left, list | tuple) or all(map(same, left, right))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(timezones=st.just(UTC) | st.none()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
keys = st.one_of(st.text(), st.integers(), st.tuples(st.text(), st.integers()))
marked = st.fixed_dictionaries(
    {}, optional={mark: st.text() for mark in ("__is_pydantic", "__is_component", "__is_value", "value")}
)
values = st.recursive(
    scalars | marked,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(keys, inner),
        st.sets(keys),
        st.frozensets(keys),
        st.builds(Point, x=st.integers()),
        st.builds(Drawing, anything=inner),
        st.builds(Made, drawing=st.just(Drawing()), extra=inner),
        st.builds(StopEvent, inner),
    ),
    max_leaves=8,
)


# --- what is written comes back -----------------------------------------------------------------------------


@given(values)
def test_values_come_back(value):
    """A value that JSON takes comes back equal and of the same class, whatever it holds."""
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        Point3(x=1, z=2),
        Point3.Unit(name="cm"),
        Drawing(point=Point(x=1)),
        Drawing(point=Point3(x=1, z=2)),
        Drawing(points=[Point(x=1), Point3(x=2, z=3)]),
        Drawing(pairs=[(1, Point3(x=2, z=3))]),
        Drawing(by_name={"a": Point3(x=2, z=3)}),
        Drawing(either="2020-01-01"),
        Drawing(either=datetime(2020, 1, 1, tzinfo=UTC)),
        Drawing(either=Point(x=1)),
        Drawing(anything=[{1: Point3(x=1)}]),
        Drawing(anything=Drawing(anything=Point(x=1))),
        Drawing(bag={"a": (1, Point(x=1))}),
        Drawing(shade=Shade.DARK, when=datetime(2020, 1, 1)),  # noqa: DTZ001  a time as users write it
        Drawing(numbers={1: [Point3(x=1)]}, some={(1, 2)}, any_keys={(1, 2): 3}, pair_keys={(1, 2): 3}),
        Drawing(any_keys={"a": 1}, fixed=(1, Point(x=1)), many=(Point(x=1),), annotated=Point(x=2)),
        Drawing(fixed=(1, Point3(x=1)), many=(Point3(x=1),), annotated=Point3(x=2)),
        Drawing(raw=Own(inner="x")),
        Made(drawing=Drawing(point=Point3(x=1))),
        Made(drawing=Drawing(), base=StartEvent(topic="cats", point=Point(x=1))),
        Made(drawing=Drawing(), base=Event(size=(1, 2))),
        Made(drawing=Drawing(), base=Made(drawing=Drawing(anything=Point(x=1)))),
        Event(point=Point3(x=1), rows=[(1, 2)], items={"keys": 1}),
        StopEvent(result=Point(x=1)),
        StopEvent(result={"points": [Point3(x=1)]}),
    ],
    ids=repr,
)
def test_models_keep_their_classes(value):
    """A model comes back with every class in it, also where an annotation says less than the value."""
    back = there_and_back(value)
    assert back == value
    assert repr(back) == repr(value)


def test_settled_models_are_written_plainly():
    """Where the annotations say all, a model is written as pydantic writes it."""
    drawing = Drawing(points=[Point(x=1)], by_name={"a": Point(x=2)}, when=datetime(2020, 1, 1, tzinfo=UTC))
    written = json.loads(JsonSerializer().serialize(drawing))
    assert written == {
        "__is_pydantic": True,
        "qualified_name": f"{__name__}.Drawing",
        "value": drawing.model_dump(mode="json"),
    }


def test_serializers_of_a_model_are_heeded():
    """What a model says about its own writing holds."""

    class Fields(BaseModel):
        opaque: Any = None
        upper: Annotated[Any, PlainSerializer(lambda value: value.upper())] = "a"

        @field_serializer("opaque")
        def write_opaque(self, value):
            return "opaque"

    serializer = JsonSerializer().with_types(Fields)
    assert there_and_back(Fields(opaque=Opaque()), serializer) == Fields(opaque="opaque", upper="A")
    assert there_and_back(Own(inner=Point(x=1))) == Own(inner="x=1 y=0")


def test_an_annotation_may_help_pydantic():
    """What the serializer has no word for is left to pydantic where the annotation names its class."""
    assert there_and_back(Shades(either=Shade.DARK)) == Shades(either=Shade.DARK)


def test_aliases_come_back():
    """A field is found again whatever name its class takes it by."""

    class Aliased(BaseModel):
        size: int = Field(alias="Size")
        any_size: Any = Field(validation_alias="AnySize", serialization_alias="other")

    class Both(Aliased):
        model_config = ConfigDict(populate_by_name=True)

    serializer = JsonSerializer().with_types(Aliased, Both)
    for value in (Aliased(Size=1, AnySize=(1, 2)), Both(size=1, any_size=(1, 2))):
        assert there_and_back(value, serializer) == value


def test_undeclared_fields_of_a_plain_model_come_back():
    """Models that are no events keep the classes of what they were given beyond their fields."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    value = Open(point=Point(x=1), size=(1, 2))
    assert there_and_back(value, JsonSerializer().with_types(Open)) == value


def test_computed_fields_are_not_input():
    """What a model computes is not given to it when it is read."""
    assert there_and_back(StopEvent()) == StopEvent()

    class Tail(StopEvent):
        text: str

    back = there_and_back(Tail(text="x"), JsonSerializer().with_types(Tail))
    assert back == Tail(text="x")
    assert "result" not in back.model_dump()


def test_components_come_back():
    """An object whose class has class_name, to_dict and from_dict is written by itself."""
    back = there_and_back([Component(3)])
    assert isinstance(back[0], Component)
    assert back[0].size == 3


@pytest.mark.parametrize("value", [Size.BIG, Tone.LOW, float("inf"), {1: "a", "1": "b"}, [True, 1, 1.0]])
def test_odd_values_come_back_equal(value):
    """Enums that are text or numbers come back as such; keys keep their kinds."""
    assert there_and_back(value) == value


# --- what cannot be written is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (threading.Lock(), "_thread.lock: no JSON for _thread.lock"),
        ({"a": [1, (2, threading.Lock())]}, "at ['a'][1][1]: no JSON for _thread.lock"),
        (Event(deep={"lock": threading.Lock()}), "at .deep['lock']"),
        (Drawing(anything=threading.Lock()), "Drawing: no JSON for _thread.lock"),
        (Drawing(bag={"a": Shade.DARK}), "no JSON for"),
        (Pair(1, 2), "Pair"),
        (Shade.DARK, "Shade"),
        ({Shade.DARK: 1}, "Shade"),
    ],
    ids=repr,
)
def test_refusals_say_what_and_where(value, where):
    """What JSON cannot hold is refused with its class, its place and the remedy."""
    with pytest.raises(ValueError, match="Failed to serialize value") as caught:
        JsonSerializer().serialize(value)
    assert where in str(caught.value)
    assert "PickleSerializer" in str(caught.value)
    assert isinstance(caught.value, OtflowError)


def test_rings_are_refused():
    """A value that holds itself is refused, and the refusal ends."""
    ring = []
    ring.append(ring)
    with pytest.raises(ValueError, match="recursion"):
        JsonSerializer().serialize(ring)


# --- classes are found by name ------------------------------------------------------------------------------


def test_local_classes_are_found_when_known():
    """A class defined in a function is found if the serializer knows it, and else refused with advice."""

    class Local(Event):
        text: str

    written = JsonSerializer().serialize(Local(text="x"))
    assert JsonSerializer().with_types(Local).deserialize(written) == Local(text="x")
    assert JsonSerializer(allowed_types=[Local]).deserialize(written) == Local(text="x")
    with pytest.raises(ContextSerdeError, match=r"Local is defined inside a function.*with_types") as caught:
        JsonSerializer().deserialize(written)
    assert isinstance(caught.value, ValueError)


def test_a_serializer_learns_by_copy():
    """`with_types` leaves the serializer as it was, and gives one of the same class."""

    class Local(BaseModel):
        pass

    first = PickleSerializer()
    second = first.with_types(Local)
    assert type(second) is PickleSerializer
    assert second.resolve_class(f"{__name__}.{Local.__qualname__}") is Local
    with pytest.raises(ContextSerdeError):
        first.resolve_class(f"{__name__}.{Local.__qualname__}")


def test_only_allowed_classes_are_made():
    """With a list of allowed types, no other class is made from data, or even looked for."""
    written = JsonSerializer().serialize(Point(x=1))
    assert JsonSerializer(allowed_types=[Point]).deserialize(written) == Point(x=1)
    assert JsonSerializer(allowed_types=[f"{__name__}.Point"]).deserialize(written) == Point(x=1)
    assert JsonSerializer(allowed_types=[]).with_types(Point).deserialize(written) == Point(x=1)
    with pytest.raises(ContextSerdeError, match="not in the serializer's allowed types"):
        JsonSerializer(allowed_types=[Point3]).deserialize(written)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere.at.All", "cannot be found"),
        (f"{__name__}.Gone", "cannot be found"),
        (f"{__name__}.Point.Gone", "cannot be found"),
        ("json.loads", "cannot be found"),
        ("Point", "cannot be found"),
        ("threading.Thread", "not the pydantic model"),
        (f"{__name__}.Component", "not the pydantic model"),
        (5, "Cannot read"),
    ],
)
def test_data_makes_no_other_classes(name, text):
    """Data that names no class, or a class that is no model, is refused."""
    with pytest.raises(ContextSerdeError, match=text):
        JsonSerializer().deserialize_value({"__is_pydantic": True, "qualified_name": name, "value": {}})


def test_a_broken_module_is_named(tmp_path, monkeypatch):
    """A module that cannot be imported is named, with its own error as the cause."""
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ContextSerdeError, match="broken_module") as caught:
        JsonSerializer().resolve_class("broken_module.Thing")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_bad_types_are_refused():
    """What is no class is refused, and so are two classes of one name."""

    def make():
        class Twin(BaseModel):
            pass

        return Twin

    with pytest.raises(WorkflowValidationError, match="is no class"):
        JsonSerializer(allowed_types=[5])
    with pytest.raises(WorkflowValidationError, match="Two classes are called"):
        JsonSerializer().with_types(make(), make())


def test_typed_data_cannot_pass_for_a_note():
    """Text of a user that looks like a note about a class stays text, also in a declared field."""

    class Payload(BaseModel):
        rows: dict[str, str]

    rows = {"__is_pydantic": "yes", "qualified_name": f"{__name__}.Point", "value": "x"}
    assert there_and_back(Payload(rows=rows), JsonSerializer().with_types(Payload)).rows == rows


# --- bad data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        '{"__is_value": "clock", "value": 1}',
        '{"__is_value": "items", "value": [1]}',
        '{"__is_value": "uuid", "value": "x"}',
        '{"__is_pydantic": true}',
        '{"__is_component": true, "qualified_name": "x"}',
        None,
        "[" * 100_000,
    ],
    ids=lambda text: str(text)[:20],
)
def test_bad_data_is_refused(text):
    """Text that no serializer wrote is refused as such, by both serializers."""
    for serializer in (JsonSerializer(), PickleSerializer()):
        with pytest.raises(ContextSerdeError):
            serializer.deserialize(text)


def test_data_that_does_not_fit_its_class_is_refused():
    """Fields that a class does not accept are refused with the fault that pydantic found."""
    written = JsonSerializer().serialize(Point(x=1)).replace('"x": 1', '"x": "one"')
    with pytest.raises(ContextSerdeError, match="valid integer"):
        JsonSerializer().deserialize(written)


# --- pickle -------------------------------------------------------------------------------------------------


def test_pickle_steps_in_where_json_ends():
    """What JSON takes is written as JSON, everything else that can be pickled as a pickle."""
    serializer = PickleSerializer()
    assert serializer.serialize({"a": 1}) == '{"a": 1}'
    assert there_and_back([Opaque(), Shade.DARK, Pair(1, 2)], serializer) == [
        Opaque(),
        Shade.DARK,
        Pair(1, 2),
    ]
    with pytest.raises(ValueError, match="Pickle cannot either"):
        serializer.serialize(threading.Lock())
    assert JsonPickleSerializer is PickleSerializer


@given(values)
def test_pickle_reads_what_json_wrote(value):
    """The pickle serializer reads everything that the JSON serializer writes."""
    assert same(PickleSerializer().deserialize(JsonSerializer().serialize(value)), value)


def test_json_never_unpickles():
    """Only the serializer that is named after pickle loads one."""

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    written = PickleSerializer().serialize(Opaque())
    with pytest.raises(ContextSerdeError, match="only PickleSerializer reads"):
        JsonSerializer().deserialize(written)
    trap = PickleSerializer().serialize(Trap())
    with pytest.raises(ContextSerdeError):
        JsonSerializer().deserialize(trap)


def test_a_bad_pickle_is_refused():
    """A pickle that cannot be loaded is refused with its fault."""
    written = PickleSerializer().serialize(Opaque())
    with pytest.raises(ContextSerdeError, match="Not a pickle"):
        PickleSerializer().deserialize(written[:-8])
    assert pickle.loads(pickle.dumps(Opaque())) == Opaque()


def test_any_serializer_takes_types():
    """A serializer of a user need not care about classes: it is given back as it is."""

    class Mine(BaseSerializer):
        def serialize(self, value):
            return "x"

        def deserialize(self, value):
            return value

    mine = Mine()
    assert mine.with_types(Point) is mine


@pytest.mark.parametrize(
    "value",
    [date(2020, 1, 2), time(1, 2, 3), timedelta(days=-1, microseconds=3), Decimal("1.10"), UUID(int=5)],
)
def test_plain_classes_come_back(value):
    """Values of the standard library that JSON has no word for come back as they were."""
    assert same(there_and_back(value), value)
    assert repr(there_and_back(value)) == repr(value)
