"""Telling: what may be told of data that was saved, of what a run inherits, and of what it writes.

Such data knows events by the names of their types only. The classes say which fields are secret, so an event is made
again before anyone is told of it; one whose class cannot be found, or refuses the data, is not told at all.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from otflow.context.context import Context
from otflow.core.snapshot import Leftovers
from otflow.core.told import tell_event, tell_saved
from otflow.records.body import Body, Redact
from otflow.records.record import About
from otflow.redaction import HIDE, Redactor
from otflow.runtime.blueprint import Blueprint

__all__ = ["Veils", "tell_about", "tell_leftovers", "tell_snapshot"]

_KEPT = 1024  # paths of the state


def tell_snapshot(blueprint: Blueprint, redact: Redactor | None, data: bytes, state: Body | None = None) -> Body:
    """Return saved data of a run as a payload that tells no more than it may.

    Args:
        blueprint: the workflow.
        redact: says what may be told; None: everything.
        data: the JSON of the saved run.
        state: the written state that stands in it, with what may be told of that; default None: none does.
    """
    return Body(json=data) if redact is None else Body(None, data, _Snapshot(blueprint, redact, state))


def tell_leftovers(blueprint: Blueprint, redact: Redactor | None, leftovers: Leftovers) -> None:
    """See to it that the events which an earlier run left over tell no more than they may."""
    if redact is not None:
        teller = _Teller(blueprint, redact)
        leftovers.events = [tell_event(event, teller.tell) for event in leftovers.events]


def tell_about(redact: Redactor | None, about: About | None) -> About | None:
    """See to it that what a run belongs to tells no more than it may."""
    if redact is None or about is None or about.metadata is None:
        return about
    body = about.metadata
    return msgspec.structs.replace(about, metadata=Body(body.live, body.whole, redact))


class Veils:
    """What redacts the values that are written into a state, by their paths.

    Args:
        redact: what redacts the payloads of the run.
        context: has the state.

    Attributes:
        known: what was found before.
    """

    def __init__(self, redact: Redactor, context: Context[Any]) -> None:
        self.known: dict[str, Redact] = {}
        self._redact = redact
        self._context = context

    def find(self, path: str) -> Redact:
        """Find out what redacts the values at a path."""
        veil = self._redact.at(path, self._context.store.current) or self._redact
        if "." not in path and len(self.known) < _KEPT:  # what lies deeper may come to be another thing
            self.known[path] = veil
        return veil


class _Teller:
    """Makes payloads that tell no more than they may."""

    def __init__(self, blueprint: Blueprint, redact: Redactor) -> None:
        self._blueprint = blueprint
        self._redact = redact

    def tell(self, key: str, body: Body) -> Body:
        """Return such a payload of an event; or of plain data, if it has no type."""
        if body.live is not None:
            return Body(body.live, None, self._redact)
        return Body(None, body.whole, _Saved(self._blueprint, self._redact, key) if key else self._redact)

    def tell_requirements(self, key: str, body: Body) -> Body:
        """Return such a payload of what is required of an event."""
        kind = self._blueprint.find(key)
        return Body(None, body.whole, self._redact.fields_of(kind) if kind is not None else HIDE)


class _Snapshot:
    """Redacts saved data of a run."""

    plain: AbstractSet[type] = frozenset()

    def __init__(self, blueprint: Blueprint, redact: Redactor, state: Body | None) -> None:
        self._teller = _Teller(blueprint, redact)
        self._state = state

    def __call__(self, live: object, json: bytes) -> bytes:
        try:
            return tell_saved(Body(json=json), self._teller.tell, self._teller.tell_requirements, self._state)
        except Exception:  # what cannot be read is not told
            return HIDE(live, json)


class _Saved:
    """Redacts an event that was read from saved data."""

    plain: AbstractSet[type] = frozenset()

    def __init__(self, blueprint: Blueprint, redact: Redactor, key: str) -> None:
        self._blueprint = blueprint
        self._redact = redact
        self._key = key

    def __call__(self, live: object, json: bytes) -> bytes:
        try:
            event = self._blueprint.revive(self._key, Body(json=json))
        except Exception:  # the class is gone, or a validator of the user refuses the data
            return HIDE(live, json)
        return self._redact(event, json)
