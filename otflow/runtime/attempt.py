"""One attempt: the step's code, driven inside a `contextvars.Context` of its own.

The first part of a coroutine runs at once, in the worker that took it; only a step that really stands still costs a
turn of the event loop. Each attempt has its own context, so what it sets is not seen by the next step in the same
worker, and the span that a sink puts there needs no taking away. To the event loop the worker is the task: timeouts,
child tasks and cancellation inside a step are those of any coroutine.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import types
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from threading import Lock
from typing import NamedTuple

import msgspec

from otflow.context.current import CURRENT, RunLink
from otflow.records.record import StepStarted
from otflow.records.sent import Mark

__all__ = ["Attempt", "Past", "WorkerClosed", "begin", "call_in_thread", "count_forks", "drive"]


class _Lineage:
    """What tells this process from those that it was forked from."""

    def __init__(self) -> None:
        self.forks = 0
        self.numbering = Lock()  # a step may begin runs in several threads

    def renew(self) -> None:
        """Be another process."""
        self.forks += 1
        self.numbering = Lock()  # whoever held the old one is not here


_lineage = _Lineage()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_lineage.renew)


def count_forks() -> int:
    """Count the forks between this process and the one that loaded otflow: what a fork copied has a smaller number."""
    return _lineage.forks


class Past(NamedTuple):
    """What the earlier attempts of an invocation left: times in nanoseconds since the epoch.

    `began_at` is when the first attempt began, `first_at` when it failed, `last_at` when the last one did.
    """

    began_at: int
    first_at: int
    last_at: int
    error: Exception


class Attempt(msgspec.Struct, eq=False):
    """An attempt in progress.

    Args:
        run: its run.
        started: the record that began it.
        past: what earlier attempts left, if there were any.
        task: the worker that drives it.
        waits: how often it has waited under each name.
        sent: what it had sent when an earlier process ended in the middle of it, and has not sent again yet.
        children: how many runs it has begun.
    """

    run: RunLink
    started: StepStarted
    past: Past | None = None
    task: asyncio.Task[None] | None = None
    waits: dict[str, int] | None = None
    sent: list[Mark] | None = None
    children: int = 0

    @property
    def step(self) -> str:
        """The name of the step."""
        return self.started.step

    @property
    def number(self) -> int:
        """The number of the attempt; the first is 1."""
        return self.started.attempt

    @property
    def key(self) -> str:
        """The run and the invocation: the same for all attempts."""
        return f"{self.started.run}:{self.started.invocation}"

    @property
    def failures(self) -> tuple[float, Exception | None, float | None]:
        """Seconds since the first attempt began, the last exception, and when it was raised (since the epoch)."""
        if self.past is None:
            return 0.0, None, None
        past = self.past
        return (self.started.at - past.began_at) / 1e9, past.error, past.last_at / 1e9

    def number_child(self) -> int:
        """Count a run that it begins; the first is 0."""
        with _lineage.numbering:
            number = self.children
            self.children = number + 1
        return number

    def count(self, waiter: str) -> int:
        """Count how often this attempt has waited under one name; the first time is 0."""
        if self.waits is None:
            self.waits = {}
        number = self.waits.get(waiter, 0)
        self.waits[waiter] = number + 1
        return number


def begin(
    attempt: Attempt,
    surround: Callable[[StepStarted], None] | None,
    coroutine: Coroutine[object, object, object],
) -> object:
    """Run the first part of a step; to be called inside the attempt's own context.

    Returns:
        What the coroutine waits for.

    Raises:
        StopIteration: the coroutine returned; its value is the exception's.
    """
    CURRENT.set(attempt)
    if surround is not None:
        surround(attempt.started)
    return coroutine.send(None)


class WorkerClosed(GeneratorExit):
    """The event loop was closed under a worker; a GeneratorExit that a step raises is another matter."""


@types.coroutine
def drive(
    context: contextvars.Context, coroutine: Coroutine[object, object, object], pending: object
) -> Generator[object, object, object]:
    """Await a coroutine that has begun, each further part of it inside its own context.

    Args:
        context: the context of the attempt.
        coroutine: the coroutine, which stands still.
        pending: what it waits for.
    """
    run, send, throw = context.run, coroutine.send, coroutine.throw
    try:
        while True:
            try:
                value = yield pending
            except GeneratorExit:
                run(coroutine.close)
                raise WorkerClosed from None
            except BaseException as error:  # cancellation, or what the awaited future holds: the step decides
                pending = run(throw, error)
            else:
                pending = run(send, value)
    except StopIteration as stop:
        return stop.value


async def call_in_thread(function: Callable[..., object], arguments: dict[str, object]) -> object:
    """Call a plain function in a thread of the loop's executor, with the context variables of the attempt."""
    context = contextvars.copy_context()
    call = partial(context.run, partial(_call, function, arguments))
    return await asyncio.get_running_loop().run_in_executor(None, call)


def _call(function: Callable[..., object], arguments: dict[str, object]) -> object:
    try:
        return function(**arguments)
    except StopIteration as error:  # a future cannot hold one
        raise RuntimeError(f"the step raised StopIteration({error.value!r})") from error
