"""The events of a recorded run as live objects, and which steps took and returned them."""

from __future__ import annotations

from collections.abc import Sequence

from otflow.errors import WorkflowRuntimeError
from otflow.events import Event
from otflow.records.emitted import events_of, read_saved
from otflow.records.losses import find_losses
from otflow.records.record import EventBuffered, EventReceived, EventSent, Record, RunResumed, StepStarted
from otflow.runtime.blueprint import Blueprint

__all__ = ["EventsOf"]


class EventsOf:
    """The events of one run.

    Args:
        records: its records, in order.
        blueprint: the workflow, which knows the classes of events.
    """

    def __init__(self, records: Sequence[Record], blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._brought: dict[int, EventReceived | EventSent | EventBuffered] = {}
        self._steps: dict[int, str] = {}
        self._taken: dict[int, int] = {}
        self._returned: dict[int, int] = {}
        for record in records:
            match record:
                case StepStarted(invocation=id, step=step, event=event):
                    self._steps[id], self._taken[id] = step, event
                case EventReceived() | EventSent():
                    self._brought[record.seq] = record
                    if isinstance(record, EventSent) and record.returned:
                        self._returned.setdefault(record.invocation, record.seq)
                case RunResumed(snapshot=snapshot) if snapshot is not None:
                    self._brought |= {event.seq: event for event in events_of(read_saved(snapshot))}
                case _:
                    pass

    def step(self, invocation: int) -> str | None:
        """Return the step of an invocation; None if that is not recorded."""
        return self._steps.get(invocation)

    def taken(self, invocation: int) -> int:
        """Return the number of the event that an invocation worked on; 0 if that is not recorded."""
        return self._taken.get(invocation, 0)

    def returned(self, invocation: int) -> int:
        """Return the number of the first event that an invocation returned; 0 if there is none."""
        return self._returned.get(invocation, 0)

    def find(self, number: int) -> Event | None:
        """Return an event as a live object; None if it is not recorded, or not whole, or its class is gone."""
        record = self._brought.get(number)
        if record is None or record.body is None or any(True for _ in find_losses(record)):
            return None
        try:
            return self._blueprint.revive(record.type, record.body)
        except (WorkflowRuntimeError, ValueError):
            return None
