"""Histories: what a run was, from its records alone, in any order and with holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.records.body import Body
from otflow.records.history import Attempt, Run, Wait, read_runs, summarize
from otflow.records.record import (
    CheckpointTaken,
    ContextWritten,
    EventBuffered,
    EventReceived,
    EventReleased,
    EventsCollected,
    EventSent,
    Failure,
    Record,
    RetryQueued,
    RetryScheduled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
    RunTimedOut,
    StepCompleted,
    StepFailed,
    StepStarted,
    StreamWritten,
    WaitEnded,
    WaitStarted,
)
from tests.laws.strategies import histories, restored_histories

S = 1_000_000_000
NOTHING = Body({})
ERROR = Failure("builtins.ValueError", "bad")


def number(*makers: Callable[[int], Record]) -> list[Record]:
    """Number records, and let a second pass before each."""
    return [maker(seq) for seq, maker in enumerate(makers, start=1)]


def record(kind: type, *args: object, **kwargs: object) -> Callable[[int], Record]:
    """Say what a record is to be, once its number is known."""
    return lambda seq: kind(seq, "run", seq * S, *args, **kwargs)


def read(*makers: Callable[[int], Record]) -> Run:
    """Read one run from numbered records."""
    (run,) = read_runs(number(*makers))
    return run


START = (
    record(RunStarted, "Flow", "digest"),
    record(EventReceived, "m:Start", NOTHING),
    record(StepStarted, 3, 1, "a", 2),
)


# --- any order, any holes -----------------------------------------------------------------------------------


@given(restored_histories(), st.randoms(use_true_random=False))
def test_order_does_not_matter(records, random):
    """Shuffled and repeated records give the same tree."""
    shuffled = [*records, *random.sample(records, len(records) // 2)]
    random.shuffle(shuffled)
    assert read_runs(shuffled) == read_runs(records)


@given(restored_histories(), st.data())
def test_holes_are_named(records, data):
    """Whatever records are missing, a tree is read, and the numbers that it names are those that are not there."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (run,) = read_runs(kept)
    there = {record.seq for record in kept}
    missing = {seq for first, last in run.gaps for seq in range(first, last + 1)}
    assert missing == set(range(1, max(there))) - there


@given(restored_histories(), st.data())
def test_holes_invent_nothing(records, data):
    """What a tree with holes tells of an attempt's work is part of what the whole tree tells of it."""
    kept = data.draw(st.lists(st.sampled_from(records), min_size=1, unique_by=id))
    (part,), (whole,) = read_runs(kept), read_runs(records)
    for there, invocation in ((whole.invocations[number], each) for number, each in part.invocations.items()):
        assert invocation.step in ("", there.step)
        assert invocation.event in (0, there.event)
        assert _said(invocation.attempts) <= _said(there.attempts)
    for known, event in ((whole.events[number], each) for number, each in part.events.items()):
        assert event.type in ("", known.type)
        assert set(event.takers) <= set(known.takers)


def _said(attempts: Sequence[Attempt]) -> set[int]:
    """Number what attempts sent, wrote, streamed, put aside, collected and waited for."""
    return {
        seq
        for attempt in attempts
        for seq in (
            *attempt.sent,
            *(each.seq for each in (*attempt.written, *attempt.streamed, *attempt.kept, *attempt.collected)),
            *(wait.id for wait in attempt.waits),
        )
    }


