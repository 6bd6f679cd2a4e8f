"""The rules of a retry policy: which errors are worth another attempt, and when to give up.

Every rule is a frozen value that can be called, and the rules of one family combine with `|` and `&`. A plain
function with the same call form may stand wherever a rule may. This room knows numbers and exceptions only:
no clock, no chance, no run, no step.
"""

# ruff: noqa: N801  the names are those of the followed API, which took them from tenacity

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias

from otflow.errors import WorkflowValidationError

__all__ = [
    "ExceptionTypes",
    "RetryArgumentError",
    "RetryCondition",
    "Seconds",
    "StopCondition",
    "WaitStrategy",
    "require_number",
    "require_parts",
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
    "retry_unless_exception_type",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "to_seconds",
]

Seconds: TypeAlias = int | float | timedelta
ExceptionTypes: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]


class RetryArgumentError(WorkflowValidationError, ValueError, TypeError):
    """A part of a retry policy was given an argument it cannot work with."""


class RetryCondition(Protocol):
    """Says whether an error is worth another attempt."""

    def __call__(self, error: BaseException, /) -> bool: ...


class WaitStrategy(Protocol):
    """Gives the seconds to wait; `retries` is 0 before the first retry."""

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float: ...


class StopCondition(Protocol):
    """Says whether to give up after `attempts` failures and `elapsed_time` seconds."""

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool: ...


def to_seconds(value: Seconds) -> float:
    """Return a duration as a number of seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def require_number(owner: str, name: str, value: object, least: float = 0.0) -> None:
    """Complain unless `value`, the argument `name` of `owner`, is a number (or timedelta) from `least` on."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, int | float) and not isinstance(number, bool) and number >= least:
        return
    bound = "" if least == -math.inf else f" of at least {least:g}"
    raise RetryArgumentError(f"{owner}({name}={value!r}): give {name} as a number{bound}.")


def _require_types(owner: str, kinds: object) -> None:
    listed = kinds if isinstance(kinds, tuple) else (kinds,)
    if not listed or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in listed):
        raise RetryArgumentError(f"{owner}(exception_types={kinds!r}): give an exception class or a tuple of them.")


def require_parts(owner: str, parts: tuple[object, ...], least: int = 0) -> None:
    """Complain unless `parts`, the arguments of `owner`, are at least `least` callables."""
    if len(parts) < least:
        raise RetryArgumentError(f"{owner}() needs at least one argument: give a wait strategy.")
    for given in parts:
        # a class is callable too, and forgetting its brackets is the likely slip
        if isinstance(given, type) or not callable(given):
            raise RetryArgumentError(f"{owner}({given!r}): give an instance or a plain function.")


# ---- conditions: which errors are worth another attempt ----


class _Condition:
    def __call__(self, error: BaseException, /) -> bool:
        raise NotImplementedError

    def __or__(self, other: RetryCondition) -> retry_any:
        return retry_any(self, other)

    def __ror__(self, other: RetryCondition) -> retry_any:
        return retry_any(other, self)

    def __and__(self, other: RetryCondition) -> retry_all:
        return retry_all(self, other)

    def __rand__(self, other: RetryCondition) -> retry_all:
        return retry_all(other, self)


@dataclass(frozen=True)
class retry_if_exception(_Condition):
    """Retry when `predicate(error)` is true."""

    predicate: Callable[[BaseException], bool]

    def __post_init__(self) -> None:
        require_parts(type(self).__name__, (self.predicate,))

    def __call__(self, error: BaseException, /) -> bool:
        return self.predicate(error)


@dataclass(frozen=True)
class retry_if_exception_type(_Condition):
    """Retry errors of these classes; default every `Exception`."""

    exception_types: ExceptionTypes = Exception

    def __post_init__(self) -> None:
        _require_types(type(self).__name__, self.exception_types)

    def __call__(self, error: BaseException, /) -> bool:
        return isinstance(error, self.exception_types)


@dataclass(frozen=True)
class retry_if_not_exception_type(retry_if_exception_type):
    """Retry errors of all but these classes; default no `Exception` at all."""

    def __call__(self, error: BaseException, /) -> bool:
        return not super().__call__(error)


@dataclass(frozen=True)
class retry_unless_exception_type(retry_if_not_exception_type):
    """Another name of `retry_if_not_exception_type`."""


@dataclass(frozen=True)
class retry_if_exception_message(_Condition):
    """Retry errors whose text is `message`, or has a match of the pattern `match`; give one of them."""

    message: str | None = None
    match: str | re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.message is None and self.match is None:
            raise RetryArgumentError(f"{name}() needs 'message' or 'match': give one of them.")
        if self.message is not None and self.match is not None:
            raise RetryArgumentError(f"{name}() takes either 'message' or 'match', not both.")
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise RetryArgumentError(f"{name}(match={self.match!r}) is no regular expression: {error}.") from error

    def __call__(self, error: BaseException, /) -> bool:
        if self.match is not None:
            return re.search(self.match, str(error)) is not None
        return str(error) == self.message


