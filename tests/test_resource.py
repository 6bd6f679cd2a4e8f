"""Laws of the resources: one call of a factory for all who ask, in whatever order, thread or loop."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from dataclasses import dataclass, field
from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from otflow.errors import OtflowError, WorkflowValidationError
from otflow.resource import (
    Resource,
    ResourceConfig,
    ResourceCycleError,
    ResourceManager,
    ResourceParam,
    declared_resources,
    load_config,
)


class Settings(BaseModel):
    size: int


@dataclass
class Source:
    """A factory that counts its calls, and can be held up."""

    calls: int = 0
    value: object = None
    gate: asyncio.Event | None = field(default=None, repr=False)
    error: BaseException | None = None

    async def __call__(self) -> object:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.value if self.value is not None else [self.calls]


async def settle(*coroutines):
    """Start coroutines, and let each run until it can run no further."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


# --- caching ------------------------------------------------------------------------------------------------


async def test_a_factory_is_called_once():
    """Plain functions and coroutine functions alike make one value for one manager."""
    for factory in (lambda: [1], Source()):
        manager, resource = ResourceManager(), Resource(factory)
        first = await manager.get(resource)
        assert await manager.resolve(ResourceParam("a", resource), "s") is first
        assert await manager.get(Resource(factory)) is first
        assert await ResourceManager().get(resource) is not first


@pytest.mark.parametrize("value", [None, 0, "", [], False])
async def test_a_false_value_is_kept(value):
    """A value that counts as false is not made again."""
    calls = []
    resource, manager = Resource(lambda: (calls.append(1), value)[1]), ResourceManager()
    assert await manager.get(resource) == await manager.get(resource) == value
    assert calls == [1]
    assert manager.cached(resource) == (True, value)


async def test_a_factory_is_told_apart_by_identity():
    """Two factories of one name are two resources; the method of one object is one, each time it is named."""

    def make(value):
        def factory():
            return value

        return factory

    class Owner:
        def __eq__(self, other):
            return True

        __hash__ = None

        def method(self):
            return self

    manager, one, two = ResourceManager(), make([1]), make([2])
    assert await manager.get(Resource(one)) == [1]
    assert await manager.get(Resource(two)) == [2]
    first, second = Owner(), Owner()
    assert await manager.get(Resource(first.method)) is first
    assert await manager.get(Resource(second.method)) is second
    assert manager.cached(Resource(first.method)) == (True, first)
    name = Resource(one).name
    assert manager.get_all()[name] == [1]
    assert manager.get_all()[f"{name}#2"] == [2]


async def test_without_cache_each_injection_makes_its_own():
    """`cache=False` concerns the injection: the same factory elsewhere still keeps its value."""
    source, manager = Source(), ResourceManager()
    kept = await manager.get(Resource(source))
    assert await manager.get(Resource(source, cache=False)) == [2]
    assert await manager.get(Resource(source, cache=False)) == [3]
    assert manager.cached(Resource(source, cache=False)) == (False, None)
    assert await manager.get(Resource(source)) is kept


async def test_cached_says_without_waiting():
    """Before a resource is made `cached` knows nothing of it."""
    resource, manager = Resource(Source()), ResourceManager()
    assert manager.cached(resource) == (False, None)
    await manager.get(resource)
    assert manager.cached(resource) == (True, [1])


async def test_a_given_value_wins():
    """A value set by name takes the place of what the factory would make, also after it was made."""
    source, manager = Source(), ResourceManager()
    resource = Resource(source)
    await manager.get(resource)
    await manager.set(resource.name, "given")
    assert await manager.get(resource) == "given"
    assert await manager.get(Resource(source, cache=False)) == "given"
    assert manager.get_all()[resource.name] == "given"
    assert source.calls == 1


# --- many ask at once ---------------------------------------------------------------------------------------


