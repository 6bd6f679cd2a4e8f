"""What a peer has to offer, and the data that all peers share. This room imports no competitor."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Adapter", "SpanWindow", "kibibyte"]

_FILLING = "x" * 1_016


def kibibyte(number: int) -> str:
    """Return a fresh string of 1,024 characters."""
    return f"{number:08d}{_FILLING}"


class SpanWindow(Protocol):
    """The finished spans of a traced variant, kept in memory."""

    @property
    def count(self) -> int:
        """How many have arrived so far."""

    def flush(self) -> None:
        """Return when every span that was ended has arrived."""

    def verify(self) -> None:
        """Raise TypeError or ValueError when what arrived are not real, finished spans with attributes."""


class Adapter(Protocol):
    """One peer in one variant.

    Each workload returns a check value that the worker compares. User code does nothing: what is measured is
    the framework. Workflows are built once, in `setup`, where the peer allows that.
    """

    @property
    def spans(self) -> SpanWindow | None:
        """Where the spans of this variant arrive; None when it makes none."""

    async def setup(self) -> None:
        """Make what is needed once for the process."""

    async def chain(self, steps: int) -> int:
        """Do one run of `steps` sequential steps that each add one to a number; return the number."""

    async def short(self, number: int) -> int:
        """Do one run of three steps that each add one to `number`; return it."""

    async def fanout(self, events: int) -> int:
        """Send 0 .. events-1 to 16 workers that suspend once, collect all; return their sum."""

    async def state(self, writes: int) -> int:
        """Do one run whose only step writes a fresh `kibibyte` under one key, `writes` times; return that."""

    async def stream(self, events: int) -> int:
        """Do one run whose only step streams `events` events to a consumer; return how many it saw."""
