"""What may be told of a payload: everything but what is secret, by its key, field or class, or by its user's word."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

import pydantic.dataclasses
import pytest
import typing_extensions
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    StringConstraints,
    computed_field,
    field_serializer,
    model_serializer,
)

from otflow.events import Event, HumanResponseEvent, StartEvent, StepFailedEvent, StopEvent
from otflow.records.body import Body
from otflow.redaction import DEFAULT, Redaction, Redactor
from otflow.redaction.shapes import is_marked

R = "__REDACTED__"
HIDDEN: dict[str, Any] = {"json_schema_extra": {"otflow": "secret"}}
Marked = Annotated[str, Field(**HIDDEN)]


class Colour(enum.Enum):
    RED = "red"


class Plain(Event):
    text: str = "t"
    count: int = 1
    when: dt.date = dt.date(2024, 1, 2)
    price: Decimal = Decimal("1.50")
    colour: Colour = Colour.RED
    many: list[tuple[int, str]] = Field([(1, "a")])
    maybe: str | None = None
    nothing: None = None
    choice: Literal["a", "b"] = "a"
    short: Annotated[str, StringConstraints(max_length=3), "a note"] = "abc"
    checked: Annotated[int, AfterValidator(lambda value: value)] = 1


class Typical(Event):
    key: SecretStr


class Inner(BaseModel):
    pin: str = Field("1234", **HIDDEN)
    name: str = "n"


class Aliased(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    pin: str = Field("1234", serialization_alias="number", **HIDDEN)
    secretive: str = Field("abcd", alias="apiKey")


class Typed(typing_extensions.TypedDict):
    pin: Marked
    name: str


class Named(NamedTuple):
    pin: Marked
    name: str


@dataclasses.dataclass
class Data:
    name: str
    pin: str = dataclasses.field(default="1234", metadata={"otflow": "secret"})
    note: Marked = "5678"


@pydantic.dataclasses.dataclass
class PydanticData:
    name: str
    pin: str = Field("1234", **HIDDEN)


class Root(RootModel[Marked]):
    pass


class Shown(RootModel[dict[str, str]]):
    pass


class Twisted(BaseModel):
    pin: str = Field("12345678", **HIDDEN)
    number: int = Field(4711, **HIDDEN)

    @model_serializer
    def write(self) -> dict[str, object]:
        return {"text": f"the pin is {self.pin}", "other": self.number, "flag": True, "list": [self.pin, "x"]}


class Scalar(BaseModel):
    pin: str = Field("12345678", **HIDDEN)

    @model_serializer
    def write(self) -> str:
        return f"<{self.pin}>"


class Revealing(Event):
    key: SecretStr
    raw: SecretBytes = SecretBytes(b"raw-bytes")
    number: Secret[int] = Secret[int](4711)
    maybe: SecretStr | None = None
    some: list[SecretStr] = Field([])
    nested: dict[str, SecretStr] = Field({})

    @field_serializer("key", when_used="json")
    def write(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Computed(Event):
    pin: str = "1234"

    @computed_field(json_schema_extra={"otflow": "secret"})
    @property
    def double(self) -> str:
        return self.pin * 2


class Spelt(Event):
    data: Annotated[dict, PlainSerializer(lambda value: {"password": "x", **value})] = Field({})


class Odd:
    """Something that JSON cannot say."""

    def __init__(self, **state: object) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"Odd({', '.join(f'{key}={value!r}' for key, value in self.state.items())})"


def told(live: object, policy: Redaction | None = None) -> Any:
    """Return what is told of an object, as plain data."""
    body = Body(live, None, Redactor(policy) if policy is not None else DEFAULT)
    body.fix()
    assert json.loads(body.whole) == json.loads(Body(live).json)  # the whole is not touched
    return json.loads(body.json)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ({"user": "bob", "password": "x"}, {"user": "bob", "password": R}),
        ({"a": [{"api_key": 5}, {"author": "Ada"}]}, {"a": [{"api_key": R}, {"author": "Ada"}]}),
        ({"password": None, "secret": "", "auth": {}}, {"password": None, "secret": R, "auth": R}),
        ([Inner()], [{"pin": R, "name": "n"}]),
        ({"x": (Inner(), {"y": Inner()})}, {"x": [{"pin": R, "name": "n"}, {"y": {"pin": R, "name": "n"}}]}),
        ({1: Inner(), None: "a"}, {"1": {"pin": R, "name": "n"}, "None": "a"}),
        (Aliased(apiKey="abcd"), {"number": R, "apiKey": R}),
        (Data("n"), {"name": "n", "pin": R, "note": R}),
        (PydanticData("n"), {"name": "n", "pin": R}),
        ([Data("n")], [{"name": "n", "pin": R, "note": R}]),
        (Root("1234"), R),
        ({"x": Root("1234")}, {"x": R}),
        (Shown({"password": "x", "a": "b"}), {"password": R, "a": "b"}),
        (Twisted(), {"text": f"the pin is {R}", "other": R, "flag": True, "list": [R, "x"]}),
        ({"x": Scalar()}, {"x": f"<{R}>"}),
        ({"x": SecretStr("abc")}, {"x": R}),
        (
            Revealing(key="abc", some=["x"], nested={"x": "y"}),
            {"key": R, "raw": R, "number": R, "maybe": None, "some": R, "nested": R},
        ),
        (Computed(), {"pin": "1234", "double": R}),
        (Spelt(), {"data": {"password": R}}),
        (Spelt(data={"a": 1}), {"data": {"password": R, "a": 1}}),
    ],
)
def test_hidden(live, expected):
    """A sensitive key, a marked field, a class of secrets: whatever stands there is hidden, wherever it is."""
    assert told(live) == expected


def test_fields_of_typed_containers():
    """A mark inside of a container that has no class of its own hides the whole field."""

    class Holder(Event):
        typed: Typed
        named: Named
        several: list[Marked]
        by_name: dict[str, Annotated[int, Field(**HIDDEN)]]

    holder = Holder(typed={"pin": "1", "name": "n"}, named=("1", "n"), several=["1"], by_name={"a": 1})
    assert told(holder) == {"typed": R, "named": R, "several": R, "by_name": R}


@pytest.mark.parametrize(
    "live",
    [
        Plain(),
        Plain(extra="x", more=[1, {"a": None}]),
        StopEvent(result={"a": [1.5, "x"]}),
        {"tokens": 5, "author": "Ada", "session_id": "s"},
        {"a": {1, 2}, "b": frozenset("x"), "c": (1,), "d": b"\xff", "e": 2**70, "f": float("nan")},
        [Plain(), Colour.RED, dt.datetime(2024, 1, 2, tzinfo=dt.UTC)],
        dt.date(2024, 1, 2),
        None,
        "password=x",
        5,
    ],
)
def test_untouched(live):
    """What has nothing to hide is told to the letter."""
    body = Body(live, None, DEFAULT)
    assert body.json == Body(live).json
    assert body.json == body.whole


def test_classes_are_learnt():
    """A class of which nothing can be hidden is not asked about again, but for its undeclared fields."""
    redact = Redactor()
    Body(Plain(), None, redact).fix()
    assert Plain in redact.plain
    plain = Body(Plain(), None, redact)
    plain.fix()
    assert plain.json == plain.whole
    assert json.loads(Body(Plain(password="x"), None, redact).json)["password"] == R


def test_endlessly_many_classes():
    """Classes that are made while a process runs take no endless memory."""
    redact = Redactor()
    for number in range(5000):
        redact(type(f"C{number}", (), {})(), b"{}")
    assert len(redact._ways) <= 4096
    assert {str, int} <= redact.plain


def test_what_is_hidden_once_is_hidden_in_all_of_a_payload():
    """A secret that is repeated in other texts of its payload is hidden there too, unless it is too short to tell."""
    assert told({"api_key": "sk-123456", "url": "http://x/?k=sk-123456&a=b", "n": ["sk-123456"]}) == {
        "api_key": R,
        "url": f"http://x/?k={R}&a=b",
        "n": [R],
    }
    assert told({"password": "abc", "text": "abc"}) == {"password": R, "text": "abc"}


def test_parts_that_json_cannot_say():
    """The description of an object is scrubbed like any text."""
    opaque = told({"x": Odd(password="hunter2", user="bob")})["x"]
    assert opaque["repr"] == f"Odd(password={R}, user='bob')"


def test_events_that_cannot_be_serialised():
    """Where only a description of the whole event is left, marked fields are hidden in it."""

    class Refusing(Event):
        pin: str = Field("12345678", **HIDDEN)
        x: int = 0

        @field_serializer("x")
        def write(self, value: int) -> None:
            raise RuntimeError("not today")

    assert "12345678" not in json.dumps(told(Refusing()))


def test_what_holds_itself():
    """An object without end is told as far as it can be."""
    endless: dict[str, object] = {"password": "hunter2"}
    endless["self"] = endless
    assert "hunter2" not in json.dumps(told(endless))
    round_and_round: list[object] = [Inner()]
    round_and_round.append(round_and_round)
    assert "1234" not in json.dumps(told(round_and_round))


def test_errors_in_events():
    """The message of an exception that an event carries is scrubbed, and so is the event that it came from."""
    failed = StepFailedEvent(
        step_name="s",
        input_event=Revealing(key="abc"),
        exception=ValueError("password=hunter2 is wrong"),
        attempts=1,
        elapsed_seconds=0.0,
        failed_at=0.0,
    )
    shown = told(failed)
    assert shown["exception"] == {"type": "builtins.ValueError", "message": f"password={R} is wrong"}
    assert shown["input_event"]["key"] == R


def test_sets_of_models_and_odd_shapes():
    """A part whose JSON does not have its shape is searched for its secrets."""

    class Frozen(BaseModel, frozen=True):
        pin: str = Field("12345678", **HIDDEN)

    class Joined(Event):
        parts: list[Inner] = Field([Inner(pin="abcdefgh")])

        @field_serializer("parts")
        def write(self, value: list[Inner]) -> list[str]:
            return [part.pin for part in value] + ["end"]

    assert told({"x": {Frozen()}}) == {"x": [{"pin": R}]}
    assert told({"x": {Frozen(), Frozen(pin="87654321")}}) == {"x": [{"pin": R}] * 2}
    assert told(Joined()) == {"parts": [R, "end"]}


def test_sets_are_written_in_an_order_of_their_own():
    """Whichever item of a set of several classes stands where in JSON, its secrets are hidden and no other value is."""

    class Locked(BaseModel, frozen=True):
        pin: str = Field("12345678", **HIDDEN)

    class Open(BaseModel, frozen=True):
        pin: str

    several = {Locked(pin=f"secret {number}") for number in range(5)} | {Open(pin=f"open {n}") for n in range(5)}
    shown = told({"x": several | {1, "text"}})["x"]
    assert sorted(part["pin"] for part in shown if isinstance(part, dict)) == [R] * 5 + [f"open {n}" for n in range(5)]
    assert 1 in shown
    assert "text" in shown


def test_allowed():
    """The allow list shows keys and paths, but never marked fields or secrets."""
    live = {"auth": "basic", "usage": {"auth": 1, "cookie": 2}, "x": {"cookie": 3}, "s": SecretStr("x")}
    assert told(live, Redaction(allow=["Auth", "usage.cookie"])) == {
        "auth": "basic",
        "usage": {"auth": 1, "cookie": 2},
        "x": {"cookie": R},
        "s": R,
    }
    assert told(Inner(), Redaction(allow=["pin"])) == {"pin": R, "name": "n"}


def test_own_keys():
    """Other names hide instead of the given ones, or beside them."""
    live = {"password": "x", "tax_id": "y"}
    assert told(live, Redaction(keys=["tax id"])) == {"password": "x", "tax_id": R}
    assert told(live, Redaction(extra_keys=["tax id"])) == {"password": R, "tax_id": R}
    assert told(live, Redaction(keys=[])) == live


def test_callback():
    """A callback sees each value that is not hidden, with its path, and says what is told of it."""
    seen: list[str] = []

    def look(path: str, value: object) -> object:
        seen.append(path)
        if path == "mail":
            return "***"
        if path == "a.1":
            return {"n": 1}
        return value

    live = {"mail": "a@b", "a": [1, 2], "password": "x", "deep": {"er": None}}
    assert told(live, Redaction(callback=look)) == {
        "mail": "***",
        "a": [1, {"n": 1}],
        "password": R,
        "deep": {"er": None},
    }
    assert seen == ["mail", "a", "a.0", "a.1", "deep", "deep.er"]


def test_callbacks_see_plain_payloads_too():
    """No class is passed over when there is a callback."""
    shown = told(Plain(), Redaction(callback=lambda path, value: "x" if path == "text" else value))
    assert shown["text"] == "x"


@pytest.mark.parametrize("value", ["visible", 5, None, ["visible"], {"a": "visible"}])
def test_a_callback_that_raises_hides(value):
    """A value is hidden when the callback fails for it; the others are not."""

    def fail(path: str, value: object) -> object:
        if path == "bad":
            raise KeyError("visible")
        return value

    assert told({"bad": value, "good": 1}, Redaction(callback=fail)) == {"bad": R, "good": 1}


def test_a_callback_that_returns_nonsense_hides():
    """What JSON cannot say is not told."""
    assert told({"a": 1}, Redaction(callback=lambda path, value: object())) == {"a": R}


def test_a_payload_that_cannot_be_walked_through_is_hidden():
    """Whatever goes wrong, rather nothing is told than too much."""

    class Liar(dict):
        def values(self):
            raise RuntimeError("no")

    assert told([Liar(password=1)]) == R


def test_inputs_and_outputs():
    """All but the result can be hidden, and all but what came from outside."""
    events = [StartEvent(a=1), Plain(), HumanResponseEvent(a=1), StopEvent(result=1), {"state": 1}, 5]
    hidden = [told(event, Redaction(hide_inputs=True)) == R for event in events]
    assert hidden == [True, True, True, False, True, True]
    hidden = [told(event, Redaction(hide_outputs=True)) == R for event in events]
    assert hidden == [False, True, False, True, True, True]


def test_paths_of_the_state():
    """A value is hidden because of the path at which it is written, or of the class of the state there."""

    class State(BaseModel):
        model_config = ConfigDict(extra="allow")
        pin: str = Field("", **HIDDEN)
        user: Inner = Inner()
        users: list[Inner] = []
        data: dict = {}

    state = State(users=[Inner()], data={"x": Inner()}, other=Inner())
    sensitive = ["api_key", "pin", "user.pin", "users.0.pin", "data.x.pin", "other.pin", "auth.x.y", "a.password"]
    assert [
        path
        for path in sensitive
        if (redact := DEFAULT.at(path, state)) is None or redact("x", b'"x"') != b'"__REDACTED__"'
    ] == []
    harmless = ["", "name", "user.name", "users.7.pin", "users.x", "data.y.pin", "tokens", "pin2"]
    assert [path for path in harmless if DEFAULT.at(path, state) is not None] == []


def test_paths_and_values():
    """A callback sees values of the state by their whole path."""
    redact = Redactor(Redaction(callback=lambda path, value: "x" if path in ("a.b", "c.d") else value))
    assert redact.at("", {}) is None
    for path, value, shown in [("a.b", 1, b'"x"'), ("a.c", 1, b"1"), ("c", {"d": 1}, b'{"d":"x"}')]:
        veil = redact.at(path, {})
        assert veil is not None
        assert Body(value, None, veil).json == shown


def test_a_state_that_cannot_be_looked_at_hides():
    """A path that cannot be followed hides its value."""

    class Liar(dict):
        def get(self, *_):
            raise RuntimeError("no")

    redact = DEFAULT.at("a.b", Liar())
    assert redact is not None
    assert Body("x", None, redact).json == b'"__REDACTED__"'
    assert Body(None, None, redact).json == b"null"


def test_requirements():
    """Attributes that are required of an event are hidden as its fields are."""
    redact = DEFAULT.fields_of(Inner)
    assert Body({"pin": "1", "name": "n", "token": 1, "password": 2}, None, redact).json == (
        b'{"pin":"__REDACTED__","name":"n","token":1,"password":"__REDACTED__"}'
    )
    assert Body({"a": 1}, None, DEFAULT.fields_of(int)).json == b'{"a":1}'


def test_texts():
    """Messages are scrubbed; what was hidden in a payload before is hidden in them wherever it stands."""
    redact = Redactor()
    body = Body(
        {"pin code": "9876", "password": "9876", "list": [{"auth": ["abcd"]}], "n": {"ssn": 12345}}, None, redact
    )
    assert redact.text("abcd and 9876 failed") == "abcd and 9876 failed"
    assert redact.text("abcd and 9876 failed", body) == f"{R} and {R} failed"
    redact(None, b'{"api_key":"sk-12345678"}')
    assert redact.text("no sk-12345678, password=x") == f"no {R}, password={R}"
    for number in range(300):
        redact(None, b'{"api_key":"key-%08d"}' % number)
    assert redact.text("sk-12345678 key-00000299") == f"sk-12345678 {R}"
    assert len(redact._recent) == 256


class Silent(BaseModel):
    key: SecretStr

    @model_serializer
    def write(self) -> dict[str, object]:
        return {"n": 1}


@pytest.mark.parametrize(
    "live",
    [
        {"x": SecretStr("hunter22")},
        {"x": [SecretBytes(b"hunter22")]},
        {"x": Secret[dict]({"y": "hunter22"})},
        {"password": SecretStr("hunter22")},
        {"password": {"deep": SecretStr("hunter22")}},
        Typical(key=SecretStr("hunter22")),
        Silent(key=SecretStr("hunter22")),
    ],
)
def test_texts_that_say_what_json_never_does(live):
    """What a secret holds is hidden in texts about its payload, and in others after that; stars are not."""
    redact = Redactor()
    body = Body(live, None, redact)
    assert redact.text("no hunter22, **********") == "no hunter22, **********"
    assert redact.text("no hunter22, **********", body) == f"no {R}, **********"
    if not isinstance(live, Silent):
        assert redact.text("no hunter22") == f"no {R}"


def test_short_secrets():
    """A short secret is looked for only in the errors of who worked on it; a very short one nowhere."""
    redact = Redactor()
    body = Body({"x": SecretStr("abcd"), "y": SecretStr("abc"), "z": SecretStr("")}, None, redact)
    assert redact.text("abcd abc", body) == f"{R} abc"
    assert redact.text("abcd abc") == "abcd abc"


def test_a_secret_in_another_place_of_its_payload():
    """What a secret holds is hidden in the rest of its payload, and stars that are none of its own stay."""
    assert told({"x": SecretStr("hunter22"), "y": "no hunter22 **********"}) == {"x": R, "y": f"no {R} **********"}


def test_texts_of_odd_bodies():
    """Where a payload cannot be compared, the text is hidden as a whole."""
    body = Body(json=b"{", redact=DEFAULT)
    assert DEFAULT.text("x", body) == R
    short = Body({"password": ["abcd"]}, None, Redactor(Redaction(callback=lambda path, value: value)))
    assert DEFAULT.text("abcd", short) == R


def test_objects_that_raise_when_they_are_looked_at():
    """An odd class of a user makes nobody fail: its objects are walked through."""

    class Shy(dict):
        def items(self):
            raise RuntimeError("no")

    assert told({"x": Shy(password="x", a=1)}) == {"x": {"password": R, "a": 1}}


def test_annotations_that_cannot_be_resolved():
    """Where the types of a container are not known, its keys still are."""

    class Broken(dict):
        __annotations__ = {"pin": "Nowhere"}

    assert not is_marked(Broken)
    assert not is_marked(list[Any], 1000)


def test_secrets_of_any_kind():
    """A secret is found in what a serializer made of it, whether it was a text, bytes, a number or a date."""

    class Mixed(BaseModel):
        day: Any = Field(None, **HIDDEN)

        @model_serializer
        def write(self) -> dict[str, object]:
            return {"shown": self.day.decode() if isinstance(self.day, bytes) else self.day, "x": "y"}

    for value in (b"raw bytes", dt.date(2024, 1, 2), 5.5, {"a": ["text", 7, None, True]}, {1, 2}):
        shown = json.dumps(told({"in": Mixed(day=value)}))
        assert R in shown
        assert not [part for part in ("raw", "2024", "5.5", "text", "7", "1", "2") if part in shown]


def test_names():
    """Others may ask about a name."""
    assert (DEFAULT.hides("api_key"), DEFAULT.hides("author")) == (True, False)
