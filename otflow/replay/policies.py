"""What the retry policies of today say about failures that are recorded.

A policy is asked as the engine asks it, with an exception of the recorded class and message. Where that cannot be had,
or the policy gives chance answers, nothing is said: a false alarm is worse than none.
"""

from __future__ import annotations

import zlib

from otflow.context.class_names import find_class
from otflow.core.state import Invocation
from otflow.errors import ContextSerdeError, WorkflowRuntimeError
from otflow.records.body import REDACTED
from otflow.records.record import Failure, Record, RetryScheduled, StepFailed
from otflow.retry_policy import ask
from otflow.runtime.blueprint import Blueprint

__all__ = ["BROKEN_RULE", "judge_retry"]

_NS = 1_000_000_000
_CLOSE = 1e-6  # seconds: what a float loses on its way through JSON
BROKEN_RULE = "otflow.errors.WorkflowRuntimeError"
"""What a step fails with that returned no event, say; it is not tried again, whatever its policy says."""


def judge_retry(
    blueprint: Blueprint, invocation: Invocation, failed: StepFailed, following: Record | None, first_at: int
) -> str:
    """Compare what followed a failure with what today's policy says.

    Args:
        blueprint: the workflow of today.
        invocation: the one that failed.
        failed: its failure.
        following: the record behind it; None if there is none.
        first_at: when its first attempt failed, in nanoseconds since the epoch.

    Returns:
        A sentence about the difference; "" if there is none, or nobody can tell.
    """
    if following is None or failed.error.type == BROKEN_RULE:
        return ""
    recorded = following.delay if isinstance(following, RetryScheduled) else None
    known, delay = _ask(blueprint, invocation, failed, first_at)
    if not known:
        return ""
    step, number, error = invocation.step, failed.attempt, failed.error.type
    what = f"attempt {number} of step '{step}' failed with {error}"
    if recorded is None and delay is not None:
        return f"The retry policy has changed: {what} and was not tried again; today it would be, after {delay:g} s."
    if recorded is not None and delay is None:
        return f"The retry policy has changed: {what} and was tried again after {recorded:g} s; today it would not be."
    if recorded is not None and delay is not None and abs(recorded - delay) > _CLOSE:
        return (
            f"The retry policy has changed: {what} and was tried again after {recorded:g} s; today that would be after "
            f"{delay:g} s."
        )
    return ""


def _ask(blueprint: Blueprint, invocation: Invocation, failed: StepFailed, first_at: int) -> tuple[bool, float | None]:
    """Ask today's policy; tell whether its answer can be relied on."""
    policy = blueprint.graph.steps[invocation.step].retry_policy
    if policy is None:
        return True, None
    error = _make_error(failed.error)
    if error is None:
        return False, None
    seed = zlib.crc32(f"{failed.run}:{invocation.id}:{failed.attempt}".encode())
    elapsed = (failed.at - first_at) / _NS
    try:
        answers = {ask(policy, elapsed, failed.attempt, error, seed) for _ in range(3)}
    except WorkflowRuntimeError:  # it may look for what a class of exceptions has beside its message
        return False, None
    return len(answers) == 1, answers.pop()


def _make_error(failure: Failure) -> Exception | None:
    """Make an exception of the recorded class, without calling its constructor; None if that cannot be done."""
    if REDACTED in failure.message or (not failure.message and not failure.stack):
        return None
    try:
        kind = find_class(failure.type)
        if not issubclass(kind, Exception):
            return None
        error: Exception = kind.__new__(kind, failure.message)
        error.args = (failure.message,)
    except (ContextSerdeError, TypeError, ValueError):
        return None
    return error
