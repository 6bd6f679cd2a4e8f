"""JSON in which the spans of other libraries stand: of the kinds in which those of runs do.

It is looked at in lines and answers of which something belongs to the trace of a run, for that run alone, so it need
not be fast; a span that is not as it should be costs no other one. This room knows no file and no server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from otflow.readers.foreign import Draft, Kin, mark
from otflow.records.semconv import RUN_ID, SPAN_KIND

__all__ = ["drafts_in"]

T = TypeVar("T")

_ABSENT = msgspec.Raw()
_DEPTH = 8
_OWN = f'"{RUN_ID}"'.encode()
_NESTED = b'"otflow":'


class _Scope(msgspec.Struct):
    name: str = ""


class _Scoped(msgspec.Struct):
    scope: _Scope = msgspec.field(default_factory=_Scope)
    spans: list[msgspec.Raw] = []


class _Resource(msgspec.Struct, rename="camel"):
    scope_spans: list[msgspec.Raw] = []


class _Status(msgspec.Struct):
    code: int | str = 0
    message: str = ""


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str
    span_id: str
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: int | str = 0
    attributes: msgspec.Raw = msgspec.Raw(b"[]")
    status: _Status = msgspec.field(default_factory=_Status)


class _Reference(msgspec.Struct, rename={"kind": "refType", "trace_id": "traceID", "span_id": "spanID"}):
    kind: str = ""
    trace_id: str = ""
    span_id: str = ""


class _Tagged(
    msgspec.Struct,
    rename={"trace_id": "traceID", "span_id": "spanID", "name": "operationName", "start": "startTime"},
):
    """A span of the older interface of Jaeger; times are in microseconds."""

    trace_id: str
    span_id: str
    name: str
    references: list[_Reference] | None = None
    start: int = 0
    tags: msgspec.Raw = msgspec.Raw(b"[]")


class _Context(msgspec.Struct):
    trace_id: str
    span_id: str


class _Shown(msgspec.Struct):
    """A span of Phoenix."""

    context: _Context
    name: str = ""
    parent_id: str | None = None
    span_kind: str = ""
    start_time: str = ""
    status_code: str = ""
    status_message: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"{}")


class _Any(msgspec.Struct, rename={"resource_spans": "resourceSpans"}):
    """Any object in which spans may stand."""

    resource_spans: list[msgspec.Raw] | None = None
    result: msgspec.Raw = _ABSENT
    data: list[msgspec.Raw] | None = None
    spans: list[msgspec.Raw] | None = None
    record: msgspec.Raw = _ABSENT


_ANY = msgspec.json.Decoder(_Any)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RESOURCE = msgspec.json.Decoder(_Resource)
_SCOPED = msgspec.json.Decoder(_Scoped)
_SPAN = msgspec.json.Decoder(_Span)
_TAGGED = msgspec.json.Decoder(_Tagged)
_SHOWN = msgspec.json.Decoder(_Shown)


def drafts_in(data: bytes, kin: Kin) -> Iterator[Draft]:
    """Give the spans of a JSON document that may stand below a run.

    Args:
        data: the JSON.
        kin: the run.

    Raises:
        msgspec.DecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return _read(data, kin.marks(), _DEPTH)


def _read(data: bytes, marks: tuple[bytes, ...], depth: int) -> Iterator[Draft]:
    if not depth:
        raise RecursionError
    if not any(each in data for each in marks):
        return
    if data.lstrip()[:1] == b"[":
        yield from _read_each(_LIST.decode(data), marks, depth)
        return
    try:
        found = _ANY.decode(data)
    except msgspec.ValidationError:
        return
    if found.resource_spans is not None:
        yield from _read_otlp(found.resource_spans, marks)
    elif found.result != _ABSENT:
        yield from _read(bytes(found.result), marks, depth - 1)
    elif found.data is not None or found.spans is not None:
        yield from _read_each(found.data if found.data is not None else found.spans or [], marks, depth)
    elif found.record == _ABSENT:
        yield from _read_span(data)


def _read_each(texts: Iterable[msgspec.Raw], marks: tuple[bytes, ...], depth: int) -> Iterator[Draft]:
    for text in texts:
        yield from _read(bytes(text), marks, depth - 1)


