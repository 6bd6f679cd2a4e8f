"""The names of the followed API: code written for it finds them under otflow, in the modules that it knows."""

from __future__ import annotations

import importlib

import pytest

# What a package of that name gives at its top, and what its submodules give. `from X.errors import Y` has to work
# with otflow in the place of X.
NAMES = {
    "otflow": """
        BaseSerializer Checkpoint ConstantDelayRetryPolicy Context ContextSerdeError ContextStateError DictState Event
        ExponentialBackoffRetryPolicy HumanResponseEvent InMemoryStateStore InputRequiredEvent InternalDispatchEvent
        JsonPickleSerializer JsonSerializer PickleSerializer Resource ResourceConfig ResourceManager RetryPolicy
        ServiceManager StartEvent StepFailedEvent StepState StepStateChanged StopEvent UnhandledEvent Workflow
        WorkflowCancelledByUser WorkflowCancelledEvent WorkflowCheckpointer WorkflowConfigurationError WorkflowDone
        WorkflowFailedEvent WorkflowHandler WorkflowIdleEvent WorkflowRuntimeError WorkflowStepDoesNotExistError
        WorkflowTimedOutEvent WorkflowTimeoutError WorkflowValidationError catch_error step
    """,
    "otflow.checkpointer": "Checkpoint CheckpointCallback WorkflowCheckpointer",
    "otflow.context": "BaseSerializer Context JsonPickleSerializer JsonSerializer PickleSerializer",
    "otflow.context.context": "Context",
    "otflow.context.serializers": "BaseSerializer JsonPickleSerializer JsonSerializer PickleSerializer",
    "otflow.context.state_store": "DictState InMemoryStateStore UnserializableKeyWarning",
    "otflow.decorators": "StepConfig catch_error step",
    "otflow.errors": """
        ContextSerdeError ContextStateError WorkflowCancelledByUser WorkflowConfigurationError WorkflowDone
        WorkflowRuntimeError WorkflowStepDoesNotExistError WorkflowTimeoutError WorkflowValidationError
    """,
    "otflow.events": """
        DictLikeModel Event EventType HumanResponseEvent InputRequiredEvent InternalDispatchEvent StartEvent
        StepFailedEvent StepState StepStateChanged StopEvent UnhandledEvent UnreconstructedException
        WorkflowCancelledEvent WorkflowFailedEvent WorkflowIdleEvent WorkflowTimedOutEvent
    """,
    "otflow.handler": "WorkflowHandler",
    "otflow.resource": "Resource ResourceConfig ResourceManager",
    "otflow.retry_policy": """
        ConstantDelayRetryPolicy ExponentialBackoffRetryPolicy RetryInfo RetryPolicy retry_all retry_always retry_any
        retry_if_exception retry_if_exception_cause_type retry_if_exception_message retry_if_exception_type
        retry_if_not_exception_message retry_if_not_exception_type retry_never retry_policy
        retry_unless_exception_type stop_after_attempt stop_after_delay stop_all stop_any stop_before_delay stop_never
        wait_chain wait_combine wait_exponential wait_exponential_jitter wait_fixed wait_full_jitter wait_incrementing
        wait_none wait_random wait_random_exponential
    """,
    "otflow.service": "ServiceManager ServiceNotFoundError",
    "otflow.testing": "WorkflowTestResult WorkflowTestRunner",
    "otflow.types": "RunResultT StopEventT",
    "otflow.workflow": "Workflow",
}

# Methods and properties, by class.
MEMBERS = {
    "Checkpoint": "ctx_state id_ input_event last_completed_step output_event",
    "Context": """
        clear collect_events from_dict get get_result get_step_context is_running retry_info running_steps send_event
        set store to_dict wait_for_event write_event_to_stream
    """,
    "InMemoryStateStore": "clear edit_state from_dict get get_state set set_state to_dict",
    "JsonSerializer": "deserialize serialize",
    "PickleSerializer": "deserialize serialize",
    "ResourceManager": "get get_all set",
    "ServiceManager": "add get",
    "Workflow": """
        add_step add_workflows events is_done run run_from start_event_class stop_event_class validate workflow_name
    """,
    "WorkflowCheckpointer": """
        checkpoints disable_checkpoint enable_checkpoint filter_checkpoints new_checkpoint_callback_for_run run run_from
    """,
    "WorkflowHandler": """
        cancel cancel_run cancelled done exception get_stop_event is_done result run_step send_event stop_event_result
        stream_events
    """,
}


@pytest.mark.parametrize(("module", "name"), [(it, name) for it, names in NAMES.items() for name in names.split()])
def test_names_are_where_they_are_looked_for(module: str, name: str):
    """A name of the followed API stands in the module of the same name."""
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", [it for it in NAMES if it != "otflow"])
def test_a_name_means_one_thing(module: str):
    """What stands at the top is the same object as in its module."""
    top = importlib.import_module("otflow")
    inner = importlib.import_module(module)
    for name in NAMES[module].split():
        if name in top.__all__:
            assert getattr(top, name) is getattr(inner, name)


def test_the_face_hides_no_module():
    """No name at the top stands in the place of a module: `otflow.retry_policy` is the module of policies."""
    top = importlib.import_module("otflow")
    for module in NAMES:
        if module.count(".") == 1:
            assert getattr(top, module.removeprefix("otflow.")) is importlib.import_module(module)


@pytest.mark.parametrize("kind", MEMBERS)
def test_members_have_their_names(kind: str):
    """The classes have the methods and properties that code for the followed API uses."""
    found = getattr(importlib.import_module("otflow"), kind)
    fields = getattr(found, "model_fields", {})
    missing = [name for name in MEMBERS[kind].split() if not hasattr(found, name) and name not in fields]
    assert missing == []


def test_old_and_new_names_of_pickle():
    """PickleSerializer and JsonPickleSerializer are one."""
    context = importlib.import_module("otflow.context")
    assert context.PickleSerializer is context.JsonPickleSerializer
