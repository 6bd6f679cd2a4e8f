"""Launching: everything that has to be in place before a run begins, and the slots that runs wait for."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from otflow.context.context import Context
from otflow.context.current import CURRENT
from otflow.core.inputs import Input, Restore, Start
from otflow.core.snapshot import Leftovers, carry_out, check_saved, pack, read_leftovers, read_saved
from otflow.dispatcher import Dispatcher
from otflow.errors import ContextSerdeError, ContextStateError, WorkflowRuntimeError, WorkflowValidationError
from otflow.events import Event, StartEvent
from otflow.handler import WorkflowHandler
from otflow.records.body import Body
from otflow.records.kinship import Attempted, name_child
from otflow.runtime.attempt import Attempt, count_forks
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.checkpoints import CheckpointCallback, take_checkpoints
from otflow.runtime.clock import Clock, SystemClock
from otflow.runtime.local import LocalRun
from otflow.runtime.stepwise import Stepper
from otflow.runtime.telling import tell_about, tell_leftovers, tell_snapshot
from otflow.runtime.watch import narrate
from otflow.tagging import find_about

__all__ = ["Inherited", "Launch", "Slots", "find_attempted", "inherit", "is_copy", "prepare"]


class Launch(NamedTuple):
    """How a run is to begin.

    Args:
        blueprint: the workflow.
        dispatcher: where its records go.
        clock: its time; None for that of the system.
        context: the context that its steps get.
        run_id: its id; None for that of the saved run that it goes on with, or else a new one.
        timeout: seconds until it times out; None for no limit.
        stepwise: whether its steps wait to be released.
        verbose: whether its steps print lines.
        checkpoint_callback: awaited after each step.
    """

    blueprint: Blueprint
    dispatcher: Dispatcher
    clock: Clock | None
    context: Context[Any]
    run_id: str | None
    timeout: float | None
    stepwise: bool
    verbose: bool
    checkpoint_callback: CheckpointCallback | None


def _accompany(local: LocalRun, launch: Launch) -> None:
    """Have a run print what it does, and its checkpoints taken, if that is wanted."""
    if launch.verbose:
        narrate(local.driver)
    if launch.checkpoint_callback is not None:
        take_checkpoints(local.crew, launch.context, launch.checkpoint_callback)


def prepare(
    launch: Launch, make_start: Callable[[], StartEvent], on_done: Callable[[WorkflowHandler], None]
) -> tuple[WorkflowHandler, Callable[[], None]]:
    """Make a run ready: return its handler, and the function that begins it.

    Args:
        launch: how it is to begin.
        make_start: makes the start event; not called when the context brings a run that goes on.
        on_done: called when the run has ended.

    Raises:
        WorkflowValidationError: the context is none.
        ContextStateError: the context is in use.
        ContextSerdeError: the context brings a run that this workflow cannot go on with.
        WorkflowRuntimeError: there is no running event loop.
    """
    context, blueprint = launch.context, launch.blueprint
    _require_free(context, blueprint.graph.name)
    _require_loop(blueprint.graph.name)
    clock = launch.clock or SystemClock()
    snapshot, carried, unread = inherit(launch)
    start = make_start() if snapshot is None else None
    run_id = launch.run_id or (read_saved(snapshot).run if snapshot is not None else _name_run())
    handler = WorkflowHandler(ctx=context, run_id=run_id)

    def settle(result: object, error: Exception | None) -> None:
        handler.settle(result, error)
        on_done(handler)

    about = tell_about(launch.dispatcher.redact, find_about())
    local = LocalRun(blueprint, launch.dispatcher, clock, run_id, context, settle)
    local.about = about
    context.attach(local)
    _accompany(local, launch)
    handler.attach(local, Stepper(local) if launch.stepwise else None)
    for event in unread:
        local.stream.put(event)

    def ahead() -> Input:
        if start is not None:
            key, body = blueprint.key(type(start)), Body(start, None, launch.dispatcher.redact)
            return Start(clock.now(), key, body, launch.timeout, launch.stepwise, carried=carried, about=about)
        return Restore(clock.now(), snapshot or Body())

    def begin() -> None:
        if start is not None:
            local.start(start, timeout=launch.timeout, stepwise=launch.stepwise, carried=carried)
        elif snapshot is not None:
            local.restore(snapshot, launch.timeout)

    local.ahead = ahead
    return handler, begin


class Inherited(NamedTuple):
    """What a context brings along: a run to go on with, what the last one left, what nobody has read."""

    snapshot: Body | None
    carried: Body | None
    unread: list[Event]


def inherit(launch: Launch) -> Inherited:
    """Find out what the context of a run brings along."""
    saved = launch.context.saved
    if saved is None:
        return Inherited(None, _carry(launch, None), [])
    leftovers = Body(json=msgspec.json.encode(saved.leftovers)) if saved.leftovers is not None else None
    return Inherited(
        _check_snapshot(launch, saved.run) if saved.run is not None else None,
        _carry(launch, leftovers),
        [launch.blueprint.revive(item.type, Body(json=msgspec.json.encode(item.body))) for item in saved.stream],
    )


def _name_run() -> str:
    """Name a new run: by chance, or after the attempt that begins it.

    A run that goes on from saved data may do so several times; it begins others each time. Those that it has in a
    journal are another matter, for who resumes it.
    """
    attempt = CURRENT.get()
    if isinstance(attempt, Attempt) and isinstance(attempt.run, LocalRun) and not attempt.run.restored:
        attempted = find_attempted(attempt)
        if attempted is not None:
            return name_child(attempted, attempt.number_child())
    return uuid.uuid4().hex


def find_attempted(attempt: Attempt) -> Attempted | None:
    """Say which attempt this is, in a way that is the same when it has to run again in another process.

    Returns:
        None if that tells nothing: its step has ended, and cannot run again, or this is a copy, as others are.
    """
    started, run = attempt.started, attempt.run
    if not isinstance(run, LocalRun) or is_copy(run):
        return None
    invocation = run.driver.state.running.get(started.invocation)
    if invocation is None:
        return None
    return Attempted(started.run, started.invocation, started.attempt, invocation.first_at)


def is_copy(run: LocalRun) -> bool:
    """Tell whether the run is one of the process that this one was forked from, and goes on there."""
    return run.forks != count_forks()


def _require_free(context: Context[Any], workflow: str) -> None:
    if not isinstance(context, Context):
        raise WorkflowValidationError(
            f"run() of workflow '{workflow}' takes a Context as ctx, not {type(context).__name__}: {context!r:.100}. "
            "Give the fields of its start event by name: run(field=...)."
        )
    if context.run is not None and context.run.active:
        raise ContextStateError(
            f"The context is in use by run {context.run.run_id} of workflow '{workflow}', which goes on. Await that "
            "run first, or give the new one a context of its own."
        )


def _require_loop(workflow: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise WorkflowRuntimeError(
            f"Workflow '{workflow}' can run only in an event loop: call run() inside an async function, for example "
            "asyncio.run(main())."
        ) from error


def _check_snapshot(launch: Launch, data: dict[str, Any]) -> Body:
    """Refuse a saved run that this workflow cannot go on with. Who goes on with it says whether stepwise."""
    state = launch.context.state_body(launch.dispatcher.redact)
    if state is not None:  # so that records tell what the run begins with, also when it is one of its own
        state.fix()
        data = {**data, "state": msgspec.Raw(state.whole)}
    json = msgspec.json.encode({**data, "stepwise": launch.stepwise})
    snapshot = tell_snapshot(launch.blueprint, launch.dispatcher.redact, json, state)
    saved, plan = read_saved(snapshot), launch.blueprint.plan
    check_saved(saved, plan)
    kinds = {event.seq: event.type for event in saved.events}
    misfits = {
        f"step '{i.step}' no longer accepts {kinds[i.event]}"
        for i in (*saved.queued, *saved.delayed)
        if (route := plan.routes.get(kinds[i.event])) is not None and i.step not in route.steps
    }
    if misfits:
        raise ContextSerdeError(
            f"The saved run {saved.run} of workflow '{saved.workflow}' cannot go on with workflow '{plan.workflow}': "
            f"{'; '.join(sorted(misfits))}. Restore it with the workflow that it was saved from."
        )
    return snapshot


def _carry(launch: Launch, saved: Body | None) -> Body | None:
    """Collect what the run inherits: the state, and events that an earlier run left in its buffers."""
    context, redact = launch.context, launch.dispatcher.redact
    state = context.state_body(redact)
    if isinstance(context.run, LocalRun):
        leftovers = carry_out(context.run.driver.state)
    else:
        leftovers = read_leftovers(saved) if saved is not None else Leftovers()
    if state is None and not leftovers.buffers:
        return None
    leftovers.state = state
    tell_leftovers(launch.blueprint, redact, leftovers)
    return pack(leftovers)


class Slots:
    """Lets a limited number of runs go on at once; the others begin in the order of their calls.

    Args:
        limit: how many; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._lock = Lock()  # runs of one workflow may go on in the loops of several threads
        self._taken: set[WorkflowHandler] = set()
        self._waiting: deque[tuple[WorkflowHandler, Callable[[], None]]] = deque()

    def enter(self, handler: WorkflowHandler, begin: Callable[[], None]) -> None:
        """Begin a run, now or when a slot is free."""
        if self._limit is not None:
            with self._lock:
                if len(self._taken) >= self._limit:  # a loop that was closed took its runs along
                    self._taken = {other for other in self._taken if not other.get_loop().is_closed()}
                if len(self._taken) >= self._limit:
                    # its parent is what is current here, not what is when a slot is free
                    self._waiting.append((handler, partial(copy_context().run, begin)))
                    return
                self._taken.add(handler)
        begin()

    def leave(self, handler: WorkflowHandler) -> None:
        """Give the slot of a run to the one that has waited longest."""
        if self._limit is None:
            return
        with self._lock:
            if handler not in self._taken:
                return
            self._taken.discard(handler)
            while self._waiting and (self._waiting[0][0].done() or self._waiting[0][0].get_loop().is_closed()):
                self._waiting.popleft()  # given up while it waited
            if not self._waiting:
                return
            following, begin = self._waiting.popleft()
            self._taken.add(following)
        loop = following.get_loop()
        # not at once: a run that ends while it begins would let the next one begin inside of it, and so on
        loop.call_soon_threadsafe(lambda: following.done() or begin())
