"""Label values: made fit for every backend, and bounded in number, whatever the names in users' code are.

A label that takes a new value with every run or every request makes a new series each time, until the process or the
server behind it runs out of memory. Here the first names get a value of their own, and all further ones share one.
"""

from __future__ import annotations

from otflow.metrics.instruments import OTHER

__all__ = ["MAX_ERRORS", "MAX_LENGTH", "MAX_STEPS", "MAX_TYPES", "MAX_WORKFLOWS", "Names", "clean"]

MAX_WORKFLOWS = 200
"""How many workflows have a value of their own."""
MAX_STEPS = 200
"""How many steps of a workflow."""
MAX_TYPES = 200
"""How many types of events, in the process."""
MAX_ERRORS = 50
"""How many types of exceptions, in the process."""
MAX_LENGTH = 200
"""How many characters a value has."""

_SPELLINGS = 4  # for each value so many names that lead to it are remembered


def clean(name: str) -> str:
    r"""Return a name as the value of a label: cut to 200 characters, with `?` for whatever cannot be printed.

    Example:
        >>> clean("a\nb"), len(clean("x" * 1000))
        ('a?b', 200)
    """
    short = name[:MAX_LENGTH]
    return short if short.isprintable() else "".join(each if each.isprintable() else "?" for each in short)


class Names:
    """The values that one label has had.

    Args:
        limit: how many there may be, beside `_OTHER`.

    Example:
        >>> names = Names(1)
        >>> names.label("first"), names.label("second"), names.label("first")
        ('first', '_OTHER', 'first')
    """

    __slots__ = ("_known", "_limit", "values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, str] = {}
        self.values: set[str] = set()

    def label(self, name: str) -> str:
        """Return the value for a name."""
        value = self._known.get(name)
        if value is None:
            value = clean(name)
            if value not in self.values:
                if len(self.values) >= self._limit:
                    return OTHER  # not remembered: of such names there is no end
                self.values.add(value)
            if len(self._known) < self._limit * _SPELLINGS:
                self._known[name] = value
        return value
