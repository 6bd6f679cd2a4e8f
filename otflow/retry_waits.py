"""The waits of a retry policy: how many seconds before the next attempt.

Every wait is a frozen value that can be called with the number of retries made so far, and two of them add up
with `+`. A plain function with the same call form may stand wherever a wait may. This room knows numbers and
chance: no clock, no run, no step.
"""

# ruff: noqa: N801  the names are those of the followed API, which took them from tenacity

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from otflow.retry_rules import Seconds, WaitStrategy, require_number, require_parts, to_seconds

__all__ = [
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


def _draw(low: float, high: float, retries: int, seed: int | None) -> float:
    """Draw a number; the same one for the same seed and retry, on every machine."""
    # the retry is mixed in, so that a policy asked with one seed for a whole run still varies
    source = random.Random() if seed is None else random.Random(f"{seed}/{retries}")
    return source.uniform(low, high)


def _grow(start: float, factor: float, retries: int, limit: float) -> float:
    """Return `start * factor ** retries`, at most `limit`."""
    try:
        return min(start * factor**retries, limit)
    except OverflowError:
        return limit


class _Wait:
    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        raise NotImplementedError

    def __add__(self, other: WaitStrategy) -> wait_combine:
        return wait_combine(self, other)

    def __radd__(self, other: WaitStrategy | int) -> _Wait:
        # sum() starts with 0
        return wait_combine(other, self) if callable(other) else self


@dataclass(frozen=True)
class wait_fixed(_Wait):
    """Wait the same time (seconds or timedelta) before each retry."""

    wait: Seconds

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "wait", self.wait)

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return to_seconds(self.wait)


@dataclass(frozen=True)
class wait_none(_Wait):
    """Do not wait."""

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return 0.0


@dataclass(frozen=True)
class wait_incrementing(_Wait):
    """Wait `start` before the first retry and `increment` more before each further one, from 0 to `max`."""

    start: Seconds = 0.0
    increment: Seconds = 100.0
    max: Seconds = math.inf

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "start", self.start, -math.inf)
        require_number(type(self).__name__, "increment", self.increment, -math.inf)
        require_number(type(self).__name__, "max", self.max)

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        wait = to_seconds(self.start) + to_seconds(self.increment) * retries
        return min(max(wait, 0.0), to_seconds(self.max))


@dataclass(frozen=True)
class wait_random(_Wait):
    """Wait a random time from `min` to `max` (seconds or timedelta)."""

    min: Seconds = 0.0
    max: Seconds = 1.0

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "min", self.min)
        require_number(type(self).__name__, "max", self.max, to_seconds(self.min))

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return _draw(to_seconds(self.min), to_seconds(self.max), retries, seed)


@dataclass(frozen=True)
class wait_exponential(_Wait):
    """Wait `multiplier * exp_base ** n` before retry n (the first is 0), from `min` to `max`."""

    multiplier: int | float = 1.0
    exp_base: int | float = 2.0
    max: Seconds = 60.0
    min: Seconds = 0.0

    def __post_init__(self) -> None:
        require_number(type(self).__name__, "multiplier", self.multiplier)
        require_number(type(self).__name__, "exp_base", self.exp_base)
        require_number(type(self).__name__, "min", self.min)
        require_number(type(self).__name__, "max", self.max, to_seconds(self.min))

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return max(_grow(self.multiplier, self.exp_base, retries, to_seconds(self.max)), to_seconds(self.min))


@dataclass(frozen=True)
class wait_random_exponential(wait_exponential):
    """Wait a random time from `min` to what `wait_exponential` would wait ("full jitter")."""

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return _draw(to_seconds(self.min), super().__call__(retries), retries, seed)


wait_full_jitter = wait_random_exponential


@dataclass(frozen=True)
class wait_exponential_jitter(_Wait):
    """Wait `initial * exp_base ** n`, plus a random time of up to `jitter`, before retry n; at most `max`."""

    initial: float = 1.0
    exp_base: float = 2.0
    max: float = 60.0
    jitter: float = 1.0

    def __post_init__(self) -> None:
        for name in ("initial", "exp_base", "max", "jitter"):
            require_number(type(self).__name__, name, self.__dict__[name])

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        wait = _grow(self.initial, self.exp_base, retries, self.max)
        return min(wait + _draw(0.0, self.jitter, retries, seed), self.max)


@dataclass(frozen=True, init=False)
class wait_chain(_Wait):
    """Wait by the first strategy before the first retry, by the second before the second; the last stays."""

    strategies: tuple[WaitStrategy, ...]

    def __init__(self, *strategies: WaitStrategy) -> None:
        require_parts(type(self).__name__, strategies, least=1)
        object.__setattr__(self, "strategies", strategies)

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return self.strategies[min(retries, len(self.strategies) - 1)](retries, seed=seed)


@dataclass(frozen=True, init=False)
class wait_combine(_Wait):
    """Wait the sum of what the strategies say; the same as `a + b`."""

    strategies: tuple[WaitStrategy, ...]

    def __init__(self, *strategies: WaitStrategy) -> None:
        require_parts(type(self).__name__, strategies)
        object.__setattr__(self, "strategies", strategies)

    def __call__(self, retries: int, /, *, seed: int | None = None) -> float:
        return sum(wait(retries, seed=seed) for wait in self.strategies)
