"""Template: Python source made of pieces, laid out as formatters lay it out.

A piece is written on one line if there is room for it, and else with one part on each line and a comma behind each.
This room knows text only; which values are worth writing is decided by who asks.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from otflow.drawing.line import measure

__all__ = [
    "WIDTH",
    "Group",
    "Part",
    "Text",
    "call",
    "comment",
    "is_name",
    "join",
    "lay_out",
    "quote",
    "write_plain",
]

WIDTH = 88
"""The columns that a line may take: what formatters take when nobody tells them otherwise."""

_INDENT = "    "


class Part(NamedTuple):
    """A part of a group, with what stands before it: `name=` or `"key": `."""

    value: Text
    label: str = ""


class Group(NamedTuple):
    """Parts in brackets."""

    head: str
    parts: tuple[Part, ...]
    tail: str


Text: TypeAlias = str | Group


def call(name: str, *parts: Part) -> Group:
    """Return the call of a function."""
    return Group(f"{name}(", parts, ")")


def write_plain(value: object) -> Text:
    """Write a plain value: text, numbers, None, lists, tuples and dicts of these.

    Raises:
        ValueError: it is another value, or one that no source can say.
    """
    match value:
        case None | bool() | int():
            return repr(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not equal to itself, or no literal")
            return repr(value).replace("e+", "e")
        case str():
            return quote(value)
        case list():
            return Group("[", tuple(Part(write_plain(each)) for each in value), "]")
        case tuple():
            return Group("(", tuple(Part(write_plain(each)) for each in value), ")")
        case dict():
            return Group("{", tuple(Part(write_plain(each), f"{_key(key)}: ") for key, each in value.items()), "}")
        case _:
            raise ValueError(f"a {type(value).__name__} is no plain value")


def _key(key: object) -> str:
    text = write_plain(key)
    return text if isinstance(text, str) else _flatten(text)


def quote(text: str) -> str:
    """Write a text as a literal, in double quotes unless that takes more escapes."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    if text.isascii() and text.isprintable() and "\\" not in text:
        return f"{mark}{text.replace(mark, chr(92) + mark)}{mark}"
    inner = "".join(each if each in "'\"" else repr(each)[1:-1] for each in text)
    return f"{mark}{inner.replace(mark, chr(92) + mark)}{mark}"


def lay_out(text: Text, *, indent: int = 0, before: str = "") -> str:
    """Write a piece as source.

    Args:
        text: the piece.
        indent: the blanks before its first line.
        before: what stands on that line before it.
    """
    return " " * indent + before + _lay(text, indent, indent + measure(before), 0)


def _lay(text: Text, indent: int, used: int, after: int) -> str:
    flat = _flatten(text)
    if isinstance(text, str) or not text.parts or used + measure(flat) + after <= WIDTH:
        return flat
    inner = indent + len(_INDENT)
    lines = [
        f"{' ' * inner}{part.label}{_lay(part.value, inner, inner + measure(part.label), 1)},\n" for part in text.parts
    ]
    return f"{text.head}\n{''.join(lines)}{' ' * indent}{text.tail}"


def _flatten(text: Text) -> str:
    if isinstance(text, str):
        return text
    inner = ", ".join(f"{part.label}{_flatten(part.value)}" for part in text.parts)
    lone = "," if text.head == "(" and len(text.parts) == 1 else ""
    return f"{text.head}{inner}{lone}{text.tail}"


def comment(words: str, *, indent: int = 0, more: str = "  ") -> list[str]:
    """Write a remark as comment lines, as wide as source may be.

    Args:
        words: the remark; what is not printable in it is left out.
        indent: the blanks before each line.
        more: what the second line and all further ones begin with.
    """
    start = f"{' ' * indent}# "
    lines = [""]
    for word in _printable(words).split():
        room = WIDTH - len(start)
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else f"{lines[-1]}{word}"
        if lines[-1].strip() and measure(longer) > room:
            lines.append(f"{more}{word}")
        else:
            lines[-1] = longer
    return [f"{start}{line}" for line in lines]


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of an argument."""
    return text.isidentifier() and not keyword.iskeyword(text)


def join(lines: Iterable[Sequence[str]]) -> str:
    """Put blocks of lines together, with two empty lines between them."""
    return "\n\n\n".join("\n".join(block) for block in lines) + "\n"
