"""The steps of one workflow: which of them is slow, fails, or is what all others wait for."""

from __future__ import annotations

from dataclasses import replace

from otflow.dashboards import step_panels as panels
from otflow.dashboards.links import UID_STEPS
from otflow.dashboards.model import Column, Dashboard, Panel, Query, Row, Table, Threshold, Variable
from otflow.dashboards.promql import BAD, STEP, WORKFLOW, grown, quantile, ratio, select, total, zero_filled

__all__ = ["steps", "worst_steps"]

_WORKFLOW = f'{WORKFLOW}=~"$workflow"'
_WHERE = f'{_WORKFLOW}, {STEP}=~"$step"'
_RANGE = "$__range"


def steps() -> Dashboard:
    """Return the dashboard of the steps of one workflow."""
    return Dashboard(
        uid=UID_STEPS,
        title="otflow / Steps",
        description="Which step of this workflow is slow, fails, or is what all others wait for? The table shows the "
        "worst first; choose steps above to see them alone.",
        variables=(
            Variable(
                name="workflow",
                label="Workflow",
                query=f"label_values(otflow_step_duration_seconds_count, {WORKFLOW})",
            ),
            Variable(
                name="step",
                label="Step",
                query=f'label_values(otflow_step_duration_seconds_count{{{WORKFLOW}="$workflow"}}, {STEP})',
                several=True,
            ),
        ),
        rows=(
            Row("Which step?", (worst_steps(_WHERE, STEP), panels.durations(_WHERE))),
            Row("Is it slow?", tuple(panels.latency(_WHERE, share) for share in (0.5, 0.95, 0.99))),
            Row("Does it fail?", (panels.error_share(_WHERE), panels.errors(_WHERE), panels.given_up(_WHERE))),
            Row("Is it tried again?", (panels.retries(_WHERE), panels.attempts(_WHERE), panels.outcomes(_WHERE))),
            Row(
                "Do others wait for it?",
                tuple(
                    replace(panel, width=6)
                    for panel in (
                        panels.saturation_panel(_WHERE),
                        panels.queue_wait(_WHERE),
                        panels.queued(_WHERE),
                        panels.in_flight(_WHERE),
                    )
                ),
            ),
            Row("What flows between the steps?", (panels.events(_WORKFLOW), panels.state_writes(_WORKFLOW))),
        ),
    )


def worst_steps(where: str, *labels: str, names: tuple[Column, ...] = (Column(name="Step", label=STEP),)) -> Panel:
    """Return the table of steps, with the one that fails most at its top.

    Args:
        where: which steps.
        labels: the labels by which steps are told apart.
        names: the columns of those labels.
    """
    count = "otflow_step_duration_seconds_count"
    attempts = total(grown(select(count, where), _RANGE), *labels)
    failed = total(grown(select(count, where, BAD), _RANGE), *labels)
    retries = total(grown(select("otflow_step_retries_total", where), _RANGE), *labels)
    given_up = total(grown(select("otflow_step_retries_exhausted_total", where), _RANGE), *labels)
    took = grown(select("otflow_step_duration_seconds_bucket", where), _RANGE)
    waited = grown(select("otflow_step_queue_duration_seconds_bucket", where), _RANGE)
    values = (
        (Column(name="Errors", unit="percentunit", thresholds=panels.ERRORS), ratio(failed, attempts)),
        (Column(name="Given up", thresholds=(Threshold(1, "red"),)), f"round({zero_filled(given_up, attempts)})"),
        (Column(name="Retries", unit="percentunit"), ratio(retries, attempts)),
        (Column(name="p95", unit="s"), quantile(0.95, took, *labels)),
        (Column(name="Queue p95", unit="s"), quantile(0.95, waited, *labels)),
        (Column(name="Busy", unit="percentunit", thresholds=panels.SATURATION), panels.saturation(where, *labels)),
    )
    return Panel(
        title="Steps, worst first",
        description="One line for each step, sorted by the share of attempts that failed. Given up: no retry was left, "
        "so the run failed or an error handler took over. Busy: workers at work, of all there are; at 100 % the "
        "step is what everything else waits for.",
        unit="short",
        queries=tuple(Query(expr=expr, legend=column.name) for column, expr in values),
        view=Table(columns=(*names, *(column for column, _ in values)), worst="Errors"),
        width=12,
    )
