"""A run in this process, as its context and its handler see it.

It turns calls into inputs, and what comes of them into answers. Calls may come from steps, from outside, and from the
threads of plain steps; the latter are handed over to the event loop, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from otflow.context.context import Context
from otflow.context.current import CURRENT
from otflow.context.state_store import DELETED
from otflow.core.decide import advance
from otflow.core.express import begin, send, write_state, write_stream
from otflow.core.inputs import Input, Receive, Restore, Send, Start, Write, WriteStream
from otflow.core.snapshot import carry_out, pack, save
from otflow.core.state import RunState, new_state
from otflow.dispatcher import Dispatcher
from otflow.errors import (
    ContextStateError,
    WorkflowRuntimeError,
)
from otflow.events import (
    Event,
    StartEvent,
)
from otflow.records.body import Body
from otflow.records.record import About, Ending, StepStarted
from otflow.records.sent import mark
from otflow.runtime.attempt import Attempt, count_forks
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.clock import Clock
from otflow.runtime.crew import Crew
from otflow.runtime.driver import Driver
from otflow.runtime.gathering import collect, wait
from otflow.runtime.origin import find_place, name_sender
from otflow.runtime.outcome import conclude
from otflow.runtime.stream import EventStream
from otflow.runtime.telling import Veils

__all__ = ["LocalRun"]

T = TypeVar("T")


class LocalRun:
    """One run of a workflow in this process.

    Args:
        blueprint: the workflow.
        dispatcher: where its records go.
        clock: its time.
        run_id: its id.
        context: the context that its steps get.
        on_done: called once, when the run has ended and its steps are gone, with the result or the error.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        dispatcher: Dispatcher,
        clock: Clock,
        run_id: str,
        context: Context[Any],
        on_done: Callable[[object, Exception | None], None],
    ) -> None:
        self.run_id = run_id
        self.workflow = blueprint.graph.name
        self.context = context
        self.blueprint = blueprint
        self.stream = EventStream()
        self._on_done = on_done
        self.ahead: Callable[[], Input] | None = None  # gives what it is to begin with, while it waits for a slot
        self._parent = ""  # the span that it stands under
        self.about: About | None = None  # what it belongs to
        self._early: list[Callable[[], object]] = []
        self._thread = get_ident()
        self._loop = asyncio.get_running_loop()
        self._result: object = None
        self.restored = False  # whether it goes on from saved data
        self.forks = count_forks()  # another number in a process that was forked from the one that runs it
        self._error: Exception | None = None
        self.driver = driver = Driver(blueprint, dispatcher, clock, run_id)
        self.crew = Crew(driver, self, context)
        driver.on_stream = self.stream.put
        driver.on_end = self._ended
        driver.on_done = self._done
        self._state = driver.state
        self._dispatcher, self._feed, self._now = dispatcher, driver.feed, driver.now
        self._veils = Veils(driver.redact, context) if driver.redact is not None else None

    # ---------------------------------------------------------------- beginning and end

    def start(self, event: StartEvent, *, timeout: float | None, stepwise: bool, carried: Body | None) -> None:
        """Begin with a start event."""
        driver = self.driver
        driver.leave = driver.dispatcher.join(driver)
        parent = CURRENT.get()
        started = parent.started if isinstance(parent, Attempt) else None
        key = self.blueprint.key(type(event))
        if carried is not None and driver.dispatcher.listening:
            carried.fix()
        self._parent = driver.dispatcher.origin() if driver.dispatcher.scopes else ""
        input = Start(
            self._now(),
            key,
            driver.body(event),
            timeout,
            stepwise,
            self._parent,
            started.run if started is not None else "",
            started.invocation if started is not None else 0,
            carried,
            self.about,
        )
        if (records := begin(self._state, input)) is not None:
            driver.commits.act(records)
        else:
            self._feed(input)
        if timeout is not None:
            driver.start_deadline(timeout)
        self._begin()

    def _begin(self) -> None:
        """Make up for the calls that came while the run waited for a slot."""
        while self._early:
            self._early.pop(0)()

    def restore(self, snapshot: Body, timeout: float | None) -> None:
        """Go on from saved data."""
        self.driver.leave = self.driver.dispatcher.join(self.driver)
        self.restored = True
        self._feed(Restore(self._now(), snapshot))
        self.driver.restart_timers()
        self._begin()
        if timeout is not None:
            self.driver.start_deadline(timeout)

    def replace(self, state: RunState) -> None:
        """Take the state of a run that came to it in another process."""
        self.driver.state = self._state = state

    def cancel(self, reason: str) -> None:
        """End the run. One that waits for a slot begins first, so that its records and what is saved are whole."""
        if not self._state.seq and self.ahead is not None:
            self._feed(self.ahead())
        self.driver.cancel(reason)

    @property
    def active(self) -> bool:
        """Whether the run has not ended; it may still wait for a slot to begin. It ends with its event loop."""
        return self._state.ended is None and not self._loop.is_closed()

    def result(self) -> object:
        """The result, once there is one; None before."""
        return self._result

    def _ended(self, ending: Ending) -> None:
        outcome = conclude(self.driver, ending)
        self._result, self._error = outcome.result, outcome.error
        self.stream.close(outcome.last)

    def _done(self) -> None:
        self._on_done(self._result, self._error)

    # ---------------------------------------------------------------- what contexts ask

    def send(self, event: Event, step: str | None) -> None:
        """Emit an event, from the step that calls or from outside."""
        key = self.blueprint.keys.get(type(event)) if step is None else None
        if key is None:
            key = _check(self.driver, event, step)
        attempt, driver = CURRENT.get(), self.driver
        body = Body(event, None, driver.redact)
        if driver.dispatcher.listening:
            body.fix()
        if not isinstance(attempt, Attempt) or attempt.run is not self:
            if not _is_stale(self, attempt):
                self._later(self._receive, event, key, body, step or "", name_sender(driver, self._parent))
        elif self.restored and _has_sent(self._state, attempt, (key, step or "", body)):
            return
        elif get_ident() != self._thread:
            self._later(self._send, attempt.started, key, body, step or "")
        elif step or (records := send(self._state, self._now(), attempt.started.invocation, key, body)) is None:
            self._send(attempt.started, key, body, step or "")
        elif driver.commits.commit_soon(records) and len(records) > 1:
            driver.ready.append(records[1])  # type: ignore[arg-type]  # the second is a StepStarted
            driver.wake()

    def _send(self, started: StepStarted, key: str, body: Body, step: str) -> None:
        if started.invocation in self._state.running:
            self.driver.feed_soon(Send(self._now(), started.invocation, key, body, step))
        else:  # a task that outlived its step
            self._feed(Receive(self._now(), key, body, step, 0, name_sender(self.driver, self._parent)))

    def _receive(self, event: Event, key: str, body: Body, step: str, sender: str) -> None:
        held = next((seq for seq, sent in self._state.held.items() if sent.body.live is event), 0)
        self._feed(Receive(self._now(), key, body, step, held, sender))

    def write_stream(self, event: Event) -> None:
        """Write an event to the stream."""
        if not isinstance(event, Event):
            raise WorkflowRuntimeError(
                f"write_event_to_stream() takes an Event instance, not {type(event).__name__}: {event!r:.100}."
            )
        key = self.blueprint.keys.get(type(event)) or self.blueprint.learn(type(event))
        attempt, driver, state = CURRENT.get(), self.driver, self._state
        body = Body(event, None, driver.redact)
        if driver.dispatcher.listening:
            body.fix()
        id = attempt.started.invocation if isinstance(attempt, Attempt) and attempt.run is self else 0
        if not id and _is_stale(self, attempt):
            return
        if get_ident() != self._thread or not state.seq:
            self._later(_take_stream, driver, id, key, body)
        elif state.ended is None:
            record = write_stream(state, self._now(), id, key, body)
            if not (driver.dispatcher.listening or driver.commits.taps) or driver.commits.commit_one(record):
                self.stream.put(event)

    def write_state(self, path: str, value: object) -> None:
        """Record that the state was written; the value `DELETED` means that there is none any more."""
        attempt, dispatcher, state = CURRENT.get(), self._dispatcher, self._state
        id = attempt.started.invocation if type(attempt) is Attempt and attempt.run is self else 0
        veils = self._veils
        body = Body(value, None, None if veils is None else veils.known.get(path) or veils.find(path))
        if dispatcher.listening and type(value) is not str:
            body.fix()
        if value is DELETED:
            self._later(_take_write, self.driver, id, path, Body(), True)
        elif get_ident() != self._thread or not state.seq:
            self._later(_take_write, self.driver, id, path, body, False)
        elif state.ended is None:
            record = write_state(state, self._now(), id, path, body)
            if dispatcher.listening or self.driver.commits.taps:
                self.driver.commits.commit_one(record)

    def collect(self, event: Event, expected: Sequence[type[Event]], buffer: str) -> list[Event] | None:
        """Put an event aside, and give all expected ones once they are there."""
        attempt = CURRENT.get()
        if not isinstance(attempt, Attempt):
            raise ContextStateError("collect_events() of a running context can be called only inside a step.")
        if get_ident() == self._thread:
            return collect(self.driver, attempt.started, event, expected, buffer)
        return _ask(self._loop, partial(collect, self.driver, attempt.started, event, expected, buffer))

    async def wait(
        self,
        kind: type[Event],
        question: Event | None,
        name: str | None,
        requirements: Mapping[str, object],
        timeout: float | None,
    ) -> Event:
        """Stand still until an event comes; `timeout` in seconds, negative for the default."""
        attempt = CURRENT.get()
        if not isinstance(attempt, Attempt):
            raise ContextStateError("wait_for_event() of a running context can be called only inside a step.")
        if get_ident() != self._thread:
            raise ContextStateError(
                f"Step '{attempt.started.step}' is a plain function, in a thread of its own, and cannot wait for an "
                "event there. Make it an async step."
            )
        return await wait(self.driver, attempt, kind, question, name, requirements, timeout)

    def running_steps(self) -> list[str]:
        """Name the steps that run now."""
        running = self._state.running.values() if self._state.ended is None else ()
        return list(dict.fromkeys(invocation.step for invocation in running))

    def save(self) -> tuple[Body | None, Body | None, Sequence[tuple[str, Body]]]:
        """Give a snapshot if the run can go on, what it leaves to the next run, and the unread stream."""
        state = self._state
        if get_ident() == self._thread:  # what is saved stands in the journal
            self.driver.commits.settle()
        if not state.seq and self.ahead is not None:
            advance(state := new_state(self.blueprint.plan, self.run_id), self.ahead())
        leftovers = pack(carry_out(state))
        if state.ended is not None and state.ended.how not in ("cancelled", "timed out"):
            return None, leftovers, ()
        unread = [(self.blueprint.key(type(e)), Body(e)) for e in self.stream.unread()]
        return save(state, find_place(self.driver, self._thread)), leftovers, unread

    # ---------------------------------------------------------------- threads

    # Calls are handed on with their arguments: a closure would make every variable of the hot functions above a cell.
    def _later(self, call: Callable[..., object], *arguments: object) -> None:
        """Call in the thread of the loop: at once if this is it, else soon, in the order of the calls."""
        if not self._state.seq:
            self._early.append(partial(call, *arguments))
        elif get_ident() == self._thread:
            call(*arguments)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


