"""What `workflow.validate()` says about resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from otflow import Resource, ResourceConfig, StartEvent, StopEvent, Workflow, WorkflowValidationError, step


class Settings(BaseModel):
    depth: int


def make_fine() -> str:
    """Work."""
    return "fine"


def make_broken() -> str:
    """Fail."""
    raise ConnectionError("no database")


def workflow_with(resource: Resource | ResourceConfig, kind: type) -> Workflow:
    """Make a workflow whose only step asks for a resource."""

    class Asking(Workflow):
        @step
        async def ask(self, ev: StartEvent, it: Annotated[kind, resource]) -> StopEvent:  # type: ignore[valid-type]
            return StopEvent(result=it)

    return Asking()


def test_a_broken_factory_is_reported_on_request_only() -> None:
    """`validate()` makes no resource unless it is asked to; then it names step, parameter and reason."""
    workflow = workflow_with(Resource(make_broken), str)
    assert workflow.validate() is False
    with pytest.raises(WorkflowValidationError, match=r"step 'ask', parameter 'it': ConnectionError: no database"):
        workflow.validate(validate_resources=True)


async def test_resources_can_be_validated_inside_an_event_loop() -> None:
    """`validate(validate_resources=True)` works where a loop is running, and what it made is what the run gets."""
    workflow = workflow_with(Resource(make_fine), str)
    assert workflow.validate(validate_resources=True) is False
    assert await workflow.run() == "fine"


def test_an_unreadable_file_is_reported_before_any_run(tmp_path: Path) -> None:
    """A configuration file that does not fit its model is a fault of the workflow, unless that check is left out."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"depth": "deep"}))
    workflow = workflow_with(ResourceConfig(config_file=str(file)), Settings)
    assert workflow.validate(validate_resource_configs=False) is False
    with pytest.raises(WorkflowValidationError, match=r"(?s)step 'ask', parameter 'it'.*depth"):
        workflow.validate()
    file.write_text(json.dumps({"depth": 3}))
    assert workflow.validate() is False
