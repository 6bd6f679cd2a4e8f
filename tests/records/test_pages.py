"""A span that has no room for its records goes on in others: the facts survive, however many there are."""

from __future__ import annotations

import pytest

from otflow.core.decide import advance
from otflow.core.inputs import Cancel, Collect, Input, Receive, Restore, Send, Start, StepReturned, WriteStream
from otflow.core.plan import Plan, Route, StepPlan
from otflow.core.snapshot import save
from otflow.core.state import new_state
from otflow.records.body import Body
from otflow.records.capture import FULL, NONE, Capture
from otflow.records.pages import MAX_PAGES
from otflow.records.record import EventsCollected, EventSent, Record, StepCompleted, StepStarted
from otflow.records.span import SpanData
from otflow.records.spans import from_spans, to_spans
from otflow.records.trace import RunTrace

NS = 1_000_000_000
LIMIT = FULL.records
PLAN = Plan(
    "Flow",
    "digest",
    {"a": StepPlan("a"), "b": StepPlan("b", 4)},
    {"S": Route(("a",)), "M": Route(("b",)), "Lost": Route(), "Stop": Route(stop=True)},
    frozenset("M"),
)
START = Start(NS, "S", Body({}))


def drive(*inputs: Input) -> list[Record]:
    """Feed inputs to a run."""
    state = new_state(PLAN, "run")
    return [record for input in inputs for record in advance(state, input)]


def split(spans: list[SpanData]) -> tuple[dict[str, SpanData], list[SpanData]]:
    """Give the usual spans by name, and the pages."""
    pages = [span for span in spans if "_records " in span.name]
    return {span.name: span for span in spans if span not in pages}, pages


