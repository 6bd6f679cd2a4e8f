"""Files of OTLP in its binary form: one request, or many, each with its length before it.

Lengths are as the collector's file exporter writes them (four bytes) or as protobuf itself does (a varint). A file is
read piece by piece: of one request each resource is a piece. This room knows bytes, and not where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from otflow.errors import ReaderError
from otflow.readers.sightings import WANTED, Sighting, see

__all__ = ["CutError", "read_frames", "read_piece"]

_RESOURCE_SPANS = 0x0A  # the only field of a request: number 1, with a length
_MAX_VARINT = 10
_WORD = 4


class CutError(ReaderError):
    """A file ends in the middle of a piece, or is none of this kind."""


def read_frames(file: BinaryIO, limit: int) -> Iterator[tuple[bytes, bool]]:
    """Cut a file into pieces: each is a request, or (True) a resource with its spans.

    Args:
        file: the file, at its begin.
        limit: the most bytes that a piece may have.

    Raises:
        CutError: the file ends in the middle of a piece, or a piece is too long, as in files of another kind.
    """
    first = file.read(1)
    while first:
        bare = first[0] == _RESOURCE_SPANS
        if bare:
            size = _read_varint(file, b"")
        elif first == b"\0":
            size = int.from_bytes(_read(file, _WORD - 1))
        else:
            size = _read_varint(file, first)
        if size > limit:
            raise CutError(f"a piece of it has {size} bytes, more than {limit}")
        yield _read(file, size), bare
        first = file.read(1)


def _read(file: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := file.read(min(size, 1 << 20))):  # no more memory than there are bytes
        parts.append(part)
        size -= len(part)
    if size:
        raise CutError("it ends in the middle of a piece")
    return b"".join(parts)


def _read_varint(file: BinaryIO, begin: bytes) -> int:
    number, shift = 0, 0
    for place in range(_MAX_VARINT):
        [byte] = begin if place < len(begin) else _read(file, 1)
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  the last byte has no upper bit
            return number
        shift += 7
    raise CutError("a length in it is none")


def read_piece(data: bytes, *, bare: bool) -> Iterator[Sighting]:
    """Read what the spans of a piece tell of runs.

    Args:
        data: the piece.
        bare: whether it is a resource with its spans, and not a request.

    Raises:
        CutError: it is neither.
    """
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData  # noqa: PLC0415  heavy, and wanted for such files only

    try:
        resources = [ResourceSpans.FromString(data)] if bare else TracesData.FromString(data).resource_spans
    except Exception as error:  # protobuf's own classes of errors come without types
        raise CutError("a piece of it is no OTLP") from error
    for resource in resources:
        for scope in resource.scope_spans:
            for span in scope.spans:
                found: dict[str, object] = {}
                for each in span.attributes:
                    if each.key in WANTED:
                        kind = each.value.WhichOneof("value")
                        found[each.key] = getattr(each.value, kind) if kind else None
                sighting = see(found, span.name) if found else None
                if sighting is not None:
                    yield sighting
