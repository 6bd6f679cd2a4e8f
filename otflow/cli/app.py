"""The commands of `otflow`, what they take, and what they say when something is wrong.

An error is one line that says what to do. The exit codes stand in `otflow.cli.complaints`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from otflow import __version__
from otflow.cli import answering, doctoring, drawings, exporting, judging, looking, running, watching
from otflow.cli.complaints import CODES, INTERRUPTED, MISUSED, UNHEARD, UsageError, code_of
from otflow.cli.dashboards import show_dashboards
from otflow.cli.demo import DEFAULT_QUESTION, show_demo
from otflow.cli.outlet import UnheardError, complain, guarding, prepare
from otflow.cli.screen import Screen
from otflow.demo.index import pick_words
from otflow.errors import OtflowError

__all__ = ["main"]

_app = typer.Typer(
    add_completion=True,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otflow {__version__}")
        raise typer.Exit


@_app.callback(invoke_without_command=True, epilog=CODES)
def _otflow(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Event-driven workflows whose execution record is the OpenTelemetry trace."""
    del version  # its callback has shown it
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@_app.command(epilog=CODES, short_help="Answer questions from text files, and draw the run.")
def demo(
    path: Annotated[
        Path | None,
        typer.Option(
            "--path",
            "-p",
            metavar="FOLDER",
            help="The folder whose text files are read. Default: the documentation of otflow.",
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            "--question",
            "-q",
            metavar="TEXT",
            help=f'What to ask; may be given several times. Default: "{DEFAULT_QUESTION}"',
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no language model, even if OPENAI_API_KEY is set.")
    ] = False,
) -> None:
    """Run a workflow that answers questions from text files, and show how the run went.

    It needs no network and no key. The files are read by several workers into a full-text index while the questions
    already search in it: the first search fails, because the index is still being written, and is tried again. Words
    are looked for more and more loosely until enough is found. Answers are quotations, each with its file and line.

    What is drawn at the end are the records of the run: each step under the step whose event it worked on, its
    attempts, what it wrote, and what it waited for.

    If OPENAI_API_KEY is set (and, if you like, OPENAI_BASE_URL and OPENAI_MODEL), that language model puts the
    quotations into words; nothing but the question and the quotations is sent to it.
    """
    # what came as bytes that are no text stands in an argument as surrogates, which are no text either
    questions = [each.encode(errors="replace").decode() for each in question or [DEFAULT_QUESTION]]
    for each in questions:
        if not pick_words(each):
            raise UsageError(f'--question "{each}" has no word to look for: ask in words.')
    show_demo(Screen(sys.stdout), path, questions, offline=offline, hint=path is None and not question)


@_app.command(epilog=CODES, short_help="Write dashboards and alerts, for all workflows or made from one.")
def dashboards(
    workflow: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKFLOW",
            help="module:Workflow or path/to/file.py:Workflow, a class or an instance. Default: for all workflows.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.")] = Path(
        "grafana"
    ),
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help='After how long a run ends, or "none". Default: what the workflow says; with this option a class that '
            "needs arguments will do.",
        ),
    ] = None,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Print one JSON object, the texts by their file names, and write nothing.")
    ] = False,
    runbook: Annotated[
        str | None,
        typer.Option(
            "--runbook", metavar="URL", help="The page that alerts link to, a heading for each. Default: no links."
        ),
    ] = None,
) -> None:
    """Write dashboards for Grafana, and recording rules and alerts for Prometheus.

    Without WORKFLOW they are those for all workflows: an overview, the steps of a workflow, waits, and the health of
    the telemetry itself, with the alerts.

    With WORKFLOW they are made from its definition: its steps in the order in which events reach them, their workers,
    what their retry policies allow, the timeout, and the answers that it waits for. Nothing is run, but its module is
    imported.
    """
    show_dashboards(workflow, output, timeout=timeout, runbook=runbook, stdout=stdout)


# in the order in which they stand in the help
for _command, _short in (
    (running.run, "Run a workflow, with a journal, and print its result."),
    (looking.list_runs, "List runs, the latest first."),
    (looking.show, "Show what is known of a run."),
    (looking.tree, "Draw a run as a tree, here."),
    (drawings.draw, "Draw a run or a workflow: HTML, SVG, Mermaid."),
    (drawings.diff, "Say what differs between two runs."),
    (running.resume, "Go on with a run of the journal."),
    (running.fork, "Begin a new run where an old one stood."),
    (judging.replay, "Ask whether today's workflow accepts old runs."),
    (judging.write_test, "Write a test from a recorded run."),
    (watching.watch, "Look at runs while they go on."),
    (answering.stats, "Say where time went, and what failures suggest."),
    (exporting.export, "Send recorded runs as OTLP, or write a file."),
    (doctoring.doctor, "Say what is configured, and what answers."),
):
    _name = {looking.list_runs: "list", judging.write_test: "test"}.get(_command)
    _app.command(_name, epilog=CODES, short_help=_short)(_command)

# of all versions of typer the one name of this family that is public
_TYPER_ERROR = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the name of the command; default those of the process.

    Returns:
        The exit code.
    """
    try:
        prepare()
        with guarding():
            code = _app(args=arguments, prog_name="otflow", standalone_mode=False)
    except OtflowError as error:
        return _complain(str(error), code_of(error))
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted.", INTERRUPTED)
    except UnheardError:  # who read the output has seen enough
        return UNHEARD
    except Exception as error:  # of all errors, those of typer are the user's; the others are ours
        if not isinstance(error, _TYPER_ERROR):
            raise
        message = getattr(error, "format_message", error.__str__)()
        return _complain(f"{message} (otflow --help says what there is)", MISUSED)
    if code == INTERRUPTED:  # so say the newer versions of typer
        return _complain("interrupted.", code)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    complain(message)
    return code
