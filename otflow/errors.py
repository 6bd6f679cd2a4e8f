"""Every exception that otflow raises on its own account.

This room knows no other room: an error is a name, a message and, where one exists, a cause.
Three families share one base: the workflow was written wrongly (validation, configuration), a run ended
otherwise than by its result (runtime, timeout, cancelled), or saved data does not fit (serde).
An exception raised by a user's step keeps its own type: see `wrap_step_error`.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from types import GetSetDescriptorType, MemberDescriptorType

__all__ = [
    "ContextSerdeError",
    "ContextStateError",
    "OtflowError",
    "ReaderError",
    "UnreconstructedException",
    "WorkflowCancelledByUser",
    "WorkflowConfigurationError",
    "WorkflowDone",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "text_of",
    "wrap_step_error",
]


class OtflowError(Exception):
    """The base of all errors that otflow raises."""


class WorkflowValidationError(OtflowError):
    """A workflow, a step or an argument is written in a way that cannot work."""


class WorkflowConfigurationError(OtflowError):
    """The start or the stop event of a workflow cannot be found."""


class WorkflowRuntimeError(OtflowError):
    """A run failed; its `__cause__` is the exception that a step raised, if one did."""


class WorkflowStalledError(WorkflowRuntimeError):
    """A run has nothing queued, running, delayed or waited for, and therefore can never end."""


class WorkflowTimeoutError(OtflowError):
    """A run did not end within the `timeout` (seconds) of its workflow."""


class WorkflowCancelledByUser(OtflowError):
    """A run was cancelled by `handler.cancel_run()`."""


class WorkflowDone(OtflowError):
    """Kept for code that imports it: the seed-era engine ended its tasks with it. Never raised here."""


class WorkflowStepDoesNotExistError(OtflowError):
    """A step was named that the workflow does not have."""


class ContextSerdeError(OtflowError):
    """Saved context data has another shape or version than this release of otflow can read."""


class ReaderError(OtflowError):
    """Records cannot be read back from where they were sought: no such place, no such run, or nothing readable."""


class ContextStateError(WorkflowRuntimeError):
    """A context was used at a moment when that is not possible."""


class UnreconstructedException(OtflowError):
    """Stands for an exception that was read from data, whose own class is not built from there.

    Args:
        message: the message of the exception.
        original_type: the qualified name of its class.
    """

    def __init__(self, message: str, *, original_type: str | None = None) -> None:
        super().__init__(message)
        self.original_type = original_type


@lru_cache(maxsize=256)
def _twin(kind: type[BaseException]) -> type[WorkflowRuntimeError] | None:
    """Make the class that is both a `WorkflowRuntimeError` and `kind`; None where layouts clash."""

    def text(self: BaseException) -> str:
        return str(self.__dict__["_otflow_message"])

    def reduce(self: BaseException) -> tuple[object, ...]:
        return wrap_step_error, (self.__cause__, self.__dict__["_otflow_step"])

    body = {"__str__": text, "__reduce__": reduce, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    try:
        return type(kind.__name__, (WorkflowRuntimeError, kind), body)
    except Exception:  # a user's class, or its metaclass, may refuse to be subclassed as it likes
        return None


def _copy_slots(error: BaseException, twin: BaseException) -> None:
    """Copy what an exception does not keep in its dict: `OSError.filename`, `ImportError.name`, slots of users."""
    for kind in type(error).__mro__:
        if kind is BaseException:
            return
        for name, place in vars(kind).items():
            if isinstance(place, GetSetDescriptorType | MemberDescriptorType) and not name.startswith("__"):
                with suppress(Exception):  # one that is not set, or cannot be
                    setattr(twin, name, getattr(error, name))


def text_of(error: BaseException) -> str:
    """Return the text of an exception, whatever its own `__str__` does."""
    try:
        return str(error)
    except Exception as fault:  # a user's __str__ may raise anything
        return f"<its text cannot be had: {type(fault).__name__}>"


def wrap_step_error(error: Exception, step: str) -> WorkflowRuntimeError:
    """Give the exception of a step a face that both generations of the followed API catch.

    Callers of the older line expect `WorkflowRuntimeError("Error in step ...")`, callers of the newer line
    the exception itself. The result is an instance of both: same type name, same attributes, the original
    as `__cause__` with its traceback.

    Args:
        error: what the step raised.
        step: the name of the step.

    Returns:
        An exception whose class derives from `WorkflowRuntimeError` and, where Python allows such a class,
        from `type(error)`.
    """
    if isinstance(error, WorkflowRuntimeError):
        return error
    message = f"Error in step '{step}': {text_of(error)}"
    kind = _twin(type(error))  # type: ignore[arg-type]  # classes hash by identity, whatever typeshed says
    wrapped: WorkflowRuntimeError | None = None
    if kind is not None:
        try:
            # not kind(*args): an exception class of a user may take other arguments than it keeps
            wrapped = kind.__new__(kind, *error.args)
            wrapped.args = error.args
            wrapped.__dict__.update(error.__dict__)
            _copy_slots(error, wrapped)
            wrapped.__dict__["_otflow_message"] = message
            wrapped.__dict__["_otflow_step"] = step
        except Exception:  # a user's __new__ may do anything; the plain face always works
            wrapped = None
    if wrapped is None:
        wrapped = WorkflowRuntimeError(message)
    wrapped.__cause__ = error
    return wrapped
