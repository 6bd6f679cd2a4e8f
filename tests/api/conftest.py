"""Bounds around every test of the API: none hangs, none leaves a task or an unheard exception behind."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

_LIMIT = 20  # seconds; a guard against hangs, not a measurement
_TURNS = 10  # of the event loop that tasks get to end after the test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the bounds around the async tests of this folder."""
    here = Path(__file__).parent
    for item in items:
        if isinstance(item, pytest.Function) and here in item.path.parents:
            test = item.obj
            if inspect.iscoroutinefunction(test):
                item.obj = _bounded(test)


def pytest_collection_finish() -> None:
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
