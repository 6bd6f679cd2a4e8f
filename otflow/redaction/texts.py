"""Texts: secrets in messages and stacks, which have no structure but what people write: `password=...`, `token: ...`.

Whole texts are kept as far as possible, because somebody has to understand the error. What stands in them may come
from anyone, so everything here takes time in proportion to their length: no pattern gives back what it took
(`*+`, `++`), and nothing is looked at again that was looked at to its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from otflow.records.body import REDACTED
from otflow.redaction.words import Words, split

__all__ = ["KEPT", "MIN_LENGTH", "scrub", "scrub_ends", "scrub_values"]

MIN_LENGTH = 8
"""Characters of a hidden text that is looked for in other texts; shorter ones would be found by chance."""

KEPT = 32 * 1024
"""Characters that are kept of the beginning of a long text, and as many of its end."""

_MARGIN = 4096  # characters beyond what is kept: so long may a secret be that is cut, and it still does not show

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINES = re.compile(r"(?:(?:\s|\\[nr])*+(?:[A-Za-z0-9+/=]{16,}+|(?:Proc-Type|DEK-Info): [^\r\n\\]*+))*+")
_DIGEST = re.compile(
    r"\b(?P<scheme>digest)[ \t]++(?P<said>(?:[\w\-]++=(?:\\*+\"[^\"\n]*+\"|[^\s,\"]*+)(?:,[ \t]*+)?+)++)", re.IGNORECASE
)
_LOGIN = re.compile(r"(?P<start>(?<=[a-z0-9+.\-]):(?:\\?/){2})[^\s/\"']+@", re.IGNORECASE)
_PAIR = re.compile(r"\([bBuU]?(?P<quote>\\*+[\"'])(?P<key>[\w.\- ]++)(?P=quote),[ \t]*+")
_PAIR_END = re.compile(r"[ \t]*+,?+[ \t]*+\)")
_FLAG = re.compile(r"(?<![\w\-])--?(?P<key>[^\W\d][\w.\-]*+)(?P<joint>[ \t]++|\\*+[\"'],\s*+)")
# up to three words, as in "API key provided: ..."
_KEY = re.compile(
    r"(?<![\w.\-])(?P<before>[\d.\-]*+)(?P<key>(?:[^\W\d][\w.\-]*+ ){0,2}[^\W\d][\w.\-]*+)(?:\\*+[\"']?+\]?+)"
    r"(?P<joint>[ \t]*+(?:=>|:=|=(?!=)|:(?!:))[ \t]*+)"
)
_COOKIE = re.compile(r"[^\s=;,\"']++=")
_WHOLE_LOGIN = re.compile(r"(?:bearer|basic|token)[ \t]++[^\s,;]", re.IGNORECASE)
_LINES = {  # by the quote in which they stand; a line may also end as `repr` writes it
    "": re.compile(r"(?:[^\r\n\\]++|\\(?![rn]))*+"),
    "'": re.compile(r"(?:[^\r\n\\']++|\\(?![rn])[^\r\n]?+)*+"),
    '"': re.compile(r"(?:[^\r\n\\\"]++|\\(?![rn])[^\r\n]?+)*+"),
}
_SCHEME = re.compile(r"\b(?P<scheme>bearer|basic)[ \t]++(?P<value>[\w.~+/=\-]{6,}+)", re.IGNORECASE)
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(?P<quote>\\*+[\"'])")
_IN_BRACKETS = re.compile(r"(?P<quote>\\*+[\"'])|\\++|[()\[\]{}]")
_PLAIN = re.compile(r"(?:(?:bearer|basic|digest|token)[ \t]++)?[^\s,;&)\]}\"']+", re.IGNORECASE)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_NO_KEYS = {"error", "exception", "warning"}
_ONLY_BEFORE_EQUALS = {"token", "sig", "signature"}  # "?token=..." is a secret, "Unexpected token: <" is none
_COOKIES = {"cookie", "set-cookie"}
_LOGINS = {"authorization", "proxy-authorization"}
_NO_VALUES = {"", *" \t\r\n-,;:+()[]{}<>"}
# what follows the name of an option where somebody writes about it
_ABOUT_OPTIONS = {
    *("and", "are", "argument", "as", "at", "be", "but", "can", "cannot", "does", "flag", "for", "from", "has", "if"),
    *("in", "instead", "is", "it", "must", "needs", "nor", "not", "on", "option", "options", "or", "parameter"),
    *(
        "requires",
        "set",
        "should",
        "than",
        "that",
        "the",
        "then",
        "to",
        "together",
        "use",
        "via",
        "was",
        "were",
        "when",
    ),
    *("which", "while", "with", "without", "string", "text", "value"),
}


def scrub(text: str, words: Words) -> str:
    """Hide secrets in a text, and leave all else as it is.

    They are: what stands behind sensitive keys, the headers of logins and cookies, logins in addresses, private keys in
    PEM, and values that pydantic quotes.

    Args:
        text: a message or a stack.
        words: which keys are sensitive.
    """
    if "PRIVATE KEY" in text:
        text = _hide_private_keys(text)
    if "input_value=" in text:
        text = _hide_inputs(text)
    text = _DIGEST.sub(_tell_digest, text)
    if "@" in text:
        text = _LOGIN.sub(rf"\g<start>{REDACTED}@", text)
    text = _hide(text, _PAIR, lambda match: _end_of_pair(match, words))
    text = _hide(text, _FLAG, lambda match: _end_of_argument(match, words))
    text = _hide(text, _KEY, lambda match: _end_of_keyed(match, words))
    return _SCHEME.sub(rf"\g<scheme> {REDACTED}", text)


def scrub_ends(text: str, scrub: Callable[[str], str]) -> str:
    """Scrub a text; of a long one only the beginning and the end, and say how much is left out between them.

    Args:
        text: a message or a stack.
        scrub: hides what is secret in a text.
    """
    if len(text) <= 2 * KEPT:
        return scrub(text)
    # where a text is cut, half a secret may stand that is not known as one: that part is looked at and not told
    head = scrub(text[: KEPT + _MARGIN])[:-_MARGIN]
    tail = scrub(text[-KEPT - _MARGIN :])[_MARGIN:]
    return f"{head}[... {len(text) - 2 * KEPT} characters are left out ...]{tail}"


def scrub_values(text: str, values: Iterable[str]) -> str:
    """Hide given values wherever they stand in a text, also as `repr` or JSON would write them."""
    for value in values:
        for written in {value, repr(value)[1:-1]}:
            if written in text:
                text = text.replace(written, REDACTED)
    return text


def _hide(text: str, pattern: re.Pattern[str], find_end: Callable[[re.Match[str]], int]) -> str:
    """Hide what stands behind each match, up to where `find_end` says."""
    done, found = 0, list[str]()
    while (match := pattern.search(text, done)) is not None:
        start, end = match.end(), find_end(match)
        found.append(text[done:start])
        if end > start:
            found.append(REDACTED)
        done = max(start, end)
    return "".join(found) + text[done:] if found else text


def _hide_private_keys(text: str) -> str:
    is_closed = True

    def find_end(match: re.Match[str]) -> int:
        nonlocal is_closed
        close = text.find("-----END", match.end()) if is_closed else -1
        is_closed = close >= 0  # if not, it is not looked for again
        if is_closed:
            return close
        lines = _KEY_LINES.match(text, match.end())
        return lines.end() if lines is not None else match.end()

    return _hide(text, _PRIVATE_KEY, find_end)


def _hide_inputs(text: str) -> str:
    """Hide what pydantic quotes, as it words it: `input_value=..., input_type=`."""
    mark, close = "input_value=", ", input_type="
    done, found = 0, list[str]()
    while (start := text.find(mark, done)) >= 0:
        end = text.find(close, start + len(mark))
        if end < 0:
            break
        found += [text[done:start], mark, REDACTED]
        done = end
    return "".join(found) + text[done:]


def _tell_digest(match: re.Match[str]) -> str:
    is_login = "response=" in match["said"] or "username=" in match["said"]
    return f"{match['scheme']} {REDACTED}" if is_login else match[0]


def _end_of_pair(match: re.Match[str], words: Words) -> int:
    """Return where the value ends in `('password', 'hunter2')`, a tuple of just two."""
    text, start = match.string, match.end()
    if _QUOTE.match(text, start) is None or not words.find(match["key"]):
        return start
    end = _end_of_value(text, start)
    return end if end == len(text) or _PAIR_END.match(text, end) is not None else start


def _end_of_argument(match: re.Match[str], words: Words) -> int:
    """Return where the value ends in `--password hunter2`, and in `'--password', 'hunter2'`."""
    text, start, key = match.string, match.end(), match["key"]
    if not words.find(key):
        return start
    quoted = _QUOTE.match(text, start)
    if quoted is not None:  # what does not look like a value: the next option, or the end of a text
        no_value = text[quoted.end() : quoted.end() + 1] in _NO_VALUES
        return start if no_value else _end_of_value(text, start)
    if not match["joint"].isspace() or text[start : start + 1] in _NO_VALUES:
        return start
    end = _end_of_value(text, start)
    word = text[start:end].rstrip(".:!?").casefold()
    # a sample is "[--password PASSWORD]"
    return start if word in _ABOUT_OPTIONS or split(word) == split(key) else end


def _end_of_keyed(match: re.Match[str], words: Words) -> int:
    """Return where the value ends that stands behind a key."""
    text, start = match.string, match.end()
    if not _is_sensitive(match, words):
        return start
    is_option = match["before"].endswith("-")
    if is_option and match["joint"] in {": ", ":\t"}:  # "argument --password: expected one argument"
        return start
    if _QUOTE.match(text, start) is None and (_is_header(match) or (is_option and _quote_before(match))):
        line = _LINES[_quote_before(match)].match(text, start)
        return line.end() if line is not None else start
    return _end_of_value(text, start)


def _is_sensitive(match: re.Match[str], words: Words) -> bool:
    key, joint = match["key"], match["joint"]
    if words.find(key):
        return not _NO_KEYS & set(split(key)[-1:])  # of "AuthError: ..." the rest is the message
    return joint.strip() == "=" and re.split(r"[ .]", key)[-1].casefold() in _ONLY_BEFORE_EQUALS


def _is_header(match: re.Match[str]) -> bool:
    """Tell whether a key is the name of a header that hides the rest of its line: one of a login, or of cookies."""
    text, start, name = match.string, match.end(), match["key"].rpartition(" ")[2].casefold()
    if (
        match.end("key") != match.start("joint")
        or match["joint"].strip() != ":"
        or text[start : start + 1] in _BRACKETS
    ):
        return False
    if name in _COOKIES:
        return _COOKIE.match(text, start) is not None
    return name in _LOGINS and _WHOLE_LOGIN.match(text, start) is None


def _quote_before(match: re.Match[str]) -> str:
    """Return the quote with which a text begins in which a key comes first, or ""."""
    before = match.string[match.start() - 1 : match.start()]
    return before if before in _LINES else ""


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
    while (match := _IN_BRACKETS.search(text, place)) is not None:
        place = match.end()
        letter = match[0]
        if match["quote"]:
            place = _end_of_quote(text, place, letter)
        elif letter in _BRACKETS:
            open_brackets.append(_BRACKETS[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
            if not open_brackets:
                return place
    return len(text)
