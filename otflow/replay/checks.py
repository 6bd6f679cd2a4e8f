"""What is checked of single records: their event classes, their payloads, who took them, and what a step may return."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pydantic import ValidationError

from otflow.core.state import RunState
from otflow.events import read_event
from otflow.records.losses import find_losses
from otflow.records.record import (
    EventBuffered,
    EventReceived,
    EventsCollected,
    EventSent,
    Record,
    RunCompleted,
    RunFailed,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
)
from otflow.replay.explaining import name_gone, name_type
from otflow.replay.policies import BROKEN_RULE, judge_retry
from otflow.replay.verdict import Divergence
from otflow.runtime.blueprint import Blueprint
from otflow.signature import type_key

__all__ = ["Checks"]

_Event = EventReceived | EventSent | EventBuffered | StreamWritten


class Checks:
    """The checks of the records of one stretch.

    Args:
        records: the records.
        blueprint: the workflow of today.
        notes: takes sentences about what could not be judged.
        changed: whether the graph of steps and events may have changed since.
    """

    def __init__(self, records: Sequence[Record], blueprint: Blueprint, notes: list[str], *, changed: bool) -> None:
        self._blueprint = blueprint
        self._notes = notes
        self._changed = changed
        self._takers: defaultdict[int, list[str]] = defaultdict(list)
        self._used: set[int] = set()
        self._steps: dict[int, str] = {}
        for key in {record.type for record in records if isinstance(record, _Event)}:
            blueprint.find(key)  # which adds its route
        for record in records:
            match record:
                case StepStarted(step=step, event=event):
                    self._takers[event].append(step)
                    self._steps[record.invocation] = step
                    self._used.add(event)
                case WaitEnded(event=event) | RunCompleted(event=event):
                    self._used.add(event)
                case EventsCollected(events=events):
                    self._used.update(events)
                case _:
                    pass

    def check(self, state: RunState, record: Record) -> Divergence | None:
        """Check one record, before the state is moved by it."""
        match record:
            case EventReceived() | EventSent():
                return self._check_class(record) or self._check_takers(state, record) or self._check_return(record)
            case StreamWritten():
                return self._check_class(record)
            case EventBuffered() if record.body is not None:
                return self._check_class(record)
            case _:
                return None

    def check_retry(
        self, state: RunState, failed: StepFailed, following: Record | None, first_at: int
    ) -> Divergence | None:
        """Compare what followed a failure with what today's retry policy says."""
        invocation = state.running.get(failed.invocation)
        if invocation is None:
            return None
        text = judge_retry(self._blueprint, invocation, failed, following, first_at)
        if text:
            return Divergence(failed.seq, "retry", text)
        plan = state.plan.steps[invocation.step]
        catches = plan.catcher and invocation.recoveries.count(plan.catcher) < plan.max_recoveries
        if self._changed and catches and isinstance(following, RunFailed) and failed.error.type != BROKEN_RULE:
            text = (
                f"The failure of step '{plan.name}' ended the run; today the error handler '{plan.catcher}' takes it."
            )
            return Divergence(failed.seq, "step", text)
        return None

    def _check_class(self, record: _Event) -> Divergence | None:
        key = record.type
        kind = self._blueprint.find(key)
        if kind is None:
            if record.seq not in self._used or "<locals>" in key:
                self._notes.append(f"The event class {key} cannot be found, and no step that took part needs it.")
                return None
            hint = " The run was recorded in a script: replay it there." if key.startswith("__main__:") else ""
            return Divergence(record.seq, "event", f"The event class {key} is gone.{hint}")
        lost = next((text for _, text in find_losses(record)), "")
        if lost or record.body is None:
            self._notes.append(f"Not judged: {lost}")
            return None
        try:
            read_event(kind, record.body.whole)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, it['loc'])) or 'it'}: {it['msg']}" for it in error.errors()[:3])
            text = f"The payload of event {record.seq} is no valid {name_type(key)} any more: {faults}."
            return Divergence(record.seq, "payload", text)
        except Exception as error:  # validators of users may raise anything
            text = f"The payload of event {record.seq} is no valid {name_type(key)} any more: {error!r:.200}."
            return Divergence(record.seq, "payload", text)
        return None

    def _check_takers(self, state: RunState, record: EventReceived | EventSent) -> Divergence | None:
        plan, key = state.plan, record.type
        route = plan.routes.get(key)
        accepts = route.steps if route is not None else ()
        targets = (record.target,) if record.target else ()
        for step in (*targets, *self._takers[record.seq]):
            if step not in plan.steps:
                return Divergence(record.seq, "step", name_gone(plan, step, key, set(self._steps.values())))
            if step not in accepts:
                text = f"Step '{step}' no longer accepts {name_type(key)}, which it took as event {record.seq}."
                return Divergence(record.seq, "event", text)
        return None

    def _check_return(self, record: EventReceived | EventSent) -> Divergence | None:
        if not self._changed or not isinstance(record, EventSent) or not record.returned:
            return None
        step = self._steps.get(record.invocation, "")
        config = self._blueprint.graph.steps.get(step)
        kind = self._blueprint.find(record.type)
        if config is None or kind is None or any(issubclass(kind, each) for each in config.returns):
            return None
        declared = ", ".join(name_type(type_key(each)) for each in config.returns) or "no event"
        text = f"Step '{step}' returned {name_type(record.type)}; today it declares to return {declared}."
        return Divergence(record.seq, "returns", text)
