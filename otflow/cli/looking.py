"""`otflow list`, `otflow show` and `otflow tree`: which runs there are, and what is known of one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from otflow.cli.complaints import UsageError
from otflow.cli.hiding import hide
from otflow.cli.options import From, Headers, Json, RunId
from otflow.cli.outlet import say
from otflow.cli.screen import Screen
from otflow.cli.sources import LAST, find_journal_path, find_latest, find_run, open_place
from otflow.cli.tables import Column, draw_table, format_time, print_json, style_outcome
from otflow.drawing.details import describe_error
from otflow.drawing.line import Line, Piece, clean, plain
from otflow.drawing.quantities import count, format_duration, name_type, show_value
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.codec import encode
from otflow.records.execution import Execution
from otflow.records.history import Attempt, Invocation, Run, Wait, summarize, tell_astray
from otflow.records.record import Record

if TYPE_CHECKING:
    from otflow.readers import RunInfo

__all__ = ["draw_runs", "list_runs", "show", "tell_gaps", "tree"]

_SHORT = 12  # characters of an id that is not unique before
_MAX_ROWS = 30


def list_runs(
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Where the runs are. Default: the journal.")
    ] = None,
    place: From = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many at most; 0 for all.")] = 20,
    workflow: Annotated[str, typer.Option("--workflow", "-w", metavar="NAME", help="Of this workflow only.")] = "",
    outcome: Annotated[
        str, typer.Option("--outcome", help="completed, failed, cancelled, timed out, paused or open only.")
    ] = "",
    header: Headers = None,
    json: Json = False,
) -> None:
    """List runs, the latest first."""
    where = source or place
    infos = find_latest(open_place(where, header), limit, workflow, outcome)
    if json:
        print_json([info._asdict() for info in infos])
        return
    screen = Screen(sys.stdout)
    if not infos:
        say(f"There is no run{' like this' if workflow or outcome else ''} in {where or find_journal_path()}.")
        return
    screen.print(draw_runs(infos, screen))


def show(
    run: RunId = LAST,
    place: From = None,
    at: Annotated[int | None, typer.Option("--at", metavar="SEQ", help="As the run stood after this record.")] = None,
    records: Annotated[bool, typer.Option("--records", "-r", help="List the records, with their numbers.")] = False,
    header: Headers = None,
    json: Json = False,
) -> None:
    """Show what is known of a run: how it ended, its steps, its state, and what is missing."""
    execution = hide(find_run(run, place, header))
    if at is not None:
        try:
            execution = execution.until(at)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if json:
        print_json(describe(execution, records=records))
        return
    screen = Screen(sys.stdout)
    if records:
        screen.print(_draw_records(execution, screen))
        return
    _show_facts(screen, execution)
    _show_steps(screen, execution)
    _show_state(screen, execution)
    tell_gaps(screen, execution)


def tree(run: RunId = LAST, place: From = None, header: Headers = None, json: Json = False) -> None:
    """Draw a run as a tree: each step under the step whose event it worked on."""
    execution = hide(find_run(run, place, header))
    if json:
        print_json(
            {"run": execution.run_id, "workflow": execution.workflow, "outcome": execution.outcome}
            | {"invocations": [_nest(execution, invocation) for invocation in execution.steps]}
        )
        return
    screen = Screen(sys.stdout)
    screen.print(draw_run(execution.history, width=screen.width, signs=screen.signs))
    screen.print()
    screen.print(draw_summary(execution.history, width=screen.width, signs=screen.signs))
    tell_gaps(screen, execution)


def tell_gaps(screen: Screen, execution: Execution) -> None:
    """Say what is missing of a run, if anything is."""
    ended = execution.outcome not in {"open", "paused"}
    told = [gap for gap in execution.gaps if gap.last or ended]  # that a run goes on has been said
    missing = (*told, *execution.losses)
    for gap in missing[:_MAX_ROWS]:
        first = (Piece(f"{screen.signs.note} ", "wait"),)
        screen.write((Piece(clean(gap.reason), "wait"),), indent="  ", first=first)
    if len(missing) > _MAX_ROWS:
        screen.print([(Piece(f"{screen.signs.more} and {len(missing) - _MAX_ROWS:,} more", "wait"),)])


def describe(execution: Execution, *, records: bool = False) -> dict[str, object]:
    """Describe a run for machines.

    Args:
        execution: the run.
        records: whether its records are told too.
    """
    run = execution.history
    result = run.events.get(run.result)
    told: dict[str, object] = {
        "run": execution.run_id,
        "workflow": execution.workflow,
        "outcome": execution.outcome,
        "started": run.started,
        "ended": run.ended,
        "astray": run.astray,
        "complete": execution.complete,
        "reason": run.reason,
        "error": run.error,
        "result": result.body if result is not None else None,
        "summary": summarize(run),
        "steps": _count_steps(execution),
        "waits": [wait for _, wait in _find_waits(execution)],
        "state": execution.state(),
        "gaps": [gap._asdict() for gap in execution.gaps],
        "losses": [loss._asdict() for loss in execution.losses],
    }
    return told | {"records": [msgspec.Raw(encode(record)) for record in execution.records]} if records else told


# ---------------------------------------------------------------- the parts of a page


def draw_runs(infos: Sequence[RunInfo], screen: Screen) -> list[Line]:
    """Draw a list of runs, one a line.

    Args:
        infos: the runs.
        screen: where it is to fit.
    """
    ids = [info.id for info in infos]
    size = next(size for size in (8, _SHORT, 20, 1000) if len({id[:size] for id in ids}) == len(ids) or size > _SHORT)
    rows = [
        (
            clean(info.id if len(info.id) <= _SHORT else info.id[:size]),
            clean(info.workflow) or "?",
            Piece(info.outcome, style_outcome(info.outcome)),
            format_time(info.started),
            format_duration(info.ended - info.started) if info.ended >= info.started else "?",
            f"{info.records:,}",
        )
        for info in infos
    ]
    columns = (
        Column("run", "mark"),
        Column("workflow", "step", loose=True),
        Column("outcome"),
        Column("started", "faint"),
        Column("took", right=True),
        Column("records", right=True),
    )
    return draw_table(columns, rows, screen.width, screen.signs)


def _show_facts(screen: Screen, execution: Execution) -> None:
    run = execution.history
    style = style_outcome(execution.outcome)
    screen.print([(Piece(clean(run.workflow) or "?", "title"), Piece(f"  run {clean(run.id)}", "faint")), ()])
    took = "" if run.astray else f"  took {format_duration(run.duration)}"
    rows: list[tuple[str, Line]] = [
        ("outcome", (Piece(run.outcome, style), Piece(f"  {clean(run.reason)}" if run.reason else "", "faint"))),
        ("started", (Piece(format_time(run.started)), Piece(took))),
    ]
    if run.astray:
        rows.append(("times", (Piece(tell_astray(run), "wait"),)))
    first = next((event for event in run.events.values() if event.outside and event.body is not None), None)
    if first is not None and first.body is not None:
        rows.append(("input", (Piece(f"{name_type(first.type)} ", "event"), Piece(show_value(first.body), "value"))))
    result = run.events.get(run.result)
    if result is not None and result.body is not None:
        rows.append(("result", (Piece(f"{name_type(result.type)} ", "event"), Piece(show_value(result.body), "value"))))
    if run.error is not None:
        rows.append(("error", (Piece(describe_error(run.error), "bad"),)))
    for invocation, wait in _find_waits(execution):
        words = f"{clean(invocation.step)} #{invocation.id} waits for "
        rows.append(("waiting", (Piece(words), Piece(name_type(wait.type), "event"))))
    if run.parent_run:
        rows.append(("started by", (Piece(f"run {clean(run.parent_run)}, invocation {run.parent_invocation}"),)))
    rows.append(("records", (Piece(_tell_records(execution)),)))
    for name, line in rows:
        screen.write(line, indent=" " * 13, first=(Piece(f"  {name:<11}", "faint"),))


def _tell_records(execution: Execution) -> str:
    whole = "all there" if execution.complete else "not to the end" if len(execution.gaps) == 1 else "with gaps"
    sums = summarize(execution.history)
    return f"{len(execution.records):,}, {whole}; {count(sums.events, 'event')}, {count(sums.writes, 'write')}"


def _find_waits(execution: Execution) -> Iterator[tuple[Invocation, Wait]]:
    if execution.outcome not in {"open", "paused"}:
        return
    for invocation in execution.steps:
        for attempt in invocation.attempts:
            for wait in attempt.waits:
                if not wait.ended:
                    yield invocation, wait


def _count_steps(execution: Execution) -> list[Mapping[str, object]]:
    of: dict[str, list[Invocation]] = {}
    for invocation in execution.steps:
        of.setdefault(invocation.step, []).append(invocation)
    found: list[Mapping[str, object]] = []
    for step, invocations in of.items():
        attempts = [attempt for invocation in invocations for attempt in invocation.attempts]
        found.append(
            {
                "step": step,
                "invocations": len(invocations),
                "attempts": len(attempts),
                "failed": sum(attempt.outcome == "failed" for attempt in attempts),
                "open": sum(attempt.outcome not in {"completed", "failed"} for attempt in attempts),
                "worked": 0 if execution.history.astray else sum(map(_time, attempts)),
            }
        )
    return found


def _time(attempt: Attempt) -> int:
    return max(0, attempt.ended - attempt.started) if attempt.started and attempt.ended else 0


def _show_steps(screen: Screen, execution: Execution) -> None:
    rows = [
        (
            clean(str(each["step"])) or "?",
            f"{each['invocations']:,}",
            f"{each['attempts']:,}",
            Piece(f"{each['failed']:,}" if each["failed"] else "", "bad"),
            Piece(f"{each['open']:,}" if each["open"] else "", "wait"),
            "?" if execution.history.astray else format_duration(int(str(each["worked"]))),
        )
        for each in _count_steps(execution)
    ]
    if not rows:
        return
    columns = [Column("step", "step", loose=True)]
    columns += [Column(name, right=True) for name in ("invocations", "attempts", "failed", "open", "worked")]
    screen.print()
    screen.print((Piece("  "), *line) for line in draw_table(columns, rows, screen.width - 2, screen.signs))


def _show_state(screen: Screen, execution: Execution) -> None:
    state = execution.state()
    if not state:
        return
    screen.print([(), (Piece("  state", "faint"),)])
    for name, value in list(state.items())[:_MAX_ROWS]:
        text = msgspec.json.encode(value).decode()
        text = text if len(text) <= screen.width else f"{text[: screen.width]}{screen.signs.more}"
        screen.write((Piece(f"{clean(name)} = ", "place"), Piece(clean(text), "value")), indent="      ", first="    ")
    if len(state) > _MAX_ROWS:
        screen.print([(Piece(f"    {screen.signs.more} {len(state) - _MAX_ROWS:,} more", "faint"),)])


def _draw_records(execution: Execution, screen: Screen) -> list[Line]:
    run = execution.history
    rows = [
        (f"{record.seq}", _tell_time(run, record.at), type(record).__name__, _tell(record))
        for record in execution.records
    ]
    columns = (
        Column("seq", "mark", right=True),
        Column("at", "faint"),
        Column("record", "event"),
        Column("", loose=True),
    )
    return draw_table(columns, rows, screen.width, screen.signs)


def _tell_time(run: Run, at: int) -> str:
    """Write when something happened: after the start of the run, or as its clock said, if that tells nothing."""
    after = run.since_start(at)
    return format_time(at) if after is None else f"+{format_duration(after)}"


def _tell(record: Record) -> str:
    """Write the fields of a record that are its own on one line."""
    fields = msgspec.json.decode(encode(record))
    for name in ("record", "run", "seq", "at"):
        fields.pop(name, None)
    if isinstance(fields.get("type"), str):
        fields["type"] = name_type(fields["type"])
    words = [f"{name}={_short(value)}" for name, value in fields.items() if value not in ("", None, [], {})]
    return clean(plain((Piece(" ".join(words)),)))


def _short(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _nest(execution: Execution, invocation: Invocation) -> dict[str, object]:
    event = execution.events.get(invocation.event)
    return {
        "id": invocation.id,
        "step": invocation.step,
        "event": event.type if event is not None else "",
        "parent": event.source if event is not None else 0,
        "attempts": [
            {
                "number": one.number,
                "outcome": one.outcome,
                "started": one.started,
                "ended": one.ended,
                "error": one.error,
            }
            for one in invocation.attempts
        ],
    }
