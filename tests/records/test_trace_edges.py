"""Edges of the trace: what is too large, and what is told without its beginning."""

from __future__ import annotations

import msgspec

from otflow.records.body import Body
from otflow.records.capture import Capture
from otflow.records.codec import encode
from otflow.records.emitted import Emitted, Saved
from otflow.records.record import (
    EventBuffered,
    EventReceived,
    EventsCollected,
    RunCompleted,
    RunStarted,
    StepCompleted,
    StepStarted,
    StreamWritten,
)
from otflow.records.spans import from_spans, to_spans
from otflow.records.trace import RunTrace

STARTED = RunStarted(1, "run", 10, "Flow", "digest")
RECEIVED = EventReceived(2, "run", 10, "m:A", Body({"long": "x" * 100}))
BEGUN = StepStarted(3, "run", 10, 3, 1, "a", 2)


def test_a_flood_of_the_stream_is_counted():
    """Stream items beyond the budget of a span are counted, and the span says that it is not whole."""
    small = Capture(body=1000, value=1000, full=2000, bulk=2000, records=4000)
    stream = [StreamWritten(4 + n, "run", 11 + n, 3, "m:T", Body({"n": n})) for n in range(40)]
    spans = to_spans([STARTED, RECEIVED, BEGUN, *stream, StepCompleted(44, "run", 99, 3, 1)], small)
    [step] = [span for span in spans if span.name == "step a"]
    assert step.attributes["otflow.stream.writes"] == len(stream)
    assert step.attributes["otflow.omitted"] > 0
    assert step.attributes["otflow.payload.truncated"] is True


def test_a_large_event_that_is_put_aside_is_cut():
    """An event larger than what a span shows is cut there, also in the span of a step that put it aside."""
    small = Capture(body=1000, value=20)
    buffered = EventBuffered(4, "run", 11, 3, "default", 2)
    spans = to_spans([STARTED, RECEIVED, BEGUN, buffered, StepCompleted(5, "run", 12, 3, 1)], small)
    [step] = [span for span in spans if span.name == "step a"]
    assert (step.attributes["otflow.outcome"], len(step.attributes["input.value"])) == ("buffered", 20)
    assert step.attributes["otflow.payload.truncated"] is True


def test_saved_events_without_a_payload_are_left_alone():
    """A buffered event that names another one brings no payload of its own."""
    emitted = Emitted()
    emitted.adopt(Saved([msgspec.Raw(encode(EventBuffered(4, "run", 11, 3, "default", 2)))]))
    assert emitted.find(4) is None


def test_an_end_without_its_event_is_an_end():
    """A trace that begins with the end of a run says that it is completed, and shows no output."""
    [span] = RunTrace(RunCompleted(9, "run", 20, 8)).feed([RunCompleted(9, "run", 20, 8)])
    assert span.attributes["otflow.outcome"] == "ok"
    assert "output.value" not in span.attributes


def test_collected_events_that_nobody_has_seen_are_named():
    """A collection names all its events, also those whose emission is missing."""
    collected = EventsCollected(4, "run", 11, 3, "default", (77, 2))
    records = [STARTED, RECEIVED, BEGUN, collected, StepCompleted(5, "run", 12, 3, 1)]
    spans = to_spans(records)
    [step] = [span for span in spans if span.name == "step a"]
    assert step.attributes["otflow.in.ids"] == (2, 77)
    assert from_spans(spans) == records
