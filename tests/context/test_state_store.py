"""Laws of the state store: what is written is read, an edit is whole or nothing, and reports tell all."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from otflow.context.serializers import JsonSerializer, PickleSerializer
from otflow.context.state_store import (
    DELETED,
    MAX_DEPTH,
    DictState,
    InMemoryStateStore,
    UnserializableKeyWarning,
    apply_write,
    get_by_path,
    make_state,
    set_by_path,
)
from otflow.errors import ContextSerdeError, OtflowError, WorkflowRuntimeError
from otflow.events import DictLikeModel, StopEvent


class Part(BaseModel):
    size: int = 0


class Typed(BaseModel):
    name: str = "x"
    age: int = 0
    part: Part = Field(default_factory=Part)
    rows: list[int] = []
    _secret: list[int] = PrivateAttr(default_factory=list)

    @model_validator(mode="after")
    def check(self):
        """Refuse an age that the fields alone would allow."""
        if self.age > 150:
            raise ValueError("too old")
        return self

    @property
    def double(self):
        """Give what is computed."""
        return self.age * 2


class Younger(Typed):
    toy: str = "ball"


class Sized(DictState):
    size: int = 1


class Needy(BaseModel):
    name: str


@dataclass
class Box:
    items: list = field(default_factory=list)


class Pair(NamedTuple):
    left: object
    right: object


class Stubborn(list):
    """A list that refuses to be copied."""

    def __copy__(self):
        raise TypeError("not me")


def listening(state=None):
    """Make a store and the list of what it reports."""
    seen = []
    store = InMemoryStateStore(
        DictState() if state is None else state, lambda path, value: seen.append((path, deepcopy(value)))
    )
    return store, seen


class Stop(Exception):
    pass


@asynccontextmanager
async def failing_edit(store):
    """Edit the state, and fail in the end."""
    with suppress(Stop):
        async with store.edit_state() as state:
            yield state
            raise Stop


async def settle(*coroutines):
    """Start coroutines, and let each run until it can run no further."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


# --- reading and writing ------------------------------------------------------------------------------------


async def test_what_is_set_is_got():
    """Plain keys and dotted paths lead to what was put there; what is missing on the way is made."""
    store, seen = listening()
    await store.set("name", "Ada")
    await store.set("user.profile.city", "London")
    await store.set("user.rows", [1, 2])
    await store.set("user.rows.0", 5)
    assert await store.get("name") == "Ada"
    assert await store.get("user") == {"profile": {"city": "London"}, "rows": [5, 2]}
    assert await store.get("user.rows.-1") == 2
    assert await store.get("") is store.current
    assert seen == [
        ("name", "Ada"),
        ("user.profile.city", "London"),
        ("user.rows", [1, 2]),
        ("user.rows.0", 5),
    ]


@pytest.mark.parametrize("path", ["gone", "there.gone", "there.0", "row.7", "row.x", "items", "there.name.x", "."])
async def test_what_is_missing_needs_a_default(path):
    """A path that leads nowhere gives the default, or an error with the path and the remedy."""
    store = InMemoryStateStore(DictState(there={"name": None}, row=[1]))
    assert await store.get(path, default=None) is None
    assert await store.get(path, "else") == "else"
    with pytest.raises(ValueError, match="not found in state") as caught:
        await store.get(path)
    assert str(caught.value).startswith(f"Path '{path}' not found")
    assert isinstance(caught.value, OtflowError)


@pytest.mark.parametrize("key", ["items", "keys", "get", "model_dump", "0", "_data", "ümlaut", "__dict__"])
async def test_any_key_is_a_key(key):
    """Keys that are names of methods, or look like indexes, are keys like others."""
    store, _ = listening()
    assert await store.get(key, default=None) is None
    await store.set(key, 1)
    assert await store.get(key) == 1
    assert (await store.get_state())[key] == 1
    await store.set(f"other.{key}.inner", 2)
    assert await store.get(f"other.{key}.inner") == 2


async def test_values_are_not_copied():
    """`get` gives the object that was put there."""
    store, value = InMemoryStateStore(DictState()), threading.Lock()
    await store.set("lock", value)
    assert await store.get("lock") is value


