"""What an attempt had sent is found in the records, and recognised when it comes again."""

from __future__ import annotations

from otflow.core.snapshot import SavedRun
from otflow.records.body import Body
from otflow.records.record import EventSent, RunResumed, StepCompleted, StepStarted
from otflow.records.sent import find_sent, mark

RUN = "run"


def sent(seq: int, invocation: int, number: float, *, returned: bool = False) -> EventSent:
    """Make the record of an event."""
    return EventSent(seq, RUN, 0, invocation, "m:Part", Body({"number": number}), "", returned)


def test_an_event_is_recognised_by_what_it_says():
    """A payload of a step and the same one read from a record have one mark; another type, target or value another."""
    live, read = Body({"a": 1.0, "b": "ü"}), Body(json=b'{"a": 1.0, "b": "\\u00fc"}')
    assert mark("m:Part", "", live) == mark("m:Part", "", read)
    others = {mark("m:Other", "", live), mark("m:Part", "work", live), mark("m:Part", "", Body({"a": 2.0, "b": "ü"}))}
    assert len({*others, mark("m:Part", "", live)}) == 4


def test_what_the_last_attempt_sent_is_found():
    """What an attempt sent by itself counts, also before it began again; not what another one sent, or returned."""
    records = [
        StepStarted(1, RUN, 0, 1, 1, "a", 9),
        sent(2, 1, 1),
        StepStarted(3, RUN, 0, 3, 1, "b", 9),
        sent(4, 3, 2),
        StepStarted(5, RUN, 0, 3, 2, "b", 9),
        sent(6, 3, 3),
        StepStarted(7, RUN, 0, 1, 1, "a", 9),
        sent(8, 1, 4),
        StepCompleted(9, RUN, 0, 3, 2),
        sent(10, 3, 5, returned=True),
    ]
    found = find_sent(records)
    assert found == {
        1: [mark("m:Part", "", Body({"number": number})) for number in (1, 4)],
        3: [mark("m:Part", "", Body({"number": 3}))],
    }


def test_what_was_sent_before_the_run_was_restored_is_in_the_saved_data():
    """From the saved data on it is counted anew; a run that goes on after a pause was not restored."""
    snapshot = Body(SavedRun(1, RUN, 2, "W", ""))
    before = [StepStarted(1, RUN, 0, 1, 1, "a", 9), sent(2, 1, 1)]
    assert find_sent([*before, RunResumed(3, RUN, 0, snapshot)]) == {}
    assert len(find_sent([*before, RunResumed(3, RUN, 0)])[1]) == 1
