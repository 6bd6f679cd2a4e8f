"""Testing: a recorded run as the text of a test that holds today's steps to what they did then.

Each step is called alone with the event and the state that it had, and has to give what it gave. The text is meant to
be read, changed and kept. What cannot be tested is said in it, with the reason.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

from otflow.errors import WorkflowConfigurationError, WorkflowValidationError
from otflow.records.execution import Execution
from otflow.replay.cases import Case, LeftOut, find_cases
from otflow.replay.constructors import Names
from otflow.replay.outside import Call, ForeignSpan, find_calls
from otflow.replay.stubs import HttpCall, ModelCall
from otflow.replay.template import Group, Part, Text, call, comment, join, lay_out, quote, write_plain
from otflow.replay.workflows import Replayable

__all__ = ["load_workflow", "write_test"]

_MAX_LEFT_OUT = 20  # reasons that are told


def write_test(
    execution: Execution, workflow: str, foreign: Iterable[ForeignSpan] = (), folder: str | None = None
) -> str:
    """Write a test of the steps of a recorded run.

    Calls that are alike are tested once.

    Args:
        execution: the run.
        workflow: where the workflow is found, as `module:name`: a class that needs no arguments, a function that makes
            a workflow, or a workflow.
        foreign: spans of other libraries below the steps, as `otflow.readers.read_foreign` gives them: the calls that
            they tell of are answered in the test, or named where it has to be said how. Default none.
        folder: where the module is, as a path with slashes from the folder of the test; the test adds it to those in
            which Python looks. Default None: Python finds it by itself.

    Returns:
        The source of a module for pytest.

    Raises:
        WorkflowConfigurationError: there is no workflow there.
        WorkflowValidationError: no step can be tested; the message says why.
    """
    made, is_made = load_workflow(workflow)
    names = Names()
    runner = names.add("otflow.testing", "run_step")
    module, _, name = workflow.partition(":")
    maker = names.add(module, name.partition(".")[0]) + name[len(name.partition(".")[0]) :]
    names.keep()
    calls = find_calls(execution, foreign)
    cases: dict[object, Case] = {}
    left: list[LeftOut] = []
    for found in find_cases(execution, made.blueprint.graph.steps, made.state_type, names):
        if isinstance(found, LeftOut):
            names.drop()
            left.append(found)
            continue
        names.keep()
        alike = (found.step, found.event, tuple(found.given.items()), tuple(found.expected.items()), found.nothing)
        cases.setdefault(alike, found)
    if not cases:
        raise WorkflowValidationError(
            f"No step of run {execution.run_id} can be tested: " + "; ".join(_tell(each) for each in left[:5]) + "."
            if left
            else f"No step of run {execution.run_id} is recorded, so there is nothing to test."
        )
    blocks = [_make_workflow(maker if is_made else f"{maker}()")]
    blocks += [
        _write_case(case, runner, calls.get((case.invocation, case.attempt), ()), names) for case in cases.values()
    ]
    names.keep()
    head = [f'"""What the steps of {_word(execution.workflow)} did in run {_word(execution.run_id)}."""', ""]
    blocks.insert(0, [*head, *(_write_path(folder, module) if folder is not None else ()), *names.lines()])
    if left:
        blocks.append(_write_left(left))
    return join(blocks)


def load_workflow(reference: str) -> tuple[Replayable, bool]:
    """Return the workflow that a reference leads to, and whether it was there already or was made.

    Args:
        reference: `module:name` of a class, of a function that makes a workflow, or of a workflow.

    Raises:
        WorkflowConfigurationError: there is none.
    """
    module, _, name = reference.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        is_made = not callable(found)
        made = found if is_made else found()
    except Exception as error:  # a module and a function of a user may raise anything
        raise WorkflowConfigurationError(
            f"There is no workflow at '{reference}': {type(error).__name__}: {error}. Give `module:name` of a workflow "
            "class that needs no arguments, or of a function that makes the workflow."
        ) from error
    if inspect.isclass(made) or not hasattr(made, "blueprint"):
        raise WorkflowConfigurationError(f"'{reference}' gives {made!r:.100}, which is no workflow.")
    return made, is_made


def _write_path(folder: str, module: str) -> list[str]:
    """Write how Python finds a module that is no part of a package."""
    parts = PurePosixPath(folder).parts
    up = parts.count("..")
    place = f"Path(__file__).parents[{up}]" if up else "Path(__file__).parent"
    place += f" / {quote('/'.join(parts[up:]))}" if parts[up:] else ""
    return [
        "import sys",
        "from pathlib import Path",
        "",
        f"sys.path.insert(0, str({place}))  # where {module}.py is",
        "",
    ]


def _make_workflow(maker: str) -> list[str]:
    return [
        "def make_workflow():",
        '    """Make the workflow under test; give it here what it needs."""',
        f"    return {maker}",
    ]


def _write_case(case: Case, runner: str, calls: Sequence[Call], names: Names) -> list[str]:
    again = f", attempt {case.attempt}" if case.attempt > 1 else ""
    lines = [
        f"def test_{re.sub('[^a-zA-Z0-9_]', '_', case.step)}_{case.invocation}():",
        f'    """{_word(case.step)} #{case.invocation}{again}: what it does with {_word(case.takes)}."""',
    ]
    for note in case.notes:
        lines += comment(note, indent=4)
    lines += _write_others([each.words for each in calls if each.stub is None])
    stubs = [each.stub for each in calls if each.stub is not None]
    indent = 4
    if stubs:
        lines += _write_stubs(stubs, names)
        indent = 8
    parts = [Part("make_workflow()"), Part(quote(case.step)), Part(case.event)]
    parts += [Part(text, f"{name}=") for name, text in case.given.items()]
    lines += [lay_out(call(runner, *parts), indent=indent, before="called = "), ""]
    for name, text in case.expected.items():
        lines.append(lay_out(text, indent=4, before=f"assert called.{name} == "))
    if case.nothing:
        lines.append(f"    assert {' == '.join(f'called.{name}' for name in case.nothing)} == []")
    return lines


