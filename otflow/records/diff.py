"""Diff: what differs between two runs, first and where.

Runs are laid beside each other by cause. What only comes in another order is told as order, and how long things took is
told apart: two runs that differ in nothing else are the same. What a record does not say is not compared, and that is
said; what may be otherwise in records that are missing is no difference, and no proof that there is none. This room
finds differences and puts them into words; it draws nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.folding import brought_by
from otflow.records.history import Run, tell_astray
from otflow.records.matching import Matching, match
from otflow.records.ordering import find_moves
from otflow.records.parting import find_points
from otflow.records.points import Point
from otflow.records.record import Record, RunStarted
from otflow.records.site import Site
from otflow.records.values import find_losses

__all__ = ["Difference", "Point", "Side", "StepTiming", "diff"]

Given: TypeAlias = Execution | Iterable[Record]
Verdict: TypeAlias = Literal["same", "order", "different", "unknown"]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs; `duration` is in nanoseconds, 0 if its times cannot tell, and then it is `astray`."""

    run: str
    workflow: str
    outcome: str
    records: int
    duration: int
    astray: bool = False


class StepTiming(msgspec.Struct, frozen=True, kw_only=True):
    """How long a step took in both runs: of each pair the first is of the first run; times in nanoseconds.

    Args:
        step: its name.
        attempts: how often it was tried.
        worked: how long its attempts worked.
        queued: how long they waited for a worker.
        stood: how long they waited for events.
        ratio: how many times as long an attempt worked in the second run, on average; None if that is unknown.
    """

    step: str
    attempts: tuple[int, int]
    worked: tuple[int, int]
    queued: tuple[int, int]
    stood: tuple[int, int]
    ratio: float | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two runs.

    Args:
        a, b: the first and the second run.
        verdict: "same", "order" (they did the same in another order), "different", or "unknown" (they may differ, but
            records are missing that would tell).
        sentence: the first difference in a sentence; or that there is none.
        first: the first difference; None if the runs are the same, and if that is unknown.
        points: the differences, those that come first in the first run first; not more than were asked for.
        more: how many were left out of `points`.
        unproven: what only one run has a record of, or says otherwise, where records of the other one are missing; not
            more than were asked for.
        more_unproven: how many were left out of `unproven`.
        moves: what only came in another order; not more than were asked for.
        more_moves: how many were left out of `moves`.
        ratio: how many times as long the second run took; None if that is unknown.
        timing: the steps, the one whose time changed most first.
        notes: what was not compared, and why.
    """

    a: Side
    b: Side
    verdict: Verdict
    sentence: str
    first: Point | None
    points: tuple[Point, ...]
    more: int
    unproven: tuple[Point, ...]
    more_unproven: int
    moves: tuple[Point, ...]
    more_moves: int
    ratio: float | None
    timing: tuple[StepTiming, ...]
    notes: tuple[str, ...]


def diff(a: Given, b: Given, *, limit: int = 100, ignore: Collection[str] = ()) -> Difference:
    """Find what differs between two runs.

    Args:
        a: the first run, as an execution or as the records of one run.
        b: the second run, likewise.
        limit: how many differences to list, and how many changes of order; default 100.
        ignore: fields of payloads that may differ, by path or by their last name; default none.

    Raises:
        ValueError: there are no records, or they are of several runs.
    """
    one, other = _read(a), _read(b)
    left, right = one.history, other.history
    found = match(left, right)
    site = Site(one, other, found, frozenset(ignore))
    told = sorted((*_compare_starts(site, one, other), *find_points(site)), key=_place_of)
    if site.sure.whole and not any(point.kind == "state" for point in told):
        told += _compare_states(site, one, other)
    points, unproven = ([point for point in told if point.proven == proven] for proven in (True, False))
    moves = sorted((*site.moved, *find_moves(left, right, _leave_sure(site))), key=_place_of)
    ratio = None if left.astray or right.astray else _divide(right.duration, left.duration)
    unknown = bool(unproven) or site.vague > 0
    return Difference(
        a=_describe(one),
        b=_describe(other),
        verdict="different" if points else "unknown" if unknown else "order" if moves else "same",
        sentence=_summarize(site, points, unproven, moves, ratio),
        first=next(iter(points or (() if unknown else moves)), None),
        points=tuple(points[:limit]),
        more=max(0, len(points) - limit),
        unproven=tuple(unproven[:limit]),
        more_unproven=max(0, len(unproven) - limit),
        moves=tuple(moves[:limit]),
        more_moves=max(0, len(moves) - limit),
        ratio=ratio,
        timing=_time(left, right),
        notes=(
            *_tell_gaps(one, "first"),
            *_tell_gaps(other, "second"),
            *_tell_astray(left, "first"),
            *_tell_astray(right, "second"),
            *_tell_unknown(site),
        ),
    )


def _leave_sure(site: Site) -> Matching:
    """Leave of what belongs together the work of which that is certain."""
    pairs = {one: other for one, other in site.found.invocations.items() if site.sure.has_invocation(one)}
    return site.found._replace(invocations=pairs)


def _read(given: Given) -> Execution:
    return given if isinstance(given, Execution) else Execution(given)


def _describe(execution: Execution) -> Side:
    run = execution.history
    return Side(
        run=run.id,
        workflow=run.workflow,
        outcome=run.outcome,
        records=len(execution.records),
        duration=run.duration,
        astray=bool(run.astray),
    )


def _summarize(site: Site, points: list[Point], unproven: list[Point], moves: list[Point], ratio: float | None) -> str:
    if points:
        return points[0].sentence
    if unproven:
        return f"It cannot be told whether the runs differ, because records are missing. {unproven[0].sentence}"
    if site.vague:
        return "It cannot be told whether the runs differ, because records are missing that tell what belongs together."
    known = "" if site.sure.whole else "In what is known of them, "
    same = f"{known}{'b' if known else 'B'}oth runs did the same"
    if moves:
        return f"{same} in another order: {moves[0].sentence}"
    return f"{same}, in the same order{f'; the second took {ratio:.3g} times as long' if ratio else ''}."


def _compare_starts(site: Site, a: Execution, b: Execution) -> Iterator[Point]:
    one, other = _start_of(a), _start_of(b)
    if one is None or other is None:
        return
    if one.workflow != other.workflow:
        sentence = f"The first run is one of {one.workflow}, the second one of {other.workflow}."
        yield Point(kind="workflow", sentence=sentence, at=one.seq, a=one.seq, b=other.seq)
    elif one.graph != other.graph:
        sentence = f"The steps or events of {one.workflow} were changed between the two runs."
        yield Point(kind="workflow", sentence=sentence, at=one.seq, a=one.seq, b=other.seq)
    for start in (one, other):
        if start.carried is not None and brought_by(start) is None:
            site.unknown[next(find_losses(start.carried), "unreadable")] += 1
            return
    change = site.compare(_carried(a, one), _carried(b, other))
    if change is not None:
        path, left, right = change
        where = f", first at {path}" if path else ""
        sentence = f"The state that the context brought along is not the same in both runs{where}."
        at, to = one.seq, other.seq
        yield Point(kind="state", sentence=sentence, at=at, a=at, b=to, path=path, left=left, right=right)


def _compare_states(site: Site, a: Execution, b: Execution) -> Iterator[Point]:
    """Compare what the state came to, which may differ although the same was written: by the order of it."""
    change = site.compare(Body(a.state()), Body(b.state()))
    if change is not None:
        path, left, right = change
        sentence = (
            f"Both runs wrote the same to the state, in another order: in the end there is {left or 'nothing'} at "
            f"{path} in the first run, {right or 'nothing'} in the second."
        )
        at, end = a.records[-1].seq, b.records[-1].seq
        yield Point(kind="state", sentence=sentence, at=at, a=at, b=end, path=path, left=left, right=right)


def _place_of(point: Point) -> tuple[int, int, int]:
    return point.at, point.a, point.b


def _start_of(execution: Execution) -> RunStarted | None:
    return next((record for record in execution.records if isinstance(record, RunStarted)), None)


def _carried(execution: Execution, start: RunStarted) -> Body:
    return Body(execution.state(start.seq))


def _tell_gaps(execution: Execution, which: str) -> Iterator[str]:
    for gap in execution.gaps:
        yield f"The {which} run is not known in full. {gap.reason}"


def _tell_unknown(site: Site) -> Iterator[str]:
    for reason, number in sorted(site.unknown.items()):
        were = "1 payload was" if number == 1 else f"{number:,} payloads were"
        yield f"{were} not compared in full, because a part is {reason}."
    if site.vague:
        things = "1 thing" if site.vague == 1 else f"{site.vague:,} things"
        yield f"{things} could not be compared, because records are missing that tell what belongs together."


def _tell_astray(run: Run, which: str) -> Iterator[str]:
    if run.astray:
        yield f"It is not known how long the {which} run took. {tell_astray(run)}"


def _time(a: Run, b: Run) -> tuple[StepTiming, ...]:
    sums: defaultdict[str, list[list[int]]] = defaultdict(lambda: [[0] * 5, [0] * 5])
    for side, run in enumerate((a, b)):
        for invocation in run.invocations.values():
            row = sums[invocation.step][side]
            for attempt in invocation.attempts:
                known = bool(attempt.started and attempt.ended and not run.astray)
                parts = (1, attempt.worked, attempt.queued, attempt.stood, 1) if known else (1, 0, 0, 0, 0)
                row[:] = [before + part for before, part in zip(row, parts, strict=True)]
    timings = []
    for step, (one, other) in sums.items():
        attempts, worked, queued, stood, known_times = zip(one, other, strict=True)
        mean = [_divide(time, number) for time, number in zip(worked, known_times, strict=True)]
        ratio = _divide(mean[1], mean[0]) if mean[0] is not None and mean[1] is not None else None
        timings.append(StepTiming(step=step, attempts=attempts, worked=worked, queued=queued, stood=stood, ratio=ratio))
    return tuple(sorted(timings, key=lambda each: (-abs(each.worked[1] - each.worked[0]), each.step)))


def _divide(one: float, other: float) -> float | None:
    return one / other if other > 0 else None
