"""Files in which spans stand: what is in them is found by their first bytes, and read piece by piece.

A part that cannot be read is named and passed over; only a file of which nothing can be read is an error.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar, cast

import msgspec

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Kin
from otflow.readers.foreign_json import drafts_in
from otflow.readers.otlp_json import read_document
from otflow.readers.otlp_protobuf import CutError, drafts_in_piece, read_frames, read_piece
from otflow.readers.refusals import describe_begin, name_signal
from otflow.readers.sighted import SightedSource
from otflow.readers.sightings import Sighting, is_plain

__all__ = ["LIMIT", "SQLITE", "open_files"]

T = TypeVar("T")

LIMIT = 512 * 1024 * 1024
"""How many bytes a line, a document or a message may have."""
SQLITE = b"SQLite format 3\x00"
"""How a journal begins."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"
_PEEK = 4096
_CHUNK = 1 << 20
_PACKED = 32 * 1024 * 1024  # bytes of a line in a compressed file, however small that is
_RATIO = 50  # and so many times the size of the file: traces are packed to a tenth, bombs to a thousandth
_NAMED = 100  # faults of a file that are told one by one
_CONTROLS = re.compile(rb"[\x00-\x08\x0b-\x1f]")  # in no text, and in every message of protobuf
_JSON = re.compile(rb'\{\s*["}]|\[\s*["\]{\[]')
_EXPECTED = "It has to be OTLP, as JSON lines or protobuf, JSON of Jaeger or Phoenix, or a journal"


def open_files(paths: Sequence[Path], limit: int = LIMIT) -> SightedSource:
    """Return the runs of files, taken together.

    Args:
        paths: the files.
        limit: the most bytes that a line, a document or a message may have; default 512 MiB.
    """
    place = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files of {paths[0].parent}" if paths else "no file"

    def look(only: str, faults: list[str]) -> Iterator[Sighting]:
        marks = (only.encode(),) if is_plain(only) else ()
        return _look_into(paths, _Lens(limit, marks, read_document, read_piece), faults)

    def sketch(kin: Kin, faults: list[str]) -> Iterator[Draft]:
        lens = _Lens(limit, kin.marks(), partial(drafts_in, kin=kin), partial(drafts_in_piece, kin=kin))
        return _look_into(paths, lens, faults)

    return SightedSource(place, look, sketch)


@dataclass(frozen=True)
class _Lens(Generic[T]):
    """What is looked for in files: what a line has to hold for it, if anything, and how it is read from a piece."""

    limit: int
    marks: tuple[bytes, ...]
    read_document: Callable[[bytes], Iterator[T] | None]
    read_piece: Callable[..., Iterator[T]]
    advice: str = ""

    def passes_over(self, line: bytes) -> bool:
        """Tell whether a line has nothing that is looked for."""
        return bool(self.marks) and not any(mark in line for mark in self.marks)


