"""What the tests of the API share: letting the event loop turn without waiting for a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["turn", "until"]


async def turn(times: int = 50) -> None:
    """Let the event loop turn, often enough for all that is ready to happen."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until a condition holds; a test that waits in vain is ended by its bound."""
    while not condition():
        await asyncio.sleep(0)
