"""Runs in a Jaeger, by its query API: the newer one (v3), or the older one where there is no other.

The trace of a run follows from its id. A run that stands in the trace of whoever started it, or that went on in another
one, is found by its id among the tags of spans. Lists show what is younger than a given age, because Jaeger searches
by time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import msgspec

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Kin
from otflow.readers.foreign_json import drafts_in
from otflow.readers.otlp_json import read_document
from otflow.readers.sightings import Sighting
from otflow.readers.web import BrokenError, MissingError, Web
from otflow.records.semconv import RUN_ID
from otflow.records.span import derive_ids

__all__ = ["JaegerLook", "is_jaeger"]

T = TypeVar("T")

_PAGE = 200
_SECOND = 1_000_000_000
_AHEAD = 3600 * _SECOND  # clocks may differ
_DIGITS = 20


class _Services(msgspec.Struct):
    data: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    services: list[str] | msgspec.UnsetType | None = msgspec.UNSET


class _Begun(msgspec.Struct, rename="camel", gc=False):
    start_time: int = 0


class _Ids(msgspec.Struct, rename={"trace_id": "traceID"}):
    trace_id: str = ""
    spans: list[_Begun] = []


class _Found(msgspec.Struct):
    data: list[_Ids] | None = None


_SERVICES = msgspec.json.Decoder(_Services)
_FOUND = msgspec.json.Decoder(_Found)


def _services(web: Web, path: str) -> list[str] | None:
    """Ask for the services; None if this is not how they are asked for."""
    try:
        found = _SERVICES.decode(web.get(path))
    except (MissingError, msgspec.MsgspecError, RecursionError):
        return None
    if found.data is msgspec.UNSET and found.services is msgspec.UNSET:
        return None
    return [*(found.data or ()), *(found.services or ())]  # null where it has none


def is_jaeger(web: Web) -> bool:
    """Tell whether a server is a Jaeger.

    Raises:
        ReaderError: it does not answer.
    """
    return _services(web, "/api/services") is not None or _services(web, "/api/v3/services") is not None


class JaegerLook:
    """Looks at the spans in a Jaeger.

    Args:
        web: the server.
        age: how old, in seconds, the runs may be that are listed and searched for.
        trace: the id of the only trace to look at; default "": all.
    """

    def __init__(self, web: Web, age: float, trace: str = "") -> None:
        self._web = web
        self._age = age
        self._trace = trace

    def __call__(self, only: str, faults: list[str]) -> Iterator[Sighting]:
        """Return what spans tell of runs; see `Look`."""
        if self._trace:
            found = self._read(self._trace, read_document)
            if found is None:
                raise ReaderError(f"{self._web.base} has no trace {self._trace}.")
            yield from found
            return
        direct = f"{derive_ids(only)[0]:032x}" if only else ""
        first = self._read(direct, read_document) if direct else None
        traces = {direct} if first is not None else set()
        yield from first or ()
        more = self._search(faults, {RUN_ID: only}) if only else set()
        if not traces and not more:  # all are wanted, or those whose ids begin so
            more = self._search(faults, {})
        for trace in sorted(more - traces):
            yield from self._read(trace, read_document) or ()

    def sketch(self, kin: Kin, faults: list[str]) -> Iterator[Draft]:
        """Return the spans that may stand below a run; see `Sketch`."""
        del faults  # what cannot be read here is an error
        for trace in kin.traces:
            yield from self._read(f"{trace:032x}", partial(drafts_in, kin=kin)) or ()

    def _read(self, trace: str, read: Callable[[bytes], Iterator[T] | None]) -> Iterator[T] | None:
        """Read a trace; None if there is none."""
        for path in (f"/api/v3/traces/{trace}", f"/api/traces/{trace}"):
            try:
                return read_answer(self._web.get(path), f"{self._web.base}{path}", read)
            except MissingError:
                continue
        return None

    def _search(self, faults: list[str], tags: dict[str, str]) -> set[str]:
        """Return the ids of the traces of which a span has these tags."""
        services = _services(self._web, "/api/services") or _services(self._web, "/api/v3/services") or []
        now = time.time_ns()
        first = max(0, now - int(self._age * _SECOND))
        found: set[str] = set()
        for service in sorted({*services}):
            found |= self._search_between(service, tags, first, now + _AHEAD, faults)
        return found

    def _search_between(self, service: str, tags: dict[str, str], first: int, last: int, faults: list[str]) -> set[str]:
        """Search a stretch of time; where there is more than a page in it, part by part."""
        found: set[str] = set()
        waiting = [(first, last)]
        while waiting:
            first, last = waiting.pop()
            here = self._find(service, tags, first, last)
            found |= here.keys()
            if len(here) < _PAGE:
                continue
            if last - first < _SECOND // 1000:
                faults.append(
                    f"{self._web.base} shows no more than {_PAGE} of the traces of service {service!r} at once."
                )
                continue
            middle = _part(here.values(), first, last)
            waiting += [(first, middle), (middle, last)]
        return found

    def _find(self, service: str, tags: dict[str, str], first: int, last: int) -> dict[str, int]:
        """Return the ids of traces, each with a time (ns) at which there is something of it; 0 if that is not known."""
        query: dict[str, str | int] = {"service": service, "start": first // 1000, "end": last // 1000, "limit": _PAGE}
        if tags:
            query["tags"] = msgspec.json.encode(tags).decode()
        try:
            data = self._web.get("/api/traces", **query)
        except (MissingError, BrokenError):  # it cannot write a page on which any span has a number like NaN
            return self._find_newer(service, tags, first, last)
        try:
            found = [each for each in _FOUND.decode(data).data or () if each.trace_id]
            return {
                each.trace_id.zfill(32): min((span.start_time for span in each.spans), default=0) * 1000
                for each in found
            }
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ReaderError(f"{self._web.base}/api/traces does not answer as Jaeger does: {error}.") from error

    def _find_newer(self, service: str, tags: dict[str, str], first: int, last: int) -> dict[str, int]:
        query: dict[str, str | int] = {
            "query__service_name": service,
            "query__start_time_min": _moment(first),
            "query__start_time_max": _moment(last),
            "query__num_traces": _PAGE,
        }
        if tags:
            query["query__attributes"] = msgspec.json.encode(tags).decode()
        try:
            answer = self._web.get_json("/api/v3/traces", **query)
        except MissingError:
            return {}
        result = answer.get("result")
        resources = result.get("resourceSpans") if isinstance(result, dict) else None
        return {
            str(span["traceId"]): _number(span.get("startTimeUnixNano"))
            for resource in resources or ()
            for scope in resource.get("scopeSpans", ())
            for span in scope.get("spans", ())
            if "traceId" in span
        }


def _part(times: Iterable[int], first: int, last: int) -> int:
    """Choose where to part a stretch of time: where half of what was found lies on each side, or else in the middle."""
    within = sorted(at for at in times if first < at < last)
    return within[len(within) // 2] if within else (first + last) // 2


def _number(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < _DIGITS else 0


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at / _SECOND, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def read_answer(data: bytes, url: str, read: Callable[[bytes], Iterator[T] | None]) -> Iterator[T]:
    """Read what stands in the answer of a server.

    Args:
        data: the answer.
        url: where it came from, for messages.
        read: reads it.

    Raises:
        ReaderError: it is of no kind that is known.
    """
    try:
        found = read(data)
        if found is not None:
            return iter(list(found))
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ReaderError(f"The answer of {url} cannot be read: {str(error) or type(error).__name__}.") from error
    raise ReaderError(f"The answer of {url} is JSON of no known kind.")
