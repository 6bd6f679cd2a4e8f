"""Files of OTLP in its binary form: one request, or many, each with its length before it.

Lengths are as the collector's file exporter writes them (four bytes) or as protobuf itself does (a varint). A file is
read piece by piece: of one request each resource is a piece. This room knows bytes, and not where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Kin, mark
from otflow.readers.sightings import WANTED, Sighting, see
from otflow.records.semconv import RUN_ID

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

__all__ = ["CutError", "drafts_in_piece", "read_frames", "read_piece"]

_RESOURCE_SPANS = 0x0A  # the only field of a request: number 1, with a length
_MAX_VARINT = 10
_WORD = 4
_ERROR = 2
_LARGE = 1 << 20  # bytes of a piece that is parsed bit by bit
_LEAST = 16  # bytes of a span: its trace alone has so many
_MOST_EMPTY = 10_000
_RESOURCES, _SCOPES, _SCOPE, _SPANS = 1, 2, 1, 2  # numbers of fields
_SIZED, _FIXED = 2, {1: 8, 5: 4}  # how a field is written, and how long the fixed ones are


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
    for scope in _parse(data, bare=bare):
        for span in scope.spans:
            found = {each.key: _plain(each.value) for each in span.attributes if each.key in WANTED}
            sighting = see(found, span.name) if found else None
            if sighting is not None:
                yield sighting


def drafts_in_piece(data: bytes, kin: Kin, *, bare: bool) -> Iterator[Draft]:
    """Give the spans of a piece that may stand below a run.

    Args:
        data: the piece.
        kin: the run.
        bare: whether it is a resource with its spans, and not a request.

    Raises:
        CutError: it is neither.
    """
    traces = {trace.to_bytes(16): trace for trace in kin.traces}
    if not any(trace in data for trace in traces):
        return
    for scope in _parse(data, bare=bare):
        for span in scope.spans:
            trace = traces.get(span.trace_id)
            if trace is None:
                continue
            own = any(each.key == RUN_ID for each in span.attributes)
            code = "ERROR" if span.status.code == _ERROR else ""
            beside = mark(int(span.kind), code, span.status.message, scope.scope.name)
            yield Draft(
                span.name,
                trace,
                int.from_bytes(span.span_id),
                int.from_bytes(span.parent_span_id),
                span.start_time_unix_nano,
                0 if own else span.ByteSize(),
                None if own else partial(_read_attributes, span.SerializeToString(), beside),
            )


def _parse(data: bytes, *, bare: bool) -> Iterator[ScopeSpans]:
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData  # noqa: PLC0415  heavy, and wanted for such files only

    try:
        if len(data) > _LARGE:
            yield from map(ScopeSpans.FromString, _cut(data, bare=bare))
            return
        resources = [ResourceSpans.FromString(data)] if bare else TracesData.FromString(data).resource_spans
    except CutError:
        raise
    except Exception as error:  # protobuf's own classes of errors come without types
        raise CutError("a piece of it is no OTLP") from error
    for resource in resources:
        yield from resource.scope_spans


def _cut(data: bytes, *, bare: bool) -> Iterator[bytes]:
    """Cut a large piece into scopes with some of their spans each: parsed, they take up to a hundred times the room."""
    empty = 0
    resources = [(0, len(data))] if bare else _find(data, 0, len(data), _RESOURCES)
    for resource in resources:
        for scope in _find(data, *resource, _SCOPES):
            head, part = b"", bytearray()
            for number, begin, start, end in _fields(data, *scope):
                if number != _SPANS:
                    head += data[begin:end] if number == _SCOPE else b""
                elif end - start < _LEAST:
                    empty += 1
                    if empty > _MOST_EMPTY:
                        raise CutError(f"a piece of it has more than {_MOST_EMPTY} spans with nothing in them")
                else:
                    if end - start > _LARGE:
                        _check_parts(data, start, end)
                    part += data[begin:end]
                    if len(part) > _LARGE:
                        yield head + part
                        part.clear()
            if part:
                yield head + part


def _check_parts(data: bytes, start: int, end: int) -> None:
    """See to it that a large span has not millions of parts."""
    for number, (_, begin, _, _) in enumerate(_fields(data, start, end)):
        if number > _MOST_EMPTY and number * _LEAST > begin - start:
            raise CutError(f"a span in it has more than {_MOST_EMPTY} attributes with nothing in them")


def _find(data: bytes, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    return ((begin, until) for number, _, begin, until in _fields(data, start, end) if number == wanted)


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give the fields of a message: the number of each, where it begins, where its value begins, and where it ends."""
    place = start
    while place < end:
        begin = place
        tag, place = _varint_at(data, place, end)
        value, kind = place, tag & 7
        if kind == _SIZED:
            size, value = _varint_at(data, place, end)
            place = value + size
        elif kind == 0:
            _, place = _varint_at(data, place, end)
        else:
            place += _FIXED.get(kind, end)
        if place > end:
            raise CutError("a piece of it is no OTLP")
        yield tag >> 3, begin, value, place


def _varint_at(data: bytes, place: int, end: int) -> tuple[int, int]:
    number, shift = 0, 0
    for at in range(place, min(end, place + _MAX_VARINT)):
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  the last byte has no upper bit
            return number, at + 1
        shift += 7
    raise CutError("a piece of it is no OTLP")


def _read_attributes(data: bytes, beside: Mapping[str, object]) -> Mapping[str, object]:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span  # noqa: PLC0415  as above

    found = {each.key: _plain(each.value) for each in Span.FromString(data).attributes}
    return {**found, **beside}


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _plain(each.value) for each in value.kvlist_value.values}
    return getattr(value, kind) if kind else None
