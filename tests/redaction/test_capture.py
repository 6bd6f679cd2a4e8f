"""How much is captured, of which workflow and of which event; and what is kept of what is too large."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError
from otflow.payload_store import PayloadStore, PayloadStoreError
from otflow.records.body import Body
from otflow.records.capture import FULL, NONE, PREVIEW, Capture, make_capture
from otflow.records.codec import write_whole
from otflow.records.payloads import make_mark, restore_payloads
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    RunCompleted,
    RunFailed,
    RunStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from otflow.records.spans import from_spans, to_spans
from tests.redaction.house import House

R = "__REDACTED__"
BEGIN = [
    RunStarted(1, "run", 10, "Flow", "digest"),
    EventReceived(2, "run", 10, "m:Big", Body({"x": "a" * 3000})),
    StepStarted(3, "run", 10, 3, 1, "one", 2),
]
END = [
    StepCompleted(4, "run", 12, 3, 1),
    EventSent(5, "run", 12, 3, "m:Stop", Body({"y": "b" * 5000}), returned=True),
    RunCompleted(6, "run", 12, 5),
]


class Shelf(dict[str, bytes]):
    """Keeps payloads in memory, until it is broken."""

    broken = False

    def put(self, data: bytes) -> str:
        if self.broken:
            raise OSError("full")
        self[ref := f"ref:{len(self)}"] = data
        return ref

    def get(self, ref: str) -> bytes:
        return self[ref]


def span(records: list[Any], capture: Capture, name: str = "step one") -> Any:
    """Return the attributes of a span."""
    [found] = [span for span in to_spans(records, capture) if span.name == name]
    return found.attributes


def shown(attributes: Any) -> dict[str, object]:
    """Return what the records of a span show of their payloads, by the type of the event."""
    return {each["type"]: each["body"] for each in json.loads(attributes["otflow.records"]) if "body" in each}


def test_levels_by_name():
    """A level has a name; without one everything is shown."""
    assert make_capture() == make_capture("full") == FULL
    assert make_capture("preview") == PREVIEW
    assert make_capture({"*": "none"}) == NONE
    assert make_capture({}) == FULL


def test_wrong_levels():
    """All that is no level is named at once."""
    with pytest.raises(WorkflowConfigurationError, match=r"'some' for '\*', 5 for 'Flow'; use one of 'full'"):
        make_capture({"*": "some", "Flow": 5, "Other": "none"})


@pytest.mark.parametrize("name", ["Stop", "m:Stop"])
def test_events_have_levels_of_their_own(name):
    """What is said of an event holds wherever it is shown, and of no other."""
    attributes = span([*BEGIN, *END], make_capture({name: "none"}))
    assert len(attributes["input.value"]) > 3000
    assert "output.value" not in attributes
    assert shown(attributes) == {"m:Stop": {"$truncated": 5008}}
    attributes = span([*BEGIN, *END], make_capture({"*": "none", name: "full"}))
    assert "input.value" not in attributes
    assert len(attributes["output.value"]) > 5000
    assert len(shown(attributes)["m:Stop"]["y"]) == 5000
    attributes = span([*BEGIN, *END], make_capture({"*": "full", name: "preview"}), "invoke_workflow Flow")
    assert len(attributes["input.value"]) > 3000
    assert len(attributes["output.value"]) == 2000


def test_inputs_have_levels_of_their_own():
    """An event is not shown by the step or the segment that took it either."""
    capture = make_capture({"Big": "none"})
    for name in ("step one", "invoke_workflow Flow"):
        attributes = span([*BEGIN, *END], capture, name)
        assert "input.value" not in attributes
        assert len(attributes["output.value"]) > 5000


def test_workflows_have_levels_of_their_own():
    """What is said of a workflow holds for its runs; what is said of an event goes before."""
    records = [*BEGIN, *END]
    assert "input.value" not in span(records, make_capture({"Flow": "none"}))
    assert "input.value" in span(records, make_capture({"Other": "none"}))
    attributes = span(records, make_capture({"Flow": "none", "Stop": "full"}))
    assert "input.value" not in attributes
    assert "output.value" in attributes


async def test_none_says_nothing_of_errors():
    """With nothing captured, of an exception only the type is shown."""

    class Fails(Workflow):
        @step
        async def one(self, ev: StartEvent) -> StopEvent:
            raise ValueError("visible")

    house = House(capture=NONE)
    with pytest.raises(ValueError, match="visible"):
        await Fails(dispatcher=house.dispatcher).run()
    house.end()
    for made in house.spans():
        assert "visible" not in made.to_json()
        assert "traceback" not in made.to_json().lower()
        assert made.status.description in (None, "")
        assert made.attributes["error.type"] == "builtins.ValueError"
        assert [dict(event.attributes) for event in made.events] == [{"exception.type": "builtins.ValueError"}]
    read = [record for record in from_spans(house.spans()) if isinstance(record, StepFailed | RunFailed)]
    assert {(record.error.type, record.error.message, record.error.stack) for record in read} == {
        ("builtins.ValueError", "", "")
    }
    assert "visible" in house.journal()


def test_what_is_too_large_is_kept():
    """A payload that does not fit is replaced by a mark that names it, and comes back from the store."""
    shelf = Shelf()
    records = [*BEGIN, *END]
    capture = make_capture("preview", shelf)
    attributes = span(records, capture)
    [made] = [ref for ref, data in shelf.items() if b"bbb" in data and ref in str(shown(attributes))]
    assert shown(attributes) == {"m:Stop": {"$truncated": 5008, "ref": made}}
    assert json.loads(shelf[attributes["otflow.payload.in.ref"][0]])["x"] == "a" * 3000
    assert json.loads(shelf[attributes["otflow.payload.out.ref"][0]])["y"] == "b" * 5000
    read = from_spans(to_spans(records, capture))
    assert read != records
    assert restore_payloads(read, shelf) == records


def test_what_fits_is_not_kept():
    """Nothing is kept of what a span shows, nor of what may not be shown."""
    for level in ("full", "none"):
        shelf = Shelf()
        attributes = span([*BEGIN, *END], make_capture(level, shelf))
        assert not shelf
        assert not {"otflow.payload.in.ref", "otflow.payload.out.ref"} & set(attributes)


def test_a_value_may_be_cut_where_the_record_is_not():
    """What only `input.value` has no room for is kept too."""
    shelf = Shelf()
    capture = Capture(body=10_000, value=100, keeper=shelf)
    attributes = span([*BEGIN, *END], capture)
    assert len(shown(attributes)["m:Stop"]["y"]) == 5000
    assert len(attributes["input.value"]) == 100
    assert len(shelf[attributes["otflow.payload.in.ref"][0]]) == 3008


def test_a_store_that_fails_harms_nobody():
    """Without its name a payload is as lost to the trace as without a store, and that is all."""
    shelf = Shelf()
    shelf.broken = True
    attributes = span([*BEGIN, *END], make_capture("preview", shelf))
    assert shown(attributes) == {"m:Stop": {"$truncated": 5008}}
    assert not {"otflow.payload.in.ref", "otflow.payload.out.ref"} & set(attributes)
    assert attributes["otflow.payload.truncated"] is True


def test_what_cannot_be_restored_stays_as_it_is():
    """A mark stays where the store has nothing; what only looks like a mark is no business of the store."""
    records = [
        EventReceived(2, "run", 10, "m:A", make_mark(5, "ref:0")),
        EventReceived(3, "run", 10, "m:A", make_mark(5)),
        EventReceived(4, "run", 10, "m:A", Body({"$truncated": "by a user"})),
        EventReceived(5, "run", 10, "m:A", Body(["$truncated"])),
        RunCompleted(6, "run", 12, 5),
    ]
    assert restore_payloads(records, Shelf()) == records


def test_a_damaged_payload_is_reported(tmp_path):
    """What the store says is wrong reaches the reader."""
    store = PayloadStore(tmp_path)
    with pytest.raises(PayloadStoreError, match="names no payload"):
        restore_payloads([EventReceived(2, "run", 10, "m:A", make_mark(5, "ref:0"))], store)


def test_bounds():
    """A shorter limit of the user goes before all sizes, those of single events too."""
    capture = make_capture({"*": "full", "Big": "full"}).bound(50)
    attributes = span([*BEGIN, *END], capture)
    assert len(attributes["input.value"]) == len(attributes["output.value"]) == 50


def test_hidden_paths_are_named_within_bounds():
    """A span names the first 32 paths at which something is hidden, of what it cut as well, and none that it hides."""
    hidden = Body(json=json.dumps({f"k{n}": {"password": R} for n in range(50)}).encode())
    written = ContextWritten(4, "run", 11, 3, "a.b", Body(json=b'"__REDACTED__"'))
    records = [*BEGIN, written, StepCompleted(5, "run", 12, 3, 1), EventSent(6, "run", 12, 3, "m:B", hidden, "", True)]
    names = span(records, FULL)["otflow.payload.redacted_keys"]
    assert names[:3] == ("a.b", "k0.password", "k1.password")
    assert len(names) == 32
    cut = Capture(body=100, value=100)
    assert span(records, cut)["otflow.payload.redacted_keys"][:2] == ("k0.password", "k1.password")
    assert "otflow.payload.redacted_keys" not in span(records, NONE)
    whole = [*BEGIN[:1], EventReceived(2, "run", 10, "m:A", Body(json=b'"__REDACTED__"'))]
    assert span(whole, FULL, "invoke_workflow Flow")["otflow.payload.redacted_keys"] == ("*",)


async def test_a_whole_run(tmp_path):
    """What a run had to leave out of its trace is found in the store, redacted, and nowhere a secret."""

    class Big(Event):
        text: str
        password: str = "hunter2hunter2"

    class Reads(Workflow):
        @step
        async def one(self, ctx: Context, ev: StartEvent) -> Big:
            await ctx.store.set("list", [{"api_key": "hunter2hunter2", "x": "x" * 5000}])
            return Big(text="y" * 5000)

        @step
        async def two(self, ev: Big) -> StopEvent:
            return StopEvent(result=len(ev.text))

    store = PayloadStore(tmp_path)
    house = House(capture=make_capture("preview", store))
    assert await Reads(dispatcher=house.dispatcher).run() == 5000
    house.end()
    assert store.written == 2
    read = restore_payloads(from_spans(house.spans()), store)
    assert read == house.records
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"hunter2" not in path.read_bytes()
    store.close()


def test_saved_data_holds_bodies_only():
    """Whatever else JSON has no word for is refused."""
    assert bytes(write_whole(Body({"a": 1}))) == b'{"a":1}'
    with pytest.raises(TypeError, match="holds no object"):
        write_whole(object())
