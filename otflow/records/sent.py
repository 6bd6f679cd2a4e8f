"""What an attempt had sent when its process ended: so that it is not sent again when the attempt runs again.

Events are recognised by what they say, because nobody can tell which line of a step sent them. It knows records only.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.record import EventSent, Record, RunResumed, StepStarted

__all__ = ["Mark", "find_sent", "mark"]

Mark: TypeAlias = tuple[str, str, str]
"""The type of an event, the step that it was for, and the digest of its payload."""


def mark(type: str, target: str, body: Body) -> Mark:
    """Return what an event is recognised by, whether its payload comes from a step or from a record."""
    plain = msgspec.json.encode(msgspec.json.decode(body.whole))
    return type, target, blake2b(plain, digest_size=16).hexdigest()


def find_sent(records: Iterable[Record]) -> dict[int, list[Mark]]:
    """Find what the last attempt of each invocation sent by itself, since the run was last restored.

    What a step returns is not among it: that is recorded together with the end of the attempt.

    Args:
        records: the records of a run, in order.

    Returns:
        By invocation, in order.
    """
    found: dict[int, list[Mark]] = {}
    attempts: dict[int, int] = {}
    for record in records:
        match record:
            case RunResumed(snapshot=snapshot) if snapshot is not None:
                found.clear()  # what was sent before is in the saved data
            case StepStarted(invocation=id, attempt=attempt):
                if attempts.get(id, attempt) != attempt:
                    found.pop(id, None)
                attempts[id] = attempt
            case EventSent(invocation=id, returned=False):
                found.setdefault(id, []).append(mark(record.type, record.target, record.body))
            case _:
                pass
    return found
