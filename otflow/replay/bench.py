"""Bench: one step, called alone, with everything that a run would give it laid ready.

The step gets its context as ever; what it sends, writes and puts into the stream is collected, and what it waits for
or collects is given to it. No run exists, and nothing is recorded. What comes out is what a record would tell of it, so
that it can be compared with a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from otflow.context.context import Context
from otflow.context.current import CURRENT
from otflow.context.state_store import DELETED, DictState, apply_write, make_state
from otflow.errors import ContextStateError, WorkflowStepDoesNotExistError, WorkflowValidationError
from otflow.events import Event, read_event
from otflow.records.body import Body
from otflow.replay.workflows import Replayable

__all__ = ["DELETED", "Called", "call_step", "run_step"]


@dataclass(frozen=True, slots=True)
class Called:
    """What a step did when it was called; events and values as a record would give them back.

    Args:
        returned: the events that it returned.
        sent: the events that it sent by `send_event`, in order.
        targets: for each of these the step that it was for; None for all.
        streamed: what it wrote to the stream.
        written: its writes to the state: path and value; `DELETED` for what it took away.
    """

    returned: list[Event]
    sent: list[Event]
    targets: list[str | None]
    streamed: list[Event]
    written: list[tuple[str, object]]


def run_step(workflow: Replayable, step: str, event: Event, **given: Any) -> Called:
    """Call one step of a workflow, alone, in an event loop of its own.

    Args:
        workflow: the workflow.
        step: the name of the step.
        event: the event that it gets.
        **given: as for `call_step`.

    Raises:
        Exception: what the step raises, and what `call_step` does.

    Example:
        >>> from otflow import Context, StartEvent, StopEvent, Workflow, step
        >>> class Count(Workflow):
        ...     @step
        ...     async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ...         seen = await ctx.store.get("seen") + ev.number
        ...         await ctx.store.set("seen", seen)
        ...         return StopEvent(result=seen)
        >>> called = run_step(Count(), "count", StartEvent(number=2), state={"seen": 40})
        >>> called.returned, called.written
        ([StopEvent(result=42)], [('seen', 42)])
    """
    return asyncio.run(call_step(workflow, step, event, **given))


async def call_step(
    workflow: Replayable,
    step: str,
    event: Event,
    *,
    state: BaseModel | Mapping[str, object] | None = None,
    answers: Sequence[Event | None] = (),
    collected: Mapping[str, Sequence[Event]] | Sequence[Event] = (),
    attempt: int = 1,
    error: Exception | None = None,
) -> Called:
    """Call one step of a workflow, alone.

    Args:
        workflow: the workflow; its resources and services are real, unless you have put others in their place.
        step: the name of the step.
        event: the event that it gets.
        state: the state that it finds: an object of its class, or values by key; default the one a run begins with.
        answers: what its waits are answered with, in order; None for one that times out. Default none.
        collected: the events that `collect_events` gives it, in order, for each buffer or for the only one; default
            none: it is told that others are missing.
        attempt: the number of the attempt; default 1.
        error: what the attempt before it raised; default None.

    Raises:
        WorkflowStepDoesNotExistError: the workflow has no such step.
        ContextStateError: the step waits for something that no answer is left for.
        Exception: what the step raises.
    """
    call = workflow.blueprint.calls.get(step)
    if call is None:
        raise WorkflowStepDoesNotExistError(
            f"Workflow '{workflow.workflow_name}' has no step '{step}'. "
            f"Its steps are: {', '.join(workflow.blueprint.calls)}."
        )
    context: Context[Any] = Context(workflow)
    if state is not None:
        await context.store.set_state(_make_state(workflow.state_type, state))
    buffers = collected if isinstance(collected, Mapping) else {"default": collected} if collected else {}
    bench = _Bench(context, workflow.workflow_name, step, attempt, error, list(answers), buffers)
    context.attach(bench)

    async def enter() -> object:
        CURRENT.set(bench)
        return await call(event, context)

    returned = await asyncio.create_task(enter())
    events = [] if returned is None else list(returned) if isinstance(returned, list | tuple) else [returned]
    return Called([tell(each) for each in events], bench.sent, bench.targets, bench.streamed, bench.written)


def _make_state(kind: type[BaseModel], state: BaseModel | Mapping[str, object]) -> BaseModel:
    if isinstance(state, BaseModel):
        return state
    made = make_state(kind)
    for path, value in state.items():
        if isinstance(made, DictState):
            made[path] = value
        else:
            made = apply_write(made, path, value)
    return made


def tell(event: object) -> Event:
    """Return an event as a record would give it back.

    Raises:
        WorkflowValidationError: it is no event.
    """
    if not isinstance(event, Event):
        raise WorkflowValidationError(f"The step gave {event!r:.100}, which is no event.")
    body = Body(event)
    if body.opaque:
        return event
    try:
        return read_event(type(event), body.whole)
    except ValidationError:  # it says less in JSON than it takes
        return event


@dataclass(eq=False)
class _Bench:
    """Stands where the run and its attempt would stand, for the context and for code that a step calls."""

    context: Context[Any]
    workflow: str
    step: str
    number: int
    error: Exception | None
    answers: list[Event | None]
    buffers: Mapping[str, Sequence[Event]]
    sent: list[Event] = field(default_factory=list)
    targets: list[str | None] = field(default_factory=list)
    streamed: list[Event] = field(default_factory=list)
    written: list[tuple[str, object]] = field(default_factory=list)
    run_id: str = "bench"
    active: bool = True

    @property
    def run(self) -> _Bench:
        return self

    @property
    def key(self) -> str:
        return f"{self.run_id}:1"

    @property
    def failures(self) -> tuple[float, Exception | None, float | None]:
        return 0.0, self.error, None if self.error is None else 0.0

    def send(self, event: Event, step: str | None) -> None:
        self.sent.append(tell(event))
        self.targets.append(step)

    def write_stream(self, event: Event) -> None:
        self.streamed.append(tell(event))

    def write_state(self, path: str, value: object) -> None:
        self.written.append((path, DELETED if value is DELETED else msgspec.json.decode(Body(value).whole)))

    def collect(self, event: Event, expected: Sequence[type[Event]], buffer: str) -> list[Event] | None:
        return list(self.buffers[buffer]) if buffer in self.buffers and type(event) in expected else None

    async def wait(
        self,
        kind: type[Event],
        question: Event | None,
        name: str | None,
        requirements: Mapping[str, object],
        timeout: float | None,  # the protocol's; nothing is waited for here
    ) -> Event:
        if question is not None:
            self.write_stream(question)
        wanted = Body(dict(requirements))
        for place, answer in enumerate(self.answers):
            if answer is None or (type(answer) is kind and Body(answer).satisfies(wanted)):
                del self.answers[place]
                if answer is None:
                    raise TimeoutError(f"Step '{self.step}' waited for {kind.__name__}, and nobody sent one.")
                return answer
        raise ContextStateError(
            f"Step '{self.step}' waits for {kind.__name__}, and no answer of that kind is left. Give one: "
            f"answers=[..., {kind.__name__}(...)]."
        )

    def result(self) -> object:
        return None

    def save(self) -> tuple[None, None, tuple[()]]:
        return None, None, ()

    def running_steps(self) -> list[str]:
        return [self.step]
