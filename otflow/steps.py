"""Which functions are the steps of a workflow: marked methods of its class, and free functions that were added.

A free function belongs to the class or the instance it was added to, and to nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable

from otflow.annotations import AnyFunction, name_of
from otflow.decorators import is_step
from otflow.errors import WorkflowValidationError

__all__ = ["AddStep", "StepFunctions", "list_functions"]


class StepFunctions:
    """The free functions that were added to one class or one instance, by name."""

    generation = 0
    """Counts what was ever added to any class or instance, so that a workflow can tell whether to look again."""

    def __init__(self) -> None:
        self.by_name: dict[str, AnyFunction] = {}

    def add(self, func: AnyFunction) -> None:
        """Add a function."""
        self.by_name[name_of(func)] = func
        StepFunctions.generation += 1


_OWN = "__otflow_added__"


class AddStep:
    """The method `add_step`: on a class it adds to the class, on an instance to that instance only."""

    def __get__(self, instance: object | None, owner: type) -> Callable[[AnyFunction], None]:
        target = owner if instance is None else instance

        def add_step(func: AnyFunction) -> None:
            """Add a free function that `@step` has marked.

            Raises:
                WorkflowValidationError: it is not marked, or a step has its name.
            """
            name = name_of(func)
            if not is_step(func):
                raise WorkflowValidationError(
                    f"Step function {name} is missing the `@step` decorator. Write @step(workflow=...) above it."
                )
            if name in list_functions(target):
                raise WorkflowValidationError(
                    f"A step {name} is already part of this workflow, please choose another name."
                )
            if _OWN not in vars(target):
                setattr(target, _OWN, StepFunctions())
            vars(target)[_OWN].add(func)

        return add_step


def list_functions(target: object) -> dict[str, AnyFunction]:
    """Return the step functions of a workflow class or instance by name, those of bases first.

    Methods are bound to the instance, if it is one; free functions stay as they are.
    """
    owner = target if isinstance(target, type) else type(target)
    found: dict[str, AnyFunction] = {}
    for kind in reversed(owner.__mro__):
        for name, value in vars(kind).items():
            if is_step(value):
                found[name] = getattr(target, name)
            else:
                found.pop(name, None)  # a subclass may replace a step by something that is none
        found.update(_added(kind))
    if target is not owner:
        found.update(_added(target))
    return found


def _added(target: object) -> dict[str, AnyFunction]:
    own = vars(target).get(_OWN)
    return own.by_name if isinstance(own, StepFunctions) else {}
