"""The ids of the dashboards, and the ways between them."""

from __future__ import annotations

from otflow.dashboards.model import Link
from otflow.dashboards.promql import WORKFLOW

__all__ = ["STEPS_OF_ROW", "STEPS_OF_SERIES", "UID_HEALTH", "UID_OVERVIEW", "UID_STEPS", "UID_WAITS"]

UID_OVERVIEW = "otflow-overview"
UID_STEPS = "otflow-steps"
UID_WAITS = "otflow-waits"
UID_HEALTH = "otflow-health"

_STEPS = f"/d/{UID_STEPS}?${{datasource:queryparam}}&${{__url_time_range}}&var-workflow="

STEPS_OF_ROW = Link("Show the steps of this workflow", f"{_STEPS}${{__data.fields.Workflow}}")
"""From a row of a table with a column `Workflow`."""

STEPS_OF_SERIES = Link("Show the steps of this workflow", f"{_STEPS}${{__field.labels.{WORKFLOW}}}")
"""From a line of a graph that has a workflow."""