def _look_into(paths: Sequence[Path], lens: _Lens[T], faults: list[str]) -> Iterator[T]:
    """Look at what stands in files.

    Args:
        paths: the files.
        lens: what is looked for.
        faults: takes a sentence for each part that cannot be read.

    Raises:
        ReaderError: a file cannot be opened, or nothing of it can be read.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                yield from _look(file, str(path), lens, faults)
        except OSError as error:
            raise ReaderError(f"{path} cannot be read: {error.strerror or error}.") from error


def _look(file: BinaryIO, place: str, lens: _Lens[T], faults: list[str]) -> Iterator[T]:
    begin = file.read(len(_ZSTD))
    file.seek(0)
    if begin.startswith(_ZSTD):
        raise ReaderError(f"{place} is compressed with zstd; decompress it first: zstd -d {place}.")
    if begin.startswith(_GZIP):
        most = min(lens.limit, max(_PACKED, _RATIO * os.fstat(file.fileno()).st_size))
        lens = replace(lens, limit=most, advice=", much for so small a file: if it is yours, decompress it first")
        with closing(gzip.open(file)) as unpacked:
            yield from _look_packed(cast("BinaryIO", unpacked), place, lens, faults)
    else:
        yield from _look_plain(file, place, lens, faults)


def _look_packed(file: BinaryIO, place: str, lens: _Lens[T], faults: list[str]) -> Iterator[T]:
    some = False
    try:
        for found in _look_plain(file, place, lens, faults):
            some = True
            yield found
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = f"{place} is damaged: it cannot be decompressed ({error})."
        if not some:
            raise ReaderError(fault) from error
        faults.append(fault)


def _look_plain(file: BinaryIO, place: str, lens: _Lens[T], faults: list[str]) -> Iterator[T]:
    begin = _find_begin(file)
    pieces = _Pieces(place, faults)
    if _JSON.match(begin):
        yield from _look_at_json(file, lens, pieces)
    elif _CONTROLS.search(begin):
        yield from _look_at_protobuf(file, lens, pieces)
    elif begin:  # a text: of JSON lines the begin may be lost
        yield from _look_at_lines(file, lens, pieces)
    pieces.close(begin)


def _find_begin(file: BinaryIO) -> bytes:
    """Return what a file begins with behind the blanks, and leave the file at its begin."""
    begin = file.read(_PEEK).removeprefix(_BOM).lstrip()
    while not begin and (more := file.read(_CHUNK)):
        begin = more.lstrip()[:_PEEK]
    file.seek(0)
    return begin


class _Pieces:
    """Keeps count of the pieces of a file that could be read, and of those that could not."""

    def __init__(self, place: str, faults: list[str]) -> None:
        self.place = place
        self._faults = faults
        self._first = ""
        self._failed = 0
        self._others = ""
        self.read = 0

    def fail(self, what: str, error: object) -> None:
        """Note that a piece cannot be read."""
        fault = f"{what} of {self.place} cannot be read: {str(error) or type(error).__name__}."
        self._first = self._first or fault
        self._failed += 1
        if self._failed <= _NAMED:
            self._faults.append(fault)

    def pass_over(self, others: str) -> None:
        """Note that a piece holds no spans, but something else that stands beside them in some files."""
        self._others = others

    def close(self, begin: bytes) -> None:
        """See to it that something was read.

        Args:
            begin: the first bytes of the file.

        Raises:
            ReaderError: nothing was.
        """
        if self._failed > _NAMED:
            self._faults.append(f"{self._failed - _NAMED:,} more pieces of {self.place} cannot be read.")
        if self.read:
            return
        if self._first:
            raise ReaderError(f"{self._first} {_EXPECTED}; {describe_begin(begin)}.")
        if self._others:
            raise ReaderError(f"{self.place} has {self._others} of OTLP and no spans. Give the file with the traces.")


def _look_at_json(file: BinaryIO, lens: _Lens[T], pieces: _Pieces) -> Iterator[T]:
    whole = _read_document(file, lens.limit)
    if whole is None:
        yield from _look_at_lines(file, lens, pieces)
    else:
        yield from _read_piece(whole, lens, "The whole", pieces)


def _read_document(file: BinaryIO, limit: int) -> bytes | None:
    """Return a file that is one document over many lines; None if each of its lines stands for itself.

    Lines may be damaged, the first ones too: a document is whatever begins as one and has no line that is one.
    """
    line = next((line for line in iter(partial(file.readline, limit + 1), b"") if line.strip()), b"").removeprefix(_BOM)
    file.seek(0)
    if len(line) > limit or _is_json(line) or _is_damaged(file.read(_CHUNK).removeprefix(_BOM)):
        file.seek(0)
        return None
    file.seek(0)
    whole = file.read(limit + 1).removeprefix(_BOM)
    file.seek(0)
    if not _is_json(whole):
        while line := file.readline(limit + 1):
            if line[:1] == b"{" and _is_json(line):
                file.seek(0)
                return None
    return whole


def _look_at_lines(file: BinaryIO, lens: _Lens[T], pieces: _Pieces) -> Iterator[T]:
    limit = lens.limit
    line, number = file.readline(limit + 1).removeprefix(_BOM), 1
    while line:
        if len(line) > limit:
            pieces.fail(f"Line {number}", f"it has more than {limit} bytes{lens.advice}")
            while line and not line.endswith(b"\n"):
                line = file.readline(_CHUNK)
        elif lens.passes_over(line):
            pieces.read += 1  # it is of others
        elif line.strip():
            yield from _read_piece(line, lens, f"Line {number}", pieces)
        line, number = file.readline(limit + 1), number + 1


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _is_damaged(begin: bytes) -> bool:
    """Tell whether a text is no begin of a JSON document: something in it is wrong, and not only its end missing."""
    try:
        msgspec.json.decode(begin, type=msgspec.Raw)
    except msgspec.MsgspecError as error:
        return "truncated" not in str(error)
    except RecursionError:
        pass
    return False


def _read_piece(data: bytes, lens: _Lens[T], what: str, pieces: _Pieces) -> Iterator[T]:
    if len(data) > lens.limit:
        pieces.fail(what, f"it has more than {lens.limit} bytes{lens.advice}")
        return
    try:
        found = lens.read_document(data)
        if found is not None:
            pieces.read += 1
            yield from found
        elif others := name_signal(data):
            pieces.pass_over(others)
        else:
            pieces.fail(what, "it is JSON of no known kind")
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        pieces.fail(what, error)


def _look_at_protobuf(file: BinaryIO, lens: _Lens[T], pieces: _Pieces) -> Iterator[T]:
    number = 0
    try:
        for data, bare in read_frames(file, lens.limit):
            number += 1
            found = list(lens.read_piece(data, bare=bare))
            pieces.read += 1
            yield from found
    except CutError as error:
        pieces.fail("The end" if number else "The begin", error)
