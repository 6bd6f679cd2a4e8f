"""Retry policies: after a failure, how long to wait for the next attempt, or that there will be none.

A policy is anything with `next(elapsed_time, attempts, error)`. Most are put together by `retry_policy` from
a condition, a wait and a stop; the engine asks every policy through `ask`. This room knows no clock, no run
and no step: it is given numbers and gives a number back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from numbers import Real
from typing import ClassVar, Protocol, TypeGuard, runtime_checkable
from weakref import WeakKeyDictionary

from otflow.errors import WorkflowRuntimeError
from otflow.retry_rules import (
    RetryArgumentError,
    RetryCondition,
    StopCondition,
    WaitStrategy,
    require_number,
    require_parts,
    retry_all,
    retry_always,
    retry_any,
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_never,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    stop_any,
    stop_before_delay,
    stop_never,
)
from otflow.retry_waits import (
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_full_jitter,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)

__all__ = [
    "ConstantDelayRetryPolicy",
    "ExponentialBackoffRetryPolicy",
    "RetryArgumentError",
    "RetryCondition",
    "RetryInfo",
    "RetryPolicy",
    "StopCondition",
    "WaitStrategy",
    "ask",
    "retry_all",
    "retry_always",
    "retry_any",
    "retry_if_exception",
    "retry_if_exception_cause_type",
    "retry_if_exception_message",
    "retry_if_exception_type",
    "retry_if_not_exception_message",
    "retry_if_not_exception_type",
    "retry_never",
    "retry_policy",
    "retry_unless_exception_type",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "wait_chain",
    "wait_combine",
    "wait_exponential",
    "wait_exponential_jitter",
    "wait_fixed",
    "wait_full_jitter",
    "wait_incrementing",
    "wait_none",
    "wait_random",
    "wait_random_exponential",
]


@runtime_checkable
class RetryPolicy(Protocol):
    """Decides about the next attempt of a step; it may also take a keyword `seed: int | None`."""

    def next(self, elapsed_time: float, attempts: int, error: Exception) -> float | None:
        """Return the seconds to wait for the next attempt, or None to give up.

        Args:
            elapsed_time: seconds since the first failure.
            attempts: how many attempts have failed; 1 after the first failure.
            error: what the step raised, as it raised it.
        """
        ...


@dataclass(frozen=True)
class RetryInfo:
    """What an attempt may know about the attempts before it.

    Args:
        retry_number: 0 in the first attempt, 1 in the first retry.
        elapsed_seconds: seconds since the first attempt began; 0 in the first.
        last_exception: what the attempt before raised; None in the first.
        last_failed_at: when it did, in UTC; None in the first.
    """

    retry_number: int
    elapsed_seconds: float
    last_exception: Exception | None
    last_failed_at: datetime | None


@dataclass(frozen=True)
class _ComposableRetryPolicy:
    retry: RetryCondition | None
    wait: WaitStrategy
    stop: StopCondition

    def next(self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None) -> float | None:
        if self.retry is not None and not self.retry(error):
            return None
        wait = self.wait(max(attempts - 1, 0), seed=seed)
        return None if self.stop(attempts, elapsed_time, upcoming_sleep=wait) else wait


_FIVE_SECONDS = wait_fixed(5)
_THREE_ATTEMPTS = stop_after_attempt(3)


def retry_policy(
    retry: RetryCondition | None = None,
    wait: WaitStrategy = _FIVE_SECONDS,
    stop: StopCondition = _THREE_ATTEMPTS,
) -> RetryPolicy:
    """Put a policy together.

    Args:
        retry: which errors are worth another attempt; default all.
        wait: the seconds before each retry; default 5.
        stop: when to give up; default after 3 attempts, the first included.

    Raises:
        WorkflowValidationError: an argument is not callable.

    Example:
        >>> policy = retry_policy(retry_if_exception_type(OSError), wait_exponential(max=30))
        >>> policy.next(0.0, 1, OSError()), policy.next(3.0, 2, OSError()), policy.next(3.0, 2, KeyError())
        (1.0, 2.0, None)
    """
    require_parts("retry_policy", (wait, stop) if retry is None else (retry, wait, stop))
    return _ComposableRetryPolicy(retry, wait, stop)


@dataclass(frozen=True)
class ConstantDelayRetryPolicy:
    """Retry up to `maximum_attempts` times, each after `delay` seconds.

    It counts retries, as it did in the older line of the followed API: 3 means up to 4 executions.

    Args:
        maximum_attempts: how many retries; default 3.
        delay: seconds before each; default 5.

    Raises:
        WorkflowValidationError: a number is negative, or is none.
    """

    counts_retries: ClassVar[bool] = True

    maximum_attempts: int = 3
    delay: float = 5

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "maximum_attempts", self.maximum_attempts)
        require_number(type(self).__name__, "delay", self.delay)

    def next(self, elapsed_time: float, attempts: int, error: Exception) -> float | None:
        """Return `delay`, or None when `attempts` retries are all that is allowed."""
        return None if attempts >= self.maximum_attempts else self.delay


@dataclass(frozen=True)
class ExponentialBackoffRetryPolicy:
    """Retry after times that grow by a factor.

    Args:
        maximum_attempts: give up after this many attempts, the first included; default 5.
        initial_delay: seconds before the first retry; default 1.
        multiplier: how much longer each wait is than the one before; default 2.
        max_delay: the longest wait in seconds; default 60.
        jitter: draw each wait at random from 0 to its full length; default True.

    Raises:
        WorkflowValidationError: a number is negative, or is none.
    """

    maximum_attempts: int = 5
    initial_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True

    def __post_init__(self) -> None:
        for name in ("maximum_attempts", "initial_delay", "multiplier", "max_delay"):
            require_number(type(self).__name__, name, self.__dict__[name])

    def next(self, elapsed_time: float, attempts: int, error: Exception, *, seed: int | None = None) -> float | None:
        """Return the seconds to wait, or None after `maximum_attempts` attempts."""
        if attempts >= self.maximum_attempts:
            return None
        kind = wait_random_exponential if self.jitter else wait_exponential
        wait = kind(self.initial_delay, self.multiplier, self.max_delay)
        return wait(max(attempts - 1, 0), seed=seed)


def ask(policy: RetryPolicy, elapsed_time: float, attempts: int, error: Exception, seed: int | None) -> float | None:
    """Ask a policy about the next attempt; the engine asks in no other way.

    Args:
        policy: any object with a `next` as in `RetryPolicy`; one with a true `counts_retries` is given the
            number of retries in place of the number of attempts.
        elapsed_time: seconds since the first failure.
        attempts: how many attempts have failed; 1 after the first failure.
        error: what the step raised.
        seed: makes jitter repeatable; handed on only to a policy whose `next` takes it.

    Returns:
        The seconds to wait for the next attempt, or None to give up.

    Raises:
        WorkflowRuntimeError: the policy raised, or answered something else than None or a finite number >= 0.
    """
    counted = attempts - 1 if getattr(policy, "counts_retries", False) else attempts
    keywords = {"seed": seed} if _takes_seed(policy) else {}
    try:
        answer: object = policy.next(elapsed_time, counted, error, **keywords)
    except Exception as fault:  # a user's policy may raise anything; the run has to end with a named reason
        raise WorkflowRuntimeError(
            f"Retry policy {_name(policy)} raised {fault!r} when asked about attempt {attempts}, which had "
            f"failed with {error!r}. Its next() has to return seconds or None."
        ) from fault
    if answer is None:
        return None
    if _is_wait(answer):
        return float(answer)
    hint = ""
    if inspect.iscoroutine(answer):
        answer.close()  # else Python warns that it was never awaited
        hint = " Write next() as a plain function: it cannot wait."
    raise WorkflowRuntimeError(
        f"Retry policy {_name(policy)} answered {answer!r} after attempt {attempts}. Its next() has to "
        f"return a finite number of seconds of at least 0, or None to give up.{hint}"
    )


def _is_wait(answer: object) -> TypeGuard[float]:
    """Tell whether an answer is a finite number of seconds; a bool is a slip, not a number."""
    if isinstance(answer, bool) or not isinstance(answer, Real):
        return False
    return 0 <= float(answer) < math.inf


_seed_taken: WeakKeyDictionary[object, bool] = WeakKeyDictionary()


def _takes_seed(policy: RetryPolicy) -> bool:
    """Tell whether the `next` of a policy takes the keyword `seed`; looked up once for each class."""
    # an instance may carry a `next` of its own
    own = "next" in getattr(policy, "__dict__", ())
    key: object = policy if own else type(policy)
    try:
        known = _seed_taken.get(key)
    except TypeError:  # neither weakly referable nor hashable objects can be remembered
        return _has_seed(policy.next)
    if known is None:
        known = _has_seed(policy.next)
        with suppress(TypeError):
            _seed_taken[key] = known
    return known


def _has_seed(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built-in code may have no signature
        return False
    return any(
        each.kind is each.VAR_KEYWORD or (each.name == "seed" and each.kind is not each.POSITIONAL_ONLY)
        for each in parameters
    )


def _name(policy: object) -> str:
    kind = type(policy)
    return f"{kind.__module__}.{kind.__qualname__}"
