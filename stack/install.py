"""The tools of the stack on this machine: found, or made once and kept.

They live in one folder per machine, each version in a folder of its own. A tool is made beside its place and moved
there when it is whole, under a lock, so that two who ask at once get one tool, and a failure leaves nothing but a log.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from stack.debian import unpack_package
from stack.process import StackError, lock, read_tail
from stack.recipes import RECIPES, Builder, DebianPackage, GoTool, PythonPackage, Recipe

__all__ = ["find_tool", "install_tool", "locate_tools", "name_library_folders"]


def locate_tools() -> Path:
    """Name the folder that holds the tools: $OTFLOW_TOOLS, or `otflow-tools` in the user's folder for caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OTFLOW_TOOLS") or Path(caches, "otflow-tools")).absolute()


def find_tool(name: str) -> Path | None:
    """Find the program of a tool, if this machine has it already: the one made here, else a fitting one on PATH."""
    recipe = RECIPES[name]
    match recipe:
        case DebianPackage():
            made = sorted(locate_tools().glob(f"{name}-[0-9]*"), key=_read_numbers, reverse=True)
            found = next((folder / recipe.program for folder in made if _is_enough(folder.name, recipe)), None)
            return found or _find_on_path(recipe)
        case Builder() | GoTool() | PythonPackage():
            program = locate_tools() / f"{name}-{recipe.version}" / _name_program(recipe)
            return program if program.exists() else None
        case _ as never:
            assert_never(never)


def install_tool(name: str, tell: Callable[[str], None]) -> Path:
    """Give the program of a tool, which is made when the machine does not have it.

    Args:
        name: one of the recipes.
        tell: takes a line about what is done.

    Raises:
        StackError: it cannot be made; with the end of the log.
    """
    tools = locate_tools()
    with lock(tools / f"{name}.lock"):
        found = find_tool(name)
        if found is not None:
            return found
        for leftover in tools.glob(f".{name}-*"):  # of somebody who was killed: nobody else is at work here
            shutil.rmtree(leftover, ignore_errors=True)
        began = time.monotonic()
        tell(f"{name}: making it, once for this machine")
        log = tools / f"{name}.log"
        log.write_bytes(b"")
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=tools))
        try:
            version = _make(RECIPES[name], scratch, log)
            (scratch / "made").rename(tools / f"{name}-{version}")
        except (StackError, OSError) as error:
            raise StackError(f"{name} cannot be made: {error}\n{log} ends with:\n{read_tail(log)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        tell(f"{name}: {version}, made in {time.monotonic() - began:.0f} s")
    found = find_tool(name)
    if found is None:
        raise StackError(f"{name}: what was made holds no such program; see {log}")
    return found


def name_library_folders(program: Path) -> list[Path]:
    """Name the folders in which a program of an unpacked package finds its libraries, if it is one."""
    root = next((parent for parent in program.parents if parent.parent == locate_tools()), None)
    return [] if root is None else sorted({path.parent for path in root.rglob("*.so*")})


def _name_program(recipe: Builder | GoTool | PythonPackage) -> str:
    return "bin/python" if isinstance(recipe, PythonPackage) else recipe.name


def _read_numbers(text: str | Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(text)))


def _is_enough(text: str, recipe: DebianPackage) -> bool:
    return _read_numbers(text) >= _read_numbers(recipe.minimum)


def _find_on_path(recipe: DebianPackage) -> Path | None:
    for command in recipe.commands:
        program = shutil.which(command)
        if program is not None:
            shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            version = re.search(r"\d+(\.\d+)+", shown.stdout + shown.stderr)
            if version is not None and _is_enough(version.group(), recipe):
                return Path(program)
    return None


def _make(recipe: Recipe, scratch: Path, log: Path) -> str:
    """Make a tool in the folder `made` of an empty folder, and give its version."""
    made = scratch / "made"
    made.mkdir()
    match recipe:
        case Builder():
            _make_collector(recipe, scratch, log)
            return recipe.version
        case GoTool():
            _make_go_tool(recipe, scratch, log)
            return recipe.version
        case PythonPackage():
            _make_environment(recipe, scratch, log)
            return recipe.version
        case DebianPackage():
            work = scratch / "apt"
            work.mkdir()
            return unpack_package(recipe, made, work, log)
        case _ as never:
            assert_never(never)


def _make_collector(recipe: Builder, scratch: Path, log: Path) -> None:
    environment = {**_prepare_go(), "GOBIN": str(scratch)}
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{recipe.release}"
    _run(["go", "install", builder], scratch, log, environment)
    shutil.copy(recipe.manifest, scratch / "builder.yaml")
    _run([str(scratch / "builder"), "--config", "builder.yaml"], scratch, log, environment)
    (scratch / "build" / "otflow-collector").rename(scratch / "made" / recipe.name)


def _make_go_tool(recipe: GoTool, scratch: Path, log: Path) -> None:
    environment = _prepare_go()
    (scratch / "go.mod").write_text(f"module otflow.example/tools/{recipe.name}\n\ngo 1.24\n", encoding="utf-8")
    _run(["go", "get", "-tool", f"{recipe.package}@v{recipe.version}"], scratch, log, environment)
    _run(["go", "build", "-o", f"made/{recipe.name}", recipe.package], scratch, log, environment)


def _prepare_go() -> dict[str, str]:
    if shutil.which("go") is None:
        raise StackError("it is built from Go modules, and there is no `go` on PATH: install Go 1.24 or newer")
    environment = {name: value for name, value in os.environ.items() if name not in {"GOOS", "GOARCH", "GOWORK"}}
    return {**environment, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def _make_environment(recipe: PythonPackage, scratch: Path, log: Path) -> None:
    """Make an environment with uv, which is many times faster; with pip where uv cannot be had or fails."""
    made, wanted = scratch / "made", f"{recipe.distribution}=={recipe.version}"
    _run([sys.executable, "-m", "venv", str(made)], scratch, log)
    python = str(made / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    try:
        _run([*pip, "--target", str(scratch / "uv"), "uv"], scratch, log)
        uv = [str(scratch / "uv" / "bin" / "uv"), "pip", "install", "--quiet", "--no-cache", "--link-mode=copy"]
        _run([*uv, "--python", python, wanted], scratch, log, _tell_uv_what_pip_knows(python))
    except StackError:
        _run([*pip, wanted], scratch, log)


def _tell_uv_what_pip_knows(python: str) -> dict[str, str]:
    """Give uv the package index that pip is set up with, if it is set up at all: uv does not read those settings."""
    command = [python, "-m", "pip", "config", "list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    settings = dict(re.findall(r"^[\w:]+\.([\w-]+)='(.*)'$", shown, re.MULTILINE))
    environment = dict(os.environ)
    for theirs, ours in (("index-url", "UV_DEFAULT_INDEX"), ("extra-index-url", "UV_INDEX"), ("cert", "SSL_CERT_FILE")):
        if theirs in settings:
            environment.setdefault(ours, settings[theirs])
    return environment


def _run(command: list[str], folder: Path, log: Path, environment: dict[str, str] | None = None) -> None:
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        try:
            code = subprocess.run(
                command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
            ).returncode
        except OSError as error:
            raise StackError(f"{command[0]}: {error}") from error
    if code:
        raise StackError(f"{Path(command[0]).name} failed with {code}")
