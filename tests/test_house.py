"""The laws of the house: how long, how large and how tangled the code may be, as numbers.

The source is read with `ast` and not imported, but for new interpreters that show what `import otflow` does.
Each law lists all its faults at once. Where a law has exceptions, they are named here, with the reason.
"""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAX_FILE_LINES = 400
MAX_BODY_LINES = 40
MAX_CLASS_LINES = 250
MAX_METHODS = 20
MAX_ANY_PER_1000_LINES = 3  # outside of FACE

# The rooms that only compute: nothing in them waits, and nothing in them is remembered between two calls.
PURE = ("otflow.core", "otflow.records", "otflow.drawing")

# The rooms through which values of users pass: what is `Any` there is theirs.
FACE = ("otflow.checkpointer", "otflow.context", "otflow.events", "otflow.handler", "otflow.workflow")

# Names under which anything could be put.
VAGUE = {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# What `import otflow` may not load: it costs start-up time, and most programs never use it.
HEAVY = ("grpc", "opentelemetry.exporter", "opentelemetry.sdk", "prometheus_client", "rich", "typer")

# (importer, imported): imports of otflow that stand inside a function, and why they have to.
LATE_IMPORTS = {
    "otflow.cli": "a command loads what only it needs, so that the others start fast",
    "otflow.telemetry": "the SDK, exporters and clients are loaded for those only who use them",
}

# Classes that may be larger than the numbers above, and why.
LARGE_CLASSES = {
    "Context": "the followed API decides what a step may ask of it",
    "Workflow": "the followed API decides what it takes; half of it is docstrings",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file, read and parsed once."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def at(self, line: int) -> str:
        """Name a line as editors understand it."""
        return f"{self.path.relative_to(ROOT)}:{line}"

    def functions(self) -> Iterator[Function]:
        """Give every function, also the inner ones."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def comments(self) -> dict[int, str]:
        """Give the comment of each line that has one."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


@cache
def house() -> dict[str, Module]:
    """Read every module of otflow, by dotted name."""
    found = {}
    for path in sorted((ROOT / "otflow").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, text, ast.parse(text, filename=str(path)))
    return found


def modules() -> Iterable[Module]:
    """Give every module of otflow."""
    return house().values()


def imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Give the modules of otflow that import statements name, with their lines; imports are absolute here."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in house())
        elif isinstance(node, ast.ImportFrom) and node.module in house():
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in house() else node.module), node.lineno


def late_imports() -> Iterator[tuple[Module, int, str]]:
    """Give the imports of otflow that stand inside functions."""
    for module in modules():
        inside = {node for function in module.functions() for node in ast.walk(function)}
        yield from ((module, line, target) for target, line in imports(inside))


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Find the groups whose members all reach each other."""
    reach = {name: set(targets) for name, targets in arrows.items()}
    for middle, beyond in reach.items():
        for targets in reach.values():
            targets.update(beyond if middle in targets else ())
    looped = [name for name in reach if name in reach[name]]
    groups = {tuple(other for other in looped if other in reach[name] and name in reach[other]) for name in looped}
    return sorted(map(list, groups))


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler catches Exception, BaseException or everything."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in {"BaseException", "Exception"} for kind in kinds)


def python(code: str) -> str:
    """Run code in a new interpreter that inherits no telemetry settings, and give what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "OTEL", "OTFLOW"))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


# --- size ---------------------------------------------------------------------------------------------------


