"""What the demo reads, finds and quotes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.demo.corpus import Corpus, NothingToReadError, choose_corpus, cut_passages, find_files, read_lines
from otflow.demo.index import MARK_END, MARK_START, Hit, Index, is_locked, pick_words, word_query
from otflow.demo.quotes import choose_quotes, weigh_words

WORDS = [
    "trace",
    "record",
    "run",
    "step",
    "Every",
    "the",
    "holds",
    "it.",
    "retry,",
    "wait!",
    "* item",
    "# head",
    "```",
    "",
]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=50)


def fill(path: Path, *texts: list[str]) -> Index:
    """Make an index of texts."""
    index = Index(path)
    index.begin()
    for number, lines in enumerate(texts):
        index.add(f"{number}.txt", cut_passages(lines))
    index.commit()
    return index


# --- files --------------------------------------------------------------------------------------------------


def test_files_are_found(tmp_path):
    """Files are found in the order of their names, without hidden ones and installed packages."""
    for name in ("b.txt", "a/z.md", "a/.hidden", ".git/config", "node_modules/x.js", "a/b/c.rst"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    corpus = Corpus("", (tmp_path,), str(tmp_path))
    names = [corpus.name(path) for path in find_files(corpus)]
    assert names == ["b.txt", "a/z.md", "a/b/c.rst"]
    assert [corpus.locate(name).exists() for name in names] == [True] * 3


def test_the_documentation_is_the_default(tmp_path):
    """Without a folder the documentation of a checkout is read, and the package where there is none."""
    package = tmp_path / "otflow"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").touch()
    assert choose_corpus(None, package).places == (package,)  # somebody else's docs beside an installed package
    (tmp_path / "pyproject.toml").touch()
    assert choose_corpus(None, package).places == (tmp_path / "docs",)
    (tmp_path / "README.md").touch()
    assert choose_corpus(None, package).places == (tmp_path / "README.md", tmp_path / "docs")
    (tmp_path / "README.md").unlink()
    (tmp_path / "docs" / "page.md").unlink()
    assert choose_corpus(None, package).places == (package,)


def test_folders_are_checked(tmp_path):
    """A folder that is missing, is none or is empty is refused with what to do about it."""
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    for folder, reason in (("missing", "does not exist"), ("file", "is not a folder"), ("empty", "holds no file")):
        with pytest.raises(NothingToReadError, match=f"{folder} {reason}.*: name "):
            choose_corpus(tmp_path / folder, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_forbidden_folders(tmp_path):
    """A folder that may not be listed is refused."""
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(NothingToReadError, match="cannot be listed"):
        choose_corpus(tmp_path / "shut", tmp_path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\0b", "not text"),
        (b"\xff\xfe\xfa", "not text in UTF-8"),
        (b"x" * 1_000_001, "larger than a megabyte"),
    ],
)
def test_what_is_no_text(tmp_path, data, reason):
    """Binary, foreign and huge files are refused with the reason."""
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^{reason}$"):
        read_lines(path)


def test_what_is_no_file(tmp_path):
    """A dangling link and a pipe are refused; nobody waits for the pipe."""
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_lines(tmp_path / "link")
    with pytest.raises(OSError, match="not a regular file"):
        read_lines(tmp_path / "pipe")


def test_lines_are_those_of_editors(tmp_path):
    """Lines end as editors see it, whatever system a file is from; a byte order mark is no text."""
    path = tmp_path / "file"
    path.write_bytes("\ufeffone\r\ntwo\rthree\n\nfi\u2028ve\x0c".encode())
    assert read_lines(path) == ["one", "two", "three", "", "fi\u2028ve\x0c"]


def test_code_is_left_out(tmp_path):
    """Of Python only docstrings and comments are kept, of Markdown all but code blocks; lines keep their numbers."""
    path = tmp_path / "code.py"
    path.write_text(
        '"""Says\nwhat."""\nx = """no"""  # nor this\n\ndef f():\n    "Doc."\n    # why\n    return {"a": "b"}\n'
    )
    assert read_lines(path) == ['"""Says', 'what."""', "", "", "", '    "Doc."', "    # why", "", ""]
    path.write_text('"""Broken\n')
    assert read_lines(path) == ['"""Broken', ""]
    path = tmp_path / "page.md"
    path.write_text("a\n```python\nb\n~~~\n````\nc\n  ~~~~\nd\n~~~\ne\n~~~~~\nf")
    assert read_lines(path) == ["a", "", "", "", "", "c", "", "", "", "", "", "f"]


@given(TEXTS)
def test_passages_hold_every_line(lines):
    """Each line that is not blank is in exactly one passage, under its own number."""
    found = [
        (passage.first + place, line) for passage in cut_passages(lines) for place, line in enumerate(passage.lines)
    ]
    written = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    assert [(number, line) for number, line in found if line.strip()] == written
    assert all(len(passage.lines) <= 30 for passage in cut_passages(lines))


# --- the index ----------------------------------------------------------------------------------------------


