"""JSON in which spans stand, whoever wrote it.

It may be OTLP, as the collector's file exporter and the newer interface of Jaeger write it; the older JSON of Jaeger;
that of Phoenix; or records themselves, one object each.
Of a span only what tells of a run is decoded, the rest is skipped as it is. This room knows no file and no server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import msgspec

from otflow.readers.sightings import WANTED, Sighting, see
from otflow.records.semconv import RUN_ID

__all__ = ["read_document"]

_NOTHING = msgspec.Raw(b"null")
_ABSENT = msgspec.Raw()
_DEPTH = 8  # how deep documents may stand in documents


class _Attribute(msgspec.Struct, gc=False):
    key: str = ""
    value: msgspec.Raw = _NOTHING


class _Span(msgspec.Struct, gc=False):
    name: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"[]")


class _Scope(msgspec.Struct, gc=False):
    spans: list[_Span] | None = None  # millions of lists would be dear


class _Resource(msgspec.Struct, rename="camel", gc=False):
    scope_spans: list[_Scope] | None = None


class _Otlp(msgspec.Struct, rename="camel", gc=False):
    resource_spans: list[_Resource]


class _Value(msgspec.Struct, rename="camel", gc=False):
    """A value of OTLP; integers are text in JSON."""

    string_value: str | None = None
    int_value: int | str | None = None
    bool_value: bool | None = None


class _Tagged(msgspec.Struct, rename="camel", gc=False):
    """A span of the older interface of Jaeger."""

    operation_name: str = ""
    tags: list[_Attribute] | None = None


class _Shown(msgspec.Struct, gc=False):
    """A span of Phoenix."""

    attributes: dict[str, msgspec.Raw]
    name: str = ""


class _Any(msgspec.Struct, rename={"resource_spans": "resourceSpans", "operation_name": "operationName"}, gc=False):
    """Any object that is understood, by what it has."""

    resource_spans: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    data: list[msgspec.Raw] | None = None
    spans: list[msgspec.Raw] | None = None
    tags: msgspec.Raw = _ABSENT
    operation_name: msgspec.Raw = _ABSENT
    attributes: msgspec.Raw = _ABSENT
    record: str | None = None


_OTLP = msgspec.json.Decoder(_Otlp)
_VALUE = msgspec.json.Decoder(_Value)
_TAGGED = msgspec.json.Decoder(_Tagged)
_SHOWN = msgspec.json.Decoder(_Shown)
_ANY = msgspec.json.Decoder(_Any)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_SPAN = msgspec.json.Decoder(_Span)
_ATTRIBUTES = msgspec.json.Decoder(list[_Attribute])
_STRING = msgspec.json.Decoder(str)

# Most spans of runs have nothing to tell but their records. These are found without decoding all the attributes, which
# takes twice as long. In JSON a quote within a string stands behind a backslash, so what follows another character is
# the begin or the end of a string.
_RARE = re.compile(rb'"otflow\.(?:branch|omitted|pending|seq\.last)"')
_KEY = b'"otflow.records"'
_VALUE_OF_KEY = re.compile(_KEY.replace(b".", rb"\.") + rb'\s*,\s*"value"\s*:\s*\{\s*"stringValue"\s*:\s*(?=")')
_END = b']"'
_ESCAPE = ord("\\")


def read_document(data: bytes) -> Iterator[Sighting] | None:
    """Read a JSON document; return what its spans tell of runs, or None if it is of no kind that is known.

    Args:
        data: the JSON.

    Raises:
        msgspec.DecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    if RUN_ID.encode() in data or b'"resourceSpans"' in data:
        try:
            return _see_all(_OTLP.decode(data))
        except msgspec.ValidationError:
            pass  # of another kind, or a span among them is not as it should be
    return _read_any(data, _DEPTH)