async def test_paths_lead_through_objects():
    """Attributes, properties, tuples and models are on the way, too."""
    box = Box([Part(size=3)])
    store = InMemoryStateStore(DictState(box=box, pair=(1, {"a": 2}), event=StopEvent(result=4)))
    assert await store.get("box.items.0.size") == 3
    assert await store.get("pair.1.a") == 2
    assert await store.get("event.result") == 4
    await store.set("box.items.0.size", 5)
    await store.set("event.extra", 6)
    assert box.items[0].size == 5
    assert (await store.get("event")).extra == 6


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", ValueError),
        (".".join(["a"] * (MAX_DEPTH + 1)), ValueError),
        ("number.x", AttributeError),
        ("number.x.y", AttributeError),
        ("pair.0", ValueError),
        ("row.5", ValueError),
        ("typed.nothing", ValueError),
        ("typed.double", ValueError),
    ],
)
async def test_what_cannot_be_set_is_refused(path, kind):
    """A write that has no place is refused, reports nothing, and changes nothing."""
    state = DictState(number=5, pair=(1, 2), row=[1], typed=Typed())
    store, seen = listening(state)
    before = repr(state)
    with pytest.raises(kind) as caught:
        await store.set(path, 1)
    assert isinstance(caught.value, OtflowError)
    assert repr(state) == before
    assert seen == []


async def test_the_longest_path_works():
    """A path of as many segments as are allowed can be written and read."""
    store, path = InMemoryStateStore(DictState()), ".".join(["a"] * MAX_DEPTH)
    await store.set(path, 1)
    assert await store.get(path) == 1


async def test_a_state_may_be_used_from_loop_to_loop():
    """A store belongs to no loop, even after tasks have waited for it."""
    store = InMemoryStateStore(DictState(n=0))

    async def many():
        async def one():
            async with store.edit_state() as state:
                n = state["n"]
                await asyncio.sleep(0)
                state["n"] = n + 1

        await asyncio.gather(*(one() for _ in range(3)), store.set("m", 1))

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, many())
    assert await store.get("n") == 6
    assert store.lock_free


def test_plain_access_needs_no_loop():
    """A read or write that has nothing to wait for ends at once, for whoever drives it."""
    store, seen = listening()
    for coroutine, result in [
        (store.set("a", 1), None),
        (store.set("b.c", 2), None),
        (store.get("b"), {"c": 2}),
    ]:
        with pytest.raises(StopIteration) as ended:
            coroutine.send(None)
        assert ended.value.value == result
    assert seen == [("a", 1), ("b.c", 2)]


def test_an_edit_may_be_driven_by_hand():
    """An edit that has nothing to wait for needs no loop either."""
    store, seen = listening()

    async def edit():
        async with store.edit_state() as state:
            state["a"] = 1

    with pytest.raises(StopIteration):
        edit().send(None)
    assert seen == [("a", 1)]


# --- the whole state ----------------------------------------------------------------------------------------


async def test_get_state_is_a_shallow_copy():
    """The copy has its own keys, and shares the values."""
    store = InMemoryStateStore(DictState(row=[1]))
    copy = await store.get_state()
    copy["new"] = 1
    copy["row"].append(2)
    assert await store.get("new", default=None) is None
    assert await store.get("row") == [1, 2]


async def test_set_state_takes_its_place():
    """Another state takes the place of the first; what is done to the given object later does not matter."""
    store, seen = listening(DictState(old=1))
    given = DictState(new=1)
    await store.set_state(given)
    given["new"] = 2
    await store.set("more", 3)
    assert (await store.get_state()).to_dict() == {"new": 1, "more": 3}
    assert seen == [("", DictState(new=1)), ("more", 3)]


