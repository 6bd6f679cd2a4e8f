"""`otflow watch`: a journal looked at again and again, while other processes write it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from otflow.cli.complaints import FAILED, UsageError
from otflow.cli.hiding import hide
from otflow.cli.looking import draw_runs
from otflow.cli.options import From, Headers
from otflow.cli.outlet import say
from otflow.cli.screen import Screen
from otflow.cli.sources import LAST, find_journal_path, find_latest, find_run, open_place
from otflow.drawing.line import Line, Piece, clean
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.execution import Execution

if TYPE_CHECKING:
    from otflow.readers import Source

__all__ = ["watch"]

_OVER = {"completed", "failed", "cancelled", "timed out"}


def watch(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help='A run, or "last". Default: the list of runs.')
    ] = None,
    place: From = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="Between two looks.")
    ] = 0.5,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many runs are listed.")] = 15,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    header: Headers = None,
) -> None:
    """Look at runs while they go on, in this or another process. Ctrl-C ends it.

    With RUN its tree is drawn until the run has ended, and the exit code is 1 if it failed. Where this is no terminal,
    a line is printed for each change.
    """
    if place is not None and place.startswith(("http://", "https://")) and run is None:
        raise UsageError("a server is not watched as a whole: name a run.")
    if run is None:
        _watch_all(Screen(sys.stdout), open_place(place, header), place, interval, limit, once=once)
        return

    def read(name: str) -> Execution:
        return hide(find_run(name, place, header))

    if _watch_one(Screen(sys.stdout), run, read, interval, once=once).outcome in {"failed", "timed out", "cancelled"}:
        raise typer.Exit(FAILED)


def _watch_all(screen: Screen, source: Source, place: str | None, interval: float, limit: int, *, once: bool) -> None:
    infos = find_latest(source, limit)
    known: dict[str, str] = {}

    def draw() -> Iterator[Line]:
        if not infos:
            yield (Piece(f"No run yet in {place or find_journal_path()}.", "faint"),)
        else:
            yield from draw_runs(infos, screen)

    if not screen.moves and not once:
        while True:
            for info in reversed(infos):
                told = f"{clean(info.id)}  {clean(info.workflow) or '?'}  {info.outcome}  {info.records:,} records"
                if known.get(info.id) != told:
                    known[info.id] = told
                    say(told)
            sleep(interval)
            infos = find_latest(source, limit)
    with screen.live(draw) as refresh:
        while not once:
            sleep(interval)
            infos = find_latest(source, limit)
            refresh()


def _watch_one(screen: Screen, run: str, read: Callable[[str], Execution], interval: float, *, once: bool) -> Execution:
    execution = read(run)
    run = execution.run_id if run == LAST else run
    said = ""

    def draw() -> Iterator[Line]:
        yield from draw_run(execution.history, width=screen.width, signs=screen.signs)
        yield ()
        yield from draw_summary(execution.history, width=screen.width, signs=screen.signs)

    def tell() -> None:
        nonlocal said
        told = f"{execution.outcome}  {len(execution.records):,} records"
        if not screen.moves and not once and told != said:
            said = told
            say(told)

    with screen.live(draw) as refresh:
        tell()
        while execution.outcome not in _OVER and not once:
            sleep(interval)
            newer = read(run)
            if len(newer.records) != len(execution.records):
                execution = newer  # `draw` looks at it
                tell()
                refresh()
    return execution