async def test_all_who_ask_at_once_share_one_call():
    """While a factory is at work everyone else waits for it, and no circle is seen where there is none."""
    source = Source(gate=asyncio.Event())
    manager, resource = ResourceManager(), Resource(source)
    tasks = await settle(*(manager.resolve(ResourceParam("a", resource), f"s{n}") for n in range(5)))
    assert source.calls == 1
    source.gate.set()
    first, *others = await asyncio.gather(*tasks)
    assert all(other is first for other in others)


async def test_all_who_ask_at_once_share_a_failure():
    """A failure goes to everyone who waits, and the next one to ask calls the factory again."""
    source = Source(gate=asyncio.Event(), error=OSError("down"))
    manager, resource = ResourceManager(), Resource(source)
    tasks = await settle(*(manager.get(resource) for _ in range(3)))
    source.gate.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert result is source.error
    source.error = None
    assert await manager.get(resource) == [2]
    assert manager.cached(resource) == (True, [2])


async def test_a_cancelled_maker_is_replaced():
    """When the one whose task called the factory is cancelled, another who waits calls it again."""
    source = Source(gate=asyncio.Event())
    manager, resource = ResourceManager(), Resource(source)
    maker, other, third = await settle(*(manager.get(resource) for _ in range(3)))
    maker.cancel()
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await maker
    source.gate.set()
    assert await other == [2]
    assert source.calls == 2


def test_threads_and_loops_share_one_call():
    """A factory at work in the loop of one thread is waited for in the loops of others."""
    manager, begun, gate, calls, got = ResourceManager(), threading.Event(), threading.Event(), [], []

    async def factory():
        calls.append(1)
        begun.set()
        await asyncio.to_thread(gate.wait, 30)
        return object()

    def ask():
        got.append(asyncio.run(manager.get(Resource(factory))))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    threads[0].start()
    begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1
    assert len(got) == 4
    assert len(set(map(id, got))) == 1


# --- resources of resources ---------------------------------------------------------------------------------


def make_one() -> list[str]:
    """Make the innermost resource."""
    return ["one"]


def make_two(one: Annotated[list[str], Resource(make_one)], size: int = 2) -> list[object]:
    """Make a resource from another one."""
    return [one, size]


async def make_three(
    one: Annotated[list[str], Resource(make_one)], two: Annotated[list[object], Resource(make_two)]
) -> list[object]:
    """Make a resource from two that share one."""
    return [one, two]


async def test_factories_get_what_they_ask_for():
    """A factory's own resources are made before it is called, and shared with everyone else's."""
    manager = ResourceManager()
    three = await manager.get(Resource(make_three))
    assert three == [["one"], [["one"], 2]]
    assert three[0] is three[1][0] is await manager.get(Resource(make_one))


async def test_a_circle_is_named():
    """Factories that need each other are refused with the way around, kept or not."""
    for cache in (True, False):

        def a(it: Annotated[object, "replaced below"]):
            """Need b."""

        def b(it: Annotated[object, "replaced below"]):
            """Need a."""

        a.__annotations__["it"] = Annotated[object, Resource(b, cache)]
        b.__annotations__["it"] = Annotated[object, Resource(a, cache)]
        with pytest.raises(ValueError, match="Circular resource dependency detected") as caught:
            await ResourceManager().get(Resource(a, cache))
        way = f"{Resource(a).name} -> {Resource(b).name} -> {Resource(a).name}."
        assert way in str(caught.value)
        assert isinstance(caught.value, OtflowError)


async def test_a_circle_between_two_who_ask_is_named():
    """Two tasks that begin a circle at different ends are both refused; neither waits for ever."""
    gate = asyncio.Event()

    async def hold():
        await gate.wait()

    async def a(held: Annotated[object, Resource(hold, cache=False)], it: Annotated[object, 0]):
        """Need b."""

    async def b(held: Annotated[object, Resource(hold, cache=False)], it: Annotated[object, 0]):
        """Need a."""

    for func, other in ((a, b), (b, a)):
        func.__annotations__["held"] = Annotated[object, Resource(hold, cache=False)]
        func.__annotations__["it"] = Annotated[object, Resource(other)]
    manager = ResourceManager()
    tasks = await settle(manager.get(Resource(a)), manager.get(Resource(b)))
    gate.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, ResourceCycleError)


