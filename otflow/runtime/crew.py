"""The crew: workers that execute the attempts of one run.

A worker is a task that takes a ready attempt, runs it in place and goes on with the next one; another worker is
started only when a step stands still while something is ready. A chain of steps that never stand still costs no task
and no turn of the event loop, but one now and then, so that others get theirs.
"""

from __future__ import annotations

import asyncio
import contextvars
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

from otflow.context.context import Context
from otflow.context.current import RunLink
from otflow.core.express import pass_on, stop
from otflow.core.inputs import StepRaised, StepReturned
from otflow.errors import WorkflowRuntimeError, text_of
from otflow.events import Event, StepFailedEvent
from otflow.records.body import Body
from otflow.records.record import EventSent, StepStarted
from otflow.retry_policy import ask
from otflow.runtime.attempt import Attempt, Past, WorkerClosed, begin, drive
from otflow.runtime.driver import Driver, describe_failure

__all__ = ["AfterStep", "Crew"]

_NS = 1_000_000_000
_TURN = 128  # steps in a row after which the event loop gets a turn
_TURN_NS = 5_000_000  # or this much time

AfterStep: TypeAlias = Callable[[StepStarted, Event, list[EventSent]], None]
"""Takes the record that began an attempt that returned, its event, and the events it returned, which are held."""


