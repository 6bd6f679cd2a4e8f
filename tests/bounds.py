"""Bounds around async tests: none hangs, none leaves a task or an unheard exception behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest

__all__ = ["bound_tests", "forget_what_is_loaded", "run_bounded"]

T = TypeVar("T")

_LIMIT = 20  # seconds; a guard against hangs, not a measurement
_TURNS = 10  # of the event loop that tasks get to end after the test


def bound_tests(items: Iterable[pytest.Item], folder: Path) -> None:
    """Put the bounds around the async tests of a folder."""
    for item in items:
        if isinstance(item, pytest.Function) and folder in item.path.parents:
            test = item.obj
            if inspect.iscoroutinefunction(test):
                item.obj = _bounded(test)


def run_bounded(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine in an event loop of its own, that lets no other thread touch it; end it if it hangs."""
    return asyncio.run(asyncio.wait_for(main, _LIMIT), debug=True)


def forget_what_is_loaded() -> None:
    """Keep what is loaded by now out of the collections after each test, which have nothing to find there."""
    gc.collect()
    gc.freeze()


def _bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        loop = asyncio.get_running_loop()
        noise: list[str] = []
        loop.set_exception_handler(lambda _, context: noise.append(str(context)))
        async with asyncio.timeout(_LIMIT):
            await test(**fixtures)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "the test left tasks behind"
        gc.collect()  # what is never heard of is reported when it is thrown away
        await asyncio.sleep(0)
        assert noise == []

    return run
