"""A second, slower set of books about a run, kept from its records alone, to compare the core's state with.

Nothing of `core.evolve` is used here: what these books say was derived from the meaning of the records.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from otflow.core.plan import NOWHERE, Plan
from otflow.core.state import RunState
from otflow.records.record import (
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
    Record,
    RetryScheduled,
    RunResumed,
    StepCompleted,
    StepFailed,
    StepStarted,
    WaitEnded,
    WaitStarted,
)


class Books:
    """What is open in a run: deliveries, buffered events, waits."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deliveries: Counter[tuple[int, str]] = Counter()
        self.running: dict[int, tuple[int, str]] = {}
        self.waits: dict[int, int] = {}
        self.held: dict[int, EventSent] = {}
        self.buffered: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.collected: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.failed: int | None = None

    def take(self, record: Record) -> None:
        """Write one record down."""
        if self.failed is not None and not isinstance(record, RetryScheduled):
            self.close(self.failed)
        self.failed = None
        match record:
            case EventReceived():
                self.deliver(record.seq, record)
            case EventSent(held=True):
                self.held[record.seq] = record
            case EventSent():
                self.deliver(record.seq, record)
            case EventReleased():
                self.deliver(record.event, self.held.pop(record.event))
            case StepStarted():
                self.running[record.invocation] = (record.event, record.step)
            case StepCompleted():
                self.close(record.invocation)
            case StepFailed():
                self.failed = record.invocation
                self.forget_waits(record.invocation)
            case EventBuffered() | EventsCollected():
                self.collect(record)
            case WaitStarted():
                self.waits[record.seq] = record.invocation
            case WaitEnded():
                del self.waits[record.wait]
            case RunResumed() if record.snapshot is not None:
                self.waits.clear()
            case _:
                pass

    def deliver(self, id: int, event: EventReceived | EventSent) -> None:
        route = self.plan.routes.get(event.type, NOWHERE)
        for step in (event.target,) if event.target else route.steps:
            self.deliveries[id, step] += 1

    def close(self, invocation: int) -> None:
        self.deliveries[self.running.pop(invocation)] -= 1
        self.forget_waits(invocation)

    def forget_waits(self, invocation: int) -> None:
        self.waits = {wait: owner for wait, owner in self.waits.items() if owner != invocation}

    def collect(self, record: EventBuffered | EventsCollected) -> None:
        box = self.running[record.invocation][1], record.buffer
        if isinstance(record, EventBuffered):
            self.buffered[box].append(record.event)
        else:
            self.collected[box] += record.events

    @property
    def open(self) -> Counter[tuple[int, str]]:
        """The deliveries that have not ended."""
        return +self.deliveries


def deliveries(state: RunState) -> Counter[tuple[int, str]]:
    """Count the deliveries that a state knows of: queued, running or delayed."""
    known = [*state.running.values(), *state.delayed.values()]
    known += [invocation for lane in state.lanes.values() for invocation in lane.queue]
    return Counter((invocation.event.seq, invocation.step) for invocation in known)


def kept(state: RunState) -> dict[tuple[str, str], Counter[int]]:
    """Count the events in each buffer, by id."""
    return {
        (step, name): Counter(event.seq for events in buffer.events.values() for event in events)
        for step, lane in state.lanes.items()
        for name, buffer in lane.buffers.items()
    }
