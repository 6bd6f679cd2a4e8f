"""Which attempt the code that runs now belongs to.

A context variable, so that it follows into child tasks and into the threads of plain steps. It holds what the runtime
put there; this room knows only the few things that a context asks of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

from otflow.events import Event
from otflow.records.body import Body

__all__ = ["CURRENT", "AttemptView", "RunLink"]


class RunLink(Protocol):
    """What a context asks of its run."""

    @property
    def run_id(self) -> str:
        """The id of the run."""

    @property
    def workflow(self) -> str:
        """The name of the workflow."""

    @property
    def active(self) -> bool:
        """Whether the run has begun and not ended."""

    def send(self, event: Event, step: str | None) -> None:
        """Emit an event, from the step that calls or from outside."""

    def write_stream(self, event: Event) -> None:
        """Write an event to the stream."""

    def write_state(self, path: str, value: object) -> None:
        """Record that the state was written; the value `DELETED` means that there is none any more."""

    def collect(self, event: Event, expected: Sequence[type[Event]], buffer: str) -> list[Event] | None:
        """Put an event aside, and give all expected ones once they are there."""

    async def wait(
        self,
        kind: type[Event],
        question: Event | None,
        name: str | None,
        requirements: Mapping[str, object],
        timeout: float | None,
    ) -> Event:
        """Stand still until an event comes; `timeout` in seconds, negative for the default."""

    @property
    def context(self) -> object:
        """The context that its steps get."""

    def result(self) -> object:
        """The result, once there is one; None before."""

    def save(self) -> tuple[Body | None, Body | None, Sequence[tuple[str, Body]]]:
        """Give a snapshot if the run can go on, what it leaves to the next run, and the unread stream."""

    def running_steps(self) -> list[str]:
        """Name the steps that run now."""


class AttemptView(Protocol):
    """What a context asks of the attempt that calls it."""

    @property
    def run(self) -> RunLink:
        """The run."""

    @property
    def step(self) -> str:
        """The name of the step."""

    @property
    def number(self) -> int:
        """The number of the attempt; the first is 1."""

    @property
    def key(self) -> str:
        """A text that is the same for all attempts of the invocation, and for no other invocation."""

    @property
    def failures(self) -> tuple[float, Exception | None, float | None]:
        """Seconds since the first attempt began, the last exception, and when it was raised (since the epoch)."""


CURRENT: ContextVar[AttemptView | None] = ContextVar("otflow_attempt", default=None)