def _read_any(data: bytes, depth: int) -> Iterator[Sighting] | None:
    if not depth:
        raise RecursionError
    try:
        if data.lstrip()[:1] == b"[":
            return _read_list(_LIST.decode(data), depth)
        found = _ANY.decode(data)
    except msgspec.ValidationError:
        return None
    if found.resource_spans != _ABSENT:
        return _see_loosely(msgspec.json.decode(found.resource_spans))
    if found.result != _ABSENT:
        return _read_any(bytes(found.result), depth - 1)
    if found.data is not None or found.spans is not None:
        return _read_list(found.data if found.data is not None else found.spans or [], depth)
    if _ABSENT not in (found.tags, found.operation_name):
        tagged = _TAGGED.decode(data)
        return _just(
            see(
                {each.key: _plain(each.value) for each in tagged.tags or () if each.key in WANTED},
                tagged.operation_name,
            )
        )
    if found.record is not None:
        return iter([Sighting("", "", f"[{data.decode('utf-8', 'replace')}]")])
    return _see_shown(data) if found.attributes != _ABSENT else None


def _read_list(texts: Iterable[msgspec.Raw], depth: int) -> Iterator[Sighting]:
    for text in texts:
        try:
            found = _read_any(bytes(text), depth - 1)
        except msgspec.ValidationError:  # a span that is not as it should be
            continue
        yield from found or ()


def _just(sighting: Sighting | None) -> Iterator[Sighting]:
    if sighting is not None:
        yield sighting


def _see_all(found: _Otlp) -> Iterator[Sighting]:
    for resource in found.resource_spans:
        for scope in resource.scope_spans or ():
            for span in scope.spans or ():
                sighting = _see(span)
                if sighting is not None:
                    yield sighting


def _see(span: _Span) -> Sighting | None:
    raw = bytes(span.attributes)
    place = raw.find(_KEY)
    if place > 0 and raw[place - 1] != _ESCAPE and _RARE.search(raw) is None:
        found = _VALUE_OF_KEY.match(raw, place)
        end = raw.find(_END, found.end()) if found is not None else -1
        if found is not None and end > 0:
            try:
                text = _STRING.decode(raw[found.end() : end + len(_END)])
            except msgspec.MsgspecError:  # the text does not end like this: it is cut
                return _see_whole(span)
            return Sighting("", span.name, text, again=partial(_see_whole, span))
    return _see_whole(span) if b"otflow." in raw else None


def _see_whole(span: _Span) -> Sighting | None:
    try:
        attributes = _ATTRIBUTES.decode(span.attributes)
    except (msgspec.MsgspecError, RecursionError):
        return None
    found = {each.key: _value(each.value) for each in attributes if each.key in WANTED}
    return see(found, span.name) if found else None


def _value(raw: msgspec.Raw) -> object:
    try:
        value = _VALUE.decode(raw)
    except msgspec.MsgspecError:
        return None
    if value.string_value is not None:
        return value.string_value
    return value.int_value if value.int_value is not None else value.bool_value


def _plain(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _see_loosely(resources: object) -> Iterator[Sighting]:
    """Read OTLP of which some part is not as it should be: span by span."""
    for resource in _dicts(resources):
        for scope in _dicts(resource.get("scopeSpans")):
            for span in _dicts(scope.get("spans")):
                try:
                    sighting = _see(_SPAN.decode(msgspec.json.encode(span)))
                except (msgspec.MsgspecError, UnicodeError):
                    continue
                if sighting is not None:
                    yield sighting


def _dicts(value: object) -> Iterator[Mapping[str, object]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _see_shown(data: bytes) -> Iterator[Sighting] | None:
    """Read a span of Phoenix, or one of OTLP that stands by itself."""
    try:
        shown = _SHOWN.decode(data)
    except msgspec.ValidationError:
        return _just(_see(_SPAN.decode(data)))
    found = {key: _plain(value) for key, value in shown.attributes.items() if key in WANTED}
    if not found and "otflow" in shown.attributes:
        found = _flatten(_plain(shown.attributes["otflow"]))
    return _just(see(found, shown.name))


def _flatten(value: object) -> dict[str, object]:
    """Give attributes their names back, of whose dots some versions of Phoenix make objects."""
    found: dict[str, object] = {}
    for key in WANTED:
        place = value
        for part in key.split(".")[1:]:
            place = place.get(part) if isinstance(place, dict) else None
        if place is not None:
            found[key] = place
    return found
