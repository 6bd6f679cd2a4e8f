"""Pursuing: a run followed to its end, with somebody at the terminal who answers what it asks.

A run that asks where nobody can answer is left as it stands in its journal: another process goes on with it later.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pydantic_core

from otflow import telemetry
from otflow.cli.complaints import FAILED, WAITING, CommandError, UsageError
from otflow.cli.inputs import list_answers, make_answer
from otflow.cli.outlet import complain, escape, hand_over
from otflow.cli.progress import Progress
from otflow.cli.screen import Screen
from otflow.cli.sources import find_journal_path
from otflow.cli.tables import print_json
from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.drawing.line import Piece, clean
from otflow.drawing.quantities import count, format_duration
from otflow.errors import OtflowError, WorkflowCancelledByUser, WorkflowTimeoutError
from otflow.events import HumanResponseEvent, InputRequiredEvent
from otflow.handler import WorkflowHandler
from otflow.journal import Journal, JournalError
from otflow.journal.database import settle_path
from otflow.records.body import Body
from otflow.redaction import DEFAULT
from otflow.workflow import Workflow

__all__ = ["Telling", "find_dispatcher", "keep_journal", "pursue"]


class Telling(NamedTuple):
    """How it is told what a run does: not at all, and its end as JSON."""

    quiet: bool = False
    json: bool = False


def find_dispatcher(workflow: Workflow) -> Dispatcher:
    """Return where the records of a workflow go."""
    return workflow._dispatcher or default_dispatcher  # noqa: SLF001  nobody else may ask


@contextmanager
def keep_journal(given: Path | None, dispatcher: Dispatcher) -> Iterator[Journal]:
    """Have all records in a journal while this lasts: in the one that is attached already, or in one of its own.

    Args:
        given: the file; None for the one of OTFLOW_JOURNAL, of the program, or of this folder.
        dispatcher: whose records.

    Raises:
        JournalError: the file cannot be used.
    """
    telemetry.wire()
    attached = [sink for sink in dispatcher.journals if isinstance(sink, Journal)]
    if attached and (given is None or attached[0].path == settle_path(given)):
        yield attached[0]
        return
    path = find_journal_path(given)
    if given is None and not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
        path.parent.joinpath(".gitignore").write_text("*\n", encoding="utf-8")  # runs are no sources
    journal = Journal(path)
    detach = dispatcher.attach(journal, journal=True)
    try:
        yield journal
    finally:
        detach()
        journal.close()


class _UnansweredError(OtflowError):
    """Nobody is there to answer."""


def pursue(
    begin: Callable[[Journal], WorkflowHandler], workflow: Workflow, journal: Path | None, telling: Telling
) -> None:
    """Begin a run, follow it to its end, and print its result.

    Args:
        begin: begins it, in the event loop.
        workflow: its workflow.
        journal: the file of the journal; None for the usual one.
        telling: how it is told.

    Raises:
        CommandError: the run failed, or waits for an answer.
    """
    dispatcher = find_dispatcher(workflow)
    progress = Progress(Screen(sys.stderr), quiet=telling.quiet)
    with keep_journal(journal, dispatcher) as book:
        detach = dispatcher.attach(progress)
        try:
            result = asyncio.run(_follow(lambda: begin(book), workflow, progress, book, dispatcher))
        except KeyboardInterrupt:
            if progress.run:
                progress.say(Piece(f"otflow resume {progress.run}", "title"), Piece(" goes on with it.", "faint"))
            raise
        except _UnansweredError as left:
            raise CommandError(str(left), WAITING) from left
        except Exception as error:  # steps raise what they like
            if not progress.run or (isinstance(error, OtflowError) and isinstance(error, JournalError | CommandError)):
                raise
            _tell_failure(error, progress, workflow, telling)
            raise CommandError(_explain(error, progress), FAILED) from error
        finally:
            detach()
    _tell_end("completed", "good", progress)
    _print_result(result, progress, workflow, telling)


def _explain(error: Exception, progress: Progress) -> str:
    if isinstance(error.__cause__, JournalError):  # which says what to do; a run of that id may be somebody else's
        return str(error.__cause__)
    run, message = progress.run, _read_message(error, progress)
    return f"run {run} failed: {message.rstrip('.')}. Look at it with `otflow tree {run[:12]}`."


def _read_message(error: Exception, progress: Progress) -> str:
    """Return the message of an error as it is recorded: what looks like a secret is not in it."""
    recorded = progress.failure
    if recorded is None:  # it timed out, was cancelled, or ended without a record
        return DEFAULT.text(str(error))
    return f"Error in step '{recorded.step}': {recorded.error.message}" if recorded.step else recorded.error.message


def _tell_failure(error: Exception, progress: Progress, workflow: Workflow, telling: Telling) -> None:
    timed_out, cancelled = isinstance(error, WorkflowTimeoutError), isinstance(error, WorkflowCancelledByUser)
    outcome = "timed out" if timed_out else "cancelled" if cancelled else "failed"
    _tell_end(outcome, "bad", progress)
    if telling.json:
        said = {"type": type(error).__name__, "message": _read_message(error, progress)}
        print_json(_summary(outcome, progress, workflow) | {"error": said})


def _tell_end(outcome: str, style: str, progress: Progress) -> None:
    took = format_duration(progress.last - progress.started)
    failed = f", {count(progress.failed, 'failed attempt')}" if progress.failed else ""
    progress.say(
        Piece(outcome, "good" if style == "good" else "bad"),
        Piece(f" in {took}: {count(progress.done, 'step')}{failed}", "faint"),
    )


def _summary(outcome: str, progress: Progress, workflow: Workflow) -> dict[str, object]:
    seconds = (progress.last - progress.started) / 1e9
    return {"run": progress.run, "workflow": workflow.workflow_name, "outcome": outcome, "seconds": seconds}


def _print_result(result: object, progress: Progress, workflow: Workflow, telling: Telling) -> None:
    plain = pydantic_core.to_jsonable_python(result, fallback=repr)
    if telling.json:
        print_json(_summary("completed", progress, workflow) | {"result": plain})
    elif isinstance(result, str):
        hand_over(result)
    elif plain is not None:
        print(escape(pydantic_core.to_json(plain, indent=2 if isinstance(plain, dict | list) else None).decode()))


# ---------------------------------------------------------------- while it goes on


async def _follow(
    begin: Callable[[], WorkflowHandler], workflow: Workflow, progress: Progress, book: Journal, dispatcher: Dispatcher
) -> object:
    asked: asyncio.Queue[InputRequiredEvent | None] = asyncio.Queue()
    progress.on_idle = lambda: asked.put_nowait(None)
    handler = begin()
    progress.run = handler.run_id
    progress.say(
        Piece(clean(workflow.workflow_name), "title"), Piece(f"  run {clean(handler.run_id)}  {book.path}", "faint")
    )
    reader = asyncio.create_task(_read_questions(handler, asked))
    desk = _Desk(handler, workflow, progress)
    try:
        await desk.serve(asked)
    except _UnansweredError:
        dispatcher.journals = tuple(
            sink for sink in dispatcher.journals if sink is not book
        )  # what comes now is no end
        with suppress(JournalError):
            book.release(handler.run_id)
        raise
    finally:
        reader.cancel()
    return await handler


async def _read_questions(handler: WorkflowHandler, asked: asyncio.Queue[InputRequiredEvent | None]) -> None:
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            asked.put_nowait(event)


class _Desk:
    """Where questions of a run are answered."""

    def __init__(self, handler: WorkflowHandler, workflow: Workflow, progress: Progress) -> None:
        self.handler = handler
        self.workflow = workflow
        self.progress = progress
        self.manned = sys.stdin.isatty()
        self._open = 0
        self._seen: set[int] = set()  # waits without a question that have been told

    async def serve(self, asked: asyncio.Queue[InputRequiredEvent | None]) -> None:
        """Answer until the run has ended.

        Raises:
            _UnansweredError: it asks, and nobody is there.
        """
        moving = ExitStack()
        try:
            while not self.handler.done():
                moving.enter_context(self.progress.screen.moving(self.progress.status))
                getter = asyncio.ensure_future(asked.get())
                await asyncio.wait({self.handler, getter}, return_when=asyncio.FIRST_COMPLETED)
                moving.close()
                if not getter.done():
                    getter.cancel()
                    break
                await self.attend(getter.result())
        finally:
            moving.close()

    async def attend(self, question: InputRequiredEvent | None) -> None:
        """Take a question, or word that the run stands still."""
        kinds = self.find_kinds()
        if question is None:
            mute = {id for id, wait in self.progress.waits.items() if wait.type in list_answers() and not wait.asked}
            if self.progress.idle and mute - self._seen:
                self._seen |= mute
                self._open += 1
                await self.ask(f"The run waits for {kinds[0].__name__ if kinds else 'an answer'}", kinds)
            elif self.progress.idle and not self.manned and (self._open or self.find_open()):
                raise _UnansweredError(self.explain(kinds))
            return
        self._open += 1
        fields = json.loads(Body(question).whole)
        text = str(fields.pop("prefix", "") or fields.pop("question", "") or "")
        more = ", ".join(f"{name}={value}" for name, value in fields.items())
        await self.ask(text or f"{type(question).__name__} {more}".strip(), kinds)

    async def ask(self, text: str, kinds: Sequence[type[HumanResponseEvent]]) -> None:
        """Ask whoever sits at the terminal."""
        if not self.manned:
            if self.progress.idle:
                raise _UnansweredError(self.explain(kinds))
            return
        while True:
            answer = await _read_line(f"{clean(text).rstrip()} > ")
            if answer is None:
                raise _UnansweredError(self.explain(kinds))
            try:
                event = make_answer(answer, kinds)
            except UsageError as error:
                complain(str(error))
                continue
            self._open -= 1
            self.handler.ctx.send_event(event)
            return

    def find_open(self) -> bool:
        """Tell whether the run waits for what only somebody at a terminal could send."""
        known = list_answers()
        return any(wait.asked or wait.type in known for wait in self.progress.waits.values())

    def find_kinds(self) -> list[type[HumanResponseEvent]]:
        """Return the classes of answers that the run takes: those it waits for, else those its steps take."""
        known = list_answers()
        waited = [known[wait.type] for wait in self.progress.waits.values() if wait.type in known]
        taken = [kind for kind in self.workflow.event_types if issubclass(kind, HumanResponseEvent)]
        return list(reversed(waited)) or taken

    def explain(self, kinds: Sequence[type[HumanResponseEvent]]) -> str:
        """Say how to go on."""
        name = kinds[0].__name__ if kinds else HumanResponseEvent.__name__
        run = self.handler.run_id
        return f"run {run} waits for {name}. Answer it, now or any day: otflow resume {run[:12]} --answer TEXT"


async def _read_line(prompt: str) -> str | None:
    """Read a line from the terminal; None if it was closed. Whoever is interrupted does not wait for the thread."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = sys.stdin.readline()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, line, text)

    print(prompt, end="", file=sys.stderr, flush=True)
    Thread(target=read, name="otflow-stdin", daemon=True).start()
    text = await line
    return text.rstrip("\r\n") if text else None


def _settle(line: asyncio.Future[str], text: str) -> None:
    if not line.done():  # the run has ended meanwhile
        line.set_result(text)
