"""The documentation is true: every example runs as it stands, every link leads somewhere.

The `python` blocks of a page are one program and run in order; the examples of docstrings run as doctests.
A block that cannot run here is marked in the page, with the reason: `<!--- skip: next "needs a server" --->`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from unittest import SkipTest

import pytest
from sybil import Example, Sybil
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted((ROOT / "otflow").rglob("*.py"))

FENCE = re.compile(r"^\s*(`{3,}|~{3,})(.*)$")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)|\b(?:href|src)=\"([^\"]+)\"")
ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def run_block(example: Example) -> None:
    """Run one block of a page, so that its tracebacks name the lines of the page."""
    before = "\n" * (example.line + example.parsed.line_offset)
    exec(compile(before + example.parsed, example.path, "exec", dont_inherit=True), example.namespace)


BLOCKS = Sybil(parsers=[CodeBlockParser(language="python", evaluator=run_block), SkipParser()])
DOCTESTS = Sybil(parsers=[DocTestParser()])


def name_of(path: Path) -> str:
    """Name a file as seen from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def having(paths: list[Path], mark: str) -> list[Path]:
    """Keep the files in which examples stand."""
    return [path for path in paths if mark in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", having(PAGES, "```python"), ids=name_of)
def test_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, put into one file, are a program that works in an empty folder."""
    program = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.chdir(tmp_path)
    document = BLOCKS.parse(page)
    document.namespace = vars(program)
    for example in document.examples():
        with suppress(SkipTest):  # what a page marks as not for here
            example.evaluate()


@pytest.mark.parametrize("source", having(SOURCES, ">>> "), ids=name_of)
def test_docstrings_run(source: Path) -> None:
    """The examples of docstrings give what they say."""
    for example in DOCTESTS.parse(source).examples():
        example.evaluate()


def outside_blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Give the numbered lines of a page that are text, without inline code."""
    fence = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        mark = FENCE.match(line)
        if not fence and not mark:
            yield number, re.sub(r"`[^`]*`", "", line)
        elif mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not mark[2].strip():
            fence = ""


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page: its headings as code hosts slug them, and the explicit ones."""
    found: Counter[str] = Counter()
    names = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", page.read_text(encoding="utf-8")))
    blocks = {number for number, _ in outside_blocks(page)}
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        heading = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading and number in blocks:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return names


def broken(page: Path, target: str) -> str:
    """Say what is wrong with a relative link; the empty text if nothing is."""
    name, _, anchor = target.partition("#")
    goal = (page.parent / name).resolve() if name else page
    if name.startswith("/") or not goal.is_relative_to(ROOT):
        return "leads out of the repository"
    if not goal.exists():
        return "no such file"
    if anchor and goal.suffix == ".md" and anchor not in anchors(goal):
        return f"no such heading; there are {sorted(anchors(goal))}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link within the repository names a file that exists, and a heading in it."""
    faults = []
    for number, line in outside_blocks(page):
        for match in LINK.finditer(line):
            target = next(filter(None, match.groups()))
            fault = "" if ABSOLUTE.match(target) else broken(page, target)
            faults += [f"{name_of(page)}:{number} {target}: {fault}"] * bool(fault)
    assert faults == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_skipped_blocks_say_why(page: Path) -> None:
    """A block that does not run has its reason in the page."""
    marks = re.findall(r"<!--.*\bskip:.*", page.read_text(encoding="utf-8"))
    assert [mark for mark in marks if "end" not in mark and not re.search(r'"\w.*"', mark)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_are_called_python(page: Path) -> None:
    """No block of Python escapes the tests by another name."""
    openings = [FENCE.match(line) for line in page.read_text(encoding="utf-8").splitlines()]
    names = {mark[2].strip() for mark in openings if mark}
    assert {name for name in names if re.match(r"\{?py", name, re.IGNORECASE)} <= {"python"}
