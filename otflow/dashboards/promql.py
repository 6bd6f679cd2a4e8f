"""PromQL: the few phrases that all queries are made of.

This room knows how Prometheus counts, and the labels by which otflow counts; which metrics there are is known where
they are asked for.
"""

from __future__ import annotations

import json

__all__ = [
    "BAD",
    "ERROR",
    "EVENT",
    "OUTCOME",
    "STEP",
    "WORKFLOW",
    "equal",
    "grown",
    "quantile",
    "rate",
    "ratio",
    "select",
    "total",
    "zero_filled",
]

WORKFLOW = "otflow_workflow_name"
STEP = "otflow_step_name"
OUTCOME = "otflow_outcome"
EVENT = "otflow_event_type"
ERROR = "error_type"

BAD = f'{OUTCOME}=~"error|timeout|crashed"'
"""The outcomes that are failures; `cancelled` is none: somebody wanted it."""

RATE_INTERVAL = "$__rate_interval"


def equal(label: str, value: str) -> str:
    """Return the matcher of one value of a label.

    Args:
        label: the label.
        value: the value, any text.
    """
    return f"{label}={json.dumps(value, ensure_ascii=False)}"


def select(metric: str, *matchers: str) -> str:
    """Return the selector of a metric's series.

    Args:
        metric: the name of the metric.
        matchers: what the labels have to be, as `label="value"`; empty ones are left out.
    """
    given = ", ".join(filter(None, matchers))
    return f"{metric}{{{given}}}" if given else metric


def rate(selector: str, window: str = RATE_INTERVAL) -> str:
    """Return how fast counters grow, for each second.

    Args:
        selector: the counters.
        window: the time to look back; default what Grafana finds right for the graph.
    """
    return f"rate({selector}[{window}])"


def grown(selector: str, window: str) -> str:
    """Return by how much counters have grown, with what they began with; to be added up.

    `increase` alone sees a counter that appears with the value 1 as one that has not grown, and so would never show a
    failure that happens for the first time.

    Args:
        selector: the counters.
        window: the time to look back.
    """
    return f"({selector} unless {selector} offset {window}) or increase({selector}[{window}])"


def total(expr: str, *labels: str) -> str:
    """Return the sum for each combination of labels.

    Args:
        expr: what is added up.
        labels: the labels that are kept; without any, one sum of all.
    """
    return f"sum by ({', '.join(labels)}) ({expr})" if labels else f"sum({expr})"


def quantile(share: float, buckets: str, *labels: str) -> str:
    """Return a quantile of a histogram.

    Args:
        share: which, as 0.95.
        buckets: how much its buckets have grown.
        labels: the labels that are kept; without any, one quantile of all.
    """
    return f"histogram_quantile({share:g}, {total(buckets, 'le', *labels)})"


def zero_filled(expr: str, whole: str, *labels: str) -> str:
    """Return an expression with zeros where it has no series: no failure yet is a number too.

    Args:
        expr: the expression.
        whole: one with all series that there should be.
        labels: the labels that both have, if the expression has more; without any, both have the same.
    """
    missing = f"or on ({', '.join(labels)})" if labels else "or"
    return f"({expr} {missing} 0 * {whole})"


def ratio(part: str, whole: str) -> str:
    """Return the share of a part in the whole, nothing where the whole is nothing.

    Args:
        part: the part; where it has no series it is 0.
        whole: the whole, with the same labels.
    """
    return f"{zero_filled(part, whole)} / ({whole} > 0)"
