"""The journal: every record of every run in one SQLite file, before anything is done about it; and the way back."""

from otflow.journal.answers import answer, list_letters, remove_letter
from otflow.journal.faults import JournalBusyError, JournalError, RunNotFoundError, RunOwnedError
from otflow.journal.inbox import Letter
from otflow.journal.journal import Journal
from otflow.journal.source import JournalSource

__all__ = [
    "Journal",
    "JournalBusyError",
    "JournalError",
    "JournalSource",
    "Letter",
    "RunNotFoundError",
    "RunOwnedError",
    "answer",
    "list_letters",
    "remove_letter",
]
