"""With a part of the spans of a run removed, nothing false is said of it: no answer claims what the whole denies."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otflow
from otflow.cli.tables import format_time
from otflow.records.answers import blame, critical_path, spent
from otflow.records.codec import encode
from otflow.records.diff import diff
from otflow.records.execution import Execution
from otflow.records.record import Record, RunPaused, RunResumed
from otflow.records.spans import to_spans
from tests.answers.diffs import interview, shop
from tests.laws.strategies import histories

SHARE = 0.1
RUNS = {
    "shop": lambda: shop("nut", "bolt", "nail", broken={"bolt": 1}),
    "twins": lambda: shop("nut", "nut", "nut", broken={"nut": 1}),
    "failed": lambda: shop("nut", "bolt", broken={"bolt": 9}),
    "interview": lambda: interview("Ada"),
    "lonely": lambda: interview(None),
}


def damage(records: list[Record], dice: Random) -> Execution | None:
    """Take away spans, and read what is left; None if nothing is."""
    kept = [span for span in to_spans(records) if dice.random() >= SHARE]
    dice.shuffle(kept)
    source = otflow.open(kept)
    infos = list(source.runs())
    if not infos:
        return None
    found = source.run(infos[0].id)
    assert (infos[0].outcome, infos[0].records) == (found.outcome, len(found.records))
    return found


def check(whole: Execution, part: Execution) -> None:
    """See to it that what is said of a part of a run is so."""
    missing = {each.seq for each in whole.records} - {each.seq for each in part.records}
    named = {seq for seq in missing for gap in part.gaps if gap.first <= seq and (seq <= gap.last or not gap.last)}
    assert named == missing
    assert part.complete == (whole.complete and not missing)
    last = part.records[-1].seq
    assert part.outcome in {"open", whole.until(last).outcome, whole.outcome}
    if part.outcome == "paused":
        assert whole.until(last).outcome == "paused"
    check_times(whole, part)
    check_state(whole, part)
    if missing:
        check_difference(whole, part)


def check_times(whole: Execution, part: Execution) -> None:
    """Of each attempt nothing is said to have taken longer than it did, and of the run neither."""
    true = {each.id: each for each in whole.steps}
    for invocation in part.steps:
        attempts = {each.number: each for each in true[invocation.id].attempts}
        for attempt in invocation.attempts:
            if attempt.number:
                other = attempts[attempt.number]
                assert attempt.outcome in {other.outcome, "open"}
                assert attempt.queued in {other.queued, 0}
                assert attempt.delay in {other.delay, None}
                assert attempt.worked in {other.worked, 0}
    mine, all_of_it = spent(part), spent(whole)
    steps = {each.step: each for each in all_of_it.steps}
    for step in mine.steps:
        for name in ("running", "failed", "queued", "waiting", "delayed", "paused") if step.step else ():
            assert getattr(step, name) <= getattr(steps[step.step], name), name
    assert mine.busy <= all_of_it.busy
    pauses = dict(all_of_it.pauses)
    assert all(time <= pauses.get(reason, 0) for reason, time in mine.pauses)
    path = critical_path(part)
    assert sum(each.duration for each in path.segments) <= path.wall
    assert all(one.ended <= other.started for one, other in zip(path.segments, path.segments[1:], strict=False))
    if path.whole:
        assert path.segments == critical_path(whole).segments


def check_state(whole: Execution, part: Execution) -> None:
    """A state, and who wrote it, is the true one, or there is a doubt."""
    last = part.records[-1].seq
    if not part.doubts():
        assert part.state() == whole.state(last)
    for path in ("", *whole.state()):
        mine, true = blame(part, path), blame(whole, path, at=last)
        known = {each.seq: each for each in true.writes}
        for each in mine.writes:
            if not each.carried and each.seq in known:
                other = known[each.seq]
                assert each.step in {"", other.step}
                assert each.attempt in {0, other.attempt}
        if not mine.doubts:
            assert mine.writes == true.writes


def check_difference(whole: Execution, part: Execution) -> None:
    """A run never differs for certain from itself."""
    for one, other in ((whole, part), (part, whole)):
        found = diff(one, other)
        assert found.points == ()
        assert found.verdict != "different"
        assert found.moves == ()


@pytest.mark.parametrize("name", sorted(RUNS))
def test_lost_spans_make_nothing_false(name: str) -> None:
    """Of runs with retries, collections, waits and failures nothing false is said, whichever spans are lost."""
    records = RUNS[name]()
    for seed in range(40):
        part = damage(records, Random(seed))
        if part is not None:
            check(Execution(records), part)


@settings(max_examples=40)
@given(histories(), st.randoms(use_true_random=False))
def test_lost_spans_of_any_run_make_nothing_false(records: list[Record], dice: Random) -> None:
    """Of any run nothing false is said, whichever spans are lost."""
    part = damage(records, dice)
    if part is not None:
        check(Execution(records), part)


@settings(max_examples=40)
@given(histories(), st.randoms(use_true_random=False), st.floats(0.05, 0.4))
def test_two_parts_of_a_run_do_not_differ(records: list[Record], dice: Random, share: float) -> None:
    """Two copies of one run, of which each lacks other records, never differ for certain."""
    one, other = ([each for each in records if dice.random() >= share] or records[:1] for _ in range(2))
    assert diff(one, other).points == ()


@settings(max_examples=40)
@given(histories(), histories(), st.randoms(use_true_random=False))
def test_what_a_part_proves_the_whole_does(a: list[Record], b: list[Record], dice: Random) -> None:
    """If a part of a run differs for certain from another run, the whole of it does."""
    part = [each for each in a if dice.random() >= SHARE] or a[:1]
    if diff(part, b).verdict == "different":
        assert diff(a, b).verdict == "different"


@settings(max_examples=40)
@given(histories(), st.randoms(use_true_random=False))
def test_a_lost_end_of_a_pause_ends_it(records: list[Record], dice: Random) -> None:
    """A run that lost the records with which it went on is paused only if it is, and its pauses are no longer."""
    gone = [each for each in records if isinstance(each, RunResumed)]
    whole, part = Execution(records), Execution([each for each in records if each not in gone])
    pauses = dict(spent(whole).pauses)
    assert all(time <= pauses[reason] for reason, time in spent(part).pauses)
    assert part.outcome != "paused" or whole.outcome == "paused"


def test_a_pause_after_which_records_have_to_exist_is_over() -> None:
    """Where a span names later records than the pause, the run is open, for whoever lists and for whoever reads."""
    records = interview("Ada")
    place = next(place for place, each in enumerate(records) if isinstance(each, RunPaused)) + 1
    spans = to_spans(records[:place])
    assert otflow.open(spans).run("r1").outcome == "paused"
    spans[-1] = msgspec.structs.replace(spans[-1], attributes={**spans[-1].attributes, "otflow.seq.last": 99})
    source = otflow.open(spans)
    assert (source.run("r1").outcome, [info.outcome for info in source.runs()]) == ("open", ["open"])
    assert source.run("r1").history.pauses[-1].ended


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"at":1', b'"at":1' + b"9" * 25),
        (b'"at":1', b'"at":-1'),
        (b'"invocation":3', b'"invocation":"x"'),
        (b'"item":"nut"', b'"item":1e999'),
    ],
)
def test_records_that_cannot_be_right_are_named_gaps(tmp_path: Path, old: bytes, new: bytes) -> None:
    """What no record can say makes that record one that is missing, with a reason; a list counts what a run has."""
    lines = [encode(record) for record in shop("nut")]
    lines[4] = lines[4].replace(old, new, 1)
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\n".join(lines))
    [info] = otflow.open(path).runs()
    found = otflow.open(path).run("r1")
    assert info.records == len(found.records) == len(lines) - 1
    assert [gap.reason for gap in found.gaps] == ["Record 5 is missing. Record 5 is there, but it cannot be read."]


def test_a_time_that_no_clock_shows_is_a_question_mark() -> None:
    """Whatever number stands for a time, it is shown."""
    assert [format_time(number) for number in (0, -1, 10**30, -(10**30))] == ["?"] * 4
    assert format_time(10**18).startswith("2001-09-09")
