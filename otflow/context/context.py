"""Context: what a step may say to its run, and what a caller keeps between runs.

It holds the written state and passes everything else on: to the run that uses it, through a narrow protocol, or to an
idle desk while none does. It never knows workflows, tasks or records.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel

from otflow.context.current import CURRENT, AttemptView, RunLink
from otflow.context.idle import IdleDesk
from otflow.context.saved import SavedContext, pack_context, repack_context, unpack_context
from otflow.context.serializers import BaseSerializer, JsonSerializer
from otflow.context.state_store import InMemoryStateStore, make_state
from otflow.errors import ContextStateError, WorkflowRuntimeError, WorkflowValidationError
from otflow.events import Event
from otflow.records.body import Body, Redact
from otflow.retry_policy import RetryInfo

__all__ = ["Context", "ContextOwner"]

DEFAULT_WAIT = 2000.0
"""Seconds that `wait_for_event` waits when it is not told otherwise."""

State = TypeVar("State", bound=BaseModel)
E2 = TypeVar("E2", bound=Event)
_MISSING = object()


class ContextOwner(Protocol):
    """What a context needs to know of its workflow."""

    @property
    def workflow_name(self) -> str:
        """The name of the workflow."""

    @property
    def state_type(self) -> type:
        """The class of the state: that of `Context[State]` in a signature, or `DictState`."""

    @property
    def event_types(self) -> Iterable[type[Event]]:
        """The event classes that its signatures name."""


class Context(Generic[State]):
    """The face of a run for its steps, and the memory that runs share.

    Steps receive it by a parameter annotated `Context` or `Context[State]`. It may be made before a run and passed
    to it, and to the next one: the state stays.

    Args:
        workflow: the workflow whose runs use the context.

    Example:
        >>> from otflow import Context, StartEvent, StopEvent, Workflow, step
        >>> class Count(Workflow):
        ...     @step
        ...     async def one(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ...         await ctx.store.set("seen", await ctx.store.get("seen", default=0) + 1)
        ...         return StopEvent(result=await ctx.store.get("seen"))
        >>> async def main() -> int:
        ...     workflow = Count()
        ...     ctx = Context(workflow)
        ...     await workflow.run(ctx=ctx)
        ...     return await workflow.run(ctx=ctx)
        >>> import asyncio
        >>> asyncio.run(main())
        2
    """

    __otflow_context__ = True

    def __init__(self, workflow: ContextOwner) -> None:
        self._owner = workflow
        self._run: RunLink | None = None
        self._store: InMemoryStateStore[Any] | None = None
        self._idle = IdleDesk()
        self._saved: SavedContext | None = None
        self.nursery: object = None  # what a run that was resumed keeps of the runs that its steps had begun

    # ---------------------------------------------------------------- state

    @property
    def store(self) -> InMemoryStateStore[State]:
        """The state: `get`, `set`, `edit_state`, `get_state`, `set_state`, `clear`."""
        if self._store is None:
            written = self._run.write_state if self._run is not None else None
            self._store = InMemoryStateStore(make_state(self._owner.state_type), written)
        return self._store

    async def get(self, key: str, default: Any = _MISSING) -> Any:
        """Return the value under a dotted path of the state.

        Args:
            key: the path.
            default: what to return when there is none.

        Raises:
            ValueError: there is none, and no default was given.
        """
        return await (self.store.get(key) if default is _MISSING else self.store.get(key, default))

    async def set(self, key: str, value: Any, make_private: bool = False) -> None:
        """Set the value under a dotted path of the state; `make_private` is accepted and does nothing."""
        del make_private
        await self.store.set(key, value)

    async def clear(self) -> None:
        """Make the state anew."""
        await self.store.clear()

    # ---------------------------------------------------------------- events

    def send_event(self, message: Event, step: str | None = None) -> None:
        """Send an event to every step that accepts its type, or to one.

        Works from steps, from threads of plain steps, and from outside while the run goes on.

        Args:
            message: the event.
            step: the only step that is to get it; default None: all.

        Raises:
            WorkflowRuntimeError: the step does not exist, or does not accept the event.
            ContextStateError: no run uses the context, and nothing waits for the event.
        """
        if self._run is not None and self._run.active:
            self._run.send(message, step)
        elif not self._idle.send(message):
            raise ContextStateError(
                f"Nobody can take this {type(message).__name__}: no run of workflow '{self._owner.workflow_name}' uses "
                "the context now. Call workflow.run(ctx=...) first, and send while the run goes on."
            )

    def collect_events(
        self, ev: Event, expected: Sequence[type[Event]], buffer_id: str | None = None
    ) -> list[Event] | None:
        """Put an event aside until one of each expected type is there.

        Buffers belong to the step that calls; per type, events leave in the order in which they came. What is too
        much stays for the next collection.

        Args:
            ev: the event, usually the one that the step was called with.
            expected: the types to collect; a type may stand there several times.
            buffer_id: the name of the buffer; default one per step.

        Returns:
            The events in the order of `expected`, or None while one is missing.

        Raises:
            ContextStateError: the caller is outside, and a run uses the context.
        """
        if not expected:
            return []
        buffer = buffer_id or "default"
        attempt = self._attempt()
        if attempt is None or self._run is None:
            self._require_idle("collect_events()")
            return self._idle.collect(ev, expected, buffer)
        return self._run.collect(ev, expected, buffer)

    async def wait_for_event(
        self,
        event_type: type[E2],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = DEFAULT_WAIT,  # the signature of the followed API
    ) -> E2:
        """Stand still until an event of a type comes, from a step or from outside.

        The step's body goes on where it stands; it runs again from its top only when the run was restored from
        saved data, and then gets the answers it already had.

        Args:
            event_type: the type, matched exactly.
            waiter_event: a question, written to the stream once when the wait begins.
            waiter_id: the name of the wait; default made from type and requirements.
            requirements: attribute values that the event must have.
            timeout: seconds; default 2000; None waits for ever.

        Raises:
            TimeoutError: nobody sent such an event in time.
            ContextStateError: the caller is outside, and a run uses the context.
            WorkflowValidationError: an argument is wrong.
        """
        _check_wait(event_type, timeout)
        attempt = self._attempt()
        wanted = requirements or {}
        if attempt is None or self._run is None:
            self._require_idle("wait_for_event()")
            return cast("E2", await self._idle.wait(event_type, wanted, timeout))
        seconds = -1.0 if timeout is DEFAULT_WAIT else None if timeout == math.inf else timeout
        return cast("E2", await self._run.wait(event_type, waiter_event, waiter_id, wanted, seconds))

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Write an event to the stream that `handler.stream_events()` reads; None is ignored."""
        if ev is None:
            return
        if self._run is None:
            raise ContextStateError(
                f"No run of workflow '{self._owner.workflow_name}' uses the context, so there is no stream to write "
                "to. Call workflow.run(ctx=...) first."
            )
        self._run.write_stream(ev)

    # ---------------------------------------------------------------- the run and the attempt

    @property
    def is_running(self) -> bool:
        """Whether a run uses the context now, or saved data waits to be run on."""
        if self._run is not None:
            return self._run.active
        return self._saved is not None and self._saved.run is not None

    def running_steps(self) -> Awaitable[list[str]]:
        """Name the steps that run now."""

        async def name() -> list[str]:
            return self._run.running_steps() if self._run is not None else []

        return name()

    def get_result(self) -> Any:
        """Return the result of the run that used the context; None before it has one."""
        return self._run.result() if self._run is not None else None

    @property
    def attempt(self) -> int:
        """The number of the attempt that calls; the first is 1."""
        return self._inside("attempt").number

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for all attempts of the invocation that calls, and for no other invocation.

        Step bodies run at least once. Hand this to the outside world where an effect may happen only once.
        """
        return self._inside("idempotency_key").key

    def retry_info(self) -> RetryInfo:
        """Tell the calling step about its earlier attempts."""
        attempt = self._inside("retry_info()")
        elapsed, error, failed_at = attempt.failures
        when = datetime.fromtimestamp(failed_at, UTC) if failed_at is not None else None
        return RetryInfo(
            retry_number=attempt.number - 1, elapsed_seconds=elapsed, last_exception=error, last_failed_at=when
        )

    @classmethod
    def get_step_context(cls) -> Context[Any]:
        """Return the context of the step that calls, wherever in its call tree.

        Raises:
            WorkflowRuntimeError: the caller is not inside a step.
        """
        attempt = CURRENT.get()
        if attempt is None:
            raise WorkflowRuntimeError("get_step_context() works only in code that a step calls.")
        return cast("Context[Any]", attempt.run.context)

    def _attempt(self) -> AttemptView | None:
        attempt = CURRENT.get()
        return attempt if attempt is not None and attempt.run is self._run else None

    def _require_idle(self, what: str) -> None:
        if self._run is not None and self._run.active:
            raise ContextStateError(
                f"{what} of a context that run {self._run.run_id} uses works only inside a step of that run. From "
                "outside, read handler.stream_events() and answer with handler.ctx.send_event(...)."
            )

    def _inside(self, what: str) -> AttemptView:
        attempt = self._attempt()
        if attempt is None:
            raise ContextStateError(f"{what} can be asked only inside a step of the run that uses this context.")
        return attempt

    # ---------------------------------------------------------------- between runs

    @property
    def run(self) -> RunLink | None:
        """The run that uses the context now, or used it last."""
        return self._run

    @property
    def saved(self) -> SavedContext | None:
        """The saved data that the context was made from, until a run takes it up."""
        return self._saved

    def attach(self, run: RunLink) -> None:
        """Connect the context to a run, which takes up the saved data if there is any."""
        self._run = run
        self._saved = None
        if self._store is not None:
            self._store.written = run.write_state

    def state_body(self, redact: Redact | None = None) -> Body | None:
        """Return the state as a payload, or None when nobody ever asked for it."""
        return Body(self._store.current, None, redact) if self._store is not None else None

    # ---------------------------------------------------------------- saving

    def to_dict(self, serializer: BaseSerializer | None = None) -> dict[str, Any]:
        """Save the context, in the middle of a run too, as data that JSON can hold.

        Work in progress is saved as work to do: after `from_dict` and `run(ctx=...)` such steps run again.

        Args:
            serializer: how values are written; default `JsonSerializer()`.

        Raises:
            ValueError: a value cannot be serialised; the message names it.
        """
        state = self.store.to_dict(serializer or JsonSerializer())
        if self._run is not None:
            run, leftovers, stream = self._run.save()
            return pack_context(state, run=run, leftovers=leftovers, stream=stream)
        if self._saved is not None:
            return repack_context(state, self._saved)
        return pack_context(state, run=None, leftovers=None, stream=())

    @classmethod
    def from_dict(
        cls, workflow: ContextOwner, data: dict[str, Any], serializer: BaseSerializer | None = None
    ) -> Context[State]:
        """Make a context from saved data.

        Args:
            workflow: a workflow with the steps of the one that was saved.
            data: what `to_dict` gave.
            serializer: the one that `to_dict` was given.

        Raises:
            ContextSerdeError: the data is of another shape or version.
        """
        context = cls(workflow)
        context.load(data, serializer)
        return context

    def load(self, data: dict[str, Any], serializer: BaseSerializer | None = None) -> None:
        """Take saved data up in place of what the context holds; for a context that no run uses.

        Args:
            data: what `to_dict` gave.
            serializer: the one that `to_dict` was given.

        Raises:
            ContextSerdeError: the data is of another shape or version.
        """
        owner, saved = self._owner, unpack_context(data)
        used = (serializer or JsonSerializer()).with_types(owner.state_type, *owner.event_types)
        self._saved, self._store = saved, InMemoryStateStore.from_dict(saved.state, used)


def _check_wait(event_type: object, timeout: float | None) -> None:
    if not (isinstance(event_type, type) and issubclass(event_type, Event)):
        raise WorkflowValidationError(
            f"wait_for_event() waits for a class of events, not for {event_type!r:.100}. "
            "Write for example `await ctx.wait_for_event(HumanResponseEvent)`."
        )
    if timeout is not None and not timeout >= 0:
        raise WorkflowValidationError(
            f"wait_for_event({event_type.__name__}) was given timeout={timeout!r}. It has to be a number of seconds of "
            "at least 0, or None to wait for ever."
        )
