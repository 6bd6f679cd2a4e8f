"""Sources: where the runs are that a command is about, and which of them is meant.

A run is named by its id or the beginning of it, by "last", or by the place in which it stands alone; `PLACE#RUN` names
one of several. Readers are loaded when something is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from otflow.cli.complaints import NotFoundError, UsageError
from otflow.errors import OtflowError
from otflow.journal import JournalSource, RunNotFoundError

if TYPE_CHECKING:
    from otflow.readers import RunInfo, Source
    from otflow.records.execution import Execution

__all__ = [
    "LAST",
    "find_journal_path",
    "find_latest",
    "find_run",
    "find_runs",
    "find_traced_run",
    "is_place",
    "open_place",
    "read_headers",
]

LAST = "last"
_DEFAULT = Path(".otflow", "runs.db")


def find_journal_path(given: Path | None = None) -> Path:
    """Return the file of the journal: the one that is given, that of OTFLOW_JOURNAL, or the one in this folder."""
    return given or Path(os.environ.get("OTFLOW_JOURNAL", "").strip() or _DEFAULT)


def read_headers(pairs: Iterable[str]) -> dict[str, str]:
    """Read headers, of which each is written as NAME=VALUE.

    Args:
        pairs: the headers.

    Raises:
        UsageError: one of them is no pair; what it is stands nowhere, because it may be a secret.
    """
    found = {}
    for number, pair in enumerate(pairs, 1):
        name, mark, value = pair.partition("=")
        if not (name.strip() and mark):
            raise UsageError(f"header number {number} is no pair: write NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def open_place(place: str | None, headers: Sequence[str] | None = None) -> Source:
    """Open what runs are read from.

    Args:
        place: a path or a URL; None for the journal.
        headers: what is sent to a server, each as NAME=VALUE; default none.

    Raises:
        NotFoundError: there is none.
        ReaderError: it cannot be read.
    """
    from otflow.readers import open_source

    if place is None:
        path = find_journal_path()
        if not path.exists():
            raise NotFoundError(
                f"there is no journal {path} yet. Start a run with `otflow run module:Workflow`, or say where the runs "
                "are: --from PATH|URL."
            )
        place = str(path)
    elif not _is_url(place) and not Path(place).exists():
        raise NotFoundError(f"there is no file {place}. Name a journal, a file of OTLP, or a URL (http or https).")
    return open_source(place, headers=read_headers(headers or ()))


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def find_latest(source: Source, count: int, workflow: str = "", outcome: str = "") -> list[RunInfo]:
    """List the runs that began last, the latest first.

    Args:
        source: where they are.
        count: how many at most; 0 for all.
        workflow: of this workflow only; default all.
        outcome: with this outcome only; default all.
    """
    if isinstance(source, JournalSource) and count and not outcome:
        return list(source.latest(count, workflow))
    found = [
        info
        for info in source.runs()
        if (not workflow or info.workflow == workflow) and (not outcome or info.outcome == outcome)
    ]
    found.sort(key=lambda info: info.started, reverse=True)
    return found[: count or None]


def find_run(name: str, place: str | None, headers: Sequence[str] | None = None) -> Execution:
    """Read the run that is meant.

    Args:
        name: its id or the beginning of it, "last", a place, or `place#run`.
        place: where it is looked for if the name is no place; None for the journal.
        headers: what is sent to a server, each as NAME=VALUE; default none.

    Raises:
        NotFoundError: there is no such run, or several.
        ReaderError: the place cannot be read.
    """
    return find_traced_run(name, place, headers)[0]


def find_traced_run(name: str, place: str | None, headers: Sequence[str] | None = None) -> tuple[Execution, Source]:
    """Read the run that is meant; return it with the source that it is in.

    Args:
        name: as for `find_run`.
        place: as for `find_run`.
        headers: as for `find_run`.

    Raises:
        NotFoundError: as `find_run` does.
        ReaderError: as `find_run` does.
    """
    inside = _split(name)
    where, id = inside if inside is not None else (place, name)
    source = open_place(where, headers)
    return _read(source, id, where) if id or inside is None else _read_only(source, where), source


def _read_only(source: Source, where: str | None) -> Execution:
    """Read the run that stands alone in a place."""
    infos = list(source.runs())
    if len(infos) != 1:
        some = ", ".join(f"{where}#{info.id[:12]}" for info in infos[:3])
        raise NotFoundError(
            f"{where} has {len(infos):,} runs: say which one, as in {some}."
            if infos
            else f"There is no run in {where}."
        )
    return source.run(infos[0].id)


def is_place(name: str) -> bool:
    """Tell whether a name is that of a place, or of a run in one."""
    return _split(name) is not None


def _split(name: str) -> tuple[str, str] | None:
    """Return the place and the run that a name speaks of; None if it names a run only."""
    where, _, id = name.rpartition("#")
    if where and (_is_url(where) or Path(where).exists()):
        return where, id
    if _is_url(name) or (name not in {"", LAST} and Path(name).exists()):
        return name, ""
    return None


def _read(source: Source, id: str, place: str | None) -> Execution:
    if id == LAST:
        latest = find_latest(source, 1)
        if not latest:
            raise NotFoundError(f"there is no run in {place or find_journal_path()} yet.")
        id = latest[0].id
    try:
        return source.run(id)
    except RunNotFoundError as error:
        raise NotFoundError(
            f"{str(error).rstrip('.').replace('. List the runs that are there with runs()', '')}: `otflow list` shows "
            f"what there is in {place or find_journal_path()}."
        ) from error


def find_runs(
    names: Sequence[str],
    place: str | None,
    workflow: str = "",
    headers: Sequence[str] | None = None,
    skip: Callable[[str, OtflowError], None] | None = None,
) -> Iterator[Execution]:
    """Read all runs that are meant.

    Args:
        names: as in `find_run`, but that a place means all of its runs; none: all runs of `place`.
        place: where they are looked for; None for the journal.
        workflow: of a place only the runs of this workflow; default "": all.
        headers: what is sent to a server, each as NAME=VALUE; default none.
        skip: called with the id of a run of a place that cannot be read, and the reason; default None: that is an
            error.

    Raises:
        NotFoundError: there is no such run.
        ReaderError: a place cannot be read.
    """
    from otflow.readers import read_all

    count = 0
    for name in names or ("",):
        inside = (place or "", "") if not name else _split(name)
        if inside is None or inside[1]:
            count += 1
            yield find_run(name, place, headers)
            continue
        for execution in read_all(open_place(inside[0] or None, headers), skip):
            if not workflow or execution.workflow in {workflow, ""}:
                count += 1
                yield execution
    if not count:
        of = f" of {workflow}" if workflow else ""
        raise NotFoundError(f"there is no run{of} in {', '.join(names) or place or find_journal_path()}.")