def _has_sent(state: RunState, attempt: Attempt, event: tuple[str, str, Body]) -> bool:
    """Tell whether an attempt that began in another process had sent an event there, which counts once."""
    if attempt.sent is None:
        invocation = state.running.get(attempt.started.invocation)
        attempt.sent = list((invocation.sent if invocation is not None else None) or ())
    if not attempt.sent or (sent := mark(*event)) not in attempt.sent:
        return False
    attempt.sent.remove(sent)
    return True


# What comes from other threads happens when the loop takes it: the times of a run never go back.
def _take_stream(driver: Driver, id: int, key: str, body: Body) -> None:
    driver.feed_soon(WriteStream(driver.now(), id, key, body))


def _take_write(driver: Driver, id: int, path: str, body: Body, deleted: bool) -> None:
    driver.feed_soon(Write(driver.now(), id, path, body, deleted=deleted))


def _ask(loop: asyncio.AbstractEventLoop, call: Callable[[], T]) -> T:
    """Call in the thread of the loop from another one, and wait for the answer."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # it is raised where the question came from
            answer.set_exception(error)

    loop.call_soon_threadsafe(ask)
    return answer.result()


def _is_stale(run: LocalRun, attempt: object) -> bool:
    """Tell whether a step of an earlier run of the same context calls, whose word no longer counts."""
    return isinstance(attempt, Attempt) and attempt.run is not run and attempt.run.context is run.context


def _check(driver: Driver, event: Event, step: str | None) -> str:
    """Return the type key of an event that is sent.

    Raises:
        WorkflowRuntimeError: it is no event, or the step that it is for does not exist or does not accept it.
    """
    if not isinstance(event, Event):
        raise WorkflowRuntimeError(
            f"send_event() takes an Event instance, not {type(event).__name__}: {event!r:.100}. "
            "Make a subclass of Event for it."
        )
    key = driver.blueprint.key(type(event))
    if step is None:
        return key
    if step not in driver.state.lanes:
        steps = ", ".join(driver.state.lanes)
        raise WorkflowRuntimeError(
            f"Step {step} does not exist: the steps of workflow '{driver.blueprint.graph.name}' are {steps}."
        )
    if step not in (takers := driver.state.plan.routes[key].steps):
        accepted = ", ".join(takers) or "no step"
        raise WorkflowRuntimeError(
            f"Step {step} does not accept event of type {type(event)}: it is accepted by {accepted}."
        )
    return key
