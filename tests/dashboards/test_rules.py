"""The rules are written as Prometheus reads them, and say what to do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from otflow import Workflow
from otflow.dashboards.alerts import DEFAULT_TIMEOUT, alerts
from otflow.dashboards.definition import Retries, StepDefinition, worst_retries
from otflow.dashboards.recording import recordings
from otflow.dashboards.rules import Alert, Recording, RuleGroup, write_rules
from otflow.dashboards.workflow_rules import LARGEST_RUN, LARGEST_STEP, remarks, workflow_rules
from otflow.metrics.instruments import RUN_DURATION, STEP_DURATION
from tests.dashboards.pages import order

ROOT = Path(__file__).resolve().parents[2]


def every_alert() -> list[Alert]:
    """Return every alert, those of workflows too."""
    groups = (alerts(), workflow_rules(order()))
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]


def names(group: RuleGroup) -> list[str]:
    """Return what the rules of a group are called."""
    return [rule.name if isinstance(rule, Alert) else rule.record for rule in group.rules]


def test_alerts_have_a_page() -> None:
    """The page that an alert links to has a heading with its name, and every heading of that kind is an alert."""
    headings = set(
        re.findall(r"^#+ (Otflow\w+)$", (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert headings == {alert.name for alert in every_alert()}


def test_alerts_say_what_is_wrong() -> None:
    """Every alert has a short summary, a description, and a way to be told from others of its name."""
    for alert in every_alert():
        assert 10 < len(alert.summary) < 110, alert.name
        assert len(alert.description) > 60, alert.name
        assert alert.hold, alert.name
        assert "$labels" in alert.summary or alert.name == "OtflowMetricsAbsent", alert.name


def test_alerts_are_named_once() -> None:
    """No two general alerts, and no two recordings, have one name."""
    listed = [name for group in (*recordings(), alerts()) for name in names(group)]
    assert len(set(listed)) == len(listed)


def test_default_timeout_is_that_of_workflows() -> None:
    """The general alert about timeouts knows the timeout that a workflow has when it says nothing."""
    assert inspect.signature(Workflow).parameters["timeout"].default == DEFAULT_TIMEOUT


def test_largest_buckets_are_those_of_the_table() -> None:
    """Alerts on durations know up to where durations are told apart."""
    assert STEP_DURATION.buckets[-1] == LARGEST_STEP
    assert RUN_DURATION.buckets[-1] == LARGEST_RUN


def test_rules_are_written_as_yaml() -> None:
    """A file has a comment, groups, rules, labels and annotations; texts are quoted so that nothing is misread."""
    group = RuleGroup(
        name="g",
        interval="1m",
        rules=(
            Recording(record="a:b:c", expr='m{x="1"}', labels={"who": "me"}),
            Recording(record="a:b:d", expr='m{x="it\'s"}'),
            Alert(name="Bad", expr="m > 1", hold="5m", severity="page", summary="It: bad", description='Say "no"\\.'),
            Alert(
                name="Worse",
                expr="m > 2",
                severity="ticket",
                summary="# no comment",
                description="yes",
                labels={"step": "ask"},
            ),
        ),
    )
    assert write_rules([group], about="One.\n\nTwo.", runbook="http://x/y") == (
        "# One.\n#\n# Two.\n"
        "groups:\n"
        "  - name: g\n    interval: 1m\n    rules:\n"
        '      - record: a:b:c\n        expr: \'m{x="1"}\'\n        labels:\n          who: "me"\n'
        '      - record: a:b:d\n        expr: "m{x=\\"it\'s\\"}"\n'
        '      - alert: Bad\n        expr: "m > 1"\n        for: 5m\n        labels:\n          severity: "page"\n'
        '        annotations:\n          summary: "It: bad"\n          description: \'Say "no"\\.\'\n'
        '          runbook_url: "http://x/y#bad"\n'
        '      - alert: Worse\n        expr: "m > 2"\n        labels:\n          severity: "ticket"\n'
        '          step: "ask"\n'
        '        annotations:\n          summary: "# no comment"\n          description: "yes"\n'
        '          runbook_url: "http://x/y#worse"\n'
    )
    assert "runbook" not in write_rules([group], about="")  # a link that leads nowhere is worse than none


def test_rules_of_a_workflow_are_told_apart() -> None:
    """No two rules of a workflow have the same name and labels, which Prometheus's own check complains about."""
    rules = workflow_rules(order(10.0)).rules
    told = [(rule.name, *sorted(rule.labels.items())) for rule in rules if isinstance(rule, Alert)]
    assert len(told) == len(set(told)) > len({name for name, *_ in told})


