"""otflow: event-driven workflows whose execution record is the trace.

This is the face: every public name, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from otflow.checkpointer import Checkpoint, WorkflowCheckpointer
from otflow.context import (
    BaseSerializer,
    Context,
    DictState,
    InMemoryStateStore,
    JsonPickleSerializer,
    JsonSerializer,
    PickleSerializer,
)
from otflow.decorators import catch_error, step
from otflow.errors import (
    ContextSerdeError,
    ContextStateError,
    OtflowError,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowDone,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from otflow.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    InternalDispatchEvent,
    StartEvent,
    StepFailedEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from otflow.handler import WorkflowHandler
from otflow.resource import Resource, ResourceConfig, ResourceManager
from otflow.retry_policy import ConstantDelayRetryPolicy, ExponentialBackoffRetryPolicy, RetryPolicy
from otflow.service import ServiceManager
from otflow.tagging import tagged
from otflow.telemetry import configure
from otflow.workflow import Workflow

if TYPE_CHECKING:
    from otflow import readers, visualize

    open = readers.open_source  # noqa: A001  the name is otflow.open
    draw_all_possible_flows = visualize.draw_all_possible_flows
    draw_execution = visualize.draw_execution
    draw_most_recent_execution = visualize.draw_most_recent_execution

__version__ = "0.1.0"

__all__ = [
    "BaseSerializer",
    "Checkpoint",
    "ConstantDelayRetryPolicy",
    "Context",
    "ContextSerdeError",
    "ContextStateError",
    "DictState",
    "Event",
    "ExponentialBackoffRetryPolicy",
    "HumanResponseEvent",
    "InMemoryStateStore",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "JsonPickleSerializer",
    "JsonSerializer",
    "OtflowError",
    "PickleSerializer",
    "Resource",
    "ResourceConfig",
    "ResourceManager",
    "RetryPolicy",
    "ServiceManager",
    "StartEvent",
    "StepFailedEvent",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "UnhandledEvent",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledEvent",
    "WorkflowCheckpointer",
    "WorkflowConfigurationError",
    "WorkflowDone",
    "WorkflowFailedEvent",
    "WorkflowHandler",
    "WorkflowIdleEvent",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "catch_error",
    "configure",
    "step",
    "tagged",
]


_LATE = {
    "open": ("otflow.readers", "open_source"),
    "draw_all_possible_flows": ("otflow.visualize", "draw_all_possible_flows"),
    "draw_execution": ("otflow.visualize", "draw_execution"),
    "draw_most_recent_execution": ("otflow.visualize", "draw_most_recent_execution"),
}
"""What few programs want: where it is, and its name there."""


if not TYPE_CHECKING:  # it would have a type for any name, even one that is misspelt

    def __getattr__(name: str) -> object:
        """Load what few programs want when it is asked for.

        `open` stands in no list of names: `from otflow import *` would hide the function that opens files.
        """
        if name in _LATE:
            room, there = _LATE[name]
            return getattr(import_module(room), there)
        raise AttributeError(f"module 'otflow' has no attribute {name!r}")
