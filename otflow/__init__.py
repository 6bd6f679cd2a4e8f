"""otflow: event-driven workflows whose execution record is the trace.

This is the face: every public name, and nothing else.
"""

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