@given(histories())
def test_nothing_is_lost(records):
    """Each record of a whole run is somewhere in its tree, exactly once."""
    (run,) = read_runs(records)
    attempts = [attempt for invocation in run.invocations.values() for attempt in invocation.attempts]
    kinds = [type(record) for record in records]
    assert len(attempts) == kinds.count(StepStarted)
    assert sum(a.outcome == "completed" for a in attempts) == kinds.count(StepCompleted)
    assert sum(a.outcome == "failed" for a in attempts) == kinds.count(StepFailed)
    assert sum(len(a.sent) for a in attempts) == kinds.count(EventSent)
    assert sum(len(a.waits) for a in attempts) == kinds.count(WaitStarted)
    assert sum(bool(w.ended) for a in attempts for w in a.waits) == kinds.count(WaitEnded)
    assert sum(len(a.collected) for a in attempts) == kinds.count(EventsCollected)
    assert sum(len(a.kept) for a in attempts) == kinds.count(EventBuffered)
    assert sum(len(a.written) for a in attempts) + len(run.written) == kinds.count(ContextWritten)
    assert sum(len(a.streamed) for a in attempts) + len(run.streamed) == kinds.count(StreamWritten)
    assert len(run.pauses) == kinds.count(RunPaused)
    assert len(run.checkpoints) == kinds.count(CheckpointTaken)
    assert (run.gaps, run.faults) == ((), ())


@given(histories())
def test_times_fit(records):
    """No attempt works or waits longer than its run lasts."""
    (run,) = read_runs(records)
    for invocation in run.invocations.values():
        for attempt in invocation.attempts:
            assert 0 <= attempt.queued + attempt.stood + attempt.worked <= run.ended - run.started


def test_runs_are_told_apart():
    """Records of several runs give several trees, the earliest first."""
    first = [RunStarted(1, "x", 2 * S, "First", ""), RunStarted(1, "a", 3 * S, "Last", "")]
    assert [run.workflow for run in read_runs([*reversed(first)])] == ["First", "Last"]
    assert read_runs([]) == ()


def test_different_records_with_one_number():
    """Of different records with one number the earliest counts, in whatever order they come, and it is said."""
    records = [RunStarted(1, "run", 2 * S, "Late", ""), RunStarted(1, "run", S, "Early", "")]
    for some in (records, records[::-1]):
        (run,) = read_runs(some)
        assert run.workflow == "Early"
        assert run.faults == ("There are different records with the number 1; the first one counts.",)


# --- invocations --------------------------------------------------------------------------------------------


def test_attempts():
    """A retry is an attempt of the same invocation; it knows its delay and when it could have begun."""
    run = read(
        *START,
        record(StepFailed, 3, 1, ERROR),
        record(RetryScheduled, 3, 2, 1.5, 6 * S),
        record(RetryQueued, 3, 2),
        record(StepStarted, 3, 2, "a", 2),
        record(StepCompleted, 3, 2),
        record(EventSent, 3, "m:Stop", NOTHING, returned=True),
        record(RunCompleted, 9),
    )
    first, second = run.invocations[3].attempts
    assert (first.outcome, first.error, first.queued, first.worked) == ("failed", ERROR, S, S)
    assert (second.number, second.outcome, second.delay, second.ready) == (2, "completed", 1.5, 6 * S)
    assert (second.queued, second.sent, run.invocations[3].retry) == (S, (9,), None)
    assert (run.outcome, run.result, run.events[9].source) == ("completed", 9, 3)
    sums = summarize(run)
    assert (sums.steps, sums.invocations, sums.attempts, sums.retries, sums.events) == (1, 1, 2, 1, 2)
    assert (sums.writes, sums.duration) == (0, 9 * S)


def test_a_retry_that_never_began():
    """A retry that was scheduled and is not there is named; one whose queueing is missing begins when it was due."""
    scheduled = record(RetryScheduled, 3, 2, 1.5, 6 * S)
    run = read(*START, record(StepFailed, 3, 1, ERROR), scheduled)
    assert run.invocations[3].retry == scheduled(5)
    run = read(
        *START, record(StepFailed, 3, 1, ERROR), scheduled, record(RunPaused, "x"), record(StepStarted, 3, 2, "a", 2)
    )
    assert (run.invocations[3].retry, run.invocations[3].attempts[1].ready) == (None, 6 * S)


