"""otflow: event-driven workflows whose execution record is the trace.

This is the face: every public name, and nothing else.
"""

from otflow.checkpointer import Checkpoint, WorkflowCheckpointer
from otflow.context import (
    BaseSerializer,
    Context,
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
    StartEvent,
    StepFailedEvent,
    StepStateChanged,
    StopEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowTimedOutEvent,
)
from otflow.handler import WorkflowHandler
from otflow.resource import Resource, ResourceConfig
from otflow.telemetry import configure
from otflow.workflow import Workflow

__version__ = "0.1.0"

__all__ = [
    "BaseSerializer",
    "Checkpoint",
    "Context",
    "ContextSerdeError",
    "ContextStateError",
    "Event",
    "HumanResponseEvent",
    "InMemoryStateStore",
    "InputRequiredEvent",
    "JsonPickleSerializer",
    "JsonSerializer",
    "OtflowError",
    "PickleSerializer",
    "Resource",
    "ResourceConfig",
    "StartEvent",
    "StepFailedEvent",
    "StepStateChanged",
    "StopEvent",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledEvent",
    "WorkflowCheckpointer",
    "WorkflowConfigurationError",
    "WorkflowFailedEvent",
    "WorkflowHandler",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "catch_error",
    "configure",
    "step",
]
