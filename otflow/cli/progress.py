"""Progress: what a run does, told on the error stream while it does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from otflow.cli.screen import Screen
from otflow.drawing.line import Line, Piece, Style, clean, cut
from otflow.drawing.quantities import count, format_duration, name_type, show_value
from otflow.records.record import (
    EventReceived,
    Record,
    RetryScheduled,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)

__all__ = ["Progress"]

_MAX_STEPS = 4  # whose names fit


class Progress:
    """Follows one run as a sink does.

    Args:
        screen: where it is told.
        quiet: whether it is not; default False.

    Attributes:
        run: the run that is followed; empty until one begins.
        waits: what the run waits for now, by the number of the record that says so.
        idle: whether it stands still until an event comes.
        on_idle: called when it begins to.
        started: when its first record was made, in nanoseconds; 0 before that.
        failure: the record of its failure; None if it has not failed.
    """

    def __init__(self, screen: Screen, *, quiet: bool = False) -> None:
        self.screen = screen
        self.run = ""
        self.waits: dict[int, WaitStarted] = {}
        self.idle = False
        self.on_idle: Callable[[], object] = bool
        self.started = self.last = 0
        self.done = self.failed = 0
        self.failure: RunFailed | None = None
        self._quiet = quiet
        self._steps: dict[int, str] = {}
        self._running: Counter[str] = Counter()

    def __call__(self, records: Sequence[Record]) -> None:
        """Take a batch of records."""
        for record in records:
            if self.run and record.run != self.run:
                continue
            if isinstance(record, RunStarted | RunResumed) and not self.run:
                self.run = record.run
            if isinstance(record, RunFailed):
                self.failure = record
            self.started = self.started or record.at
            self.last = record.at
            self._take(record)

    def _take(self, record: Record) -> None:
        match record:
            case StepStarted():
                self._steps[record.invocation] = record.step
                self._running[record.step] += 1
            case StepCompleted():
                self._running[self._steps.get(record.invocation, "")] -= 1
                self.done += 1
            case StepFailed():
                step = self._steps.get(record.invocation, "")
                self._running[step] -= 1
                self.failed += 1
                kind = name_type(record.error.type)
                self.tell(self.screen.signs.bad, "bad", step, f"{kind}: {record.error.message}")
            case RetryScheduled():
                step = self._steps.get(record.invocation, "")
                text = f"attempt {record.attempt} in {format_duration(int(record.delay * 1e9))}"
                self.tell(self.screen.signs.wait, "wait", step, text)
            case WaitStarted():
                self.waits[record.seq] = record
            case WaitEnded():
                self.waits.pop(record.wait, None)
            case RunPaused(reason="waiting"):
                self.idle = True
                self.on_idle()
            case RunResumed() | EventReceived():
                self.idle = False
            case StreamWritten():
                step = self._steps.get(record.invocation, "")
                self.tell(self.screen.signs.dot, "faint", step, f"{name_type(record.type)} {show_value(record.body)}")
            case _:
                pass

    def tell(self, sign: str, style: Style, step: str, text: str) -> None:
        """Print a line, broken where it has to be."""
        if self._quiet:
            return
        line = (Piece(f"  {sign} ", style), Piece(f"{clean(step)} " if step else "", "step"), Piece(clean(text)))
        self._print(cut(line, self.screen.width, self.screen.signs.more))

    def say(self, *pieces: Piece) -> None:
        """Print a line."""
        if not self._quiet:
            self._print(pieces)

    def _print(self, line: Line) -> None:
        try:
            self.screen.print([line])
        except OSError:  # nobody reads what is told, or its file is full: that is no matter of the run
            self._quiet = True

    def status(self) -> str:
        """Say what runs now, in one line."""
        busy = [f"{step} ({number})" if number > 1 else step for step, number in self._running.items() if number > 0]
        more = f" and {len(busy) - _MAX_STEPS} more" if len(busy) > _MAX_STEPS else ""
        now = f"{', '.join(busy[:_MAX_STEPS])}{more}" if busy else "waiting" if self.idle else "at work"
        return f"{clean(now)}  {count(self.done, 'step')} done"
