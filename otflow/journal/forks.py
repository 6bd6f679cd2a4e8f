"""Forks: what a process shares with SQLite comes to rest before a fork, and the child begins anew.

A child has none of the other threads, but their locks as they stood, inside of SQLite too; and a connection that it
inherits speaks of locks on the file that only the parent has. So whoever uses one is let finish before a fork, and the
child closes what rested. What did not rest within a while the child leaves alone for ever. This room knows locks and
processes, and no file.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Sequence
from threading import Lock, local
from typing import Protocol

__all__ = ["Forked", "watch"]

_PATIENCE = 2.0  # seconds that a fork waits for all of them


class Forked(Protocol):
    """Something that the child of a fork cannot use as it is."""

    turn: Lock
    """Held by the thread that uses it."""

    def renew(self, *, rested: bool) -> None:
        """Begin anew, in the child.

        Args:
            rested: whether no thread used it when the process forked.
        """


class _Held(local):
    """What rests while this thread forks."""

    def __init__(self) -> None:
        self.all: Sequence[Forked] = ()


_watched: set[weakref.ref[Forked]] = set()
_held = _Held()


def watch(user: Forked) -> None:
    """Look after something at forks, as long as it exists."""
    _watched.add(weakref.ref(user, _watched.discard))


def _find() -> list[Forked]:
    # a copy, because that is one step for other threads; always in one order, so that two forks do not wait in a circle
    return sorted((user for place in _watched.copy() if (user := place()) is not None), key=id)


def _rest() -> None:
    end = time.monotonic() + _PATIENCE
    _held.all = [user for user in _find() if user.turn.acquire(timeout=max(0.0, end - time.monotonic()))]


def _go_on() -> None:
    for user in _held.all:
        user.turn.release()
    _held.all = ()


def _renew() -> None:
    rested, _held.all = {id(user) for user in _held.all}, ()
    for user in _find():
        user.renew(rested=id(user) in rested)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_rest, after_in_parent=_go_on, after_in_child=_renew)
