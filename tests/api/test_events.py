"""Events: declared fields are validated, undeclared keywords have a mapping face of their own."""

import pickle

import pytest
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from otflow import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent
from otflow.events import (
    DictLikeModel,
    EventType,
    InternalDispatchEvent,
    StepFailedEvent,
    UnreconstructedException,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)


class Point(Event):
    x: int
    y: int = 0


class Quiet(Event):
    shown: int
    _hidden: int = PrivateAttr(default=1)
    _made: list[int] = PrivateAttr(default_factory=list)


class Done(StopEvent):
    total: int


# --- the mapping face ----------------------------------------------------------------------------------


def test_mapping_covers_undeclared_keys_only():
    """`[]`, get, in, keys, values, items, len and iteration see what no field declares, and nothing else."""
    event = Point(x=1, extra=2)
    assert event.get("x") is None
    assert event.get("x", "default") == "default"
    assert event.get("extra") == event["extra"] == 2
    assert "x" not in event
    assert "extra" in event
    assert len(event) == 1
    assert list(event) == list(event.keys()) == ["extra"]
    assert list(event.values()) == [2]
    assert list(event.items()) == [("extra", 2)]
    assert event.to_dict() == {"extra": 2}
    with pytest.raises(KeyError):
        event["x"]


def test_attributes_cover_declared_and_undeclared_keys():
    """Attribute access sees both kinds, and a missing name is an AttributeError."""
    event = Point(x=1, extra=2)
    assert (event.x, event.y, event.extra) == (1, 0, 2)
    with pytest.raises(AttributeError, match="nothing"):
        event.nothing


def test_items_can_be_set():
    """A key that is set by `[]` is an undeclared one, seen by attribute too; an attribute likewise."""
    event = Event(a=1)
    event["b"] = 2
    event.c = 3
    assert (event.b, event["c"]) == (2, 3)
    assert dict(event) == {"a": 1, "b": 2, "c": 3}


def test_a_declared_field_is_not_shadowed_by_its_key():
    """A field that is assigned stays a field."""
    event = Point(x=1)
    event.x = 5
    assert event.x == 5
    assert "x" not in event


@pytest.mark.parametrize("event", [Event(), Point(x=0), StopEvent()])
def test_events_are_true(event: Event):
    """An event is true in a condition, even when it is empty."""
    assert bool(event) is True


def test_the_dump_nests_undeclared_keys():
    """`model_dump` gives the fields, and the undeclared keys under `_data` if there are any."""
    assert Point(x=1).model_dump() == {"x": 1, "y": 0}
    assert Point(x=1, extra=2).model_dump() == {"x": 1, "y": 0, "_data": {"extra": 2}}
    assert Event(a=1).model_dump() == {"_data": {"a": 1}}


def test_a_dump_makes_the_event_again():
    """What `model_dump` gives, the constructor takes."""
    event = Point(x=1, extra=[1, 2])
    again = Point(**event.model_dump())
    assert again == event
    assert again.extra == [1, 2]


def test_json_makes_the_event_again():
    """JSON of an event holds all of it, and reads back as an equal event."""
    event = Point(x=1, extra={"deep": [1, 2]})
    again = Point.model_validate_json(event.model_dump_json())
    assert again == event
    assert again.extra == {"deep": [1, 2]}


def test_events_can_be_pickled():
    """An event goes through pickle whole."""
    event = Quiet(shown=1, extra=2, _hidden=3)
    again = pickle.loads(pickle.dumps(event))
    assert again == event
    assert (again.extra, again._hidden) == (2, 3)


# --- fields -------------------------------------------------------------------------------------------------


def test_declared_fields_are_validated():
    """A missing field and a wrong type are refused, a convertible value is converted."""
    with pytest.raises(ValidationError):
        Point()
    with pytest.raises(ValidationError):
        Point(x="no number")
    assert Point(x="7").x == 7


def test_any_object_can_be_carried():
    """A field may have any type, and an undeclared key any value."""

    class Thing:
        pass

    class Carrier(Event):
        thing: Thing

    thing = Thing()
    event = Carrier(thing=thing, other=thing)
    assert event.thing is event.other is event["other"] is thing


def test_private_attributes_are_set_by_the_constructor():
    """A private attribute is taken out of the keywords, has a default, and is no key."""
    assert Quiet(shown=1)._hidden == 1
    event = Quiet(shown=1, _hidden=2, extra=3)
    assert event._hidden == 2
    assert list(event) == ["extra"]
    assert Quiet(shown=1)._made is not Quiet(shown=1)._made


