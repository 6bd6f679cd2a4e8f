"""The recording rules: what alerts and people ask for often, worked out once."""

from __future__ import annotations

from otflow.dashboards.promql import BAD, STEP, WORKFLOW, grown, quantile, rate, ratio, select, total, zero_filled
from otflow.dashboards.rules import Recording, RuleGroup
from otflow.dashboards.slo import JUDGED, RUNS, WINDOWS

__all__ = ["EXHAUSTED", "FAILED_RUNS", "JUDGED_RUNS", "P99", "RUN_ERRORS", "recordings"]

P99 = "otflow:step_duration_seconds:p99_5m"
EXHAUSTED = "otflow:step_retries_exhausted:increase10m"

RUN_ERRORS = {window: f"otflow:run_errors:ratio{window}" for window in WINDOWS}
"""The share of runs that failed, by the time that is looked back."""

FAILED_RUNS = {window: f"otflow:run_errors:increase{window}" for window in WINDOWS}
"""How many runs failed, by the time that is looked back."""

JUDGED_RUNS = {window: f"otflow:run_ends:increase{window}" for window in WINDOWS}
"""How many runs ended, without those that were cancelled, by the time that is looked back."""

_BY = (WORKFLOW, STEP)
_COUNT = "otflow_step_duration_seconds_count"
_ATTEMPTS = "otflow:step_attempts:rate5m"


def recordings() -> tuple[RuleGroup, ...]:
    """Return the recording rules, in groups."""
    return (RuleGroup(name="otflow-steps", rules=_steps()), RuleGroup(name="otflow-runs", rules=_runs()))


def _steps() -> tuple[Recording, ...]:
    took = rate("otflow_step_duration_seconds_bucket", "5m")
    waited = rate("otflow_step_queue_duration_seconds_bucket", "5m")
    failed = total(rate(select(_COUNT, BAD), "5m"), *_BY)
    retries = total(rate("otflow_step_retries_total", "5m"), *_BY)
    exhausted = total(grown("otflow_step_retries_exhausted_total", "10m"), *_BY)
    return (
        Recording(record=_ATTEMPTS, expr=total(rate(_COUNT, "5m"), *_BY)),
        Recording(record="otflow:step_errors:ratio5m", expr=ratio(failed, _ATTEMPTS)),
        Recording(record="otflow:step_retries:ratio5m", expr=ratio(retries, _ATTEMPTS)),
        Recording(record=EXHAUSTED, expr=zero_filled(exhausted, _ATTEMPTS)),
        Recording(record="otflow:step_duration_seconds:p50_5m", expr=quantile(0.5, took, *_BY)),
        Recording(record="otflow:step_duration_seconds:p95_5m", expr=quantile(0.95, took, *_BY)),
        Recording(record=P99, expr=quantile(0.99, took, *_BY)),
        Recording(record="otflow:step_queue_duration_seconds:p95_5m", expr=quantile(0.95, waited, *_BY)),
    )


def _runs() -> tuple[Recording, ...]:
    return tuple(rule for window in WINDOWS for rule in _runs_within(window))


def _runs_within(window: str) -> tuple[Recording, ...]:
    ended, failed = JUDGED_RUNS[window], FAILED_RUNS[window]
    return (
        Recording(record=ended, expr=total(grown(select(RUNS, JUDGED), window), WORKFLOW)),
        Recording(record=failed, expr=zero_filled(total(grown(select(RUNS, BAD), window), WORKFLOW), ended)),
        Recording(record=RUN_ERRORS[window], expr=f"{failed} / ({ended} > 0)"),
    )
