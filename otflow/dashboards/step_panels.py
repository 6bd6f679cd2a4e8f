"""The panels about steps: each is a function of which steps, so that several dashboards can show them.

A `where` is a matcher, as `otflow_workflow_name=~"$workflow"`: which series the panel is about.
"""

from __future__ import annotations

from otflow.dashboards.model import Colour, Heat, Lines, Panel, Query, Threshold
from otflow.dashboards.promql import BAD, ERROR, EVENT, OUTCOME, STEP, quantile, rate, ratio, select, total, zero_filled

__all__ = [
    "ERRORS",
    "OUTCOME_COLOURS",
    "SATURATION",
    "attempts",
    "durations",
    "error_share",
    "errors",
    "events",
    "given_up",
    "in_flight",
    "latency",
    "outcomes",
    "queue_wait",
    "queued",
    "retries",
    "saturation",
    "saturation_panel",
    "state_writes",
]

OUTCOME_COLOURS: tuple[tuple[str, Colour], ...] = (
    ("ok", "green"),
    ("buffered", "blue"),
    ("cancelled", "text"),
    ("timeout", "orange"),
    ("error", "red"),
    ("crashed", "dark-red"),
)

SATURATION = (Threshold(0.8, "orange"), Threshold(1, "red"))
"""From where on workers are scarce."""

ERRORS = (Threshold(0.01, "orange"), Threshold(0.1, "red"))
"""From where on the share of attempts that fail is worth a look."""

_COUNT = "otflow_step_duration_seconds_count"
_BUCKET = "otflow_step_duration_seconds_bucket"
_QUEUE = "otflow_step_queue_duration_seconds_bucket"
_BY_STEP = f"{{{{{STEP}}}}}"


def latency(where: str, share: float, *, note: str = "", limit: tuple[Threshold, ...] = ()) -> Panel:
    """Return the panel of one quantile of the durations of attempts, for each step.

    Args:
        where: which steps.
        share: the quantile.
        note: what else its description says.
        limit: the line that it should stay under.
    """
    expr = quantile(share, rate(select(_BUCKET, where)), STEP)
    return Panel(
        title=f"Attempt, p{share * 100:g}",
        description=f"{share:.0%} of the attempts take at most this long. The dots are single attempts: a click leads "
        f"to the trace. One step that rises alone is slow itself; all together: see what they share. {note}".strip(),
        unit="s",
        queries=(Query(expr=expr, legend=_BY_STEP, exemplars=True),),
        thresholds=limit,
    )


def durations(where: str) -> Panel:
    """Return the panel of how many attempts took how long."""
    return Panel(
        title="Durations of attempts",
        description="How many attempts took how long. Two bands are two kinds of work. The dots are single attempts "
        "with their traces: start with the highest.",
        unit="s",
        queries=(Query(expr=total(rate(select(_BUCKET, where)), "le"), legend="{{le}}", exemplars=True),),
        view=Heat(),
        width=12,
    )


def attempts(where: str) -> Panel:
    """Return the panel of the rate of attempts, for each step."""
    return Panel(
        title="Attempts",
        description="Attempts that ended, each minute. Steps of one workflow rise and fall together; one that does not "
        "gets no events any more, or gets too many.",
        unit="suffix:/min",
        queries=(Query(expr=f"60 * {total(rate(select(_COUNT, where)), STEP)}", legend=_BY_STEP),),
    )


def outcomes(where: str) -> Panel:
    """Return the panel of the rate of attempts by how they ended."""
    return Panel(
        title="Attempts by outcome",
        description="Attempts that ended, each minute, by how they ended. `buffered` ones have put their event aside "
        "for a fan-in: those without any `ok` are a collection that never completes.",
        unit="suffix:/min",
        queries=(Query(expr=f"60 * {total(rate(select(_COUNT, where)), OUTCOME)}", legend=f"{{{{{OUTCOME}}}}}"),),
        view=Lines(stacked=True, colours=OUTCOME_COLOURS),
    )


def error_share(where: str) -> Panel:
    """Return the panel of the share of attempts that failed, for each step."""
    bad, every = total(rate(select(_COUNT, where, BAD)), STEP), total(rate(select(_COUNT, where)), STEP)
    return Panel(
        title="Failed attempts",
        description="Share of the attempts that failed or timed out. Users see it only when no retry is left: compare "
        "with the panels of retries.",
        unit="percentunit",
        queries=(Query(expr=ratio(bad, every), legend=_BY_STEP),),
        thresholds=ERRORS,
    )


def errors(where: str) -> Panel:
    """Return the panel of the failures by class of exception, for each step."""
    bad, every = select(_COUNT, where, BAD), select(_COUNT, where)
    expr = f"60 * {zero_filled(total(rate(bad), STEP, ERROR), total(rate(every), STEP), STEP)}"
    return Panel(
        title="Failures by class",
        description="Failed attempts, each minute, by the class of the exception. What to do depends on it: "
        "connections and timeouts are the fault of what the step calls, the rest is likely its own.",
        unit="suffix:/min",
        queries=(Query(expr=expr, legend=f"{_BY_STEP} {{{{{ERROR}}}}}"),),
    )