def test_missing_starts():
    """An attempt without a start is there, and named; the next one does not take what belongs to it."""
    run = read(
        record(RunStarted, "Flow", ""),
        record(ContextWritten, 9, "x", NOTHING),
        record(StepFailed, 9, 1, ERROR),
        record(StepCompleted, 9, 2),
    )
    first, second = run.invocations[9].attempts
    assert (first.number, first.outcome, first.started, len(first.written)) == (1, "failed", 0, 1)
    assert (second.number, second.outcome, second.worked) == (2, "completed", 0)
    assert (run.invocations[9].step, run.invocations[9].event) == ("", 0)
    assert run.faults == (
        "The start of attempt 1 of invocation 9 is missing.",
        "The start of attempt 2 of invocation 9 is missing.",
    )
    run = read(record(ContextWritten, 9, "x", NOTHING))
    assert run.faults == ("The start of attempt ? of invocation 9 is missing.",)
    assert run.workflow == ""


def test_waits():
    """Waits at the same time count once; an open one counts up to the end of its attempt; none is work."""
    run = read(
        *START,
        record(WaitStarted, 3, "w", "m:Answer"),
        record(WaitStarted, 3, "v", "m:Answer"),
        record(EventReceived, "m:Answer", NOTHING),
        record(WaitEnded, 3, 4, 6),
        record(WaitEnded, 3, 5),
        record(StepCompleted, 3, 1),
    )
    (attempt,) = run.invocations[3].attempts
    assert attempt.waits == (
        Wait(id=4, type="m:Answer", waiter="w", started=4 * S, ended=7 * S, event=6),
        Wait(id=5, type="m:Answer", waiter="v", started=5 * S, ended=8 * S),
    )
    assert (attempt.stood, attempt.worked) == (4 * S, 2 * S)
    assert (run.events[6].answered, run.events[6].outside) == ((4,), True)
    run = read(*START, record(WaitEnded, 3, 99, 2), record(WaitStarted, 3, "w", "m:X"), record(StepCompleted, 3, 1))
    (attempt,) = run.invocations[3].attempts
    assert (attempt.stood, attempt.waits[0]) == (S, Wait(id=99, ended=4 * S, event=2))


# --- events -------------------------------------------------------------------------------------------------


def test_events():
    """An event knows who emitted it, who took it, whether it was held, and when it went on."""
    run = read(
        *START,
        record(EventSent, 3, "m:B", NOTHING, "b", held=True),
        record(EventReleased, 4),
        record(StepStarted, 6, 1, "b", 4),
        record(EventBuffered, 6, "default", 7, (), "m:C", Body({"k": 1})),
        record(EventBuffered, 6, "default", 4),
        record(EventsCollected, 6, "default", (7, 4, 88)),
    )
    event = run.events[4]
    assert (event.source, event.target, event.takers, event.held, event.released) == (3, "b", (6,), True, 5 * S)
    assert run.invocations[6].attempts[0].queued == S
    assert (run.events[7].aside, run.events[7].source, run.events[7].type) == (True, 6, "m:C")
    assert (run.events[2].outside, run.events[2].takers) == (True, (3,))
    assert run.faults == ("The record of event 88 is missing.",)
    assert (run.events[88].type, run.events[88].body) == ("", None)


# --- the run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "outcome", "reason"),
    [
        (record(RunCancelled, "enough"), "cancelled", "enough"),
        (record(RunTimedOut, 5.0, ("a", "b")), "timed out", "a, b"),
        (record(RunFailed, ERROR, "a", 3, 1), "failed", ""),
        (record(RunPaused, "waiting"), "paused", "waiting"),
        (record(CheckpointTaken, 3, "here"), "open", ""),
    ],
)
def test_ends(end, outcome, reason):
    """A run says how it ended, or where it stands."""
    run = read(*START, end)
    assert (run.outcome, run.reason) == (outcome, reason)
    assert (run.error, run.failed) == ((ERROR, 3) if outcome == "failed" else (None, 0))
    assert run.invocations[3].attempts[0].outcome == "open"


