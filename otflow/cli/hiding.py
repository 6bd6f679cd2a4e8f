"""Hiding: what looks like a secret is left out before the records of a journal are shown or sent on.

A journal holds payloads whole, because a run that goes on needs them. What leaves it for a screen, a picture or a
receiver is told as spans tell it: secrets are known by the names of their fields, and by their form in texts.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.record import ContextWritten, Record
from otflow.redaction import DEFAULT
from otflow.telemetry.environment import read_environment

__all__ = ["hide"]

S = TypeVar("S", bound=msgspec.Struct)


def hide(execution: Execution) -> Execution:
    """Return a run of whose payloads what looks like a secret cannot be told, unless OTFLOW_REDACT says otherwise."""
    if not read_environment(os.environ).redact:
        return execution
    records = [_veil(record) for record in execution.records]
    return Execution(records, execution.clues, execution.last, merged=True)


def _veil(record: Record) -> Record:
    if isinstance(record, ContextWritten) and record.path:
        veil = DEFAULT.at(record.path, None) or DEFAULT
        return msgspec.structs.replace(record, value=Body(None, record.value.whole, veil))
    return _veil_bodies(record)


def _veil_bodies(value: S) -> S:
    changed: dict[str, object] = {}
    for name in value.__struct_fields__:
        field = getattr(value, name)
        if isinstance(field, Body):
            changed[name] = Body(None, field.whole, DEFAULT)
        elif isinstance(field, msgspec.Struct):
            changed[name] = _veil_bodies(field)
    return msgspec.structs.replace(value, **changed) if changed else value
