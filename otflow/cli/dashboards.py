"""`otflow dashboards`: finds a workflow by its name and writes its dashboard and alerts, or those for all workflows."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path

from otflow.cli.complaints import UsageError
from otflow.cli.outlet import escape, say
from otflow.cli.workflows import describe_error, find_workflow
from otflow.dashboards.definition import Definition, define
from otflow.dashboards.files import general_files, workflow_files
from otflow.dashboards.workflow_rules import remarks
from otflow.decorators import step_config
from otflow.drawing.line import clean
from otflow.graph import build_graph
from otflow.steps import list_functions
from otflow.workflow import Workflow

__all__ = ["DashboardsError", "show_dashboards"]


class DashboardsError(UsageError):
    """There is nothing that dashboards could be made of, or no place to put them."""


def show_dashboards(
    target: str | None, folder: Path, *, timeout: str | None, runbook: str | None, stdout: bool
) -> None:
    """Write dashboards and rules into files, or print them, and say what was done.

    Args:
        target: the workflow, as `module:Workflow`; None for the dashboards of all workflows.
        folder: where the files go.
        timeout: seconds after which a run ends, or "none"; None: as the workflow itself says.
        runbook: the address of the page that alerts link to; None: they link to nothing.
        stdout: whether all is printed as one JSON object, the texts by the paths of their files, in place of written.

    Raises:
        DashboardsError: the workflow is not found, or a file cannot be written.
    """
    if target is None:
        if timeout is not None:
            raise DashboardsError("--timeout is that of a workflow: name one.")
        files, odd = general_files(runbook), []
    else:
        definition = _define(target, timeout)
        files, odd = workflow_files(definition, runbook), list(remarks(definition))
    if stdout:
        print(escape(json.dumps(dict(files), indent=2, ensure_ascii=False)))
    else:
        _write(folder, files)
    for remark in odd:
        print(clean(f"note: {remark}"), file=sys.stderr if stdout else sys.stdout)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DashboardsError(f"cannot write {path}: {error.strerror}. Name another folder with -o.") from error
        say(f"wrote {path}")


# --- the workflow --------------------------------------------------------------------------------------


def _define(target: str, timeout: str | None) -> Definition:
    found = find_workflow(target)
    try:
        if isinstance(found, type) and timeout is not None:  # so it need not be made
            configs = [config for func in list_functions(found).values() if (config := step_config(func)) is not None]
            return define(build_graph(found.__name__, configs), _read_timeout(timeout))
        workflow = _make(found, target) if isinstance(found, type) else found
        # where the followed API keeps it; a property would take the name from subclasses
        limit = workflow._timeout if timeout is None else _read_timeout(timeout)  # noqa: SLF001
        return define(workflow.graph, limit)
    except UsageError:
        raise
    except Exception as error:  # the constructor is the user's
        raise DashboardsError(f"{target} cannot be made: {describe_error(error)}") from error


def _read_timeout(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise DashboardsError(f'--timeout "{text}" is no time: give a number of seconds greater than 0, or none.')
    return seconds


def _make(kind: type[Workflow], target: str) -> Workflow:
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise DashboardsError(
            f"{target} cannot be made without arguments ({error}). Name one that is made in its module, or say after "
            "how many seconds its runs end, with --timeout: then none has to be made."
        ) from error
    return kind()
