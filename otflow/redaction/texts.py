"""Texts: secrets in messages and stacks, which have no structure but what people write: `password=...`, `token: ...`.

Whole texts are kept as far as possible, because somebody has to understand the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from otflow.records.body import REDACTED
from otflow.redaction.words import Words, split

__all__ = ["MIN_LENGTH", "scrub", "scrub_values"]

MIN_LENGTH = 8
"""Characters of a hidden text that is looked for in other texts; shorter ones would be found by chance."""

# up to three words, as in "API key provided: ..."
_KEY = re.compile(
    r"(?<![\w.\-])(?P<key>(?:[A-Za-z_][\w.\-]* ){0,2}[A-Za-z_][\w.\-]*)(?:\\*[\"']?\]?)"
    r"(?P<joint>[ \t]*(?:=>|:=|=(?!=)|:(?!:))[ \t]*)"
)
_SCHEME = re.compile(r"\b(?P<scheme>bearer|basic|digest)[ \t]+(?P<value>[\w.~+/=\-]{6,})", re.IGNORECASE)
_LOGIN = re.compile(r"(?P<start>\b[a-z][a-z0-9+.\-]*://)(?P<login>[^\s/@\"']+)@", re.IGNORECASE)
_QUOTED_INPUT = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)  # how pydantic words it
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(?P<quote>\\*[\"'])")
_PLAIN = re.compile(r"(?:(?:bearer|basic|digest|token)[ \t]+)?[^\s,;&)\]}\"']+", re.IGNORECASE)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_NO_KEYS = {"error", "exception", "warning"}
_ONLY_BEFORE_EQUALS = {"token", "sig", "signature"}  # "?token=..." is a secret, "Unexpected token: <" is none


def scrub(text: str, words: Words) -> str:
    """Hide what stands behind sensitive keys in a text, logins in addresses, and values that pydantic quotes.

    Args:
        text: a message or a stack.
        words: which keys are sensitive.
    """
    if "input_value=" in text:
        text = _QUOTED_INPUT.sub(f"input_value={REDACTED}", text)
    if "://" in text:
        text = _LOGIN.sub(rf"\g<start>{REDACTED}@", text)
    done, found = 0, []
    while (match := _KEY.search(text, done)) is not None:
        end = match.end()
        if _is_sensitive(match, words):
            end = _end_of_value(text, match.end())
            found.append(text[done : match.end()] + (REDACTED if end > match.end() else ""))
        else:
            found.append(text[done:end])
        done = end
    found.append(text[done:])
    return _SCHEME.sub(rf"\g<scheme> {REDACTED}", "".join(found))


def scrub_values(text: str, values: Iterable[str]) -> str:
    """Hide given values wherever they stand in a text, also as `repr` or JSON would write them."""
    for value in values:
        for written in {value, repr(value)[1:-1]}:
            if written in text:
                text = text.replace(written, REDACTED)
    return text


def _is_sensitive(match: re.Match[str], words: Words) -> bool:
    key, joint = match["key"], match["joint"]
    if words.find(key):
        return not _NO_KEYS & set(split(key)[-1:])  # of "AuthError: ..." the rest is the message
    return joint.strip() == "=" and re.split(r"[ .]", key)[-1].casefold() in _ONLY_BEFORE_EQUALS


def _end_of_value(text: str, start: int) -> int:
    """Return where the value ends that begins at `start`: a quoted text, a bracket, or a word."""
    quoted = _QUOTE.match(text, start)
    if quoted is not None:
        return _end_of_quote(text, quoted.end(), quoted["quote"])
    if text[start : start + 1] in _BRACKETS:
        return _end_of_bracket(text, start)
    plain = _PLAIN.match(text, start)
    return plain.end() if plain is not None else start


def _end_of_quote(text: str, start: int, quote: str) -> int:
    """Return where a quoted text ends; one whose end is missing hides the rest."""
    end = text.find(quote, start)
    while end > 0 and len(quote) == 1 and _is_escaped(text, end):
        end = text.find(quote, end + 1)
    return end + len(quote) if end >= 0 else len(text)


def _is_escaped(text: str, place: int) -> bool:
    before = place
    while text[before - 1 : before] == "\\":
        before -= 1
    return (place - before) % 2 == 1


def _end_of_bracket(text: str, start: int) -> int:
    """Return where a bracket is closed; quotes may hold further ones."""
    open_brackets: list[str] = []
    place = start
    while place < len(text):
        letter = text[place]
        quoted = _QUOTE.match(text, place) if letter in "\"'\\" else None
        if quoted is not None:
            place = _end_of_quote(text, quoted.end(), quoted["quote"])
            continue
        if letter in _BRACKETS:
            open_brackets.append(_BRACKETS[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return place + 1
        place += 1
    return len(text)
