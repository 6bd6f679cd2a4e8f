"""`otflow replay` and `otflow test`: recorded runs held against the workflow of today, at once and as a test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otflow.cli.complaints import FAILED, UsageError
from otflow.cli.drawings import write_text
from otflow.cli.hiding import hide, hide_foreign
from otflow.cli.options import From, Headers, Json, RunId
from otflow.cli.outlet import complain, say
from otflow.cli.running import recall_target
from otflow.cli.screen import Screen
from otflow.cli.sources import LAST, find_runs, find_traced_run
from otflow.cli.tables import print_json
from otflow.cli.workflows import find_folder, find_workflow, make_workflow, name_module
from otflow.drawing.line import Piece, clean
from otflow.drawing.quantities import count

if TYPE_CHECKING:
    from otflow.replay import Verdict

__all__ = ["replay", "write_test"]


def replay(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TRACES]...", help="Runs, and places of which all runs are meant. Default: all of the journal."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="WORKFLOW", help="The workflow of today: module:Workflow or file.py:Workflow."
        ),
    ] = None,
    place: From = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name the runs that are accepted too.")] = False,
    header: Headers = None,
    json: Json = False,
) -> None:
    """Ask whether the workflow of today accepts what is recorded. Exit code 1 if it does not.

    No step is called. For each run that is not accepted the first record is named at which they part, and what has
    changed: a step is gone, an event is no longer accepted, a retry policy is another one.
    """
    from otflow.replay import replay as judge

    if against is None:
        raise UsageError("say which workflow is meant: --against module:Workflow.")
    workflow = make_workflow(against)
    progress = Screen(sys.stderr)
    verdicts: list[Verdict] = []
    with progress.moving(lambda: f"{count(len(verdicts), 'run')} judged"):
        for execution in find_runs(traces or (), place, workflow.workflow_name, header):
            verdicts.append(judge(execution, workflow))  # noqa: PERF401  the line that moves counts them
    if json:
        _print_verdicts(verdicts, workflow.workflow_name)
    else:
        _show_verdicts(verdicts, workflow.workflow_name, all_of_them=verbose or len(verdicts) == 1)
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(FAILED)


def _print_verdicts(verdicts: Sequence[Verdict], workflow: str) -> None:
    accepted = sum(verdict.ok for verdict in verdicts)
    print_json(
        {"workflow": workflow, "accepted": accepted, "refused": len(verdicts) - accepted}
        | {"verdicts": [{"ok": each.ok, "sentence": each.sentence} | _plain(each._asdict()) for each in verdicts]}
    )


def _show_verdicts(verdicts: Sequence[Verdict], workflow: str, *, all_of_them: bool) -> None:
    screen = Screen(sys.stdout)
    for verdict in verdicts:
        for line in verdict.lines if all_of_them or not verdict.ok else ():
            indent = " " * (len(line) - len(line.lstrip()))
            screen.write((Piece(clean(line.lstrip()), "" if verdict.ok else "bad"),), indent="      ", first=indent)
    accepted = sum(verdict.ok for verdict in verdicts)
    refused = len(verdicts) - accepted
    screen.print(
        [
            (
                Piece(f"{accepted:,} accepted", "good"),
                Piece(f", {refused:,} not" if refused else "", "bad"),
                Piece(f", by {workflow}", "faint"),
            )
        ]
    )


def _plain(fields: dict[str, object]) -> dict[str, object]:
    divergence = fields["divergence"]
    told = divergence._asdict() if divergence is not None else None  # type: ignore[attr-defined]  # a Divergence
    return fields | {"divergence": told}


def write_test(
    run: RunId = LAST,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The test. Default: it is printed.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            "--workflow",
            metavar="WORKFLOW",
            help="module:Workflow. Default: what the run was started with.",
        ),
    ] = None,
    place: From = None,
    header: Headers = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")] = False,
) -> None:
    """Write a test from a recorded run: each step, called as it was then, has to give what it gave.

    Where the trace has the spans of other libraries too, what a step asked of the outside stands in its test: requests
    over HTTP and calls of OpenAI's client are answered without a network, others are named.
    """
    from otflow.readers import read_foreign
    from otflow.replay.testing import write_test as write

    found, source = find_traced_run(run, place, header)
    execution = hide(found, exact=True)  # a test is kept where others read it
    target = against or recall_target(execution)
    find_workflow(target)
    folder = find_folder(target, output.parent if output is not None else Path())
    outside = read_foreign(source, found)
    text = write(execution, name_module(target), hide_foreign(outside.spans), folder)
    for fault in outside.faults:
        complain(fault)
    if output is None:
        print(text, end="")
        return
    if output.exists() and not force:
        raise UsageError(f"{output} is there already: name another file with -o, or write over it with -f.")
    write_text(output, text)
    number = sum(line.startswith("def test_") for line in text.splitlines())
    say(f"wrote {output}: {count(number, 'test')}. Run it with: python -m pytest {output}")