def test_models_pass_through_an_event_as_they_are():
    """A pydantic model in a field is the same object afterwards."""

    class Inner(BaseModel):
        value: int

    class Outer(Event):
        inner: Inner

    inner = Inner(value=1)
    assert Outer(inner=inner).inner is inner
    assert Event(inner=inner).inner is inner


def test_subclasses_declare_more_fields():
    """A subclass has the fields of its base, and its own."""

    class Point3(Point):
        z: int = Field(default=9)

    assert Point3(x=1).model_dump() == {"x": 1, "y": 0, "z": 9}


def test_undeclared_names_do_not_clash_with_methods():
    """A key with the name of a method is a key; the method stays the method."""
    event = Event(keys="k")
    assert event["keys"] == "k"
    assert list(event.keys()) == ["keys"]


def test_positional_arguments_are_refused():
    """An event takes keywords only."""
    with pytest.raises(TypeError):
        Point(1)


# --- stop events --------------------------------------------------------------------------------------------


def test_a_stop_event_has_a_result():
    """`result` may be given by position or keyword, is None by default, and is no key."""
    assert StopEvent(3).result == StopEvent(result=3).result == 3
    assert StopEvent().result is None
    assert StopEvent(result=3, extra=1).to_dict() == {"extra": 1}
    assert StopEvent(result=3).model_dump() == {"result": 3}
    assert "3" in repr(StopEvent(result=3))


def test_a_stop_event_subclass_needs_no_result():
    """The dump of a subclass shows its own fields, and `result` only when it was given."""
    assert Done(total=1).model_dump() == {"total": 1}
    assert Done(total=1, result=2).model_dump() == {"total": 1, "result": 2}
    assert Done(total=1).result is None


# --- families -----------------------------------------------------------------------------------------------


def test_kinds_of_events_are_told_apart():
    """Start, stop, question, answer and internal events are five families of one base."""
    kinds = [StartEvent, StopEvent, InputRequiredEvent, HumanResponseEvent, InternalDispatchEvent]
    for kind in kinds:
        assert issubclass(kind, Event)
        assert issubclass(kind, DictLikeModel)
        assert [other for other in kinds if issubclass(kind, other)] == [kind]
    assert EventType == type[Event]


def test_endings_are_stop_events():
    """Whatever ends a stream is a stop event, with what is known about the end."""
    error = ValueError("x")
    late = WorkflowTimedOutEvent(timeout=1.5, active_steps=["a"])
    failed = WorkflowFailedEvent(step_name="a", exception=error, attempts=2, elapsed_seconds=0.5)
    assert all(isinstance(it, StopEvent) for it in (late, failed, WorkflowCancelledEvent()))
    assert (late.timeout, late.active_steps) == (1.5, ["a"])
    assert failed.exception is error


def test_exceptions_in_events_can_be_written_as_json():
    """An event that carries an exception shows its type and message in JSON."""
    failed = StepFailedEvent(
        step_name="a", input_event=Point(x=1), exception=ValueError("x"), attempts=1, elapsed_seconds=0, failed_at=0
    )
    assert failed.model_dump(mode="json")["exception"] == {"type": "builtins.ValueError", "message": "x"}
    assert '"builtins.ValueError"' in failed.model_dump_json()


class Unheard(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("x"), ValueError),
        (Unheard("x"), UnreconstructedException),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), UnreconstructedException),
    ],
)
def test_exceptions_come_back_from_json(error: Exception, kind: type[Exception]):
    """An exception of Python comes back as itself, any other as a stand-in with its message and type name."""
    failed = WorkflowFailedEvent(step_name="a", exception=error, attempts=1, elapsed_seconds=0)
    again = WorkflowFailedEvent.model_validate_json(failed.model_dump_json())
    assert type(again.exception) is kind
    assert str(again.exception) == str(error)
    if isinstance(again.exception, UnreconstructedException):
        assert again.exception.original_type == f"{type(error).__module__}.{type(error).__qualname__}"


def test_no_class_is_called_because_data_names_it():
    """Data that names something else than an exception gives the stand-in, and calls nothing."""
    fields = {"step_name": "a", "attempts": 1, "elapsed_seconds": 0}
    event = WorkflowFailedEvent(**fields, exception={"type": "builtins.breakpoint", "message": "x"})
    assert isinstance(event.exception, UnreconstructedException)


def test_events_inside_events_are_written_whole():
    """An event in a field keeps all its fields in a dump, whatever class the field is declared with."""

    class Outer(Event):
        inner: Event
        many: list[Event]

    outer = Outer(inner=Point(x=1, extra=2), many=[Point(x=3)])
    assert outer.model_dump_json() == '{"inner":{"x":1,"y":0,"extra":2},"many":[{"x":3,"y":0}]}'
    assert Outer.model_validate_json(outer.model_dump_json()).inner.x == 1
