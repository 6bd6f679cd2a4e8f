"""Screen: where lines go, and what their styles look like there; whatever stands in them, a terminal only shows it.

A terminal gets colours and a line that moves; everything else gets plain text. Where the encoding has no Unicode, the
drawing is done in ASCII. NO_COLOR, FORCE_COLOR, TERM=dumb and COLUMNS mean what they usually do.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from otflow.drawing.line import ASCII, UNICODE, Line, Piece, clean, cut, measure, plain, wrap

__all__ = ["Screen"]

_STYLES = {
    "": "",
    "title": "bold",
    "step": "bold cyan",
    "event": "magenta",
    "value": "green",
    "faint": "dim",
    "good": "green",
    "bad": "red",
    "wait": "yellow",
    "mark": "dim",
    "place": "cyan",
}
_WIDEST = 100  # columns; the eye loses its way on wider lines
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_FRAMES = "|/-\\"
_PER_SECOND = 12


class _Console(Console):
    """A console that does not end the program by itself."""

    def on_broken_pipe(self) -> None:
        """Say that nobody reads any more."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads any more")


class Screen:
    """A place for lines.

    Args:
        file: where they go.
    """

    def __init__(self, file: TextIO) -> None:
        unicode = _takes_unicode(file.encoding or "ascii")
        if isinstance(file, TextIOWrapper):
            file.reconfigure(errors="replace")  # texts of others may hold anything
        self._console = _Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live: Live | None = None
        self.signs = UNICODE if unicode else ASCII
        self._frames = _FRAMES if unicode else _ASCII_FRAMES
        self.width = min(max(40, self._console.width), _WIDEST)
        self.moves = self._console.is_terminal and not self._console.is_dumb_terminal and file.isatty()

    def print(self, lines: Iterable[Line] = ((),)) -> None:
        """Print lines as they are."""
        for line in lines:
            self._console.print(_style(line))

    def write(self, text: str | Line, *, indent: str = "", first: str | Line | None = None) -> None:
        """Print a text that is broken into lines where it has to be.

        Args:
            text: the text.
            indent: what stands before each line.
            first: what stands before the first line instead.
        """
        line = (Piece(text),) if isinstance(text, str) else text
        start = indent if first is None else first
        head: Line = (Piece(start),) if isinstance(start, str) else start
        rows = wrap(line, self.width - measure(indent))
        self.print((*(head if not place else (Piece(indent),)), *row) for place, row in enumerate(rows))

    def head(self, text: str) -> None:
        """Print a heading with a rule."""
        rule = self.signs.rule
        text = plain(cut((Piece(text),), self.width - 6, self.signs.more))
        rest = self.width - measure(text) - 4
        self.print([(), (Piece(f"{rule * 2} ", "faint"), Piece(text, "title"), Piece(f" {rule * rest}", "faint")), ()])

    @contextmanager
    def moving(self, status: Callable[[], str]) -> Iterator[None]:
        """Show a status below all lines while this lasts, if the screen can move."""
        if not self.moves:
            yield
            return
        with Live(
            get_renderable=lambda: self._draw_status(status()),
            console=self._console,
            refresh_per_second=_PER_SECOND,
            transient=True,
        ):
            yield

    @contextmanager
    def live(self, draw: Callable[[], Iterable[Line]]) -> Iterator[Callable[[], None]]:
        """Show lines that change, in the place of those before, and leave the last ones standing.

        Args:
            draw: draws them; as many are shown as the screen is high.

        Returns:
            What has them drawn again; on a screen that cannot move it does nothing, and the last lines are printed.
        """
        if not self.moves:
            yield lambda: None
            self.print(draw())
            return

        def render() -> Text:
            lines = list(draw())[-max(1, self._console.height - 1) :]
            return Text("\n").join(map(_style, lines))

        with Live(render(), console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda: live.update(render(), refresh=True)

    def _draw_status(self, text: str) -> Text:
        frame = self._frames[int(time.monotonic() * _PER_SECOND) % len(self._frames)]
        line = (Piece(frame, "wait"), Piece(f" {text}", "faint"))
        return _style(cut(line, self.width - 1, self.signs.more))


def _style(line: Line) -> Text:
    room = len(plain(line))  # without what is blank at the end
    text = Text(no_wrap=True, overflow="ignore")
    for piece in line:
        text.append(clean(piece.text)[: max(0, room - len(text))], _STYLES[piece.style])
    return text


def _takes_unicode(encoding: str) -> bool:
    try:
        "".join((*UNICODE, _FRAMES)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
