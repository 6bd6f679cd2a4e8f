"""The causal tree of a run as text.

`OTFLOW_REWRITE=1 python -m pytest tests/drawing` writes the golden files anew; review the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.figure import lay_out
from otflow.drawing.line import ASCII, UNICODE, Line, measure, measure_line, plain
from otflow.drawing.tree import draw_run, draw_summary
from otflow.records.body import Body
from otflow.records.history import Run, read_runs
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepStarted,
    WaitEnded,
    WaitStarted,
)
from tests.drawing.runs import RUNS
from tests.laws.strategies import restored_histories

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("OTFLOW_REWRITE"))  # read now: no test sees the settings of the machine
NOW = 1_000_000_000
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
    run = msgspec.structs.replace(history("trip"), workflow="TripToManyCities" * 3)
    lines = draw_run(run, width=width)
    assert lines == draw_run(run, width=40)
    assert max(measure_line(line) for line in lines) <= 40


# --- single matters -----------------------------------------------------------------------------------------


def say(*makers: Callable[[int], Record], width: int = 80) -> list[str]:
    """Draw the run that numbered records tell of."""
    records = [RunStarted(1, "run", NOW, "Flow", ""), EventReceived(2, "run", NOW, "m:Go", Body({}))]
    records += [maker(seq) for seq, maker in enumerate(makers, start=3)]
    (run,) = read_runs(records)
    return [plain(line) for line in draw_run(run, width=width)]


def record(kind: type, *args: object) -> Callable[[int], Record]:
    """Say what a record is to be, once its number is known."""
    return lambda seq: kind(seq, "run", NOW, *args)


START = record(StepStarted, 3, 1, "a", 2)


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (record(RunFailed, Failure("m.Stalled", "nothing to do")), "The run failed: Stalled: nothing to do"),
        (record(RunFailed, Failure("m.Bad", ""), "a", 3), "The run failed by a #3: Bad"),
        (record(RunCancelled, "enough"), "The run was cancelled: enough"),
        (record(RunCancelled), "The run was cancelled."),
        (record(RunTimedOut, 5.0, ("a",)), "The run timed out while these steps were running: a."),
        (record(RunTimedOut, 5.0), "The run timed out."),
        (record(RunPaused, "waiting"), "Nothing executes: the run is waiting."),
    ],
)
def test_ends(end, last):
    """The last line says how a run ended, or why it stands still."""
    assert say(START, end)[-1] == last


def test_what_comes_from_elsewhere():
    """Writes from outside of steps, events of an earlier run, and events that nobody took have their place."""
    lines = say(
        START,
        record(ContextWritten, 0, "", Body([1])),
        record(ContextWritten, 0, "x", Body(None), True),
        record(EventsCollected, 3, "default", (2, -1)),
        record(EventReceived, "m:Lost", Body({})),
        record(WaitStarted, 3, "w", "m:Never"),
    )
    assert lines[1:] == [
        "Go from outside",
        "└─ Go ▸ a #3",
        "      · attempt 1: it still runs",
        "      waited for Never, which did not come",
        "      collected Go, ? from outside and an earlier run",
        "Lost from outside, which no step has taken yet",
        "outside of steps: wrote the whole state = [1], x (deleted)",
    ]


def test_waits_and_held_events():
    """A wait says what ended it, and an event that it was held back or ended a wait."""
    lines = say(
        START,
        record(EventSent, 3, "m:Held", Body({}), "", False, True),
        record(WaitStarted, 3, "w", "m:Yes"),
        record(WaitStarted, 3, "v", "m:No"),
        record(EventSent, 3, "m:Yes", Body({})),
        record(WaitEnded, 3, 5, 7),
        record(WaitEnded, 3, 6),
        record(StepCompleted, 3, 1),
        record(RunCancelled),
    )
    assert lines[3:-1] == [
        "      waited for Yes, which came from a #3",
        "      waited for No until its time was over",
        "      sent Held, which was held back · sent Yes, which ended a wait",
    ]


def test_previews_say_what_is_new():
    """The fields of an event stand beside it, but for those that an event above it had with the same value."""
    lines = say(
        record(EventReceived, "m:In", Body({"k": 1, "name": "x"})),
        record(StepStarted, 4, 1, "a", 3),
        record(EventSent, 4, "m:Out", Body({"k": 1, "name": "y"})),
        record(EventSent, 4, "m:Out", Body({"k": 2, "name": "x"})),
        record(StepStarted, 7, 1, "b", 5),
        record(StepStarted, 8, 1, "b", 6),
        record(EventSent, 8, "m:Out", Body({"k": 2, "name": "z"})),
        record(StepStarted, 10, 1, "b", 9),
    )
    heads = [line.split("▸ ")[1] for line in lines if HEAD.search(line)]
    assert heads == ["a #4  k=1 name=x", "b #7  name=y", "b #8  k=2", "b #10  name=z"]


def test_depth_is_bounded():
    """What lies too deep to be drawn is counted."""
    makers = [START]
    for level in range(40):
        parent = 3 + 5 * level
        first = parent + 1
        makers += [record(EventSent, parent, "m:Go", Body({})), record(EventSent, parent, "m:Go", Body({}))]
        makers += [record(StepStarted, first + 2, 1, "b", first), record(StepCompleted, first + 2, 1)]
        makers += [record(StepStarted, first + 4, 1, "a", first + 1)]
    lines = say(*makers, width=60)
    assert max(map(measure, lines)) <= 60
    (deep,) = [line for line in lines if line.endswith("invocations under it")]
    assert sum(bool(HEAD.search(line)) for line in lines) + int(deep.split()[-4]) == 81
