"""The objective: which share of runs may fail, and how fast that budget may be used up before someone is told.

Two windows are asked at once, as is usual: the long one says that it matters, the short one that it still goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from otflow.dashboards.promql import BAD, OUTCOME, WORKFLOW, grown, ratio, select, total

__all__ = ["JUDGED", "OBJECTIVE", "PAGE", "RUNS", "TICKET", "WINDOWS", "Objective", "Pace", "bad_share", "burn"]


@dataclass(frozen=True, slots=True)
class Objective:
    """How many runs have to go well.

    Args:
        share: the share of runs, as 0.995.
    """

    share: float

    @property
    def budget(self) -> float:
        """The share of runs that may fail."""
        return round(1 - self.share, 12)  # 1 - 0.995 is 0.005000000000000004


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the error budget may be used up.

    Args:
        factor: how many times faster than allowed.
        long: the time over which it has to be so fast.
        short: the time over which it still has to be.
        least: how many runs have to have failed in the long time, so that one of three is no alarm.
    """

    factor: float
    long: str
    short: str
    least: int


OBJECTIVE = Objective(0.995)
PAGE = Pace(factor=14.4, long="1h", short="5m", least=3)
TICKET = Pace(factor=6, long="6h", short="30m", least=1)

RUNS = "otflow_run_duration_seconds_count"
"""The counter of runs that ended."""

JUDGED = f'{OUTCOME}!="cancelled"'
"""The runs that count: one that somebody cancelled is neither good nor bad."""

WINDOWS = ("5m", "30m", "1h", "6h")
"""Every time that a pace asks for, the shortest first."""


def bad_share(scope: str, window: str) -> str:
    """Return the PromQL of the share of runs that failed, for each workflow.

    Args:
        scope: a matcher that says which runs; empty for all.
        window: the time to look back.
    """
    bad, judged = select(RUNS, scope, BAD), select(RUNS, scope, JUDGED)
    return ratio(total(grown(bad, window), WORKFLOW), total(grown(judged, window), WORKFLOW))


def burn(scope: str, window: str) -> str:
    """Return the PromQL of how many times faster than allowed the error budget is used up, for each workflow.

    Args:
        scope: a matcher that says which runs; empty for all.
        window: the time to look back.
    """
    return f"({bad_share(scope, window)}) / {OBJECTIVE.budget:g}"
