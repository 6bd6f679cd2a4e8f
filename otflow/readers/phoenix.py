"""Runs in a Phoenix, by its REST API, page by page.

A run is found in whatever project it stands by its id among the attributes of spans.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import msgspec

from otflow.errors import ReaderError
from otflow.readers.foreign import Draft, Kin
from otflow.readers.foreign_json import drafts_in
from otflow.readers.jaeger import read_answer
from otflow.readers.otlp_json import read_document
from otflow.readers.sightings import Sighting
from otflow.readers.web import MissingError, Web
from otflow.records.semconv import RUN_ID

__all__ = ["PhoenixLook", "is_phoenix"]

T = TypeVar("T")

_PAGE = 1000


class _Project(msgspec.Struct):
    id: str
    name: str


class _Projects(msgspec.Struct):
    data: list[_Project]
    next_cursor: str | None = None


class _Page(msgspec.Struct):
    next_cursor: str | None = None


_PROJECTS = msgspec.json.Decoder(_Projects)
_PAGES = msgspec.json.Decoder(_Page)


def is_phoenix(web: Web) -> bool:
    """Tell whether a server is a Phoenix.

    Raises:
        ReaderError: it does not answer.
    """
    try:
        _PROJECTS.decode(web.get("/v1/projects", limit=1))
    except (MissingError, msgspec.MsgspecError, RecursionError):
        return False
    return True


class PhoenixLook:
    """Looks at the spans in a Phoenix.

    Args:
        web: the server.
        project: the id or the name of the only project to look at; default "": all.
        trace: the id of the only trace to look at; default "": all.
    """

    def __init__(self, web: Web, project: str = "", trace: str = "") -> None:
        self._web = web
        self._project = project
        self._trace = trace

    def __call__(self, only: str, faults: list[str]) -> Iterator[Sighting]:
        """Return what spans tell of runs; see `Look`."""
        projects = [self._project] if self._project else self._projects()
        narrow: dict[str, str] = {"trace_id": self._trace} if self._trace else {}
        found = False
        # first by its whole id; only if there is none, by its beginning
        for query in (
            ({**narrow, "attribute": f"{RUN_ID}:{msgspec.json.encode(only).decode()}"}, narrow) if only else (narrow,)
        ):
            for project in projects:
                for sighting in self._read(project, query, read_document):
                    found = True
                    yield sighting
            if found:
                return
        if self._trace and not found and not only:
            raise ReaderError(f"{self._web.base} has no spans of runs in trace {self._trace}.")

    def sketch(self, kin: Kin, faults: list[str]) -> Iterator[Draft]:
        """Return the spans that may stand below a run; see `Sketch`."""
        del faults  # what cannot be read here is an error
        for project in [self._project] if self._project else self._projects():
            for trace in kin.traces:
                yield from self._read(project, {"trace_id": f"{trace:032x}"}, partial(drafts_in, kin=kin))

    def _projects(self) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            try:
                page = _PROJECTS.decode(self._web.get("/v1/projects", limit=100, **cursor))
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ReaderError(f"{self._web.base}/v1/projects does not answer as Phoenix does: {error}.") from error
            found += [project.id for project in page.data]
            if not page.next_cursor or {"cursor": page.next_cursor} == cursor:
                return found
            cursor = {"cursor": page.next_cursor}

    def _read(self, project: str, query: dict[str, str], read: Callable[[bytes], Iterator[T] | None]) -> Iterator[T]:
        path = f"/v1/projects/{urllib.parse.quote(project, safe='')}/spans"
        cursor: dict[str, str] = {}
        while True:
            try:
                data = self._web.get(path, limit=_PAGE, **query, **cursor)
            except MissingError as error:
                if self._project:
                    raise ReaderError(f"{self._web.base} has no project {project!r}.") from error
                return
            try:
                following = _PAGES.decode(data).next_cursor
            except (msgspec.MsgspecError, RecursionError) as error:
                raise ReaderError(f"{self._web.base}{path} does not answer as Phoenix does: {error}.") from error
            yield from read_answer(data, f"{self._web.base}{path}", read)
            if not following or {"cursor": following} == cursor:
                return
            cursor = {"cursor": following}
