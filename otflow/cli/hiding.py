"""Hiding: what looks like a secret is left out before the records of a journal are shown or sent on.

A journal holds payloads whole, because a run that goes on needs them. What leaves it for a receiver or a test is told
as spans tell it: secrets in payloads are known by the names of their fields, and what is left is as it was, so that it
can be replayed. Where somebody looks, on a screen or a picture, texts are searched for the form of a secret too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pydantic_core

from otflow.records.body import Body, Redact
from otflow.records.execution import Execution
from otflow.records.record import ContextWritten, Record
from otflow.redaction import DEFAULT, HIDE
from otflow.telemetry.environment import read_environment

if TYPE_CHECKING:
    from otflow.readers import ForeignSpan

__all__ = ["hide", "hide_foreign"]

S = TypeVar("S", bound=msgspec.Struct)


class _ByForm:
    """Hides what has the form of a secret, besides what another one hides."""

    plain: AbstractSet[type] = frozenset()

    def __init__(self, redact: Redact) -> None:
        self._redact = redact

    def __call__(self, live: object, json: bytes) -> bytes:
        told = self._redact(live, json)
        try:
            value = pydantic_core.from_json(told)
            scrubbed = _scrub(value)
            return told if scrubbed == value else pydantic_core.to_json(scrubbed)
        except Exception:  # nested too deeply, or no JSON: rather nothing than too much
            return HIDE(live, json)


def _scrub(value: object) -> object:
    match value:
        case str():
            return DEFAULT.value(value)
        case list():
            return [_scrub(part) for part in value]
        case dict():
            return {key: _scrub(part) for key, part in value.items()}
        case _:
            return value


def hide(execution: Execution, *, exact: bool = False) -> Execution:
    """Return a run of whose payloads what looks like a secret cannot be told, unless OTFLOW_REDACT says otherwise.

    Args:
        execution: the run.
        exact: whether texts are left as they are, and only what the names of fields tell is hidden; default False.
    """
    if not read_environment(os.environ).redact:
        return execution
    by_name: Redact = DEFAULT
    veil = by_name if exact else _ByForm(by_name)
    records = [_veil(record, veil) for record in execution.records]
    return Execution(records, execution.clues, execution.last, merged=True)


def hide_foreign(spans: Iterable[ForeignSpan]) -> list[ForeignSpan]:
    """Return spans of other libraries in whose attributes what looks like a secret cannot be told, as `hide` does."""
    if not read_environment(os.environ).redact:
        return list(spans)
    return [
        msgspec.structs.replace(
            span,
            attributes={key: _veil_value(value) for key, value in span.attributes.items() if not DEFAULT.hides(key)},
        )
        for span in spans
    ]


def _veil_value(value: object) -> object:
    """Hide what looks like a secret in the value of an attribute; one with parts becomes their JSON."""
    if isinstance(value, list | tuple | dict):
        value = msgspec.json.encode(value).decode()
    return DEFAULT.text(_veil_json(value)) if isinstance(value, str) else value


def _veil_json(text: str) -> str:
    """Hide what the names of fields tell to be secret, if a text is JSON."""
    if text[:1] not in {"{", "["}:
        return text
    try:
        whole = msgspec.json.encode(msgspec.json.decode(text))
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return text
    told = DEFAULT(None, whole)
    return text if told == whole else told.decode()


def _veil(record: Record, veil: Redact) -> Record:
    if isinstance(record, ContextWritten) and record.path:
        veil = DEFAULT.at(record.path, None) or veil
        return msgspec.structs.replace(record, value=Body(None, record.value.whole, veil))
    return _veil_bodies(record, veil)


def _veil_bodies(value: S, veil: Redact) -> S:
    changed: dict[str, object] = {}
    for name in value.__struct_fields__:
        field = getattr(value, name)
        if isinstance(field, Body):
            changed[name] = Body(None, field.whole, veil)
        elif isinstance(field, msgspec.Struct):
            changed[name] = _veil_bodies(field, veil)
    return msgspec.structs.replace(value, **changed) if changed else value
