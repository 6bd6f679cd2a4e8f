"""The laws of the trace: spans give back the records that made them, and say what people look for."""

from __future__ import annotations

import json
from collections import Counter

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
    TimeOut,
    Wait,
    Write,
    WriteStream,
)
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.snapshot import save
from otflow.core.state import RunState, new_state
from otflow.records.body import Body
from otflow.records.capture import FULL, NONE, PREVIEW
from otflow.records.emitted import Emitted, Saved
from otflow.records.part import Part
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    Failure,
    Record,
    RunPaused,
    RunResumed,
    StepStarted,
    StreamWritten,
)
from otflow.records.span import SpanData, derive_ids, derive_span_id
from otflow.records.spans import from_spans, to_spans
from otflow.records.trace import RunTrace
from tests.laws.strategies import histories, play, restored_histories, scripts, segments

NS = 1_000_000_000
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


# --- the laws -----------------------------------------------------------------------------------------------


def renumber(records: list[Record]) -> list[Record]:
    """Number records from 1 on, with all that refers to them."""
    new = {record.seq: place for place, record in enumerate(records, 1) if record.seq}
    found = []
    for place, record in enumerate(records, 1):
        named = {name: getattr(record, name) for name in ("invocation", "event", "wait") if hasattr(record, name)}
        changed: dict[str, object] = {name: new.get(value, value) for name, value in named.items()}
        if hasattr(record, "events"):
            changed["events"] = tuple(new.get(id, id) for id in record.events)
        found.append(msgspec.structs.replace(record, seq=place, **changed))
    return found


@st.composite
def disturbed(draw: st.DrawFn) -> list[Record]:
    """Draw a history into which others wrote: from outside, and from attempts that are long gone."""
    records = draw(histories())
    started = [record.invocation for record in records if isinstance(record, StepStarted)]
    for _ in range(draw(st.integers(1, 5))):
        place = draw(st.integers(1, len(records)))
        at, by = records[place - 1].at, draw(st.sampled_from([0, *started]))
        kinds = [ContextWritten(0, "run", at, by, "late", Body(1)), StreamWritten(0, "run", at, by, "A", Body({}))]
        records = [*records[:place], draw(st.sampled_from(kinds)), *records[place:]]
    return renumber(records)


@given(st.one_of(histories(), restored_histories(), disturbed()), st.randoms(use_true_random=False))
def test_spans_give_back_their_records(records, random):
    """Whatever a run did: its spans, shuffled and some of them twice, give back exactly its records."""
    spans = to_spans(records)
    spans += random.choices(spans, k=3)
    random.shuffle(spans)
    assert from_spans(spans) == records


@given(scripts(restores=False), st.randoms(use_true_random=False))
def test_a_live_trace_gives_back_its_records(script, random):
    """A trace that grows with its run gives back the same records, and nothing is open while the run is paused."""
    trace, spans = None, []
    for played in play(script):
        if not played.records:
            continue
        trace = trace or RunTrace(played.records[0])
        spans += trace.feed(played.records)
        assert (trace.segment is None) == (bool(played.state.paused) or played.state.ended is not None)
        assert trace.segment is not None or not trace.attempts.open
        assert trace.paused == bool(played.state.paused)
        assert trace.ended == (played.state.ended is not None)
    spans += trace.close()
    random.shuffle(spans)
    assert from_spans(spans) == segments(script)[0]


@given(histories(), st.randoms(use_true_random=False))
def test_lost_spans_are_holes(records, random):
    """Without some of its spans a run misses exactly their records; the others are read as they were."""
    spans = to_spans(records)
    left = random.sample(spans, random.randrange(len(spans)))
    seen = [record.seq for record in from_spans(left)]
    assert seen == sorted(seq for span in left for seq in numbers(span))
    assert from_spans(left) == [record for record in records if record.seq in seen]


@given(st.one_of(histories(), disturbed()))
def test_spans_are_a_tree(records):
    """Ids differ and are not 0; attempts stand under segments, and later segments under the first; links lead on."""
    spans = to_spans(records)
    ids = Counter(span.span_id for span in spans)
    roots = [span for span in spans if not span.parent_id]
    parents = {span.span_id for span in spans if not span.invocation}
    assert set(ids.values()) == {1}
    assert 0 not in ids
    assert [span.attributes["otflow.segment"] for span in roots] == [0]
    assert {span.parent_id for span in spans} <= {0, *parents}
    assert {link.span_id for span in spans for link in span.links} <= set(ids)
    assert {span.trace_id for span in spans} == {derive_ids("run")[0]}
    assert all(span.start <= span.end for span in spans)


