"""Facts: what there is to read about an attempt, a wait or an event, beside a picture.

Payloads are shown as they were recorded, up to a limit; together they stay within a budget, so that a page of a huge
run can still be opened. What is left out is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from otflow.drawing.details import describe_error
from otflow.drawing.picture import Fact
from otflow.drawing.quantities import count, format_duration, name_type
from otflow.records.body import Body
from otflow.records.history import Attempt, Event, Invocation, Run, Wait
from otflow.records.record import Failure

__all__ = ["Payloads", "describe_attempt", "describe_event", "describe_failure", "describe_wait"]

_NS = 1_000_000_000
_SHORT = 200
_MAX_TAKERS = 20
_MAX_LISTED = 200


class Payloads:
    """Writes payloads, as long as there is room.

    Args:
        limit: characters of one payload that are shown; default 4,000.
        budget: characters of all; beyond it each is cut to 200. Default 12 million.
    """

    def __init__(self, limit: int = 4_000, budget: int = 12_000_000) -> None:
        self._limit = max(0, limit)
        self._left = budget
        self._seen: dict[int, tuple[Body, str]] = {}

    def write(self, body: Body) -> str:
        """Write a payload on several lines; the same payload is paid for once."""
        known = self._seen.get(id(body))
        if known is not None:
            return known[1]
        limit = self._limit if self._left > 0 else min(self._limit, _SHORT)
        text = _format(body.json, limit)
        self._left -= len(text)
        self._seen[id(body)] = (body, text)  # with the body, so that its id stays its own
        return text


def _format(json: bytes, limit: int) -> str:
    # an indented text is longer, but what is that long is cut anyway
    if len(json) <= 4 * limit:
        try:
            text = msgspec.json.format(json, indent=2).decode("utf-8", "replace")
        except msgspec.DecodeError:  # whoever wrote the record did not write JSON
            text = json.decode("utf-8", "replace")
    else:
        text = json[: 4 * limit].decode("utf-8", "replace")
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… cut off here; the whole is {count(len(json), 'byte')}"


def describe_attempt(run: Run, invocation: Invocation, attempt: Attempt, payloads: Payloads) -> tuple[Fact, ...]:
    """Give all that is known of an attempt."""
    number = f", attempt {attempt.number}" if attempt.number else ""
    facts = [Fact("step", f"{invocation.step or '?'} #{invocation.id}{number}"), Fact("outcome", attempt.outcome)]
    facts += _describe_times(run, attempt)
    if attempt.error is not None:
        facts += describe_failure(attempt.error)
    event = run.events.get(invocation.event)
    if event is not None:
        facts += _show("took", event.type, event.body, payloads, f" #{event.id}")
    facts += _describe_done(run, attempt, payloads)
    return tuple(facts)


def _describe_times(run: Run, attempt: Attempt) -> Iterator[Fact]:
    if attempt.delay:
        yield Fact("retry delay", format_duration(round(attempt.delay * _NS)))
    if attempt.queued:
        yield Fact("queued", format_duration(attempt.queued))
    if attempt.started and (after := run.since_start(attempt.started)) is not None:
        yield Fact("began after", format_duration(after))
    if attempt.stood:
        yield Fact("stood still", format_duration(attempt.stood))
    if attempt.started and attempt.ended and not attempt.astray:
        yield Fact("worked", format_duration(attempt.worked))


def _describe_done(run: Run, attempt: Attempt, payloads: Payloads) -> Iterator[Fact]:
    for kept in attempt.kept[:_MAX_LISTED]:
        yield Fact("put aside", f"{_name_event(run, kept.event)} for {kept.buffer or 'a collection'}")
    for collected in attempt.collected[:_MAX_LISTED]:
        names = ", ".join(_name_event(run, id) for id in collected.events[:_MAX_LISTED])
        yield Fact("collected", f"{count(len(collected.events), 'event')}: {names}")
    for wait in attempt.waits[:_MAX_LISTED]:
        yield Fact("waited for", f"{name_type(wait.type)}: {_end_of(run, wait)}")
    for write in attempt.written[:_MAX_LISTED]:
        path = write.path or "the whole state"
        if write.deleted:
            yield Fact("deleted", path)
        else:
            yield Fact(f"wrote {path}", payloads.write(write.value), "json")
    for streamed in attempt.streamed[:_MAX_LISTED]:
        yield from _show("streamed", streamed.type, streamed.body, payloads)
    for id in attempt.sent[:_MAX_LISTED]:
        event = run.events.get(id)
        if event is not None:
            yield from _show("sent", event.type, event.body, payloads, f" #{id}{_takers(run, event)}")
    if (most := max(map(len, (attempt.sent, attempt.written, attempt.streamed, attempt.kept)))) > _MAX_LISTED:
        yield Fact("left out", f"of {most:,} only the first {_MAX_LISTED} are listed here")


def _takers(run: Run, event: Event) -> str:
    if not event.takers:
        return ""
    names = [f"{run.invocations[id].step or '?'} #{id}" for id in event.takers[:_MAX_TAKERS] if id in run.invocations]
    more = len(event.takers) - len(names)
    return f", taken by {', '.join(names)}{f' and {more:,} more' if more > 0 else ''}"


def _name_event(run: Run, id: int) -> str:
    event = run.events.get(id)
    return f"{name_type(event.type) if event is not None else '?'} #{id}"


def _show(verb: str, type: str, body: Body | None, payloads: Payloads, more: str = "") -> Iterable[Fact]:
    if body is None:
        return (Fact(verb, f"{name_type(type)}{more}, whose record is missing"),)
    return (Fact(f"{verb} {name_type(type)}{more}", payloads.write(body), "json"),)


def describe_failure(error: Failure) -> tuple[Fact, ...]:
    """Give an error and its stack."""
    stack = (Fact("stack", error.stack, "stack"),) if error.stack else ()
    return (Fact("error", describe_error(error)), *stack)


def describe_wait(run: Run, wait: Wait, payloads: Payloads) -> tuple[Fact, ...]:
    """Give all that is known of a wait."""
    facts = [Fact("waited for", name_type(wait.type)), Fact("name", wait.waiter), Fact("end", _end_of(run, wait))]
    if wait.started and wait.ended and not wait.astray:
        facts.append(Fact("waited", format_duration(wait.took)))
    event = run.events.get(wait.event)
    if event is not None:
        facts += _show("answer", event.type, event.body, payloads, f" #{event.id}")
    return tuple(facts)


def _end_of(run: Run, wait: Wait) -> str:
    if wait.event in run.events:
        return f"{_name_event(run, wait.event)} came"
    return "its time was over" if wait.ended else "it has no end"


def describe_event(run: Run, event: Event, fate: str, payloads: Payloads) -> tuple[Fact, ...]:
    """Give all that is known of an event; `fate` says what became of it."""
    facts = [*_show("event", event.type, event.body, payloads, f" #{event.id}")]
    if fate:
        facts.append(Fact("fate", fate))
    if event.at and (after := run.since_start(event.at)) is not None:
        facts.append(Fact("after", format_duration(after)))
    if event.target:
        facts.append(Fact("only for", event.target))
    if taken := _takers(run, event):
        facts.append(Fact("taken", taken.removeprefix(", taken ")))
    return tuple(facts)
