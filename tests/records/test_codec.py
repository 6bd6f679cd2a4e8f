"""Records as JSON: one object each, and the same record back."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.core.snapshot import Leftovers, pack
from otflow.records.body import Body
from otflow.records.codec import decode, encode, encode_all, encode_whole
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

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
names = st.text(max_size=5)
numbers = st.integers(0, 2**53)
bodies = st.builds(Body, json_values)
some = st.none() | bodies.filter(lambda body: body.json != b"null")  # where none may be, null says that there is none
seconds = st.floats(0, 1e9)
failures = st.builds(Failure, names, names, names)
places = [numbers, names, numbers]

RECORDS: dict[type, st.SearchStrategy[Record]] = {
    RunStarted: st.builds(
        RunStarted, *places, names, names, st.none() | seconds, st.booleans(), names, names, numbers, some
    ),
    RunResumed: st.builds(RunResumed, *places, some),
    RunPaused: st.builds(RunPaused, *places, names),
    RunCompleted: st.builds(RunCompleted, *places, numbers),
    RunFailed: st.builds(RunFailed, *places, failures, names, numbers, numbers),
    RunCancelled: st.builds(RunCancelled, *places, names),
    RunTimedOut: st.builds(RunTimedOut, *places, seconds, st.lists(names).map(tuple)),
    EventReceived: st.builds(EventReceived, *places, names, bodies, names),
    EventSent: st.builds(
        EventSent, *places, numbers, names, bodies, names, st.booleans(), st.booleans(), st.lists(names).map(tuple)
    ),
    EventReleased: st.builds(EventReleased, *places, numbers),
    EventBuffered: st.builds(
        EventBuffered,
        *places,
        numbers,
        names,
        numbers,
        st.lists(st.tuples(names, numbers)).map(tuple),
        names,
        some,
    ),
    EventsCollected: st.builds(EventsCollected, *places, numbers, names, st.lists(st.integers(-99)).map(tuple)),
    StepStarted: st.builds(StepStarted, *places, numbers, numbers, names, numbers),
    StepCompleted: st.builds(StepCompleted, *places, numbers, numbers),
    StepFailed: st.builds(StepFailed, *places, numbers, numbers, failures),
    RetryScheduled: st.builds(RetryScheduled, *places, numbers, numbers, seconds, numbers),
    RetryQueued: st.builds(RetryQueued, *places, numbers, numbers),
    ContextWritten: st.builds(ContextWritten, *places, numbers, names, bodies, st.booleans()),
    StreamWritten: st.builds(StreamWritten, *places, numbers, names, bodies),
    WaitStarted: st.builds(
        WaitStarted,
        *places,
        numbers,
        names,
        names,
        some,
        numbers,
        st.booleans(),
        numbers,
        st.booleans(),
    ),
    WaitEnded: st.builds(WaitEnded, *places, numbers, numbers, numbers),
    CheckpointTaken: st.builds(CheckpointTaken, *places, numbers, names),
}


@given(st.one_of(*RECORDS.values()))
def test_a_record_comes_back(record):
    """What was written is read as the same record, field for field."""
    text = encode(record)
    again = decode(text)
    assert again == record
    assert encode(again) == text or json.loads(encode(again)) == json.loads(text)


@given(st.one_of(*RECORDS.values()))
def test_a_record_is_one_object(record):
    """Each record is one JSON object that names its kind; text with a line break in it stays on one line."""
    text = encode(record)
    assert b"\n" not in text
    assert json.loads(text)["record"] == type(record).__name__


def test_bodies_are_no_text_in_text():
    """What a body says stands in the record as JSON, so that a journal can be queried."""
    record = EventReceived(1, "run", 2, "app:Order", Body({"lines": [{"n": 1}]}))
    assert json.loads(encode(record))["body"] == {"lines": [{"n": 1}]}


def test_text_is_read_like_bytes():
    """A line that was read as text is as good as its bytes."""
    record = StepCompleted(1, "run", 2, 3, 4)
    assert decode(encode(record).decode()) == record


def test_leftovers_stand_in_the_record():
    """What a run inherits is part of the record of its start."""
    record = RunStarted(1, "run", 0, "flow", "", carried=pack(Leftovers(Body({"x": 1}))))
    assert json.loads(encode(record))["carried"] == {"state": {"x": 1}}
    assert decode(encode(record)) == record


def test_text_that_is_none_is_spelt_out():
    """A message with half a surrogate pair, as file names may have, is recorded, and does not stop the run."""
    record = RunTimedOut(1, "run", 2, 3.0, ("a\ud800",))
    assert decode(encode(record)) == RunTimedOut(1, "run", 2, 3.0, ("a\\ud800",))
    failed = StepFailed(1, "run", 2, 3, 4, Failure("OSError", "no file \udcff"))
    assert decode(encode(failed)).error.message == "no file \\udcff"
    assert encode_whole(failed) == encode(failed)
    assert encode_all([failed, failed]) == b"[%b,%b]" % (encode(failed), encode(failed))


def test_nothing_but_bodies_is_opaque():
    """A live object that nobody wrapped in a body is a fault of ours, and not written as something else."""
    with pytest.raises(TypeError, match="a record holds no object"):
        encode(ContextWritten(1, "run", 2, 3, "path", object()))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", msgspec.DecodeError),
        ('{"record": "Surprise", "seq": 1, "run": "r", "at": 0}', msgspec.ValidationError),
        ('{"record": "RunPaused", "seq": "one", "run": "r", "at": 0, "reason": ""}', msgspec.ValidationError),
        ('{"record": "RunPaused", "seq": 1}', msgspec.ValidationError),
    ],
)
def test_what_is_no_record_is_refused(text, error):
    """Damaged text, an unknown kind, a wrong or a missing field are errors, not guesses."""
    with pytest.raises(error):
        decode(text)


def test_a_newer_release_may_add_fields():
    """A field that this release does not know is passed over, so that journals can be read across releases."""
    text = '{"record": "RunPaused", "seq": 1, "run": "r", "at": 0, "reason": "waiting", "mood": "calm"}'
    assert decode(text) == RunPaused(1, "r", 0, "waiting")
