"""The dashboard of one workflow, made from its definition: its steps, with what they declare."""

from __future__ import annotations

import hashlib
import re

from otflow.dashboards import step_panels as panels
from otflow.dashboards.alerts import NEAR
from otflow.dashboards.definition import MOST_ATTEMPTS, Definition, StepDefinition, worst_retries
from otflow.dashboards.model import Dashboard, Lines, Panel, Query, Row, Threshold
from otflow.dashboards.promql import BAD, OUTCOME, STEP, WORKFLOW, equal, grown, quantile, rate, ratio, select, total
from otflow.dashboards.shapes import number
from otflow.dashboards.slo import JUDGED, OBJECTIVE, PAGE, TICKET, burn
from otflow.dashboards.steps import worst_steps
from otflow.dashboards.waits import answer_shares, answers, oldest, wait_quantiles, waiting

__all__ = ["file_name", "workflow_dashboard"]

_LONGEST = 24  # letters of a name: the id of a dashboard has room for 40, with prefix and digest
_RUNS = "otflow_run_duration_seconds_count"
_RUN_BUCKET = "otflow_run_duration_seconds_bucket"
_STEP_BUCKET = "otflow_step_duration_seconds_bucket"


def file_name(name: str) -> str:
    """Return what the files of a workflow are called, without their endings; two workflows never share it.

    Args:
        name: the name of the workflow.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
    if 0 < len(plain) <= _LONGEST and plain.replace("-", "") == name.lower():
        return f"otflow-{plain}"
    return f"otflow-{plain[:_LONGEST].strip('-') or 'workflow'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


# --- the dashboard -------------------------------------------------------------------------------------


def workflow_dashboard(definition: Definition) -> Dashboard:
    """Return the dashboard of one workflow.

    Args:
        definition: what is known of it.
    """
    where = equal(WORKFLOW, definition.name)
    hitl = (Row("Do answers come?", _waits(where)),) if definition.answers else ()
    return Dashboard(
        uid=file_name(definition.name),
        title=f"otflow / {definition.name}",
        description=f"The runs and the steps of {definition.name}, as its definition has them: {_timeout(definition)}, "
        f"{len(definition.steps)} steps.",
        rows=(
            Row("Is something wrong?", (*_numbers(where), worst_steps(where, STEP), _run_graph(definition, where))),
            *hitl,
            *(Row(_heading(definition, it, place), _step(definition, it)) for place, it in enumerate(definition.steps)),
        ),
    )


def _timeout(definition: Definition) -> str:
    return "no timeout" if definition.timeout is None else f"timeout {definition.timeout:g} s"


def _numbers(where: str) -> tuple[Panel, ...]:
    span = "$__range"
    judged = select(_RUNS, where, JUDGED)
    return (
        number(
            "Failed runs",
            ratio(total(grown(select(_RUNS, where, BAD), span)), total(grown(judged, span))),
            "Share of the runs in the chosen time that failed, timed out or crashed. The table names the step.",
            unit="percentunit",
            width=6,
            thresholds=(Threshold(OBJECTIVE.budget, "orange"), Threshold(OBJECTIVE.budget * PAGE.factor, "red")),
        ),
        number(
            "Burn of the error budget",
            f"max({burn(where, '1h')})",
            "How many times faster than allowed the error budget is used up, over one hour.",
            unit="suffix:x",
            width=6,
            thresholds=(Threshold(1, "yellow"), Threshold(TICKET.factor, "orange"), Threshold(PAGE.factor, "red")),
        ),
        number(
            "Active runs",
            total(select("otflow_run_active", where)),
            "Runs that are executing now. If it grows and nothing ends, look at the saturation of the steps.",
            width=6,
        ),
        number(
            "Waiting runs",
            total(select("otflow_run_waiting", where)),
            "Runs that are paused now: for an answer, a retry delay, or their caller.",
            width=6,
        ),
    )


def _run_graph(definition: Definition, where: str) -> Panel:
    return Panel(
        title="Duration of runs",
        description=f"Half, 95 % and 99 % of the runs take at most this long, without pauses ({_timeout(definition)}). "
        "The dots are single runs: a click leads to the trace.",
        unit="s",
        queries=_quantiles(select(_RUN_BUCKET, where)),
        thresholds=_limits(definition),
        width=12,
    )


def _waits(where: str) -> tuple[Panel, ...]:
    return (waiting(where), answers(where), oldest(where), wait_quantiles(where), answer_shares(where))


def _heading(definition: Definition, step: StepDefinition, place: int) -> str:
    facts = [f"{step.num_workers} worker{'s' * (step.num_workers != 1)}"]
    facts.append(_attempts(step))
    if step.handler:
        facts.append(f"failures go to {step.handler}")
    if step.catches:
        facts.append("takes over failures")
    return f"{place + 1} of {len(definition.steps)}: {step.name} ({', '.join(facts)})"


def _quantiles(buckets: str) -> tuple[Query, ...]:
    return tuple(
        Query(expr=quantile(share, rate(buckets)), legend=f"p{share * 100:g}", exemplars=True)
        for share in (0.5, 0.95, 0.99)
    )


def _limits(definition: Definition) -> tuple[Threshold, ...]:
    timeout = definition.timeout
    return () if timeout is None else (Threshold(NEAR * timeout, "orange"), Threshold(timeout, "red"))


def _attempts(step: StepDefinition) -> str:
    if step.retries is None:
        return "no retries"
    if step.retries.attempts is None:
        return f"more than {MOST_ATTEMPTS} attempts"
    return f"up to {step.retries.attempts} attempts"


def _step(definition: Definition, step: StepDefinition) -> tuple[Panel, ...]:
    where = f"{equal(WORKFLOW, definition.name)}, {equal(STEP, step.name)}"
    count = rate(select("otflow_step_duration_seconds_count", where))
    return (
        Panel(
            title="Attempts take",
            description=f"Half, 95 % and 99 % of the attempts take at most this long ({_timeout(definition)} for the "
            "whole run). The dots are single attempts with their traces.",
            unit="s",
            queries=_quantiles(select(_STEP_BUCKET, where)),
            thresholds=_limits(definition),
            width=6,
        ),
        Panel(
            title="Attempts by outcome",
            description="Attempts that ended, each minute, by how they ended.",
            unit="suffix:/min",
            queries=(Query(expr=f"60 * {total(count, OUTCOME)}", legend=f"{{{{{OUTCOME}}}}}"),),
            view=Lines(stacked=True, colours=panels.OUTCOME_COLOURS),
            width=6,
        ),
        _retries(step, where),
        Panel(
            title="Workers",
            description=f"Invocations at work, invocations that wait, and the workers of all runs that go on "
            f"({step.num_workers} for each run). Waiting ones with all workers at work: raise num_workers.",
            unit="short",
            queries=tuple(
                Query(expr=total(select(gauge, where)), legend=legend)
                for gauge, legend in (
                    ("otflow_step_active", "at work"),
                    ("otflow_step_queued", "waiting"),
                    ("otflow_step_workers", "workers"),
                )
            ),
            width=6,
        ),
    )


def _retries(step: StepDefinition, where: str) -> Panel:
    attempts = total(rate(select("otflow_step_duration_seconds_count", where)))
    again = total(rate(select("otflow_step_retries_total", where)))
    given_up = total(rate(select("otflow_step_retries_exhausted_total", where)))
    return Panel(
        title="Retries",
        description=f"Attempts that were followed by another one, and those that were the last. {_expected(step)}",
        unit="percentunit",
        queries=(
            Query(expr=ratio(again, attempts), legend="tried again"),
            Query(expr=ratio(given_up, attempts), legend="given up"),
        ),
        thresholds=_retry_limit(step),
        width=6,
    )


def _expected(step: StepDefinition) -> str:
    if step.retries is None:
        return "It has no retry policy, or one that cannot be asked."
    if step.retries.attempts is None:
        return "Its retry policy does not give up by itself: only the timeout of the run ends it."
    return (
        f"Its retry policy allows {step.retries.attempts} attempts with {step.retries.seconds:.3g} s of delays; "
        f"if every attempt failed, {worst_retries(step):.0%} would be tried again."
    )


def _retry_limit(step: StepDefinition) -> tuple[Threshold, ...]:
    worst = worst_retries(step)
    return (Threshold(worst / 2, "orange"),) if worst else ()