async def test_set_state_wants_a_relative():
    """A subclass takes the place; of a base class only the fields are taken; anything else is refused."""
    store, seen = listening(Younger(age=1, toy="car"))
    await store.set_state(Typed(name="Ada", age=2))
    assert await store.get_state() == Younger(name="Ada", age=2, toy="car")
    store_of_base = InMemoryStateStore(Typed())
    await store_of_base.set_state(Younger())
    assert store_of_base.state_type is Younger
    for stranger in (Part(), DictState(), {"age": 1}):
        with pytest.raises(ValueError, match="State must be of type Younger or a parent type, got") as caught:
            await store.set_state(stranger)
        assert isinstance(caught.value, OtflowError)
    assert [path for path, _ in seen] == [""]


async def test_clear_makes_the_defaults():
    """After `clear` the state is as its class makes it."""
    store, seen = listening(Typed(age=3))
    await store.clear()
    assert await store.get_state() == Typed()
    plain, _ = listening(DictState(a=1))
    await plain.clear()
    await plain.set("b", 2)
    assert (await plain.get_state()).to_dict() == {"b": 2}
    assert seen == [("", Typed())]


async def test_a_state_without_defaults_is_named():
    """A class with a field that has no default is refused by name, with the field and the remedy."""
    store = InMemoryStateStore(Needy(name="x"))
    for kind in (WorkflowRuntimeError, ValueError):
        with pytest.raises(kind, match=r"State must have defaults.*Needy\(\)(.|\n)*name(.|\n)*Give every field"):
            await store.clear()
    with pytest.raises(WorkflowRuntimeError, match="Needy"):
        make_state(Needy)
    assert make_state(DictState) == DictState()
    assert await store.get("name") == "x"


# --- typed states -------------------------------------------------------------------------------------------


async def test_typed_fields_validate():
    """A declared field validates what is set, at any depth, asked for or not; a refusal changes nothing."""
    store, seen = listening(Typed())
    await store.set("age", "30")
    await store.set("part.size", 4)
    assert (await store.get("age"), await store.get("part.size"), await store.get("double")) == (30, 4, 60)
    for path, value in [("age", "old"), ("age", 151), ("part.size", None), ("name", 5)]:
        with pytest.raises(ValidationError):
            await store.set(path, value)
    assert await store.get_state() == Typed(age=30, part=Part(size=4))
    assert seen == [("age", "30"), ("part.size", 4)]


