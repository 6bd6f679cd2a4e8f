"""Checkpoints of runs, one after each step, to go on from later.

A checkpoint is a position in a run; what it carries (`ctx_state`) is the saved context at that position.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from otflow.context.context import Context
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.errors import WorkflowStepDoesNotExistError
from otflow.events import Event
from otflow.handler import WorkflowHandler
from otflow.runtime.checkpoints import CheckpointCallback
from otflow.workflow import Workflow

__all__ = ["Checkpoint", "CheckpointCallback", "WorkflowCheckpointer"]


class Checkpoint(BaseModel):
    """A position in a run, after a step and before its output goes on its way.

    Args:
        id_: the id of the checkpoint.
        last_completed_step: the step.
        input_event: the event that the step was called with.
        output_event: the event that it returned.
        ctx_state: the saved context.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id_: str = Field(default_factory=lambda: str(uuid.uuid4()))
    last_completed_step: str | None
    input_event: SerializeAsAny[Event] | None
    output_event: SerializeAsAny[Event] | None
    ctx_state: dict[str, Any]


class WorkflowCheckpointer:
    """Runs a workflow and keeps a checkpoint after each of its steps.

    Args:
        workflow: the workflow.
        checkpoint_serializer: how the state is written; default `JsonSerializer()`.
        disabled_steps: steps after which no checkpoint is taken.

    Raises:
        WorkflowStepDoesNotExistError: a disabled step is no step of the workflow.
    """

    def __init__(
        self,
        workflow: Workflow,
        checkpoint_serializer: BaseSerializer | None = None,
        disabled_steps: Sequence[str] = (),
    ) -> None:
        self.workflow = workflow
        self._serializer = checkpoint_serializer or JsonSerializer()
        self._checkpoints: dict[str, list[Checkpoint]] = {}
        self._lock = asyncio.Lock()
        self.enabled_checkpoints: set[str] = set(workflow.steps)
        for name in disabled_steps:
            self.disable_checkpoint(name)

    @property
    def checkpoints(self) -> dict[str, list[Checkpoint]]:
        """The checkpoints of each run, in the order in which its steps returned."""
        return self._checkpoints

    def enable_checkpoint(self, step: str) -> None:
        """Take checkpoints after this step."""
        self._require(step)
        self.enabled_checkpoints.add(step)

    def disable_checkpoint(self, step: str) -> None:
        """Take no checkpoints after this step."""
        self._require(step)
        self.enabled_checkpoints.discard(step)

    def run(self, **kwargs: Any) -> WorkflowHandler:
        """Run the workflow, with checkpoints; the arguments are those of `Workflow.run`."""
        return self.workflow.run(checkpoint_callback=self.new_checkpoint_callback_for_run(), **kwargs)

    def run_from(self, checkpoint: Checkpoint, **kwargs: Any) -> WorkflowHandler:
        """Go on from a checkpoint, with checkpoints; the arguments are those of `Workflow.run_from`."""
        return self.workflow.run_from(
            checkpoint,
            ctx_serializer=self._serializer,
            checkpoint_callback=self.new_checkpoint_callback_for_run(),
            **kwargs,
        )

    def new_checkpoint_callback_for_run(self) -> CheckpointCallback:
        """Make a callback for one run that adds to `checkpoints`."""

        async def keep(
            run_id: str,
            last_completed_step: str | None,
            input_ev: Event | None,
            output_ev: Event | None,
            ctx: Context[Any],
        ) -> None:
            if last_completed_step not in self.enabled_checkpoints:
                return
            async with self._lock:
                checkpoint = Checkpoint(
                    last_completed_step=last_completed_step,
                    input_event=input_ev,
                    output_event=output_ev,
                    ctx_state=ctx.to_dict(self._serializer),
                )
                self._checkpoints.setdefault(run_id, []).append(checkpoint)

        return keep

    def filter_checkpoints(
        self,
        run_id: str | None = None,
        last_completed_step: str | None = None,
        input_event_type: type[Event] | None = None,
        output_event_type: type[Event] | None = None,
    ) -> list[Checkpoint]:
        """Return the checkpoints that fit all given filters.

        Args:
            run_id: of this run only.
            last_completed_step: after this step only.
            input_event_type: whose step was called with exactly this type of event.
            output_event_type: whose step returned exactly this type of event.

        Raises:
            ValueError: no filter was given.
        """
        if not any((run_id, last_completed_step, input_event_type, output_event_type)):
            raise ValueError("Please specify a filter.")
        runs = [self._checkpoints.get(run_id, [])] if run_id else list(self._checkpoints.values())
        return [
            checkpoint
            for run in runs
            for checkpoint in run
            if last_completed_step in (None, checkpoint.last_completed_step)
            and input_event_type in (None, type(checkpoint.input_event))
            and output_event_type in (None, type(checkpoint.output_event))
        ]

    def _require(self, step: str) -> None:
        if step not in self.workflow.steps:
            raise WorkflowStepDoesNotExistError(
                f"This workflow does not contain a step: '{step}'. Its steps: {', '.join(self.workflow.steps)}."
            )