def test_ten_thousand_sends_survive():
    """A step that sends 10,000 small events has them all in its trace, in spans that are not too large."""
    sends = [Send(NS + n, 3, "Lost", Body({"n": n})) for n in range(10_000)]
    records = drive(START, *sends, StepReturned(2 * NS, 3, 1, "Stop", Body({})))
    spans, pages = split(to_spans(records))
    assert from_spans([*spans.values(), *pages]) == records
    assert from_spans([*pages[::-1], *spans.values(), *pages]) == records
    step = spans["step a"]
    assert (step.attributes["otflow.out.count"], "otflow.omitted" in step.attributes) == (10_001, False)
    for page in pages:
        assert (page.name, page.parent_id, page.trace_id) == ("step_records a", step.span_id, step.trace_id)
        assert len(str(page.attributes["otflow.records"])) <= LIMIT
        assert page.attributes["otflow.invocation.id"] == 3
        assert (page.attributes["otflow.attempt"], page.attributes["otflow.step.name"]) == (1, "a")
        own = from_spans([page])
        assert (own[0].seq, own[-1].seq) == (page.attributes["otflow.seq.start"], page.attributes["otflow.seq.end"])
        assert (own[0].at, own[-1].at) == (page.start, page.end)
        assert "otflow.outcome" not in page.attributes
    ids = [span.span_id for span in (*spans.values(), *pages)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("capture", [FULL, NONE])
def test_the_facts_of_large_sends_survive(capture):
    """Where there is no room for payloads, ids, types and targets of all sends are there."""
    sends = [Send(NS, 3, "M", Body({"text": "x" * 1000}), "b") for _ in range(3000)]
    records = drive(START, *sends, Cancel(2 * NS))
    found = [record for record in from_spans(to_spans(records, capture)) if isinstance(record, EventSent)]
    sent = [record for record in records if isinstance(record, EventSent)]
    assert [(r.seq, r.type, r.target, r.invocation) for r in found] == [
        (r.seq, r.type, r.target, r.invocation) for r in sent
    ]
    assert found[-1].body.json == b'{"$truncated":%d}' % len(sent[-1].body.json)


def test_a_segment_that_hears_for_ever():
    """What comes in from outside goes on in pages too, while the segment is open and not at its end only."""
    state = new_state(PLAN, "run")
    records = advance(state, START)
    trace = RunTrace(records[0])
    spans = trace.feed(records)
    for n in range(3000):
        more = advance(state, Receive(NS + n, "M", Body({"n": n})))
        begun = [record for record in more if isinstance(record, StepStarted)]
        more += [record for each in begun for record in advance(state, StepReturned(NS + n, each.invocation, 1))]
        records += more
        spans += trace.feed(more)
    early = [span for span in spans if span.name == "run_records Flow"]
    assert len(early) > 2
    records += (last := advance(state, Cancel(3 * NS)))
    spans += trace.feed(last)
    segment = next(span for span in spans if span.name == "invoke_workflow Flow")
    assert {span.parent_id for span in spans if span.name == "run_records Flow"} == {segment.span_id}
    assert from_spans(spans) == records


def test_pages_of_a_restored_run_are_of_its_branch():
    """What a restored run writes on pages supersedes what came before, as all that it does."""
    state = new_state(PLAN, "run")
    before = [record for input in (START, Send(NS, 3, "Lost", Body({}))) for record in advance(state, input)]
    snapshot, again = save(state), new_state(PLAN, "run")
    lost = [record for n in range(2000) for record in advance(state, Send(2 * NS, 3, "Lost", Body({"lost": n})))]
    after = advance(again, Restore(3 * NS, snapshot))
    after += [record for n in range(2000) for record in advance(again, Send(4 * NS, 3, "Lost", Body({"n": n})))]
    spans = [*to_spans([*before, *lost]), *to_spans(after)]
    assert from_spans(spans[::-1]) == [*before, *after]


def test_what_has_no_end_is_still_counted():
    """The stream is no fact about causes: what is too much of it is counted, as ever."""
    stream = [WriteStream(NS, 3, "T", Body({"n": n})) for n in range(3000)]
    spans, pages = split(to_spans(drive(START, *stream, Cancel(2 * NS))))
    assert pages == []
    assert spans["step a"].attributes["otflow.omitted"] > 1000


def test_the_number_of_pages_is_bounded():
    """An attempt fills a limited number of pages; what is more is counted."""
    small = Capture(body=1000, value=1000, full=8192, bulk=8192, records=8192)
    sends = [Send(NS, 3, "Lost", Body({"n": n})) for n in range(4000)]
    records = drive(START, *sends, Cancel(2 * NS))
    spans, pages = split(to_spans(records, small))
    assert len(pages) == MAX_PAGES
    omitted = spans["step a"].attributes["otflow.omitted"]
    assert isinstance(omitted, int)
    assert len(from_spans([*spans.values(), *pages])) + omitted == len(records)
    assert all(len(str(page.attributes["otflow.records"])) <= small.records for page in pages)


def test_a_record_that_fits_on_no_page_is_counted():
    """One that is larger than a page even without its payload is left out; those around it are there."""
    small = Capture(body=1000, value=1000, full=8192, bulk=8192, records=8192)
    many = tuple(range(1, 2000))
    started = drive(START)
    records = [*started, EventsCollected(4, "run", NS, 3, "box", many), StepCompleted(5, "run", NS, 3, 1)]
    spans = to_spans(records, small)
    assert [record.seq for record in from_spans(spans)] == [1, 2, 3, 5]
    assert sum(int(str(span.attributes.get("otflow.omitted", 0))) for span in spans) == 1


def test_what_is_put_aside_goes_on_pages():
    """A step that buffers very many events has all of them in its trace."""
    plan = Plan("Flow", "d", {"a": StepPlan("a")}, {"S": Route(("a",))}, frozenset())
    state = new_state(plan, "run")
    records = advance(state, START)
    for n in range(2000):
        kind = "M" if n % 2 else "N"
        records += advance(state, Collect(NS, 3, f"box{n}", 2, ("M", "N"), kind, Body({"n": n})))
    records += advance(state, Cancel(2 * NS))
    spans, pages = split(to_spans(records))
    assert pages
    assert from_spans([*spans.values(), *pages]) == records
