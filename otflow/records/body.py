"""Bodies: the payload of an event or a context write, opaque to everyone but its owner.

In the process that made it a body carries the live object, and the same object is delivered. What is recorded
is its JSON, made once. Who decides when is the runtime: it calls `fix` when the body is emitted, if anyone
listens; without listeners no JSON is ever made. The core passes bodies on and never looks inside.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pydantic_core
from pydantic_core import SchemaSerializer

__all__ = ["OPAQUE", "Body"]

OPAQUE = "$opaque"
_MAX_REPR = 200
_ATOMS = frozenset((str, int, float, bool, type(None)))


class Body:
    """A payload: the live object, its JSON, or both.

    Two bodies are equal when their JSON says the same.

    Args:
        live: the object, in the process where it lives.
        json: its JSON text in UTF-8, when it was read from a record.
    """

    # weakly referable, so that a trace can remember events just as long as the run does
    __slots__ = ("__weakref__", "_json", "live")

    def __init__(self, live: object = None, json: bytes | None = None) -> None:
        self.live = live
        self._json = json

    @property
    def json(self) -> bytes:
        """The JSON of the payload; what JSON cannot say stands in it as type and repr under `$opaque`."""
        if self._json is None:
            self._json = _encode(self.live)
        return self._json

    @property
    def opaque(self) -> bool:
        """Whether some part could not be serialised, so that the object cannot be built again from JSON."""
        return b'"$opaque"' in self.json

    def fix(self) -> None:
        """Make the JSON now, because the live object may change later; immutable atoms can wait."""
        if self._json is None and type(self.live) not in _ATOMS:
            self._json = _encode(self.live)

    @property
    def content(self) -> object:
        """The live object, or what the JSON says when there is none."""
        return msgspec.json.decode(self.json) if self._is_read else self.live

    def satisfies(self, requirements: Body) -> bool:
        """Tell whether each attribute (declared or not) that is named has the required value.

        If either side is known by its JSON only, their JSON is compared.
        """
        if self._is_read or requirements._is_read:
            mine, wanted = msgspec.json.decode(self.json), msgspec.json.decode(requirements.json)
        else:
            mine, wanted = self.live, requirements.live
        if not isinstance(wanted, Mapping):
            return False
        if isinstance(mine, dict):
            return all(mine.get(key, msgspec.UNSET) == value for key, value in wanted.items())
        return all(getattr(mine, key, msgspec.UNSET) == value for key, value in wanted.items())

    @property
    def _is_read(self) -> bool:
        return self.live is None and self._json is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Body):
            return NotImplemented
        if self is other or self.json == other.json:
            return True
        return bool(msgspec.json.decode(self.json) == msgspec.json.decode(other.json))

    __hash__ = None  # type: ignore[assignment]  # equal bodies may differ in text

    def __repr__(self) -> str:
        return f"Body({self.json.decode()[:_MAX_REPR]})"


def _encode(live: object) -> bytes:
    try:
        # pydantic's isinstance() asks a metaclass, at a third of the price of all this
        serializer: SchemaSerializer | None = getattr(type(live), "__pydantic_serializer__", None)
        if serializer is not None:
            return serializer.to_json(live, fallback=_describe, warnings=False)
        return pydantic_core.to_json(
            live, fallback=_describe, bytes_mode="base64", inf_nan_mode="strings", serialize_unknown=False
        )
    except Exception:  # a user's serializer may raise anything; the run goes on, the body says what it was
        return msgspec.json.encode(_describe(live))


def _describe(value: object) -> dict[str, str]:
    kind = type(value)
    try:
        text = repr(value)
    except Exception:  # repr of a user's object may raise too
        text = object.__repr__(value)
    spelt = text[:_MAX_REPR].encode("utf-8", "backslashreplace").decode()  # a repr may hold what JSON cannot
    return {OPAQUE: f"{kind.__module__}.{kind.__qualname__}", "repr": spelt}
