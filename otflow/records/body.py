"""Bodies: the payload of an event or a context write, opaque to everyone but its owner.

In the process that made it a body carries the live object, and the same object is delivered. What is recorded
is its JSON, made once. Who decides when is the runtime: it calls `fix` when the body is emitted, if anyone
listens; without listeners no JSON is ever made. The core passes bodies on and never looks inside.

A body may have something in it that must not be told. Then it has two texts: `json` is what may leave the process, and
everyone who writes records down uses it; `whole` says all, for saved contexts and for delivery. What is to be hidden,
whoever makes the body says; this room only keeps the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec
import pydantic_core
from pydantic_core import SchemaSerializer

from otflow.records.sets import holds_set, order_sets

__all__ = ["ATOMS", "OPAQUE", "REDACTED", "Body", "Redact"]

OPAQUE = "$opaque"
REDACTED = "__REDACTED__"
"""Stands in the place of what was hidden."""
ATOMS: frozenset[type] = frozenset((str, int, float, bool, type(None)))
"""Classes whose objects never change."""

_MAX_REPR = 200


class Redact(Protocol):
    """Hides what must not leave the process."""

    @property
    def plain(self) -> AbstractSet[type]:
        """Classes that need not be asked about: of `ATOMS`, and of models without undeclared fields."""

    def __call__(self, live: object, json: bytes) -> bytes:
        """Return the JSON that may be told; never raises.

        Args:
            live: the object.
            json: its whole JSON.
        """


class Body:
    """A payload: the live object, its JSON, or both.

    Two bodies are equal when what they tell is the same, as JSON tells values apart: 1 is 1.0, and not true.

    Args:
        live: the object, in the process where it lives.
        json: its whole JSON text in UTF-8, when it was read from a record.
        redact: hides what must not leave the process; default None: nothing has to be hidden.
    """

    # weakly referable, so that a trace can remember events just as long as the run does
    __slots__ = ("__weakref__", "_json", "_redact", "_whole", "live")

    def __init__(self, live: object = None, json: bytes | None = None, redact: Redact | None = None) -> None:
        self.live = live
        self._redact = redact
        self._json = json
        self._whole: bytes | None = None
        if json is not None and redact is not None:
            self._json, self._whole = None, json

    @property
    def json(self) -> bytes:
        """The JSON that may be told; what JSON cannot say stands in it as type and repr under `$opaque`."""
        if self._json is None:
            return self._tell()
        return self._json

    @property
    def whole(self) -> bytes:
        """The JSON with all that is in the payload; it is for this process, and for what a user saves."""
        if self._whole is None:
            if self._json is not None:
                return self._json
            self._whole = _encode(self.live)
        return self._whole

    @property
    def opaque(self) -> bool:
        """Whether some part could not be serialised, so that the object cannot be built again from JSON."""
        return b'"$opaque"' in self.whole

    def fix(self) -> None:
        """Make the JSON now, because the live object may change later; immutable atoms can wait."""
        live, redact = self.live, self._redact
        if self._json is None and (kind := type(live)) not in ATOMS:
            # the plain case is the same as in _tell, a call less for every event
            if redact is None or (
                kind in redact.plain
                and not live.__pydantic_extra__  # type: ignore[attr-defined]  # it is a model, or it would be an atom
                and self._whole is None
            ):
                self._json = self._whole or _encode(live)
            else:
                self._tell()

    def _tell(self) -> bytes:
        live, redact, whole = self.live, self._redact, self._whole
        if whole is None:
            whole, kind = _encode(live), type(live)
            if redact is not None and kind in redact.plain and (kind in ATOMS or not _has_extras(live)):
                redact = None
        told = whole if redact is None else redact(live, whole)
        self._whole = whole if told != whole else None
        self._json = told
        return told

    @property
    def content(self) -> object:
        """The live object, or what the JSON says when there is none."""
        return msgspec.json.decode(self.whole) if self._is_read else self.live

    def satisfies(self, requirements: Body) -> bool:
        """Tell whether each attribute (declared or not) that is named has the required value.

        If either side is known by its JSON only, their JSON is compared.
        """
        if self._is_read or requirements._is_read:
            mine, wanted = msgspec.json.decode(self.whole), msgspec.json.decode(requirements.whole)
        else:
            mine, wanted = self.live, requirements.live
        if not isinstance(wanted, Mapping):
            return False
        if isinstance(mine, dict):
            return all(mine.get(key, msgspec.UNSET) == value for key, value in wanted.items())
        return all(getattr(mine, key, msgspec.UNSET) == value for key, value in wanted.items())

    @property
    def _is_read(self) -> bool:
        return self.live is None and (self._json is not None or self._whole is not None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Body):
            return NotImplemented
        if self is other or self.json == other.json:
            return True
        mine, others = msgspec.json.decode(self.json), msgspec.json.decode(other.json)
        return bool(mine == others) and _have_same_truths(mine, others)

    __hash__ = None  # type: ignore[assignment]  # equal bodies may differ in text

    def __repr__(self) -> str:
        return f"Body({self.json.decode()[:_MAX_REPR]})"


def _have_same_truths(one: object, other: object) -> bool:
    """Tell whether values that Python takes for equal have true and false at the same places: to it, 1 is True."""
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            pairs += [(value, right[key]) for key, value in left.items()]
        elif isinstance(left, list) and isinstance(right, list):
            pairs += zip(left, right, strict=True)
        elif isinstance(left, bool) is not isinstance(right, bool):
            return False
    return True


def _has_extras(live: object) -> bool:
    """Tell whether a model has undeclared fields."""
    return bool(live.__pydantic_extra__)  # type: ignore[attr-defined]  # it is one


def _encode(live: object) -> bytes:
    try:
        # pydantic's isinstance() asks a metaclass, at a third of the price of all this
        serializer: SchemaSerializer | None = getattr(type(live), "__pydantic_serializer__", None)
        if serializer is not None:
            text = serializer.to_json(live, fallback=_describe, warnings=False)
        else:
            text = pydantic_core.to_json(
                live, fallback=_describe, bytes_mode="base64", inf_nan_mode="strings", serialize_unknown=False
            )
        return _order(live, text) if b"[" in text and holds_set(live) else text
    except Exception:  # a user's serializer may raise anything; the run goes on, the body says what it was
        return msgspec.json.encode(_describe(live))


def _order(live: object, text: bytes) -> bytes:
    plain = order_sets(live, json.loads(text))
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _describe(value: object) -> dict[str, str]:
    kind = type(value)
    try:
        text = repr(value)
    except Exception:  # repr of a user's object may raise too
        text = object.__repr__(value)
    spelt = text[:_MAX_REPR].encode("utf-8", "backslashreplace").decode()  # a repr may hold what JSON cannot
    return {OPAQUE: f"{kind.__module__}.{kind.__qualname__}", "repr": spelt}
