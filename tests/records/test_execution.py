"""An execution holds what is known of a run, and says exactly what is not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otflow.records.body import Body
from otflow.records.execution import Execution, Gap, from_records
from otflow.records.losses import find_losses, prefer
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    Failure,
    Record,
    RunCompleted,
    RunPaused,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    WaitStarted,
)
from tests.laws.strategies import histories, scripts, segments

RUN = "r"


def body(value: object) -> Body:
    """Give a payload that was read."""
    return Body(json=msgspec.json.encode(value))


def run(*middle: Record, carried: object = None) -> list[Record]:
    """Give the records of a whole run, which has these in its middle: numbers are given in order."""
    begin = RunStarted(1, RUN, 10, "Flow", "digest", carried=None if carried is None else body(carried))
    numbered = [msgspec.structs.replace(record, seq=place) for place, record in enumerate(middle, 2)]
    return [begin, *numbered, RunCompleted(len(middle) + 2, RUN, 99, 2)]


def write(path: str, value: object = None, *, deleted: bool = False) -> ContextWritten:
    """Give a write to the state."""
    return ContextWritten(0, RUN, 20, 0, path, body(value), deleted)


def sent(value: object, seq: int = 2) -> EventSent:
    """Give an event with a payload."""
    return EventSent(seq, RUN, 20, 3, "m:E", body(value))


def reasons(execution: Execution) -> list[str]:
    """Give what is said of the gaps."""
    return [gap.reason for gap in execution.gaps]


@settings(max_examples=40)
@given(histories(), st.randoms(use_true_random=False), st.floats(0, 0.5))
def test_gaps_are_what_is_missing(records, dice, share):
    """Whatever is left of a run, in whatever order and how often: known and missing numbers are all numbers."""
    kept = [record for record in records if dice.random() >= share] or records[:1]
    mixed = kept + dice.sample(kept, len(kept) // 2)
    dice.shuffle(mixed)
    found = Execution(mixed)
    assert list(found.records) == kept
    top = kept[-1].seq
    missing = {seq for gap in found.gaps if gap.last for seq in range(gap.first, gap.last + 1)}
    assert missing == set(range(1, top + 1)) - {record.seq for record in kept}
    assert all(left.last < right.first for left, right in zip(found.gaps, found.gaps[1:], strict=False))
    assert found.complete == (kept == records and found.outcome not in {"open", "paused"})


@settings(max_examples=40)
@given(scripts())
def test_times_tell_branches_apart(script):
    """The records of a run with all that it did before it was restored are those that count, by time alone."""
    told = [record for some in segments(script) for record in some]
    times = dict(enumerate(told))
    moved = [msgspec.structs.replace(record, at=place) for place, record in times.items()]
    counting: dict[int, Record] = {}
    for record in moved:
        if isinstance(record, RunResumed) and record.snapshot is not None:
            counting = {seq: each for seq, each in counting.items() if seq < record.seq}
        counting[record.seq] = record
    assert list(Execution(moved[::-1]).records) == [counting[seq] for seq in sorted(counting)]


def test_a_used_id_means_the_last_run():
    """Where a run id was used again, the later run is told and nothing of the earlier one."""
    early = run(write("a", 1), write("b", 2))
    late = [msgspec.structs.replace(record, at=record.at + 1000) for record in run(write("c", 3))]
    found = Execution([*late, *early])
    assert (list(found.records), found.state(), found.complete) == (late, {"c": 3}, True)


def test_runs_come_in_order():
    """Executions of many runs come by the time of their first record; no record is no run."""
    other = [msgspec.structs.replace(record, run="s", at=record.at - 5) for record in run()]
    assert [each.run_id for each in from_records([*run(), *other])] == ["s", RUN]
    for wrong in ([], [run()[0], other[0]]):
        with pytest.raises(ValueError, match="the records of one run"):
            Execution(wrong)


def test_a_whole_run_has_no_gap():
    """A run of which all is there is complete, and everything about it can be asked."""
    found = Execution(run(EventReceived(0, RUN, 11, "m:S", body({})), StepStarted(0, RUN, 12, 3, 1, "a", 2)))
    assert (found.run_id, found.workflow, found.outcome, found.complete) == (RUN, "Flow", "completed", True)
    assert ([each.step for each in found.steps], len(found.attempts), list(found.events)) == (["a"], 1, [2])
    assert repr(found) == "<Execution of Flow, run r: 4 records>"
    assert found == Execution(found.records)
    assert found != Execution(found.records[:3])
    assert found != "an execution"


def test_ends_are_told():
    """A run without its end says so; one that was paused says that it may just wait."""
    records = run(RunPaused(0, RUN, 20, "waiting"))
    assert reasons(Execution(records[:2])) == [
        "The run was paused by record 2 (waiting); what came after that, if anything, is not here."
    ]
    assert reasons(Execution(records[:1])) == [
        "The end of the run is not here: nothing is known of what came after record 1."
    ]
    assert repr(Execution(records[:1])) == "<Execution of Flow, run r: 1 records, 1 gaps>"
    assert Execution(records[:2], last=5).gaps[0][:2] == (3, 5)
    assert Execution(records[:2], last=5).gaps[1].first == 6


def test_clues_explain_gaps():
    """What was told about missing records stands in the gaps that it is about, and no more than a few of it."""
    records = run(write("a"), write("b"), write("c"))
    clues = [Gap(2, 3, "A span is cut."), Gap(4, 4, "Another one."), Gap(0, 0, "A line cannot be read.")]
    assert reasons(Execution([*records[:2], *records[3:]], clues)) == [
        "Record 3 is missing. A span is cut. A line cannot be read."
    ]
    assert reasons(Execution(records, clues)) == []
    many = [Gap(1, 9, f"Clue {number}.") for number in range(5)]
    [inner, end] = reasons(Execution(records[:3], many))
    assert inner == "Records 4 to 9 are missing. Clue 0. Clue 1. Clue 2. And 2 more such."
    assert end == "The end of the run is not here: nothing is known of what came after record 9."


def test_contradictions_are_named():
    """Of different records with one number none is believed without saying so."""
    records = run(write("a", 1))
    found = Execution([*records, msgspec.structs.replace(records[1], at=21, path="b")])
    assert (found.records[1], found.complete) == (records[1], False)
    assert reasons(found) == ["There are different records with the number 2; which of them counts is not known."]


def test_state_is_what_was_written():
    """The state is what was carried in and each write on top: paths, indexes, removals, the whole."""
    records = run(
        write("a.b", 1),
        write("list", [1, [2]]),
        write("list.1.0", 3),
        write("list.-1.0", 4),
        write("list.7", 5),
        write("list.7.x", 5),
        write("list.0.x", 6),
        write("a", deleted=True),
        write("list.1", deleted=True),
        write("list.9", deleted=True),
        write("no.way", deleted=True),
        write("", {"new": 1}),
        write("", 5),
        carried={"state": {"old": 0}},
    )
    found = Execution(records)
    assert [found.state(at) for at in range(1, 6)] == [
        {"old": 0},
        {"old": 0, "a": {"b": 1}},
        {"old": 0, "a": {"b": 1}, "list": [1, [2]]},
        {"old": 0, "a": {"b": 1}, "list": [1, [3]]},
        {"old": 0, "a": {"b": 1}, "list": [1, [4]]},
    ]
    assert found.state(6) == found.state(7) == found.state(5)
    assert found.state(8)["list"] == [{"x": 6}, [4]]
    assert found.state(11) == {"old": 0, "list": [{"x": 6}]}
    assert found.state(12) == found.state(11)
    assert found.state() == {"new": 1}


def test_what_fits_nowhere_changes_nothing():
    """A write that does not fit what is known of the state is left out."""
    assert Execution(run(write("list", [1]), write("list.key", 2), write("list.key", deleted=True))).state() == {
        "list": [1]
    }


@pytest.mark.parametrize("carried", [{"$truncated": 9}, {"state": 5}, [1]])
def test_a_state_that_was_not_carried_is_empty(carried):
    """What cannot be read of the state that was brought along is not made up."""
    assert Execution(run(carried=carried)).state() == {}


def test_doubts_bear_on_the_state():
    """Doubts are the gaps and the lost payloads that may have changed the state until then."""
    records = run(write("a", {"$truncated": 5}), sent({"$truncated": 7}), write("b", 1), write("c", 1))
    found = Execution([*records[:3], *records[4:]])
    assert [(gap.first, gap.last) for gap in found.doubts()] == [(2, 2), (4, 4)]
    assert [gap.first for gap in found.doubts(3)] == [2]
    assert found.doubts(1) == ()
    assert not found.complete
    assert Execution(records).complete


def test_a_state_that_is_written_as_a_whole_is_sure():
    """What was lost before the state was written as a whole, or went on with, is no reason for doubt."""
    snapshot = RunResumed(0, RUN, 20, body({"state": {"b": 2}}))
    records = run(write("x", 1), write("", {"a": 1}), write("y", 1), snapshot, RunResumed(0, RUN, 21))
    found = Execution([*records[1:3], *records[4:]])
    assert (found.state(3), found.doubts(3)) == ({"a": 1}, ())
    assert [gap.first for gap in found.doubts(2)] == [1]
    assert (found.state(), found.doubts()) == ({"b": 2}, ())
    cut = Execution(run(write("", {"$truncated": 3}), carried={"state": {}}))
    assert [loss.first for loss in cut.doubts()] == [2]


def test_until_is_the_run_as_it_stood():
    """The run up to a record has the records up to there, and the gaps."""
    records = run(write("a", 1), write("b", 2), write("c", 3))
    clues = [Gap(2, 4, "A span is cut."), Gap(5, 5, "Late."), Gap(0, 0, "A line cannot be read.")]
    found = Execution([records[0], *records[2:]], clues).until(3)
    assert [record.seq for record in found.records] == [1, 3]
    assert [(gap.first, gap.last) for gap in found.gaps] == [(2, 2), (4, 0)]
    assert found.state() == {"b": 2}
    assert [clue.first for clue in found.clues] == [2, 0]
    with pytest.raises(ValueError, match="no record up to 0: the first one is 1"):
        Execution(records).until(0)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (sent({"a": 1}), []),
        (sent({"$truncated": 70}), ["The payload of record 2 (EventSent) was left out: it has 70 bytes."]),
        (sent({"$truncated": "no mark"}), []),
        (
            sent({"key": "__REDACTED__", "list": [1, {"$opaque": "m.C", "repr": "<C>"}]}),
            [
                "In the payload of record 2 (EventSent) something is hidden: key.",
                "In the payload of record 2 (EventSent) something could not be serialised: list.1.",
            ],
        ),
        (
            sent({"list": [1, {"$opaque": "m.C"}]}),
            ["In the payload of record 2 (EventSent) something could not be serialised: list.1."],
        ),
        (
            sent({"url": "https://ann:****@host", "stars": "***"}),
            ["In the payload of record 2 (EventSent) something seems to be masked (****): url."],
        ),
        (
            StepFailed(2, RUN, 5, 1, 1, Failure("E", "password=****")),
            ["What the exception of record 2 (StepFailed) said seems to be masked (****)."],
        ),
        (sent("__REDACTED__"), ["In the payload of record 2 (EventSent) something is hidden: all of it."]),
        (
            sent(["__REDACTED__"] * 7),
            ["In the payload of record 2 (EventSent) something is hidden: 0, 1, 2, 3, 4 and 2 more."],
        ),
        (sent({"says": 'about "$opaque"'}), []),
        (StepCompleted(2, RUN, 5, 1, 1), []),
        (WaitStarted(2, RUN, 5, 1, "w", "m:E"), []),
        (StepFailed(2, RUN, 5, 1, 1, Failure("E", "text")), []),
        (
            StepFailed(2, RUN, 5, 1, 1, Failure("E", "")),
            ["What the exception of record 2 (StepFailed) said is not recorded."],
        ),
    ],
)
def test_losses_are_named(record, said):
    """Each payload that is cut, hidden or opaque is named, with the place in it."""
    assert list(find_losses(record)) == [(2, each) for each in said]


WHOLE, HIDDEN, CUT = sent({"a": "x"}), sent({"a": "__REDACTED__"}), sent({"$truncated": 9})
LOUD, SHORT, SILENT = (StepFailed(2, RUN, 5, 1, 1, Failure("E", text)) for text in ("text, long", "text", ""))


@pytest.mark.parametrize(
    ("one", "other", "best"),
    [
        (WHOLE, HIDDEN, WHOLE),
        (CUT, HIDDEN, HIDDEN),
        (CUT, WHOLE, WHOLE),
        (WHOLE, sent({"a": "y"}), None),
        (WHOLE, msgspec.structs.replace(CUT, at=21), None),
        (WHOLE, LOUD, None),
        (LOUD, SILENT, LOUD),
        (SHORT, LOUD, LOUD),
        (LOUD, StepFailed(2, RUN, 5, 1, 1, Failure("E", "other")), None),
        (LOUD, StepFailed(2, RUN, 6, 1, 1, Failure("E", "text, long")), None),
        (StepCompleted(2, RUN, 5, 1, 1), StepCompleted(2, RUN, 6, 1, 1), None),
        (WaitStarted(2, RUN, 5, 1, "w", "m:E"), WaitStarted(2, RUN, 5, 1, "w", "m:E", body({})), None),
    ],
)
def test_the_fuller_record_counts(one, other, best):
    """Of two tellings of one record the one that shows more is kept; records that contradict are not reconciled."""
    assert prefer(one, other) == prefer(other, one) == best
    if best is not None:
        assert Execution([one, other]).records == (best,)


@pytest.mark.parametrize("number", [20_000])
def test_many_gaps_are_explained_at_once(number):
    """Each of thousands of gaps gets the narrowest of thousands of clues about it; a count tells of the rest."""
    records = [
        msgspec.structs.replace(run()[0], seq=1),
        *(EventReceived(3 * n, RUN, 11, "m:S", body(n)) for n in (1, 2)),
    ]
    records += [EventReceived(3 * n, RUN, 11, "m:S", body(n)) for n in range(3, number)]
    clues = [Gap(1, 3 * number, f"Wide {n}.") for n in range(number)]
    clues += [Gap(3 * n + 1, 3 * n + 2, f"Narrow {n}.") for n in range(number)]
    found = Execution(records, clues).gaps
    assert found[4].reason == "Records 13 to 14 are missing. Narrow 4. Wide 0. Wide 1. And 19998 more such."
    assert len(found) == number + 1
