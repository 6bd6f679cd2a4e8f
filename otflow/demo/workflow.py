"""The workflow of the demo: many hands read and index files while the questions already look for answers.

    Begin -> scan -> File, ... -> read -> Lines -> build
    Begin -> ask -> Query -> search -> Evidence -> judge -> Query, less strict | Quotes
    Quotes -> word -> Answer -> finish -> Report

Nothing tells the searches that the index is ready. While it is written SQLite refuses them with "database is locked",
as it does with any two programs that share a file: a real failure, which happens each time. The retry policy of
`search` is all that deals with it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from pydantic import BaseModel

from otflow.context import Context
from otflow.decorators import step
from otflow.demo.corpus import MAX_FILES, Corpus, NothingToReadError, cut_passages, find_files, read_lines
from otflow.demo.index import REACHES, Hit, Index, is_locked, pick_words
from otflow.demo.quotes import Quote, choose_quotes, weigh_words
from otflow.demo.wording import Endpoint, WordingError, put_into_words
from otflow.events import Event, StartEvent, StopEvent
from otflow.retry_policy import retry_if_exception, retry_policy, stop_after_delay, wait_exponential
from otflow.workflow import Workflow

__all__ = ["Answer", "AskFiles", "Begin", "Note", "Progress", "Report"]

_HITS = 8  # passages that a search gives
_ENOUGH_HITS, _ENOUGH_QUOTES = 3, 2  # with fewer, the words are looked for less strictly
_TIMEOUT = 300.0  # seconds
_ORDER = tuple(REACHES)


class Begin(StartEvent):
    """The questions."""

    questions: list[str]


class File(Event):
    """A file is to be read; `total` is how many there are."""

    path: str
    number: int
    total: int


class Lines(Event):
    """A file was read, or left out for a reason."""

    path: str
    lines: int = 0
    passages: int = 0
    skipped: str = ""
    total: int


class Query(Event):
    """Words to look for, and how strictly; `number` is the place of the question among all, from 1."""

    reach: str
    question: str
    number: int
    words: list[str]


class Evidence(Event):
    """What was found."""

    query: Query
    hits: list[Hit]


class Quotes(Event):
    """The sentences that an answer is made of; none if there is no answer. `unknown` are words that no file has."""

    question: str
    number: int
    quotes: list[Quote]
    unknown: list[str]


class Answer(Event):
    """An answer: the quotes, and possibly words of a language model that cite them.

    `failed` is why there are none, although an endpoint was asked.
    """

    question: str
    number: int
    quotes: list[Quote]
    unknown: list[str]
    words: str = ""
    failed: str = ""


class Report(StopEvent):
    """The answers, in the order of the questions."""

    answers: list[Answer]


class Note(Event):
    """A sentence about what a step just did, for the stream; `mood` is "good", "bad" or "" ."""

    step: str
    text: str
    mood: str = ""


class Progress(Event):
    """A file was read, for the stream."""

    path: str
    total: int


class Tally(BaseModel):
    """The state of a run: how far each stage has come; `rounds` holds the last search for each question."""

    files: int = 0
    passages: int = 0
    questions: int = 0
    rounds: dict[str, str] = {}
    answered: int = 0


class AskFiles(Workflow):
    """Answers questions from text files, with quotations.

    Args:
        corpus: the files.
        index: where they are indexed; it must not have been begun.
        endpoint: who puts the answers into words; None leaves them as quotations.
    """

    def __init__(self, corpus: Corpus, index: Index, endpoint: Endpoint | None = None) -> None:
        super().__init__(timeout=_TIMEOUT)
        self._corpus = corpus
        self._index = index
        self._endpoint = endpoint

    @step
    async def scan(self, ctx: Context[Tally], ev: Begin) -> File | None:
        """Find the files, begin the index, and hand each file to a reader."""
        found = list(islice(find_files(self._corpus), MAX_FILES + 1))
        files = found[:MAX_FILES]
        self._index.begin()
        await ctx.store.set("files", len(files))
        text = f"found {_count(len(files), 'file')}; up to four are read at once"
        if len(found) > len(files):
            text = f"found more than {MAX_FILES:,} files; the first {MAX_FILES:,} are read"
        ctx.write_event_to_stream(Note(step="scan", text=text, mood="good"))
        for number, path in enumerate(files, start=1):
            ctx.send_event(File(path=self._corpus.name(path), number=number, total=len(files)))
        return None

    @step(num_workers=4)
    def read(self, ctx: Context[Tally], ev: File) -> Lines:
        """Read one file into the index, in a thread; what is no text is left out."""
        skipped = ""
        lines: Sequence[str] = ()
        try:
            lines = read_lines(self._corpus.locate(ev.path))
        except OSError as error:
            skipped = error.strerror or str(error)
        except ValueError as error:
            skipped = str(error)
        passages = self._index.add(ev.path, cut_passages(lines))
        ctx.write_event_to_stream(Progress(path=ev.path, total=ev.total))
        return Lines(path=ev.path, lines=len(lines), passages=passages, skipped=skipped, total=ev.total)

    @step
    async def build(self, ctx: Context[Tally], ev: Lines) -> None:
        """When every file has been read, complete the index, so that it can be searched."""
        every = ctx.collect_events(ev, [Lines] * ev.total)
        if every is None:
            return
        files = [each for each in every if isinstance(each, Lines)]
        skipped = [each for each in files if each.skipped]
        passages = sum(each.passages for each in files)
        if not passages:
            raise NothingToReadError(_say_why_empty(self._corpus, files))
        self._index.commit()
        await ctx.store.set("passages", passages)
        text = f"indexed {_count(passages, 'passage')} of {_count(len(files) - len(skipped), 'file')}"
        if skipped:
            text += f"; left out {_list_skipped(skipped)}"
        ctx.write_event_to_stream(Note(step="build", text=text, mood="good"))

    @step
    async def ask(self, ctx: Context[Tally], ev: Begin) -> Query | None:
        """Send the words of each question on, at once: nobody waits for the index."""
        await ctx.store.set("questions", len(ev.questions))
        for number, question in enumerate(ev.questions, start=1):
            ctx.send_event(Query(reach=_ORDER[0], question=question, number=number, words=pick_words(question)))
        return None

    @step(
        retry_policy=retry_policy(
            retry_if_exception(is_locked),
            wait=wait_exponential(multiplier=0.05, max=1.0),
            stop=stop_after_delay(_TIMEOUT),
        )
    )
    async def search(self, ctx: Context[Tally], ev: Query) -> Evidence:
        """Look for passages; fails for as long as the index is being written."""
        try:
            hits = self._index.search(ev.words, ev.reach, _HITS)
        except sqlite3.OperationalError as error:
            if is_locked(error) and ctx.attempt == 1:
                text = f"failed: {error}. The index is still being written; the retry policy asks again"
                text = f"{await _about(ctx, ev)}{text}"
                ctx.write_event_to_stream(Note(step="search", text=text, mood="bad"))
            raise
        if ctx.attempt > 1:
            text = f"{await _about(ctx, ev)}attempt {ctx.attempt} got in: the index is complete"
            ctx.write_event_to_stream(Note(step="search", text=text, mood="good"))
        return Evidence(query=ev, hits=hits)

    @step
    async def judge(self, ctx: Context[Tally], ev: Evidence) -> Query | Quotes:
        """Choose sentences; if they are too few, have the words looked for less strictly."""
        query, hits = ev.query, ev.hits
        counts, total = self._index.count(query.words)
        quotes = choose_quotes(hits, weigh_words(counts, total))
        await ctx.store.set(f"rounds.{query.number}", query.reach)
        enough = len(hits) >= _ENOUGH_HITS and len(quotes) >= _ENOUGH_QUOTES
        found = f"{await _about(ctx, query)}{REACHES[query.reach]}: {_count(len(hits), 'passage')}"
        if enough or query.reach == _ORDER[-1]:
            verdict = "enough" if enough else "all there is" if quotes else "no answer in them"
            ctx.write_event_to_stream(Note(step="judge", text=f"{found}, {verdict}", mood="good" if quotes else ""))
            unknown = [word for word, number in counts.items() if not number]
            return Quotes(question=query.question, number=query.number, quotes=quotes, unknown=unknown)
        ctx.write_event_to_stream(Note(step="judge", text=f"{found}, too few: look less strictly"))
        reach = _ORDER[_ORDER.index(query.reach) + 1]
        return Query(reach=reach, question=query.question, number=query.number, words=query.words)

    @step
    def word(self, ctx: Context[Tally], ev: Quotes) -> Answer:
        """Have the quotes put into words, if there is an endpoint; without it they are the answer."""
        answer = Answer(question=ev.question, number=ev.number, quotes=ev.quotes, unknown=ev.unknown)
        if self._endpoint is None or not ev.quotes:
            return answer
        text = f"asking {self._endpoint.model} at {self._endpoint.host} to put the quotations into words"
        ctx.write_event_to_stream(Note(step="word", text=text))
        try:
            answer.words = put_into_words(self._endpoint, ev.question, ev.quotes)
        except WordingError as error:
            answer.failed = str(error)
            text = f"{error}; the quotations are the answer"
            ctx.write_event_to_stream(Note(step="word", text=text, mood="bad"))
        else:
            text = f"{self._endpoint.model} at {self._endpoint.host} did"
            ctx.write_event_to_stream(Note(step="word", text=text, mood="good"))
        return answer

    @step
    async def finish(self, ctx: Context[Tally], ev: Answer) -> Report | None:
        """When every question is answered, end."""
        total = await ctx.store.get("questions")
        every = ctx.collect_events(ev, [Answer] * total)
        if every is None:
            return None
        answers = sorted((each for each in every if isinstance(each, Answer)), key=lambda each: each.number)
        await ctx.store.set("answered", sum(bool(each.quotes) for each in answers))
        return Report(answers=answers)


async def _about(ctx: Context[Tally], query: Query) -> str:
    """Name the question, if there are several."""
    return f"question {query.number}: " if await ctx.store.get("questions") > 1 else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _list_skipped(skipped: Sequence[Lines]) -> str:
    reasons = Counter(each.skipped for each in skipped)
    return ", ".join(f"{_count(number, 'file')} ({reason})" for reason, number in sorted(reasons.items()))


def _say_why_empty(corpus: Corpus, files: Sequence[Lines]) -> str:
    skipped = [each for each in files if each.skipped]
    empty = len(files) - len(skipped)
    reasons = [_list_skipped(skipped)] if skipped else []
    reasons += [f"{_count(empty, 'empty file')}"] if empty else []
    return (
        f"There is no text in {corpus.title}, only {', '.join(reasons)}. Name a folder with text files: --path FOLDER."
    )
