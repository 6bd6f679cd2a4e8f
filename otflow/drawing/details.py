"""Details: what is said about an invocation, in rows under its name.

A row says what an attempt came to, what was waited for, what was written, collected or sent to nobody. Other
invocations are named by step and number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otflow.drawing.line import Line, Piece, Signs, clean
from otflow.drawing.quantities import (
    count,
    enumerate_some,
    format_duration,
    name_type,
    preview,
    show_value,
    tally,
)
from otflow.records.history import Attempt, Event, Invocation, Run, Wait
from otflow.records.record import ContextWritten, EventsCollected, Failure

__all__ = ["Row", "describe", "describe_error", "describe_root", "describe_writes", "head_of", "times_of"]

_NS = 1_000_000_000


class Row(NamedTuple):
    """What stands in a row; the times are in nanoseconds, 0 leaves them out."""

    line: Line
    waited: int = 0
    took: int = 0
    aside: Line = ()


def times_of(invocation: Invocation) -> tuple[int, int]:
    """Return for how many nanoseconds an invocation waited (for workers, retry delays, events), and worked."""
    waited = sum(each.queued + each.stood + round(each.delay * _NS) for each in invocation.attempts)
    return waited, sum(each.worked for each in invocation.attempts)


def head_of(run: Run, invocation: Invocation, signs: Signs) -> Row:
    """Name an invocation: the event that it works on, its step, its number, and an impression of the event."""
    event = run.events.get(invocation.event)
    kind = name_type(event.type) if event is not None else "?"
    line = (
        Piece(kind, "event"),
        Piece(signs.into, "faint"),
        Piece(invocation.step or "?", "step"),
        Piece(f" #{invocation.id}", "mark"),
    )
    note = ""
    if _only_put_aside(invocation):
        note = "put aside"
    elif event is not None and event.body is not None:
        note = preview(event.body)
    waited, took = times_of(invocation)
    return Row(line, waited, took, (Piece(f"  {note}", "faint"),) if note else ())


def _only_put_aside(invocation: Invocation) -> bool:
    match invocation.attempts:
        case (Attempt(outcome="completed", kept=[_], sent=(), written=(), waits=(), collected=()),):
            return True
        case _:
            return False


def describe(run: Run, invocation: Invocation, signs: Signs) -> list[Row]:
    """Give the rows of an invocation."""
    if _only_put_aside(invocation):
        return []
    rows: list[Row] = []
    several = len(invocation.attempts) > 1 or invocation.retry is not None
    for attempt in invocation.attempts:
        if several or attempt.outcome != "completed":
            rows.append(_describe_outcome(run, attempt, signs))
        rows += _describe_attempt(run, attempt, signs)
    if invocation.retry is not None:
        delay = format_duration(round(invocation.retry.delay * _NS))
        rows.append(_row(signs.wait, "wait", f"attempt {invocation.retry.attempt} was to begin after {delay}"))
    return rows


def _describe_outcome(run: Run, attempt: Attempt, signs: Signs) -> Row:
    name = f"attempt {attempt.number or '?'}"
    after = f" after a delay of {format_duration(round(attempt.delay * _NS))}" if attempt.delay else ""
    waited = attempt.queued + attempt.stood + round(attempt.delay * _NS)
    match attempt.outcome:
        case "completed":
            return Row((Piece(signs.good, "good"), Piece(f" {name}{after}")), waited, attempt.worked)
        case "failed":
            error = describe_error(attempt.error) if attempt.error is not None else ""
            line = (Piece(signs.bad, "bad"), Piece(f" {name}{after}: "), Piece(error, "bad"))
            return Row(line, waited, attempt.worked)
        case _:
            still = "it still runs" if run.outcome in ("open", "paused") else "the run ended before it did"
            return Row((Piece(signs.dot, "wait"), Piece(f" {name}{after}: "), Piece(still, "wait")), waited)


def describe_error(error: Failure) -> str:
    """Write an error on one line, as Python does."""
    message = clean(error.message.strip().partition("\n")[0])
    return f"{name_type(error.type)}: {message}" if message else name_type(error.type)


def _describe_attempt(run: Run, attempt: Attempt, signs: Signs) -> Iterator[Row]:
    for wait in attempt.waits:
        yield _describe_wait(run, wait, signs)
    for collected in attempt.collected:
        yield _describe_collected(run, collected, signs)
    if attempt.kept:
        yield _fact(f"put aside {count(len(attempt.kept), 'event')}")
    if attempt.written:
        yield describe_writes(attempt.written)
    yield from _describe_untaken(run, attempt, signs)
    if attempt.streamed:
        streamed = tally([name_type(each.type) for each in attempt.streamed], signs.times)
        yield Row((Piece("streamed ", "faint"), Piece(streamed, "event")))


def _row(sign: str, style: str, text: str) -> Row:
    return Row((Piece(sign, "wait" if style == "wait" else ""), Piece(f" {text}")))


def _fact(text: str) -> Row:
    return Row((Piece(text, "faint"),))


def _describe_wait(run: Run, wait: Wait, signs: Signs) -> Row:
    kind = Piece(name_type(wait.type), "event")
    event = run.events.get(wait.event)
    if event is not None:
        end = f", which {_origin(run, event)}"
    elif wait.ended:
        end = " until its time was over"
    else:
        end = ", which did not come"
    line = (Piece(signs.wait, "wait"), Piece(" waited for "), kind, Piece(end))
    return Row(line, max(0, wait.ended - wait.started) if wait.started else 0)


def _origin(run: Run, event: Event) -> str:
    if event.outside:
        return "came from outside"
    return f"came from {_name(run, event.source)}" if event.source else "came from somewhere"


def _name(run: Run, id: int) -> str:
    invocation = run.invocations.get(id)
    return f"{(invocation.step if invocation is not None else '') or '?'} #{id}"


def _describe_collected(run: Run, collected: EventsCollected, signs: Signs) -> Row:
    events = [run.events[id] for id in collected.events if id in run.events]
    sources: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        source = run.invocations.get(event.source)
        name = "outside" if event.outside else (source.step if source is not None else "") or "?"
        sources[name].append(event.source)
    parts = []
    for name, ids in sources.items():
        numbers = [f"#{id}" for id in dict.fromkeys(ids) if id]
        parts.append(f"{name} {enumerate_some(numbers, signs.more)}".rstrip())
    kinds = tally([name_type(event.type) for event in events], signs.times)
    origin = f" from {' and '.join(parts)}" if parts else ""
    return Row((Piece("collected ", "faint"), Piece(kinds, "event"), Piece(origin, "faint")))


def describe_writes(written: Sequence[ContextWritten]) -> Row:
    """Say what was written to the state."""
    line = [Piece("wrote ", "faint")]
    for number, write in enumerate(written):
        line.append(Piece(", ", "faint") if number else Piece(""))
        path = clean(write.path) or "the whole state"
        if write.deleted:
            line += [Piece(path), Piece(" (deleted)", "faint")]
        else:
            line += [Piece(path), Piece(" = ", "faint"), Piece(show_value(write.value), "value")]
    return Row(tuple(line))


def _describe_untaken(run: Run, attempt: Attempt, signs: Signs) -> Iterator[Row]:
    """Tell the fate of events that no step worked on."""
    fates: defaultdict[str, list[str]] = defaultdict(list)
    for id in attempt.sent:
        event = run.events.get(id)
        if event is not None and not event.takers:
            fates[_fate(run, event)].append(name_type(event.type))
    for fate, kinds in fates.items():
        yield Row((Piece("sent ", "faint"), Piece(tally(kinds, signs.times), "event"), Piece(f", {fate}", "faint")))


def _fate(run: Run, event: Event) -> str:
    if event.id == run.result:
        return "which ended the run"
    if event.answered:
        return "which ended a wait"
    if event.held and not event.released:
        return "which was held back"
    return "which no step took"


def describe_root(run: Run, event: Event) -> Row:
    """Name an event that hangs under nothing."""
    if event.outside:
        after = event.at - run.started
        when = f" after {format_duration(after)}" if after >= 1_000_000 else ""  # noqa: PLR2004  # a millisecond
        origin = f" from outside{when}"
    else:
        origin = " of unknown origin"
    fate = "" if event.takers else f", {_fate(run, event)}"
    return Row((Piece(name_type(event.type), "event"), Piece(f"{origin}{fate}", "faint")))
