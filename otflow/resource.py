"""Resources: objects that a step, or the factory of another resource, asks for by a parameter's annotation.

A resource is told apart by its factory, made once for each `ResourceManager`, and kept. This room knows how
to make and keep them; it knows no workflow, no step but by name, and no run.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from types import MethodType
from typing import Any, assert_never

from otflow.errors import OtflowError
from otflow.resource_declaration import (
    Resource,
    ResourceConfig,
    ResourceConfigError,
    ResourceParam,
    declared_resources,
    load_config,
    place_of,
    require_model,
)

__all__ = [
    "Resource",
    "ResourceConfig",
    "ResourceConfigError",
    "ResourceCycleError",
    "ResourceManager",
    "ResourceParam",
    "declared_resources",
    "load_config",
]


class ResourceCycleError(OtflowError, ValueError):
    """Resources need each other in a circle."""


class _Making:
    """A resource that is being made: when that is over, and which other one it waits for, or last did."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waits_for: _Making | None = None
        self.error: Exception | None = None
        self.over: Future[None] = Future()
        # a running future cannot be cancelled by one of those who wait for it
        self.over.set_running_or_notify_cancel()


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks: a step (or None), the resources on the way from it, and the kept one that is being made."""

    step: str | None
    chain: tuple[tuple[Hashable, str], ...] = ()
    making: _Making | None = None


class ResourceManager:
    """The resources of one workflow: each made when it is first asked for, by whomever, and kept.

    Steps that ask at the same time, from whatever thread or loop, share one call of the factory. What a
    factory raises goes to all who wait for it, and is not kept.
    """

    def __init__(self) -> None:
        self._given: dict[str, object] = {}
        # the resource is kept beside its value, so that no other factory gets the identity of its own
        self._made: dict[Hashable, tuple[Resource | ResourceConfig, object]] = {}
        self._making: dict[Hashable, _Making] = {}
        self._guard = threading.Lock()

    async def set(self, name: str, val: object) -> None:
        """Give a value by hand, in place of what the resource of that name would be made to.

        Args:
            name: the `name` of the resource: the qualified name of its factory.
            val: the value.
        """
        self._given[name] = val

    def get_all(self) -> dict[str, object]:
        """Return what was made or given so far, by name; a second one of a name gets a number behind it."""
        found = dict(self._given)
        for resource, value in list(self._made.values()):
            name, number = resource.name, 2
            while name in found:
                name, number = f"{resource.name}#{number}", number + 1
            found[name] = value
        return found

    def cached(self, resource: Resource | ResourceConfig, kind: object = None) -> tuple[bool, Any]:
        """Say without waiting whether a resource is there.

        Args:
            resource: the resource.
            kind: for a `ResourceConfig`, the class of the model.

        Returns:
            True and the value, or False and None.
        """
        if self._given and resource.name in self._given:
            return True, self._given[resource.name]
        made = self._made.get(_key(resource, kind))
        return (False, None) if made is None or not _is_kept(resource) else (True, made[1])

    async def get(self, resource: Resource | ResourceConfig, kind: object = None) -> Any:
        """Return a resource, made if need be.

        Args:
            resource: the resource.
            kind: for a `ResourceConfig`, the class of the model.

        Raises:
            ValueError: resources need each other in a circle.
            Exception: whatever the factory raises, with a note about what was being made.
        """
        return await self._obtain(ResourceParam("", resource, kind), _Asker(None))

    async def resolve(self, param: ResourceParam, step: str) -> Any:
        """Return the value for a parameter of a step, made if need be.

        Args:
            param: the parameter.
            step: the name of the step, for the notes of errors.

        Raises:
            ValueError: resources need each other in a circle.
            Exception: whatever the factory raises, with a note about what was being made, and for which step.
        """
        return await self._obtain(param, _Asker(step))

    async def _obtain(self, want: ResourceParam, asker: _Asker) -> object:
        resource = want.resource
        key = _key(resource, want.type)
        if any(key == above for above, _ in asker.chain):
            raise _cycle([*(name for _, name in asker.chain), resource.name])
        chain = (*asker.chain, (key, resource.name))
        while True:
            found, value = self.cached(resource, want.type)
            if found:
                return value
            if not _is_kept(resource):
                return await self._make(want, _Asker(asker.step, chain, asker.making))
            making, mine = self._enter(key, resource.name, asker.making)
            if mine:
                return await self._keep(want, key, _Asker(asker.step, chain, making))
            # asyncio.wait, because it leaves the future alone when the one who waits is cancelled
            await asyncio.wait([asyncio.wrap_future(making.over)])
            if making.error is not None:
                raise making.error
            # made by another; or its maker was cancelled, and it is made here in the next round

    def _enter(self, key: Hashable, name: str, waiting: _Making | None) -> tuple[_Making, bool]:
        """Find who makes a resource, or become its maker; refuse a wait that could never end.

        Args:
            key: the resource.
            name: its name.
            waiting: the resource whose maker asks for it.
        """
        with self._guard:
            making = self._making.get(key)
            mine = making is None
            if making is None:
                making = self._making[key] = _Making(name)
            if waiting is not None:
                names, link = [waiting.name], making
                while link is not waiting and link.waits_for is not None:
                    names.append(link.name)
                    link = link.waits_for
                if link is waiting:
                    raise _cycle([*names, waiting.name])
                waiting.waits_for = making
            return making, mine

    async def _keep(self, want: ResourceParam, key: Hashable, asker: _Asker) -> object:
        """Make a resource for all who ask for it now or later."""
        making = asker.making
        assert making is not None
        try:
            # it may have been finished between the look at what is there and becoming its maker
            if key not in self._made:
                self._made[key] = (want.resource, await self._make(want, asker))
            return self._made[key][1]
        except Exception as error:  # it goes to everyone who waits, and is raised here
            making.error = error
            raise
        finally:
            with self._guard:
                del self._making[key]
            making.over.set_result(None)

    async def _make(self, want: ResourceParam, asker: _Asker) -> object:
        """Make a resource, after those that it needs."""
        match want.resource:
            case ResourceConfig() as config:
                kind = require_model(want.type, f"what asks for {config.name}")
                try:
                    return load_config(config, kind)
                except Exception as error:  # the same exception, with a note, goes on
                    error.add_note(_note(config.name, f"the file {config.path}", asker))
                    raise
            case Resource(factory=factory) as resource:
                arguments = {each.name: await self._obtain(each, asker) for each in resource.needs}
                try:
                    made = factory(**arguments)
                    return await made if inspect.iscoroutine(made) else made
                except Exception as error:  # the same exception, with a note, goes on
                    error.add_note(_note(resource.name, f"the factory {place_of(factory)}", asker))
                    raise
            case _ as never:
                assert_never(never)


def _key(resource: Resource | ResourceConfig, kind: object) -> Hashable:
    """Return what makes a resource the same as another."""
    if isinstance(resource, ResourceConfig):
        return (resource.path, resource.path_selector, kind)
    # each look at a method makes a new object, equal to the last one
    return resource.factory if isinstance(resource.factory, MethodType) else id(resource.factory)


def _is_kept(resource: Resource | ResourceConfig) -> bool:
    return isinstance(resource, ResourceConfig) or resource.cache


def _cycle(names: list[str]) -> ResourceCycleError:
    return ResourceCycleError(
        f"Circular resource dependency detected: {' -> '.join(names)}. One of these factories has to do "
        "without the next."
    )


def _note(name: str, source: str, asker: _Asker) -> str:
    way = " -> ".join(name for _, name in asker.chain)
    wanted = f"step '{asker.step}'" if asker.step is not None else "ResourceManager.get()"
    through = f" through {way}" if len(asker.chain) > 1 else ""
    return f"While making resource '{name}' from {source}, asked for by {wanted}{through}."
