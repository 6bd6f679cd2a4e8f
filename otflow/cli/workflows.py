"""Workflows by name: what `module:Workflow` or `file.py:Workflow` leads to, found, and made if it is a class."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from otflow.cli.complaints import UsageError
from otflow.workflow import Workflow

__all__ = ["TargetError", "describe_error", "find_folder", "find_workflow", "make_workflow", "name_module"]

_FORMS = "module:Workflow or path/to/file.py:Workflow"
_FILE_MODULE = "__otflow_workflow_file__"  # for a file whose name is that of a library


class TargetError(UsageError):
    """A name leads to no workflow."""


def make_workflow(target: str, timeout: float | None = None) -> Workflow:
    """Return the workflow that is meant, made if it is a class.

    Args:
        target: `module:name` or `file.py:name`.
        timeout: after how many seconds its runs end; default None: as it says itself.

    Raises:
        TargetError: there is none, or it cannot be made.
    """
    found = find_workflow(target)
    if isinstance(found, type):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise TargetError(
                f"{target} cannot be made without arguments ({error}). Name a workflow that is made in its module."
            ) from error
        try:
            found = found()
        except Exception as error:  # the constructor is the user's
            raise TargetError(f"{target} cannot be made: {describe_error(error)}") from error
    if timeout is not None:
        if not timeout > 0:
            raise TargetError(f"--timeout {timeout:g} is no time: give a number of seconds greater than 0.")
        found._timeout = timeout  # noqa: SLF001  where the followed API keeps it
    return found


def find_workflow(target: str) -> Workflow | type[Workflow]:
    """Return the workflow, or the class of workflows, that is meant.

    Args:
        target: `module:name` or `file.py:name`.

    Raises:
        TargetError: there is none; the message says what there is.
    """
    place, colon, name = target.rpartition(":")
    if not (colon and place and name):
        raise TargetError(f'"{target}" names no workflow: write {_FORMS}.')
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{place} has no {name}. {_offer(module, place)}")
        found = getattr(found, part)
    if isinstance(found, Workflow) or (isinstance(found, type) and issubclass(found, Workflow)):
        return found
    raise TargetError(f"{target} is no Workflow, but of type {type(found).__name__}. {_offer(module, place)}")


def find_folder(target: str, start: Path) -> str | None:
    """Return where the file of a workflow is; None for a module, which Python finds by itself. Find it first.

    Args:
        target: `module:name` or `file.py:name`.
        start: the folder from which the path leads there.

    Raises:
        TargetError: no import statement leads to the file.
    """
    place = target.rpartition(":")[0]
    if not place.endswith(".py"):
        return None
    path = Path(place).resolve()
    if not path.stem.isidentifier() or not _is_free(path):
        raise TargetError(
            f'no test can import {place}: "{path.stem}" is '
            f"{'the name of another module' if path.stem.isidentifier() else 'no name of a module'}. Rename the file."
        )
    return Path(os.path.relpath(path.parent, start.resolve())).as_posix()


def name_module(target: str) -> str:
    """Return a name of a workflow as an import statement could use it; find it first.

    Args:
        target: `module:name` or `file.py:name`.
    """
    place, _, name = target.rpartition(":")
    return f"{Path(place).stem}:{name}" if place.endswith(".py") else target


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
            raise TargetError(
                f"there is no module {error.name}, here or installed. Run this where the module is, or write {_FORMS}."
            ) from error
        raise TargetError(f"cannot import {name}: {describe_error(error)}") from error
    except (Exception, SystemExit) as error:  # a module is a program, and may do anything
        raise TargetError(f"cannot import {name}: {describe_error(error)}") from error


def _load_file(path: Path) -> ModuleType:
    """Load a file under its own name, as `import` beside it would, unless a library has that name."""
    if not path.is_file():
        raise TargetError(f"there is no file {path}. Write {_FORMS}.")
    name = path.stem if path.stem.isidentifier() and _is_free(path) else _FILE_MODULE
    loaded = sys.modules.get(name)
    if loaded is not None and name != _FILE_MODULE:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    sys.path.insert(0, str(path.resolve().parent))  # as `python file.py` would
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a module is a program, and may do anything
        sys.modules.pop(name, None)
        raise TargetError(f"cannot import {path}: {describe_error(error)}") from error
    return module


def _is_free(path: Path) -> bool:
    """Tell whether nothing else than this file has its name."""
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return file is not None and Path(file).resolve() == path.resolve()
    try:
        spec = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return True
    return spec is None or (spec.origin is not None and Path(spec.origin).resolve() == path.resolve())


def describe_error(error: BaseException) -> str:
    """Write an exception on one line: its class, and what it says."""
    return f"{type(error).__name__}: {error}"
