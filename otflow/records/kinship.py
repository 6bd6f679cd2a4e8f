"""Kinship: the names of runs that steps of other runs begin.

Such a name follows from the attempt that begins the run, and from how many it began before. So an attempt that has to
run again, because its process ended, finds the runs that it had begun; another attempt begins others.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

__all__ = ["Attempted", "mark_children", "name_child"]


class Attempted(NamedTuple):
    """An attempt: of which run, of which of its invocations, and which one.

    `since` is when the first attempt of the invocation began, in nanoseconds since the epoch: the name of a run may be
    given again when it is gone.
    """

    run: str
    invocation: int
    attempt: int
    since: int


def mark_children(attempted: Attempted) -> str:
    """Return with what the names of all runs end that one attempt begins: 8 characters."""
    return blake2b(_spell(attempted), digest_size=4).hexdigest()


def name_child(attempted: Attempted, number: int) -> str:
    """Return the name of a run: 32 characters, as those of other runs.

    Args:
        attempted: the attempt that begins it.
        number: how many runs this attempt began before.
    """
    own = blake2b(_spell(attempted, number), digest_size=12).hexdigest()
    return own + mark_children(attempted)


def _spell(attempted: Attempted, number: int = -1) -> bytes:
    run, *others = attempted
    return f"{' '.join(map(str, (*others, number)))} {run}".encode("utf-8", "backslashreplace")
