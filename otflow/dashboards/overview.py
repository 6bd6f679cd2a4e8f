"""The overview: all workflows on one page, the worst first.

It answers: is something wrong, and with which workflow and which step? The first two rows are meant for someone who
was woken up; the graphs below them are for finding out since when.
"""

from __future__ import annotations

from otflow.dashboards.links import STEPS_OF_ROW, STEPS_OF_SERIES, UID_OVERVIEW
from otflow.dashboards.model import Column, Dashboard, Heat, Lines, Panel, Query, Row, Table, Threshold, Variable
from otflow.dashboards.promql import (
    BAD,
    ERROR,
    OUTCOME,
    STEP,
    WORKFLOW,
    grown,
    quantile,
    rate,
    ratio,
    select,
    total,
    zero_filled,
)
from otflow.dashboards.shapes import graph, number
from otflow.dashboards.slo import JUDGED, OBJECTIVE, PAGE, TICKET, burn
from otflow.dashboards.step_panels import OUTCOME_COLOURS
from otflow.dashboards.steps import worst_steps

__all__ = ["overview"]

_SCOPE = f'{WORKFLOW}=~"$workflow"'
_RUNS = select("otflow_run_duration_seconds_count", _SCOPE)
_BAD_RUNS = select("otflow_run_duration_seconds_count", _SCOPE, BAD)
_JUDGED_RUNS = select("otflow_run_duration_seconds_count", _SCOPE, JUDGED)
_BUCKETS = select("otflow_run_duration_seconds_bucket", _SCOPE)
_ATTEMPTS = select("otflow_step_duration_seconds_count", _SCOPE)
_RETRIED = select("otflow_step_retries_total", _SCOPE)
_WHO = f"{{{{{WORKFLOW}}}}}"
_RANGE = "$__range"

_FAILED = (Threshold(OBJECTIVE.budget, "orange"), Threshold(OBJECTIVE.budget * PAGE.factor, "red"))
_BURN = (Threshold(1, "yellow"), Threshold(TICKET.factor, "orange"), Threshold(PAGE.factor, "red"))


def overview() -> Dashboard:
    """Return the dashboard of all workflows."""
    return Dashboard(
        uid=UID_OVERVIEW,
        title="otflow / Workflows",
        description="Is something wrong, and with which workflow and which step? The tables show the worst first; "
        "a click on a name leads to the steps of that workflow.",
        variables=(
            Variable(
                name="workflow",
                label="Workflow",
                query=f"label_values(otflow_run_duration_seconds_count, {WORKFLOW})",
                several=True,
            ),
        ),
        rows=(
            Row("Is something wrong?", _numbers()),
            Row("Where?", (_workflows(), _steps())),
            Row("Since when?", _trends()),
            Row("How long do runs take?", _durations()),
        ),
    )


# --- is something wrong? -------------------------------------------------------------------------------


def _numbers() -> tuple[Panel, ...]:
    return (_alerts(), *_of_budget(), *_of_runs())


def _alerts() -> Panel:
    return number(
        "Alerts firing",
        'count(ALERTS{alertstate="firing", alertname=~"Otflow.+"}) or vector(0)',
        "Alerts of otflow that are firing now. Each links to the page that says what to do. Needs the rules of otflow "
        "in Prometheus.",
        width=4,
        thresholds=(Threshold(1, "red"),),
    )


def _of_budget() -> tuple[Panel, ...]:
    bad, judged = total(grown(_BAD_RUNS, _RANGE)), total(grown(_JUDGED_RUNS, _RANGE))
    return (
        number(
            "Failed runs",
            ratio(bad, judged),
            "Share of the runs in the chosen time that failed, timed out or crashed; cancelled runs do not count. "
            "Red: look at the first row of the table below.",
            unit="percentunit",
            width=4,
            thresholds=_FAILED,
        ),
        number(
            "Fastest burn",
            f"max({burn(_SCOPE, '1h')})",
            f"How many times faster than allowed the worst workflow uses up its error budget, over one hour. At 1 the "
            f"budget of {OBJECTIVE.budget:.1%} lasts exactly its period; at {PAGE.factor:g} it is gone in two days.",
            unit="suffix:x",
            width=4,
            thresholds=_BURN,
        ),
    )


def _of_runs() -> tuple[Panel, ...]:
    return (
        number(
            "Runs ended",
            f"60 * {total(rate(_RUNS))}",
            "Runs that ended, each minute. A sudden zero is a fault before the workflows: nobody starts them.",
            unit="suffix:/min",
            width=4,
        ),
        number(
            "Active runs",
            total(select("otflow_run_active", _SCOPE)),
            "Runs that are executing now. If it grows and the rate of ends does not, something is slow: see the steps.",
            width=4,
        ),
        number(
            "Waiting runs",
            total(select("otflow_run_waiting", _SCOPE)),
            "Runs that are paused in a live process, for an answer or for a retry. See the dashboard of waits.",
            width=4,
        ),
    )


# --- where? --------------------------------------------------------------------------------------------


