"""Inputs: from the words of a command line to the fields of events, and to values of a state."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from otflow.cli.complaints import UsageError
from otflow.events import Event, HumanResponseEvent, StartEvent
from otflow.signature import type_key
from otflow.workflow import Workflow

__all__ = ["list_answers", "make_answer", "make_event", "make_start", "read_fields", "read_pairs"]


def read_fields(pairs: Sequence[str], place: str | None, kind: type[Event] | None) -> dict[str, object]:
    """Read the fields of an event.

    Args:
        pairs: as `name=value`; a value is JSON if it can be read so, unless the field is a text.
        place: a file with a JSON object, or "-" for what comes in; None for none. Pairs count more.
        kind: the class of the event, which knows which fields are texts.

    Raises:
        UsageError: one of them is no field.
    """
    fields = _read_object(place) if place is not None else {}
    texts = (
        {name for name, field in kind.model_fields.items() if field.annotation is str} if kind is not None else set()
    )
    return fields | read_pairs("--input", pairs, texts)


def read_pairs(option: str, pairs: Iterable[str], texts: Iterable[str] = ()) -> dict[str, object]:
    """Read `name=value` pairs.

    Args:
        option: where they were given.
        pairs: the pairs.
        texts: the names whose values are taken as they are.

    Raises:
        UsageError: one of them is no pair.
    """
    found: dict[str, object] = {}
    plain = set(texts)
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not (name and mark):
            raise UsageError(f'{option} "{pair}" is no pair: write name=value.')
        found[name] = value if name in plain else _read_value(value)
    return found


def _read_value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_object(place: str) -> dict[str, object]:
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--input-json {place} cannot be read: {error}. Name a file with a JSON object.") from error
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--input-json {place} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise UsageError(f"--input-json {place} is no JSON object, but of type {type(value).__name__}.")
    return value


def make_start(kind: type[StartEvent], fields: Mapping[str, object]) -> StartEvent:
    """Make the start event.

    Args:
        kind: its class.
        fields: its fields.

    Raises:
        UsageError: they do not fit.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise UsageError(
            f"{kind.__name__} cannot be made: {_tell(error)}. Give them with --input NAME=VALUE."
        ) from error


def make_event(text: str, workflow: Workflow, default: type[Event]) -> Event:
    """Make the event that is meant.

    Args:
        text: `{...}` for the fields of the default class, or `Class={...}` for one of those that the workflow knows.
        workflow: the workflow.
        default: the class if none is named.

    Raises:
        UsageError: there is no such class, or the fields do not fit it.
    """
    name, mark, rest = text.partition("=")
    kind = default
    if mark and not text.lstrip().startswith("{"):
        kinds: dict[str, type[Event]] = {HumanResponseEvent.__name__: HumanResponseEvent}
        kinds |= {each.__name__: each for each in workflow.event_types}
        if name.strip() not in kinds:
            raise UsageError(f"there is no event {name.strip()} in the workflow. There is {', '.join(sorted(kinds))}.")
        kind, text = kinds[name.strip()], rest
    try:
        return kind(**json.loads(text or "{}"))
    except ValidationError as error:
        raise UsageError(f"--event does not fit {kind.__name__}: {_tell(error)}.") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"""--event is no JSON object ({error}): write {{"field": ...}} or Class={{...}}."""
        ) from error


def make_answer(text: str, kinds: Sequence[type[HumanResponseEvent]]) -> HumanResponseEvent:
    """Make the answer of somebody at the terminal.

    Args:
        text: what was said: a text, or a JSON object with the fields of the event.
        kinds: the classes that are waited for; the first one counts, else `HumanResponseEvent`.

    Raises:
        UsageError: it does not fit.
    """
    kind = kinds[0] if kinds else HumanResponseEvent
    given: Mapping[str, object] = {}
    value = _read_value(text)
    if isinstance(value, dict):
        given = value
    else:
        names = [*kind.model_fields]
        wanted = names[0] if len(names) == 1 else "response"
        texts = wanted not in kind.model_fields or kind.model_fields[wanted].annotation is str
        given = {wanted: text if texts else value}
    try:
        return kind(**given)
    except ValidationError as error:
        raise UsageError(f"this is no {kind.__name__}: {_tell(error)}. Say it as a JSON object.") from error


def list_answers() -> dict[str, type[HumanResponseEvent]]:
    """Return all classes of answers that are loaded, by type key."""
    found: dict[str, type[HumanResponseEvent]] = {}
    todo = [HumanResponseEvent]
    while todo:
        kind = todo.pop()
        found[type_key(kind)] = kind
        todo += kind.__subclasses__()
    return found


def _tell(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
