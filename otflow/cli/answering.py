"""`otflow stats`: what the history of runs says: where time went, what was waited for, what was never taken, advice."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from otflow.cli.complaints import UsageError
from otflow.cli.hiding import hide
from otflow.cli.options import From, Headers, Json
from otflow.cli.running import recall_target
from otflow.cli.screen import Screen
from otflow.cli.sources import LAST, find_runs
from otflow.cli.tables import Column, draw_table, print_json, style_outcome
from otflow.cli.workflows import make_workflow, name_module
from otflow.drawing.answers_text import draw_advice, draw_blame, draw_coverage, draw_path, draw_spent
from otflow.drawing.line import Line, Piece, clean
from otflow.drawing.quantities import count, format_duration
from otflow.errors import OtflowError
from otflow.records.answers import advise, blame, coverage, critical_path, spent
from otflow.records.execution import Execution
from otflow.workflow import Workflow

__all__ = ["stats"]

_KEPT = 10_000  # runs that are looked at together


def stats(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs, and places of which all runs are meant.")
    ] = None,
    place: From = None,
    every: Annotated[bool, typer.Option("--all", help="All runs that are there.")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="WORKFLOW", help="The workflow whose ways are counted: module:Workflow."),
    ] = None,
    path: Annotated[
        str | None, typer.Option("--blame", metavar="PATH", help='Who wrote to this place of the state; "" for all.')
    ] = None,
    header: Headers = None,
    json: Json = False,
) -> None:
    """Say where the time of runs went, what they had to wait for, and what their failures suggest.

    Of one run: its critical path and its times. Of several: how they ended, how long they took, and which ways of the
    workflow none of them has taken (with --against, or if they were started by the command). A run that cannot be read
    among others is left out, and named.
    """
    names = [] if every else runs or [LAST]
    screen, found = Screen(sys.stderr), list[Execution]()

    def skip(run: str, reason: OtflowError) -> None:
        note = (Piece(f"{screen.signs.note} ", "wait"),)
        screen.write((Piece(f"run {clean(run)} is left out: {clean(str(reason))}", "wait"),), indent="  ", first=note)

    with screen.moving(lambda: f"{count(len(found), 'run')} read"):
        for execution in find_runs(names, place, headers=header, skip=skip):
            found.append(hide(execution))
            if len(found) > _KEPT:
                raise UsageError(f"these are more than {_KEPT:,} runs: name fewer.")
    workflow = _find_workflow(found, against)
    if workflow is not None and against is not None:
        found = [each for each in found if each.workflow in {workflow.workflow_name, ""}] or found
    if json:
        print_json(_tell(found, workflow, path))
        return
    page = Screen(sys.stdout)
    for number, lines in enumerate(_draw(found, workflow, path, page)):
        page.print([()] * (number > 0))
        page.print(lines)


def _find_workflow(found: Sequence[Execution], against: str | None) -> Workflow | None:
    """Return the workflow whose ways are counted: the one that is named, or the one that all runs come from."""
    if against is not None:
        return make_workflow(against)
    targets: dict[str, str] = {}
    for each in found:
        with suppress(UsageError):  # it was not started by the command
            target = recall_target(each)
            targets[name_module(target)] = target
    if len(targets) != 1:
        return None
    try:
        workflow = make_workflow(next(iter(targets.values())))
    except UsageError:  # it is not to be found from here
        return None
    return workflow if all(each.workflow in {workflow.workflow_name, ""} for each in found) else None


def _tell(found: Sequence[Execution], workflow: Workflow | None, path: str | None) -> dict[str, object]:
    told: dict[str, object] = {
        "runs": [
            {
                "run": each.run_id,
                "workflow": each.workflow,
                "outcome": each.outcome,
                "complete": each.complete,
                "critical_path": critical_path(each),
                "spent": spent(each),
            }
            | ({"blame": _plain_blame(each, path)} if path is not None else {})
            for each in found
        ],
        "advice": advise(found),
    }
    if workflow is not None:
        ways = coverage(found, workflow.graph.routes)
        told["coverage"] = {"share": ways.share, "partial": ways.partial, "edges": ways.edges}
    return told


def _plain_blame(execution: Execution, path: str) -> dict[str, object]:
    told = blame(execution, path)
    return {"path": told.path, "writes": told.writes, "doubts": [gap._asdict() for gap in told.doubts]}


def _draw(
    found: Sequence[Execution], workflow: Workflow | None, path: str | None, screen: Screen
) -> Sequence[Sequence[Line]]:
    width, signs = screen.width, screen.signs
    if path is not None:
        return [
            [_title(each), *draw_blame(blame(each, path), width=width, signs=signs)]
            if len(found) > 1
            else draw_blame(blame(each, path), width=width, signs=signs)
            for each in found
        ]
    parts: list[Sequence[Line]] = []
    if len(found) == 1:
        parts.append([_title(found[0])])
        parts.append(draw_path(critical_path(found[0]), width=width, signs=signs))
        parts.append(draw_spent(spent(found[0]), width=width, signs=signs))
    else:
        parts.append(_draw_many(found, screen))
    if workflow is not None:
        parts.append(draw_coverage(coverage(found, workflow.graph.routes), width=width, signs=signs))
    parts.append(draw_advice(advise(found), width=width))
    return parts


def _title(execution: Execution) -> Line:
    return (
        Piece(clean(execution.workflow) or "?", "title"),
        Piece(f"  run {clean(execution.run_id)}  ", "faint"),
        Piece(execution.outcome, style_outcome(execution.outcome)),
    )


def _tell_walls(found: Sequence[Execution]) -> str:
    walls = sorted(each.history.duration for each in found if not each.history.astray)
    odd = len(found) - len(walls)
    unknown = f"how long {count(odd, 'run')} took is not known: their clocks differ" if odd else ""
    if not walls:
        return unknown
    middle, high = walls[len(walls) // 2], walls[min(len(walls) - 1, len(walls) * 95 // 100)]
    told = f"half took up to {format_duration(middle)}, 95 % up to {format_duration(high)}"
    return f"{told}, the longest {format_duration(walls[-1])}{unknown and '; '}{unknown}"


def _draw_many(found: Sequence[Execution], screen: Screen) -> list[Line]:
    """Draw how runs ended and how long they took, and the sums of their steps."""
    outcomes = Counter(each.outcome for each in found)
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.most_common())
    lines: list[Line] = [
        (Piece(f"{count(len(found), 'run')}: {told}", "title"),),
        (Piece(_tell_walls(found), "faint"),),
        (),
    ]
    sums: dict[str, Counter[str]] = {}
    for each in found:
        for step in spent(each).steps:
            sums.setdefault(step.step, Counter()).update(
                {
                    name: getattr(step, name)
                    for name in ("attempts", "running", "failed", "queued", "waiting", "delayed")
                }
            )
    names = ("running", "failed", "queued", "waiting", "delayed")
    rows = [
        (clean(step) or "?", f"{times['attempts']:,}", *(format_duration(times[n]) if times[n] else "" for n in names))
        for step, times in sorted(sums.items(), key=lambda item: -item[1]["running"])
    ]
    columns = [Column("step", "step", loose=True), Column("attempts", right=True)]
    columns += [Column(name, right=True) for name in names]
    return [*lines, *draw_table(columns, rows, screen.width, screen.signs)]
