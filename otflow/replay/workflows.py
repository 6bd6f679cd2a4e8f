"""What this package needs of a workflow and of an execution, so that it depends on neither of their rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from otflow.context.context import Context, ContextOwner
from otflow.handler import WorkflowHandler
from otflow.records.record import Record
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.checkpoints import CheckpointCallback

__all__ = ["Recorded", "Replayable", "Runnable"]


class Recorded(Protocol):
    """A run, as far as its records are known."""

    @property
    def records(self) -> Sequence[Record]:
        """The records of the run, by number, each once."""

    @property
    def run_id(self) -> str:
        """The id of the run."""


class Replayable(ContextOwner, Protocol):
    """A workflow of today."""

    @property
    def blueprint(self) -> Blueprint:
        """The workflow, ready to run."""


class Runnable(Replayable, Protocol):
    """A workflow of which runs can begin."""

    def run(
        self,
        ctx: Context[Any] | None = None,
        *,
        stepwise: bool = False,
        checkpoint_callback: CheckpointCallback | None = None,
        run_id: str | None = None,
    ) -> WorkflowHandler:
        """Begin a run, or go on with the one that the context brings."""
