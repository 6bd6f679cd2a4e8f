"""Tables: rows of words under heads, as lines for a screen, and values as JSON for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from otflow.cli.outlet import escape
from otflow.drawing.line import Line, Piece, Signs, Style, cut, measure
from otflow.records.codec import write_body

__all__ = ["Column", "draw_table", "format_time", "print_json", "style_outcome"]

_GAP = "  "
_NS = 1_000_000_000


class Column(NamedTuple):
    """A column: its head, its style, and whether it stands at the right; one of them may give way (`loose`)."""

    head: str
    style: Style = ""
    right: bool = False
    loose: bool = False


def draw_table(
    columns: Sequence[Column], rows: Sequence[Sequence[Piece | str]], width: int, signs: Signs
) -> list[Line]:
    """Lay rows out under heads.

    Args:
        columns: the columns.
        rows: their cells, a text in the style of its column or a piece in its own.
        width: the columns of the screen.
        signs: what stands for what is left out.
    """
    table = [
        [cell if isinstance(cell, Piece) else Piece(cell, columns[i].style) for i, cell in enumerate(row)]
        for row in rows
    ]
    heads = [Piece(column.head, "faint") for column in columns]
    sizes = [max(measure(row[i].text) for row in (heads, *table)) for i in range(len(columns))]
    over = sum(sizes) + len(_GAP) * (len(columns) - 1) - width
    for i, column in enumerate(columns):
        if column.loose and over > 0:
            sizes[i] = max(8, sizes[i] - over)
    return [_draw_row(row, columns, sizes, signs) for row in (heads, *table)]


def _draw_row(row: Sequence[Piece], columns: Sequence[Column], sizes: Sequence[int], signs: Signs) -> Line:
    line: list[Piece] = []
    for cell, column, size in zip(row, columns, sizes, strict=True):
        pieces = cut((cell,), size, signs.more)
        blank = Piece(" " * (size - sum(measure(piece.text) for piece in pieces)))
        line += [Piece(_GAP)] if line else []
        line += [blank, *pieces] if column.right else [*pieces, blank]
    return tuple(line)


def format_time(nanoseconds: int) -> str:
    """Write a time as the clock of this place shows it.

    Args:
        nanoseconds: since the epoch; "?" stands for 0, and for what no clock can show.
    """
    try:
        shown = datetime.fromtimestamp(nanoseconds / _NS).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"
    return shown if nanoseconds > 0 else "?"


def style_outcome(outcome: str) -> Style:
    """Return the style in which an outcome is shown."""
    return "good" if outcome == "completed" else "wait" if outcome in {"open", "paused"} else "bad"


def print_json(value: object) -> None:
    """Print a value as JSON: records, bodies, structs and tuples too."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=write_body), indent=2)
    sys.stdout.write(escape(text.decode()) + "\n")
