"""The alerts: what is worth someone's attention, whatever the workflows are.

Each has a heading in docs/dashboards.md that says what to do about it.
"""

from __future__ import annotations

from otflow.dashboards.promql import STEP, WORKFLOW, grown, total
from otflow.dashboards.recording import EXHAUSTED, FAILED_RUNS, P99, RUN_ERRORS
from otflow.dashboards.rules import Alert, RuleGroup, Severity
from otflow.dashboards.slo import OBJECTIVE, PAGE, TICKET, Pace

__all__ = ["BACKLOG", "DEFAULT_TIMEOUT", "DEFINED", "NEAR", "STEP_OF", "WHO", "alerts"]

DEFAULT_TIMEOUT = 45.0
"""Seconds after which a run ends, unless its workflow says otherwise."""

NEAR = 0.8
"""The share of a timeout from which on it is near."""

BACKLOG = 10
"""How many invocations may wait for each worker."""

DEFINED = "otflow:timeout_seconds"
"""What the rules of a workflow record, so that the general alert about timeouts leaves that workflow to them."""

WHO = f"{{{{ $labels.{WORKFLOW} }}}}"
"""The workflow that an alert is about, in its texts."""

STEP_OF = f"Step {{{{ $labels.{STEP} }}}} of {WHO}"
"""The step that an alert is about, in its texts."""


_WATCHED = "on () count(up offset 10m) > 0"  # what was counted before Prometheus looked is no news


def alerts() -> RuleGroup:
    """Return the alerts that hold for all workflows."""
    return RuleGroup(
        name="otflow-alerts",
        rules=(
            _burning("OtflowErrorBudgetBurnsFast", PAGE, "page", "2m"),
            _burning("OtflowErrorBudgetBurns", TICKET, "ticket", "15m"),
            *_of_steps(),
            _stuck(),
            *_of_telemetry(),
        ),
    )


def _burning(name: str, pace: Pace, severity: Severity, hold: str) -> Alert:
    limit = f"{pace.factor:g} * {OBJECTIVE.budget:g}"
    return Alert(
        name=name,
        expr=f"{RUN_ERRORS[pace.long]} > {limit} and {RUN_ERRORS[pace.short]} > {limit} "
        f"and {FAILED_RUNS[pace.long]} > {pace.least - 0.5:g}",
        hold=hold,
        severity=severity,
        summary=f"{{{{ $value | humanizePercentage }}}} of the runs of {WHO} fail",
        description=f"Over {pace.long} and over {pace.short} the runs of {WHO} fail so often that the error budget "
        f"of {OBJECTIVE.budget:.1%} is used up {pace.factor:g} times faster than allowed. Open the dashboard otflow / "
        f"Steps for this workflow: the first line of its table is the step that fails.",
    )


def _of_steps() -> tuple[Alert, ...]:
    by = (WORKFLOW, STEP)
    queued, workers = total("otflow_step_queued", *by), total("otflow_step_workers", *by)
    return (
        Alert(
            name="OtflowRetriesExhausted",
            expr=f"{EXHAUSTED} > 0 and {_WATCHED}",
            hold="5m",
            severity="ticket",
            summary=f"{STEP_OF} has no retries left",
            description=f"{STEP_OF} gave up {{{{ $value | humanize }}}} times within 10 minutes: it failed, was "
            "tried again as often as its retry policy allows, and failed. Each is a run that failed, or that an error "
            "handler had to save.",
        ),
        Alert(
            name="OtflowStepNearTimeout",
            expr=f"{P99} > {NEAR * DEFAULT_TIMEOUT:g} unless on ({WORKFLOW}) {DEFINED}",
            hold="10m",
            severity="ticket",
            summary=f"{STEP_OF} takes nearly as long as a run may",
            description=f"1 % of the attempts of this step take {{{{ $value | humanizeDuration }}}} or more. A run "
            f"ends after {DEFAULT_TIMEOUT:g} s, unless the workflow says otherwise; then generate its own rules by "
            "`otflow dashboards module:Workflow`, which know its timeout.",
        ),
        Alert(
            name="OtflowStepBacklog",
            expr=f"{queued} > {BACKLOG} * {workers}",
            hold="10m",
            severity="ticket",
            summary=f"{{{{ $value }}}} invocations wait for step {{{{ $labels.{STEP} }}}} of {WHO}",
            description=f"For 10 minutes more than {BACKLOG} invocations have been waiting for each worker of the "
            "step. Everything behind it waits too.",
        ),
    )


def _stuck() -> Alert:
    ends = total(grown("otflow_step_duration_seconds_count", "5m"), WORKFLOW)
    return Alert(
        name="OtflowRunStuck",
        expr=f"{total('otflow_run_active', WORKFLOW)} > 0 unless on ({WORKFLOW}) {ends} > 0",
        hold="15m",
        severity="ticket",
        summary=f"Runs of {WHO} are active, but no step ends",
        description=f"{{{{ $value }}}} runs of {WHO} have been active for 15 minutes in which no attempt of a step "
        "ended. A step hangs, or takes longer than that by its nature.",
    )


def _of_telemetry() -> tuple[Alert, ...]:
    lost = total(grown("otflow_telemetry_dropped_total", "10m"), "otflow_sink", "otflow_reason")
    seen = "count by (job, instance) (last_over_time(otflow_run_active[1h]))"
    return (
        Alert(
            name="OtflowTelemetryDropped",
            expr=f"{lost} > 0 and {_WATCHED}",
            hold="5m",
            severity="ticket",
            summary="Telemetry is lost: {{ $labels.otflow_sink }}, {{ $labels.otflow_reason }}",
            description="{{ $value | humanize }} records, spans or log lines were lost within 10 minutes. Runs are not "
            "harmed; their traces have holes. See the dashboard otflow / Telemetry health.",
        ),
        Alert(
            name="OtflowTargetDown",
            expr=f"up == 0 and on (job, instance) {seen}",
            hold="5m",
            severity="ticket",
            summary="{{ $labels.instance }} ({{ $labels.job }}) cannot be scraped",
            description="A process that showed metrics of otflow within the last hour has not answered for 5 minutes. "
            "It is dead, hangs, or cannot be reached; what it does is not seen.",
        ),
        Alert(
            name="OtflowMetricsAbsent",
            expr="absent(otflow_run_active) and on () count(last_over_time(otflow_run_active[1d])) > 0",
            hold="10m",
            severity="ticket",  # a program that ended after its work looks the same
            summary="No process shows metrics of otflow any more",
            description="There were metrics of otflow within the last day, and for 10 minutes there have been none at "
            "all. Either every process is gone, or Prometheus reaches none of them. No other alert can fire now.",
        ),
    )
