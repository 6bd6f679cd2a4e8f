"""Telemetry health: whether what the other dashboards show can be believed."""

from __future__ import annotations

from otflow.dashboards.links import UID_HEALTH
from otflow.dashboards.model import Colour, Dashboard, Lines, Panel, Query, Row, Threshold
from otflow.dashboards.promql import ERROR, EVENT, WORKFLOW, equal, grown, rate, select, total
from otflow.dashboards.shapes import graph, number

__all__ = ["COLLECTOR", "health"]

_RANGE = "$__range"
_DROPPED = "otflow_telemetry_dropped_total"
_OTHER_EVENT, _OTHER_ERROR = equal(EVENT, "_OTHER"), equal(ERROR, "_OTHER")
_SEEN = "count by (job, instance) (last_over_time(otflow_run_active[1h]))"

COLLECTOR = (
    ("accepted", "otelcol_receiver_accepted_(?:spans|metric_points|log_records)"),
    ("refused", "otelcol_receiver_refused_(?:spans|metric_points|log_records)"),
    ("sent", "otelcol_exporter_sent_(?:spans|metric_points|log_records)"),
    ("failed", "otelcol_exporter_send_failed_(?:spans|metric_points|log_records)"),
    ("no room", "otelcol_exporter_enqueue_failed_(?:spans|metric_points|log_records)"),
)
"""What the collector says of itself; some versions end these names with `_total`."""


_FLOW_COLOURS: tuple[tuple[str, Colour], ...] = (
    ("accepted", "blue"),
    ("sent", "green"),
    ("failed", "orange"),
    ("refused", "red"),
    ("no room", "dark-red"),
)


def health() -> Dashboard:
    """Return the dashboard of the telemetry itself."""
    return Dashboard(
        uid=UID_HEALTH,
        title="otflow / Telemetry health",
        description="Can the other dashboards be believed? What was lost on its way, who is not reached, and whether "
        "labels grow without end. Losses here never harm a run.",
        rows=(
            Row("Can the other dashboards be believed?", _numbers()),
            Row("What is lost?", (_dropped(), _unhandled())),
            Row("Is everyone reached?", _scrapes()),
            Row("Do labels grow without end?", (_series(), _overflow())),
            Row("And the collector?", _collector()),
        ),
    )


def _numbers() -> tuple[Panel, ...]:
    return (
        number(
            "Lost",
            f"round({total(grown(_DROPPED, _RANGE))}) or vector(0)",
            "Records, spans and log lines that were lost in the chosen time. Traces have holes then; metrics are still "
            "exact, they are counted before.",
            width=6,
            thresholds=(Threshold(1, "orange"),),
        ),
        number(
            "Not reached",
            f"sum((up == bool 0) and on (job, instance) {_SEEN}) or vector(0)",
            "Processes that showed metrics of otflow within the last hour and cannot be scraped now. Right after a "
            "deployment that is normal; else look whether they are alive.",
            width=6,
            thresholds=(Threshold(1, "red"),),
        ),
        number(
            "Series",
            'count({__name__=~"otflow_.+"})',
            "Time series of otflow in all processes. They are bounded by the number of steps; each costs memory in "
            "Prometheus.",
            width=6,
            thresholds=(Threshold(50_000, "orange"), Threshold(200_000, "red")),
        ),
        number(
            "Folded labels",
            f"count({select('otflow_step_duration_seconds_count', _OTHER_ERROR)}) or vector(0)",
            "Series in which all further classes of exceptions are counted together, because there were too many. "
            "Look for classes that are made at run time.",
            width=6,
            thresholds=(Threshold(1, "yellow"),),
        ),
    )


def _dropped() -> Panel:
    expr = f"60 * {total(rate(_DROPPED), 'otflow_sink', 'otflow_reason')} or vector(0)"
    return graph(
        "Lost records",
        Query(expr=expr, legend="{{otflow_sink}} {{otflow_reason}}"),
        "What was lost, each minute, by what lost it and why. `queue_full` with a reachable collector: it takes in "
        "less than comes; else see whether it is alive.",
        unit="suffix:/min",
        width=12,
        thresholds=(Threshold(0.001, "orange"),),
    )


def _unhandled() -> Panel:
    unhandled = rate(select("otflow_events_total", equal("otflow_disposition", "unhandled")))
    return graph(
        "Events that nobody took",
        Query(
            expr=f"60 * {total(unhandled, WORKFLOW, EVENT)} or vector(0)",
            legend=f"{{{{{WORKFLOW}}}}} {{{{{EVENT}}}}}",
        ),
        "Events, each minute, that no step takes and nobody waits for. Nothing is lost by otflow here, but whoever "
        "sent them expected something.",
        unit="suffix:/min",
        width=12,
    )


def _scrapes() -> tuple[Panel, ...]:
    def of_target(gauge: str) -> Query:
        expr = f"max by (job, instance) ({gauge} and on (job, instance) {_SEEN})"
        return Query(expr=expr, legend="{{job}} {{instance}}")

    return (
        graph(
            "Reached",
            of_target("up"),
            "1: the last scrape succeeded; 0: it did not. Of all that showed metrics of otflow in the last hour.",
        ),
        graph(
            "Scrapes take",
            of_target("scrape_duration_seconds"),
            "How long a scrape takes. Near the timeout of scrapes (10 s by default) metrics begin to have holes.",
            unit="s",
        ),
        graph(
            "Series in a scrape",
            of_target("scrape_samples_post_metric_relabeling"),
            "How much one process shows. It grows with the number of steps and then stays; one that keeps growing has "
            "a label without end.",
        ),
    )


def _series() -> Panel:
    return graph(
        "Series by metric",
        Query(expr='topk(10, count by (__name__) ({__name__=~"otflow_.+"}))', legend="{{__name__}}"),
        "The ten metrics with the most time series. A line that climbs for days names the metric whose label has no "
        "end.",
        width=12,
    )


def _overflow() -> Panel:
    return Panel(
        title="Counted together",
        description="Events and failures, each minute, whose type is counted as `_OTHER`, because there are too many "
        "types. Details are lost, memory is kept.",
        unit="suffix:/min",
        queries=(
            Query(
                expr=f"60 * {total(rate(select('otflow_events_total', _OTHER_EVENT)))} or vector(0)",
                legend="event types",
            ),
            Query(
                expr=f"60 * {total(rate(select('otflow_step_duration_seconds_count', _OTHER_ERROR)))} or vector(0)",
                legend="classes of exceptions",
            ),
        ),
        width=12,
    )


def _collector() -> tuple[Panel, ...]:
    flow = tuple(
        Query(expr=f'60 * sum(rate({{__name__=~"{names}(?:_total)?"}}[$__rate_interval])) or vector(0)', legend=name)
        for name, names in COLLECTOR
    )
    return (
        Panel(
            title="Through the collector",
            description="Spans, metric points and log records, each minute, that the collector took and gave on. "
            "Refused: its memory is full. Failed: a backend does not take them, it will try again. No room: its queue "
            "is full, they are lost. All 0 when the collector is not scraped.",
            unit="suffix:/min",
            queries=flow,
            view=Lines(colours=_FLOW_COLOURS),
            width=12,
        ),
        Panel(
            title="Queues of the collector",
            description="How full the queues to the backends are. At 100 % data is lost: find out why the backend "
            "behind that exporter is slow.",
            unit="percentunit",
            queries=(
                Query(
                    expr="max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) "
                    "or vector(0)",
                    legend="{{exporter}}",
                ),
            ),
            width=12,
            thresholds=(Threshold(0.5, "orange"), Threshold(0.9, "red")),
            top=1,
        ),
    )
