"""Longest: the critical path of a run, which is what its end had to wait for, one thing after the other.

It is found backwards: from the end to the work that brought it, to what that work had waited for, and so on to the
start. Making anything faster that is not on it leaves the run as long as it was.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal, TypeAlias

import msgspec

from otflow.records.execution import Execution
from otflow.records.history import Attempt, Event, Invocation, Run, tell_astray

__all__ = ["CriticalPath", "Segment", "critical_path"]

Doing: TypeAlias = Literal["running", "queued", "waiting", "delayed", "paused"]


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the path; times in nanoseconds since the epoch.

    Args:
        doing: "running", "queued" (without a free worker), "waiting" (for an event), "delayed" (by a retry), "paused"
            (held back for the caller of a stepwise run).
        step: the step; empty while the run waited for the outside.
        invocation: its invocation; 0 likewise.
        attempt: the number of the attempt; 0 likewise.
        started: when it began.
        ended: when it ended.
    """

    doing: Doing
    step: str
    invocation: int
    attempt: int
    started: int
    ended: int

    @property
    def duration(self) -> int:
        """Nanoseconds from its start to its end."""
        return self.ended - self.started


class CriticalPath(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of a run had to wait for.

    Args:
        segments: the parts, in order.
        wall: how long the run took, in nanoseconds.
        whole: whether the path leads from the start of the run to its end, and nothing of the run is missing.
        doubts: why the times of the records do not tell how long anything took, in sentences. If there are any, there
            are no parts, and `wall` is 0.
    """

    segments: tuple[Segment, ...]
    wall: int
    whole: bool
    doubts: tuple[str, ...] = ()

    @property
    def duration(self) -> int:
        """Nanoseconds that the parts take together."""
        return sum(each.duration for each in self.segments)


def critical_path(execution: Execution) -> CriticalPath:
    """Find the critical path of a run; of one that goes on, up to its last record.

    Args:
        execution: the run.
    """
    run = execution.history
    if run.astray:
        return CriticalPath(segments=(), wall=0, whole=False, doubts=(tell_astray(run),))
    trail = _Trail(run)
    id, until = _find_end(run)
    while id in run.invocations and id not in trail.seen:
        id, until = trail.follow(run.invocations[id], until)
    whole = trail.reached and execution.complete
    return CriticalPath(segments=tuple(reversed(trail.segments)), wall=run.duration, whole=whole)


def _find_end(run: Run) -> tuple[int, int]:
    """Return the invocation that brought the end, and when it did."""
    result = run.events.get(run.result)
    if result is not None and result.source:
        return result.source, result.at
    if run.failed:
        return run.failed, run.ended
    busy = [
        (each.started, invocation.id)
        for invocation in run.invocations.values()
        for each in invocation.attempts
        if each.started and not each.ended
    ]
    if busy:
        return min(busy)[1], run.ended
    tried = [(each.attempts[-1].ended, each.id) for each in run.invocations.values() if each.attempts]
    return max(tried, default=(0, 0))[1], run.ended


class _Trail:
    """The way back, as far as it was gone."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.segments: list[Segment] = []
        self.seen: set[int] = set()
        self.used: set[int] = set()
        self.reached = False
        self.ends = sorted(
            (attempt.ended, each.id) for each in run.invocations.values() for attempt in each.attempts if attempt.ended
        )

    def add(self, doing: Doing, started: int, ended: int, of: Invocation | None = None, attempt: int = 0) -> None:
        ended = min(ended, self.segments[-1].started) if self.segments else ended  # no moment is told twice
        if ended > started:
            step, id = (of.step, of.id) if of is not None else ("", 0)
            self.segments.append(
                Segment(doing=doing, step=step, invocation=id, attempt=attempt, started=started, ended=ended)
            )

    def follow(self, invocation: Invocation, until: int) -> tuple[int, int]:
        """Go back through an invocation; return what it had to wait for, and until when."""
        before = (None, *invocation.attempts)
        pairs = [pair for pair in zip(before, invocation.attempts, strict=False) if 0 < pair[1].started <= until]
        for earlier, attempt in reversed(pairs):
            source, until = self.walk(invocation, attempt, until)
            if source is not None:  # two steps that answer each other come by again, further back
                self.used.add(source.id)
                return source.source, source.at
            ready = min(attempt.ready or attempt.started, attempt.started)
            self.add("queued", ready, attempt.started, invocation, attempt.number)
            until = ready
            if earlier is not None and earlier.ended:
                self.add("delayed", earlier.ended, ready, invocation, attempt.number)
                until = min(ready, earlier.ended)
        self.seen.add(invocation.id)
        event = self.run.events.get(invocation.event)
        return self.leave(invocation, event, until) if event is not None and event.at else (0, until)

    def walk(self, invocation: Invocation, attempt: Attempt, until: int) -> tuple[Event | None, int]:
        """Go back through an attempt, up to its start or to an event of a step that it had to wait for."""
        at = min(until, attempt.ended) if attempt.ended else until
        number = attempt.number
        if attempt.unclear:
            return None, attempt.started
        for wait in sorted(attempt.waits, key=lambda wait: -(wait.ended or until)):
            ended = wait.ended or at
            if not wait.started or ended > at:
                continue
            self.add("running", ended, at, invocation, number)
            event = self.run.events.get(wait.event)
            if event is not None and event.source and event.id not in self.used and wait.started < event.at <= ended:
                self.add("waiting", event.at, ended, invocation, number)
                return event, event.at
            self.add("waiting", wait.started, ended, invocation, number)
            at = wait.started
        self.add("running", attempt.started, at, invocation, number)
        return None, attempt.started

    def leave(self, invocation: Invocation, event: Event, until: int) -> tuple[int, int]:
        """Go from an invocation to what sent it its event."""
        if event.released:
            self.add("paused", event.at, event.released, invocation, 1)
        if event.source:
            return event.source, event.at
        place = bisect_right(self.ends, (event.at, max(self.run.invocations)))
        if place and event.outside:  # it came while the run waited for it: for as long as nothing else was done
            ended, id = self.ends[place - 1]
            self.add("waiting", ended, event.at)
            return id, ended
        self.reached = True
        return 0, min(until, event.at)
