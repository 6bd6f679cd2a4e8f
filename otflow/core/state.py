"""The state of a run: lanes of invocations, buffers, waits. Mutable, and moved by `evolve` alone.

What is kept is what the future needs; nothing here grows with the length of a run. Events in use are held as the
records that brought them, so their bodies live exactly as long as someone may still ask for them.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import msgspec

from otflow.core.commands import Command, EndRun, RunStep, StartTimer
from otflow.core.plan import Plan, StepPlan
from otflow.records.body import Body
from otflow.records.record import About, EventBuffered, EventReceived, EventSent
from otflow.records.sent import Mark

__all__ = ["Buffer", "Delivered", "Ended", "Invocation", "Lane", "Question", "RunState", "Wait", "new_state", "pending"]

KEPT_UNHANDLED = 16
"""How many of the events that nobody took are remembered, to be named if the run stalls."""

Delivered: TypeAlias = EventReceived | EventSent
"""The record that brought an event."""


class Wait(msgspec.Struct):
    """One open wait of an invocation."""

    id: int
    invocation: int
    waiter: str
    occurrence: int
    type: str
    requirements: Body | None = None
    due: int = 0
    bounded: bool = False
    asked: bool = False


class Question(msgspec.Struct, omit_defaults=True):
    """A question in the stream: one that a step returned; or one of a wait, which says more.

    Attributes:
        seq: the number of the record that put it there.
        type: its type.
        body: its payload.
        invocation, waiter, occurrence: the wait; 0 and "" for one that was returned.
        answer: the type of event that is waited for.
    """

    seq: int
    type: str
    body: Body
    invocation: int = 0
    waiter: str = ""
    occurrence: int = 0
    answer: str = ""


class Invocation(msgspec.Struct):
    """One delivery of an event to a step. Its id is 0 until its first attempt starts.

    `collected` and `answers` remember what collections and waits gave, so that a further attempt gets the same; `sent`
    what this attempt had sent when its process ended, so that it is not sent again.
    """

    step: str
    event: Delivered
    id: int = 0
    attempt: int = 1
    first_at: int = 0
    due: int = 0
    recoveries: tuple[str, ...] = ()
    waits: int = 0
    buffered: set[str] | None = None
    collected: dict[str, tuple[Collectable, ...]] | None = None
    answers: dict[tuple[str, int], Delivered | None] | None = None
    sent: list[Mark] | None = None


Collectable: TypeAlias = EventReceived | EventSent | EventBuffered
"""The record under whose id an event is collected: what brought it, or what buffered it when nothing did."""


class Buffer(msgspec.Struct):
    """Events that a step put aside, per type in order of arrival; `expected` counts what it collects."""

    total: int = 0
    events: dict[str, deque[Collectable]] = msgspec.field(default_factory=dict)
    expected: tuple[tuple[str, int], ...] = ()


class Lane(msgspec.Struct):
    """One step in one run: its queue, its running count, its buffers.

    `promised` counts how often the lane stands in `RunState.startable`: one place for each queued invocation that
    a free worker waits for.
    """

    plan: StepPlan
    running: int = 0
    promised: int = 0
    queue: deque[Invocation] = msgspec.field(default_factory=deque)
    buffers: dict[str, Buffer] = msgspec.field(default_factory=dict)


class Ended(msgspec.Struct):
    """How and by which record a run ended: "completed", "failed", "cancelled" or "timed out"."""

    how: str
    seq: int


class RunState(msgspec.Struct):
    """All that a run is, between two inputs.

    `startable` names the lanes whose first queued invocation may start, in order. `failed` is the invocation of the
    last `StepFailed`, for the `RetryScheduled` that may follow; `latest` the last delivered event, for the
    `WaitEnded` that may follow. `mail` keeps events that nobody took, of types that were waited for before.
    `reopened` are waits that were open when the run was saved: their question has been asked already.
    `questions` counts questions to the outside that no event from outside has followed. `about` is what its caller
    says that the run belongs to.
    """

    plan: Plan
    run: str
    lanes: dict[str, Lane]
    seq: int = 0
    timeout: float | None = None
    stepwise: bool = False
    paused: str = ""
    ended: Ended | None = None
    startable: deque[str] = msgspec.field(default_factory=deque)
    running: dict[int, Invocation] = msgspec.field(default_factory=dict)
    delayed: dict[int, Invocation] = msgspec.field(default_factory=dict)
    failed: Invocation | None = None
    latest: Delivered | None = None
    waits: dict[int, Wait] = msgspec.field(default_factory=dict)
    waits_by_type: dict[str, dict[int, Wait]] = msgspec.field(default_factory=dict)
    waiting: int = 0
    reopened: set[tuple[int, str, int]] = msgspec.field(default_factory=set)
    mail: dict[str, deque[Delivered]] = msgspec.field(default_factory=dict)
    held: dict[int, EventSent] = msgspec.field(default_factory=dict)
    questions: int = 0
    unhandled: deque[Delivered] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT_UNHANDLED))
    writes: int = 0
    about: About | None = None


def new_state(plan: Plan, run: str) -> RunState:
    """Make the state of a run of which nothing is recorded yet."""
    return RunState(plan, run, {name: Lane(step) for name, step in plan.steps.items()})


def pending(state: RunState) -> list[Command]:
    """Say everything that the world owes the run now. For a new driver of an old run; O(what is in flight)."""
    if state.ended is not None:
        return [EndRun(state.ended.seq)]
    commands: list[Command] = [RunStep(i.id, i.attempt, i.step) for i in state.running.values()]
    commands += [StartTimer("delay", i.id, i.due) for i in state.delayed.values()]
    commands += [StartTimer("wait", w.id, w.due) for w in state.waits.values() if w.due]
    return commands
