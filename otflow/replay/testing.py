"""Testing: a recorded run as the text of a test that holds today's steps to what they did then.

Each step is called alone with the event and the state that it had, and has to give what it gave. The text is meant to
be read, changed and kept. What cannot be tested is said in it, with the reason.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from otflow.errors import WorkflowConfigurationError, WorkflowValidationError
from otflow.records.execution import Execution
from otflow.replay.cases import Case, LeftOut, find_cases
from otflow.replay.constructors import Names
from otflow.replay.outside import ForeignSpan, find_calls
from otflow.replay.template import Part, call, comment, join, lay_out, quote
from otflow.replay.workflows import Replayable

__all__ = ["load_workflow", "write_test"]

_MAX_LEFT_OUT = 20  # reasons that are told


def write_test(execution: Execution, workflow: str, foreign: Iterable[ForeignSpan] = ()) -> str:
    """Write a test of the steps of a recorded run.

    Calls that are alike are tested once.

    Args:
        execution: the run.
        workflow: where the workflow is found, as `module:name`: a class that needs no arguments, a function that makes
            a workflow, or a workflow.
        foreign: spans of other libraries in the same trace, from which the test says what has to be stubbed; default
            none.

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
        alike = (found.step, found.event, tuple(found.given.items()), tuple(found.expected.items()))
        cases.setdefault(alike, found)
    if not cases:
        raise WorkflowValidationError(
            f"No step of run {execution.run_id} can be tested: " + "; ".join(_tell(each) for each in left[:5]) + "."
            if left
            else f"No step of run {execution.run_id} is recorded, so there is nothing to test."
        )
    blocks = [_make_workflow(maker if is_made else f"{maker}()")]
    blocks += [_write_case(case, runner, calls.get((case.invocation, case.attempt), ())) for case in cases.values()]
    head = [f'"""What the steps of {_word(execution.workflow)} did in run {_word(execution.run_id)}."""', ""]
    blocks.insert(0, [*head, *names.lines()])
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


def _make_workflow(maker: str) -> list[str]:
    return [
        "def make_workflow():",
        '    """Make the workflow under test; give it here what it needs."""',
        f"    return {maker}",
    ]


def _write_case(case: Case, runner: str, calls: Iterable[str]) -> list[str]:
    again = f", attempt {case.attempt}" if case.attempt > 1 else ""
    lines = [
        f"def test_{re.sub('[^a-zA-Z0-9_]', '_', case.step)}_{case.invocation}():",
        f'    """{_word(case.step)} #{case.invocation}{again}: what it does with {_word(case.takes)}."""',
    ]
    for note in case.notes:
        lines += comment(note, indent=4)
    calls = list(calls)
    if calls:
        lines += comment("In the recorded run it called the outside. Put a stub in the place of each call:", indent=4)
        for words in calls:
            lines += comment(f"- {words}", indent=4)
        lines += comment("for example: monkeypatch.setattr(module, 'client', stub)", indent=4)
    parts = [Part("make_workflow()"), Part(quote(case.step)), Part(case.event)]
    parts += [Part(text, f"{name}=") for name, text in case.given.items()]
    lines += [lay_out(call(runner, *parts), indent=4, before="called = "), ""]
    for name, text in case.expected.items():
        lines.append(lay_out(text, indent=4, before=f"assert called.{name} == "))
    return lines


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
