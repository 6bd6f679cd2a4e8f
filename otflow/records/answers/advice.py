"""Advice: what recorded failures say about trying again.

It looks at what was tried and at what came of it, and nothing else: where nobody ever tried again it has no opinion,
and where few did, it says that they were few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

from otflow.records.execution import Execution
from otflow.records.history import Invocation

__all__ = ["Advice", "DelayTally", "ErrorTally", "advise"]

_ENOUGH = 5
"""So many invocations have to have been tried again before what came of it counts as evidence."""
_HOPELESS = 3
_MOST = 0.95
_GROWS = 1.5
_FIRST_RETRY = 2  # is an attempt with this number


class ErrorTally(msgspec.Struct, frozen=True, kw_only=True):
    """How a step fared with one type of error: how often it came, was followed by a new attempt, and by success."""

    type: str
    failures: int
    retried: int
    recovered: int


class DelayTally(msgspec.Struct, frozen=True, kw_only=True):
    """How attempts fared after a delay, in seconds: how many there were, and how many succeeded."""

    delay: float
    attempts: int
    succeeded: int


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What the recorded failures of a step say about trying again.

    Args:
        step: the step.
        failed: how many of its invocations had a failed attempt.
        retried: how many of these were tried again, and it is known what came of it.
        recovered: how many of these succeeded in the end.
        errors: how it fared with each type of error, the most frequent first.
        attempts: after how many attempts, recorded or not, invocations recovered, with how many did.
        delays: how attempts fared after each delay that is known.
        policy: an expression that makes a fitting `retry_policy`; empty if the records do not suggest one, and without
            a wait if they do not tell any delay.
        classes: the qualified names of the classes of errors that it names.
        enough: whether there is enough evidence for it.
        reason: a sentence that says what it stands on, or why there is none.
    """

    step: str
    failed: int
    retried: int
    recovered: int
    errors: tuple[ErrorTally, ...]
    attempts: tuple[tuple[int, int], ...]
    delays: tuple[DelayTally, ...]
    policy: str
    classes: tuple[str, ...]
    enough: bool
    reason: str


def advise(executions: Iterable[Execution]) -> tuple[Advice, ...]:
    """Say, for each step that has failed, whether it helped to try again, and which retry policy that suggests.

    Args:
        executions: runs of one workflow; they are looked at one by one.
    """
    failed: defaultdict[str, list[Invocation]] = defaultdict(list)
    for execution in executions:
        for invocation in execution.steps:
            if invocation.step and any(attempt.outcome == "failed" for attempt in invocation.attempts):
                failed[invocation.step].append(invocation)
    return tuple(_advise(step, invocations) for step, invocations in sorted(failed.items()))


def _advise(step: str, failed: Sequence[Invocation]) -> Advice:
    retried = [each for each in failed if _count_tries(each) > 1 and not _is_open(each)]
    recovered = [each for each in retried if each.attempts[-1].outcome == "completed"]
    errors, delays = _tally_errors(failed), _tally_delays(retried)
    helped = tuple(each.type for each in errors if each.recovered)
    hopeless = [each.type for each in errors if each.retried >= _HOPELESS and not each.recovered]
    named = helped if hopeless else ()
    return Advice(
        step=step,
        failed=len(failed),
        retried=len(retried),
        recovered=len(recovered),
        errors=errors,
        attempts=tuple(sorted(Counter(map(_count_tries, recovered)).items())),
        delays=delays,
        policy=_write_policy(named, recovered) if recovered else "",
        classes=named,
        enough=len(retried) >= _ENOUGH,
        reason=_give_reason(len(failed), len(retried), len(recovered), hopeless) + _tell_wait(recovered),
    )


def _count_tries(invocation: Invocation) -> int:
    """Return how many attempts there were; some of them may not be recorded."""
    return max(len(invocation.attempts), *(attempt.number for attempt in invocation.attempts))


def _is_open(invocation: Invocation) -> bool:
    """Tell whether nobody knows what came of it: its last attempt has no end, or is not recorded."""
    return invocation.retry is not None or invocation.attempts[-1].outcome == "open"


