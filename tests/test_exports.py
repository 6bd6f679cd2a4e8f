"""The public names: what users may import, and from where."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil

import pytest

import otflow

# The names of the followed API that code written for it imports from the top of its package.
FOLLOWED = {
    "Checkpoint",
    "Context",
    "Event",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "JsonSerializer",
    "StartEvent",
    "StopEvent",
    "Workflow",
    "WorkflowCheckpointer",
    "WorkflowRuntimeError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "step",
}

# The modules of the followed API from which code written for it imports, with the names it takes from each.
ROOMS = {
    "checkpointer": {"Checkpoint", "WorkflowCheckpointer"},
    "context": {"Context", "JsonSerializer"},
    "decorators": {"step"},
    "errors": {"WorkflowRuntimeError", "WorkflowTimeoutError", "WorkflowValidationError"},
    "events": {"Event", "HumanResponseEvent", "InputRequiredEvent", "StartEvent", "StopEvent"},
    "handler": {"WorkflowHandler"},
    "resource": {"Resource"},
    "retry_policy": {"ConstantDelayRetryPolicy", "RetryPolicy"},
    "service": {"ServiceManager"},
    "workflow": {"Workflow"},
}

MODULES = sorted(each.name for each in pkgutil.walk_packages(otflow.__path__, "otflow."))


def test_followed_names_are_at_the_top() -> None:
    """Code for the followed API finds its names at the top of the package."""
    assert FOLLOWED - set(otflow.__all__) == set()


@pytest.mark.parametrize("room", ROOMS)
def test_followed_modules_hold_their_names(room: str) -> None:
    """Code for the followed API finds its names in the modules that it knows."""
    module = importlib.import_module(f"otflow.{room}")
    assert [name for name in sorted(ROOMS[room]) if not hasattr(module, name)] == []


def test_all_names_of_the_face_exist() -> None:
    """Each name that the package promises is there, is listed once, and is shown by `dir`."""
    assert len(set(otflow.__all__)) == len(otflow.__all__)
    assert [name for name in otflow.__all__ if not hasattr(otflow, name)] == []
    assert set(otflow.__all__) <= set(dir(otflow))


def test_unknown_names_are_refused() -> None:
    """A name that the package does not have is an AttributeError, as everywhere."""
    with pytest.raises(AttributeError, match="no_such_name"):
        otflow.no_such_name


def test_the_version_is_that_of_the_distribution() -> None:
    """`otflow.__version__` says what pip says."""
    assert otflow.__version__ == importlib.metadata.version("otflow")


@pytest.mark.parametrize("name", MODULES)
def test_modules_keep_their_promises(name: str) -> None:
    """Each module can be imported, and has the names it lists."""
    module = importlib.import_module(name)
    assert [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)] == []