@dataclass(frozen=True)
class retry_if_not_exception_message(retry_if_exception_message):
    """Retry errors whose text is not `message`, or has no match of the pattern `match`; give one of them."""

    def __call__(self, error: BaseException, /) -> bool:
        return not super().__call__(error)


@dataclass(frozen=True)
class retry_if_exception_cause_type(_Condition):
    """Retry errors raised `from` an error of these classes, however deep in the chain of causes."""

    exception_types: ExceptionTypes = Exception

    def __post_init__(self) -> None:
        _require_types(type(self).__name__, self.exception_types)

    def __call__(self, error: BaseException, /) -> bool:
        seen: set[int] = set()  # a chain of causes may be a ring
        cause = error.__cause__
        while cause is not None and id(cause) not in seen:
            if isinstance(cause, self.exception_types):
                return True
            seen.add(id(cause))
            cause = cause.__cause__
        return False


@dataclass(frozen=True, init=False)
class retry_any(_Condition):
    """Retry when one of the conditions holds; the same as `a | b`."""

    retries: tuple[RetryCondition, ...]

    def __init__(self, *retries: RetryCondition) -> None:
        require_parts(type(self).__name__, retries)
        object.__setattr__(self, "retries", retries)

    def __call__(self, error: BaseException, /) -> bool:
        return any(holds(error) for holds in self.retries)


@dataclass(frozen=True, init=False)
class retry_all(_Condition):
    """Retry when all of the conditions hold; the same as `a & b`."""

    retries: tuple[RetryCondition, ...]

    def __init__(self, *retries: RetryCondition) -> None:
        require_parts(type(self).__name__, retries)
        object.__setattr__(self, "retries", retries)

    def __call__(self, error: BaseException, /) -> bool:
        return all(holds(error) for holds in self.retries)


@dataclass(frozen=True)
class retry_always(_Condition):
    """Retry every error."""

    def __call__(self, error: BaseException, /) -> bool:
        return True


@dataclass(frozen=True)
class retry_never(_Condition):
    """Retry no error."""

    def __call__(self, error: BaseException, /) -> bool:
        return False


# ---- stops: when to give up ----


class _Stop:
    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        raise NotImplementedError

    def __or__(self, other: StopCondition) -> stop_any:
        return stop_any(self, other)

    def __ror__(self, other: StopCondition) -> stop_any:
        return stop_any(other, self)

    def __and__(self, other: StopCondition) -> stop_all:
        return stop_all(self, other)

    def __rand__(self, other: StopCondition) -> stop_all:
        return stop_all(other, self)


@dataclass(frozen=True)
class stop_after_attempt(_Stop):
    """Give up after this many attempts, the first included."""

    max_attempt_number: int

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "max_attempt_number", self.max_attempt_number)

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return attempts >= self.max_attempt_number


@dataclass(frozen=True)
class stop_after_delay(_Stop):
    """Give up once this many seconds have gone by since the first failure."""

    max_delay: Seconds

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "max_delay", self.max_delay)

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return elapsed_time >= to_seconds(self.max_delay)


@dataclass(frozen=True)
class stop_before_delay(_Stop):
    """Give up when the next wait would reach this many seconds since the first failure."""

    max_delay: Seconds

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "max_delay", self.max_delay)

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return elapsed_time + upcoming_sleep >= to_seconds(self.max_delay)


@dataclass(frozen=True, init=False)
class stop_any(_Stop):
    """Give up when one of the conditions holds; the same as `a | b`."""

    stops: tuple[StopCondition, ...]

    def __init__(self, *stops: StopCondition) -> None:
        require_parts(type(self).__name__, stops)
        object.__setattr__(self, "stops", stops)

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return any(stop(attempts, elapsed_time, upcoming_sleep=upcoming_sleep) for stop in self.stops)


@dataclass(frozen=True, init=False)
class stop_all(_Stop):
    """Give up when all of the conditions hold; the same as `a & b`."""

    stops: tuple[StopCondition, ...]

    def __init__(self, *stops: StopCondition) -> None:
        require_parts(type(self).__name__, stops)
        object.__setattr__(self, "stops", stops)

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return all(stop(attempts, elapsed_time, upcoming_sleep=upcoming_sleep) for stop in self.stops)


@dataclass(frozen=True)
class stop_never(_Stop):
    """Never give up; the timeout of the workflow is then the only bound."""

    def __call__(self, attempts: int, elapsed_time: float, /, *, upcoming_sleep: float = 0.0) -> bool:
        return False
