"""Services: workflows that a workflow may call, found by the name of a step's parameter.

This room keeps names and what stands under them; it runs none of it and knows no workflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otflow.errors import OtflowError

__all__ = ["ServiceManager", "ServiceNotFoundError"]


class ServiceNotFoundError(OtflowError):
    """A step asks for a service that the workflow was not given."""


class ServiceManager:
    """The services of one workflow, by name."""

    def __init__(self) -> None:
        self._services: dict[str, object] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def add(self, name: str, service: object) -> None:
        """Put a service under a name, in place of what stood there.

        Args:
            name: the name of the parameter by which steps ask for it.
            service: the workflow.
        """
        self._services[name] = service

    def find(self, name: str) -> object | None:
        """Return the service under a name, or None when there is none."""
        return self._services.get(name)

    def get(self, name: str, default: object = None) -> Any:  # callers know the type that they put in
        """Return the service under a name.

        Args:
            name: the name of the parameter by which a step asks for it.
            default: what to return when there is none; default None, which means that there has to be one.

        Raises:
            ServiceNotFoundError: no service has this name, and no default was given.
        """
        service = self._services.get(name, default)
        if service is None:
            known = ", ".join(sorted(self._services)) or "none"
            raise ServiceNotFoundError(
                f"Service '{name}' not found; known services: {known}. "
                f"Add it with add_workflows({name}=...), or give the parameter of the step a default."
            )
        return service