# --- of one workflow ------------------------------------------------------------------------------------------


def test_timeout_decides_which_alerts_there_are() -> None:
    """Where durations are no longer told apart there is no alert about them, and it is said."""
    near = {
        timeout: {name for name in names(workflow_rules(order(timeout))) if "Near" in name}
        for timeout in (10.0, 374.0, 375.0, 8999.0, 9000.0, None)
    }
    assert near == {
        10.0: {"OtflowRunNearTimeout", "OtflowStepNearTimeout"},
        374.0: {"OtflowRunNearTimeout", "OtflowStepNearTimeout"},
        375.0: {"OtflowRunNearTimeout"},
        8999.0: {"OtflowRunNearTimeout"},
        9000.0: set(),
        None: set(),
    }
    said = {timeout: " ".join(remarks(order(timeout))) for timeout in (60.0, 375.0, 9000.0, None)}
    assert said[60.0] == ""
    assert "alerts about single steps" in said[375.0]
    assert "there is none either" in said[9000.0]
    assert "has no timeout" in said[None]


@pytest.mark.parametrize(("timeout", "limit"), [(10.0, "> 8"), (45.0, "> 36"), (0.5, "> 0.4")])
def test_limits_are_four_fifths_of_the_timeout(timeout: float, limit: str) -> None:
    """A timeout is near from 80 % of it on."""
    rules = workflow_rules(order(timeout)).rules
    assert {rule.expr.rpartition(" ")[2] for rule in rules if isinstance(rule, Alert) and "Near" in rule.name} == {
        limit[2:]
    }


def test_timeout_is_recorded() -> None:
    """The general alert about timeouts leaves out a workflow that has its own rules, also one without a timeout."""
    first = [workflow_rules(order(timeout)).rules[0] for timeout in (60.0, None)]
    assert [rule.expr for rule in first] == ["vector(60)", "vector(+Inf)"]
    assert {rule.record for rule in first} == {"otflow:timeout_seconds"}
    assert {rule.labels["otflow_workflow_name"] for rule in first} == {"Order"}
    near = next(rule for rule in alerts().rules if isinstance(rule, Alert) and rule.name == "OtflowStepNearTimeout")
    assert near.expr.endswith("unless on (otflow_workflow_name) otflow:timeout_seconds")


def test_retries_are_watched_where_there_are_any() -> None:
    """There is an alert about retries where there is a retry policy, and nowhere else: at half of what is possible."""
    found = [rule for rule in workflow_rules(order()).rules if getattr(rule, "name", "") == "OtflowStepRetriesHigh"]
    assert len(found) == 1
    assert 'otflow_step_name="pack"' in found[0].expr
    assert found[0].expr.endswith("> 0.375")  # of four attempts, three are followed by another one


def test_retries_that_cannot_be_used_up_are_remarked() -> None:
    """Delays that take longer than the timeout are worth a remark."""
    assert list(remarks(order(6.5))) == []
    assert list(remarks(order(6.0))) == [
        "The retries of step pack may wait for 6 s, but a run ends after 6 s: it times out before they are used up."
    ]


@pytest.mark.parametrize(
    ("retries", "share"),
    [(None, 0.0), (Retries(1, 0.0), 0.0), (Retries(2, 1.0), 0.5), (Retries(4, 1.0), 0.75), (Retries(None, 9.0), 1.0)],
)
def test_share_of_retries(retries: Retries | None, share: float) -> None:
    """If every attempt fails, all but the last of them are followed by another one."""
    step = StepDefinition(name="s", num_workers=1, retries=retries, handler="", catches=False)
    assert worst_retries(step) == share