async def test_two_who_ask_from_both_ends_are_no_circle():
    """One asks for a resource and the other for what it needs, at the same time: both get them."""
    gate = asyncio.Event()

    async def inner():
        await gate.wait()
        return "inner"

    async def outer(it: Annotated[str, Resource(inner)]):
        return it

    outer.__annotations__["it"] = Annotated[str, Resource(inner)]
    manager = ResourceManager()
    tasks = await settle(manager.get(Resource(outer)), manager.get(Resource(inner)), manager.get(Resource(outer)))
    gate.set()
    assert await asyncio.gather(*tasks) == ["inner"] * 3


# --- failures -----------------------------------------------------------------------------------------------


def make_broken() -> None:
    """Fail as factories do."""
    raise KeyError("no key")


def make_upon_broken(it: Annotated[object, Resource(make_broken)]) -> None:
    """Need what cannot be made."""


async def test_a_failure_keeps_its_class_and_says_where():
    """What a factory raises is raised, with one note: which resource and factory, who asked, by what way."""
    with pytest.raises(KeyError) as caught:
        await ResourceManager().resolve(ResourceParam("it", Resource(make_upon_broken)), "think")
    (note,) = caught.value.__notes__
    assert note.startswith(f"While making resource 'make_broken' from the factory {__name__}.make_broken (")
    assert "asked for by step 'think' through make_upon_broken -> make_broken." in note


async def test_a_failure_says_who_asked_when_no_step_did():
    """Without a step the note names the method."""
    with pytest.raises(KeyError) as caught:
        await ResourceManager().get(Resource(make_broken, cache=False))
    assert caught.value.__notes__[0].endswith("asked for by ResourceManager.get().")


# --- declarations -------------------------------------------------------------------------------------------


def step(
    ev: NotDefinedAnywhere,  # noqa: F821  what is no resource is not looked at
    two: Annotated[list[object], Resource(make_two)],
    settings: Annotated[Settings, "a note", ResourceConfig("settings.json")],
    *args: int,
    plain: Annotated[int, "no resource"] = 0,
) -> NotDefinedEither:  # noqa: F821  neither is what it returns
    """Ask for resources as a step does."""


def test_declarations_are_read():
    """Annotated parameters are found, written as text or not; others are left alone."""
    two, settings = declared_resources(step)
    assert (two.name, two.type, two.resource.factory) == ("two", list[object], make_two)
    assert (settings.name, settings.type, settings.resource.name) == ("settings", Settings, "settings.json")


def test_local_names_are_found_when_given():
    """Names of a function are known to annotations through `localns`, in nested factories too."""

    def inner() -> str:
        return "inner"

    def outer(it: Annotated[str, Resource(inner)]) -> str:
        return it

    def asks(it: Annotated[str, Resource(outer)]) -> None:
        """Ask for a local resource."""

    (param,) = declared_resources(asks, {"inner": inner, "outer": outer, "Resource": Resource})
    assert asyncio.run(ResourceManager().resolve(param, "s")) == "inner"
    with pytest.raises(WorkflowValidationError, match=r"parameter 'it' of .*asks.*'outer' is not defined.*at the top"):
        declared_resources(asks)


class Kind:
    def __init__(self, one: Annotated[list[str], Resource(make_one)]):
        self.one = one

    def method(self, one: Annotated[list[str], Resource(make_one)]):
        """Ask as a method."""

    def __call__(self, one: Annotated[list[str], Resource(make_one)]):
        return one


@pytest.mark.parametrize(
    "factory", [Kind, Kind([]), Kind([]).method, functools.partial(make_two, size=1), functools.partial(Kind)]
)
def test_every_kind_of_callable_may_ask(factory):
    """Classes, objects, methods and partials declare resources as functions do."""
    (param,) = declared_resources(factory)
    assert param.name == "one"
    assert Resource(factory).name.startswith(("Kind", "make_two"))


