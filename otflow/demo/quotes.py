"""Quotes: the sentences of passages that say most about a question, word for word, each with its lines.

A quote keeps the fragments of the very lines that it stands in, so that anyone can check it with an editor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from otflow.demo.index import MARK_END, MARK_START, Hit

__all__ = ["Quote", "choose_quotes", "weigh_words"]

_SHORTEST, _LONGEST = 25, 420  # characters of a sentence that is worth quoting
_ENOUGH = 0.5  # of the weight of all words has to be covered, or there is no answer
_MANY = 3
_NEAR_BEST = 0.4  # of the best score is what a further quote needs
_REPEATED = 0.6  # is what a word counts that an earlier quote has
_LATER = 0.1  # is how much less a passage counts than the one before it

_MARKED = re.compile(f"{MARK_START}([^{MARK_END}]*){MARK_END}")
_LEAD = re.compile(r"\s*(?:(?:[-*+#>]+|\d+[.)]|#:|//+)\s+|[a-zA-Z]{0,2}\"{3})*\s*")
_TAIL = re.compile(r"(?:\s|\"{3})*$")
_END = re.compile(r"(?<=[.!?])[)\"'`*]*\s+(?=[\"'`(*\[]|[A-Z0-9])")
_ITEM = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s|[\w`*]+(?:, [\w`*]+)*: \S)")
_NO_PROSE = re.compile(r"\s*(?:#{1,6} \S+( \S+){0,9}$|\||>>>|\.\.\. |[-=~*_]{3,}\s*$|<!--|\w+:\s*$)")


class Quote(BaseModel):
    """A sentence as it stands in a file.

    Args:
        path: the file.
        first: the number of its first line, from 1.
        fragments: its part of that line and of each one that follows.
    """

    path: str
    first: int
    fragments: list[str]

    @property
    def last(self) -> int:
        """The number of its last line."""
        return self.first + len(self.fragments) - 1

    @property
    def text(self) -> str:
        """The sentence on one line."""
        return " ".join(self.fragments)

    @property
    def place(self) -> str:
        """The file and its lines, as editors understand it."""
        return f"{self.path}:{self.first}" + (f"-{self.last}" if len(self.fragments) > 1 else "")


def weigh_words(counts: Mapping[str, int], total: int) -> Mapping[str, float]:
    """Say how telling each word is: the rarer, the more; one that stands nowhere is as telling as the rarest.

    Args:
        counts: in how many passages each word stands.
        total: how many passages there are.
    """
    rarest = min((number for number in counts.values() if number), default=total)
    return {word: math.log(1 + (total + 1) / ((number or rarest) + 0.5)) for word, number in counts.items()}


def choose_quotes(hits: Sequence[Hit], weights: Mapping[str, float]) -> list[Quote]:
    """Choose the sentences that together say most about the words; none if they say too little.

    Args:
        hits: passages, the best first, with the words marked.
        weights: how telling each word is.
    """
    ranked = []
    for rank, hit in enumerate(hits):
        for quote, found in _sentences(hit):
            words = {_stem_of(word, weights) for word in found}
            ranked.append((quote, words, 1 / (1 + _LATER * rank)))
    chosen: list[Quote] = []
    covered: set[str] = set()
    best = 0.0
    while ranked and len(chosen) < _MANY:
        scores = [
            rank * sum(weights[word] * (_REPEATED if word in covered else 1) for word in words)
            for _, words, rank in ranked
        ]
        top = max(scores)
        if top < _NEAR_BEST * best:
            break
        quote, words, _ = ranked.pop(scores.index(top))
        best = max(best, top)
        if all(quote.text != other.text for other in chosen):
            chosen.append(quote)
            covered |= words
    return chosen if sum(weights[word] for word in covered) > _ENOUGH * sum(weights.values()) else []


def _stem_of(marked: str, words: Iterable[str]) -> str:
    """Tell which of the words a marked one is a form of: the one with the longest beginning in common."""
    lower = marked.lower()

    def common(word: str) -> int:
        return next(
            (n for n, (a, b) in enumerate(zip(lower, word, strict=False)) if a != b), min(len(lower), len(word))
        )

    return max(words, key=common, default="")


def _sentences(hit: Hit) -> Iterator[tuple[Quote, list[str]]]:
    """Give the sentences of a passage that are worth quoting, with the marked words in each."""
    for first, lines in _blocks(hit):
        text = "\n".join(lines)
        start = 0
        for end in [*(match.start() for match in _END.finditer(text)), len(text)]:
            begin = start + len(text[start:end]) - len(text[start:end].lstrip())
            fragments = [_strip(line) for line in text[begin:end].split("\n")]
            number = first + text.count("\n", 0, begin)
            found = [word for fragment in fragments for word in _MARKED.findall(fragment)]
            quote = Quote(path=hit.path, first=number, fragments=[_MARKED.sub(r"\1", each) for each in fragments])
            if found and _SHORTEST <= len(quote.text) <= _LONGEST and all(quote.fragments):
                yield quote, found
            start = end


def _strip(line: str) -> str:
    """Take away what stands around the text of a line: blanks, quotes, and the signs of items and comments."""
    return _TAIL.sub("", _LEAD.sub("", line, count=1))


def _blocks(hit: Hit) -> Iterator[tuple[int, list[str]]]:
    """Give the paragraphs and items of a passage with the number of their first line; headings and tables are none."""
    block: list[str] = []
    for number, line in enumerate([*hit.text.split("\n"), ""], start=hit.first):
        bare = _MARKED.sub(r"\1", line)
        ends = not bare.strip() or _NO_PROSE.match(bare) is not None
        if block and (ends or _ITEM.match(bare)):
            yield number - len(block), block
            block = []
        if not ends:
            block.append(line)
