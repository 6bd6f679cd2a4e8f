"""Saved data of a run with what may be told of it: each payload in it is asked about, by its type."""

from __future__ import annotations

import msgspec

from otflow.core.snapshot import SavedRun
from otflow.core.state import Question, Wait
from otflow.core.told import tell_saved
from otflow.records.body import Body
from otflow.records.codec import write_whole
from otflow.records.record import FORMAT, About, EventBuffered, EventReceived

WHOLE = Body(json=b'"whole"')


def tell(kind: str, _: Body) -> Body:
    """Tell the type in the place of a payload."""
    return Body(f"told {kind}")


def read(saved: SavedRun) -> dict[str, object]:
    """Return what may be told of saved data."""
    snapshot = Body(json=msgspec.json.encode(saved, enc_hook=write_whole))
    return msgspec.json.decode(tell_saved(snapshot, tell, lambda kind, _: Body(f"asked {kind}"), Body("state")))


def test_all_payloads_are_asked_about():
    """Events, questions, requirements, metadata and the state: nothing is written as it was."""
    saved = SavedRun(FORMAT, "run", 9, "W", "")
    saved.events = [EventReceived(1, "run", 0, "Start", WHOLE), EventBuffered(2, "run", 0, 1, "default", 1)]
    saved.asked = [Question(3, "Ask", WHOLE)]
    saved.waits = [Wait(4, 1, "a", 1, "Said", WHOLE), Wait(5, 1, "b", 1, "Said")]
    saved.about = About("chat", metadata=WHOLE)
    saved.state = WHOLE
    told = read(saved)
    assert "whole" not in f"{told}"
    assert told["events"][0]["body"] == "told Start"
    assert told["asked"][0]["body"] == "told Ask"
    assert told["waits"][0]["requirements"] == "asked Said"
    assert told["about"] == {"session": "chat", "metadata": "told "}
    assert told["state"] == "state"


def test_what_is_not_there_is_not_asked_about():
    """A run that belongs to nothing, or to something without metadata, is told as it is."""
    assert "about" not in read(SavedRun(FORMAT, "run", 9, "W", ""))
    assert read(SavedRun(FORMAT, "run", 9, "W", "", about=About(user="ada")))["about"] == {"user": "ada"}
