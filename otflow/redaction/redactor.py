"""Redactors: a policy at work on payloads, paths and texts.

Most payloads have nothing to hide, and that is found out once for each class, or by one look at an object. Only what
may have something to hide is walked through. Whatever goes wrong on the way hides the payload as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import pydantic_core
from pydantic import BaseModel

from otflow.events import HumanResponseEvent, StartEvent, StopEvent
from otflow.records.body import ATOMS, REDACTED, Body, Redact
from otflow.redaction.policy import Redaction
from otflow.redaction.shapes import LEAVES, Shape, secrets_of, shape_of
from otflow.redaction.texts import MIN_LENGTH, scrub, scrub_ends, scrub_values
from otflow.redaction.walk import UNKNOWN, Walk, replace_values, texts_in
from otflow.redaction.words import Words

__all__ = ["DEFAULT", "HIDE", "Redactor"]

_HIDDEN = pydantic_core.to_json(REDACTED)
_SHORT = 4  # characters of a text that is looked for in the error of who worked on it
_KEPT = 4096  # classes of which the answer is remembered
_REMEMBERED = 256  # hidden texts that are looked for in errors
_SEVERAL = (list, tuple, set, frozenset)
_FROM_OUTSIDE = (StartEvent, HumanResponseEvent)


class Redactor:
    """Says what may be told of payloads, under one policy.

    Args:
        policy: the policy; default `Redaction()`.

    Attributes:
        plain: classes of which nothing has to be hidden, but for undeclared fields.
    """

    def __init__(self, policy: Redaction | None = None) -> None:
        self.policy = policy or Redaction()
        self.plain: set[type] = set()
        self._words = Words((*self.policy.keys, *self.policy.extra_keys), self.policy.allow)
        self._ways: dict[type, tuple[str, ...] | None] = {}
        self._hides = self.policy.hide_inputs or self.policy.hide_outputs
        self._is_brief = self.policy.callback is None and not self._hides  # then most payloads need no walk
        self._recent: dict[str, None] = {}
        self._forget()

    def __call__(self, live: object, json: bytes) -> bytes:
        """Return the JSON that may be told of a payload.

        Args:
            live: the object; None if only its JSON is known.
            json: its whole JSON.
        """
        if self._is_brief and live is not None:
            try:
                if self._is_clean(live):
                    return json
            except Exception:  # it holds itself, or a user's class is odd: a walk will tell
                return self.show(live, json, "", None)
        return self.show(live, json, "", None)

    def show(self, live: object, json: bytes, path: str, shape: Shape | None) -> bytes:
        """Return the JSON that may be told.

        Args:
            live: the object; None if only its JSON is known.
            json: its whole JSON.
            path: where in the state it stands; "" for an event.
            shape: what a mapping of fields says.
        """
        try:
            if self._hides and self._hides_all(live):
                return _HIDDEN
            value = pydantic_core.from_json(json)
            walk = Walk(self._words, self.policy.callback)
            told = walk.show(value, UNKNOWN if live is None else live, path, shape)
            texts = texts_in(walk.hidden)
            self._remember(texts)
            told = replace_values(told, texts)
            return json if told == value else pydantic_core.to_json(told)
        except Exception:  # whatever a user's class or callback did: rather nothing than too much
            return _HIDDEN

    def at(self, path: str, state: object) -> Redact | None:
        """Return what redacts a value that is written into the state; None if the path does not matter.

        Args:
            path: where it is written, with dots.
            state: the whole state.
        """
        try:
            hidden = self._is_hidden_at(path, state)
        except Exception:  # as above
            hidden = True
        if hidden:
            return HIDE
        return _At(self, path, None) if self.policy.callback is not None and path else None

    def _is_hidden_at(self, path: str, state: object) -> bool:
        place: object = state
        way = ""
        for name in path.split(".") if path else ():
            way = f"{way}.{name}" if way else name
            shape = shape_of(type(place))
            if self._words.find_in(way, name) or (shape is not None and name in shape.marked):
                return True
            place = _step_into(place, name)
        return False

    def fields_of(self, kind: type) -> Redact:
        """Return what redacts a mapping of attributes of a class."""
        return _At(self, "", shape_of(kind))

    def hides(self, name: str) -> bool:
        """Tell whether the value under a name is hidden."""
        return self._words.find(name)

    def text(self, text: str, body: Body | None = None) -> str:
        """Return what may be told of a message or a stack.

        Of one of more than 65,536 characters that is the first and the last 32,768, with a note of what is left out.

        Args:
            text: the message or stack.
            body: the payload that its writer worked on: what is hidden in it is hidden in the text; default None.
        """
        try:
            values = list(self._recent)
            if body is not None:
                values += _hidden_by(body)
            return scrub_ends(text, lambda part: self._scrub(part, values))
        except Exception:  # as above
            return REDACTED

    def value(self, text: str) -> str:
        """Return what may be told of a text in a payload where somebody looks at it: all but what `text` hides too.

        Args:
            text: the text, of any length.
        """
        try:
            return self._scrub(text, self._recent)
        except Exception:  # as above
            return REDACTED

    def _scrub(self, text: str, values: Iterable[str]) -> str:
        longest_first = dict.fromkeys(sorted(values, key=len, reverse=True))
        return scrub(scrub_values(text, longest_first), self._words)

    def _remember(self, texts: list[str]) -> None:
        for text in texts:
            if len(text) >= MIN_LENGTH:
                self._recent.pop(text, None)
                self._recent[text] = None
        while len(self._recent) > _REMEMBERED:
            self._recent.pop(next(iter(self._recent)), None)

    def _hides_all(self, live: object) -> bool:
        """Tell whether a payload is hidden because of the side on which it stands."""
        if self.policy.hide_inputs and not isinstance(live, StopEvent):
            return True
        return self.policy.hide_outputs and not isinstance(live, _FROM_OUTSIDE)

    def _is_clean(self, value: object) -> bool:
        """Tell whether nothing has to be hidden in an object; when in doubt it has."""
        if isinstance(value, dict):
            return self._is_clean_mapping(value)
        if isinstance(value, _SEVERAL):
            # here and below: leaves are not asked about, because most parts are leaves and a call is dear
            return all(type(part) in LEAVES or self._is_clean(part) for part in value)
        kind = type(value)
        if kind in LEAVES:
            return True
        way = self._ways[kind] if kind in self._ways else self._find_way(kind)
        if way is None:
            return False
        extra: dict[object, object] | None = getattr(value, "__pydantic_extra__", None)
        if extra and not self._is_clean_mapping(extra):
            return False
        for name in way:
            part = value.__dict__.get(name)
            if type(part) not in LEAVES and not self._is_clean(part):
                return False
        return True

    def _is_clean_mapping(self, value: dict[object, object]) -> bool:
        known, find = self._words.known, self._words.find
        for key, part in value.items():
            if type(key) is not str or (find(key) if (said := known.get(key)) is None else said):
                return False
            if type(part) not in LEAVES and not self._is_clean(part):
                return False
        return True

    def _find_way(self, kind: type) -> tuple[str, ...] | None:
        """Return the fields of a class that have to be looked at; None if its objects have to be walked through."""
        shape = shape_of(kind)
        way: tuple[str, ...] | None = None
        if shape is not None and not shape.custom and not shape.marked and not any(map(self._words.find, shape.fields)):
            way = shape.open
            if not way and self._is_brief and issubclass(kind, BaseModel):
                self.plain.add(kind)
        if len(self._ways) >= _KEPT:
            self._forget()
        self._ways[kind] = way
        return way

    def _forget(self) -> None:
        self._ways.clear()
        self.plain.clear()
        if self._is_brief:
            self.plain.update(ATOMS)


class _At:
    """Redacts what stands at a path, or attributes of a class."""

    plain: AbstractSet[type] = frozenset()

    def __init__(self, redactor: Redactor, path: str, shape: Shape | None) -> None:
        self._redactor = redactor
        self._path = path
        self._shape = shape

    def __call__(self, live: object, json: bytes) -> bytes:
        return self._redactor.show(live, json, self._path, self._shape)


class _Hide:
    """Hides a payload as a whole; that there is none may be told."""

    plain: AbstractSet[type] = frozenset({type(None)})

    def __call__(self, live: object, json: bytes) -> bytes:
        return _HIDDEN


HIDE = _Hide()
"""Hides any payload, whatever it is."""

DEFAULT = Redactor()
"""Hides what has to be hidden when nobody said anything about it."""


def _step_into(place: object, name: str) -> object:
    if isinstance(place, Mapping):
        return place.get(name)
    if isinstance(place, list | tuple):
        return place[int(name)] if name.isdecimal() and int(name) < len(place) else None
    state: Mapping[str, object] = getattr(place, "__dict__", {})
    extra: Mapping[str, object] = getattr(place, "__pydantic_extra__", None) or {}
    return state.get(name, extra.get(name))


def _hidden_by(body: Body) -> list[str]:
    """Return the texts that a payload hides: those that its JSON had, and those that its JSON never says."""
    found = texts_in(secrets_of(body.live))
    if body.json != body.whole:
        found += _hidden_in(pydantic_core.from_json(body.whole), pydantic_core.from_json(body.json))
    return [text for text in found if len(text) >= _SHORT]


def _hidden_in(whole: object, told: object) -> list[str]:
    """Return the texts that stand in one tree of data, where the other one says that something is hidden."""
    if isinstance(whole, dict) and isinstance(told, dict):
        return [text for key, part in told.items() if key in whole for text in _hidden_in(whole[key], part)]
    if isinstance(whole, list) and isinstance(told, list) and len(whole) == len(told):
        return [text for one, other in zip(whole, told, strict=True) for text in _hidden_in(one, other)]
    return texts_in([whole]) if told == REDACTED else []