@given(histories())
def test_only_failures_are_errors(records):
    """A span is an error exactly if it failed; waiting, buffering and being cancelled are none."""
    for span in to_spans(records):
        failed = span.attributes["otflow.outcome"] in {"error", "timeout", "crashed"}
        is_error = failed and (not span.invocation or span.attributes["otflow.outcome"] == "error")
        assert (span.status == "error") == is_error
        assert ("error.type" in span.attributes) == is_error


@given(st.one_of(histories(), disturbed()))
def test_the_short_way_leads_to_the_same_spans(records):
    """A span that is finished the short way is what it would be with all details."""
    assert to_spans(records) == in_detail(records)


def in_detail(records: list[Record]) -> list[SpanData]:
    """Make spans without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Part, "finish", lambda part: part._finish_with_details(part.more()))
        return to_spans(records)


def numbers(span: SpanData) -> list[int]:
    """Give the numbers of the records in a span."""
    return [record["seq"] for record in json.loads(str(span.attributes["otflow.records"]))]


# --- what a trace looks like --------------------------------------------------------------------------------


def make_plan(**takes: str) -> Plan:
    """Make the plan of steps that each take the events named, one letter each."""
    routes: dict[str, Route] = {}
    for kind in {kind for kinds in takes.values() for kind in kinds}:
        routes[kind] = Route(tuple(step for step, kinds in takes.items() if kind in kinds))
    routes["Stop"] = Route(stop=True)
    return Plan("Flow", "digest", {step: StepPlan(step) for step in takes}, routes, frozenset("X"))


def drive(plan: Plan, *inputs: Input, state: RunState | None = None, after: int = 0) -> list[Record]:
    """Feed inputs, each a second after the one before."""
    state = state or new_state(plan, "run")
    records: list[Record] = []
    for number, input in enumerate(inputs, 1):
        records += advance(state, msgspec.structs.replace(input, at=after + number * NS))
    return records


def start(**fields: object) -> Start:
    """Begin with an event of type S."""
    return msgspec.structs.replace(Start(0, "S", Body({"topic": "tea"})), **fields)


def returned(invocation: int, kind: str, attempt: int = 1, **fields: object) -> StepReturned:
    """Return an event."""
    return StepReturned(0, invocation, attempt, kind, Body(fields))


def by_name(records: list[Record]) -> dict[str, SpanData]:
    """Give spans by name, with a number behind the name of those that follow one of the same name."""
    found: dict[str, SpanData] = {}
    for span in sorted(to_spans(records), key=lambda span: numbers(span)[0]):
        number = sum(name.startswith(span.name) for name in found)
        found[span.name if not number else f"{span.name} {number + 1}"] = span
    return found


def without(span: SpanData, *keys: str) -> dict[str, object]:
    """Give the attributes of a span but for some."""
    return {key: value for key, value in span.attributes.items() if key not in keys}


def links(span: SpanData, spans: dict[str, SpanData]) -> list[tuple[str, str, int]]:
    """Give the links of a span with the names of the spans they lead to."""
    names = {other.span_id: name for name, other in spans.items()}
    return [(link.kind, names[link.span_id], link.event) for link in span.links]


def test_a_chain():
    """A run of two steps is three spans that say what came in and what came out."""
    records = drive(make_plan(a="S", b="M"), start(), returned(3, "M", n=1), returned(6, "Stop", result="done"))
    spans = by_name(records)
    assert list(spans) == ["invoke_workflow Flow", "step a", "step b"]
    assert without(spans["invoke_workflow Flow"], "otflow.records") == {
        "openinference.span.kind": "CHAIN",
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Flow",
        "session.id": "run",
        "input.value": '{"topic":"tea"}',
        "input.mime_type": "application/json",
        "output.value": '{"result":"done"}',
        "output.mime_type": "application/json",
        "otflow.run.id": "run",
        "otflow.workflow.name": "Flow",
        "otflow.graph.hash": "digest",
        "otflow.segment": 0,
        "otflow.outcome": "ok",
        "otflow.seq.start": 1,
        "otflow.seq.end": 9,
        "otflow.seq.last": 9,
    }
    assert without(spans["step b"]) == {
        "openinference.span.kind": "CHAIN",
        "input.value": '{"n":1}',
        "input.mime_type": "application/json",
        "output.value": '{"result":"done"}',
        "output.mime_type": "application/json",
        "otflow.run.id": "run",
        "otflow.workflow.name": "Flow",
        "otflow.step.name": "b",
        "otflow.segment": 0,
        "otflow.invocation.id": 6,
        "otflow.attempt": 1,
        "otflow.outcome": "ok",
        "otflow.queue.duration": 0.0,
        "otflow.in.ids": (5,),
        "otflow.in.types": ("M",),
        "otflow.out.ids": (8,),
        "otflow.out.types": ("Stop",),
        "otflow.seq.start": 6,
        "otflow.seq.end": 8,
        "otflow.records": (
            '[{"record":"StepStarted","seq":6,"run":"run","at":2000000000,"invocation":6,"attempt":1,"step":"b",'
            '"event":5},{"record":"StepCompleted","seq":7,"run":"run","at":3000000000,"invocation":6,"attempt":1},'
            '{"record":"EventSent","seq":8,"run":"run","at":3000000000,"invocation":6,"type":"Stop",'
            '"body":{"result":"done"},"returned":true}]'
        ),
    }
    assert links(spans["step a"], spans) == []
    assert links(spans["step b"], spans) == [("consumed", "step a", 5)]
    assert (spans["step b"].start, spans["step b"].end) == (2 * NS, 3 * NS)
    assert {span.status for span in spans.values()} == {"unset"}


def test_fan_out_and_fan_in():
    """A collecting step names all events that it took, with a link to each emitter; who only buffers says so."""
    plan = make_plan(a="S", b="M", c="N")
    fan_out = [Send(0, 3, "M", Body({"n": n}), "b") for n in range(2)]
    collect = [Collect(0, 10, "default", 2, ("N", "N")), StepReturned(0, 10, 1), returned(7, "N", n=2)]
    collected = [Collect(0, 15, "default", 2, ("N", "N")), returned(15, "Stop")]
    records = drive(plan, start(), *fan_out, returned(5, "N", n=1), *collect, *collected)
    spans = by_name(records)
    assert spans["step a"].attributes["otflow.out.targets"] == ("b", "b")
    assert spans["step a"].attributes["otflow.out.types"] == ("M", "M")
    assert links(spans["step b"], spans) == [("consumed", "step a", 4)]
    assert links(spans["step b 2"], spans) == [("consumed", "step a", 6)]
    assert spans["step c"].attributes["otflow.outcome"] == "buffered"
    assert spans["step c"].status == "unset"
    assert spans["step c 2"].attributes["otflow.outcome"] == "ok"
    assert spans["step c 2"].attributes["otflow.in.ids"] == (14, 9)
    assert spans["step c 2"].attributes["otflow.in.types"] == ("N", "N")
    assert links(spans["step c 2"], spans) == [("consumed", "step b 2", 14), ("collected", "step b", 9)]
    assert spans["step a"].attributes["otflow.outcome"] == "cancelled"  # the run ended while it was at work


def test_a_retry():
    """An attempt that failed is an error and says when the next one comes, which refers to it; the run is fine."""
    error = Failure("builtins.ValueError", "bad", "Traceback ...")
    records = drive(make_plan(a="S"), start(), StepRaised(0, 3, 1, error, 0.5), DelayOver(0, 3), returned(3, "Stop", 2))
    spans = by_name(records)
    first, second = spans["step a"], spans["step a 2"]
    assert (first.status, first.status_message) == ("error", "bad")
    assert first.attributes["error.type"] == "builtins.ValueError"
    assert first.attributes["otflow.outcome"] == "error"
    assert first.attributes["otflow.retry.delay"] == 0.5
    assert "otflow.retry.exhausted" not in first.attributes
    assert [(event.name, event.at, event.attributes) for event in first.events] == [
        (
            "exception",
            2 * NS,
            {
                "exception.type": "builtins.ValueError",
                "exception.message": "bad",
                "exception.stacktrace": "Traceback ...",
            },
        )
    ]
    assert (second.status, second.events) == ("unset", ())
    assert second.attributes["otflow.attempt"] == 2
    assert second.attributes["otflow.invocation.id"] == first.attributes["otflow.invocation.id"] == 3
    assert second.attributes["input.value"] == '{"topic":"tea"}'
    assert second.attributes["otflow.queue.duration"] == 0.0
    assert ("retry_of", "step a", 0) in links(second, spans)
    assert [spans[f"invoke_workflow Flow{n}"].status for n in ("", " 2")] == ["unset", "unset"]


def test_a_retry_at_once():
    """Batches of one time are told apart where it matters: by an attempt that begins anew, and by a pause."""
    error = Failure("builtins.ValueError", "bad")
    retry = [StepRaised(0, 3, 1, error, 0.0), DelayOver(0, 3), StepRaised(0, 3, 2, error, 0.0), DelayOver(0, 3)]
    for plan in (make_plan(a="S", b="S"), make_plan(a="S")):
        records = drive(plan, start(), *retry, returned(3, "Stop", 3))
        for time in range(1, 8):
            at_once = [msgspec.structs.replace(record, at=max(record.at, time * NS)) for record in records]
            assert [numbers(span) for span in to_spans(at_once)] == [numbers(span) for span in to_spans(records)]
        spans = by_name(records)
        assert "otflow.retry.exhausted" not in spans["step a 2"].attributes
        assert ("retry_of", "step a 2", 0) in links(spans["step a 3"], spans)


def test_a_failure():
    """When no attempt is left, the last one says so, and the run failed with what it raised."""
    error = Failure("builtins.ValueError", "bad")
    records = drive(
        make_plan(a="S"), start(), StepRaised(0, 3, 1, error, 0.0), DelayOver(0, 3), StepRaised(0, 3, 2, error)
    )
    spans = by_name(records)
    assert spans["step a 2"].attributes["otflow.retry.exhausted"] is True
    run = spans["invoke_workflow Flow 2"]
    assert (run.status, run.status_message, run.attributes["error.type"]) == ("error", "bad", "builtins.ValueError")
    assert run.attributes["otflow.outcome"] == "error"
    assert run.attributes["otflow.seq.last"] == records[-1].seq
    assert [event.name for event in run.events] == ["exception"]


def test_a_wait():
    """A pause ends all spans; with the answer the run and the attempt go on in further ones, which refer back."""
    ask = Wait(0, 3, "w", "X", question_type="Q", question=Body({"q": "sure?"}))
    records = drive(
        make_plan(a="S"),
        start(),
        ask,
        Write(0, 0, "k", Body(1)),
        Receive(0, "X", Body({"yes": True})),
        returned(3, "Stop"),
    )
    spans = by_name(records)
    segments = [spans["invoke_workflow Flow"], spans["invoke_workflow Flow 2"], spans["invoke_workflow Flow 3"]]
    assert [span.attributes["otflow.segment"] for span in segments] == [0, 1, 2]
    assert [span.attributes["otflow.outcome"] for span in segments] == ["paused", "paused", "ok"]
    assert [numbers(span) for span in segments] == [[1, 2, 6], [7], [8, 9, 13]]
    assert [links(span, spans) for span in segments[1:]] == [
        [("resumed_from", "invoke_workflow Flow", 0)],
        [("resumed_from", "invoke_workflow Flow 2", 0)],
    ]
    assert [span.parent_id for span in segments] == [0, segments[0].span_id, segments[0].span_id]
    before, after = spans["step a"], spans["step a 2"]
    assert (before.attributes["otflow.outcome"], before.status) == ("waiting", "unset")
    assert (numbers(before), numbers(after)) == ([3, 4, 5], [10, 11, 12])
    assert (before.parent_id, after.parent_id) == (segments[0].span_id, segments[2].span_id)
    assert before.attributes["otflow.stream.writes"] == 1
    assert after.attributes["otflow.outcome"] == "ok"
    assert after.attributes["otflow.wait.duration"] == 2.0
    assert after.attributes["otflow.in.ids"] == (9,)
    assert after.attributes["input.value"] == '{"yes":true}'
    assert links(after, spans) == [("resumed_from", "step a", 0)]
    assert segments[2].attributes["input.value"] == '{"yes":true}'


def test_a_word_in_a_pause():
    """What a waiting attempt writes while its run is paused does not wake it: it stands in a segment of its own."""
    wait, answer = Wait(0, 3, "w", "X"), Receive(0, "X", Body({}))
    spans = by_name(drive(make_plan(a="S"), start(), wait, Write(0, 3, "k", Body(1)), answer, returned(3, "Stop")))
    assert numbers(spans["invoke_workflow Flow 2"]) == [6]
    assert links(spans["step a 2"], spans) == [("resumed_from", "step a", 0)]
    assert "step a 3" not in spans


def test_a_collection_is_no_buffering():
    """An attempt that put an event aside and then collected is done, even if it returns nothing."""
    collect = Collect(0, 3, "default", 1, ("N",), "N", Body({"n": 1}))
    records = drive(make_plan(a="S", b="S"), start(), collect, StepReturned(0, 3, 1))
    assert [type(record).__name__ for record in records[4:6]] == ["EventBuffered", "EventsCollected"]
    span = by_name(records)["step a"]
    assert span.attributes["otflow.outcome"] == "ok"
    assert (span.attributes["otflow.in.ids"], span.attributes["otflow.in.types"]) == ((2, 5), ("S", "N"))


def test_siblings_are_cancelled():
    """The end of a run ends what is still at work: that is no error."""
    for end, outcome in [(returned(3, "Stop"), "cancelled"), (Cancel(0), "cancelled"), (TimeOut(0, 5), "timeout")]:
        spans = by_name(drive(make_plan(a="S", b="S"), start(), end))
        assert spans["step b"].attributes["otflow.outcome"] == outcome
        assert spans["step b"].status == "unset"
        assert spans["step b"].end == 2 * NS


def test_a_timeout():
    """A run that timed out is an error, and says of which kind."""
    run = by_name(drive(make_plan(a="S"), start(), TimeOut(0, 5)))["invoke_workflow Flow"]
    assert run.attributes["otflow.outcome"] == "timeout"
    assert run.attributes["error.type"] == "otflow.errors.WorkflowTimeoutError"
    assert run.status_message == "The run did not end within 5 seconds."


def test_records_that_stop_in_the_middle():
    """What a dead process left open is shown as crashed."""
    spans = by_name(drive(make_plan(a="S"), start()))
    assert [span.attributes["otflow.outcome"] for span in spans.values()] == ["crashed", "crashed"]
    assert [span.status for span in spans.values()] == ["error", "unset"]


def test_a_late_word():
    """What an attempt still writes after its end stands in the segment."""
    records = drive(
        make_plan(a="S", b="M"), start(), returned(3, "M"), Write(0, 3, "k", Body(1)), WriteStream(0, 3, "A", Body())
    )
    assert numbers(by_name(records)["invoke_workflow Flow"]) == [1, 2, 7, 8]


def test_several_events():
    """Several returned events are a list in the output."""
    several = StepReturned(0, 3, 1, "M", Body({"n": 1}), (("M", Body({"n": 2})),))
    span = by_name(drive(make_plan(a="S", b="M"), start(), several))["step a"]
    assert span.attributes["output.value"] == '[{"n":1},{"n":2}]'
    several.more = (("M", Body("x" * 70_000)), ("M", Body({"n": 3})))
    span = by_name(drive(make_plan(a="S", b="M"), start(), several))["step a"]
    assert len(str(span.attributes["output.value"])) == 64 * 1024
    assert str(span.attributes["output.value"]).startswith('[{"n":1},"xxx')


def test_a_parent():
    """A run that was started under a span stands under it, in its trace; a traceparent that is none is ignored."""
    records = drive(make_plan(a="S"), start(parent=PARENT, parent_run="other", parent_invocation=4))
    run = by_name(records)["invoke_workflow Flow"]
    assert (run.trace_id, run.parent_id) == (0x0123456789ABCDEF0123456789ABCDEF, 0x0123456789ABCDEF)
    assert run.attributes["otflow.parent.run.id"] == "other"
    for parent in ("", "00-zz", PARENT.replace("0123456789abcdef", "0" * 16), PARENT + "-x"):
        run = by_name(drive(make_plan(a="S"), start(parent=parent)))["invoke_workflow Flow"]
        assert (run.trace_id, run.parent_id) == (derive_ids("run")[0], 0)


def test_odd_records():
    """A clock that goes back, or a last word with a target, are no reason to go the short way."""
    odd = drive(make_plan(a="S", b="M"), start(), returned(3, "M"), returned(6, "Stop"))
    back = [msgspec.structs.replace(record, at=10 * NS - record.at) for record in odd]
    late = [msgspec.structs.replace(r, at=9 * NS) if isinstance(r, EventReceived) else r for r in odd]
    aimed = [msgspec.structs.replace(r, target="b") if isinstance(r, EventSent) else r for r in odd]
    silent = [msgspec.structs.replace(r, returned=False) if isinstance(r, EventSent) else r for r in odd]
    buffer = drive(make_plan(a="S", b="S"), start(), Collect(0, 3, "default", 2), StepReturned(0, 3, 1))
    apart = [msgspec.structs.replace(record, at=10 * NS - record.at) for record in buffer]
    tardy = [msgspec.structs.replace(r, at=9 * NS) if isinstance(r, EventReceived) else r for r in buffer]
    for records in (back, late, aimed, silent, buffer, apart, tardy):
        assert to_spans(records) == in_detail(records)
    assert all(span.attributes.get("otflow.queue.duration", 0.0) == 0.0 for span in to_spans(late))


def test_no_span_id_is_zero():
    """0 stands for "no span", so no span has it."""
    assert derive_span_id(0, 0) != 0
    assert derive_span_id(-derive_span_id(0, 7), 7) != 0


# --- restored runs ------------------------------------------------------------------------------------------


def test_a_restored_run_supersedes():
    """Where a run was restored, what it had done after that point is left out, and all its spans differ."""
    plan, state = make_plan(a="S", b="M"), new_state(make_plan(a="S", b="M"), "run")
    before = drive(plan, start(), state=state)
    snapshot = save(state)
    write = Write(0, 3, "k", Body(1))
    lost = drive(plan, write, write, returned(3, "M"), *[write] * 9, state=state, after=NS)
    again = drive(plan, Restore(0, snapshot), returned(3, "M"), returned(8, "Stop"), after=100 * NS)
    elsewhere = to_spans([*before, *lost]) + to_spans(again)
    for spans in (elsewhere, to_spans([*before, *lost, *again])):
        assert len({span.span_id for span in spans}) == len(spans) == 6
        assert from_spans(reversed(spans)) == [*before, *again]
        assert [span.attributes["otflow.outcome"] for span in spans] == ["ok", "crashed", "crashed", "ok", "ok", "ok"]
    step = by_name(again)["step a"]
    assert step.attributes["otflow.branch"] == f"4@{again[0].at}"
    assert step.attributes["input.value"] == '{"topic":"tea"}'  # from the snapshot
    assert {span.trace_id for span in elsewhere} == {derive_ids("run")[0]}


def test_a_run_restored_where_it_was_paused():
    """A paused run that is restored in the same process goes on in the next segment, and its attempts refer back."""
    plan, state = make_plan(a="S"), new_state(make_plan(a="S"), "run")
    before = drive(plan, start(), Wait(0, 3, "w", "X"), state=state)
    again = drive(plan, Restore(0, save(state)), returned(3, "Stop"), after=100 * NS)
    spans = by_name([*before, *again])
    assert from_spans(spans.values()) == [*before, *again]
    assert ("resumed_from", "invoke_workflow Flow", 0) in links(spans["invoke_workflow Flow 2"], spans)
    assert ("resumed_from", "step a", 0) in links(spans["step a 2"], spans)


def test_a_run_id_that_is_used_again():
    """Two runs of one id share a trace, and no span id."""
    first = drive(make_plan(a="S"), start())
    second = [msgspec.structs.replace(record, at=record.at + 1) for record in first]
    spans = to_spans([*first, *second])
    assert len({span.span_id for span in spans}) == 4
    assert len({span.trace_id for span in spans}) == 1


# --- budgets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1000, 200_000])
def test_a_span_is_bounded(size):
    """However much an attempt writes, its span stays small, says what it left out, and ends as it ended."""
    plan, body = make_plan(a="S"), Body(json=b'"%s"' % (b"x" * size))
    writes = [Write(0, 3, f"key.{n}", body) for n in range(1500)]
    records = drive(plan, start(), *writes, returned(3, "Stop", text="y" * size))
    span = by_name(records)["step a"]
    text = str(span.attributes["otflow.records"])
    assert len(text) <= 128 * 1024
    assert sum(len(str(value)) for value in span.attributes.values()) <= 256 * 1024
    assert span.attributes["otflow.omitted"] == len(records) - 3 - len(numbers(span))
    assert span.attributes["otflow.payload.truncated"] is True
    assert span.attributes["otflow.state.writes"] == 1500
    assert len(span.attributes["otflow.state.keys"]) == 32
    assert (span.attributes["otflow.seq.start"], span.attributes["otflow.seq.end"]) == (3, records[-2].seq)
    kinds = [record["record"] for record in json.loads(text)]
    assert (kinds[0], kinds[-2:]) == ("StepStarted", ["StepCompleted", "EventSent"])
    for record in from_spans([span]):
        if isinstance(record, ContextWritten):
            assert record.value == body or json.loads(record.value.json) == {"$truncated": size + 2}


def test_a_large_event():
    """A payload over the limit is cut where it is shown, and replaced by its size where it is recorded."""
    body = Body(json=b'"%s"' % ("ä" * 60_000).encode())
    records = drive(make_plan(a="S", b="M"), start(), StepReturned(0, 3, 1, "M", body))
    spans = by_name(records)
    for value in (spans["step a"].attributes["output.value"], spans["step b"].attributes["input.value"]):
        assert value == '"' + "ä" * 32_767
    sent = next(record for record in from_spans(spans.values()) if isinstance(record, EventSent))
    assert sent.body.json == b'{"$truncated":120002}'
    assert spans["step b"].attributes["otflow.payload.truncated"] is True


def test_many_events():
    """A span names some of its events, and counts all."""
    sent = [Send(0, 3, "M", Body({"n": n})) for n in range(1200)]
    span = by_name(drive(make_plan(a="S"), start(), *sent))["step a"]
    assert len(span.attributes["otflow.out.ids"]) == len(span.attributes["otflow.out.types"]) == 1000
    assert span.attributes["otflow.out.count"] == 1200
    plan = make_plan(a="S", b="M")
    plan.steps["b"] = StepPlan("b", 1100)  # type: ignore[index]
    state = new_state(plan, "run")
    records = drive(plan, start(), *(Send(0, 3, "M", Body({"n": n})) for n in range(1100)), state=state)
    *others, last = [record.invocation for record in records if isinstance(record, StepStarted) and record.step == "b"]
    collect = [Collect(0, id, "default", 1100) for id in others]
    records += drive(
        plan, *collect, Collect(0, last, "default", 1100, ("M",) * 1100), state=state, after=records[-1].at
    )
    taken = next(span for span in to_spans(records) if span.invocation == last)
    assert len(taken.attributes["otflow.in.ids"]) == 1000
    assert taken.attributes["otflow.in.count"] == 1100
    assert len(taken.links) == 64


def test_what_is_captured():
    """Previews show the beginning of payloads, and "none" nothing of them; sizes stay."""
    records = drive(make_plan(a="S", b="M"), start(), returned(3, "M", text="x" * 3000), returned(6, "Stop", n=1))
    full, preview, none = (
        {span.name: span for span in to_spans(records, capture)}["step b"] for capture in (FULL, PREVIEW, NONE)
    )
    assert len(str(full.attributes["input.value"])) == 3011
    assert len(str(preview.attributes["input.value"])) == 2000
    assert preview.attributes["output.value"] == '{"n":1}'
    assert "input.value" not in none.attributes
    assert "output.value" not in none.attributes
    sent = [record for record in from_spans(to_spans(records, NONE)) if isinstance(record, EventSent)]
    assert [record.body.json for record in sent] == [b'{"$truncated":3011}', b'{"$truncated":7}']
    sent = [record for record in from_spans(to_spans(records, PREVIEW)) if isinstance(record, EventSent)]
    assert [record.body.json for record in sent] == [b'{"$truncated":3011}', b'{"n":1}']


def test_a_long_error():
    """An error with an endless text has one in its span that ends."""
    error = Failure("builtins.ValueError", "m" * 200_000, "s" * 200_000)
    spans = by_name(drive(make_plan(a="S"), start(), StepRaised(0, 3, 1, error)))
    for span in spans.values():
        assert sum(len(str(value)) for value in span.attributes.values()) < 8000
        assert len(span.status_message) == 8192
        assert {len(value) for key, value in span.events[0].attributes.items() if key != "exception.type"} == {8192}


def test_nothing_grows_with_the_run():
    """A trace remembers an event not much longer than the run itself does."""
    state, trace, seen = new_state(make_plan(a="SM"), "run"), None, 0
    batch = advance(state, start())
    for n in range(2000):
        trace = trace or RunTrace(batch[0])
        trace.attempts.hold(batch[-1])
        trace.feed(batch)
        trace.attempts.hold(batch[-1])
        emitted = trace._emitted
        seen = max(seen, len(emitted._events) + len(emitted._gone) + len(emitted.held))
        batch = advance(state, returned(batch[-1].seq, "M", n=n))
    assert seen < 600


def follow(late: int) -> list[SpanData]:
    """Trace a fan-out and a fan-in by a trace that is up to so many batches behind, and holds nothing of the run."""
    state, spans = new_state(make_plan(a="S", b="M", c="N"), "run"), []
    batches = [advance(state, start()), *(advance(state, Send(2, 3, "M", Body({"n": n}))) for n in range(300))]
    trace = RunTrace(batches[0][0])
    for batch in batches:
        spans += trace.feed(batch)
    batches.clear()
    working = [id for id, invocation in state.running.items() if invocation.step != "a"]
    for number in range(600):
        collecting = state.running[id := working.pop(0)].step == "c"
        inputs: list[Input] = [Collect(9, id, "default", 300, ("N",) * 300)] * collecting
        inputs.append(StepReturned(9, id, 1) if collecting else returned(id, "N", n=number))
        for input in inputs:
            if batch := advance(state, input):
                for record in batch:
                    if isinstance(record, StepStarted):
                        trace.attempts.hold(record)
                        working.append(record.invocation)
                batches.append(batch)
        if len(batches) >= late:
            spans += [span for batch in batches for span in trace.feed(batch)]
            batches.clear()
    return spans + [span for batch in batches for span in trace.feed(batch)]


def test_a_trace_may_be_late():
    """A trace that is behind its run says the same as one that is not, although the run has let go of its events."""
    timely = follow(late=1)
    assert len(timely) == 600
    assert all(span.attributes["input.value"] for span in timely)
    assert follow(late=50) == timely


def test_events_that_have_gone():
    """Where an event came from is known for a while after its payload has gone, and not after a run was restored."""
    emitted, kept = Emitted(), []
    for id in range(1, 600):
        sent = EventSent(id, "run", id, 3, "M", Body(id))
        kept += [sent] * (id == 300)
        emitted.remember(sent, sent.body, 7)
    known = [id for id in range(600) if emitted.find(id) is not None]
    assert known == [*range(257, 600)]
    body, *origin = emitted.find(299)
    assert (body(), *origin) == (None, "M", 299, 7)
    body, *origin = emitted.find(300)
    assert (body(), *origin) == (kept[0].body, "M", 300, 7)
    emitted.adopt(Saved())
    assert [id for id in range(600) if emitted.find(id) is not None] == []


# --- what else may come along -------------------------------------------------------------------------------


def test_other_spans_are_passed_over():
    """Spans of others, cut texts and records of another version are no records, and no reason to fail."""
    records = drive(make_plan(a="S"), start())
    texts = ["", "nonsense", "[", '[{"record":"Unheard","seq":1}]', '{"a":1}', "[1]", 7, None, "\ud800"]
    foreign = [
        SpanData("x", 1, 2, 3, 4, 5, {"otflow.records": text, "otflow.branch": text})  # type: ignore[dict-item]
        for text in texts
    ]
    assert from_spans([*foreign, *to_spans(records), SpanData("x", 1, 2, 3, 4, 5, {})]) == records


def test_runs_are_kept_apart():
    """Spans of several runs give the records of each, run by run."""
    one = drive(make_plan(a="S"), start(), returned(3, "Stop"))
    two = [msgspec.structs.replace(record, run="another") for record in one]
    mixed = [record for pair in zip(one, two, strict=True) for record in pair]
    assert from_spans(to_spans(mixed)) == [*two, *one]


def test_a_run_seen_from_the_middle_on():
    """A trace may begin anywhere: whatever it does not know stands in a segment."""
    records = drive(make_plan(a="S", b="M"), start(), returned(3, "M"), Wait(0, 6, "w", "X"), Receive(0, "X", Body({})))
    for first in range(len(records)):
        spans = to_spans(records[first:])
        assert from_spans(spans) == records[first:]
        assert len({span.span_id for span in spans}) == len(spans)
    assert any(isinstance(record, RunPaused) for record in records)


def test_saved_data_that_cannot_be_read():
    """A run that goes on from data that no trace can read has a trace all the same, without what was in there."""
    resumed = RunResumed(5, "run", NS, Body(json=b"{"))
    partly = RunResumed(5, "run", NS, Body(json=b'{"events":[{"record":"Unheard"},{"record":"StepCompleted"}]}'))
    for first in (resumed, partly):
        [span] = to_spans([first])
        assert (span.name, span.attributes["otflow.workflow.name"]) == ("invoke_workflow", "")
