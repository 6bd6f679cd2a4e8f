"""Human waits and resumes: who waits for an answer, for how long, and whether answers come."""

from __future__ import annotations

from otflow.dashboards.links import UID_WAITS
from otflow.dashboards.model import Bars, Dashboard, Heat, Lines, Panel, Query, Row, Threshold, Variable
from otflow.dashboards.promql import EVENT, WORKFLOW, grown, quantile, rate, ratio, select, total
from otflow.dashboards.shapes import graph, number

__all__ = ["answer_shares", "answers", "oldest", "wait_quantiles", "waiting", "waits"]

_WHERE = f'{WORKFLOW}=~"$workflow"'
_RANGE = "$__range"
_COUNT = "otflow_hitl_wait_duration_seconds_count"
_BUCKET = "otflow_hitl_wait_duration_seconds_bucket"
_WITHIN = {"1 minute": 60, "5 minutes": 300, "1 hour": 3600, "6 hours": 21600, "1 day": 86400}
_THROUGHOUT = {"10 minutes": "10m", "1 hour": "1h", "6 hours": "6h", "1 day": "1d"}


def waits() -> Dashboard:
    """Return the dashboard of waits for events from outside."""
    return Dashboard(
        uid=UID_WAITS,
        title="otflow / Waits",
        description="Which runs wait for an answer, for how long, and do answers come? Runs that were saved and are "
        "restored elsewhere are seen by no process meanwhile, and so not here either.",
        variables=(
            Variable(
                name="workflow",
                label="Workflow",
                query=f"label_values(otflow_run_waiting, {WORKFLOW})",
                several=True,
            ),
        ),
        span="now-6h",
        rows=(
            Row("Do answers come?", _numbers()),
            Row("Who waits?", (waiting(_WHERE), answers(_WHERE), oldest(_WHERE))),
            Row("For how long?", (wait_quantiles(_WHERE), answer_shares(_WHERE), _heat())),
            Row("Can runs be saved and resumed?", _checkpoints()),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    took = grown(select(_BUCKET, _WHERE), _RANGE)
    return (
        number(
            "Waiting runs",
            total(select("otflow_run_waiting", _WHERE)),
            "Runs that are paused now: for an answer, a retry delay, or their caller.",
            width=6,
        ),
        number(
            "Answers",
            f"round({total(grown(select(_COUNT, _WHERE), _RANGE))})",
            "Waits that were over in the chosen time. Waiting runs and no answers: ask those who should answer "
            "whether the questions reach them.",
            width=6,
        ),
        number(
            "Half are answered within",
            quantile(0.5, took),
            "The median of the waits that are over. It says how long people are used to take.",
            unit="s",
            width=6,
        ),
        number(
            "95 % are answered within",
            quantile(0.95, took),
            "The slow answers. Waits that are not over yet are not in it: see who waits.",
            unit="s",
            width=6,
        ),
    )


def waiting(where: str) -> Panel:
    """Return the panel of the runs that are paused, by workflow.

    Args:
        where: which workflows.
    """
    return Panel(
        title="Waiting runs",
        description="Runs that are paused in a live process. Steps upwards that never come down are questions that "
        "nobody sees.",
        unit="short",
        queries=(Query(expr=total(select("otflow_run_waiting", where), WORKFLOW), legend=f"{{{{{WORKFLOW}}}}}"),),
        view=Lines(stacked=True),
    )


def answers(where: str) -> Panel:
    """Return the panel of how many waits end, by the type of the event.

    Args:
        where: which workflows.
    """
    return Panel(
        title="Answers",
        description="Waits that were over, each minute, by the type of the event that was waited for.",
        unit="suffix:/min",
        queries=(
            Query(
                expr=f"60 * {total(rate(select(_COUNT, where)), WORKFLOW, EVENT)}",
                legend=f"{{{{{WORKFLOW}}}}} {{{{{EVENT}}}}}",
            ),
        ),
    )


def oldest(where: str) -> Panel:
    """Return the panel of how many runs have been waiting for a long time at least.

    Args:
        where: which workflows.
    """
    return Panel(
        title="Waiting throughout",
        description="How old the waits are: so many runs at the least were waiting at every moment of this time. "
        "Anything in the lowest bar means that questions lie around for a day: find out who should answer.",
        unit="short",
        queries=tuple(
            Query(
                expr=f"sum(min_over_time({select('otflow_run_waiting', where)}[{window}]))", legend=f"the last {name}"
            )
            for name, window in _THROUGHOUT.items()
        ),
        view=Bars(),
        thresholds=(Threshold(1, "yellow"),),
    )


def wait_quantiles(where: str) -> Panel:
    """Return the panel of how long waits take.

    Args:
        where: which workflows.
    """
    return Panel(
        title="Time to an answer",
        description="Half, 95 % and 99 % of the waits are over within this time. The dots are single waits: a click "
        "leads to the trace.",
        unit="s",
        queries=tuple(
            Query(expr=quantile(share, rate(select(_BUCKET, where))), legend=f"p{share * 100:g}", exemplars=True)
            for share in (0.5, 0.95, 0.99)
        ),
    )


def answer_shares(where: str) -> Panel:
    """Return the panel of how many waits are over within a time that people understand.

    Args:
        where: which workflows.
    """
    every = total(grown(select(_COUNT, where), _RANGE))
    return Panel(
        title="Answered within",
        description="Share of the waits that were over within this time. Choose the timeout of a wait to the right of "
        "where the bars stop growing.",
        unit="percentunit",
        queries=tuple(
            Query(
                # the bound of a bucket is written 60 by some exporters and 60.0 by others
                expr=ratio(total(grown(select(_BUCKET, where, f'le=~"{bound}(\\\\.0)?"'), _RANGE)), every),
                legend=name,
            )
            for name, bound in _WITHIN.items()
        ),
        view=Bars(),
        top=1,
    )


def _heat() -> Panel:
    return Panel(
        title="Times to an answer",
        description="How many waits took how long. A dark band at the bound of a timeout are waits without an answer.",
        unit="s",
        queries=(Query(expr=total(rate(select(_BUCKET, _WHERE)), "le"), legend="{{le}}", exemplars=True),),
        view=Heat(),
    )


def _checkpoints() -> tuple[Panel, ...]:
    by = (WORKFLOW, "otflow_store")
    legend = f"{{{{{WORKFLOW}}}}} {{{{otflow_store}}}}"
    took = rate(select("otflow_checkpoint_duration_seconds_bucket", _WHERE))
    size = rate(select("otflow_checkpoint_size_bytes_bucket", _WHERE))
    saved = rate(select("otflow_checkpoint_duration_seconds_count", _WHERE))
    return (
        graph(
            "Saving, p95",
            Query(expr=quantile(0.95, took, *by), legend=legend),
            "95 % of the checkpoints are saved within this time. A step does not go on before: a slow store is a slow "
            "workflow.",
            unit="s",
        ),
        graph(
            "Size, p95",
            Query(expr=quantile(0.95, size, *by), legend=legend),
            "95 % of the checkpoints are at most this large. One that climbs holds state that is never cleared.",
            unit="bytes",
        ),
        graph(
            "Saved",
            Query(expr=f"60 * {total(saved, *by)}", legend=legend),
            "Checkpoints, each minute. None while runs go on means that a crash loses them.",
            unit="suffix:/min",
        ),
    )
