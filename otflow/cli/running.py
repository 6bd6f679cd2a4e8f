"""`otflow run`, `otflow resume` and `otflow fork`: runs that begin, and runs that are taken up again."""

from __future__ import annotations

from typing import Annotated

import typer

from otflow.cli.complaints import NotFoundError, UsageError
from otflow.cli.inputs import list_answers, make_answer, make_event, make_start, read_fields, read_pairs
from otflow.cli.options import Against, From, Headers, Journal, Json, Quiet, RunId, Timeout
from otflow.cli.pursuing import Telling, pursue
from otflow.cli.sources import LAST, find_journal_path, find_run
from otflow.cli.workflows import make_workflow
from otflow.core.snapshot import read_saved
from otflow.events import Event, HumanResponseEvent, StartEvent
from otflow.handler import WorkflowHandler
from otflow.journal import Journal as Book
from otflow.journal.book import find_run as look_up
from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.losses import is_cut
from otflow.records.record import About, EventReceived, EventSent, RunResumed, RunStarted, WaitEnded, WaitStarted
from otflow.signature import type_key
from otflow.tagging import tagged
from otflow.workflow import Workflow

__all__ = ["fork", "recall_target", "resume", "run"]

_TARGET = "otflow.target"  # among what is known of a run: the name of the workflow that it was started with


def run(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="module:Workflow or path/to/file.py:Workflow, class or instance.")
    ],
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="A field of the start event; JSON, or a text."),
    ] = None,
    input_json: Annotated[
        str | None, typer.Option("--input-json", metavar="FILE", help='A JSON object with the fields; "-": from stdin.')
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", metavar="ID", help="The id of the run.")] = None,
    timeout: Timeout = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a workflow, and print its result.

    What it does is told on stderr, the result goes to stdout. Every record is in the journal before anything is done
    about it, so `otflow resume` goes on after a crash.

    A question of the run is asked here if this is a terminal; else the run is left as it stands, and `otflow resume
    RUN --answer TEXT` goes on with it.
    """
    made = make_workflow(workflow, timeout)
    kind = made.graph.start or StartEvent
    start = make_start(kind, read_fields(input or (), input_json, kind))

    def begin(book: Book) -> WorkflowHandler:
        _require_new(book, run_id)
        with tagged(metadata={_TARGET: workflow}):
            return made.run(run_id=run_id, start_event=start)

    pursue(begin, made, journal, Telling(quiet, json))


def resume(
    run: RunId = LAST,
    against: Against = None,
    answer: Annotated[
        str | None, typer.Option("--answer", "-a", metavar="TEXT", help="What the run waits for: a HumanResponseEvent.")
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", metavar="JSON", help="Another event to send: Class={...}.")
    ] = None,
    timeout: Timeout = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run of the journal, after a crash or when its answer is there.

    No record is lost and no outcome counts twice: only attempts that had not ended run again.
    """
    path = find_journal_path(journal)
    if not path.exists():
        raise NotFoundError(f"there is no journal {path}. Name it with --journal, or go where the run was started.")
    execution = find_run(run, str(path))
    made = make_workflow(against or recall_target(execution), timeout)
    _check_name(execution, made)
    sent: list[Event] = []
    if answer is not None:
        sent.append(make_answer(answer, _find_kinds(execution, made)))
    if event is not None:
        sent.append(make_event(event, made, HumanResponseEvent))

    def begin(book: Book) -> WorkflowHandler:
        handler = made.resume(execution.run_id, book)
        for each in sent:
            handler.ctx.send_event(each)
        return handler

    pursue(begin, made, journal, Telling(quiet, json))


def fork(
    run: RunId,
    against: Against = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="SEQ", help="The record behind which the new run begins. Default: the last one."),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option("--event", metavar="JSON", help="An event in place of the one that record SEQ brought."),
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="PATH=VALUE", help="A value to write to the state before.")
    ] = None,
    source: From = None,
    header: Headers = None,
    run_id: Annotated[str | None, typer.Option("--run-id", metavar="ID", help="The id of the new run.")] = None,
    timeout: Timeout = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Begin a new run where an old one stood, with another event or another state if that is wanted.

    The old run may be in a journal, a file, a Jaeger or a Phoenix; it is not touched. `otflow show RUN --records` gives
    the numbers of its records.
    """
    from otflow.replay import fork as begin_fork

    execution = find_run(run, source, header)
    target = against or recall_target(execution)
    made = make_workflow(target, timeout)
    other = make_event(event, made, _find_class(execution, made, at)) if event is not None else None
    values = read_pairs("--state", state or ())

    def begin(book: Book) -> WorkflowHandler:
        _require_new(book, run_id)
        with tagged(metadata={_TARGET: target}):
            return begin_fork(execution, made, at=at, event=other, state=values or None, run_id=run_id)

    pursue(begin, made, journal, Telling(quiet, json))


def recall_target(execution: Execution) -> str:
    """Return the name of the workflow with which a run was started by the command.

    Raises:
        UsageError: it was not.
    """
    about: About | None = None
    match execution.records[0]:
        case RunStarted(about=about):
            pass
        case RunResumed(snapshot=Body() as snapshot) if is_cut(snapshot) < 0:  # it was forked
            about = read_saved(snapshot).about
        case _:
            pass
    found = about.metadata.content if about is not None and about.metadata is not None else None
    target = found.get(_TARGET) if isinstance(found, dict) else None
    if not isinstance(target, str):
        raise UsageError(
            f"run {execution.run_id} of {execution.workflow or '?'} does not say where its workflow is: name it with "
            "--against module:Workflow."
        )
    return target


def _require_new(book: Book, run_id: str | None) -> None:
    """Refuse the id of a run that is in the journal."""
    if run_id is not None and look_up(book.connection, run_id) is not None:
        raise UsageError(
            f"run {run_id} is in the journal {book.path} already: give the new one another --run-id, or go on with it: "
            f"otflow resume {run_id}"
        )


def _check_name(execution: Execution, made: Workflow) -> None:
    if execution.workflow and execution.workflow != made.workflow_name:
        raise UsageError(
            f"run {execution.run_id} is one of {execution.workflow}, not of {made.workflow_name}: name its workflow "
            "with --against module:Workflow."
        )


def _find_kinds(execution: Execution, made: Workflow) -> list[type[HumanResponseEvent]]:
    """Return the classes of answers that a run waits for, else those that its steps take."""
    ended = {record.wait for record in execution.records if isinstance(record, WaitEnded) and record.event}
    known = list_answers()
    waited = [
        known[record.type]
        for record in execution.records
        if isinstance(record, WaitStarted) and record.seq not in ended and record.type in known
    ]
    return list(reversed(waited)) or [kind for kind in made.event_types if issubclass(kind, HumanResponseEvent)]


def _find_class(execution: Execution, made: Workflow, at: int | None) -> type[Event]:
    """Return the class of the event that a record brought."""
    number = execution.records[-1].seq if at is None else at
    for record in execution.records:
        if record.seq == number and isinstance(record, EventReceived | EventSent):
            for kind in (*made.event_types, *list_answers().values()):
                if type_key(kind) == record.type:
                    return kind
            raise UsageError(
                f"record {number} brought a {record.type}, which the workflow does not have: name a class."
            )
    raise UsageError(
        f"record {number} of run {execution.run_id} brought no event that could be changed: `otflow show "
        f"{execution.run_id[:12]} --records` shows which ones did."
    )
