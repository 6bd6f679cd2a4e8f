"""Outlet: the two streams to which a command writes, whatever they can take.

Texts come from traces, and traces from anywhere: nothing leaves here that a terminal would obey instead of showing it.
What an encoding does not have is spelt out. A stream that takes nothing any more ends a command with a code of its own.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from otflow.cli.complaints import UNWRITTEN, CommandError
from otflow.drawing.line import clean
from otflow.errors import OtflowError

__all__ = ["UnheardError", "complain", "escape", "guarding", "hand_over", "prepare", "say"]

_NOT_PLAIN = re.compile(r"[^\x20-\x7e\n]")
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# what a write says of a stream, and an open() of a file says otherwise
_FULL = {errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.ENXIO}
_BASIC_PLANE = 0xFFFF


class UnheardError(Exception):
    """Nobody reads any more what is written."""


def prepare() -> None:
    """Make the streams take any text.

    Raises:
        CommandError: there is no standard output.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  it stays open as long as the process
    if sys.stdout is None:
        raise CommandError(
            "there is no standard output. Send it to /dev/null if it does not matter, and start again.", UNWRITTEN
        )
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, TextIOWrapper):
            file.reconfigure(errors="backslashreplace")


@contextmanager
def guarding() -> Iterator[None]:
    """Tell errors of the streams from all others while this lasts, and write what still waits at the end.

    Raises:
        UnheardError: nobody reads any more.
        CommandError: what was written could not be kept.
    """
    try:
        yield
        sys.stdout.flush()
        _settle()
    except OtflowError:  # it says more than that its words could not be written
        _settle()
        raise
    except BrokenPipeError as error:
        _settle()
        raise UnheardError from error
    except SystemExit as end:  # so a library ends the program when nobody reads any more
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _settle()
        raise UnheardError from end
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _settle()
        raise CommandError(
            f"the output cannot be written: {error.strerror}. What was asked for may be done all the same.", UNWRITTEN
        ) from error


def _settle() -> None:
    """Write what still waits in the streams, if they take it."""
    for file in (sys.stdout, sys.stderr):
        try:
            file.flush()
        except OSError:
            _drop(file)


def _drop(file: TextIO) -> None:
    """Let what still waits in a stream go nowhere, or Python would complain about it at its end."""
    with suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, file.fileno())
        os.close(sink)


def say(text: str) -> None:
    """Print a line."""
    print(clean(text), flush=True)


def complain(text: str) -> None:
    """Print a line on the error stream, if it takes one."""
    try:
        print(f"otflow: {clean(' '.join(text.split()))}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def escape(json: str, encoding: str | None = None) -> str:
    """Spell out in JSON what a terminal would obey, and what an encoding does not have; the JSON means the same.

    Args:
        json: the JSON.
        encoding: the encoding; default that of the standard output.
    """
    encoding = encoding or getattr(sys.stdout, "encoding", None) or "utf-8"

    def spell(match: re.Match[str]) -> str:
        character = match[0]
        if unicodedata.category(character) not in _OBEYED:
            with suppress(UnicodeEncodeError, LookupError):
                character.encode(encoding)
                return character
        number = ord(character)
        if number <= _BASIC_PLANE:
            return f"\\u{number:04x}"
        number -= _BASIC_PLANE + 1
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"

    return _NOT_PLAIN.sub(spell, json)


def hand_over(text: str) -> None:
    """Print the result of a run: to a program as it is, to a terminal without what it would obey."""
    print("\n".join(map(clean, text.split("\n"))) if sys.stdout.isatty() else text)
