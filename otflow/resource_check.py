"""Checks of what steps ask for beside events: can the files be read, can the factories be called?

They belong to `workflow.validate()`, not to a run: a run makes a resource when a step first asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import Thread

from otflow.errors import WorkflowValidationError
from otflow.resource import ResourceConfig, ResourceManager
from otflow.resource_declaration import load_config, require_model
from otflow.signature import StepConfig

__all__ = ["check_config_files", "check_factories"]


def check_config_files(configs: Iterable[StepConfig]) -> None:
    """Read the file of each `ResourceConfig` parameter.

    Raises:
        WorkflowValidationError: a file cannot be read, or does not fit its model; the message lists all of them.
    """
    faults = []
    for config in configs:
        for param in config.resources:
            if isinstance(param.resource, ResourceConfig):
                try:
                    load_config(param.resource, require_model(param.type, f"what asks for {param.resource.name}"))
                except Exception as error:  # whatever a file can be wrong by
                    faults.append(f"step '{config.name}', parameter '{param.name}': {error}")
    if faults:
        raise WorkflowValidationError("Resource configuration cannot be read:\n" + "\n".join(faults))


def check_factories(configs: Iterable[StepConfig], manager: ResourceManager) -> None:
    """Make every resource once, in an event loop and a thread of its own; those that are cached stay made.

    Raises:
        WorkflowValidationError: a factory raised, or resources need each other; the message lists all of them.
    """
    faults: list[str] = []

    async def make() -> None:
        for config in configs:
            for param in config.resources:
                try:
                    await manager.resolve(param, config.name)
                except Exception as error:  # whatever a factory may raise
                    faults.append(f"step '{config.name}', parameter '{param.name}': {type(error).__name__}: {error}")

    # a thread, because the caller may be inside an event loop already
    thread = Thread(target=lambda: asyncio.run(make()), name="otflow-validate")
    thread.start()
    thread.join()
    if faults:
        raise WorkflowValidationError("Resources cannot be made:\n" + "\n".join(faults))