def test_files_are_short() -> None:
    """A file can be read in one sitting."""
    lengths = {str(module.path.relative_to(ROOT)): len(module.text.splitlines()) for module in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """A function body, without its docstring, fits on a screen."""
    long = []
    for module in modules():
        for function in module.functions():
            body = function.body[ast.get_docstring(function) is not None :]
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > MAX_BODY_LINES:
                long.append(f"{module.at(function.lineno)} {function.name}: {lines} lines")
    assert long == []


def test_no_class_is_the_product() -> None:
    """A class has few lines and few methods; behaviour lives in functions over records."""
    large = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.name not in LARGE_CLASSES:
                lines = (node.end_lineno or 0) - node.lineno + 1
                methods = sum(isinstance(each, Function) for each in node.body)
                if lines > MAX_CLASS_LINES or methods > MAX_METHODS:
                    large.append(f"{module.at(node.lineno)} {node.name}: {lines} lines, {methods} methods")
    assert large == []


# --- shape --------------------------------------------------------------------------------------------------


def test_no_circles() -> None:
    """No two modules need each other, not even for their types."""
    arrows = {
        module.name: {target for target, _ in imports(ast.walk(module.tree))} - {module.name} for module in modules()
    }
    assert circles(arrows) == []


def test_circles_are_found() -> None:
    """The search sees a circle that leads over three modules, and nothing in what hangs on it."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}) == [["a", "b", "c"]]


def test_imports_stand_at_the_top() -> None:
    """No function imports otflow, except to keep something heavy out of start-up."""
    hidden = [
        f"{module.at(line)} {target}"
        for module, line, target in late_imports()
        if not any(f"{module.name}.".startswith(f"{name}.") for name in LATE_IMPORTS)
    ]
    assert hidden == []


def test_late_imports_are_current() -> None:
    """The list of late imports names nothing that is gone."""
    found = [f"{module.name}." for module, _, _ in late_imports()]
    assert [name for name in LATE_IMPORTS if not any(one.startswith(f"{name}.") for one in found)] == []


def test_pure_rooms_neither_wait_nor_remember() -> None:
    """Nothing in a pure room is async or global."""
    kinds = ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await | ast.Global
    faults = [
        f"{module.at(node.lineno)} {type(node).__name__}"
        for module in modules()
        if module.name.startswith(PURE)
        for node in ast.walk(module.tree)
        if isinstance(node, kinds)
    ]
    assert faults == []


# --- words --------------------------------------------------------------------------------------------------


def test_names_say_something() -> None:
    """No module has a name under which anything could be put."""
    assert [module.name for module in modules() if VAGUE & set(re.split(r"[._]", module.name))] == []


def test_modules_introduce_themselves() -> None:
    """Each module says what it is for."""
    assert [module.name for module in modules() if not ast.get_docstring(module.tree)] == []


def test_public_names_are_listed() -> None:
    """A module that defines a public class or function has `__all__`."""
    silent = [
        module.name
        for module in modules()
        if any(isinstance(node, ast.ClassDef | Function) and node.name[0] != "_" for node in module.tree.body)
        and not re.search(r"^__all__\b", module.text, re.MULTILINE)
    ]
    assert silent == []


def test_broad_excepts_say_why() -> None:
    """Whoever catches everything gives the reason in a comment beside it."""
    silent = []
    for module in modules():
        comments = module.comments().keys()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and is_broad(node):
                beside = range(node.lineno - 1, node.body[0].lineno + 1)
                silent += [module.at(node.lineno)] * comments.isdisjoint(beside)
    assert silent == []


def test_silenced_types_say_why() -> None:
    """Each ignored type error names its code, and gives the reason behind a second `#`."""
    silent = [
        f"{module.at(line)} {comment}"
        for module in modules()
        for line, comment in module.comments().items()
        if "type: ignore" in comment and not re.match(r"# type: ignore\[[\w, -]+\]\s+# \S", comment)
    ]
    assert silent == []


def test_any_is_rare() -> None:
    """`Any` is for values of users; everything else has a type, or is an `object`."""
    inner = [module for module in modules() if not module.name.startswith(FACE)]
    uses = Counter(
        module.name
        for module in inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and node.id == "Any"
    )
    lines = sum(len(module.text.splitlines()) for module in inner)
    assert uses.total() <= lines * MAX_ANY_PER_1000_LINES / 1000, uses.most_common(10)


# --- import otflow ------------------------------------------------------------------------------------------


def test_import_is_light() -> None:
    """`import otflow` loads no exporter, no SDK, no endpoint and nothing of the command line."""
    loaded = python("import sys, otflow; print(*sorted(sys.modules))").split()
    assert "otflow" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_import_configures_nothing() -> None:
    """`import otflow` sets no provider and no log handler, and starts no thread."""
    shown = python(
        "import logging, threading, otflow\n"
        "from opentelemetry import metrics, trace\n"
        "print(type(trace.get_tracer_provider()).__name__, type(metrics.get_meter_provider()).__name__)\n"
        "print(logging.root.handlers, logging.getLogger('otflow').handlers, threading.active_count())\n"
    )
    assert shown.splitlines() == ["ProxyTracerProvider _ProxyMeterProvider", "[] [] 1"]


# --- tests and texts ----------------------------------------------------------------------------------------


def test_tests_neither_sleep_nor_mock() -> None:
    """A test waits for no clock, and puts no mock in the place of anything; a program that it watches may take time."""
    faults = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.stem.endswith("program"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import() | ast.ImportFrom() if "mock" in ast.unparse(node):
                    faults.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
                case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep"), args=[wait]):
                    if ast.unparse(wait) != "0":
                        faults.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert faults == []


FOREIGN = {
    "a path of somebody's machine": r"(?<![\w.])/(?:home|root|Users)/\w|C:\\Users\\",
}


@cache
def texts() -> dict[str, str]:
    """Read every text that the repository holds or is about to hold; this file, which quotes, is left out."""
    command = [shutil.which("git") or "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    shown = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    paths = {ROOT / os.fsdecode(name) for name in shown.split(b"\0") if name} - {Path(__file__).resolve()}
    found = {}
    for path in sorted(paths):
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            found[str(path.relative_to(ROOT))] = content.decode(errors="replace")
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a clone knows which files are the repository's")
@pytest.mark.parametrize("what", FOREIGN)
def test_texts_stand_for_themselves(what: str) -> None:
    """No file names a private path."""
    faults = [
        f"{name}:{number} {match.group()!r}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := re.search(FOREIGN[what], line))
    ]
    assert faults == []
