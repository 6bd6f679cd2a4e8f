"""The files that dashboards and rules are kept in: which there are, and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping

from otflow.dashboards.alerts import alerts
from otflow.dashboards.definition import Definition
from otflow.dashboards.grafana import write_dashboard
from otflow.dashboards.health import health
from otflow.dashboards.overview import overview
from otflow.dashboards.recording import recordings
from otflow.dashboards.rules import write_rules
from otflow.dashboards.steps import steps
from otflow.dashboards.waits import waits
from otflow.dashboards.workflow_dashboard import file_name, workflow_dashboard
from otflow.dashboards.workflow_rules import workflow_rules

__all__ = ["general_files", "workflow_files"]

_DASHBOARDS, _RULES = "dashboards", "prometheus/rules"


def general_files(runbook: str | None = None) -> Mapping[str, str]:
    """Return the dashboards and rules for all workflows: texts by the path of their file.

    Args:
        runbook: the address of the page that alerts link to, with one heading for each; default None: no links.
    """
    pages = {
        f"{_DASHBOARDS}/{page.uid}.json": write_dashboard(page) for page in (overview(), steps(), waits(), health())
    }
    kept = "Kept by `otflow dashboards`: change otflow/dashboards/, not this file."
    return {
        **pages,
        f"{_RULES}/otflow-recording.yml": write_rules(
            recordings(), about=f"What alerts and people ask for often, worked out once.\n{kept}", runbook=runbook
        ),
        f"{_RULES}/otflow-alerts.yml": write_rules(
            [alerts()], about=f"What is worth someone's attention. Needs otflow-recording.yml.\n{kept}", runbook=runbook
        ),
    }


def workflow_files(definition: Definition, runbook: str | None = None) -> Mapping[str, str]:
    """Return the dashboard and the rules of one workflow: texts by the path of their file.

    Args:
        definition: what is known of the workflow.
        runbook: the address of the page that alerts link to, with one heading for each; default None: no links.
    """
    name = file_name(definition.name)
    about = f"The rules of the workflow {definition.name}, made from its definition by `otflow dashboards`."
    return {
        f"{_DASHBOARDS}/{name}.json": write_dashboard(workflow_dashboard(definition)),
        f"{_RULES}/{name}.yml": write_rules([workflow_rules(definition)], about=about, runbook=runbook),
    }
