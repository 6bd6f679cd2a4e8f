"""What the history of runs answers when it is asked where time went, who wrote what, and what was never tried."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow import retry_policy as policies
from otflow.drawing.answers_text import draw_advice, draw_blame, draw_coverage, draw_path, draw_spent
from otflow.drawing.line import measure_line, plain
from otflow.records.answers import advise, blame, coverage, critical_path, spent
from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventReleased,
    EventSent,
    Failure,
    RetryScheduled,
    RunCompleted,
    RunResumed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    WaitEnded,
    WaitStarted,
)
from tests.answers.diffs import Shop, execution, interview, shop
from tests.drawing.runs import RUNS, loop, trip
from tests.drawing.runs import interview as failed_interview
from tests.laws.strategies import histories

MS = 1_000_000


def body(value):
    """Make a payload as it is read from a record."""
    return Body(json=msgspec.json.encode(value))


def number(records):
    """Give records of one run numbers from 1, and times that are not 0, which stands for none."""
    return Execution([msgspec.structs.replace(each, seq=n, at=each.at + 1000) for n, each in enumerate(records, 1)])


def retried(step, *tries, delays=()):
    """Make a run of one invocation, of which each try is the name of an error or "" for success."""
    records = [RunStarted(1, "r", 0, "W", "g"), EventReceived(2, "r", 0, "m:E", body({}))]
    at = 0
    for place, error in enumerate(tries, 1):
        delay = delays[place - 2] if place > 1 and delays else 0
        at += int(delay * 1e9) + 10 * MS
        if place > 1:
            records.append(RetryScheduled(0, "r", at, 3, place, delay, at))
        records.append(StepStarted(0, "r", at, 3, place, step, 2))
        end = (
            StepFailed(0, "r", at + MS, 3, place, Failure(error, ""))
            if error
            else StepCompleted(0, "r", at + MS, 3, place)
        )
        records.append(end)
    return number([*records[:2], *records[2:]])


# --- where time went ----------------------------------------------------------------------------------------


def test_time_is_divided_by_what_it_was_spent_on():
    """Of each step it is known how long it ran, failed, stood in the queue, waited and was delayed."""
    found = spent(Execution(trip()))
    steps = {each.step: each for each in found.steps}
    assert steps["look_up"].attempts == 13
    assert 10 * MS <= steps["look_up"].failed < steps["look_up"].running
    assert steps["look_up"].delayed >= 500 * MS
    assert steps["look_up"].queued > 0
    assert found.steps[0].step == "look_up"
    assert found.total.running == sum(each.running for each in found.steps)
    assert found.busy <= found.wall


def test_waits_are_no_work():
    """What a step stood still is waiting, and a pause of the run has its reason."""
    found = spent(Execution(interview("Ada")))
    assert (found.steps[0].waiting, found.steps[0].running, found.busy) == (30_000 * MS, 0, 0)
    assert found.pauses == (("waiting", 30_000 * MS),)
    lost = spent(execution(interview("Ada"), 3))
    assert lost.steps[0].step == ""
    worked = [
        RunStarted(1, "r", 0, "W", "g"),
        EventReceived(2, "r", 0, "m:E", body({})),
        StepStarted(3, "r", 10, 3, 1, "s", 2),
        WaitStarted(4, "r", 20, 3, "w", "m:A"),
        WaitEnded(5, "r", 50, 3, 4),
        StepCompleted(6, "r", 60, 3, 1),
    ]
    assert spent(number(worked)).busy == 20


def test_held_events_are_paused():
    """An event that the caller of a stepwise run kept back was paused for that time."""
    records = [
        RunStarted(1, "r", 0, "W", "g", stepwise=True),
        EventReceived(2, "r", 0, "m:E", body({})),
        StepStarted(3, "r", 10, 3, 1, "a", 2),
        StepCompleted(4, "r", 20, 3, 1),
        EventSent(5, "r", 20, 3, "m:B", body({}), returned=True, held=True),
        EventReleased(6, "r", 120, 5),
        StepStarted(7, "r", 130, 7, 1, "b", 5),
        StepCompleted(8, "r", 140, 7, 1),
        EventSent(9, "r", 140, 7, "m:S", body({}), returned=True),
        RunCompleted(10, "r", 140, 9),
    ]
    found = spent(number(records))
    assert {each.step: each.paused for each in found.steps} == {"a": 0, "b": 100}
    path = critical_path(number(records))
    assert [(each.doing, each.step, each.duration) for each in path.segments] == [
        ("queued", "a", 10),
        ("running", "a", 10),
        ("paused", "b", 100),
        ("queued", "b", 10),
        ("running", "b", 10),
    ]
    assert path.whole


# --- what the end had to wait for ---------------------------------------------------------------------------


def test_the_critical_path_leads_through_the_slowest_branch():
    """The path goes from the start to the end without a hole, through the delayed retry."""
    path = critical_path(Execution(trip()))
    assert path.whole
    assert path.duration == path.wall
    assert [each.started for each in path.segments[1:]] == [each.ended for each in path.segments[:-1]]
    assert "delayed" in {each.doing for each in path.segments}
    assert critical_path(Execution(loop())).duration == 41 * 3 * MS


def test_a_path_waits_for_the_outside():
    """While a run waits for an answer, the path waits with it, inside a step and between two."""
    path = critical_path(Execution(interview("Ada")))
    assert [(each.doing, each.step) for each in path.segments] == [("waiting", "ask")]
    assert critical_path(Execution(failed_interview())).whole
    records = [
        RunStarted(1, "r", 0, "W", "g"),
        EventReceived(2, "r", 0, "m:E", body({})),
        StepStarted(3, "r", 0, 3, 1, "a", 2),
        StepCompleted(4, "r", 20, 3, 1),
        EventReceived(5, "r", 120, "m:Reply", body({})),
        StepStarted(6, "r", 120, 6, 1, "b", 5),
        StepCompleted(7, "r", 130, 6, 1),
        EventSent(8, "r", 130, 6, "m:S", body({}), returned=True),
        RunCompleted(9, "r", 130, 8),
    ]
    path = critical_path(number(records))
    assert [(each.doing, each.step, each.duration) for each in path.segments] == [
        ("running", "a", 20),
        ("waiting", "", 100),
        ("running", "b", 10),
    ]


def test_a_path_follows_an_answer_of_another_step():
    """If another step answered a wait, the path goes through that step."""
    records = [
        RunStarted(1, "r", 0, "W", "g"),
        EventReceived(2, "r", 0, "m:E", body({})),
        StepStarted(3, "r", 0, 3, 1, "asks", 2),
        EventSent(4, "r", 10, 3, "m:Q", body({})),
        WaitStarted(5, "r", 20, 3, "w", "m:A"),
        StepStarted(6, "r", 30, 6, 1, "answers", 4),
        StepCompleted(7, "r", 80, 6, 1),
        EventSent(8, "r", 80, 6, "m:A", body({}), returned=True),
        WaitEnded(9, "r", 90, 3, 5, 8),
        StepCompleted(10, "r", 100, 3, 1),
        EventSent(11, "r", 100, 3, "m:S", body({}), returned=True),
        RunCompleted(12, "r", 100, 11),
    ]
    path = critical_path(number(records))
    assert [(each.doing, each.step, each.duration) for each in path.segments] == [
        ("running", "asks", 10),
        ("queued", "answers", 20),
        ("running", "answers", 50),
        ("waiting", "asks", 10),
        ("running", "asks", 10),
    ]
    still = critical_path(number(records[:5]))
    assert [each.step for each in still.segments] == ["asks"]
    later = [*records[:4], WaitStarted(5, "r", 20, 3, "w", "m:A"), *records[5:8], *records[9:]]
    assert [each.step for each in critical_path(number(later)).segments] == ["asks", "asks"]


def test_a_path_that_is_not_known_says_so():
    """Of a torn run the path is what is known, and nothing of an empty one."""
    assert not critical_path(Execution(RUNS["torn"]())).whole
    assert critical_path(Execution(shop("nut")[:1])).segments == ()
    assert not critical_path(execution(shop("nut"), 2)).whole
    assert critical_path(execution(shop("nut"), 5)).duration > 0
    assert critical_path(Execution(shop("nut")[:-1])).duration > 0


@given(histories(), st.data())
def test_answers_never_fail(records, data):
    """Whatever is missing, every question has an answer, and no time is negative."""
    lost = data.draw(st.sets(st.integers(1, len(records)), max_size=len(records) - 1))
    known = Execution([record for place, record in enumerate(records, 1) if place not in lost])
    path = critical_path(known)
    assert all(each.duration > 0 for each in path.segments)
    found = spent(known)
    assert all(getattr(found.total, name) >= 0 for name in ("running", "queued", "waiting", "delayed", "paused"))
    assert blame(known).writes is not None
    assert coverage([known], {}).runs == 1
    for lines in (draw_path(path), draw_spent(found), draw_blame(blame(known)), draw_advice(advise([known]))):
        assert all(measure_line(line) <= 80 for line in lines)


# --- who wrote it -------------------------------------------------------------------------------------------


def test_a_value_has_an_author():
    """Each write to a place is found, also above it and in it, with the step and the attempt."""
    known = Execution(shop("nut", "bolt", broken={"nut": 1}))
    found = blame(known, "prices.nut")
    assert (found.last.step, found.last.attempt, found.last.value.json) == ("price", 2, b"100")
    assert [write.path for write in blame(known, "prices").writes] == ["prices.bolt", "prices.nut"]
    assert [write.path for write in blame(known).writes] == ["count", "prices.bolt", "prices.nut", "sum"]
    assert blame(known, "nothing").last is None
    assert blame(known, "prices.nut", at=5).writes == ()
    assert found.doubts == ()


def written(*writes, carried=None):
    """Make a run that writes, from outside, to a state that its context brought along."""
    start = RunStarted(1, "r", 0, "W", "g", carried=body({"state": carried}) if carried is not None else None)
    return number([start, *(ContextWritten(2, "r", 5, 0, path, value, gone) for path, value, gone in writes)])


def test_a_value_is_followed_through_writes_above_it():
    """A write above a place changes it, takes it away, or never knew of it."""
    known = written(
        ("a", body({"b": [1, 2]}), False),
        ("", body({"a": {"b": [3]}}), False),
        ("a", body({}), False),
        ("a", body(1), False),
        ("a.b", body([4]), False),
        ("a", body(None), True),
        ("c", body(1), False),
    )
    told = [(w.path, w.value.json if w.value is not None else None) for w in blame(known, "a.b.0").writes]
    assert told == [("a", b"1"), ("", b"3"), ("a", None), ("a.b", b"4"), ("a", None)]
    assert blame(known, "a.b.1").writes[1].value is None
    assert blame(known, "a").writes[-1].value is None
    inner = written(("a.b", body(1), False), ("a.b", body(None), True))
    assert [w.value is None for w in blame(inner, "a").writes] == [False, False]
    assert len(blame(inner).writes) == 2


def test_what_the_context_brought_along_has_no_step():
    """A value that was there from the beginning was brought along; what was cut is not taken for gone."""
    known = written(("a", make_mark(10), False), carried={"a": {"b": 1}})
    first, second = blame(known, "a.b").writes
    assert (first.carried, first.value.json) == (True, b"1")
    assert second.value.json == b'{"$truncated":10}'
    assert blame(known, "a.b").doubts != ()
    assert blame(written(carried={}), "").writes == ()


# --- what was never taken -----------------------------------------------------------------------------------


def test_ways_that_no_run_has_taken_are_found():
    """A way counts as taken by how often and in how many runs it was; the others are named."""
    routes = Shop(timeout=None).graph.routes
    runs = [Execution(shop("nut", "bolt")), Execution(shop("nut"))]
    found = coverage(runs, {**routes, "m:Never": ("total",)})
    by = {(edge.event.rpartition(":")[2], edge.step): edge for edge in found.edges}
    assert (by["Order", "price"].taken, by["Order", "price"].runs) == (3, 2)
    assert [(edge.event, edge.step) for edge in found.never] == [("m:Never", "total")]
    assert found.share == 0.75
    assert (found.runs, found.partial) == (2, 0)
    foreign = coverage([execution(shop("nut"), 2)], {})
    assert foreign.partial == 1
    assert all(not edge.known for edge in foreign.edges)
    assert foreign.share == 1


# --- whether it helps to try again --------------------------------------------------------------------------


def test_advice_stands_on_what_helped():
    """Errors that recovered are retried, those that never did are not; the wait is the one that helped."""
    runs = [retried("fetch", "a.Down", "", delays=(2,)) for _ in range(5)]
    runs += [retried("fetch", "b.Bad", "b.Bad", delays=(2,)) for _ in range(3)]
    [advice] = advise(runs)
    assert (advice.failed, advice.retried, advice.recovered, advice.enough) == (8, 8, 5, True)
    assert (
        advice.policy
        == "retry_policy(retry=retry_if_exception_type(Down), wait=wait_fixed(2), stop=stop_after_attempt(2))"
    )
    assert advice.classes == ("a.Down",)
    assert advice.attempts == ((2, 5),)
    assert [(row.delay, row.attempts, row.succeeded) for row in advice.delays] == [(2.0, 8, 5)]
    assert advice.reason == "5 of 8 invocations that were tried again recovered, none of them from Bad."
    two = advise([*runs, retried("fetch", "c.Slow", "", delays=(2,))])[0]
    assert "retry_if_exception_type((Down, Slow))" in two.policy


@pytest.mark.parametrize(
    ("runs", "policy"),
    [
        ([retried("s", "E", "E", "", delays=(1, 2)), retried("s", "E", "")], "wait_exponential(multiplier=0.5, max=2)"),
        ([retried("s", "E", "")], "wait_none()"),
        ([retried("s", "E", "E", "", delays=(3, 3))], "wait_fixed(3)"),
    ],
)
def test_the_wait_follows_the_delays(runs, policy):
    """Delays that grow become an exponential wait, equal ones a fixed one, none at all no wait."""
    [advice] = advise(runs)
    assert policy in advice.policy
    assert not advice.enough
    assert "guess" in advice.reason
    names = {name: getattr(policies, name) for name in policies.__all__}
    assert isinstance(eval(advice.policy, names), policies.RetryPolicy)


def without(known, *lost):
    """Take records away."""
    return Execution([each for each in known.records if each.seq not in lost])


def test_advice_invents_no_delay():
    """An attempt whose delay is not recorded counts as an attempt, and says nothing about waiting."""
    tries = retried("s", "E", "E", "", delays=(1, 3))
    second, third = (each.seq for each in tries.records if isinstance(each, RetryScheduled))
    [advice] = advise([without(tries, second), without(tries, third)])
    assert [(row.delay, row.attempts, row.succeeded) for row in advice.delays] == [(1.0, 1, 0), (3.0, 1, 1)]
    assert advice.attempts == ((3, 2),)
    [unknown] = advise([without(tries, second, third)])
    assert (unknown.policy, unknown.delays) == ("retry_policy(stop=stop_after_attempt(3))", ())
    assert "No delay is recorded" in unknown.reason
    [torn] = advise([without(tries, second, second + 1, second + 2)])
    assert (torn.retried, torn.attempts, torn.errors[0].retried) == (1, ((3, 1),), 1)
    [undecided] = advise([without(tries, third + 1, third + 2)])
    assert (undecided.retried, undecided.recovered, undecided.errors[0].retried) == (0, 0, 0)
    assert "cannot tell" in undecided.reason


def test_advice_is_silent_where_nothing_is_known():
    """Failures that nobody tried again say nothing, and those that never recovered advise against it."""
    [unknown] = advise([retried("s", "E")])
    assert (unknown.policy, unknown.enough) == ("", False)
    assert "cannot tell" in unknown.reason
    [few] = advise([retried("s", "E", "E")])
    assert "too few to tell" in few.reason
    [never] = advise([retried("s", "E", "E")] * 5)
    assert never.reason == "5 invocations were tried again, and none recovered: it does not help."
    assert advise([retried("s", "")]) == ()


# --- how it looks -------------------------------------------------------------------------------------------


def test_answers_have_lines():
    """Each answer is drawn in lines that say what there is, first the sum of it."""
    known = Execution(shop("nut", broken={"nut": 1}))
    assert plain(draw_path(critical_path(known))[0]).startswith("critical path: 30 s of 30 s")
    assert any("price #6 attempt 2" in plain(line) for line in draw_path(critical_path(known)))
    torn = draw_path(critical_path(Execution(RUNS["torn"]())))
    assert "not all of it is recorded" in plain(torn[-1])
    assert [plain(line).split()[0] for line in draw_spent(spent(known))][1:-1] == [
        "step",
        "price",
        "split",
        "total",
        "all",
    ]
    assert "nothing ran" in plain(draw_spent(spent(Execution(interview("Ada"))))[-1])
    assert plain(draw_blame(blame(known, "sum"))[0]) == "sum: 1 write, the last one first"
    assert "brought along" in plain(draw_blame(blame(written(carried={"a": 1}), "a"))[1])
    assert "taken away" in plain(draw_blame(blame(written(("a", body(None), True), carried={"a": 1}), "a"))[1])
    assert "Nothing is recorded" in plain(draw_blame(blame(known, "none"))[0])
    ways = draw_coverage(coverage([known, execution(shop("nut"), 2)], {**Shop().graph.routes, "m:Never": ("total",)}))
    assert plain(ways[0]) == "3 of 4 edges taken by 2 runs"
    assert any("never" in plain(line) for line in ways)
    assert "not known in full" in plain(ways[-1])
    assert "graph does not have" in plain(draw_coverage(coverage([known], {}))[1])
    advice = [plain(line) for line in draw_advice(advise([known]))]
    assert advice[0].startswith("price")
    assert any("retry_policy(" in line for line in advice)
    assert plain(draw_advice([])[0]) == "No recorded step has failed."


# --- where nobody knows -------------------------------------------------------------------------------------


def test_clocks_that_differ_are_a_doubt():
    """If a record tells an earlier time than the one before it, no time is told, and the reason is."""
    records = [msgspec.structs.replace(each, at=each.at - 9**18 // 9**9 * (each.seq > 9)) for each in shop("nut")]
    known = Execution([msgspec.structs.replace(each, at=each.at + 10**12) for each in records])
    path, times = critical_path(known), spent(known)
    assert (path.segments, path.wall, path.whole, path.duration) == ((), 0, False, 0)
    assert (times.wall, times.busy, times.pauses, times.total.running, times.total.attempts) == (0, 0, (), 0, 3)
    assert path.doubts == times.doubts
    assert "Record 10 tells an earlier time" in path.doubts[0]
    lines = [plain(line) for line in (*draw_path(path), *draw_spent(times))]
    assert lines[0] == "critical path: not known"
    assert not any("%" in line for line in lines)
    assert not any("+" in plain(line) for line in draw_blame(blame(known, "")))


def test_an_index_from_the_end_is_a_place():
    """A write to the last item of a list is one to its number, and a removal moves what comes after it."""
    known = written(("l", body([1, 2, 3]), False), ("l.-1", body(9), False), ("l.0", body(None), True))
    told = [(write.path, write.value.json) for write in blame(known, "l.1").writes]
    assert told == [("l", b"2"), ("l.0", b"9")]
    assert [write.path for write in blame(known, "l.1").writes] == [write.path for write in blame(known, "l.-1").writes]
    assert [write.value for write in blame(known, "l.2").writes][-1] is None
    assert blame(known, "l.0.x").writes == ()
    assert blame(written(("l", body([1]), False), ("l", body(None), True)), "l").writes[-1].value is None


def test_an_index_of_what_is_not_recorded_is_a_doubt():
    """A write to the last item of a list that nobody knows may be one to any of its places."""
    known = written(("l.-1", body(9), False))
    assert "which place that was is not recorded" in blame(known, "l.2").doubts[0].reason
    assert blame(known, "other").doubts == blame(written(("l", body(9), False)), "other").doubts


def test_saved_data_brings_a_state_along():
    """What a run went on with is told, if that is not known already; what it no longer has was taken away."""
    saved = [body({"state": state}) for state in ({"a": 1}, {"a": 1, "b": 2}, {"b": 2})]
    records = [RunResumed(place, "r", place, each) for place, each in enumerate(saved, 9)]
    known = Execution(records, merged=True)
    assert [(write.seq, write.carried) for write in blame(known, "a").writes] == [(9, True), (11, True)]
    assert blame(known, "a").last.value is None
    assert [write.seq for write in blame(known, "b").writes] == [10]
    assert [gap.first for gap in blame(known, "a").doubts] == [1, 12][:1]


def test_an_attempt_that_may_be_another_has_no_number():
    """A write is of an attempt only if no other attempt may have begun before it."""
    records = [
        RunStarted(1, "r", 0, "W", "g"),
        EventReceived(2, "r", 0, "m:E", body({})),
        StepStarted(3, "r", 1, 3, 1, "s", 2),
        ContextWritten(7, "r", 5, 3, "a", body(1)),
    ]
    assert [(write.step, write.attempt) for write in blame(Execution(records), "a").writes] == [("s", 0)]
    told = Execution([*records, StepCompleted(8, "r", 6, 3, 2)])
    assert [(write.step, write.attempt) for write in blame(told, "a").writes] == [("s", 0)]


def test_a_queue_is_known_only_without_gaps():
    """How long an attempt waited for a worker is unknown if the record that made it ready may be missing."""
    records = [
        RunStarted(1, "r", 5, "W", "g"),
        EventReceived(2, "r", 5, "m:E", body({})),
        StepStarted(3, "r", 9, 3, 1, "s", 2),
        StepFailed(4, "r", 10, 3, 1, Failure("E", "")),
        RetryScheduled(5, "r", 10, 3, 2, 1.0, 20),
        StepStarted(6, "r", 25, 3, 2, "s", 2),
        StepCompleted(7, "r", 26, 3, 2),
    ]
    assert [each.queued for each in Execution(records).attempts] == [4, 5]
    assert [each.queued for each in Execution([*records[:4], *records[5:]]).attempts] == [4, 0]
    assert spent(Execution(records)).total.delayed == 10
    assert spent(Execution([*records[:3], *records[4:]])).total.delayed == 0


def test_a_wait_of_which_half_is_missing_is_neither_work_nor_rest():
    """Where the begin or the end of a wait may be missing, nobody says how long the step worked."""
    records = [
        StepStarted(3, "r", 10, 3, 1, "s", 2),
        WaitStarted(4, "r", 20, 3, "w", "m:A"),
        StepCompleted(6, "r", 60, 3, 1),
    ]
    [attempt] = Execution(records).attempts
    assert (attempt.unclear, attempt.worked, attempt.stood) == (True, 0, 0)
    assert spent(Execution(records)).busy == 0
    assert critical_path(Execution(records)).segments == ()