def retries(where: str, *, note: str = "", limit: tuple[Threshold, ...] = ()) -> Panel:
    """Return the panel of retries for each attempt, for each step.

    Args:
        where: which steps.
        note: what else its description says.
        limit: the line that it should stay under.
    """
    part, whole = (
        total(rate(select("otflow_step_retries_total", where)), STEP),
        total(rate(select(_COUNT, where)), STEP),
    )
    return Panel(
        title="Retries for each attempt",
        description="The share of attempts after which another one was scheduled. A step that may try three times and "
        f"always fails shows 67 %. {note}".strip(),
        unit="percentunit",
        queries=(Query(expr=ratio(part, whole), legend=_BY_STEP),),
        thresholds=limit,
    )


def given_up(where: str) -> Panel:
    """Return the panel of the retries that were exhausted, for each step and class of exception."""
    part = total(rate(select("otflow_step_retries_exhausted_total", where)), STEP, ERROR)
    expr = f"60 * {zero_filled(part, total(rate(select(_COUNT, where)), STEP), STEP)}"
    return Panel(
        title="Given up",
        description="How often, each minute, a step failed and had no retry left: its run fails, unless an error "
        "handler takes over. Anything but 0 is somebody's lost work.",
        unit="suffix:/min",
        queries=(Query(expr=expr, legend=f"{_BY_STEP} {{{{{ERROR}}}}}"),),
        thresholds=(Threshold(0.001, "red"),),
    )


def queue_wait(where: str) -> Panel:
    """Return the panel of how long attempts wait for a worker, for each step."""
    return Panel(
        title="Wait for a worker, p95",
        description="95 % of the attempts get a worker within this time. When it rises with the saturation, the step "
        "needs more num_workers; when it rises alone, the event loop is blocked by something that does not await.",
        unit="s",
        queries=(Query(expr=quantile(0.95, rate(select(_QUEUE, where)), STEP), legend=_BY_STEP, exemplars=True),),
    )


def in_flight(where: str) -> Panel:
    """Return the panel of the invocations that are being worked on, for each step."""
    return Panel(
        title="In flight",
        description="Invocations that hold a worker now, those that wait for an event included.",
        unit="short",
        queries=(Query(expr=total(select("otflow_step_active", where), STEP), legend=_BY_STEP),),
    )


def queued(where: str) -> Panel:
    """Return the panel of the invocations that wait for a worker, for each step."""
    return Panel(
        title="Queued",
        description="Invocations that wait for a worker now. A queue that only grows never becomes short again by "
        "itself: raise num_workers of the step, or let fewer runs begin (num_concurrent_runs).",
        unit="short",
        queries=(Query(expr=total(select("otflow_step_queued", where), STEP), legend=_BY_STEP),),
    )


def saturation(where: str, *labels: str) -> str:
    """Return the PromQL of the share of workers that are at work; 0 while no run goes on.

    Args:
        where: which steps.
        labels: the labels that are kept.
    """
    active = total(select("otflow_step_active", where), *labels)
    return f"{active} / ({total(select('otflow_step_workers', where), *labels)} > 0) or 0 * {active}"


def saturation_panel(where: str, *, note: str = "") -> Panel:
    """Return the panel of the share of workers that are at work, for each step.

    Args:
        where: which steps.
        note: what else its description says.
    """
    return Panel(
        title="Saturation",
        description="Workers at work, of those that the runs which go on have (num_workers, for each run). At 100 % "
        f"everything else waits for this step: raise its num_workers, or make it faster. {note}".strip(),
        unit="percentunit",
        queries=(Query(expr=saturation(where, STEP), legend=_BY_STEP),),
        thresholds=SATURATION,
        top=1,
    )


def events(where: str) -> Panel:
    """Return the panel of the events by type; it knows workflows only, no steps."""
    expr = f"60 * {total(rate(select('otflow_events_total', where)), EVENT, 'otflow_disposition')}"
    return Panel(
        title="Events",
        description="Events, each minute, by their type and by what became of them. `unhandled` means: no step takes "
        "them and nobody waits for them. Mostly that is an answer that came too late, or a step that was renamed.",
        unit="suffix:/min",
        queries=(Query(expr=expr, legend=f"{{{{{EVENT}}}}} {{{{otflow_disposition}}}}"),),
        width=12,
    )


def state_writes(where: str) -> Panel:
    """Return the panel of the writes to the state of runs; it knows workflows only, no steps."""
    writes, ends = select("otflow_state_writes_total", where), select(_COUNT, where)
    expr = ratio(total(rate(writes)), total(rate(ends)))
    return Panel(
        title="State writes for each attempt",
        description="How often the state of a run is written, for each attempt. A number that climbs over days is "
        "state that grows: checkpoints become larger, and saving slower.",
        unit="short",
        queries=(Query(expr=expr, legend="writes"),),
        width=12,
    )
