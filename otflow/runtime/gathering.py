"""Gathering: a step collects several events, or stands still until one comes. Called in the thread of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from otflow.core.collecting import may_complete
from otflow.core.express import put_aside
from otflow.core.inputs import Collect, Wait, WaitExpired
from otflow.errors import ContextStateError, WorkflowRuntimeError
from otflow.events import Event
from otflow.records.body import Body
from otflow.records.record import StepStarted, WaitStarted
from otflow.runtime.attempt import Attempt
from otflow.runtime.driver import Driver

__all__ = ["collect", "wait"]

_NS = 1_000_000_000
_DEFAULT_WAIT = 2000.0  # seconds


def collect(
    driver: Driver, started: StepStarted, event: Event, expected: Sequence[type[Event]], buffer: str
) -> list[Event] | None:
    """Put an event aside, and give all expected ones once they are there."""
    state, id = driver.state, started.invocation
    invocation = state.running.get(id)
    if invocation is None:
        raise ContextStateError(f"collect_events() was called by a task that outlived its step '{started.step}'.")
    if type(event) not in expected:
        return None
    may = may_complete(state, id, buffer, len(expected))
    if not may and event is invocation.event.body.live and state.ended is None:
        record = put_aside(state, driver.now(), id, buffer)
        if record is not None:
            driver.commits.commit_one(record)
            return None
    input = Collect(driver.now(), id, buffer, len(expected))
    if may:
        key = driver.blueprint.key
        input.expected = tuple([key(kind) for kind in expected])
    if event is not invocation.event.body.live:
        input.type, input.body = driver.blueprint.key(type(event)), driver.body(event)
    driver.feed_soon(input)
    taken = (invocation.collected or {}).get(buffer)
    if taken is None:
        return None
    revive = driver.blueprint.revive
    return [revive(e.type, e.body) if e.body is not None else event for e in taken]


async def wait(
    driver: Driver,
    attempt: Attempt,
    kind: type[Event],
    question: Event | None,
    name: str | None,
    requirements: Mapping[str, object],
    timeout: float | None,
) -> Event:
    """Stand still until an event comes; `timeout` in seconds, negative for the default.

    Raises:
        TimeoutError: none came in time.
        WorkflowRuntimeError: the run is stepwise.
    """
    started = attempt.started
    if driver.state.stepwise:  # it would wait for a step that waits for it
        raise WorkflowRuntimeError(
            f"wait_for_event() in step '{started.step}' is not supported with stepwise execution. Let a step of its "
            "own take the event."
        )
    key = driver.blueprint.key(kind)
    wanted, waiter = _name_wait(driver, kind, name, requirements)
    seconds = _DEFAULT_WAIT if timeout is not None and timeout < 0 else timeout
    now = driver.now()
    input = Wait(now, started.invocation, waiter, key, attempt.count(waiter))
    input.requirements = wanted
    input.due = now + int(seconds * _NS) if seconds is not None else 0
    # a step that waits in a task of its own may go on in another one, and answer itself
    input.bounded = (timeout is not None and timeout >= 0) or attempt.task is not asyncio.current_task()
    if question is not None:
        input.question_type, input.question = driver.blueprint.key(type(question)), driver.body(question)
    records = driver.feed_soon(input)
    invocation = driver.state.running.get(started.invocation)
    if invocation is None:
        raise ContextStateError(f"wait_for_event() was called by a task that outlived its step '{started.step}'.")
    answers = invocation.answers or {}
    if (waiter, input.occurrence) in answers:
        answer = answers[waiter, input.occurrence]
        if answer is not None:
            return driver.blueprint.revive(answer.type, answer.body)
        raise TimeoutError(_too_late(started.step, kind, seconds))
    began = next((record for record in records if isinstance(record, WaitStarted)), None)
    if began is None:
        raise ContextStateError(f"Nothing can be waited for any more: the run {started.run} has ended.")
    return await _stand(driver, began, _too_late(started.step, kind, seconds))


def _name_wait(
    driver: Driver, kind: type[Event], name: str | None, requirements: Mapping[str, object]
) -> tuple[Body | None, str]:
    """Return what is required, as a payload, and the name of the wait, which tells no more than that payload does."""
    key = driver.blueprint.key(kind)
    if not requirements:
        return None, name or f"waiter_{key}_{{}}"
    redact = driver.redact.fields_of(kind) if driver.redact is not None else None
    body = Body(dict(requirements), None, redact)
    if driver.dispatcher.listening:
        body.fix()
    if name:
        return body, name
    if redact is not None and body.json != body.whole:
        return body, f"waiter_{key}_{body.json.decode()}"
    return body, f"waiter_{key}_{body.live}"


async def _stand(driver: Driver, began: WaitStarted, too_late: str) -> Event:
    try:
        return await driver.answer(began.seq)
    except TimeoutError:
        raise TimeoutError(too_late) from None
    except asyncio.CancelledError:
        # the step gave up waiting, or is being cancelled with its run; then this input leads to nothing
        driver.feed_soon(WaitExpired(driver.now(), began.seq))
        raise


def _too_late(step: str, kind: type[Event], seconds: float | None) -> str:
    return f"Step '{step}' waited {seconds} seconds for {kind.__name__}, and nobody sent one."
