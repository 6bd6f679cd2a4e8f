"""The journal of this process: from choices and variables to a sink that comes before all others."""

from __future__ import annotations

import os
from collections.abc import Callable

from otflow.dispatcher import Dispatcher
from otflow.journal.journal import Journal
from otflow.telemetry.choices import Choices
from otflow.telemetry.environment import Environment

__all__ = ["keep_journal"]


def keep_journal(dispatcher: Dispatcher, choices: Choices, wanted: Environment) -> Callable[[], None]:
    """Attach a journal if one is wanted; returns the function that takes it off, and closes it if it was opened here.

    Raises:
        JournalError: the file cannot be used.
    """
    chosen = choices.journal if choices.journal is not None else wanted.journal or None
    if chosen is None:
        return _nothing
    if not isinstance(chosen, str | os.PathLike):
        return dispatcher.attach(chosen, journal=True)
    journal = Journal(chosen)
    detach = dispatcher.attach(journal, journal=True)

    def end() -> None:
        detach()
        journal.close()

    return end


def _nothing() -> None:
    """Do nothing."""
