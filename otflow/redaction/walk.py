"""Walks: one payload, its JSON beside the live object, and what of it may be told.

The JSON is what would leave, so each value in it is judged; the object beside it knows what the JSON no longer says:
which model a value came from, and which of its fields are secret. Where the two do not fit together (a serializer of
the user made the JSON), a part that holds secrets is searched for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pydantic_core
from pydantic import RootModel

from otflow.records.body import OPAQUE, REDACTED
from otflow.redaction.shapes import SECRETS, Shape, secrets_of, shape_of
from otflow.redaction.texts import MIN_LENGTH, scrub, scrub_values
from otflow.redaction.words import Words

__all__ = ["UNKNOWN", "Callback", "Walk", "leaves", "replace_values", "texts_in"]

Callback = Callable[[str, object], object]
"""Takes the path of a value, with dots, and its plain data; returns what may be told in its place."""

UNKNOWN = object()
"""Stands beside JSON whose live object is not known."""

_SHORT = 4  # characters of a secret that is looked for within texts, where it is known to be in one


class Walk:
    """One walk.

    Args:
        words: which keys are sensitive.
        callback: what the user says about each value; or None.

    Attributes:
        hidden: the plain data of what was hidden.
    """

    def __init__(self, words: Words, callback: Callback | None) -> None:
        self._words = words
        self._callback = callback
        self.hidden: list[object] = []

    def hide(self, value: object, live: object = UNKNOWN) -> object:
        """Hide a value; that there is none may be told.

        Args:
            value: the value, as plain data of JSON.
            live: the object that it was made from, of which JSON may say less; default: not known.
        """
        if value is None:
            return None
        self.hidden.append(value)
        self.hidden += secrets_of(live)
        return REDACTED

    def show(self, value: object, live: object, path: str, shape: Shape | None = None) -> object:
        """Return what may be told of a value.

        Args:
            value: the value, as plain data of JSON.
            live: the object that it was made from, or `UNKNOWN`.
            path: where it stands.
            shape: what a mapping of fields says, if it is no object of its class; default None.
        """
        if isinstance(live, SECRETS):
            return self.hide(value, live)
        if path and self._callback is not None:
            told = self._ask(path, value)
            if told is not value:
                return told
        if isinstance(live, BaseException):
            return self._scrub(value)
        shape = shape or (shape_of(type(live)) if live is not UNKNOWN else None)
        if isinstance(live, RootModel) and shape is not None:
            if shape.marked:
                return self.hide(value, live)
            return self.show(value, live.root, path)
        if isinstance(value, dict):
            return self._show_object(value, live, path, shape)
        if isinstance(value, list) and shape is None:
            return self._show_items(value, live, path)
        return self._search(value, live) if shape is not None else value

    def _ask(self, path: str, value: object) -> object:
        assert self._callback is not None
        try:
            told = self._callback(path, value)
            return value if told is value else pydantic_core.to_jsonable_python(told)
        except Exception:  # a user's callback may raise anything: then nothing is told
            return self.hide(value) if value is not None else REDACTED

    def _show_object(self, value: dict[str, object], live: object, path: str, shape: Shape | None) -> object:
        if OPAQUE in value:
            return self._search(self._scrub(value), live)
        beside = self._pair(value, live, shape)
        marked = shape.marked if shape is not None else frozenset[str]()
        fields = shape.fields if shape is not None else {}
        told: dict[str, object] = {}
        for key, part in value.items():
            inner = f"{path}.{key}" if path else key
            if fields.get(key) in marked or self._words.find_in(inner, key):
                told[key] = self.hide(part, beside.get(key, UNKNOWN))
            else:
                told[key] = self.show(part, beside.get(key, UNKNOWN), inner)
        return self._search(told, live) if shape is not None and shape.custom else told

    def _pair(self, value: dict[str, object], live: object, shape: Shape | None) -> Mapping[str, object]:
        """Find the live parts of an object, by their keys in JSON."""
        if shape is not None and not isinstance(live, Mapping):
            state = {**getattr(live, "__dict__", {}), **(getattr(live, "__pydantic_extra__", None) or {})}
            return {key: state[name] for key in value if (name := shape.fields.get(key, key)) in state}
        if isinstance(live, Mapping) and len(live) == len(value):  # keys change on the way, their order does not
            return dict(zip(value, live.values(), strict=True))
        return {}

    def _show_items(self, value: list[object], live: object, path: str) -> object:
        is_set = isinstance(live, set | frozenset)
        beside = list(live) if isinstance(live, Sequence | set | frozenset) else []
        if len(beside) != len(value) or (is_set and len(set(map(type, beside))) > 1):
            # the JSON has an order that a set does not have, so an item is known by its class at most
            beside = [UNKNOWN] * len(value)
        start = f"{path}." if path else ""
        told: list[object] = [
            self.show(part, other, f"{start}{place}")
            for place, (part, other) in enumerate(zip(value, beside, strict=True))
        ]
        return self._search(told, live) if is_set else told

    def _scrub(self, value: object) -> object:
        """Hide what stands in texts that describe an object or an error."""
        return _map_texts(value, lambda text: scrub(text, self._words))

    def _search(self, value: object, live: object) -> object:
        """Hide the secrets of an object in JSON that a serializer of the user made of it."""
        secrets = list(leaves(secrets_of(live)))
        if not secrets:
            return value
        self.hidden += secrets
        texts = [secret for secret in secrets if isinstance(secret, str)]
        others = [secret for secret in secrets if not isinstance(secret, str)]
        return _map_leaves(value, lambda leaf: _match(leaf, texts, others))


def _match(leaf: object, texts: Sequence[str], others: Sequence[object]) -> object:
    if isinstance(leaf, str):
        return REDACTED if leaf in texts else scrub_values(leaf, [text for text in texts if len(text) >= _SHORT])
    return REDACTED if leaf in others else leaf


def leaves(values: Iterable[object]) -> Iterable[object]:
    """Return the texts and numbers in plain data, but for truths and nothing."""
    for value in values:
        match value:
            case dict():
                yield from leaves(value.values())
            case list() | tuple() | set() | frozenset():
                yield from leaves(value)
            case bytes():
                yield value.decode("utf-8", "replace")
            case bool() | None | "":
                pass
            case str() | int() | float():
                yield value
            case _:
                yield str(value)


def texts_in(values: Iterable[object]) -> list[str]:
    """Return the texts in plain data that was hidden, without the stars that pydantic writes in the place of them."""
    found = (leaf for leaf in leaves(values) if isinstance(leaf, str) and leaf not in REDACTED and leaf.strip("*"))
    return list(dict.fromkeys(found))


def replace_values(value: object, values: Sequence[str]) -> object:
    """Hide given texts wherever they stand in plain data; short ones are left, which may stand anywhere by chance."""
    long = [text for text in values if len(text) >= MIN_LENGTH]
    return _map_texts(value, lambda text: scrub_values(text, long)) if long else value


def _map_texts(value: object, change: Callable[[str], str]) -> object:
    return _map_leaves(value, lambda leaf: change(leaf) if isinstance(leaf, str) else leaf)


def _map_leaves(value: object, change: Callable[[object], object]) -> object:
    if isinstance(value, dict):
        return {key: _map_leaves(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_map_leaves(part, change) for part in value]
    return change(value)
