"""`otflow demo`: runs the workflow of the demo, tells what it does while it does it, and draws the run afterwards."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import otflow
from otflow.cli.screen import Screen
from otflow.demo.corpus import Corpus, choose_corpus
from otflow.demo.index import Index
from otflow.demo.quotes import Quote
from otflow.demo.wording import Endpoint, find_endpoint
from otflow.demo.workflow import Answer, AskFiles, Begin, Note, Progress, Report
from otflow.dispatcher import default_dispatcher
from otflow.drawing.line import Line, Piece, Style, clean
from otflow.drawing.tree import draw_run, draw_summary
from otflow.errors import OtflowError
from otflow.events import Event
from otflow.handler import WorkflowHandler
from otflow.records.history import read_runs
from otflow.records.record import Record

__all__ = ["DEFAULT_QUESTION", "RunFailedError", "show_demo"]

DEFAULT_QUESTION = "Why does a trace hold the whole run?"


class RunFailedError(OtflowError):
    """A run that was to be shown failed."""


def show_demo(screen: Screen, folder: Path | None, questions: Sequence[str], *, offline: bool, hint: bool) -> None:
    """Answer questions from files, and draw the run.

    Args:
        screen: where everything is shown.
        folder: the folder with the files; None for the documentation of otflow.
        questions: what to ask; at least one.
        offline: whether no language model is asked, whatever the environment says.
        hint: whether to say at the end how to ask something else.

    Raises:
        NothingToReadError: there is no file to read.
        RunFailedError: the run failed; what is known of it has been drawn.
    """
    corpus = choose_corpus(folder, Path(otflow.__file__).parent)
    endpoint = None if offline else find_endpoint(os.environ)
    _introduce(screen, corpus, endpoint, questions)
    records: list[Record] = []
    report: Report | None = None
    failure: OtflowError | None = None
    with ExitStack() as stack:
        # the dispatcher that all runs share, so that whoever exports traces gets the one of the demo too
        stack.callback(default_dispatcher.attach(records.extend))
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="otflow-demo-"))
        index = Index(Path(place, "passages.db"))
        stack.callback(index.close)
        try:
            report = asyncio.run(_run(screen, AskFiles(corpus, index, endpoint), questions))
        except OtflowError as error:
            failure = error
    if report is not None:
        _show_answers(screen, report)
    _show_run(screen, records)
    if failure is not None:
        raise RunFailedError(str(failure)) from failure
    if hint:
        screen.print()
        screen.write((Piece("Ask your own files: ", "faint"), Piece('otflow demo --path FOLDER --question "TEXT"')))


def _introduce(screen: Screen, corpus: Corpus, endpoint: Endpoint | None, questions: Sequence[str]) -> None:
    screen.print([(Piece("otflow demo", "title"),), ()])
    rows = [("question", clean(question)) for question in questions]
    where = f" in {corpus.root}" if corpus.root else ""
    rows.append(("files", clean(f"{corpus.title}{where}")))
    if endpoint is not None:
        rows.append(("wording", clean(f"{endpoint.model} at {endpoint.host}, which gets the quotations")))
    for name, text in rows:
        screen.write(text, indent=" " * 12, first=(Piece(f"  {name:<10}", "faint"),))
    screen.print()


class _Status:
    """What a run is doing, in a few words."""

    def __init__(self) -> None:
        self.read = 0
        self.text = "starting"

    def __call__(self) -> str:
        return self.text

    def follow(self, event: Event) -> None:
        """Take an event of the stream."""
        match event:
            case Progress():
                self.read += 1
                self.text = f"read {self.read:,} of {event.total:,} files: {clean(event.path)}"
            case Note(mood=""):
                self.text = f"{event.step}: {clean(event.text)}"
            case Note():
                self.text = "at work"
            case _:
                pass


async def _run(screen: Screen, workflow: AskFiles, questions: Sequence[str]) -> Report:
    status = _Status()
    handler = workflow.run(start_event=Begin(questions=list(questions)))
    with screen.moving(status):
        async for event in handler.stream_events():
            status.follow(event)
            if isinstance(event, Note):
                _show_note(screen, event)
    return await _result(handler)


async def _result(handler: WorkflowHandler) -> Report:
    report = await handler
    if not isinstance(report, Report):
        raise AssertionError("the demo ends with its report")
    return report


def _show_note(screen: Screen, note: Note) -> None:
    styles: dict[str, tuple[str, Style]] = {"good": (screen.signs.good, "good"), "bad": (screen.signs.bad, "bad")}
    sign, style = styles.get(note.mood, (screen.signs.dot, "faint"))
    head: Line = (Piece(f"  {sign} ", style), Piece(f"{note.step:<8}", "step"))
    screen.write(clean(note.text), indent=" " * 12, first=head)


def _show_answers(screen: Screen, report: Report) -> None:
    for answer in report.answers:
        screen.head("Answer" if len(report.answers) == 1 else f"Answer: {clean(answer.question)}")
        if not answer.quotes:
            _show_nothing(screen, answer)
            continue
        if answer.words:
            screen.write(clean(answer.words), indent="  ")
            screen.print()
        for number, quote in enumerate(answer.quotes, start=1):
            if number > 1:
                screen.print()
            _show_quote(screen, quote, f"[{number}]")
        if answer.failed:
            screen.print()
            screen.write((Piece(f"Quotations only: {clean(answer.failed)}.", "wait"),), indent="  ")
        if answer.unknown:
            screen.print()
            screen.write((Piece(f"No file has the word{_list_words(answer.unknown)}.", "wait"),), indent="  ")


def _show_quote(screen: Screen, quote: Quote, number: str) -> None:
    screen.write(clean(quote.text), indent=" " * 6, first=(Piece(f"  {number:<4}", "faint"),))
    screen.print([(Piece(" " * 6), Piece(clean(quote.place), "place"))])  # in one piece, to be copied


def _show_nothing(screen: Screen, answer: Answer) -> None:
    text = "Nothing in these files answers this."
    if answer.unknown:
        text += f" No file has the word{_list_words(answer.unknown)}."
    screen.write((Piece(text, "wait"),), indent="  ")
    screen.write((Piece("Ask with other words, or name another folder: --path FOLDER", "faint"),), indent="  ")


def _list_words(words: Sequence[str]) -> str:
    quoted = [f'"{clean(word)}"' for word in words]
    return f" {quoted[0]}" if len(quoted) == 1 else f"s {', '.join(quoted[:-1])} or {quoted[-1]}"


def _show_run(screen: Screen, records: Sequence[Record]) -> None:
    for run in read_runs(records):
        screen.head("The run, drawn from its records")
        screen.print(draw_run(run, width=screen.width, signs=screen.signs))
        screen.print()
        screen.print(draw_summary(run, width=screen.width, signs=screen.signs))