def _tally_errors(failed: Iterable[Invocation]) -> tuple[ErrorTally, ...]:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in failed:
        saved, tries = each.attempts[-1].outcome == "completed", 0 if _is_open(each) else _count_tries(each)
        for attempt in each.attempts:
            if attempt.error is not None:
                again = 0 < attempt.number < tries
                row = counts[attempt.error.type]
                row[:] = [row[0] + 1, row[1] + again, row[2] + (again and saved)]
    rows = [
        ErrorTally(type=kind, failures=failures, retried=retried, recovered=recovered)
        for kind, (failures, retried, recovered) in counts.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.failures, row.type)))


def _tally_delays(retried: Iterable[Invocation]) -> tuple[DelayTally, ...]:
    counts: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0])
    for each in retried:
        for attempt in each.attempts:
            if attempt.number > 1 and attempt.delay is not None:
                row = counts[_round(attempt.delay)]
                row[:] = [row[0] + 1, row[1] + (attempt.outcome == "completed")]
    return tuple(DelayTally(delay=delay, attempts=row[0], succeeded=row[1]) for delay, row in sorted(counts.items()))


def _write_policy(named: Sequence[str], recovered: Sequence[Invocation]) -> str:
    """Write the policy under which nearly all of those that recovered would have done so."""
    tries = sorted(map(_count_tries, recovered))
    most = tries[min(len(tries) - 1, int(len(tries) * _MOST))]
    wait = _write_wait(recovered)
    parts = [*([f"wait={wait}"] if wait else ()), f"stop=stop_after_attempt({most})"]
    if named:
        kinds = ", ".join(kind.rpartition(".")[2] for kind in named)
        parts.insert(0, f"retry=retry_if_exception_type({f'({kinds})' if len(named) > 1 else kinds})")
    return f"retry_policy({', '.join(parts)})"


def _write_wait(recovered: Sequence[Invocation]) -> str:
    """Write how long to wait; empty if no delay is known."""
    delays = _delays_by_number(recovered)
    if not delays:
        return ""
    first, last = median(delays[min(delays)]), median(delays[max(delays)])
    if _FIRST_RETRY in delays and first and len(delays) > 1 and last >= first * _GROWS:
        longest = max(delay for some in delays.values() for delay in some)
        return f"wait_exponential(multiplier={_round(first):g}, max={_round(longest):g})"
    ends = [each.attempts[-1].delay for each in recovered]
    usual = _round(median([delay for delay in ends if delay is not None] or delays[max(delays)]))
    return f"wait_fixed({usual:g})" if usual else "wait_none()"


def _tell_wait(recovered: Sequence[Invocation]) -> str:
    if not recovered or _delays_by_number(recovered):
        return ""
    return " No delay is recorded, so the policy waits as one does that is not told to."


def _delays_by_number(invocations: Iterable[Invocation]) -> Mapping[int, list[float]]:
    found: defaultdict[int, list[float]] = defaultdict(list)
    for invocation in invocations:
        for attempt in invocation.attempts:
            if attempt.number > 1 and attempt.delay is not None:
                found[attempt.number].append(attempt.delay)
    return found


def _round(seconds: float) -> float:
    """Keep two digits: jitter makes every delay a little different."""
    return float(f"{seconds:.2g}")


def _give_reason(failed: int, retried: int, recovered: int, hopeless: Sequence[str]) -> str:
    if not retried:
        return (
            f"{_count(failed)} failed, and what comes of trying again is not recorded: the records cannot tell whether "
            "that would help. Give the step a retry policy for a while, and ask again."
        )
    if not recovered:
        verdict = "it does not help" if retried >= _ENOUGH else "that is too few to tell, but so far it did not help"
        return f"{_count(retried)} were tried again, and none recovered: {verdict}."
    came = f"{recovered:,} of {retried:,} invocations that were tried again recovered"
    never = f", none of them from {', '.join(sorted(kind.rpartition('.')[2] for kind in hopeless))}" if hopeless else ""
    thin = f"; with fewer than {_ENOUGH} this is a guess" if retried < _ENOUGH else ""
    return f"{came}{never}{thin}."


def _count(number: int) -> str:
    return f"{number:,} invocation" if number == 1 else f"{number:,} invocations"