def test_nobody_reads_while_the_index_is_written(tmp_path):
    """While the index is written, SQLite says at once that it is locked; afterwards it does not."""
    index = Index(tmp_path / "index.db")
    index.begin()
    index.add("a.txt", cut_passages(["a trace of a run"]))
    with pytest.raises(sqlite3.OperationalError, match=r"^database is locked$") as caught:
        index.search(["trace"], "all", 5)
    assert is_locked(caught.value)
    with index._open() as reader:
        assert reader.execute("PRAGMA busy_timeout").fetchone() == (0,)
    index.commit()
    assert index.search(["traces"], "all", 5) == [Hit("a.txt", 1, f"a {MARK_START}trace{MARK_END} of a run")]
    index.close()
    index.close()


def test_other_errors_are_not_worth_a_retry(tmp_path):
    """Only a locked database is: not a missing one, and no error of another kind."""
    with pytest.raises(sqlite3.OperationalError) as caught:
        Index(tmp_path / "missing.db").search(["trace"], "all", 5)
    assert not is_locked(caught.value)
    assert not is_locked(ValueError("database is locked"))


@given(
    st.lists(TEXTS, min_size=1, max_size=3),
    st.lists(st.sampled_from(["trace", "run", "step_record", "it"]), min_size=1),
)
def test_less_strict_finds_more(tmp_path_factory, texts, words):
    """What is found strictly is found less strictly too."""
    with closing(fill(tmp_path_factory.mktemp("index") / "index.db", *texts)) as index:
        near, every, some = (
            {(hit.path, hit.first) for hit in index.search(words, reach, 1000)} for reach in ("near", "all", "any")
        )
    assert near <= every <= some


def test_queries():
    """Words of a question that say nothing are left out, unless there are no others; quotes cannot be closed."""
    assert pick_words("What does the Trace hold, the send_event?") == ["trace", "hold", "send_event"]
    assert pick_words("What is it?") == ["what", "is", "it"]
    assert pick_words('?! " --') == []
    assert word_query(["a", "b"], "near") == 'NEAR("a" "b", 12)'
    assert (word_query(["a"], "near"), word_query(["a", "b"], "any")) == ('"a"', '"a" OR "b"')


# --- quotes -------------------------------------------------------------------------------------------------


@given(TEXTS, st.lists(st.sampled_from(["trace", "run", "record", "Every"]), min_size=1, unique=True))
def test_quotes_stand_where_they_say(tmp_path_factory, lines, words):
    """Each fragment of a quote stands, letter for letter, in the line of the file that it names."""
    with closing(fill(tmp_path_factory.mktemp("index") / "index.db", lines)) as index:
        counts, total = index.count(words)
        quotes = choose_quotes(index.search(words, "any", 8), weigh_words(counts, total))
    for quote in quotes:
        for number, fragment in enumerate(quote.fragments, start=quote.first):
            assert fragment
            assert fragment in lines[number - 1]


def ask(tmp_path: Path, question: str, *texts: str) -> list[str]:
    """Quote from texts."""
    words = pick_words(question)
    with closing(fill(tmp_path / "index.db", *[text.split("\n") for text in texts])) as index:
        counts, total = index.count(words)
        quotes = choose_quotes(index.search(words, "any", 8), weigh_words(counts, total))
    return [f"{quote.place} {quote.text}" for quote in quotes]


def test_sentences_are_quoted(tmp_path):
    """A sentence is quoted from its first word to its full stop, over as many lines as it takes."""
    text = '# Tracing\n\n"""First words. A trace that\nholds the `run` (all of it). More words here."""\n'
    assert ask(tmp_path, "What holds a trace of a run?", text) == [
        "0.txt:3-4 A trace that holds the `run` (all of it)."
    ]


def test_items_are_quoted_without_their_signs(tmp_path):
    """Items and comments are quoted without what stands before them; headings, tables and prompts are not quoted."""
    text = (
        "## Where traces of runs are\n| a trace of a run in a table |\n>>> trace(run)\n"
        "* nothing in particular, really\n- a trace of each run is kept,\n  and is kept here\nArgs:\n"
        "  name: the name of the trace of a run.\n"
    )
    assert ask(tmp_path, "trace of a run", text) == [
        "0.txt:5-6 a trace of each run is kept, and is kept here",
        "0.txt:8 name: the name of the trace of a run.",
    ]


def test_too_little_is_no_answer(tmp_path):
    """Sentences that hold less than half of what was asked are no answer; words that nobody has weigh little."""
    text = "This sentence is about the capital of a company.\n\nThat sentence is about a company and its traces."
    assert ask(tmp_path, "capital france paris", text) == []
    (tmp_path / "index.db").unlink()
    assert ask(tmp_path, "capital of the company in France", text) == [
        "0.txt:1 This sentence is about the capital of a company."
    ]


def test_no_sentence_is_quoted_twice(tmp_path):
    """The same sentence in several files is quoted once."""
    text = "A trace holds the whole run, always."
    assert ask(tmp_path, "trace run", text, text) == [f"0.txt:1 {text}"]
