"""What differs between two runs is told once, where it begins, and order and time are not taken for it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.diff_page import draw_difference_page
from otflow.drawing.diff_text import draw_difference
from otflow.drawing.line import ASCII, measure_line, plain
from otflow.records.body import Body
from otflow.records.diff import diff
from otflow.records.execution import Execution
from otflow.records.ordering import find_still
from otflow.records.payloads import make_mark, payload_of, replace_payload
from otflow.records.record import RunCancelled, RunStarted, RunTimedOut, StepStarted
from otflow.records.values import compare
from tests.answers.diffs import Shop, execution, interview, record, shop
from tests.drawing.runs import RUNS
from tests.laws.strategies import histories, restored_histories


def kinds(difference):
    """Give the kinds of the differences, in order."""
    return [point.kind for point in difference.points]


def told(difference):
    """Give all that is told to differ, proven or not."""
    return [*difference.points, *difference.unproven]


def close(records):
    """Number records without gaps, so that what was taken out of them was never there; ids stay as they are."""
    numbers = {each.seq: place for place, each in enumerate(records, 1)}
    names = {"event", "invocation", "wait"}
    found = []
    for each in records:
        ids = {name: getattr(each, name) for name in names if getattr(each, name, 0)}
        renamed = {name: numbers.get(id, 900 + id) for name, id in ids.items()}
        if getattr(each, "events", ()):
            renamed["events"] = tuple(numbers.get(id, 900 + id) for id in each.events)
        found.append(msgspec.structs.replace(each, seq=numbers[each.seq], **renamed))
    return found


def change(records, kind, **fields):
    """Change the first record of a kind."""
    place = next(place for place, each in enumerate(records) if type(each).__name__ == kind)
    return [*records[:place], msgspec.structs.replace(records[place], **fields), *records[place + 1 :]]


def body(value):
    """Make a payload as it is read from a record."""
    return Body(json=msgspec.json.encode(value))


@given(histories())
def test_a_run_does_not_differ_from_itself(records):
    """Compared with itself, any run is the same, in the same order."""
    found = diff(records, records)
    assert (found.verdict, found.points, found.moves) == ("same", (), ())


@given(restored_histories(), st.data())
def test_lost_records_are_not_taken_for_changes(records, data):
    """With some records lost, nothing that is there on both sides is said to differ."""
    lost = data.draw(st.sets(st.integers(2, len(records)), max_size=len(records) // 5))
    found = diff(records, [record for place, record in enumerate(records, 1) if place not in lost])
    assert [point for point in found.points if point.left and point.right and point.kind in ("payload", "state")] == []
    assert bool(found.notes) or found.verdict == "same"


def test_the_same_work_takes_no_notice_of_time():
    """Two runs that did the same are the same, however long they took."""
    found = diff(shop("nut", "bolt"), [msgspec.structs.replace(each, at=each.at * 2) for each in shop("nut", "bolt")])
    assert found.verdict == "same"
    assert found.sentence == "Both runs did the same, in the same order; the second took 2 times as long."
    assert found.ratio == 2
    assert {each.step: each.ratio for each in found.timing} == {"price": 2, "split": 2, "total": 2}


def test_another_order_is_told_as_order():
    """Branches that came in another order are matched by what they say."""
    found = diff(shop("nut", "bolt", "nail"), shop("nail", "nut", "bolt"), ignore=("goods",))
    assert found.verdict == "order"
    assert found.first is not None
    assert "began after price #" in found.sentence
    assert any("collected the same events in another order" in point.sentence for point in found.moves)


def test_the_first_difference_is_where_it_begins():
    """Of a change and all that follows from it, the change is told first, with its place."""
    found = diff(shop("nut", "bolt"), shop("nut", "bolt", prices={"bolt": 7}))
    assert found.verdict == "different"
    assert (found.first.kind, found.first.path, found.first.left, found.first.right) == (
        "state",
        "prices.bolt",
        "100",
        "7",
    )
    assert found.sentence.startswith("price #8 wrote 100 to prices.bolt in the first run, 7 in the second")
    assert kinds(found) == ["state", "payload", "state", "payload"]


def test_what_follows_from_an_event_is_counted_with_it():
    """An event that only one run has is told once, with how much followed from it."""
    left, right = shop("nut", "bolt"), shop("nut")
    found = diff(left, right, ignore=("goods",))
    sentences = [point.sentence for point in found.points]
    assert any(
        "The second run has no record of Order of split #3, which the first run has, with" in s for s in sentences
    )
    again = diff(right, left, ignore=("goods",))
    sentences = [point.sentence for point in again.points]
    assert any(
        "The first run has no record of Order of split #3, which the second run has, with" in s for s in sentences
    )
    assert "collection" in kinds(found)


def test_attempts_differ_by_what_came_of_them():
    """A retry, and a failure for good, are differences of attempts."""
    found = diff(shop("nut"), shop("nut", broken={"nut": 1}))
    assert found.first.kind == "attempt"
    assert (
        "Attempt 1 of price #6 completed in the first run, failed with ConnectionError: no price of nut"
        in found.sentence
    )
    once, twice = shop("nut", broken={"nut": 1}), shop("nut", broken={"nut": 2})
    assert any("failed with ConnectionError" in point.sentence for point in diff(once, twice).points)
    ended = diff(shop("nut"), shop("nut", broken={"nut": 9}))
    assert ended.points[-1].kind == "outcome"
    assert ended.points[-1].sentence.startswith("The first run completed; the second failed with ConnectionError")


def test_attempts_are_counted():
    """Where the attempts that both have are alike, their number is compared."""
    failed = shop("nut", broken={"nut": 9})
    begun = [each for each in failed if not (isinstance(each, StepStarted) and each.attempt == 3)]
    cut = [each for each in begun if getattr(each, "attempt", 0) != 3]
    first, second = "3 attempts are recorded of price #6 in the first run", "2 attempts are recorded of price #6"
    assert any(point.sentence.startswith(first) for point in diff(failed, cut).unproven)
    assert any(point.sentence.startswith(second) for point in diff(cut, failed).unproven)
    assert any(point.sentence.startswith(first) for point in diff(failed, close(cut)).points)
    assert any(point.sentence.startswith(second) for point in diff(close(cut), failed).points)


def test_waits_differ_by_their_end():
    """A wait that was answered, one that was not, and one that goes on are told apart."""
    answered, lonely = interview("Ada"), interview(None)
    found = diff(answered, lonely)
    assert any(
        point.kind == "wait"
        and "for Answer was answered in the first run, for Answer ended unanswered" in point.sentence
        for point in found.points
    )
    assert diff(answered, interview("Ada")).verdict == "same"
    open_ended = [each for each in answered if type(each).__name__ not in ("WaitEnded", "RunCompleted")]
    assert any("has no recorded end" in point.sentence for point in diff(answered, open_ended).unproven)
    none = [each for each in answered if not type(each).__name__.startswith("Wait")]
    assert any("1 waits are recorded in the first run, 0" in point.sentence for point in diff(answered, none).unproven)
    whole = diff(answered, close(none))
    assert any("1 waits are recorded in the first run, 0" in point.sentence for point in whole.points)
    assert diff(answered, interview("Bo")).first.path == "text"


def test_a_wait_that_got_another_event_differs():
    """Both waits were answered, but not by the same event."""
    left = [*interview("Ada")]
    end = next(each for each in left if type(each).__name__ == "WaitEnded")
    twin = msgspec.structs.replace(next(each for each in left if each.seq == end.event), seq=900)
    both = close([*left[:-1], twin, left[-1]])
    right = change(both, "WaitEnded", event=both[-2].seq)
    assert any("got one event in the first run, another one" in point.sentence for point in diff(both, right).points)


def test_the_workflow_and_what_it_brought_along_are_compared():
    """Another workflow, other steps, and another state to begin with are differences of their own."""
    records = shop("nut")
    other = change(records, "RunStarted", workflow="Store")
    assert diff(records, other).sentence == "The first run is one of Shop, the second one of Store."
    assert "were changed" in diff(records, change(records, "RunStarted", graph="x")).sentence
    carried = change(records, "RunStarted", carried=body({"state": {"old": 1}}))
    assert "brought along" in diff(records, carried).sentence
    headless = [each for each in records if not isinstance(each, RunStarted)]
    assert diff(records, headless).verdict != "different"
    torn = change(records, "RunStarted", carried=make_mark(9))
    assert diff(torn, torn).notes == ("1 payload was not compared in full, because a part is truncated.",)


def test_what_the_same_writes_came_to_is_compared():
    """Writes of the same values in another order may leave another state, and then that is said."""
    records = shop("nut", "bolt")
    places = [place for place, each in enumerate(records) if type(each).__name__ == "ContextWritten"][1:3]
    same = list(records)
    for place in places:
        same[place] = msgspec.structs.replace(records[place], path="last", value=body(records[place].path))
    swapped = list(same)
    one, other = (same[place] for place in places)
    swapped[places[0]] = msgspec.structs.replace(other, seq=one.seq)
    swapped[places[1]] = msgspec.structs.replace(one, seq=other.seq)
    found = diff(same, swapped)
    assert found.points[-1].kind == "state"
    assert "in the end there is" in found.points[-1].sentence


def test_steps_that_swap_the_same_writes_are_a_matter_of_order():
    """If all writes to a path, one after the other, are the same, it does not matter which event led to which."""
    records = shop("nut", "bolt")
    writes = [each for each in records if type(each).__name__ == "ContextWritten" and each.path.startswith("prices")]
    left = [
        msgspec.structs.replace(each, path="n", value=body(writes.index(each))) if each in writes else each
        for each in records
    ]
    orders = [each for each in left if getattr(each, "type", "").endswith("Order")]
    right = [
        msgspec.structs.replace(each, body=orders[1 - orders.index(each)].body) if each in orders else each
        for each in left
    ]
    found = diff(left, right)
    assert any("Taken together, both runs wrote the same" in point.sentence for point in found.moves)


def test_writes_of_one_side_are_told():
    """A write and a deletion that only one run has are told, and fields that are ignored are not."""
    records = shop("nut")
    less = [each for each in records if getattr(each, "path", "") != "sum"]
    assert any("the second has no record of that" in point.sentence for point in diff(records, less).unproven)
    assert any("the first has no record of that" in point.sentence for point in diff(less, records).unproven)
    less = close(less)
    assert any("the second has no record of that" in point.sentence for point in diff(records, less).points)
    assert any("the first has no record of that" in point.sentence for point in diff(less, records).points)
    assert diff(records, less, ignore=("sum",)).verdict == "same"
    gone = change(records, "ContextWritten", deleted=True, value=body(None))
    assert any(point.kind == "state" for point in diff(records, gone).points)
    assert any(
        "wrote deleted" in p.sentence for p in told(diff(gone, [e for e in gone if getattr(e, "path", "") != "count"]))
    )
    whole = change(records, "ContextWritten", path="", value=body({"count": 2}))
    assert any(
        "to count in" in p.sentence
        for p in diff(change(whole, "ContextWritten", value=body({"count": 3})), whole).points
    )


def test_the_stream_is_compared():
    """What was written to the stream is compared item by item, then counted."""
    records = shop("nut")
    other = change(records, "StreamWritten", body=body({"text": "screw"}))
    assert diff(records, other).sentence.startswith("What price #6 wrote to the stream (Log) differs at text")
    kind = change(records, "StreamWritten", type="shop:Note")
    assert '"' not in diff(records, kind).first.left
    none = [each for each in records if type(each).__name__ != "StreamWritten"]
    assert "1 events are recorded in the first run, 0" in diff(records, none).sentence


def test_work_of_one_side_is_told():
    """Work on a matched event that only one run has is told for itself."""
    records = shop("nut")
    id = next(each.seq for each in records if isinstance(each, StepStarted) and each.step == "price")
    other = [
        msgspec.structs.replace(e, step="cost") if isinstance(e, StepStarted) and e.seq == id else e for e in records
    ]
    found = diff(records, other)
    sentences = [point.sentence for point in found.points if point.kind == "step"]
    assert sentences == [
        "cost #6 worked on Order of split #3 in the second run; the first run has no record of that.",
        "price #6 worked on Order of split #3 in the first run; the second run has no record of that.",
    ]


def test_collections_of_other_events_are_told():
    """A collection is matched by its members first; with other members it is another one."""
    left, right = shop("nut", "bolt"), shop("nut", "bolt")
    id = next(each for each in right if type(each).__name__ == "EventsCollected")
    other = change(right, "EventsCollected", events=(id.events[0], id.events[0]))
    assert any("in the second it collected other ones" in point.sentence for point in diff(left, other).points)
    none = [each for each in right if type(each).__name__ != "EventsCollected"]
    assert (diff(left, none).verdict, diff(none, left).verdict) == ("unknown", "unknown")
    none = close(none)
    assert any("the second run has no such record" in point.sentence for point in diff(left, none).points)
    assert any("the first run has no such record" in point.sentence for point in diff(none, left).points)


def test_collections_of_the_same_events_are_matched_in_order():
    """Of collections with the same members, the first one is matched with the first one."""
    records = shop("nut", "bolt")
    collected = next(each for each in records if type(each).__name__ == "EventsCollected")
    twice = [*records, msgspec.structs.replace(collected, seq=700), msgspec.structs.replace(collected, seq=800)]
    assert diff(twice, twice).verdict == "same"


def test_hidden_payloads_are_counted():
    """What is hidden on both sides is not compared, and that is said."""
    records = shop("nut")
    hidden = change(records, "StreamWritten", body=body({"text": "__REDACTED__"}))
    assert diff(hidden, hidden).notes == ("1 payload was not compared in full, because a part is redacted.",)
    cut = change(records, "StreamWritten", body=make_mark(5))
    assert diff(cut, cut).notes == ("1 payload was not compared in full, because a part is truncated.",)


def test_what_is_not_recorded_is_not_compared():
    """Payloads that were cut, hidden or opaque are counted as not compared, unless they differ for certain."""
    records = shop("nut")
    place = next(place for place, each in enumerate(records) if type(each).__name__ == "EventSent")
    records[place] = replace_payload(
        records[place], body({"item": "nut", "amount": {"$opaque": "a.B", "repr": "<B at 1>"}})
    )
    moved = list(records)
    moved[place] = replace_payload(
        records[place], body({"item": "nut", "amount": {"$opaque": "a.B", "repr": "<B at 2>"}})
    )
    found = diff(records, moved)
    assert found.verdict == "same"
    assert found.notes == ("1 payload was not compared in full, because a part is opaque.",)
    cut = list(records)
    cut[place] = replace_payload(records[place], make_mark(5))
    assert "truncated" in diff(records, cut).notes[0]
    assert payload_of(cut[place]).json == b'{"$truncated":5}'


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ("a.1.b", "2", "3")),
        ({"a": [1]}, {"a": [1, 2]}, ("a.1", "", "2")),
        ({"a": 1}, {}, ("a", "1", "")),
        ("x" * 300, "y", ("", f'"{"x" * 199}…', '"y"')),
        ({"$truncated": 5}, {"$truncated": 6}, ("", '{"$truncated":5}', '{"$truncated":6}')),
        (
            {"$truncated": 5, "ref": "a"},
            {"$truncated": 5, "ref": "b"},
            ("", *(f'{{"$truncated":5,"ref":"{r}"}}' for r in "ab")),
        ),
        ({"$opaque": "A"}, {"$opaque": "B"}, ("", '{"$opaque":"A"}', '{"$opaque":"B"}')),
        ({"$opaque": "A"}, 1, ("", '{"$opaque":"A"}', "1")),
    ],
)
def test_the_first_place_at_which_payloads_differ(left, right, expected):
    """The first difference is found by path, as deep as both have one shape."""
    found = compare(body(left), body(right))
    assert tuple(found.change) == expected
    assert found.unknown == ""


@pytest.mark.parametrize(
    ("left", "right", "unknown"),
    [
        ("__REDACTED__", "x", "redacted"),
        ({"$truncated": 5}, {"a": 1}, "truncated"),
        ({"$truncated": 5, "ref": "a"}, {"$truncated": 5}, "truncated"),
        ({"$opaque": "A", "repr": "1"}, {"$opaque": "A", "repr": "2"}, "opaque"),
        ("__REDACTED__", "__REDACTED__", "redacted"),
        ({"$opaque": "A"}, {"$opaque": "A"}, "opaque"),
    ],
)
def test_nothing_is_claimed_of_what_is_not_there(left, right, unknown):
    """Where a payload is not whole, it is neither equal nor different."""
    assert compare(body(left), body(right)) == (None, unknown)


def test_nothing_is_a_payload_too():
    """A payload that one side lacks differs; two that are not there do not."""
    assert compare(None, None).change is None
    assert compare(body(1), None).change == ("", "1", "")


@given(st.permutations(range(12)))
def test_what_stands_still_is_the_longest_rising_series(numbers):
    """The series rises, and no place that is left out could be added between its neighbours."""
    still = find_still(numbers)
    chosen = [numbers[place] for place in still]
    assert still == sorted(still)
    assert chosen == sorted(chosen)
    longest = [0] * len(numbers)
    for place, number in enumerate(numbers):
        longest[place] = 1 + max((longest[before] for before in range(place) if numbers[before] < number), default=0)
    assert len(still) == max(longest)


def test_lists_are_bounded():
    """More differences than were asked for are counted."""
    found = diff(shop("nut", "bolt"), shop("nut", "bolt", prices={"bolt": 7, "nut": 8}), limit=2)
    assert (len(found.points), found.more) == (2, 4)


def test_an_unknown_start_is_no_difference():
    """Runs of which nothing but a part is known are compared by that part."""
    records = shop("nut")
    assert diff(execution(records, 2, 3), execution(records, 2, 3)).sentence.startswith("It cannot be told")
    assert diff(records[:9], records[:9]).sentence.startswith("In what is known of them, both runs did the same")
    assert diff(Execution(records[:1]), records).unproven
    paused = interview("Ada")[:6]
    assert any("is paused (waiting)" in point.sentence for point in diff(paused, interview("Ada")).unproven)


def test_ends_have_words():
    """Each way in which a run ends is named."""
    records = shop("nut")
    last = records[-1]
    cancelled = [*records[:-1], RunCancelled(seq=last.seq, run=last.run, at=last.at)]
    late = [*records[:-1], RunTimedOut(seq=last.seq, run=last.run, at=last.at, timeout=1)]
    assert diff(cancelled, late).points[-1].sentence == "The first run was cancelled; the second timed out."


@pytest.mark.parametrize("name", RUNS)
def test_drawings_hold_any_difference(name):
    """Drawn as text no line is too wide, and drawn as a page nothing of a run is markup."""
    records = RUNS[name]()
    found = diff(records, asyncio.run(record_again()), limit=3)
    lines = draw_difference(found, width=60, signs=ASCII, most=2)
    assert max(map(measure_line, lines)) <= 60
    assert plain(lines[0]).startswith("first")
    page = draw_difference_page(found)
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page


async def record_again():
    """Run the shop with names that would be markup."""
    return await record(Shop, {"prices": {}, "broken": {}}, goods=["<script>alert(1)</script>", "\x1b[31m"])


def test_a_page_escapes_what_runs_say():
    """Markup in payloads, names and messages stays text."""
    found = diff(shop("<script>x</script>", "&"), shop("<b>", "&"))
    page = draw_difference_page(found)
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    same = draw_difference_page(diff(shop("a"), shop("a")))
    assert "Both runs did the same" in same
    assert [plain(line) for line in draw_difference(diff(shop("a"), shop("a")))][3].startswith("Both runs did the same")


def test_lines_tell_time_and_notes():
    """Steps that took longer are named with how much, notes stand below, and what is left out is counted."""
    slow = [msgspec.structs.replace(each, at=each.at * 3) for each in shop("nut", "bolt")]
    found = diff(shop("nut", "bolt", prices={"bolt": 7, "nut": 8}), execution(slow, 5))
    lines = [plain(line) for line in draw_difference(found, most=1, signs=ASCII)]
    assert any(line.startswith("  price") and "x 3" in line for line in lines)
    assert any("Record 5 is missing." in line for line in lines)
    whole = diff(shop("nut", "bolt", prices={"bolt": 7, "nut": 8}), shop("nut", "bolt"))
    assert any("more" in plain(line) for line in draw_difference(whole, most=1, signs=ASCII))
    page = draw_difference_page(diff(shop("nut", "bolt"), shop("nut", "bolt", prices={"bolt": 7}), limit=1))
    assert "more are not shown" in page
    assert draw_difference_page(diff(shop("nut")[:1], shop("nut")[:1])).count("<h2>") == 0


@pytest.mark.parametrize("kind", ["EventReceived", "EventSent"])
def test_an_event_whose_record_is_lost_is_not_compared(kind):
    """Where the record of an event is missing, on one side or on both, nothing is said of its payload."""
    records = shop("nut", "bolt")
    for lost in [each for each in records if type(each).__name__ == kind]:
        rest = [each for each in records if each is not lost]
        assert "payload" not in kinds(diff(records, rest))
        assert diff(rest, rest).points == ()


@pytest.mark.parametrize(("left", "right"), [(1, True), (0, False), ([{"a": 1}], [{"a": True}]), ("1", 1), ({}, [])])
def test_values_are_told_apart_as_json_does(left, right):
    """A number is no truth value, however deep they stand; 1 and 1.0 are one number."""
    assert compare(body(left), body(right)).change is not None
    assert compare(body({"a": 1, "b": 2}), body({"b": 2, "a": 1.0})) == (None, "")


def test_marks_are_not_taken_for_values():
    """What is hidden on both sides is not compared, beside what is there; a reference says what was cut."""
    hidden, shown = {"a": "__REDACTED__", "b": 1}, {"b": 1, "a": "__REDACTED__"}
    assert compare(body(hidden), body(shown)) == (None, "redacted")
    cut = {"$truncated": 5, "ref": "x"}
    assert compare(body([cut, 1]), body([cut, 2])).change == ("1", "1", "2")


def test_clocks_that_differ_give_no_times():
    """Of a run whose times run against its numbers nobody says how long it took."""
    records = shop("nut")
    back = [msgspec.structs.replace(each, at=each.at - 900_000_000) if each.seq > 9 else each for each in records]
    found = diff(records, back)
    assert (found.verdict, found.ratio, found.b.duration, found.b.astray) == ("same", None, 0, True)
    assert all(each.ratio is None for each in found.timing)
    assert "not known how long the second run took. Record 10 tells an earlier time" in found.notes[0]
    assert plain(draw_difference(found)[1]).endswith("  ?")
    assert "ms → ?" in draw_difference_page(found)
    assert "ms → 0" not in draw_difference_page(found)
    still = diff(records[:1], records[:1])
    assert (still.a.astray, plain(draw_difference(still)[0])[-4:]) == (False, "0 ms")


def test_what_a_torn_run_proves_the_whole_one_does():
    """Whichever record is missing: a run is never proven to differ where it does not, and what is proven is so."""
    items = ("nut", "bolt")
    runs = [shop(*items), shop(*items, prices={"bolt": 7}), shop(*items, "nail"), shop(*items, broken={"nut": 1})]
    proven = 0
    for one in runs:
        for other in runs:
            whole = diff(one, other).verdict
            for lost in one:
                part = [each for each in one if each is not lost]
                found = {diff(part, other).verdict, diff(other, part).verdict}
                assert "different" not in found or whole == "different"
                proven += "different" in found
    assert proven > 100
