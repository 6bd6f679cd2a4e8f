"""Classes by name: the name that data notes for a class, and the way back.

This room knows modules and classes only, and nothing of what is done with them.
"""

from __future__ import annotations

import sys
from importlib import import_module

from otflow.errors import ContextSerdeError

__all__ = ["DeserializationError", "find_class", "qualified_name"]


class DeserializationError(ContextSerdeError, ValueError):
    """A text is not what a serializer writes, or names a class that is not to be had."""


def qualified_name(kind: type) -> str:
    """Return module and qualified name of a class, with a dot between them."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_class(name: str) -> type:
    """Return the class of a name, importing its module if need be.

    Args:
        name: what `qualified_name` returned; the class may be defined in another class.

    Raises:
        ContextSerdeError: no class has this name, or it is defined in a function.
    """
    if "<locals>" in name:
        raise DeserializationError(
            f"Class {name} is defined inside a function, where no name leads to it. Move it to the top of "
            "its module, or make it known: with_types(...) of the serializer."
        )
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):  # the module is the longest part of the name that is one
        found = _find_module(".".join(parts[:end]))
        if found is None:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        if isinstance(found, type):
            return found
        break
    raise DeserializationError(
        f"Class {name} cannot be found. Was it moved or renamed since the data was written? "
        "If it still exists, make it known: with_types(...) of the serializer."
    )


def _find_module(name: str) -> object | None:
    if name in sys.modules:
        return sys.modules[name]
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None
    except Exception as error:  # a module may raise anything while it is imported
        raise DeserializationError(f"Module {name}, named by data, cannot be imported: {error!r}.") from error
