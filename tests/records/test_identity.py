"""Which trace a run stands in: from its start, over pauses, and in the process in which it goes on."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.core.decide import advance
from otflow.core.inputs import (
    Cancel,
    Collect,
    DelayOver,
    Input,
    Receive,
    Restore,
    Send,
    Start,
    StepRaised,
    StepReturned,
    Wait,
)
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.snapshot import read_saved, save
from otflow.core.state import RunState, new_state
from otflow.records.body import Body
from otflow.records.identity import WINDOW, Identity, Whereabouts
from otflow.records.record import (
    About,
    ContextWritten,
    EventReceived,
    Failure,
    Record,
    RunPaused,
    RunResumed,
    RunStarted,
    StepStarted,
)
from otflow.records.span import SpanData, derive_ids, derive_span_id, read_traceparent, write_traceparent
from otflow.records.spans import from_spans, to_spans
from otflow.records.trace import RunTrace
from tests.laws.strategies import play, scripts, segments

NS = 1_000_000_000
LONG = WINDOW + NS
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
SENDER = "00-aaaabbbbccccddddeeeeffff00001111-abcdabcdabcdabcd-01"
PLAN = Plan(
    "Flow",
    "digest",
    {"a": StepPlan("a"), "b": StepPlan("b", 4)},
    {"S": Route(("a",)), "M": Route(("b",)), "Stop": Route(stop=True)},
    frozenset("XM"),
)
START = Start(NS, "S", Body({}))
WAIT = Wait(2 * NS, 3, "w", "X")


def drive(state: RunState, *inputs: Input) -> list[Record]:
    """Feed inputs."""
    return [record for input in inputs for record in advance(state, input)]


def answer(at: int, sender: str = "") -> Receive:
    """Send what is waited for."""
    return Receive(at, "X", Body({"yes": 1}), sender=sender)


def named(spans: list[SpanData]) -> dict[str, SpanData]:
    """Give spans by name, with a number behind a name that was there before."""
    found: dict[str, SpanData] = {}
    for span in spans:
        number = sum(name.partition("#")[0] == span.name for name in found)
        found[span.name if not number else f"{span.name}#{number + 1}"] = span
    return found


def links(span: SpanData) -> list[tuple[str, int, int]]:
    """Give the links of a span: kind, trace if it is another one, span."""
    return [(link.kind, link.trace_id, link.span_id) for link in span.links]


# --- ids ----------------------------------------------------------------------------------------------------


def test_a_traceparent_can_be_written_and_read():
    """What is written of a span is what is read of it."""
    assert read_traceparent(write_traceparent(7, 9, 1)) == (7, 9, 1)
    assert write_traceparent(*read_traceparent(PARENT)) == PARENT


def test_a_run_is_known_by_its_first_record():
    """The ids follow from the run and from the time, or from the span above; those of its spans follow from them."""
    trace_id, seed = derive_ids("run")
    alone = Identity(RunStarted(1, "run", NS, "Flow", "d"))
    below = Identity(RunStarted(1, "run", NS, "Flow", "d", parent=PARENT))
    late = Identity(StepStarted(9, "run", NS, 9, 1, "a", 2))
    assert (alone.trace_id, alone.key, alone.parent_id) == (trace_id, seed + NS, 0)
    assert (late.trace_id, late.key, late.parent_id) == (trace_id, seed + NS, 0)
    assert (below.trace_id, below.parent_id, below.parent_flags) == (
        0x0123456789ABCDEF << 64 | below.parent_id,
        0x0123456789ABCDEF,
        1,
    )
    assert alone.of_attempt(3) == derive_span_id(alone.key, 3)
    assert alone.of_segment(3) == derive_span_id(alone.key, -3)


def test_a_parent_that_is_none_is_no_parent():
    """A text that is no traceparent leaves the run on its own."""
    lone = Identity(RunStarted(1, "run", NS, "Flow", "d", parent="00-zz"))
    assert (lone.trace_id, lone.parent_id) == (derive_ids("run")[0], 0)


@pytest.mark.parametrize(("pause", "moved"), [(WINDOW, False), (WINDOW + 1, True)])
def test_a_run_stays_in_its_trace_for_a_while(pause, moved):
    """A run that goes on within the window keeps its trace; later it gets another one, without a parent."""
    identity = Identity(RunStarted(1, "run", 0, "Flow", "d", parent=PARENT))
    before, key = identity.trace_id, identity.key
    assert not identity.follow(RunPaused(5, "run", NS, "waiting"))
    assert identity.paused_at == NS
    assert identity.follow(RunResumed(6, "run", NS + pause)) is moved
    assert (identity.trace_id != before) is moved
    assert (identity.parent_id == 0) is moved
    assert (identity.key, identity.paused_at) == (key, 0)
    assert not identity.follow(RunResumed(9, "run", LONG * 5))  # nobody knows of a pause before


def test_the_first_record_may_be_a_pause():
    """Who comes to a run in a pause knows from when on it was paused."""
    identity = Identity(RunPaused(5, "run", NS, "waiting"))
    assert identity.follow(RunResumed(6, "run", NS + LONG))


@pytest.mark.parametrize(
    "data",
    [b"{", b"{}", b'{"trace":7}', b'{"trace":null}', b'{"trace":{"anchor":"?","last":"?","segment":1,"at":5}}'],
)
def test_saved_data_may_say_nothing_of_a_trace(data):
    """Data of an untraced run, of an older release, or damaged: the run stands in the trace of its id."""
    identity = Identity(RunResumed(9, "run", LONG * 2, Body(json=data)))
    assert (identity.trace_id, identity.parent_id, identity.left) == (derive_ids("run")[0], 0, None)
    assert identity.key == derive_ids("run")[1] + LONG * 2


# --- segments in one process --------------------------------------------------------------------------------


def test_after_a_long_pause_there_is_another_trace():
    """All that goes on is in the new trace, and refers to the old one: the segment, the attempt, what it took."""
    state = new_state(PLAN, "run")
    records = drive(
        state,
        START,
        Send(NS, 3, "M", Body({"n": 1})),
        StepRaised(NS, 5, 1, Failure("E", ""), 2.0 * LONG / NS),
        WAIT,
        answer(3 * NS + LONG),
        Send(4 * NS + LONG, 3, "Stop", Body({})),
    )
    spans = named(to_spans(records))
    assert from_spans(spans.values()) == records
    first, second = spans["invoke_workflow Flow"], spans["invoke_workflow Flow#2"]
    assert second.trace_id == derive_ids(f"run@{3 * NS + LONG}")[0] != first.trace_id
    assert (first.parent_id, second.parent_id) == (0, 0)
    assert (first.attributes["otflow.segment"], second.attributes["otflow.segment"]) == (0, 1)
    assert links(second) == [("resumed_from", first.trace_id, first.span_id)]
    old, new = spans["step a"], spans["step a#2"]
    assert (new.trace_id, new.parent_id) == (second.trace_id, second.span_id)
    assert links(new) == [("resumed_from", old.trace_id, old.span_id)]
    assert len({span.span_id for span in spans.values()}) == len(spans)


def test_a_retry_in_another_trace_refers_to_the_failure():
    """A delay that is longer than the window leads to another trace; its links name the one in which it failed."""
    state = new_state(PLAN, "run")
    delay = 2.0 * LONG / NS
    records = drive(
        state,
        START,
        StepReturned(NS, 3, 1, "M", Body({"n": 1})),
        StepRaised(NS, 6, 1, Failure("E", ""), delay),
    )
    kept = [state.delayed[6].event]  # as the run does
    records += drive(state, DelayOver(3 * LONG, 6))
    spans = named(to_spans(records))
    emitter, failed, again = spans["step a"], spans["step b"], spans["step b#2"]
    assert kept
    assert failed.trace_id == emitter.trace_id != again.trace_id
    assert set(links(again)) == {
        ("consumed", emitter.trace_id, emitter.span_id),
        ("retry_of", failed.trace_id, failed.span_id),
    }
    records += drive(state, StepRaised(4 * LONG, 6, 2, Failure("E", ""), delay), DelayOver(7 * LONG, 6))
    last = to_spans(records)[-2]
    assert {link[:2] for link in links(last)} == {("consumed", emitter.trace_id), ("retry_of", again.trace_id)}


def test_events_of_the_new_trace_are_of_it():
    """What is emitted after the move is linked as ever."""
    state = new_state(PLAN, "run")
    records = drive(state, START, WAIT, answer(LONG * 2), StepReturned(LONG * 2, 3, 1, "M", Body({})))
    records += drive(state, Cancel(LONG * 2 + 1))
    spans = named(to_spans(records))
    assert links(spans["step b"]) == [("consumed", 0, spans["step a#2"].span_id)]


def test_an_event_that_is_collected_in_another_trace():
    """An event that was put aside before a long pause is linked in the trace in which it was emitted."""
    plan = Plan(
        "Flow", "d", {"a": StepPlan("a"), "b": StepPlan("b")}, {"S": Route(("a",)), "M": Route(("b",))}, frozenset("M")
    )
    state = new_state(plan, "run")
    records = drive(state, START, StepReturned(NS, 3, 1, "M", Body({"n": 1})))
    records += drive(state, Collect(NS, 6, "box", 2, ("M", "M")), StepReturned(NS, 6, 1))
    records += drive(state, Receive(LONG * 2, "M", Body({"n": 2})))
    begun = state.running and next(iter(state.running))
    records += drive(state, Collect(LONG * 2, begun, "box", 2, ("M", "M")), Cancel(LONG * 2))
    spans = to_spans(records)
    emitter = next(span for span in spans if span.name == "step a")
    taker = [span for span in spans if span.name == "step b"][-1]
    assert ("collected", emitter.trace_id, emitter.span_id) in links(taker)


def test_a_word_in_a_long_pause_stays_in_the_old_trace():
    """Only a run that goes on gets another trace."""
    state = new_state(PLAN, "run")
    records = drive(state, START, WAIT)
    written = ContextWritten(state.seq + 1, "run", 2 * LONG, 3, "k", Body(1))
    records += [written, RunResumed(state.seq + 2, "run", 3 * LONG)]
    first, word, last = [span for span in to_spans(records) if span.name.startswith("invoke")]
    assert first.trace_id == word.trace_id != last.trace_id
    assert links(last) == [("resumed_from", word.trace_id, word.span_id)]


@given(scripts(restores=False), st.randoms(use_true_random=False))
def test_moving_loses_nothing(script, random):
    """A run that gets another trace after each pause gives back its records, and its links lead to spans there are."""
    trace, spans = None, []
    for played in play(script):
        if played.records:
            trace = trace or RunTrace(played.records[0], window=-1)
            spans += trace.feed(played.records)
    spans += trace.close() if trace is not None else []
    places = [(span.trace_id, span.span_id) for span in spans]
    assert len(set(places)) == len(places)
    assert {(link.trace_id or span.trace_id, link.span_id) for span in spans for link in span.links} <= set(places)
    assert all((span.trace_id, span.parent_id) in places for span in spans if span.parent_id)
    random.shuffle(spans)
    assert from_spans(spans) == segments(script)[0]


# --- in another process -------------------------------------------------------------------------------------


def leave(*inputs: Input, now: int = 5 * NS, flags: int = 1) -> tuple[list[Record], list[SpanData], Body]:
    """Run until somewhere, and save there."""
    state = new_state(PLAN, "run")
    records = drive(state, *inputs)
    trace = RunTrace(records[0])
    spans = trace.feed(records)
    return records, spans, save(state, trace.locate(now, flags, "vendor=1"))


def resume(snapshot: Body, at: int) -> tuple[list[Record], dict[str, SpanData]]:
    """Go on in another process."""
    state = new_state(PLAN, "run")
    records = drive(state, Restore(at, snapshot), answer(at + NS), StepReturned(at + 2 * NS, 3, 1, "Stop", Body({})))
    return records, named(to_spans(records))


@pytest.mark.parametrize("parent", ["", PARENT])
def test_a_run_that_is_restored_soon_stays_in_its_trace(parent):
    """Its segments stand under the first one of the other process, refer to the last one there, and count on."""
    start = Start(NS, "S", Body({}), parent=parent)
    _, spans, snapshot = leave(start, WAIT, answer(3 * NS), Wait(4 * NS, 3, "w2", "X"))
    anchor, last = (span for span in spans if span.name == "invoke_workflow Flow")
    records, again = resume(snapshot, at=60 * NS)
    segment = again["invoke_workflow Flow"]
    assert (segment.trace_id, segment.parent_id) == (anchor.trace_id, anchor.span_id)
    assert links(segment) == [("resumed_from", 0, last.span_id)]
    assert segment.attributes["otflow.segment"] == 2
    assert from_spans(again.values()) == records
    ids = [span.span_id for span in (*spans, *again.values())]
    assert len(set(ids)) == len(ids)


def test_a_run_that_is_restored_late_gets_another_trace():
    """It refers to its last segment across the traces, and stands under nothing."""
    _, spans, snapshot = leave(START, WAIT, now=LONG)
    (last,) = [span for span in spans if span.name == "invoke_workflow Flow"]
    _, again = resume(snapshot, at=LONG + 3 * NS)  # the time of the pause counts, not that of the saving
    segment = again["invoke_workflow Flow"]
    assert segment.trace_id == derive_ids(f"run@{LONG + 3 * NS}")[0]
    assert segment.parent_id == 0
    assert links(segment) == [("resumed_from", last.trace_id, last.span_id)]
    assert segment.attributes["otflow.segment"] == 1
    assert {span.trace_id for span in again.values()} == {segment.trace_id}


def test_a_run_that_is_saved_at_work_refers_to_the_open_segment():
    """Saved in the middle of a segment, at a time that counts as the end of it."""
    records, _, snapshot = leave(START, now=9 * NS)
    where = read_saved(snapshot).trace
    assert where is not None
    own = Identity(records[0]).of_segment(1)
    place = write_traceparent(derive_ids("run")[0], own, 1)
    assert where == Whereabouts(place, place, 0, 9 * NS, "vendor=1")
    assert RunTrace(records[0]).locate(NS, 1, "") is None  # before its first segment


def test_saving_again_keeps_the_place():
    """A run that moves from process to process keeps its anchor and counts its segments."""
    _, spans, snapshot = leave(START, WAIT)
    state = new_state(PLAN, "run")
    records = drive(state, Restore(60 * NS, snapshot), WAIT, answer(61 * NS), Wait(62 * NS, 3, "w2", "X"))
    trace = RunTrace(records[0])
    more = trace.feed(records)
    where = trace.locate(70 * NS, 1, "")
    assert where is not None
    last = more[-1]
    assert read_traceparent(where.anchor)[1] == spans[-1].span_id
    assert (read_traceparent(where.last)[1], where.segment, where.at) == (last.span_id, 2, 62 * NS)


def test_a_run_restored_in_place_after_a_long_pause():
    """Where the same process goes on with saved data, the place in the data counts."""
    state = new_state(PLAN, "run")
    records = drive(state, START, WAIT)
    trace = RunTrace(records[0])
    spans = trace.feed(records)
    snapshot = save(state, trace.locate(3 * NS, 1, ""))
    again = new_state(PLAN, "run")
    more = drive(again, Restore(2 * LONG, snapshot), Cancel(2 * LONG))
    spans += trace.feed(more)
    first, second = [span for span in spans if span.name == "invoke_workflow Flow"]
    assert first.trace_id != second.trace_id
    assert links(second) == [("resumed_from", first.trace_id, first.span_id)]
    untold = RunTrace(records[0])
    untold.feed(records)
    segment = untold.feed(drive(new_state(PLAN, "run"), Restore(9 * NS, save(state)), Cancel(9 * NS)))[-1]
    assert (segment.trace_id, segment.parent_id) == (first.trace_id, first.span_id)


# --- who sent what ------------------------------------------------------------------------------------------


def test_the_sender_is_linked():
    """An event from outside leads back to the span in which it was sent: from the segment, and from who took it."""
    state = new_state(PLAN, "run")
    trace_id, span_id, _ = read_traceparent(SENDER)
    records = drive(state, START, Receive(2 * NS, "M", Body({}), sender=SENDER), WAIT, answer(4 * NS, SENDER))
    records += drive(state, Cancel(5 * NS))
    spans = named(to_spans(records))
    told = ("sent_by", trace_id, span_id)
    assert links(spans["invoke_workflow Flow"]) == [told, told]
    assert links(spans["step b"]) == [told]
    assert links(spans["step a"]) == [told]
    assert from_spans(spans.values()) == records


def test_a_sender_in_the_same_trace():
    """A sender of the trace of the run is named without it."""
    state = new_state(PLAN, "run")
    trace_id = read_traceparent(PARENT)[0]
    sibling = write_traceparent(trace_id, 77, 1)
    records = drive(state, Start(NS, "S", Body({}), parent=PARENT), Receive(NS, "M", Body({}), sender=sibling))
    records += drive(state, Cancel(NS))
    spans = named(to_spans(records))
    assert links(spans["step b"]) == [("sent_by", 0, 77)]
    assert links(spans["invoke_workflow Flow"]) == [("sent_by", 0, 77)]


def test_a_sender_that_is_none():
    """A text that is no traceparent is recorded, and not linked."""
    state = new_state(PLAN, "run")
    records = drive(state, START, Receive(NS, "M", Body({}), sender="?"), Cancel(NS))
    spans = to_spans(records)
    assert [link for span in spans for link in span.links] == []
    assert from_spans(spans) == records


def test_the_sender_is_saved_with_the_event():
    """An event that waits for a worker while the run moves still leads back to its sender."""
    state = new_state(PLAN, "run")
    records = drive(state, START, Receive(NS, "M", Body({"n": 1}), sender=SENDER))
    again = drive(new_state(PLAN, "run"), Restore(2 * NS, save(state)), Cancel(3 * NS))
    told = [link for span in to_spans(again) if span.name == "step b" for link in links(span)]
    assert told == [("sent_by", *read_traceparent(SENDER)[:2])]
    assert records


def test_senders_are_forgotten_with_their_events():
    """A run that hears from outside for ever does not remember who it was."""
    state = new_state(PLAN, "run")
    trace = RunTrace(drive(state, START)[0])
    for n in range(2000):
        records = drive(state, Receive(NS, "M", Body({"n": n}), sender=SENDER))
        trace.feed(records)
        id = next(id for id, it in state.running.items() if it.step == "b")
        trace.feed(drive(state, StepReturned(NS, id, 1)))
        del records
    remembered = len(trace._emitted.origins)
    assert remembered < 600


# --- what runs belong to ------------------------------------------------------------------------------------


ABOUT = About("chat-7", "ada", ("beta", "eu"), Body({"plan": "pro"}))


def test_segments_say_what_the_run_belongs_to():
    """Each segment names session, user, tags and metadata; attempts do not, and they are saved with the run."""
    start = Start(NS, "S", Body({}), about=ABOUT)
    records, spans, snapshot = leave(start, WAIT)
    restored, again = resume(snapshot, at=60 * NS)
    expected = {
        "session.id": "chat-7",
        "gen_ai.conversation.id": "chat-7",
        "user.id": "ada",
        "tag.tags": ("beta", "eu"),
        "metadata": '{"plan":"pro"}',
    }
    for segment in (spans[-1], again["invoke_workflow Flow"]):
        assert {key: segment.attributes[key] for key in expected} == expected
    assert not expected.keys() & spans[0].attributes.keys()
    assert from_spans(spans) == records
    assert from_spans(again.values()) == restored
    state = new_state(PLAN, "run")
    drive(state, Restore(60 * NS, snapshot))
    assert state.about == ABOUT


def test_a_run_of_nobody_is_a_session_of_its_own():
    """Without a word about it the session is the run, and there is no user."""
    records, spans, snapshot = leave(START, WAIT)
    assert spans[-1].attributes["session.id"] == "run"
    assert not {"user.id", "tag.tags", "metadata", "gen_ai.conversation.id"} & spans[-1].attributes.keys()
    assert "about" not in json.loads(snapshot.json)
    (partly, *_) = to_spans(drive(new_state(PLAN, "r"), Start(NS, "S", Body({}), about=About(user="ada")), Cancel(NS)))[
        ::-1
    ]
    assert (partly.attributes["user.id"], partly.attributes["session.id"]) == ("ada", "r")
    started = drive(new_state(PLAN, "r"), Start(NS, "S", Body({}), about=About(tags=("a",))), Cancel(NS))
    assert to_spans(started)[-1].attributes["tag.tags"] == ("a",)
    assert records


def test_old_data_is_read():
    """Records and saved data of before, without these fields, mean what they meant."""
    (received,) = [record for record in drive(new_state(PLAN, "run"), START) if isinstance(record, EventReceived)]
    assert b"sender" not in msgspec.json.encode(msgspec.structs.replace(received, body=None))
    _, _, snapshot = leave(START, WAIT)
    data = json.loads(snapshot.json)
    del data["trace"]
    _, again = resume(Body(json=json.dumps(data).encode()), at=60 * NS)
    assert again["invoke_workflow Flow"].trace_id == derive_ids("run")[0]
