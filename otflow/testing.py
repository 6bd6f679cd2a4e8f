"""Testing: what helps to test a workflow. Run it, call one of its steps, move its time, look at its records.

It builds on the public face alone and knows no test framework.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from otflow.context.context import Context
from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.events import Event, StartEvent
from otflow.records.record import Record
from otflow.replay.bench import DELETED, Called, call_step, run_step
from otflow.replay.stubs import HttpCall, ModelCall, answer_calls
from otflow.runtime.clock import ManualClock
from otflow.workflow import Workflow

__all__ = [
    "DELETED",
    "Called",
    "HttpCall",
    "ManualClock",
    "ModelCall",
    "WorkflowTestResult",
    "WorkflowTestRunner",
    "answer_calls",
    "call_step",
    "capture_records",
    "run_step",
]


@dataclass(frozen=True, slots=True)
class WorkflowTestResult:
    """What a run came to.

    Args:
        collected: the events of its stream, in order.
        event_types: how many events of each type are among them.
        result: its result.
        ctx: its context.
    """

    collected: list[Event]
    event_types: dict[type[Event], int]
    result: Any
    ctx: Context[Any]


class WorkflowTestRunner:
    """Runs a workflow from its start to its end.

    Args:
        workflow: the workflow.

    Example:
        >>> import asyncio
        >>> from otflow import StartEvent, StopEvent, Workflow, step
        >>> class Double(Workflow):
        ...     @step
        ...     async def double(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent(result=2 * ev.number)
        >>> ran = asyncio.run(WorkflowTestRunner(Double()).run(StartEvent(number=4)))
        >>> ran.result, ran.event_types[StopEvent]
        (8, 1)
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow

    async def run(
        self,
        start_event: StartEvent | None = None,
        ctx: Context[Any] | None = None,
        expose_internal: bool = True,
        exclude_events: Collection[type[Event]] | None = None,
    ) -> WorkflowTestResult:
        """Run the workflow and collect the events of its stream.

        Args:
            start_event: the event to begin with; default an empty one of the class that the workflow takes.
            ctx: a context to use; default a new one.
            expose_internal: whether to collect `StepStateChanged` and its like too; default True.
            exclude_events: types of events to leave out, matched exactly; default none.

        Raises:
            Exception: what `await workflow.run(...)` raises.
        """
        excluded = frozenset(exclude_events or ())
        handler = self._workflow.run(ctx=ctx, start_event=start_event)
        stream = handler.stream_events(expose_internal=expose_internal)
        collected = [event async for event in stream if type(event) not in excluded]
        result = await handler
        return WorkflowTestResult(collected, dict(Counter(map(type, collected))), result, handler.ctx)


@contextmanager
def capture_records(dispatcher: Dispatcher | None = None) -> Iterator[list[Record]]:
    """Collect the records of all runs, while the block lasts.

    Args:
        dispatcher: whose records; default those of the dispatcher that all workflows share which are not given
            another one.

    Returns:
        The list, which grows as records are emitted.

    Example:
        >>> import asyncio
        >>> from otflow import StartEvent, StopEvent, Workflow, step
        >>> class Short(Workflow):
        ...     @step
        ...     async def only(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent()
        >>> async def main() -> None:
        ...     await Short().run()
        >>> with capture_records() as records:
        ...     asyncio.run(main())
        >>> [type(record).__name__ for record in records]
        ['RunStarted', 'EventReceived', 'StepStarted', 'StepCompleted', 'EventSent', 'RunCompleted']
    """
    records: list[Record] = []
    detach = (dispatcher or default_dispatcher).attach(records.extend)
    try:
        yield records
    finally:
        detach()