def _write_others(told: list[str]) -> list[str]:
    """Name the calls that the test cannot answer by itself."""
    if not told:
        return []
    lines = comment("In the recorded run it called the outside. Put a stub in the place of each call:", indent=4)
    for words in told:
        lines += comment(f"- {words}", indent=4)
    return [*lines, *comment("for example: monkeypatch.setattr(module, 'client', stub)", indent=4)]


def _write_stubs(stubs: Sequence[HttpCall | ModelCall], names: Names) -> list[str]:
    """Write what answers the calls of a step, with a remark on what the trace does not tell."""
    lines = comment("What it asked of the outside in the recorded run, and what it gets now:", indent=4)
    if any(isinstance(stub, HttpCall) and not stub.error for stub in stubs):
        lines += comment("a trace has no bodies of answers, so put in what it needs of them;", indent=4)
    if any(isinstance(stub, ModelCall) and not (stub.answered or stub.tools) for stub in stubs):
        lines += comment("this trace does not have what the model answered, so put it in;", indent=4)
    lines[-1] = f"{lines[-1][:-1]}."
    parts = tuple(Part(_write_stub(stub, names)) for stub in stubs)
    lines.append(lay_out(Group("[", parts, "]"), indent=4, before="calls = "))
    return [*lines, f"    with {names.add('otflow.testing', 'answer_calls')}(calls):"]


def _write_stub(stub: HttpCall | ModelCall, names: Names) -> Text:
    name = names.add("otflow.testing", type(stub).__name__)
    if isinstance(stub, HttpCall):
        parts = [Part(quote(stub.method)), Part(quote(stub.url))]
        if stub.error:
            return call(name, *parts, Part(quote(stub.error), "error="))
        return call(name, *parts, Part(f"{stub.status}", "status="), Part(quote(""), "body="))
    parts = [Part(quote(stub.model))]
    parts += [Part(quote(stub.asked), "asked=")] if stub.asked else []
    parts += [Part(quote(stub.answered), "answered=")] if stub.answered or not stub.tools else []
    parts += [Part(write_plain(list(stub.tools)), "tools=")] if stub.tools else []
    parts += [Part(write_plain(stub.tokens), "tokens=")] if any(stub.tokens) else []
    return call(name, *parts)


def _write_left(left: list[LeftOut]) -> list[str]:
    lines = ["# Left out:"]
    for each in left[:_MAX_LEFT_OUT]:
        lines += comment(f"- {_tell(each)}.")
    if len(left) > _MAX_LEFT_OUT:
        lines += comment(f"- and {len(left) - _MAX_LEFT_OUT:,} more.")
    return lines


def _tell(left: LeftOut) -> str:
    return f"{left.step} #{left.invocation}: {left.reason.rstrip('.')}"


def _word(text: str) -> str:
    """Make a text safe inside a docstring."""
    return re.sub(r"[^\w .,:#()\[\]-]", "?", text)