def test_what_follows_a_failure():
    """Behind the failure of an attempt only what went to the error handler is its own; the rest is of one unknown."""
    failed = record(StepFailed, 3, 1, ERROR)
    handed = record(EventSent, 3, "m:StepFailedEvent", NOTHING, "h")
    run = read(*START, failed, handed, record(ContextWritten, 3, "x", NOTHING))
    first, second = run.invocations[3].attempts
    assert (first.number, first.sent, first.written) == (1, (5,), ())
    assert (second.number, second.started, [each.seq for each in second.written]) == (0, 0, [6])


def test_no_attempt_outlives_its_process():
    """What an invocation did after the run went on from saved data is of a new attempt."""
    records = number(
        *START, record(RunResumed, NOTHING), record(StepStarted, 3, 1, "a", 2), record(StepCompleted, 3, 1)
    )
    (run,) = read_runs(each for each in records if each.seq != 5)
    assert [(each.started, each.ended) for each in run.invocations[3].attempts] == [(3 * S, 0), (0, 6 * S)]
    (run,) = read_runs(records)
    assert [(each.started, each.ended) for each in run.invocations[3].attempts] == [(3 * S, 0), (5 * S, 6 * S)]


def test_pauses():
    """A pause lasts until the run goes on; going on without a pause is none."""
    run = read(*START, record(RunPaused, "delayed"), record(RunResumed), record(RunResumed), record(RunPaused, "x"))
    assert [(pause.reason, pause.started, pause.ended) for pause in run.pauses] == [
        ("delayed", 4 * S, 5 * S),
        ("x", 7 * S, 0),
    ]
    assert run.outcome == "paused"


def test_pauses_with_holes():
    """Where records are missing, a pause lasts as long as is sure, and the run is not said to pause."""
    more = (
        record(RunPaused, "delayed"),
        record(RunResumed),
        record(RunPaused, "x"),
        record(EventReceived, "m:B", NOTHING),
    )
    first, *records = number(*START, *more, record(RunResumed), record(RunPaused, "y"))
    (run,) = read_runs([first, *(each for each in records if each.seq not in {5, 8})])
    assert [(pause.reason, pause.started, pause.ended) for pause in run.pauses] == [
        ("delayed", 4 * S, 4 * S),
        ("x", 6 * S, 7 * S),
        ("y", 9 * S, 0),
    ]
    assert (run.outcome, run.reason) == ("paused", "y")
    (run,) = read_runs(
        [each for each in records if each.seq not in {8, 9}] + [EventReceived(12, "run", S, "m:B", NOTHING)]
    )
    assert (run.outcome, run.reason) == ("open", "")


def test_restored():
    """In a run that goes on from saved data nothing could begin before it did; what it was before is a gap."""
    records = [
        RunResumed(10, "run", 10 * S, NOTHING),
        StepStarted(11, "run", 12 * S, 3, 1, "a", 2),
        StepCompleted(12, "run", 13 * S, 3, 1),
    ]
    (run,) = read_runs(records)
    assert run.invocations[3].attempts[0].queued == 2 * S
    assert (run.gaps, run.faults) == (((1, 9),), ("The record of event 2 is missing.",))
    before = [EventReceived(2, "run", 2 * S, "m:B", NOTHING), StepStarted(3, "run", 5 * S, 3, 1, "a", 2)]
    (run,) = read_runs([*before, *records])
    assert [attempt.queued for attempt in run.invocations[3].attempts] == [3 * S, 2 * S]


def test_outside():
    """What was written from outside of steps belongs to the run; so does the step that started it."""
    run = read(
        record(RunStarted, "Flow", "", parent_run="other", parent_invocation=5),
        record(ContextWritten, 0, "x", NOTHING),
        record(StreamWritten, 0, "m:Note", NOTHING),
    )
    assert ([each.seq for each in run.written], [each.seq for each in run.streamed]) == ([2], [3])
    assert (run.parent_run, run.parent_invocation, summarize(run).writes) == ("other", 5, 1)