async def test_classes_and_partials_are_factories():
    """A class or a partial makes a resource like a function."""
    manager = ResourceManager()
    assert (await manager.get(Resource(Kind))).one == ["one"]
    assert await manager.get(Resource(functools.partial(make_two, size=5))) == [["one"], 5]
    assert await manager.get(Resource(dict)) == {}


def test_a_factory_has_to_be_callable():
    """What cannot be called is refused where it is declared."""
    with pytest.raises(WorkflowValidationError, match=r"Resource\(5\): give a function"):
        Resource(5)


# --- files --------------------------------------------------------------------------------------------------


async def test_a_file_becomes_a_model(tmp_path, monkeypatch):
    """A file is read when it is first asked for, from where it was declared, and kept for each model."""
    monkeypatch.chdir(tmp_path)

    def asks(
        whole: Annotated[Settings, ResourceConfig("settings.json")],
        part: Annotated[Settings, ResourceConfig("settings.json", "inner.part", "label", "text")],
    ) -> None:
        """Ask for two parts of a file."""

    whole, part = declared_resources(asks)
    monkeypatch.chdir("/")
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"size": 1, "inner": {"part": {"size": 2}}}))
    manager = ResourceManager()
    first = await manager.resolve(whole, "s")
    assert first == Settings(size=1)
    assert await manager.resolve(part, "s") == Settings(size=2)
    file.unlink()
    assert await manager.resolve(whole, "s") is first
    assert manager.cached(whole.resource, Settings) == (True, first)
    assert part.resource.name == "settings.json.inner.part"
    assert set(manager.get_all()) == {"settings.json", "settings.json.inner.part"}


async def test_bad_files_are_refused(tmp_path):
    """A missing file, other text than JSON, a wrong selector and a misfit say what and where."""
    with pytest.raises(ValueError, match=r"only \.json files"):
        ResourceConfig("settings.yaml")
    file = tmp_path / "settings.json"
    param = ResourceParam("s", ResourceConfig(str(file), "a.b"), Settings)
    for text, kind, message in [
        (None, FileNotFoundError, "settings.json"),
        ("{", ValueError, "is no JSON file"),
        ('{"a": 5}', ValueError, "has nothing under 'a.b'"),
        ("[]", ValueError, "has nothing under 'a'"),
        ('{"a": {"b": {}}}', ValidationError, "size"),
    ]:
        if text is not None:
            file.write_text(text)
        with pytest.raises(kind, match=message) as caught:
            await ResourceManager().resolve(param, "think")
        assert "asked for by step 'think'" in caught.value.__notes__[0]


async def test_a_file_needs_a_model():
    """A `ResourceConfig` beside something else than a pydantic model is refused."""

    def asks(it: int) -> None:
        """Ask for the impossible."""

    asks.__annotations__["it"] = Annotated[int, ResourceConfig("a.json")]
    with pytest.raises(WorkflowValidationError, match=r"parameter 'it' of .*asks.* is annotated with <class 'int'>"):
        declared_resources(asks)
    with pytest.raises(WorkflowValidationError, match=r"what asks for a\.json is annotated with None"):
        await ResourceManager().get(ResourceConfig("a.json"))


def test_load_config_reads_anew(tmp_path):
    """`load_config` keeps nothing: it is for checking a file before a run."""
    file = tmp_path / "settings.json"
    for size in (1, 2):
        file.write_text(json.dumps({"size": size}))
        assert load_config(ResourceConfig(str(file)), Settings).size == size


def test_a_variable_that_gets_its_value_later():
    """What a function uses of the functions around it need not be there yet when its annotations are read."""

    def asks(it: Annotated[int, source]) -> object:
        return source, later

    source = Resource(Source(value=1))
    assert [param.name for param in declared_resources(asks)] == ["it"]
    later = source
    assert asks(0) == (source, later)
