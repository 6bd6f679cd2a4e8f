"""What tests of runs share: a tape of all records."""

from __future__ import annotations

from typing import TypeVar

from otflow.dispatcher import Dispatcher
from otflow.records.record import Record

R = TypeVar("R")

LIMIT = 10.0
"""Seconds for which a thread waits for what has to come; a guard against hangs, never a measurement."""


class Tape:
    """A dispatcher that keeps every record."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.dispatcher = Dispatcher()
        self.dispatcher.attach(self.records.extend)

    def all(self, kind: type[R]) -> list[R]:
        """Return the records of one kind, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    def names(self) -> list[str]:
        """Return the kinds of all records, in order."""
        return [type(record).__name__ for record in self.records]