def _read_otlp(resources: Iterable[msgspec.Raw], marks: tuple[bytes, ...]) -> Iterator[Draft]:
    for resource in resources:
        try:
            scopes = _RESOURCE.decode(resource).scope_spans
        except msgspec.ValidationError:
            continue
        for text in scopes:
            try:
                scoped = _SCOPED.decode(text)
            except msgspec.ValidationError:
                continue
            for span in scoped.spans:
                raw = bytes(span)
                if any(each in raw for each in marks):
                    yield from _read_span(raw, scoped.scope.name)


def _read_span(data: bytes, scope: str = "") -> Iterator[Draft]:
    for read in (_read_newer, _read_tagged, _read_shown):
        try:
            yield read(data, scope)
        except (msgspec.ValidationError, ValueError):
            continue
        return


def _read_newer(data: bytes, scope: str) -> Draft:
    span = _SPAN.decode(data)
    code = "ERROR" if span.status.code in {2, "STATUS_CODE_ERROR"} else ""
    beside = mark(span.kind, code, span.status.message, scope)
    return _draft(
        span.name,
        (span.trace_id, span.span_id, span.parent_span_id),
        int(span.start_time_unix_nano),
        span.attributes,
        partial(_read_pairs, beside=beside),
    )


def _read_tagged(data: bytes, _: str) -> Draft:
    span = _TAGGED.decode(data)
    parents = [each.span_id for each in span.references or () if each.kind == "CHILD_OF"]
    ids = (span.trace_id, span.span_id, parents[0] if parents else "")
    return _draft(span.name, ids, span.start * 1000, span.tags, partial(_read_pairs, beside={}))


def _read_shown(data: bytes, _: str) -> Draft:
    span = _SHOWN.decode(data)
    beside = mark("", span.status_code, span.status_message, "")
    if span.span_kind not in {"", "UNKNOWN"}:
        beside[SPAN_KIND] = span.span_kind
    ids = (span.context.trace_id, span.context.span_id, span.parent_id or "")
    return _draft(span.name, ids, _read_time(span.start_time), span.attributes, partial(_read_nested, beside=beside))


def _read_time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _draft(
    name: str,
    ids: tuple[str, str, str],
    start: int,
    attributes: msgspec.Raw,
    read: Callable[[bytes], Mapping[str, object]],
) -> Draft:
    raw = bytes(attributes)
    trace, id, parent = (int(each, 16) if each else 0 for each in ids)
    own = _OWN in raw or _NESTED in raw
    return Draft(name, trace, id, parent, start, 0 if own else len(raw), None if own else partial(read, raw))


def _read_pairs(raw: bytes, beside: Mapping[str, object]) -> Mapping[str, object]:
    """Read attributes that come as a list of names and values: those of OTLP, and of Jaeger's older interface."""
    found: dict[str, object] = {}
    for each in _plain(raw, list):
        if isinstance(each, dict) and isinstance(each.get("key"), str):
            value = each.get("value")
            found[each["key"]] = _unwrap(value) if isinstance(value, dict) else value
    return {**found, **beside}


def _unwrap(value: Mapping[str, object]) -> object:
    """Take a value of OTLP out of the object that says its type."""
    kind, inner = next(iter(value.items()), ("", None))
    match kind:
        case "intValue" if isinstance(inner, str):
            return int(inner) if inner.removeprefix("-").isdecimal() else inner
        case "arrayValue" if isinstance(inner, dict):
            return [_unwrap(each) for each in _dicts(inner.get("values"))]
        case "kvlistValue" if isinstance(inner, dict):
            pairs = [(each.get("key"), each.get("value")) for each in _dicts(inner.get("values"))]
            return {f"{key}": _unwrap(each) if isinstance(each, dict) else None for key, each in pairs}
        case _:
            return inner


def _dicts(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _read_nested(raw: bytes, beside: Mapping[str, object]) -> Mapping[str, object]:
    """Read attributes that come as an object, of whose dots some versions of Phoenix make objects again."""
    found: dict[str, object] = {}
    waiting: list[tuple[str, object]] = [("", _plain(raw, dict))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}" if name else key, inner) for key, inner in value.items()]
        elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
            waiting += [(f"{name}.{place}", inner) for place, inner in enumerate(value)]
        else:
            found[name] = value
    return {**found, **beside}


def _plain(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return kind()
