"""Source that is written for a payload makes that payload again, in the form that formatters give it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from otflow import Context, Event, StartEvent, StepFailedEvent, StopEvent, Workflow, step
from otflow.errors import WorkflowConfigurationError, WorkflowValidationError
from otflow.records.body import Body
from otflow.records.execution import Execution
from otflow.records.payloads import make_mark
from otflow.records.record import EventSent, StepCompleted, StepStarted
from otflow.replay.constructors import Names, UnwritableError, write_event, write_model
from otflow.replay.template import comment, lay_out, quote, write_plain
from otflow.replay.testing import load_workflow, write_test
from otflow.testing import capture_records

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


class Inner(BaseModel):
    model_config = ConfigDict(extra="allow")
    n: int = 1


class Loud(Event):
    body: Any = None
    inner: Inner | None = None
    from_: str = Field("", alias="from")


class Strict(Event):
    pair: tuple[int, str] = (1, "a")
    word: bytes = b""


class Echo(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Loud:
        await ctx.store.set("seen", ev.body)
        return Loud(body=ev.body)

    @step
    async def end(self, ev: Loud) -> StopEvent:
        return StopEvent(result=ev.body)


class Needy(Workflow):
    def __init__(self, what):
        super().__init__()


def make_echo():
    """Make the workflow, as a function that a reference may name."""
    return Echo()


ECHO = Echo()
NAMES = {
    "Event": Event,
    "Inner": Inner,
    "Loud": Loud,
    "Strict": Strict,
    "ValueError": ValueError,
    "StepFailedEvent": StepFailedEvent,
}


def body(value):
    """Make a payload as it is read from a record."""
    return Body(json=msgspec.json.encode(value))


def run(value="x"):
    """Record a run of the workflow."""

    async def main():
        await Echo(timeout=None).run(body=value)

    with capture_records() as records:
        asyncio.run(main())
    return records


def write(records):
    """Write the test of a run."""
    return write_test(Execution(records), f"{__name__}:Echo")


@given(PLAIN)
def test_plain_values_are_written_as_they_are(value):
    """What is written for a plain value is that value."""
    assert eval(lay_out(write_plain(value))) == value


@given(st.text())
def test_texts_are_quoted(text):
    """A quoted text is that text, on one line."""
    assert eval(quote(text)) == text
    assert len(quote(text).splitlines()) == 1


@settings(max_examples=20)
@given(st.lists(PLAIN, min_size=3))
def test_source_has_its_form(values):
    """A formatter finds nothing to change."""
    source = "".join(
        f"def f{n}():\n    assert x == {lay_out(write_plain(v), indent=4, before='assert x == ')[16:]}\n\n\n"
        for n, v in enumerate(values)
    )
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", "-"]
    ran = subprocess.run(command, input=f"{source.rstrip()}\n", capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    "model",
    [
        Loud(body={"a": [1, Inner(n=2)]}, inner=Inner(n=3, more=4), **{"from": "me", "odd key": 1, "class": 2}),
        Strict(pair=(2, "b"), word=b"\x00\xff"),
        StepFailedEvent(
            step_name="s", input_event=Loud(), exception=ValueError("x"), attempts=1, elapsed_seconds=1.0, failed_at=2.0
        ),
    ],
)
def test_models_are_written_as_calls(model):
    """What is written for a model makes a model that tells the same."""
    known = type(model).model_validate_json(Body(model).whole)
    source = lay_out(write_model(known, Names()))
    made = eval(source, NAMES)
    assert type(made) is type(model)
    assert Body(made).whole == Body(known).whole


@pytest.mark.parametrize(
    ("key", "payload", "reason"),
    [
        (f"{__name__}:Loud", None, "the record of an event is missing"),
        (f"{__name__}:Loud", make_mark(9), "was left out because of its size"),
        (f"{__name__}:Loud", body({"body": "__REDACTED__"}), "has something hidden in it"),
        (f"{__name__}:Loud", body({"body": {"$opaque": "x", "repr": "x"}}), "could not be serialised"),
        (f"{__name__}:Gone", body({}), "cannot be found"),
        (f"{__name__}:Inner", body({}), "is no event"),
        (f"{__name__}:Loud", body({"inner": 1}), "does not accept what is recorded"),
    ],
)
def test_what_cannot_be_written_is_refused(key, payload, reason):
    """Without a whole payload, or without its class, nothing is made up."""
    with pytest.raises(UnwritableError, match=reason):
        write_event(key, payload, Names())


def test_classes_without_a_way_to_them_are_refused():
    """A class in a function, in the program that ran, or replaced by another one, cannot be imported."""

    class Local(Event):
        pass

    with pytest.raises(UnwritableError, match="is defined in a function"):
        write_model(Local(), Names())
    for changes, reason in (
        ({"__module__": "__main__"}, "in the program that ran"),
        ({"__qualname__": "Loud"}, "another class"),
        ({"__qualname__": "Nothing"}, "cannot be found"),
    ):
        twin = type("Twin", (Event,), {"__module__": __name__, "__qualname__": "Twin", **changes})
        with pytest.raises(UnwritableError, match=reason):
            Names().of(twin)


def test_names_that_are_taken_get_another_word():
    """Two classes of one name are imported under two; many names stand on lines of their own."""
    names = Names()
    assert [names.add("a", "Order"), names.add("b", "Order"), names.add("a", "Order")] == ["Order", "Order2", "Order"]
    names.drop()
    assert names.lines() == []
    names.add("b", "Order")
    for word in ("MAX", "make", *(f"Name{'x' * 20}{n}" for n in range(4)), "X"):
        names.add("json", word)
    names.keep()
    first, gap, second = names.lines()
    assert first.splitlines()[:3] == ["from json import (", "    MAX,", f"    Name{'x' * 20}0,"]
    assert (gap, second) == ("", "from b import Order as Order2")


def test_a_remark_is_broken_into_lines():
    """A remark takes as many lines as it needs, and shows nothing that a terminal obeys."""
    lines = comment("word " * 40 + "\x1b[31m", indent=4)
    assert all(len(line) <= 88 and line.startswith("    # ") for line in lines)
    assert lines[1].startswith("    #   word")
    assert "\x1b" not in "".join(lines)


def test_a_run_is_written_as_a_test():
    """Each step has a test; steps without a context need no state, and classes of this module are imported."""
    text = write(run())
    assert text.count("\ndef test_") == 2
    assert f"from {__name__} import" in text
    assert "state=" not in text
    assert "def make_workflow():" in text


def test_like_calls_are_tested_once():
    """Calls that get and give the same are one test."""
    records = run()
    start = next(each for each in records if isinstance(each, StepStarted) and each.step == "end")
    sent = next(each for each in records[::-1] if isinstance(each, EventSent))
    last, id = records[-1], records[-1].seq
    again = [
        msgspec.structs.replace(start, seq=id, invocation=id),
        StepCompleted(id + 1, start.run, start.at, id, 1),
        msgspec.structs.replace(sent, seq=id + 2, invocation=id),
        msgspec.structs.replace(last, seq=id + 3),
    ]
    assert write([*records[:-1], *again]).count("\ndef test_") == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda e: (
                msgspec.structs.replace(e, body=make_mark(9))
                if isinstance(e, EventSent) and not e.type.endswith("StopEvent")
                else e
            ),
            "was left out because of its size",
        ),
        (lambda e: None if isinstance(e, StepCompleted) else e, "its end is not recorded"),
        (
            lambda e: msgspec.structs.replace(e, value=make_mark(9)) if hasattr(e, "value") else e,
            "The payload of record",
        ),
        (
            lambda e: msgspec.structs.replace(e, step="gone") if isinstance(e, StepStarted) else e,
            "has no such step any more",
        ),
        (lambda e: None if isinstance(e, EventSent) else e, "not all of it is recorded"),
    ],
)
def test_what_cannot_be_tested_is_said(change, reason):
    """An invocation of which something is missing is left out, with the reason; without any there is no test."""
    records = [changed for each in run() if (changed := change(each)) is not None]
    try:
        text = " ".join(write(records).replace("#", "").split())
    except WorkflowValidationError as error:
        text = str(error)
    assert reason in text


def test_without_steps_there_is_no_test():
    """A run of which no step is recorded has nothing to test."""
    with pytest.raises(WorkflowValidationError, match="nothing to test"):
        write(run()[:2])


def test_a_reference_leads_to_a_workflow():
    """A class, a function and a workflow are found; anything else is refused with what to give."""
    assert load_workflow(f"{__name__}:Echo")[1] is False
    assert load_workflow(f"{__name__}:make_echo")[1] is False
    assert load_workflow(f"{__name__}:ECHO") == (ECHO, True)
    for wrong in ("nothing.here:Echo", f"{__name__}:Gone", f"{__name__}:Needy", f"{__name__}:Inner", __name__):
        with pytest.raises(WorkflowConfigurationError, match=wrong.replace(".", r"\.")):
            load_workflow(wrong)
    assert "return ECHO\n" in write_test(Execution(run()), f"{__name__}:ECHO")
