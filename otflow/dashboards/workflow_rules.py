"""The rules of one workflow, made from its definition.

What holds for all workflows is left to the general rules. Here stands what only the definition knows: how long a run
may take, how often a step may try, and whether people are asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from otflow.dashboards.alerts import DEFINED, NEAR, STEP_OF, WHO
from otflow.dashboards.definition import MOST_ATTEMPTS, Definition, StepDefinition, worst_retries
from otflow.dashboards.promql import STEP, WORKFLOW, equal, grown, quantile, rate, ratio, select, total
from otflow.dashboards.rules import Alert, Recording, RuleGroup
from otflow.dashboards.workflow_dashboard import file_name

__all__ = ["LARGEST_RUN", "LARGEST_STEP", "remarks", "workflow_rules"]

LARGEST_STEP, LARGEST_RUN = 300, 7200
"""Seconds up to which durations are told apart: the largest bounds of their buckets."""

_PATIENCE = "1d"
_MANY = f"more than {MOST_ATTEMPTS}"


def workflow_rules(definition: Definition) -> RuleGroup:
    """Return the rules of one workflow.

    Args:
        definition: what is known of it.
    """
    timeout = "+Inf" if definition.timeout is None else f"{definition.timeout:g}"
    return RuleGroup(
        name=file_name(definition.name),
        rules=(
            Recording(record=DEFINED, expr=f"vector({timeout})", labels={WORKFLOW: definition.name}),
            *_of_run(definition),
            *(alert for step in definition.steps for alert in _of_step(definition, step)),
            *_of_answers(definition),
        ),
    )


def remarks(definition: Definition) -> Iterator[str]:
    """Give what is odd about a definition, or cannot be watched, in one sentence each.

    Args:
        definition: what is known of the workflow.
    """
    timeout = definition.timeout
    if timeout is None:
        yield "The workflow has no timeout, so there are no alerts about runs and steps that come near to it."
    elif timeout * NEAR >= LARGEST_STEP:
        yield (
            f"The timeout of {timeout:g} s is too long for alerts about single steps: durations of attempts are told "
            f"apart up to {LARGEST_STEP} s. The alert about runs "
            + ("watches it." if timeout * NEAR < LARGEST_RUN else f"ends at {LARGEST_RUN} s, so there is none either.")
        )
    for step in definition.steps:
        if step.retries is None:
            continue
        if step.retries.attempts is None and timeout is None:
            yield f"Step {step.name} may try more than {MOST_ATTEMPTS} times, and no timeout ends that."
        elif timeout is not None and step.retries.seconds >= timeout:
            yield (
                f"The retries of step {step.name} may wait for {step.retries.seconds:g} s, but a run ends after "
                f"{timeout:g} s: it times out before they are used up."
            )


def _near(definition: Definition, largest: int) -> float | None:
    """Return the seconds from which on the timeout is near; None where that cannot be seen."""
    near = None if definition.timeout is None else definition.timeout * NEAR
    return near if near is not None and near < largest else None


def _of_run(definition: Definition) -> Iterator[Alert]:
    near = _near(definition, LARGEST_RUN)
    if near is None:
        return
    buckets = select("otflow_run_duration_seconds_bucket", equal(WORKFLOW, definition.name))
    yield Alert(
        name="OtflowRunNearTimeout",
        expr=f"{quantile(0.95, rate(buckets, '15m'), WORKFLOW)} > {near:g}",
        hold="10m",
        severity="ticket",
        summary=f"Runs of {WHO} take nearly as long as they may",
        description=f"5 % of the runs take {{{{ $value | humanizeDuration }}}} or more; after {definition.timeout:g} s "
        "they are ended.",
    )


def _of_step(definition: Definition, step: StepDefinition) -> Iterator[Alert]:
    where = f"{equal(WORKFLOW, definition.name)}, {equal(STEP, step.name)}"
    near = _near(definition, LARGEST_STEP)
    if near is not None:
        buckets = select("otflow_step_duration_seconds_bucket", where)
        yield Alert(
            name="OtflowStepNearTimeout",
            expr=f"{quantile(0.99, rate(buckets, '5m'), WORKFLOW, STEP)} > {near:g}",
            hold="10m",
            severity="ticket",
            labels={STEP: step.name},
            summary=f"{STEP_OF} takes nearly as long as a run may",
            description=f"1 % of the attempts of this step take {{{{ $value | humanizeDuration }}}} or more; a run is "
            f"ended after {definition.timeout:g} s.",
        )
    worst = worst_retries(step)
    if worst:
        attempts = total(rate(select("otflow_step_duration_seconds_count", where), "10m"), WORKFLOW, STEP)
        again = total(rate(select("otflow_step_retries_total", where), "10m"), WORKFLOW, STEP)
        allowed = step.retries.attempts if step.retries is not None and step.retries.attempts else _MANY
        yield Alert(
            name="OtflowStepRetriesHigh",
            expr=f"{ratio(again, attempts)} > {worst / 2:.4g}",
            hold="10m",
            severity="ticket",
            labels={STEP: step.name},
            summary=f"{STEP_OF} lives on its retries",
            description=f"{{{{ $value | humanizePercentage }}}} of the attempts are followed by another one. The retry "
            f"policy allows {allowed} attempts; if all failed, it would be {worst:.0%}.",
        )


def _of_answers(definition: Definition) -> Iterator[Alert]:
    if not definition.answers:
        return
    where = equal(WORKFLOW, definition.name)
    waiting = f"min_over_time({select('otflow_run_waiting', where)}[{_PATIENCE}])"
    ended = grown(select("otflow_hitl_wait_duration_seconds_count", where), _PATIENCE)
    yield Alert(
        name="OtflowNobodyAnswers",
        expr=f"{total(waiting, WORKFLOW)} > 0 unless on ({WORKFLOW}) {total(ended, WORKFLOW)} > 0",
        hold="15m",
        severity="ticket",
        summary=f"Nobody answers {WHO}",
        description=f"For a day at least {{{{ $value }}}} runs have been waiting at every moment, and no wait was "
        f"over. They wait for: {', '.join(definition.answers)}.",
    )
