"""Details: what is said about an invocation, in rows under its name.

A row says what an attempt came to, what was waited for, what was written, collected or sent to nobody. Other
invocations are named by step and number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from otflow.drawing.line import Line, Piece, Signs, clean, glue
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

__all__ = [
    "Row",
    "describe",
    "describe_error",
    "describe_root",
    "describe_writes",
    "head_of",
    "only_put_aside",
    "tell_fate",
    "times_of",
]

_NS = 1_000_000_000
_WORTH_SAYING = 1_000_000  # nanoseconds
_GOES_ON = ("open", "paused")


class Row(NamedTuple):
    """What stands in a row.

    Args:
        line: the text.
        waited, took: nanoseconds; 0 leaves them out.
        aside: words that follow the text as long as there is room for them.
    """

    line: Line
    waited: int = 0
    took: int = 0
    aside: tuple[str, ...] = ()


def times_of(invocation: Invocation) -> tuple[int, int]:
    """Return for how many nanoseconds an invocation waited (for workers, retry delays, events), and worked."""
    return sum(map(_wait_of, invocation.attempts)), sum(each.worked for each in invocation.attempts)


def _wait_of(attempt: Attempt) -> int:
    delay = 0.0 if attempt.astray else attempt.delay or 0.0
    return attempt.queued + attempt.stood + round(delay * _NS)


def head_of(run: Run, invocation: Invocation, signs: Signs, seen: dict[str, str]) -> Row:
    """Name an invocation: the event that it works on, its step, its number, and an impression of the event.

    Args:
        run: the run.
        invocation: the invocation.
        signs: what it is drawn with.
        seen: the fields of events that were shown above it; those that are shown here are added.
    """
    event = run.events.get(invocation.event)
    kind = name_type(event.type) if event is not None else "?"
    line = (
        Piece(kind, "event"),
        Piece(signs.into, "faint"),
        Piece(invocation.step or "?", "step"),
        Piece(f" #{invocation.id}", "mark"),
    )
    aside: tuple[str, ...] = ()
    if only_put_aside(invocation):
        aside = ("put aside",)
    elif event is not None and event.body is not None:
        aside = preview(event.body, seen)
    waited, took = times_of(invocation)
    return Row(line, waited, took, aside)


def only_put_aside(invocation: Invocation) -> bool:
    """Tell whether an invocation did nothing but put its event aside."""
    match invocation.attempts:
        case (Attempt(outcome="completed", kept=[_], sent=(), written=(), waits=(), collected=()),):
            return True
        case _:
            return False


def describe(run: Run, invocation: Invocation, signs: Signs) -> list[Row]:
    """Give the rows of an invocation."""
    if only_put_aside(invocation):
        return []
    rows: list[Row] = []
    several = len(invocation.attempts) > 1 or invocation.retry is not None
    for attempt in invocation.attempts:
        if several or attempt.outcome != "completed":
            rows.append(_describe_outcome(run, attempt, signs))
        rows += _describe_attempt(run, attempt, signs)
    if invocation.retry is not None:
        text = f" attempt {invocation.retry.attempt} was to begin after a delay of {_seconds(invocation.retry.delay)}"
        rows.append(Row((Piece(signs.wait, "wait"), Piece(text))))
    return rows


def _describe_outcome(run: Run, attempt: Attempt, signs: Signs) -> Row:
    name = f"attempt {attempt.number or '?'}"
    after = f" after a delay of {_seconds(attempt.delay)}" if attempt.delay else ""
    waited = _wait_of(attempt)
    match attempt.outcome:
        case "completed":
            return Row((Piece(signs.good, "good"), Piece(f" {name}{after}")), waited, attempt.worked)
        case "failed":
            error = describe_error(attempt.error) if attempt.error is not None else ""
            line = (Piece(signs.bad, "bad"), Piece(f" {name}{after}: "), Piece(error, "bad"))
            return Row(line, waited, attempt.worked)
        case _:
            still = "its end is not recorded"
            if not run.gaps:
                still = "it still runs" if run.outcome in _GOES_ON else "the run ended before it did"
            return Row((Piece(signs.dot, "wait"), Piece(f" {name}{after}: "), Piece(still, "wait")), waited)


def _seconds(seconds: float) -> str:
    return _time(round(seconds * _NS))


def _time(nanoseconds: int) -> str:
    return glue(format_duration(nanoseconds))


def describe_error(error: Failure) -> str:
    """Write an error on one line, as Python does."""
    message = clean(error.message.strip().partition("\n")[0])
    return f"{name_type(error.type)}: {message}" if message else name_type(error.type)


def _describe_attempt(run: Run, attempt: Attempt, signs: Signs) -> Iterator[Row]:
    for wait in attempt.waits:
        yield _describe_wait(run, wait)
    for collected in attempt.collected:
        if len(collected.events) > 1:
            yield Row(_describe_collected(run, collected, signs))
    facts: list[Line] = []
    if attempt.queued >= _WORTH_SAYING:
        facts.append((Piece(f"queued {_time(attempt.queued)} for a worker", "faint"),))
    if attempt.kept:
        facts.append((Piece(f"put aside {count(len(attempt.kept), 'event')}", "faint"),))
    if attempt.written:
        facts.append(describe_writes(attempt.written))
    if attempt.streamed:
        streamed = tally([name_type(each.type) for each in attempt.streamed], signs.times)
        facts.append((Piece("streamed ", "faint"), Piece(streamed, "event")))
    facts += _describe_untaken(run, attempt, signs)
    if facts:
        between = Piece(f" {signs.dot} ", "faint")
        yield Row(tuple(piece for place, fact in enumerate(facts) for piece in ((between, *fact) if place else fact)))


def _describe_wait(run: Run, wait: Wait) -> Row:
    event = run.events.get(wait.event)
    if event is not None:
        number = f" #{event.source}" if event.source else ""
        end = f", which came from {_origin(run, event)}{number}"
    elif wait.ended:
        end = " until its time was over"
    else:
        end = ", which did not come"
    line = (Piece("waited for ", "wait"), Piece(name_type(wait.type), "event"), Piece(end, "faint"))
    return Row(line, wait.took)


def _origin(run: Run, event: Event) -> str:
    """Name the step from which an event came, or the place."""
    if event.outside:
        return "outside"
    if event.id < 0:
        return "an earlier run"
    source = run.invocations.get(event.source)
    return (source.step if source is not None else "") or "?"


def _describe_collected(run: Run, collected: EventsCollected, signs: Signs) -> Line:
    events = [run.events[id] for id in collected.events if id in run.events]
    sources: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        sources[_origin(run, event)].append(event.source)
    parts = []
    for name, ids in sources.items():
        numbers = [f"#{id}" for id in sorted(set(ids)) if id]
        parts.append(f"{name} {enumerate_some(numbers, signs.more)}".rstrip())
    kinds = tally([name_type(event.type) for event in events], signs.times)
    origin = f" from {' and '.join(parts)}" if parts else ""
    return Piece("collected ", "faint"), Piece(kinds, "event"), Piece(origin, "faint")


def describe_writes(written: Sequence[ContextWritten]) -> Line:
    """Say what was written to the state."""
    line = [Piece("wrote ", "faint")]
    for number, write in enumerate(written):
        line.append(Piece(", ", "faint") if number else Piece(""))
        path = clean(write.path) or "the whole state"
        if write.deleted:
            line += [Piece(path), Piece(" (deleted)", "faint")]
        else:
            line += [Piece(path), Piece(" = ", "faint"), Piece(show_value(write.value), "value")]
    return tuple(line)


def _describe_untaken(run: Run, attempt: Attempt, signs: Signs) -> Iterator[Line]:
    """Tell the fate of events that no step worked on."""
    fates: defaultdict[str, list[str]] = defaultdict(list)
    asked = {each.seq - 1 for each in attempt.streamed}  # a question is written to the stream as it is sent
    for id in attempt.sent:
        event = run.events.get(id)
        if event is not None and not event.takers:
            fates["a question" if id in asked else tell_fate(run, event)].append(name_type(event.type))
    for fate, kinds in fates.items():
        yield Piece("sent ", "faint"), Piece(tally(kinds, signs.times), "event"), Piece(f", {fate}", "faint")


def tell_fate(run: Run, event: Event) -> str:
    """Say what became of an event that no step worked on."""
    if event.id == run.result:
        return "which ended the run"
    if event.answered:
        return "which ended a wait"
    if event.held and not event.released:
        return "which was held back"
    if run.gaps:
        return "by whom it was taken is not recorded"
    return "which no step has taken yet" if run.outcome in _GOES_ON else "which no step took"


def describe_root(run: Run, event: Event) -> Row:
    """Name an event that hangs under nothing."""
    if event.outside:
        after = run.since_start(event.at) or 0
        when = f" after {_time(after)}" if after >= _WORTH_SAYING else ""
        origin = f" from outside{when}"
    elif event.source:
        origin = f" of #{event.source}, from before the run went on"
    else:
        origin = " of unknown origin"
    silent = not event.type or (event.takers and not event.answered)
    fate = "" if silent else f", {tell_fate(run, event)}"
    return Row((Piece(name_type(event.type), "event"), Piece(f"{origin}{fate}", "faint")))