class Crew:
    """Executes the steps of one run.

    Args:
        driver: the run.
        link: what contexts of this run talk to.
        context: the context that steps get.
    """

    def __init__(self, driver: Driver, link: RunLink, context: Context[Any]) -> None:
        self.driver = driver
        self.link = link
        self.context = context
        self.after_step: AfterStep | None = None
        self.base = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._inline = False  # a worker is running step code, or between two steps, right now
        self._starting = False  # a worker task was made and has not begun
        self._workers: set[asyncio.Task[None] | None] = set()
        self._standing: dict[int, asyncio.Task[None] | None] = {}  # the tasks of attempts that stand still
        self._past: dict[int, Past] = {}
        driver.wake = self.wake
        driver.dismiss = self.dismiss

    def wake(self) -> None:
        """See to it that someone takes what is ready."""
        if not self._inline and not self._starting:
            self._starting = True
            # the loop itself refers to tasks only weakly
            self._workers.add(self._loop.create_task(self._serve(), context=self.base.copy()))

    def dismiss(self) -> bool:
        """Cancel every attempt that stands still; tell whether there are any."""
        for task in self._standing.values():
            if task is not None:
                task.cancel()
        return bool(self._standing)

    # ---------------------------------------------------------------- the loop

    async def _serve(self) -> None:
        """Be a worker, until nothing is ready or others shall have their turn."""
        driver, task = self.driver, asyncio.current_task()
        self._starting = False
        try:
            await self._work(task)
        except asyncio.CancelledError:
            driver.cancel("its task was cancelled")
            raise
        except Exception as error:  # a fault of otflow itself: never a silent hang
            if driver.ending is not None:  # too late for the run to tell; asyncio reports it
                raise
            driver.fail(error)
        finally:
            self._inline = False
            self._workers.discard(task)
            if driver.ready:
                self._go_on()

    def _go_on(self) -> None:
        """Have the next worker begin, a little later if some sink does not keep up."""
        dispatcher = self.driver.dispatcher
        delay = dispatcher.hold() if dispatcher.gates else 0.0
        if delay > 0:
            self._loop.call_later(delay, self.wake)
        else:
            self.wake()

    async def _work(self, task: asyncio.Task[None] | None) -> None:
        driver, context_of_run = self.driver, self.context
        ready, running, dispatcher = driver.ready, driver.state.running, driver.dispatcher
        calls, revive, turns, since = driver.blueprint.calls, driver.blueprint.revive, 0, 0
        while ready and turns < _TURN:
            self._inline = True
            started = ready.popleft()
            turns, since = turns + 1, since or started.at
            if started.at - since > _TURN_NS:
                turns = _TURN
            failure: BaseException | None = None
            value, context = None, self.base.copy()
            try:
                received = running[started.invocation].event
                event = received.body.live
                if not isinstance(event, Event):
                    event = revive(received.type, received.body)
                coroutine = calls[started.step](event, context_of_run)
                attempt = Attempt(self.link, started, self._past.get(started.invocation) if self._past else None, task)
                pending = context.run(begin, attempt, dispatcher.enter if dispatcher.scopes else None, coroutine)
                self._stand(started, task)
                value = await drive(context, coroutine, pending)
                turns = since = 0
            except StopIteration as stop:
                value = stop.value
            except WorkerClosed:
                raise
            except BaseException as error:  # the border to user code
                failure = error
            self._inline = True
            self._standing.pop(started.invocation, None)
            if failure is None:
                self._returned(started, value)
            else:
                self._failed(started, failure, task)
            if not (ready or self._standing):
                self._rest()
            if task is not None and task.cancelling():  # by the step, which was its own affair
                break

    def _rest(self) -> None:
        """Do what is left when no step of the run does anything."""
        self.driver.commits.settle_if_lonely()
        if self.driver.ending is not None:
            self.driver.finish()

    def _stand(self, started: StepStarted, task: asyncio.Task[None] | None) -> None:
        """Note that an attempt stands still, and let another worker take what is ready."""
        self._standing[started.invocation] = task
        self._inline = False
        if self.driver.ready:
            self.wake()
        if self.driver.ending is not None and task is not None:  # the step ended its own run before it stood still
            task.cancel()

    # ---------------------------------------------------------------- what attempts come to

    def _returned(self, started: StepStarted, value: object) -> None:
        driver = self.driver
        key = driver.blueprint.keys.get(type(value)) if value is not None else ""
        if key is None or self.after_step is not None or self._past:
            self._settle(started, value)
            return
        body = None
        if value is not None:
            body = Body(value, None, driver.redact)
            if driver.dispatcher.listening:
                body.fix()
        at = driver.now()
        records = pass_on(driver.state, at, started, key, body)
        if records is None:
            ends = body is not None and driver.state.plan.routes[key].stop
            last = stop(driver.state, at, started, key, body) if ends and body is not None else None
            if last is None:
                driver.feed_soon(StepReturned(at, started.invocation, started.attempt, key, body))
            else:
                driver.commits.act_soon(last)
        elif not (driver.commits.taps or driver.dispatcher.listening) or driver.commits.commit_soon(records):
            for record in records:
                if type(record) is StepStarted:  # behind what is ready: steps begin in the order of their records
                    driver.ready.append(record)

    def _settle(self, started: StepStarted, value: object) -> None:
        """Take what an attempt returned, if it was not an event of a known type."""
        values = value if isinstance(value, list) and self._may_list(started) else [value]
        events = [event for event in values if isinstance(event, Event)]
        if len(events) < len(values) and value is not None:
            wrong = next(other for other in values if not isinstance(other, Event))
            text = f"Step function {started.step} returned {type(wrong).__name__} instead of an Event instance."
            self._raised(started, WorkflowRuntimeError(text), final=True)
            return
        driver = self.driver
        bodies = [(driver.blueprint.key(type(event)), driver.body(event)) for event in events]
        input = StepReturned(driver.now(), started.invocation, started.attempt)
        if bodies:
            (input.type, input.body), *more = bodies
            input.more = tuple(more)
        self._past.pop(started.invocation, None)
        if self.after_step is None or driver.state.ended is not None:
            driver.feed_soon(input)
            return
        received = driver.state.running[started.invocation].event
        input.hold = True
        held = [record for record in driver.feed(input) if isinstance(record, EventSent) and record.held]
        self.after_step(started, driver.blueprint.revive(received.type, received.body), held)

    def _may_list(self, started: StepStarted) -> bool:
        return self.driver.blueprint.graph.steps[started.step].returns_list

    def _raised(self, started: StepStarted, error: Exception, *, final: bool = False) -> None:
        """Ask the retry policy, and report the failure. A run that has ended no longer cares."""
        driver = self.driver
        if driver.state.ended is not None:
            return
        id, at = started.invocation, driver.now()
        running = driver.state.running.get(id)
        began_at = running.first_at if running is not None else started.at
        first_at = self._past[id].first_at if id in self._past else at
        delay: float | None = None
        policy = driver.blueprint.graph.steps[started.step].retry_policy
        if policy is not None and not final:
            seed = zlib.crc32(f"{started.run}:{id}:{started.attempt}".encode())
            try:
                delay = ask(policy, (at - first_at) / _NS, started.attempt, error, seed)
            except WorkflowRuntimeError as fault:
                error = fault
        taken = running.event.body if running is not None and driver.dispatcher.listening else None
        input = StepRaised(at, id, started.attempt, describe_failure(error, driver.redact, taken), delay)
        if delay is not None:
            self._past[id] = Past(began_at, first_at, at, error)
        else:
            self._past.pop(id, None)
            if driver.state.plan.steps[started.step].catcher and not final:
                input.recovery_type = driver.blueprint.key(StepFailedEvent)
                input.recovery = driver.body(self._recovery(started, error, at))
        driver.error = error
        driver.feed_soon(input)
        if driver.state.ended is None:  # it is retried or recovered from; what ends the run later has its own reason
            driver.error = None

    def _recovery(self, started: StepStarted, error: Exception, at: int) -> StepFailedEvent:
        invocation = self.driver.state.running[started.invocation]
        return StepFailedEvent(
            step_name=started.step,
            input_event=self.driver.blueprint.revive(invocation.event.type, invocation.event.body),
            exception=error,
            attempts=started.attempt,
            elapsed_seconds=(at - invocation.first_at) / _NS,
            failed_at=at / _NS,
        )

    def _failed(self, started: StepStarted, error: BaseException, task: asyncio.Task[None] | None) -> None:
        """Tell a failure from a cancelled run, and from a step that let out what is no Exception by itself."""
        cancelled = isinstance(error, asyncio.CancelledError)
        if isinstance(error, Exception):
            self._raised(started, error)
        elif isinstance(error, KeyboardInterrupt | SystemExit):  # the process is to end
            self.driver.cancel(f"step '{started.step}' raised {type(error).__name__}")
            raise error
        elif self.driver.ending is None:
            if cancelled and task is not None and task.cancelling():
                self.driver.cancel("its task was cancelled")
                raise error
            text = f"Error in step '{started.step}': it raised {type(error).__name__}"
            if cancelled:
                text += (
                    " although nobody cancelled it: something that it awaits was cancelled. Catch "
                    "asyncio.CancelledError around that await, or let that task finish."
                )
            else:
                text += f", which is no Exception: {text_of(error)}. Raise a subclass of Exception."
            fault = WorkflowRuntimeError(text)
            fault.__cause__ = error
            self._raised(started, fault, final=not cancelled)
