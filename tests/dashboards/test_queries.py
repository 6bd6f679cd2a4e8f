"""Every query asks for metrics that there are, by labels that they have."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from otflow.dashboards.alerts import alerts
from otflow.dashboards.health import COLLECTOR
from otflow.dashboards.model import Query
from otflow.dashboards.promql import BAD, equal, grown, quantile, rate, ratio, select, total, zero_filled
from otflow.dashboards.recording import recordings
from otflow.dashboards.rules import Alert, Recording
from otflow.dashboards.slo import OBJECTIVE
from otflow.dashboards.workflow_rules import workflow_rules
from otflow.metrics.instruments import INSTRUMENTS, LABELS, label_name, prometheus_name
from otflow.records.semconv import OUTCOMES
from tests.dashboards.pages import every_page, order, queries, read

OF_TARGETS = {"job", "instance"}


def known_metrics() -> dict[str, set[str]]:
    """Return the labels of every metric that a query may ask for."""
    found = {}
    for instrument in INSTRUMENTS:
        name, labels = prometheus_name(instrument), {label_name(label) for label in instrument.labels}
        if instrument.kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    # what Prometheus itself says about targets and alerts
    for name in ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling"):
        found[name] = set()
    found["ALERTS"] = {"alertstate", "alertname", label_name("otflow.workflow.name"), label_name("otflow.step.name")}
    # what the collector says about itself
    found |= {"otelcol_exporter_queue_size": {"exporter"}, "otelcol_exporter_queue_capacity": {"exporter"}}
    for rule in every_recording():
        found[rule.record] = {label_name("otflow.workflow.name"), label_name("otflow.step.name")}
    return {name: labels | OF_TARGETS for name, labels in found.items()}


def every_rule() -> Iterator[Recording | Alert]:
    """Give every rule, those of workflows too."""
    for group in (*recordings(), alerts(), workflow_rules(order()), workflow_rules(order(None))):
        yield from group.rules


def every_recording() -> Iterator[Recording]:
    """Give every recording rule."""
    return (rule for rule in every_rule() if isinstance(rule, Recording))


def every_expression() -> dict[str, str]:
    """Return every PromQL expression, by where it stands."""
    found = {where: query.expr for page in every_page() for where, query in queries(page)}
    return found | {f"{getattr(rule, 'name', '') or rule.record}: {rule.expr}": rule.expr for rule in every_rule()}


def faults_of(expr: str) -> list[str]:
    """List what a query asks for that there is not."""
    known, reading = known_metrics(), read(expr)
    faults, labels = [], {"le", "__name__"}
    for metric, matchers in reading.selectors:
        names = [metric] if metric else [name for name in known if re.fullmatch(matchers["__name__"], name)]
        if not metric and any(names_of in matchers["__name__"] for _, names_of in COLLECTOR):
            continue
        faults += [f"no metric {metric or matchers}"] * (not names or not set(names) <= known.keys())
        for name in set(names) & known.keys():
            labels |= known[name]
            faults += [f"{name} has no {label}" for label in matchers.keys() - known[name] - {"__name__"}]
    return faults + [f"nothing has {label}" for label in reading.kept - labels]


def test_queries_ask_for_what_there_is() -> None:
    """Every metric in a query is one of the table, and has the labels by which it is asked for."""
    expressions = every_expression()
    assert len(expressions) > 100
    assert {where: faults for where, expr in expressions.items() if (faults := faults_of(expr))} == {}


@pytest.mark.parametrize(
    ("expr", "faults"),
    [
        ("sum by (otflow_step_name) (rate(otflow_step_duration_seconds_count[5m]))", []),
        ('otflow_run_active{otflow_workflow_name=~"a|b"} > bool 0', []),
        ("otflow_run_alive", ["no metric otflow_run_alive"]),
        ('otflow_run_active{otflow_step_name="x"}', ["otflow_run_active has no otflow_step_name"]),
        ("sum by (otflow_step_name) (otflow_run_active)", ["nothing has otflow_step_name"]),
        ('count({__name__=~"otflow_nothing_.+"})', ["no metric {'__name__': 'otflow_nothing_.+'}"]),
        ("(otflow_state_writes_total offset 5m) or vector(0)", []),
    ],
)
def test_faults_in_queries_are_found(expr: str, faults: list[str]) -> None:
    """The search for faults sees metrics and labels that there are not, and takes no word of PromQL for one."""
    assert faults_of(expr) == faults


def test_legends_name_labels_that_are_kept() -> None:
    """A legend shows labels that the query keeps; else every series would have the same name."""
    faults = []
    for page in every_page():
        for where, query in queries(page):
            named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
            faults += [f"{where} {label}" for label in named - read(query.expr).kept]
    assert faults == []


def test_outcomes_are_those_of_the_records() -> None:
    """The outcomes that count as failures are outcomes."""
    named = re.findall(r"[a-z]+", BAD.partition("=~")[2])
    assert set(named) <= OUTCOMES.keys()
    assert {"error", "timeout"} <= set(named)


def test_labels_of_the_table_are_labels() -> None:
    """The labels that dashboards group by are labels of the table."""
    assert {label_name(label) for label in LABELS} > {"otflow_workflow_name", "otflow_step_name", "error_type"}


def test_phrases() -> None:
    """The phrases of PromQL are put together as one would write them."""
    assert select("m") == "m"
    assert select("m", "", 'a="b"', "", 'c="d"') == 'm{a="b", c="d"}'
    assert rate("m", "5m") == "rate(m[5m])"
    assert rate("m") == "rate(m[$__rate_interval])"
    assert grown("m", "1h") == "(m unless m offset 1h) or increase(m[1h])"
    assert total("m") == "sum(m)"
    assert total("m", "a", "b") == "sum by (a, b) (m)"
    assert quantile(0.95, "m", "a") == "histogram_quantile(0.95, sum by (le, a) (m))"
    assert quantile(0.5, "m") == "histogram_quantile(0.5, sum by (le) (m))"
    assert zero_filled("a", "b") == "(a or 0 * b)"
    assert zero_filled("a", "b", "c", "d") == "(a or on (c, d) 0 * b)"
    assert ratio("a", "b") == "(a or 0 * b) / (b > 0)"


@pytest.mark.parametrize(
    ("value", "matcher"),
    [("Order", 'w="Order"'), ('a"b', r'w="a\"b"'), ("a\\b\n", r'w="a\\b\n"'), ("Grüße", 'w="Grüße"')],
)
def test_values_of_labels_are_quoted(value: str, matcher: str) -> None:
    """A workflow may have any name: it stays one value of a label."""
    assert equal("w", value) == matcher


def test_budget_is_exact() -> None:
    """The error budget of 99.5 % is 0.005, so that thresholds read as people write them."""
    assert OBJECTIVE.budget == 0.005


def test_exemplars_are_asked_for_of_histograms_only() -> None:
    """Exemplars are asked for only where there may be any: in graphs of the buckets of durations."""

    def has_buckets(query: Query) -> bool:
        return any(metric.endswith("_seconds_bucket") for metric, _ in read(query.expr).selectors)

    asked = [where for page in every_page() for where, query in queries(page) if query.exemplars]
    assert len(asked) > 10
    wrong = [
        where for page in every_page() for where, query in queries(page) if query.exemplars and not has_buckets(query)
    ]
    assert wrong == []
