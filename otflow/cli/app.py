"""The commands of `otflow`, what they take, and what they say when something is wrong.

An error is one line that says what to do. The exit code is 0 when all went well, 1 when a run failed, 2 when the
command was used wrongly, and 130 when it was interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from otflow import __version__
from otflow.cli.dashboards import DashboardsError, show_dashboards
from otflow.cli.demo import DEFAULT_QUESTION, RunFailedError, show_demo
from otflow.cli.screen import Screen
from otflow.demo.corpus import NothingToReadError
from otflow.demo.index import pick_words
from otflow.errors import OtflowError

__all__ = ["UsageError", "main"]

_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130
_CODES = """\b
Exit codes:
  0    all went well
  1    the run failed
  2    the command was used wrongly
  130  interrupted
"""

_app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class UsageError(OtflowError):
    """The command was used wrongly."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"otflow {__version__}")
        raise typer.Exit


@_app.callback(invoke_without_command=True, epilog=_CODES)
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


@_app.command(epilog=_CODES, short_help="Answer questions from text files, and draw the run.")
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


@_app.command(epilog=_CODES, short_help="Write dashboards and alerts, for all workflows or made from one.")
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
        code = _app(args=arguments, prog_name="otflow", standalone_mode=False)
        sys.stdout.flush()
    except (UsageError, NothingToReadError, DashboardsError) as error:
        return _complain(str(error), _MISUSED)
    except RunFailedError as error:
        return _complain(str(error), _FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted.", _INTERRUPTED)
    except BrokenPipeError:  # who read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:  # of all errors, those of typer are the user's; the others are ours
        if not isinstance(error, _TYPER_ERROR):
            raise
        message = getattr(error, "format_message", error.__str__)()
        return _complain(f"{message} (otflow --help says what there is)", _MISUSED)
    if code == _INTERRUPTED:  # so say the newer versions of typer
        return _complain("interrupted.", code)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    print(f"otflow: {' '.join(message.split())}", file=sys.stderr)
    return code
