"""`otflow draw` and `otflow diff`: a run or a workflow as a picture, and two runs laid beside each other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from otflow.cli.complaints import FAILED, UNKNOWN, UsageError
from otflow.cli.hiding import hide
from otflow.cli.options import From, Headers, Json, Output
from otflow.cli.outlet import say
from otflow.cli.screen import Screen
from otflow.cli.sources import LAST, find_run, is_place
from otflow.cli.tables import print_json
from otflow.cli.workflows import find_workflow

__all__ = ["diff", "draw", "write_text"]

T = TypeVar("T")


def draw(
    what: Annotated[
        str, typer.Argument(metavar="RUN|WORKFLOW", help="A run, or module:Workflow for its steps.")
    ] = LAST,
    output: Output = None,
    place: From = None,
    header: Headers = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")] = False,
) -> None:
    """Draw a run, or the steps of a workflow.

    The ending of FILE says in which form: .html, an interactive page that opens offline (the default), .svg, .mmd for
    Mermaid, or .txt.
    """
    from otflow.visualize import draw_all_possible_flows, draw_execution

    is_workflow = ":" in what and not is_place(what)
    if is_workflow:
        workflow = find_workflow(what)
        path = output or Path(f"{what.rpartition(':')[2]}.html")
        _check(path, force=force or output is not None)
        drawing = _guard(lambda: draw_all_possible_flows(workflow, path), path)
    else:
        execution = hide(find_run(what, place, header))
        path = output or Path(f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in execution.run_id)}.html")
        _check(path, force=force or output is not None)
        drawing = _guard(lambda: draw_execution(execution, path), path)
    nodes, edges = len(drawing.picture.nodes), len(drawing.picture.edges)
    say(f"wrote {path}: {drawing.picture.title}, {nodes:,} nodes, {edges:,} arrows")


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="The first run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The second run.")],
    output: Output = None,
    place: From = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="FIELD", help="A field of payloads that may differ.")
    ] = None,
    header: Headers = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many differences are listed.")] = 20,
    json: Json = False,
) -> None:
    """Say what differs between two runs, first and where. Exit code 1 if they differ, 6 if that cannot be told.

    What only comes in another order is told as order, and how long things took is told apart: neither counts as a
    difference. Nor does what may stand in records that are missing. With -o FILE it is written as an HTML page too.
    """
    from otflow.drawing.diff_page import draw_difference_page
    from otflow.drawing.diff_text import draw_difference
    from otflow.records.diff import diff as find_difference

    found = find_difference(
        hide(find_run(first, place, header)),
        hide(find_run(second, place, header)),
        limit=max(limit, 100),
        ignore=ignore or (),
    )
    if output is not None:
        write_text(output, draw_difference_page(found))
    if json:
        print_json(found)
    else:
        screen = Screen(sys.stdout)
        screen.print(draw_difference(found, width=screen.width, signs=screen.signs, most=limit))
        if output is not None:
            say(f"wrote {output}")
    if found.verdict == "different":
        raise typer.Exit(FAILED)
    if found.verdict == "unknown":
        raise typer.Exit(UNKNOWN)


def write_text(path: Path, text: str) -> None:
    """Write a file, and its folder if there is none.

    Raises:
        UsageError: it cannot be written.
    """
    _guard(lambda: path.write_text(text, encoding="utf-8"), path)


def _check(path: Path, *, force: bool) -> None:
    if not force and path.exists():
        raise UsageError(f"{path} is there already: name another file with -o, or write over it with -f.")


def _guard(write: Callable[[], T], path: Path) -> T:
    """Write into a file, and make its folder before that."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Name another file with -o.") from error
