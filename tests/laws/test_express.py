"""The law of the short ways: they lead to the records and the state that `advance` leads to."""

from __future__ import annotations

from random import Random

from hypothesis import given

from otflow.core.collecting import may_complete
from otflow.core.decide import advance
from otflow.core.express import begin, pass_on, put_aside, send, stop, write_state, write_stream
from otflow.core.inputs import Collect, Input, Restore, Send, Start, StepReturned, Write, WriteStream
from otflow.core.plan import NOWHERE
from otflow.core.state import RunState, new_state, pending
from otflow.records.body import Body
from otflow.records.record import Record, StepStarted
from tests.laws.strategies import Script, play, scripts, write_script


def take_short_way(state: RunState, input: Input, started: dict[int, StepStarted]) -> list[Record] | None:
    """Take an input as the runtime does that is in a hurry; None when there is no short way."""
    at = input.at
    match input:
        case Start() if not state.seq:
            return begin(state, input)
        case StepReturned(_, id, _, "Stop", Body() as body, (), False) if id in started:
            return stop(state, at, started[id], "Stop", body) if started[id].attempt == input.attempt else None
        case StepReturned(_, id, attempt, kind, body, (), False) if id in started:
            if started[id].attempt != attempt:
                return None
            if body is not None and state.plan.routes.get(kind, NOWHERE).stop:
                return stop(state, at, started[id], kind, body)
            return pass_on(state, at, started[id], kind, body)
        case Start() if state.seq == 0:
            return begin(state, input)
        case Send(_, id, kind, body, ""):
            return send(state, at, id, kind, body)
        case Collect(_, id, buffer, need, _, _, None) if id in state.running and state.ended is None:
            record = None if may_complete(state, id, buffer, need) else put_aside(state, at, id, buffer)
            return None if record is None else [record]
        case Write(_, id, path, value, False) if state.ended is None:
            return [write_state(state, at, id, path, value)]
        case WriteStream(_, id, kind, body) if state.ended is None:
            return [write_stream(state, at, id, kind, body)]
        case _:
            return None


def follow(script: Script) -> int:
    """Play a script both ways, and count the short ones."""
    short, state, started = 0, new_state(script.plan, "run"), {}
    for played in play(script):
        if isinstance(played.input, Restore):
            state = new_state(script.plan, "run")
        records = take_short_way(state, played.input, started)
        short += records is not None
        if records is None:
            records = advance(state, played.input)
        assert records == played.records
        assert state == played.state
        assert pending(state) == pending(played.state)
        assert list(state.running) == list(played.state.running)
        started |= {record.invocation: record for record in records if isinstance(record, StepStarted)}
    return short


@given(scripts())
def test_short_ways_lead_to_the_same(script):
    """Whether an input goes the short way or the long one makes no difference to records and state."""
    follow(script)


def test_short_ways_are_found():
    """Long random scripts do go the short ways, so that the law above is about something."""
    dice = Random(0)
    numbers = [[dice.getrandbits(32) for _ in range(100)] for _ in range(100)]
    assert sum(follow(write_script(first, rest)) for first, *rest in numbers) > len(numbers)
