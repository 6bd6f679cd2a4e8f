"""Complaints: what a command says when it cannot do what it was asked, and the exit code that goes with it."""

from __future__ import annotations

from otflow.demo.corpus import NothingToReadError
from otflow.errors import (
    OtflowError,
    ReaderError,
    WorkflowConfigurationError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
)
from otflow.journal import RunNotFoundError

__all__ = [
    "CODES",
    "FAILED",
    "INTERRUPTED",
    "MISSING",
    "MISUSED",
    "UNHEARD",
    "UNKNOWN",
    "UNWRITTEN",
    "WAITING",
    "CommandError",
    "NotFoundError",
    "UsageError",
    "code_of",
]

FAILED, MISUSED, MISSING, WAITING, UNWRITTEN, UNKNOWN, INTERRUPTED, UNHEARD = 1, 2, 3, 4, 5, 6, 130, 141
CODES = """\b
Exit codes:
  0    all went well
  1    the run failed, the runs differ, a history is not accepted
  2    the command was used wrongly
  3    there is no such run, file or server
  4    the run waits for an answer, and nobody is there to give it
  5    the output cannot be written; what was asked for may be done all the same
  6    it cannot be told whether the runs differ: records are missing
  130  interrupted
  141  nobody read the output to its end
"""
_MISUSES = (
    NothingToReadError,
    WorkflowConfigurationError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
)


class CommandError(OtflowError):
    """A command cannot do what it was asked.

    Args:
        message: one sentence or two: what is wrong, and what to do.
        code: the exit code; default 1.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CommandError):
    """The command was used wrongly."""

    def __init__(self, message: str) -> None:
        super().__init__(message, MISUSED)


class NotFoundError(CommandError):
    """There is no such run, file or server."""

    def __init__(self, message: str) -> None:
        super().__init__(message, MISSING)


def code_of(error: OtflowError) -> int:
    """Return the exit code that belongs to an error."""
    match error:
        case CommandError():
            return error.code
        case ReaderError() | RunNotFoundError():
            return MISSING
        case _ if isinstance(error, _MISUSES):
            return MISUSED
        case _:
            return FAILED
