"""Corpus: which files are read, how a text file is told from others, and the passages that it is cut into.

A passage is some consecutive lines of a file. Its lines keep their numbers, for they are what an answer cites.
"""

from __future__ import annotations

import io
import os
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from otflow.errors import OtflowError

__all__ = ["Corpus", "NothingToReadError", "Passage", "choose_corpus", "cut_passages", "find_files", "read_lines"]

MAX_FILES = 2_000
MAX_BYTES = 1_000_000
_SKIPPED = {"node_modules", "__pycache__", "site-packages"}
_FULL = 10  # lines after which a passage ends at the next blank line
_MOST = 30  # lines after which it ends anywhere


class NothingToReadError(OtflowError):
    """There is no text to answer questions from."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is read.

    Args:
        title: what it is called.
        places: the files and folders.
        root: the folder from which files are named; empty if they are named as the places are.
    """

    title: str
    places: tuple[Path, ...]
    root: str = ""

    def name(self, path: Path) -> str:
        """Give the name under which a file is cited; bytes in it that are no UTF-8 are replaced."""
        name = os.path.relpath(path, self.root) if self.root else str(path)
        return os.fsencode(name).decode(errors="replace")

    def locate(self, name: str) -> Path:
        """Find the file that is cited under a name."""
        return Path(self.root, name)


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive lines of a file; `first` is the number of the first one, from 1."""

    first: int
    lines: tuple[str, ...]


def choose_corpus(folder: Path | None, package: Path) -> Corpus:
    """Choose what to read: a folder, or otflow's documentation, or its source where there is no documentation.

    Args:
        folder: the folder, if one was named.
        package: the folder of the package.

    Raises:
        NothingToReadError: the folder is missing, is none, cannot be listed, or holds no file.
    """
    if folder is not None:
        _check_folder(folder)
        corpus = Corpus(str(folder), (folder,))
        if next(find_files(corpus), None) is None:
            raise NothingToReadError(f"{folder} holds no file to read: name a folder with text files.")
        return corpus
    checkout = package.parent
    places = [place for place in (checkout / "README.md", checkout / "docs") if place.exists()]
    if (checkout / "pyproject.toml").exists() and places:
        corpus = Corpus("the documentation of otflow", tuple(places), str(checkout))
        if next(find_files(corpus), None) is not None:
            return corpus
    return Corpus("the docstrings and comments of otflow", (package,), str(checkout))


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise NothingToReadError(f"{folder} does not exist: name a folder with text files.")
    if not folder.is_dir():
        raise NothingToReadError(f"{folder} is not a folder: name the folder that holds the text files.")
    try:
        os.scandir(folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise NothingToReadError(f"{folder} cannot be listed ({reason}): name a folder that you may read.") from error


def find_files(corpus: Corpus) -> Iterator[Path]:
    """Find the files of a corpus in the order of their names, without hidden ones and without installed packages."""
    for place in corpus.places:
        if not place.is_dir():
            yield place
            continue
        for folder, folders, files in os.walk(place):
            folders[:] = sorted(name for name in folders if name[0] != "." and name not in _SKIPPED)
            for name in sorted(files):
                if name[0] != ".":
                    yield Path(folder, name)


def read_lines(path: Path) -> Sequence[str]:
    """Read the lines of a text file; those that hold code, in Python and Markdown, are empty.

    Raises:
        OSError: the file cannot be read, or is no regular file.
        ValueError: it is not text in UTF-8, or larger than a megabyte.
    """
    if not path.is_file():
        path.stat()  # says what is wrong, if it is not there at all
        raise OSError(0, "not a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("larger than a megabyte")
    if b"\0" in data:
        raise ValueError("not text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not text in UTF-8") from None
    lines = re.split(r"\r\n|\r|\n", text)  # as editors count them
    match path.suffix.lower():
        case ".py":
            return _keep_comments(text, lines)
        case ".md" | ".markdown":
            return _drop_code(lines)
        case _:
            return lines


def _drop_code(lines: Sequence[str]) -> Sequence[str]:
    """Empty the lines of code blocks in Markdown."""
    kept = []
    fence = ""
    for line in lines:
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if not fence:
            fence = mark.group(1) if mark else ""
            kept.append("" if mark else line)
        else:
            kept.append("")
            if mark and mark.group(1).startswith(fence):
                fence = ""
    return kept


def _keep_comments(text: str, lines: Sequence[str]) -> Sequence[str]:
    """Empty the lines of Python source that are neither docstring nor comment; all stay if it is no Python."""
    prose: set[int] = set()
    before = tokenize.NEWLINE
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            alone = before in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
            comment = token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
            if comment or (token.type == tokenize.STRING and alone):
                prose.update(range(token.start[0], token.end[0] + 1))
            if token.type != tokenize.COMMENT:
                before = token.type
    except (tokenize.TokenError, SyntaxError):
        return lines
    return [line if number in prose else "" for number, line in enumerate(lines, start=1)]


def cut_passages(lines: Sequence[str]) -> Iterator[Passage]:
    """Cut a file into passages, which begin at headings and end at blank lines where they can."""
    start = 0
    for place, line in enumerate(lines):
        size = place - start
        heading = re.match(r"#{1,6} ", line) is not None
        if size and (heading or size >= _MOST or (size >= _FULL and not line.strip())):
            yield from _passage(lines, start, place)
            start = place
    yield from _passage(lines, start, len(lines))


def _passage(lines: Sequence[str], start: int, end: int) -> Iterator[Passage]:
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    if start < end:
        yield Passage(start + 1, tuple(lines[start:end]))
