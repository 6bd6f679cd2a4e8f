"""Durations: where the time of a run went, step by step: working, or waiting for what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from otflow.records.execution import Execution
from otflow.records.history import Attempt, Invocation, Run, tell_astray

__all__ = ["Spent", "StepTime", "spent"]


class StepTime(msgspec.Struct, frozen=True, kw_only=True):
    """What the invocations of a step spent their time on; nanoseconds, added up over all of them.

    Args:
        step: its name; empty for the sum of all steps.
        invocations: how many events it was given.
        attempts: how often it was tried.
        running: in the code of the step.
        failed: how much of that was in attempts that failed.
        queued: ready, but without a free worker.
        waiting: standing still inside the step, until an event came.
        delayed: between a failed attempt and the next one.
        paused: while the event was held back for the caller of a stepwise run.
    """

    step: str
    invocations: int = 0
    attempts: int = 0
    running: int = 0
    failed: int = 0
    queued: int = 0
    waiting: int = 0
    delayed: int = 0
    paused: int = 0


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of a run went, in nanoseconds.

    Args:
        steps: its steps, the one that ran longest first.
        total: their sum; steps that run at the same time count each.
        wall: from the first record to the last.
        busy: how much of that was there at least one step running.
        pauses: how long nothing executed, by the reason.
        doubts: why the times of the records do not tell how long anything took, in sentences. If there are any, no
            times are given, and no pauses: all of them are 0.
    """

    steps: tuple[StepTime, ...]
    total: StepTime
    wall: int
    busy: int
    pauses: tuple[tuple[str, int], ...]
    doubts: tuple[str, ...] = ()


def spent(execution: Execution) -> Spent:
    """Tell where the time of a run went.

    Args:
        execution: the run; what is not known of it counts as no time.
    """
    run = execution.history
    by_step: defaultdict[str, list[StepTime]] = defaultdict(list)
    for invocation in run.invocations.values():
        by_step[invocation.step].append(_measure(run, invocation))
    steps = [_add(step, times) for step, times in by_step.items()]
    if run.astray:
        steps = [StepTime(step=each.step, invocations=each.invocations, attempts=each.attempts) for each in steps]
        total = _add("", steps)
        return Spent(steps=tuple(steps), total=total, wall=0, busy=0, pauses=(), doubts=(tell_astray(run),))
    pauses: defaultdict[str, int] = defaultdict(int)
    for pause in run.pauses:
        pauses[pause.reason] += max(0, (pause.ended or run.ended) - pause.started)
    work = [span for each in run.invocations.values() for attempt in each.attempts for span in _work_of(attempt)]
    return Spent(
        steps=tuple(sorted(steps, key=lambda each: (-each.running, each.step))),
        total=_add("", steps),
        wall=run.duration,
        busy=_cover(work),
        pauses=tuple(sorted(pauses.items())),
    )


def _measure(run: Run, invocation: Invocation) -> StepTime:
    attempts = invocation.attempts
    event = run.events.get(invocation.event)
    before = (None, *attempts)
    return StepTime(
        step=invocation.step,
        invocations=1,
        attempts=len(attempts),
        running=sum(each.worked for each in attempts),
        failed=sum(each.worked for each in attempts if each.outcome == "failed"),
        queued=sum(each.queued for each in attempts),
        waiting=sum(each.stood for each in attempts),
        delayed=sum(_delay_of(one, each) for one, each in zip(before, attempts, strict=False)),
        paused=max(0, event.released - event.at) if event is not None and event.released else 0,
    )


def _delay_of(before: Attempt | None, attempt: Attempt) -> int:
    """Return how long the delay before an attempt lasted; 0 if one of its ends is not known."""
    if attempt.delay and before is not None and before.ended and attempt.ready and before.number + 1 == attempt.number:
        return max(0, attempt.ready - before.ended)
    return 0


def _add(step: str, times: Iterable[StepTime]) -> StepTime:
    names = [name for name in StepTime.__struct_fields__ if name != "step"]
    sums = dict.fromkeys(names, 0)
    for each in times:
        for name in names:
            sums[name] += getattr(each, name)
    return StepTime(step=step, **sums)


def _work_of(attempt: Attempt) -> Iterator[tuple[int, int]]:
    """Give the times from the start of an attempt to its end in which it did not stand still."""
    if not attempt.started or not attempt.ended or attempt.unclear:
        return
    at = attempt.started
    for wait in sorted(attempt.waits, key=lambda wait: wait.started):
        if wait.started > at:
            yield at, wait.started
        at = max(at, wait.ended or attempt.ended)
    yield at, attempt.ended


def _cover(spans: Iterable[tuple[int, int]]) -> int:
    """Add up times, each moment once."""
    total = until = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total