async def test_undeclared_fields_follow_the_class():
    """What a class says about undeclared fields and frozen ones holds for paths."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        size: int = 0
        _hidden: int = 0

    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        size: int = 0

    store = InMemoryStateStore(DictState(open=Open(), frozen=Frozen(), like=DictLikeModel(), sized=Sized()))
    await store.set("open.more", 1)
    await store.set("open._hidden", 2)
    await store.set("like.items", 3)
    await store.set("sized.size", "4")
    await store.set("sized.more", 5)
    assert await store.get("open.more") == 1
    assert await store.get("open._hidden") == 2
    assert await store.get("like.items") == 3
    assert (await store.get("sized.size"), await store.get("sized.more")) == (4, 5)
    assert (await store.get("sized")).to_dict() == {"more": 5}
    with pytest.raises(ValidationError):
        await store.set("frozen.size", 1)


async def test_a_dict_made_on_the_way_is_the_one_that_stays():
    """Where a field validates the dict that a path needs, the write goes into what the field made of it."""

    class Counts(BaseModel):
        counts: dict[str, int]

    store = InMemoryStateStore(Counts.model_construct())
    await store.set("counts.a", 1)
    assert await store.get("counts.a") == 1


async def test_a_dict_state_may_declare_fields():
    """A subclass of `DictState` validates its fields, and takes any other key."""
    store, seen = listening(Sized())
    await store.set("size", "7")
    await store.set("more", 8)
    assert (await store.get("size"), await store.get("more")) == (7, 8)
    assert seen == [("size", "7"), ("more", 8)]
    with pytest.raises(ValidationError):
        await store.set("size", "big")


# --- edits --------------------------------------------------------------------------------------------------


async def test_an_edit_reports_what_changed():
    """At its end an edit reports each top-level key that it changed, added or removed, once, and no other."""
    same = [1, 2]
    store, seen = listening(DictState(a=1, gone=1, row=same, deep={"x": [{"y": 1}]}, big=10**20, still=same))
    async with store.edit_state() as state:
        state["a"] = 2
        state["a"] = 3
        state["new"] = {"z": 1}
        state["deep"]["x"][0]["y"] = 2
        state["big"] = int("1" + "0" * 20)
        del state.to_dict()["gone"]
        assert seen == []
    assert seen == [("a", 3), ("deep", {"x": [{"y": 2}]}), ("new", {"z": 1}), ("gone", DELETED)]
    assert repr(DELETED) == "DELETED"


async def test_an_edit_of_a_shared_value_is_reported_for_each_key():
    """A value that stands under two keys, and is changed under one, is reported for both."""
    same = [1]
    store, seen = listening(DictState(one=same, two=(same,), three=[1]))
    async with store.edit_state() as state:
        state["one"].append(2)
    assert seen == [("one", [1, 2]), ("two", ([1, 2],))]


async def test_keys_that_read_like_paths_make_the_edit_report_the_whole():
    """A key with a dot, an empty key or one that is no text would be misread: the state is reported."""
    for key in ("a.b", "", 5):
        store, seen = listening(DictState())
        async with store.edit_state() as state:
            state[key] = 1
        assert [path for path, _ in seen] == [""]
        assert seen[0][1].to_dict() == {key: 1}
        assert await store.get("a", default=0) == 0


async def test_an_edit_of_a_typed_state():
    """Fields of a typed state are reported and taken back like keys; private attributes are taken back."""
    store, seen = listening(Typed())
    async with store.edit_state() as state:
        state.age = 5
        state.rows.append(1)
        state._secret.append(1)
    assert seen == [("age", 5), ("rows", [1])]
    async with failing_edit(store) as state:
        state.age, state.part.size, state._secret = 6, 7, [8]
        state.rows.append(2)
    assert repr(store.current) == repr(Typed(age=5, rows=[1]))
    assert store.current._secret == [1]
    assert len(seen) == 2


def rich():
    """Make a state with one of every kind of container."""
    shared = {"n": 1}
    ring = [1]
    ring.append(ring)
    return DictState(
        row=[1, [2]],
        names={"a", "b"},
        queue=deque([1, [2]], maxlen=5),
        groups=defaultdict(list, {"g": [1]}),
        counts=Counter("aab"),
        ordered=OrderedDict(x=[1]),
        pair=Pair([1], 2),
        tuple=([1], 2),
        atoms=(1, "a"),
        box=Box([1]),
        part=Part(size=1),
        event=StopEvent(result=[1], extra=[2]),
        shared=shared,
        again=[shared],
        ring=ring,
        stubborn=Stubborn([1]),
        lock=threading.Lock(),
    )


def disturb(state):
    """Change everything that can be changed within that state."""
    state["row"][1].append(3)
    state["names"].add("c")
    state["queue"].append(3)
    state["groups"]["h"].append(1)
    state["counts"]["a"] += 1
    state["ordered"]["w"] = state["ordered"].pop("x")
    state["pair"].left.append(2)
    state["tuple"][0].append(2)
    state["box"].items.append(2)
    state["part"].size = 2
    state["event"].result.append(2)
    state["event"].extra.append(3)
    state["shared"]["n"] = 2
    state["ring"][0] = 2
    state["stubborn"].append(2)
    state["row"] = state["row"][:1]
    state["new"] = 1


async def test_a_failed_edit_is_taken_back():
    """When the body raises, every container holds again what it held, and is the object that it was."""
    state = rich()
    store, seen = listening(state)
    before = state.to_dict().copy()
    text = repr(state)
    async with failing_edit(store) as edited:
        disturb(edited)
        assert repr(edited) != text
    assert repr(store.current) == text
    assert all(store.current[key] is value for key, value in before.items())
    assert list(store.current) == list(before)
    assert store.current["again"][0] is store.current["shared"]
    assert seen == []
    await store.set("shared.n", 5)
    assert await store.get("again.0.n") == 5


async def test_a_kept_edit_keeps_the_objects():
    """Who holds a part of the state from before an edit holds it afterwards."""
    store = InMemoryStateStore(rich())
    row, shared = await store.get("queue"), await store.get("shared")
    async with store.edit_state() as state:
        disturb(state)
    assert await store.get("queue") is row
    assert await store.get("shared") is shared
    shared["n"] = 9
    assert await store.get("again.0.n") == 9


async def test_every_kind_of_change_is_noticed():
    """A change in any kind of container is reported under its key."""
    store, seen = InMemoryStateStore(rich()), []
    store.written = lambda path, value: seen.append(path)
    async with store.edit_state() as state:
        disturb(state)
    assert set(seen) == {*store.current.to_dict()} - {"atoms", "lock"}
    seen.clear()
    async with store.edit_state():
        pass
    assert seen == []


async def test_others_read_the_state_as_it_was():
    """While an edit lasts the editor sees its work, and everyone else the state before it."""
    store = InMemoryStateStore(rich())
    before = repr(store.current)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def edit():
        async with store.edit_state() as state:
            disturb(state)
            await store.set("part.size", 3)
            begun.set()
            await go_on.wait()
            assert await store.get("new") == 1
            assert await store.get("part.size") == 3
            assert (await store.get_state())["new"] == 1

    (task,) = await settle(edit())
    await begun.wait()
    assert not store.lock_free
    assert await store.get("new", default=None) is None
    assert await store.get("row") == [1, [2]]
    assert await store.get("pair.left") == [1]
    assert (await store.get("pair")).left == [1]
    view = await store.get_state()
    view["stubborn"] = Stubborn([1])  # what cannot be copied is seen as it is
    assert repr(view) == before
    assert await store.get("again.0") is await store.get("shared")
    assert await store.get("lock") is store._state["lock"]
    assert await store.get("atoms") is store._state["atoms"]
    go_on.set()
    await task
    assert await store.get("new") == 1
    assert store.lock_free


async def test_others_write_after_the_edit():
    """Writes of other tasks wait for the end of an edit, and come in the order of their calls."""
    store, seen = listening(Typed())
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def edit():
        async with store.edit_state() as state:
            begun.set()
            age = state.age
            await go_on.wait()
            state.age = age + 1

    async def edit_again():
        async with store.edit_state() as state:
            state.age += 10

    tasks = await settle(
        edit(), edit_again(), store.set("name", "a"), store.set_state(Typed(age=3)), store.set("name", "b")
    )
    assert seen == []
    go_on.set()
    await asyncio.gather(*tasks)
    assert seen == [("age", 1), ("age", 11), ("name", "a"), ("", Typed(age=3)), ("name", "b")]
    assert await store.get_state() == Typed(age=3, name="b")
    assert store.lock_free


async def test_one_who_gives_up_waiting_is_no_hindrance():
    """A write that was cancelled while it waited is not done, and nobody waits for it."""
    store, go_on = InMemoryStateStore(DictState()), asyncio.Event()

    async def edit():
        async with store.edit_state() as state:
            await go_on.wait()
            state["a"] = 1

    first, second, third = await settle(edit(), store.set("b", 1), store.set("c", 1))
    second.cancel()
    go_on.set()
    await asyncio.gather(first, third)
    assert second.cancelled()
    assert (await store.get_state()).to_dict() == {"a": 1, "c": 1}
    assert store.lock_free


async def test_a_cancelled_edit_is_taken_back():
    """Cancelling the task of an edit takes the edit back."""
    store, seen = listening()

    async def edit():
        async with store.edit_state() as state:
            state["a"] = 1
            await asyncio.Event().wait()

    (task,) = await settle(edit())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.set("b", 2)
    assert (await store.get_state()).to_dict() == {"b": 2}
    assert seen == [("b", 2)]


async def test_the_editor_writes_into_its_edit():
    """What the editing task does through the store is a part of its edit: reported at its end, or undone."""
    store, seen = listening(DictState(a=1))
    async with store.edit_state() as state:
        await store.set("b", 2)
        await store.set("deep.er", 3)
        assert state["b"] == 2
        assert await store.get("deep") == {"er": 3}
        assert seen == []
    assert seen == [("b", 2), ("deep", {"er": 3})]
    async with failing_edit(store) as state:
        await store.set("b", 4)
        await store.set("deep.er", 4)
    assert (await store.get_state()).to_dict() == {"a": 1, "b": 2, "deep": {"er": 3}}
    assert len(seen) == 2


async def test_the_editor_may_replace_the_state():
    """`set_state` and `clear` within an edit act on the object that the editor has, and can be undone."""
    store, seen = listening(DictState(a=1, b=1))
    async with store.edit_state() as state:
        await store.set_state(DictState(b=2))
        state["c"] = 3
    assert seen == [("b", 2), ("c", 3), ("a", DELETED)]
    async with failing_edit(store) as state:
        await store.clear()
        assert state.to_dict() == {}
    assert (await store.get_state()).to_dict() == {"b": 2, "c": 3}


async def test_the_editor_may_bring_a_subclass():
    """A state of a subclass set within an edit is reported as a whole, and taken back with it."""
    store, seen = listening(Typed(age=1))
    async with failing_edit(store):
        await store.set_state(Younger(age=2))
    assert await store.get_state() == Typed(age=1)
    async with store.edit_state():
        await store.set_state(Younger(age=2))
    assert seen == [("", Younger(age=2))]


async def test_edits_nest():
    """An edit within an edit of the same task is taken back alone, or kept with the outer one."""
    store, seen = listening(DictState(a=0))
    async with store.edit_state() as state:
        state["a"] = 1
        async with failing_edit(store) as inner:
            assert inner is state
            inner["a"], inner["b"] = 2, 2
        assert state.to_dict() == {"a": 1}
        async with store.edit_state() as inner:
            inner["c"] = 3
        assert seen == []
    assert seen == [("a", 1), ("c", 3)]


async def test_edits_do_not_lose_each_other():
    """Read, wait and write in an edit is safe with any number of tasks."""
    store = InMemoryStateStore(DictState(n=0))

    async def one():
        async with store.edit_state() as state:
            n = state["n"]
            await asyncio.sleep(0)
            state["n"] = n + 1

    await asyncio.gather(*(one() for _ in range(20)), *(store.set(f"k{n}", n) for n in range(20)))
    assert await store.get("n") == 20
    assert await store.get("k7") == 7


# --- reports build the state again --------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "a.b", "b.a.a", "a.0"])
plain = st.recursive(st.integers(0, 3), lambda x: st.lists(x, max_size=2) | st.dictionaries(names, x, max_size=2))
writes = st.tuples(st.just("set"), names, plain)
edits = st.tuples(st.just("edit"), st.lists(writes, max_size=3), st.booleans(), st.none() | st.sampled_from("ab"))
others = st.tuples(st.sampled_from(["clear", "state"]), st.dictionaries(st.sampled_from("ab"), plain, max_size=2))


@given(st.lists(writes | edits | others, max_size=8))
def test_reports_build_the_state_again(actions):
    """Folding the reports, each as it was when it came, onto an empty state gives the state; always."""
    store, seen = listening()

    async def act(kind, *rest):
        if kind == "clear":
            await store.clear()
        elif kind == "state":
            await store.set_state(DictState(**deepcopy(rest[0])))
        elif kind == "set":
            with suppress(ValueError):
                await store.set(rest[0], deepcopy(rest[1]))
        else:
            inner, fail, gone = rest
            async with failing_edit(store) if fail else store.edit_state() as state:
                for each in inner:
                    await act(*each)
                state.to_dict().pop(gone, None)

    async def main():
        for each in actions:
            await act(*each)

    asyncio.run(main())
    state = DictState()
    for path, value in seen:
        state = apply_write(state, path, deepcopy(value))
    assert state == store.current


def test_apply_write_takes_what_records_hold():
    """A whole state may come as its fields; a removed key may be gone already; a misfit is refused."""
    state = apply_write(Typed(), "", {"age": 3})
    assert state == Typed(age=3)
    assert apply_write(state, "rows", [1]) is state
    assert apply_write(DictState(a=1), "", {"b": 2}).to_dict() == {"b": 2}
    deep = DictState(a=1, deep={"er": [1, 2]}, part=Part(), box=Box())
    for path in ("a", "a", "deep.er.0", "deep.gone", "part.gone", "box.items"):
        apply_write(deep, path, DELETED)
    assert deep.to_dict() | {"box": 0} == {"deep": {"er": [2]}, "part": Part(), "box": 0}
    assert not hasattr(deep["box"], "items")
    with pytest.raises(ValueError, match="A Part was recorded as a state of type Typed"):
        apply_write(Typed(), "", Part())


def test_paths_work_on_any_object():
    """The functions behind the store take any object as the beginning of a path."""
    data: dict[str, Any] = {}
    set_by_path(data, "a.b", 1)
    assert get_by_path(data, "a.b") == 1
    assert get_by_path(Box([7]), "items.0") == 7


# --- saving -------------------------------------------------------------------------------------------------


async def test_a_saved_state_comes_back():
    """What `to_dict` gave makes an equal state, which reports its writes."""
    for state in (
        DictState(a=1, part=Part(size=2), rows=(1, 2)),
        Typed(age=3),
        Sized(size=2, more=1),
        DictState(),
    ):
        store = InMemoryStateStore(state)
        data, seen = store.to_dict(JsonSerializer()), []
        again = InMemoryStateStore.from_dict(data, JsonSerializer(), lambda *report: seen.append(report))  # noqa: B023
        assert await again.get_state() == state
        assert type(again.current) is type(state)
        assert data["state_type"] == type(state).__name__
        await again.clear()
        assert [path for path, _ in seen] == [""]
    assert InMemoryStateStore.from_dict({}, JsonSerializer()).current == DictState()


async def test_what_cannot_be_saved_is_named():
    """A value that cannot be written is refused with its key; pickle may write more."""

    class Local:
        pass

    store = InMemoryStateStore(DictState(good=1, lock=threading.Lock()))
    for serializer in (JsonSerializer(), PickleSerializer()):
        with pytest.raises(ValueError, match="Failed to serialize state value for key lock") as caught:
            store.to_dict(serializer)
        assert isinstance(caught.value, OtflowError)
    pickled = InMemoryStateStore(DictState(box=Box([1]))).to_dict(PickleSerializer())
    assert InMemoryStateStore.from_dict(pickled, PickleSerializer()).current["box"] == Box([1])


async def test_memory_may_be_left_out():
    """The key `memory` is left out with a warning when it cannot be written, and is written when it can."""
    store = InMemoryStateStore(DictState(a=1, memory=threading.Lock()))
    with pytest.warns(UnserializableKeyWarning, match="key 'memory' is left out") as caught:
        data = store.to_dict(JsonSerializer())
    assert caught[0].filename == __file__
    assert InMemoryStateStore.from_dict(data, JsonSerializer()).current == DictState(a=1)
    await store.set("memory", [1])
    assert InMemoryStateStore.from_dict(store.to_dict(JsonSerializer()), JsonSerializer()).current["memory"] == [1]


async def test_saving_during_an_edit_saves_what_others_see():
    """Another task saves the state before the edit."""
    store, go_on = InMemoryStateStore(DictState(a=1)), asyncio.Event()

    async def edit():
        async with store.edit_state() as state:
            state["a"] = 2
            await go_on.wait()

    (task,) = await settle(edit())
    assert InMemoryStateStore.from_dict(store.to_dict(JsonSerializer()), JsonSerializer()).current["a"] == 1
    go_on.set()
    await task


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"a": 1}, "no saved state"),
        ("text", "no saved state"),
        ({"state_data": "5"}, "no saved state"),
        ({"state_data": {"_data": 5}}, "no saved state"),
        ({"state_data": {"_data": {"a": "{"}}}, "for key a: Not JSON"),
        ({"state_data": "{"}, "Not JSON"),
    ],
)
def test_bad_data_is_refused(data, text):
    """Data of another shape is refused, with the key where there is one."""
    with pytest.raises(ContextSerdeError, match=text):
        InMemoryStateStore.from_dict(data, JsonSerializer())
