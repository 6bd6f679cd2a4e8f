"""Lines of text whose pieces have styles, and the signs that they are drawn with.

Widths are counted in columns of a terminal. This room knows no terminal and no colour: a style is a name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "ASCII",
    "UNICODE",
    "Line",
    "Piece",
    "Signs",
    "Style",
    "clean",
    "cut",
    "glue",
    "measure",
    "measure_line",
    "plain",
    "wrap",
]

Style: TypeAlias = Literal["", "title", "step", "event", "value", "faint", "good", "bad", "wait", "mark", "place"]


class Piece(NamedTuple):
    """Some text in one style."""

    text: str
    style: Style = ""


Line: TypeAlias = tuple[Piece, ...]


class Signs(NamedTuple):
    """The signs of a drawing; those that stand in columns are equally wide in both sets."""

    fork: str
    last: str
    bar: str
    gap: str
    then: str
    into: str
    good: str
    bad: str
    wait: str
    note: str
    more: str
    times: str
    dot: str
    upto: str
    rule: str
    dash: str


# escapes for the signs that look like letters
UNICODE = Signs(
    "├─ ", "└─ ", "│  ", "   ", "↓ ", " ▸ ", "✓", "✗", "↻", "•", "…", "\u00d7", "·", "≤", "─", "\u2013"
)  # fmt: skip
"""The signs for a terminal that shows Unicode."""
ASCII = Signs("|- ", "`- ", "|  ", "   ", "v ", " > ", "+", "x", "~", "*", "...", "x", "-", "<", "-", "-")
"""The signs for everything else."""


_GLUE = "\N{NO-BREAK SPACE}"


def clean(text: str) -> str:
    """Replace what a terminal would obey instead of showing it: control and direction characters, line ends."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if c in "\t\n\r" else c if _is_harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in text)


def _is_harmless(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def measure(text: str) -> int:
    """Count the columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def measure_line(line: Iterable[Piece]) -> int:
    """Count the columns that a line takes."""
    return sum(measure(piece.text) for piece in line)


def plain(line: Iterable[Piece]) -> str:
    """Give the text of a line, without what is blank at its end, and without what a terminal would obey."""
    return clean("".join(piece.text for piece in line)).rstrip()


def cut(line: Iterable[Piece], width: int, more: str) -> Line:
    """Cut a line off at a width, and say so at its end.

    Args:
        line: the line.
        width: columns that it may take.
        more: what stands for the part that was cut off.
    """
    line = tuple(line)
    if measure_line(line) <= width:
        return line
    kept: list[Piece] = []
    room = max(0, width - measure(more))
    for piece in line:
        text = _take(piece.text, room)
        room -= measure(text)
        kept.append(Piece(text, piece.style))
        if len(text) < len(piece.text):
            break
    last = kept.pop()
    return (*kept, Piece(last.text.rstrip() + more, last.style))


def _take(text: str, width: int) -> str:
    used = 0
    for place, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:place]
    return text


def wrap(line: Iterable[Piece], width: int) -> list[Line]:
    """Break a line into several at its blanks; a word that is too long is broken anywhere.

    What `glue` made is not broken.

    Args:
        line: the line.
        width: columns that each may take; at least 1 is assumed.
    """
    lines: list[list[Piece]] = [[]]
    used = 0
    for word in _words(line, max(1, width)):
        size = measure_line(word)
        if used and used + size > width:
            lines.append([])
            used = 0
        if not used and len(lines) > 1 and plain(word) == "":
            continue  # the blank at which the line was broken
        lines[-1] += word
        used += size
    return [_trim(each) for each in lines]


def glue(text: str) -> str:
    """Keep a text on one line when it is wrapped."""
    return text.replace(" ", _GLUE)


def _trim(pieces: list[Piece]) -> Line:
    while pieces and not pieces[-1].text.strip():
        pieces = pieces[:-1]
    return tuple(Piece(piece.text.replace(_GLUE, " "), piece.style) for piece in pieces)


def _words(line: Iterable[Piece], width: int) -> Iterator[list[Piece]]:
    """Give the words and the blanks between them, each with its styles, none wider than `width`."""
    word: list[Piece] = []
    blank = False
    used = 0
    for piece in line:
        for character in piece.text:
            size = _columns(character)
            if word and ((character == " ") != blank or used + size > width):
                yield word
                word, used = [], 0
            blank = character == " "
            used += size
            if word and word[-1].style == piece.style:
                word[-1] = Piece(word[-1].text + character, piece.style)
            else:
                word.append(Piece(character, piece.style))
    if word:
        yield word