def _workflows() -> Panel:
    runs, judged = total(grown(_RUNS, _RANGE), WORKFLOW), total(grown(_JUDGED_RUNS, _RANGE), WORKFLOW)
    queued = total(select("otflow_step_queued", _SCOPE), WORKFLOW)
    columns = (
        (
            Column(name="Failed", unit="percentunit", thresholds=_FAILED),
            ratio(total(grown(_BAD_RUNS, _RANGE), WORKFLOW), judged),
        ),
        (Column(name="Burn 1h", unit="suffix:x", thresholds=_BURN), burn(_SCOPE, "1h")),
        (Column(name="Runs"), f"round({runs})"),
        (Column(name="p95", unit="s"), quantile(0.95, grown(_BUCKETS, _RANGE), WORKFLOW)),
        (Column(name="Active"), total(select("otflow_run_active", _SCOPE), WORKFLOW)),
        (Column(name="Waiting"), total(select("otflow_run_waiting", _SCOPE), WORKFLOW)),
        (Column(name="Queued"), queued),
    )
    return Panel(
        title="Workflows, worst first",
        description="One line for each workflow, sorted by the share of runs that failed. Coloured is what breaks the "
        "objective. Click a name to see its steps.",
        unit="short",
        queries=tuple(Query(expr=expr, legend=column.name) for column, expr in columns),
        view=Table(
            columns=(Column(name="Workflow", label=WORKFLOW, link=STEPS_OF_ROW), *(column for column, _ in columns)),
            worst="Failed",
        ),
        width=12,
    )


def _steps() -> Panel:
    names = (
        Column(name="Workflow", label=WORKFLOW, link=STEPS_OF_ROW),
        Column(name="Step", label=STEP, link=STEPS_OF_ROW),
    )
    return worst_steps(_SCOPE, WORKFLOW, STEP, names=names)


# --- since when? ---------------------------------------------------------------------------------------


def _trends() -> tuple[Panel, ...]:
    return (_outcomes(), _failed(), _burning(), _reasons(), _under_way(), _retries())


def _outcomes() -> Panel:
    return Panel(
        title="Runs by outcome",
        description="Runs that ended, each minute, by how they ended. Any red is a failure that a user has seen.",
        unit="suffix:/min",
        queries=(Query(expr=f"60 * {total(rate(_RUNS), OUTCOME)}", legend=f"{{{{{OUTCOME}}}}}"),),
        view=Lines(stacked=True, colours=OUTCOME_COLOURS),
    )


def _failed() -> Panel:
    failed = ratio(total(rate(_BAD_RUNS), WORKFLOW), total(rate(_JUDGED_RUNS), WORKFLOW))
    return graph(
        "Failed runs by workflow",
        Query(expr=failed, legend=_WHO),
        "Share of the runs that failed. The lines are the error budget, and the pace at which someone is woken up. A "
        "jump after a deployment means: roll back.",
        unit="percentunit",
        thresholds=_FAILED,
        link=STEPS_OF_SERIES,
    )


def _burning() -> Panel:
    return Panel(
        title="Burn of the error budget",
        description="How many times faster than allowed the error budget is used up. The alerts need both the long and "
        f"the short time over their line: {PAGE.factor:g} wakes someone up, {TICKET.factor:g} can wait for the "
        "morning.",
        unit="suffix:x",
        queries=tuple(
            Query(expr=burn(_SCOPE, window), legend=f"{_WHO} {window}")
            for window in (PAGE.short, PAGE.long, TICKET.long)
        ),
        thresholds=_BURN,
    )


def _reasons() -> Panel:
    errors = zero_filled(total(rate(_BAD_RUNS), WORKFLOW, ERROR), total(rate(_RUNS), WORKFLOW), WORKFLOW)
    return graph(
        "Why runs fail",
        Query(expr=f"60 * {errors}", legend=f"{_WHO} {{{{{ERROR}}}}}"),
        "Failed runs, each minute, by the class of the exception. One class in many workflows is a fault of something "
        "that they share.",
        unit="suffix:/min",
        link=STEPS_OF_SERIES,
    )


def _under_way() -> Panel:
    return Panel(
        title="Active and waiting runs",
        description="Runs that execute, and runs that are paused. Active runs that only grow mean that more comes in "
        "than gets done.",
        unit="short",
        queries=tuple(
            Query(expr=total(select(f"otflow_run_{state}", _SCOPE), WORKFLOW), legend=f"{_WHO} {state}")
            for state in ("active", "waiting")
        ),
    )


def _retries() -> Panel:
    return graph(
        "Retries",
        Query(expr=ratio(total(rate(_RETRIED), WORKFLOW), total(rate(_ATTEMPTS), WORKFLOW)), legend=_WHO),
        "Retries for each attempt. They hide faults of others from users, until they no longer do: a rise is the "
        "earliest warning there is.",
        unit="percentunit",
        link=STEPS_OF_SERIES,
    )


# --- how long? -----------------------------------------------------------------------------------------


def _durations() -> tuple[Panel, ...]:
    first = rate(select("otflow_run_time_to_first_event_seconds_bucket", _SCOPE))
    graphs = tuple(
        Panel(
            title=f"Duration, p{share * 100:g}",
            description=f"{share:.0%} of the runs take at most this long, pauses excluded. The dots are single runs: a "
            "click leads to the trace.",
            unit="s",
            queries=(Query(expr=quantile(share, rate(_BUCKETS), WORKFLOW), legend=_WHO, exemplars=True),),
            link=STEPS_OF_SERIES,
        )
        for share in (0.5, 0.95, 0.99)
    )
    return (
        *graphs,
        Panel(
            title="Time to the first event, p95",
            description="How long users look at nothing: from the start of a run to the first event in its stream. "
            "When it rises and the duration does not, the order of the steps has changed.",
            unit="s",
            queries=(Query(expr=quantile(0.95, first, WORKFLOW), legend=_WHO, exemplars=True),),
            width=12,
        ),
        Panel(
            title="Durations of runs",
            description="How many runs took how long. Two bands are two kinds of runs, or a cache that is hit or "
            "missed; the dots are single runs with their traces.",
            unit="s",
            queries=(Query(expr=total(rate(_BUCKETS), "le"), legend="{{le}}", exemplars=True),),
            view=Heat(),
            width=12,
        ),
    )
