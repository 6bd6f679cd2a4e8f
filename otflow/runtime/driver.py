"""The driver: the loop that turns inputs into records, passes them on, and does what follows.

Everything that moves a run goes through here: the core decides, the dispatcher commits the batch, and only then are its
commands carried out. It starts no step itself: what may start stands in `ready`, for a crew of workers. All of it
happens in the thread of one event loop.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from otflow.core.decide import advance
from otflow.core.inputs import Cancel, DelayOver, Fail, Input, TimeOut, WaitExpired
from otflow.core.state import RunState, new_state
from otflow.dispatcher import Dispatcher, Load, StepLoad
from otflow.errors import OtflowError, WorkflowRuntimeError, text_of
from otflow.events import Event
from otflow.records.body import Body
from otflow.records.record import (
    ENDINGS,
    Ending,
    Failure,
    Record,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunTimedOut,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from otflow.redaction import Redactor
from otflow.runtime.blueprint import Blueprint
from otflow.runtime.clock import Clock, Timer
from otflow.runtime.commits import Commits

__all__ = ["Driver", "describe_failure"]

_NS = 1_000_000_000
_GRACE = 5.0  # seconds that cancelled steps have to clean up before the run ends without them
_MAX_STACK = 8192  # characters

_ACTIVE = frozenset({RetryScheduled, StreamWritten, WaitEnded, WaitStarted, *ENDINGS})


class Driver:
    """Drives one run.

    What follows from its records is done by those who attach themselves: `wake` is called when something is ready,
    `dismiss` when the run has ended (it tells whether steps still stand), `on_stream` for each event of the stream,
    `on_end` for the ending, `on_done` when the run is over and its steps are gone.

    Args:
        blueprint: the workflow.
        dispatcher: where records go.
        clock: the time.
        run: the id of the run.
    """

    def __init__(self, blueprint: Blueprint, dispatcher: Dispatcher, clock: Clock, run: str) -> None:
        self.blueprint = blueprint
        self.dispatcher = dispatcher
        self.redact = dispatcher.redact
        self.clock = clock
        self.now = clock.now
        self.state: RunState = new_state(blueprint.plan, run)
        self.ready: deque[StepStarted] = deque()
        self.wake: Callable[[], None] = _nothing
        self.dismiss: Callable[[], bool] = _nobody
        self.on_stream: Callable[[Event], None] = _ignore
        self.on_end: Callable[[Ending], None] = _ignore
        self.on_done: Callable[[], None] = _nothing
        self.leave: Callable[[], None] = _nothing
        self.error: Exception | None = None
        self.ending: Ending | None = None
        self._timers: dict[tuple[str, int], Timer] = {}
        self._answers: dict[int, asyncio.Future[Event]] = {}
        self.commits = Commits(dispatcher, self)

    # ---------------------------------------------------------------- inputs to records to deeds

    def feed(self, input: Input) -> Sequence[Record]:
        """Take an input: decide, commit, act. Returns the batch; an empty one if it was not committed."""
        self.commits.settle()
        return self.commits.act(advance(self.state, input))

    def feed_soon(self, input: Input) -> Sequence[Record]:
        """Take what a step or a clock does: decide, and commit and act soon: see `Commits`. Returns the batch."""
        return self.commits.act_soon(advance(self.state, input))

    def follow(self, records: Sequence[Record]) -> None:
        """Do what follows from a batch that was committed."""
        for record in records:
            kind = type(record)
            if kind is StepStarted:
                self.ready.append(record)  # type: ignore[arg-type]  # the test above, at a fifth of its price
            elif kind in _ACTIVE:
                self._act(record)
        if self.ready:
            self.wake()

    def body(self, value: object) -> Body:
        """Make the payload for a record; its JSON is made now if anyone listens."""
        body = Body(value, None, self.redact)
        if self.dispatcher.listening:
            body.fix()
        return body

    def _act(self, record: Record) -> None:
        match record:
            case StreamWritten(type=kind, body=body):
                self.on_stream(self.blueprint.revive(kind, body))
            case WaitStarted(seq=seq, due=due):
                if due:
                    self._start_timer("wait", seq, due)
            case WaitEnded():
                self._end_wait(record)
            case RetryScheduled(invocation=id, due=due):
                self._start_timer("delay", id, due)
            case RunCompleted() | RunFailed() | RunCancelled() | RunTimedOut():
                self._end(record)
            case _:
                raise AssertionError(f"nothing is to be done about {record!r}")

    # ---------------------------------------------------------------- timers and waits

    def start_deadline(self, seconds: float) -> None:
        """Let the run time out after `seconds` from now."""
        if self.ending is not None:  # its journal refused the beginning
            return
        self._timers["run", 0] = self.clock.call_later(seconds, partial(self._ring, "run", 0, seconds))

    def restart_timers(self) -> None:
        """Set the timers of a run that was restored."""
        for id, invocation in self.state.delayed.items():
            self._start_timer("delay", id, invocation.due)

    def _start_timer(self, kind: str, id: int, due: int) -> None:
        seconds = max(0, due - self.now()) / _NS
        self._timers[kind, id] = self.clock.call_later(seconds, partial(self._ring, kind, id, seconds))

    def _ring(self, kind: str, id: int, seconds: float) -> None:
        self._timers.pop((kind, id), None)
        match kind:
            case "run":
                self.feed(TimeOut(self.now(), seconds))
            case "wait":
                self.feed_soon(WaitExpired(self.now(), id))
            case _:
                self.feed_soon(DelayOver(self.now(), id))

    def answer(self, wait: int) -> asyncio.Future[Event]:
        """Return the future that the end of a wait fills."""
        future = self._answers[wait] = asyncio.get_running_loop().create_future()
        return future

    def _end_wait(self, record: WaitEnded) -> None:
        timer = self._timers.pop(("wait", record.wait), None)
        if timer is not None:
            timer.cancel()
        future = self._answers.pop(record.wait, None)
        if future is None or future.done():
            return
        invocation = self.state.running.get(record.invocation)
        answers = (invocation.answers if invocation is not None else None) or {}
        event = next((e for e in answers.values() if e is not None and e.seq == record.event), None)
        if event is None:
            future.set_exception(TimeoutError())
        else:
            future.set_result(self.blueprint.revive(event.type, event.body))

    # ---------------------------------------------------------------- the end

    def cancel(self, reason: str) -> None:
        """End the run, unless it has ended."""
        self.feed(Cancel(self.now(), reason))

    def fail(self, error: Exception) -> None:
        """End the run for a reason outside the core."""
        if self.state.ended is None:
            self.error = error
        self.feed(Fail(self.now(), describe_failure(error, self.redact)))

    def refuse(self, first: Record, error: BaseException) -> None:
        """End a run whose journal refused its records from this one on; only observers hear of it."""
        if self.ending is not None:
            return
        fault = WorkflowRuntimeError(
            f"The journal of run {self.state.run} of workflow '{self.blueprint.graph.name}' refused a record, so the "
            f"run was stopped before anything was done about it: {_explain_refusal(error)}"
        )
        fault.__cause__ = error
        self.error = fault
        self.state.seq = first.seq - 1  # these numbers were not used
        self.state.ended = None  # an ending that was not committed did not happen
        records = advance(self.state, Fail(self.now(), describe_failure(fault, self.redact)))
        self.commits.observe(records)
        for record in records:
            if isinstance(record, ENDINGS):
                self._end(record)

    def load(self) -> Load:
        """Return what the run holds now; any thread may ask."""
        state = self.state
        steps = [StepLoad(name, it.running, len(it.queue), it.plan.num_workers) for name, it in state.lanes.items()]
        return Load(state.run, state.plan.workflow, bool(state.paused), tuple(steps))

    def takes(self, workflow: str, kind: str) -> bool | None:
        """Tell whether events of a type have somewhere to go; None if the run is of another workflow."""
        plan = self.state.plan
        route = plan.routes.get(kind)
        return None if route is None or plan.workflow != workflow else bool(route.steps or route.stop or route.question)

    def _end(self, ending: Ending) -> None:
        self.ending = ending
        self.leave()
        self.ready.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for future in self._answers.values():
            future.cancel()
        self._answers.clear()
        self.on_end(ending)
        if self.dismiss():
            self._timers["grace", 0] = self.clock.call_later(_GRACE, self.finish)
        else:
            self.finish()

    def finish(self) -> None:
        """Let go of an ended run: its steps are gone, or had their time."""
        if (timer := self._timers.pop(("grace", 0), None)) is not None:
            timer.cancel()
        done, self.on_done = self.on_done, _nothing
        done()


def describe_failure(error: BaseException, redact: Redactor | None = None, body: Body | None = None) -> Failure:
    """Write an exception down, its stack cut to the last 8,192 characters.

    Args:
        error: the exception.
        redact: says what of its texts may be told; default None: everything.
        body: what the code that raised it worked on; default None: nothing.
    """
    kind = type(error)
    message, stack = text_of(error), "".join(traceback.format_exception(error))
    if redact is not None:  # before the stack is cut: a secret is known by what stands before it
        message, stack = redact.text(message, body), redact.text(stack, body)
    # half a surrogate pair, as in messages about file names, is spelled out: no backend takes it
    message = message.encode("utf-8", "backslashreplace").decode()
    stack = stack[-_MAX_STACK:].encode("utf-8", "backslashreplace").decode()
    return Failure(f"{kind.__module__}.{kind.__qualname__}", message, stack)


def _explain_refusal(error: BaseException) -> str:
    told = f"{type(error).__name__}: {text_of(error)}".rstrip(": ")
    match error:
        case OtflowError():  # which says itself what to do
            return text_of(error)
        case Exception():
            return f"{told}. Make the journal writable, then start the run again."
        case _:
            return f"{told} came in the middle. Go on from what was committed before, or start the run again."


def _ignore(_: object) -> None:
    """Do nothing about it."""


def _nothing() -> None:
    """Do nothing."""


def _nobody() -> bool:
    """Say that no step stands."""
    return False
