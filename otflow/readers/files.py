"""Files in which spans stand: what is in them is found by their first bytes, and read piece by piece.

A part that cannot be read is named and passed over; only a file of which nothing can be read is an error.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from otflow.errors import ReaderError
from otflow.readers.otlp_json import read_document
from otflow.readers.otlp_protobuf import CutError, read_frames, read_piece
from otflow.readers.sighted import SightedSource
from otflow.readers.sightings import Sighting, is_plain

__all__ = ["LIMIT", "SQLITE", "look_into_files", "open_files"]

LIMIT = 512 * 1024 * 1024
"""How many bytes a line, a document or a message may have."""
SQLITE = b"SQLite format 3\x00"
"""How a journal begins."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"
_PEEK = 4096


def open_files(paths: Sequence[Path], limit: int = LIMIT) -> SightedSource:
    """Return the runs of files, taken together.

    Args:
        paths: the files.
        limit: the most bytes that a line, a document or a message may have; default 512 MiB.
    """
    place = str(paths[0]) if len(paths) == 1 else f"{len(paths)} files of {paths[0].parent}" if paths else "no file"

    def look(only: str, faults: list[str]) -> Iterator[Sighting]:
        return look_into_files(paths, limit, only, faults)

    return SightedSource(place, look)


def look_into_files(paths: Sequence[Path], limit: int, only: str, faults: list[str]) -> Iterator[Sighting]:
    """Look at the spans of files.

    Args:
        paths: the files.
        limit: the most bytes that a line, a document or a message may have.
        only: the beginning of the ids of the runs that matter.
        faults: takes a sentence for each part that cannot be read.

    Raises:
        ReaderError: a file cannot be opened, or nothing of it can be read.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                yield from _look(file, str(path), limit, only, faults)
        except OSError as error:
            raise ReaderError(f"{path} cannot be read: {error.strerror or error}.") from error


def _look(file: BinaryIO, place: str, limit: int, only: str, faults: list[str]) -> Iterator[Sighting]:
    begin = file.read(_PEEK)
    file.seek(0)
    if begin.startswith(_ZSTD):
        raise ReaderError(f"{place} is compressed with zstd; decompress it first: zstd -d {place}.")
    if begin.startswith(_GZIP):
        with closing(gzip.open(file)) as unpacked:
            yield from _look_packed(cast("BinaryIO", unpacked), place, limit, only, faults)
    elif begin.strip():
        yield from _look_plain(file, begin, place, limit, only, faults)


def _look_packed(file: BinaryIO, place: str, limit: int, only: str, faults: list[str]) -> Iterator[Sighting]:
    some = False
    try:
        begin = file.read(_PEEK)
        file.seek(0)
        for sighting in _look_plain(file, begin, place, limit, only, faults):
            some = True
            yield sighting
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = f"{place} is damaged: it cannot be decompressed ({error})."
        if not some:
            raise ReaderError(fault) from error
        faults.append(fault)


def _look_plain(
    file: BinaryIO, begin: bytes, place: str, limit: int, only: str, faults: list[str]
) -> Iterator[Sighting]:
    start = begin.removeprefix(_BOM).lstrip()[:1]
    pieces = _Pieces(place, faults)
    if start in {b"{", b"["}:
        yield from _look_at_json(file, limit, only, pieces)
    elif start:
        yield from _look_at_protobuf(file, limit, pieces)
    pieces.close()


class _Pieces:
    """Keeps count of the pieces of a file that could be read, and of those that could not."""

    def __init__(self, place: str, faults: list[str]) -> None:
        self.place = place
        self._faults = faults
        self._own: list[str] = []
        self.read = 0

    def fail(self, what: str, error: object) -> None:
        """Note that a piece cannot be read."""
        fault = f"{what} of {self.place} cannot be read: {str(error) or type(error).__name__}."
        self._own.append(fault)
        if len(self._own) <= 100:  # noqa: PLR2004  more would tell nothing
            self._faults.append(fault)

    def close(self) -> None:
        """See to it that something was read.

        Raises:
            ReaderError: nothing was.
        """
        if self._own and not self.read:
            raise ReaderError(
                f"{self._own[0]} It has to be OTLP, as JSON lines or protobuf, JSON of Jaeger or Phoenix, or a journal."
            )


def _look_at_json(file: BinaryIO, limit: int, only: str, pieces: _Pieces) -> Iterator[Sighting]:
    line = file.readline(limit + 1).removeprefix(_BOM)
    if len(line) <= limit and not _is_json(line):  # no JSON lines: one document over many of them
        file.seek(0)
        whole = file.read(limit + 1).removeprefix(_BOM)
        if _is_cut_line(line, whole):
            file.seek(0)
            line = file.readline(limit + 1).removeprefix(_BOM)
        else:
            yield from _read_piece(whole, limit, "The whole", pieces)
            return
    mark = only.encode() if is_plain(only) else b""
    number = 1
    while line:
        if len(line) > limit:
            pieces.fail(f"Line {number}", f"it has more than {limit} bytes")
            while line and not line.endswith(b"\n"):
                line = file.readline(limit)
        elif mark and mark not in line:
            pieces.read += 1  # it is of others
        elif line.strip():
            yield from _read_piece(line, limit, f"Line {number}", pieces)
        line, number = file.readline(limit + 1), number + 1


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _is_cut_line(line: bytes, whole: bytes) -> bool:
    """Tell whether it is only the first line that is damaged, of JSON lines."""
    following = whole[len(line) :].lstrip()
    end = following.find(b"\n")
    return following[:1] == b"{" and _is_json(following[:end] if end >= 0 else following)


def _read_piece(data: bytes, limit: int, what: str, pieces: _Pieces) -> Iterator[Sighting]:
    if len(data) > limit:
        pieces.fail(what, f"it has more than {limit} bytes")
        return
    try:
        found = read_document(data)
        if found is None:
            pieces.fail(what, "it is JSON of no known kind")
            return
        pieces.read += 1
        yield from found
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        pieces.fail(what, error)


def _look_at_protobuf(file: BinaryIO, limit: int, pieces: _Pieces) -> Iterator[Sighting]:
    number = 0
    try:
        for data, bare in read_frames(file, limit):
            number += 1
            found = list(read_piece(data, bare=bare))
            pieces.read += 1
            yield from found
    except CutError as error:
        pieces.fail("The end" if number else "The begin", error)
