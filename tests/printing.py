"""How a record looks in a scenario: one short line, with names in the place of numbers.

Names are given in the order of the records, so that two runs that did the same print the same.
"""

from __future__ import annotations

from collections import Counter
from typing import assert_never

import msgspec

from otflow.core.snapshot import read_leftovers
from otflow.records.body import Body
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
    Record,
    RetryQueued,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)

NS = 1_000_000_000
DEFAULT_WAIT = 2000.0


class Names:
    """The names of events, invocations and waits of the run that goes on: `B2`, `a#1`, `w`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.events: dict[int, str] = {}
        self.invocations: dict[int, str] = {}
        self.waits: dict[int, str] = {}

    def learn(self, record: Record) -> None:
        """Name what a record brings."""
        match record:
            case RunStarted():
                self.__init__()
                for event in carried_events(record.carried):
                    self.name_event(event.seq, event.type)
            case EventReceived() | EventSent():
                self.name_event(record.seq, record.type)
            case EventBuffered() if record.event == record.seq:
                self.name_event(record.seq, record.type)
            case StepStarted() if record.invocation not in self.invocations:
                self.counts[record.step + "#"] += 1
                self.invocations[record.invocation] = f"{record.step}#{self.counts[record.step + '#']}"
            case WaitStarted():
                again = f" (again, {record.occurrence})" if record.occurrence else ""
                self.waits[record.seq] = record.waiter + again
            case _:
                pass

    def name_event(self, id: int, kind: str) -> None:
        kind = short(kind)
        self.counts[kind] += 1
        self.events[id] = f"{kind}{self.counts[kind]}"

    def find(self, table: dict[int, str], name: str) -> int:
        """Find the number behind a name."""
        found = [id for id, each in table.items() if each == name]
        if not found:
            raise ValueError(f"nothing has the name {name} yet; there are {', '.join(table.values())}")
        return found[-1]


def carried_events(carried: Body | None) -> list[EventSent | EventReceived | EventBuffered]:
    """Give the events that a run inherits."""
    return [] if carried is None else read_leftovers(carried).events


def short(kind: str) -> str:
    """Give the class name in a type key, or in the qualified name of an exception."""
    return kind.rpartition(":")[2].rpartition(".")[2]


def seconds(duration: float) -> str:
    """Write a duration."""
    return f"{duration:g}s"


def show_fields(body: Body | None) -> str:
    """Write the fields of an event that are set; those of a failure are not worth a line."""
    content = msgspec.json.decode(body.json) if body is not None else {}
    fields = {key: value for key, value in content.items() if value is not None and "exception" not in content}
    if not fields:
        return ""
    return "(" + ", ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in fields.items()) + ")"


def show(record: Record, names: Names) -> str:
    """Write one record as one line."""
    words = _describe(record, names)
    return " ".join([type(record).__name__, *filter(None, words)])


def _describe(record: Record, names: Names) -> list[str]:
    invocations, events = names.invocations, names.events
    match record:
        case RunStarted():
            carried = [names.events[event.seq] for event in carried_events(record.carried)]
            timeout = f"timeout {seconds(record.timeout)}" if record.timeout else ""
            return [timeout, "stepwise" * record.stepwise, "carries " * bool(carried) + ", ".join(carried)]
        case RunPaused():
            return [record.reason]
        case RunResumed():
            return ["from a snapshot" * (record.snapshot is not None)]
        case RunCompleted():
            return ["by", events[record.event]]
        case RunFailed():
            message = f": {record.error.message}" if not record.step else ""
            who = f"{invocations[record.invocation]}/{record.attempts}" if record.step else ""
            return [who, short(record.error.type) + message]
        case RunCancelled():
            return [record.reason]
        case RunTimedOut():
            return [f"after {seconds(record.timeout)}", "active " * bool(record.active) + ", ".join(record.active)]
        case EventReceived():
            return [events[record.seq] + show_fields(record.body), f"to {record.target}" * bool(record.target)]
        case EventSent():
            how = "returns" if record.returned else "sends"
            held, target = "held" * record.held, f"to {record.target}" * bool(record.target)
            recoveries = "recovered by " * bool(record.recoveries) + " ".join(record.recoveries)
            event = events[record.seq] + show_fields(record.body)
            return [invocations[record.invocation], how, event, target, held, recoveries]
        case EventReleased():
            return [events[record.event]]
        case EventBuffered():
            expected = ", ".join(f"{count} {short(kind)}" for kind, count in record.expected)
            what = events[record.event] + show_fields(record.body)
            return [invocations[record.invocation], what, _in(record.buffer), f"of {expected}" * bool(expected)]
        case EventsCollected():
            taken = ", ".join(events[event] for event in record.events)
            return [invocations[record.invocation], taken, _in(record.buffer)]
        case StepStarted():
            return [f"{invocations[record.invocation]}/{record.attempt}", "with", events[record.event]]
        case StepCompleted():
            return [f"{invocations[record.invocation]}/{record.attempt}"]
        case StepFailed():
            return [f"{invocations[record.invocation]}/{record.attempt}", short(record.error.type)]
        case RetryScheduled():
            return [f"{invocations[record.invocation]}/{record.attempt}", "in", seconds(record.delay)]
        case RetryQueued():
            return [f"{invocations[record.invocation]}/{record.attempt}"]
        case ContextWritten():
            value = "deleted" if record.deleted else f"= {record.value.json.decode()}"
            return [invocations.get(record.invocation, "outside"), record.path, value]
        case StreamWritten():
            who = invocations.get(record.invocation, "outside")
            return [who, short(record.type) + show_fields(record.body)]
        case WaitStarted():
            due = (record.due - record.at) / NS if record.due else 0.0
            within = f"within {seconds(due)}" if record.bounded else ""
            wanted = short(record.type) + show_fields(record.requirements)
            who = invocations[record.invocation]
            return [who, names.waits[record.seq], "for", wanted, within, "asking" * record.asked]
        case WaitEnded():
            answer = f"by {events[record.event]}" if record.event else "unanswered"
            return [invocations[record.invocation], names.waits[record.wait], answer]
        case CheckpointTaken():
            return [invocations.get(record.invocation, "outside"), record.name]
        case _:
            assert_never(record)


def _in(buffer: str) -> str:
    return "" if buffer == "default" else f"in {buffer}"
