"""The causal tree of a run as text.

`OTFLOW_REWRITE=1 python -m pytest tests/drawing` writes the golden files anew; review the difference.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.figure import lay_out
from otflow.drawing.line import ASCII, UNICODE, Line, measure_line, plain
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.history import Run, read_runs
from tests.drawing.runs import RUNS
from tests.laws.strategies import restored_histories

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
HEAD = re.compile(r"[▸>] .* #(\d+)(?: |$)")


@cache
def history(name: str) -> Run:
    """Make a run and read its history."""
    (run,) = read_runs(RUNS[name]())
    return run


def draw(run: Run, width: int, signs=UNICODE) -> list[Line]:
    """Draw a run and its summary."""
    return [*draw_run(run, width=width, signs=signs), (), *draw_summary(run, width=width, signs=signs)]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", RUNS)
def test_golden(name, width):
    """A run is drawn as it stands in its file."""
    drawn = "".join(f"{plain(line)}\n" for line in draw(history(name), width))
    path = GOLDEN / f"{name}-{width}.txt"
    if REWRITE:
        path.write_text(drawn, encoding="utf-8")
    assert drawn == path.read_text(encoding="utf-8")


def test_golden_ascii():
    """Without Unicode the same tree stands there in ASCII."""
    drawn = "".join(f"{plain(line)}\n" for line in draw(history("trip"), 80, ASCII))
    path = GOLDEN / "trip-ascii.txt"
    if REWRITE:
        path.write_text(drawn, encoding="ascii")
    assert drawn == path.read_text(encoding="ascii")


@given(restored_histories(inputs=30), st.integers(40, 120), st.sampled_from([ASCII, UNICODE]), st.data())
def test_any_history_can_be_drawn(records, width, signs, data):
    """Of whatever records are left: no line is too wide, nothing can harm a terminal, no invocation stands twice."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (run,) = read_runs(kept)
    lines = draw(run, width, signs)
    assert [line for line in lines if measure_line(line) > width] == []
    text = "\n".join(plain(line) for line in lines)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.isascii() or signs is UNICODE
    heads = [int(id) for line in lines if (match := HEAD.search(plain(line))) for id in match.groups()]
    assert len(heads) == len(set(heads))
    assert set(heads) <= set(run.invocations)


@given(restored_histories(inputs=30), st.data())
def test_every_invocation_hangs_somewhere(records, data):
    """Each invocation hangs under exactly one other invocation, or under an event that hangs under nothing."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (run,) = read_runs(kept)
    figure = lay_out(run)
    hanging = [id for some in (*figure.roots.values(), *figure.children.values()) for id in some]
    assert sorted(hanging) == sorted(run.invocations)
    assert sum(figure.sizes[id] for some in figure.roots.values() for id in some) == len(run.invocations)


@pytest.mark.parametrize("width", [-1, 0, 10, 39])
def test_narrow_screens(width):
    """Below 40 columns a drawing is as for 40."""
    assert draw_run(history("trip"), width=width) == draw_run(history("trip"), width=40)
