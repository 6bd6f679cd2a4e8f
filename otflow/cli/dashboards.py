"""`otflow dashboards`: finds a workflow by its name and writes its dashboard and alerts, or those for all workflows."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from types import ModuleType

from otflow.dashboards.definition import Definition, define
from otflow.dashboards.files import general_files, workflow_files
from otflow.dashboards.workflow_rules import remarks
from otflow.decorators import step_config
from otflow.errors import OtflowError
from otflow.graph import build_graph
from otflow.steps import list_functions
from otflow.workflow import Workflow

__all__ = ["DashboardsError", "find_workflow", "show_dashboards"]

_FORMS = "module:Workflow or path/to/file.py:Workflow"
_FILE_MODULE = "__otflow_workflow_file__"  # not the name of the file, which may be that of a library


class DashboardsError(OtflowError):
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
        print(json.dumps(dict(files), indent=2, ensure_ascii=False))
    else:
        _write(folder, files)
    for remark in odd:
        print(f"note: {remark}", file=sys.stderr if stdout else sys.stdout)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise DashboardsError(f"cannot write {path}: {error.strerror}. Name another folder with -o.") from error
        print(f"wrote {path}")


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
    except DashboardsError:
        raise
    except Exception as error:  # the constructor is the user's
        raise DashboardsError(f"{target} cannot be made: {_describe(error)}") from error


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


def find_workflow(target: str) -> Workflow | type[Workflow]:
    """Return the workflow, or the class of workflows, that is meant.

    Args:
        target: `module:name` or `file.py:name`.

    Raises:
        DashboardsError: there is none; the message says what there is.
    """
    place, colon, name = target.rpartition(":")
    if not (colon and place and name):
        raise DashboardsError(f'"{target}" names no workflow: write {_FORMS}.')
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise DashboardsError(f"{place} has no {name}. {_offer(module, place)}")
        found = getattr(found, part)
    if isinstance(found, Workflow) or (isinstance(found, type) and issubclass(found, Workflow)):
        return found
    raise DashboardsError(f"{target} is no Workflow, but of type {type(found).__name__}. {_offer(module, place)}")


def _offer(module: ModuleType, place: str) -> str:
    """Say which workflows there are instead."""
    names = [
        name
        for name, value in vars(module).items()
        if (isinstance(value, type) and issubclass(value, Workflow) and value is not Workflow)
        or isinstance(value, Workflow)
    ]
    return f"There is {_either(f'{place}:{name}' for name in names)}." if names else "It has no workflow at all."


def _either(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _load_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` would
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise DashboardsError(
                f"there is no module {error.name}, here or installed. Run this where the module is, or write {_FORMS}."
            ) from error
        raise DashboardsError(f"cannot import {name}: {_describe(error)}") from error
    except (Exception, SystemExit) as error:  # a module is a program, and may do anything
        raise DashboardsError(f"cannot import {name}: {_describe(error)}") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DashboardsError(f"there is no file {path}. Write {_FORMS}.")
    spec = importlib.util.spec_from_file_location(_FILE_MODULE, path)
    if spec is None or spec.loader is None:
        raise DashboardsError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_FILE_MODULE] = module  # annotations are looked up there
    sys.path.insert(0, str(path.resolve().parent))  # as `python file.py` would
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a module is a program, and may do anything
        raise DashboardsError(f"cannot import {path}: {_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
