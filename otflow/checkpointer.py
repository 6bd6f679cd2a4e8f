"""Checkpoints of runs, one after each step, to go on from later.

A checkpoint is a position in a run; what it carries (`ctx_state`) is the saved context at that position. It is taken
while the run goes on, or derived afterwards from the records of the run.
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
from otflow.records.record import StepCompleted
from otflow.replay.contexts import make_data
from otflow.replay.events import EventsOf
from otflow.replay.workflows import Recorded
from otflow.runtime.checkpoints import CheckpointCallback
from otflow.workflow import Workflow

__all__ = ["Checkpoint", "CheckpointCallback", "RecordedCheckpoint", "WorkflowCheckpointer", "checkpoints"]


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


class RecordedCheckpoint:
    """A checkpoint that is derived from records: `workflow.run_from` goes on from it as from any other.

    What it holds is made when it is asked for, because saved contexts of many positions are large.

    Args:
        execution: the run.
        workflow: the workflow that is to go on with it.
        completed: the record of the attempt that returned.
        events: the events of the run.
        serializer: how the state is written.

    Attributes:
        seq: the position: the number of the record that says that the step returned.
        run_id: the id of the run.
        last_completed_step: the step.
        id_: the same for the same position.
    """

    def __init__(
        self,
        execution: Recorded,
        workflow: Workflow,
        completed: StepCompleted,
        events: EventsOf,
        serializer: BaseSerializer | None = None,
    ) -> None:
        self._execution = execution
        self._workflow = workflow
        self._completed = completed
        self._events = events
        self._serializer = serializer
        self.seq = completed.seq
        self.run_id = completed.run
        self.id_ = f"{completed.run}:{completed.seq}"
        self.last_completed_step = events.step(completed.invocation)

    @property
    def input_event(self) -> Event | None:
        """The event that the step was called with; None if it cannot be made again."""
        return self._events.find(self._events.taken(self._completed.invocation))

    @property
    def output_event(self) -> Event | None:
        """The first event that the step returned; None if it returned none, or it cannot be made again."""
        return self._events.find(self._events.returned(self._completed.invocation))

    @property
    def ctx_state(self) -> dict[str, Any]:
        """The saved context at this position.

        Raises:
            MisfitError: records or payloads that are needed are missing, or the workflow does not fit them.
        """
        return make_data(self._execution, self._workflow, self.seq, serializer=self._serializer)

    def load(self) -> Checkpoint:
        """Make a checkpoint that holds everything, to be kept as data."""
        return Checkpoint(
            id_=self.id_,
            last_completed_step=self.last_completed_step,
            input_event=self.input_event,
            output_event=self.output_event,
            ctx_state=self.ctx_state,
        )

    def __repr__(self) -> str:
        return f"<RecordedCheckpoint {self.id_} after step '{self.last_completed_step}'>"


def checkpoints(
    execution: Recorded, workflow: Workflow, serializer: BaseSerializer | None = None
) -> list[RecordedCheckpoint]:
    """List the positions of a recorded run after each step that returned, in the order of the records.

    The run need not have been run with checkpoints.

    Args:
        execution: the run, from any reader.
        workflow: the workflow that is to go on with it.
        serializer: how the state is written; default `JsonSerializer()`.
    """
    events = EventsOf(execution.records, workflow.blueprint)
    return [
        RecordedCheckpoint(execution, workflow, record, events, serializer)
        for record in execution.records
        if isinstance(record, StepCompleted)
    ]
