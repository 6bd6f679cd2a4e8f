"""Whole runs with something to hide: it leaves by no way, and the run and its saved data have it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span
from pydantic import BaseModel, Field, SecretStr, field_serializer

import otflow
from otflow import Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step
from otflow.decorators import catch_error
from otflow.events import StepFailedEvent
from otflow.records.body import Body
from otflow.records.codec import decode, encode
from otflow.records.record import (
    ContextWritten,
    EventReceived,
    EventSent,
    RunFailed,
    RunResumed,
    RunStarted,
    StepFailed,
    StreamWritten,
    WaitStarted,
)
from otflow.records.spans import from_spans, to_spans
from otflow.redaction import Redaction
from otflow.retry_policy import ConstantDelayRetryPolicy
from otflow.runtime.telling import tell_snapshot
from tests.redaction.house import OFF, House

R = "__REDACTED__"
HIDDEN: dict[str, Any] = {"json_schema_extra": {"otflow": "secret"}}
SECRET = "s3cr3t-Value!"


class Login(StartEvent):
    user: str = "bob"
    pin: str = Field(SECRET, **HIDDEN)


class Step(Event):
    data: dict = Field({})


class Answer(HumanResponseEvent):
    pin: str = Field(SECRET, **HIDDEN)
    text: str = ""


class Question(InputRequiredEvent):
    password: str = SECRET


class Part(Event):
    number: int = 0
    api_key: str = SECRET


class Done(StopEvent):
    password: str = SECRET


class State(BaseModel):
    pin: str = Field("", **HIDDEN)
    other: str = ""
    deep: dict = Field({})


class Everything(Workflow):
    """Takes each way on which a payload can leave."""

    @step
    async def begin(self, ctx: Context[State], ev: Login) -> Part | None:
        await ctx.store.set("pin", ev.pin)
        await ctx.store.set("deep.api_key", ev.pin)
        await ctx.store.set("deep.list", [{"cookie": ev.pin}])
        async with ctx.store.edit_state() as state:
            state.deep = {**state.deep, "jwt": ev.pin}
        ctx.write_event_to_stream(Question())
        ctx.send_event(Part(number=1))
        ctx.send_event(Part(number=2), step="gather")
        return None

    @step
    async def gather(self, ctx: Context[State], ev: Part) -> Step | None:
        if ctx.collect_events(ev, [Part, Part]) is None:
            return None
        return Step(data={"credentials": {"user": "bob", "x": [SECRET]}})

    @step
    async def ask(self, ctx: Context[State], ev: Step) -> Done:
        answer = await ctx.wait_for_event(Answer, waiter_event=Question(), requirements={"pin": SECRET})
        return Done(password=answer.pin)


async def answer(handler: Any, house: House) -> Any:
    """Answer the question of a run once it waits, and return its result."""
    while not house.of(WaitStarted):
        await asyncio.sleep(0)
    handler.ctx.send_event(Answer())
    return await handler


async def leave(handler: Any, house: House) -> dict[str, Any]:
    """Save a run once it waits, and end it."""
    async for _ in handler.stream_events():
        if house.of(WaitStarted):
            break
    saved = handler.ctx.to_dict()
    await handler.cancel_run()
    with pytest.raises(otflow.WorkflowCancelledByUser):
        await handler
    house.end()
    return json.loads(json.dumps(saved))


async def test_nothing_leaves():
    """Start, state, stream, sent, collected, waited for, answered, returned: no record and no span tells a secret."""
    house = House()
    flow = Everything(dispatcher=house.dispatcher)
    handler = flow.run(start_event=Login())
    result = await answer(handler, house)
    streamed = [event async for event in handler.stream_events()]
    assert [event.password for event in streamed] == [SECRET] * 3
    assert isinstance(result, Done)
    assert result.password == SECRET
    state = await handler.ctx.store.get_state()
    assert state.pin == state.deep["jwt"] == SECRET
    house.end()
    kinds = (EventReceived, EventSent, StreamWritten, ContextWritten, WaitStarted)
    assert all(house.of(kind) for kind in kinds)
    assert SECRET not in house.text()
    assert house.text().count(R) > 20


async def test_saved_data_has_everything():
    """A context that is saved in the middle of a run has the true values, and a run goes on with them."""
    house = House()
    handler = Everything(dispatcher=house.dispatcher).run(start_event=Login())
    saved = await leave(handler, house)
    text = json.dumps(saved)
    assert text.count(SECRET) >= 5
    [wait] = saved["run"]["waits"]  # whose name tells what is required, as far as it may be told
    assert R not in text.replace(json.dumps(wait["waiter"])[1:-1], "")
    again = House()
    flow = Everything(dispatcher=again.dispatcher)
    handler = flow.run(ctx=Context.from_dict(flow, json.loads(text)))
    assert (await answer(handler, again)).password == SECRET
    again.end()
    [resumed] = [record for record in again.of(RunResumed) if record.snapshot]
    assert SECRET in resumed.snapshot.whole.decode()
    assert R in resumed.snapshot.json.decode()
    assert SECRET not in again.text() + house.text()


async def test_what_is_carried_over():
    """The state and the collected events that a run inherits are told without secrets, whoever left them."""

    class Collecting(Workflow):
        @step
        async def begin(self, ctx: Context[State], ev: Login) -> Part | StopEvent:
            await ctx.store.set("pin", ev.pin)
            return Part()

        @step
        async def gather(self, ctx: Context[State], ev: Part) -> StopEvent:
            return StopEvent(result=ctx.collect_events(ev, [Part] * 3) is not None)

    silent = otflow.dispatcher.Dispatcher()
    first = Collecting(dispatcher=silent)
    ctx = Context(first)
    assert await first.run(ctx=ctx, start_event=Login()) is False
    house = House()
    flow = Collecting(dispatcher=house.dispatcher)
    saved = ctx.to_dict()
    assert json.dumps(saved).count(SECRET) == 2
    for context in (ctx, Context.from_dict(flow, saved)):
        house.records.clear()
        assert await flow.run(ctx=context, start_event=Login()) is False
        [started] = house.of(RunStarted)
        carried = msgspec.json.decode(started.carried.json)
        assert carried["state"]["pin"] == R
        assert [event["body"]["api_key"] for event in carried["events"]] == [R]
        assert json.dumps(context.to_dict()).count(SECRET) == 3
    house.end()
    assert SECRET not in house.text()


class Failing(Workflow):
    """Fails with a secret in its words."""

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=0))
    async def begin(self, ctx: Context, ev: Login) -> StopEvent:
        raise ValueError(f"{ev.pin} was refused (password='{SECRET}', url=https://bob:{SECRET}@host)")


async def test_errors():
    """Message and stack of an exception are told without secrets; the caller gets the exception itself."""
    house = House()
    with pytest.raises(ValueError, match=SECRET):
        await Failing(dispatcher=house.dispatcher).run(start_event=Login())
    house.end()
    failed = [*house.of(StepFailed), *house.of(RunFailed)]
    assert len(failed) > 2
    for record in failed:
        assert record.error.type == "builtins.ValueError"
        assert record.error.message == f"{R} was refused (password={R}, url=https://{R}@host)"
        assert "ValueError" in record.error.stack
    assert SECRET not in house.text()


class Kept(StartEvent):
    key: SecretStr = SecretStr(SECRET)


async def test_errors_with_the_content_of_a_secret():
    """What a `SecretStr` holds is not told by the error of the step that worked on it."""

    class Refusing(Workflow):
        @step
        async def begin(self, ev: Kept) -> StopEvent:
            raise ValueError(f"cannot log in using {ev.key.get_secret_value()}")

    house = House(Redaction())  # one that has seen nothing before
    with pytest.raises(ValueError, match=SECRET):
        await Refusing(dispatcher=house.dispatcher).run(start_event=Kept())
    house.end()
    assert {record.error.message for record in house.of(StepFailed)} == {f"cannot log in using {R}"}
    assert SECRET not in house.text()


def fail(text: str) -> None:
    """Raise."""
    raise ValueError(text)


class Reporting(Workflow):
    """Reports an exception on its own span."""

    @step
    async def begin(self, ev: Kept) -> StopEvent:
        span = get_current_span()
        try:
            fail(f"password=hunter2 {ev.key.get_secret_value()}")
        except ValueError as error:
            span.record_exception(error, {"mine": "password=a"})
        span.set_status(StatusCode.ERROR, f"password=hunter2 {ev.key.get_secret_value()}")
        span.set_attribute("mine", "password=b")
        span.add_event("mine", {"mine": "password=c"})
        return StopEvent()


@pytest.mark.parametrize("policy", [None, OFF])
async def test_what_users_report_on_their_span(policy):
    """Exceptions and failures that a step reports are told without secrets; what else it says stays as it is."""
    house = House(policy)
    await Reporting(dispatcher=house.dispatcher).run(start_event=Kept())
    house.end()
    span = house.step("begin")
    reported, said = span.events
    wanted = f"password={R} {R}" if policy is None else f"password=hunter2 {SECRET}"
    assert reported.attributes["exception.message"] == span.status.description == wanted
    assert ("hunter2" in reported.attributes["exception.stacktrace"]) == (policy is OFF)
    assert reported.attributes["exception.stacktrace"].endswith(f"ValueError: {wanted}\n")
    told = (reported.attributes["mine"], span.attributes["mine"], said.attributes["mine"])
    assert told == ("password=a", "password=b", "password=c")


async def test_what_users_report_follows_configure():
    """The spans of a configured provider have the policy of the moment."""
    for redact in (True, False):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        undo = otflow.configure(tracer_provider=provider, redact=redact)
        try:
            await Reporting().run(start_event=Kept())
        finally:
            undo()
        [span] = [span for span in exporter.get_finished_spans() if span.name == "step begin"]
        assert ("hunter2" in str(span.status.description)) != redact


async def test_errors_that_are_caught():
    """The event for an error handler is told without secrets, and the handler gets the exception itself."""
    heard: list[str] = []

    class Caught(Failing):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            heard.append(str(ev.exception))
            return StopEvent(result=ev.input_event.pin)

    house = House()
    assert await Caught(dispatcher=house.dispatcher).run(start_event=Login()) == SECRET
    house.end()
    assert SECRET in heard[0]
    told = house.text().replace(json.dumps({"result": SECRET}, separators=(",", ":")), "")
    assert [record.type for record in house.of(EventSent)] == [
        "otflow.events:StepFailedEvent",
        "otflow.events:StopEvent",
    ]
    assert SECRET not in "".join(encode(record).decode() for record in house.records if "Stop" not in str(record))
    assert told


async def test_validation_errors():
    """What a validation error quotes is not told."""

    class Strict(BaseModel):
        password: int

    class Refusing(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            Strict(password=SECRET)
            return StopEvent()

    house = House()
    with pytest.raises(otflow.WorkflowRuntimeError):
        await Refusing(dispatcher=house.dispatcher).run()
    house.end()
    assert SECRET not in house.text()
    assert "int_parsing" in house.of(StepFailed)[0].error.message


async def test_redacted_keys():
    """A span names the paths at which something is hidden, of what it took, returned and wrote."""

    class Named(Workflow):
        @step
        async def begin(self, ctx: Context, ev: Login) -> Done:
            await ctx.store.set("api_key", "x")
            await ctx.store.set("a", {"b": [{"cookie": "x"}]})
            return Done()

    house = House()
    await Named(dispatcher=house.dispatcher).run(start_event=Login())
    house.end()
    attributes = house.step("begin").attributes
    assert attributes["otflow.payload.redacted_keys"] == ("api_key", "a.b.0.cookie", "password", "pin")
    assert json.loads(attributes["input.value"]) == {"user": "bob", "pin": R}
    assert json.loads(attributes["output.value"])["password"] == R
    assert "otflow.payload.truncated" not in attributes


async def test_redacted_keys_of_a_plain_step():
    """A step that does nothing but take and return an event names what is hidden in either of them."""

    class Takes(Workflow):
        @step
        async def begin(self, ev: Login) -> StopEvent:
            return StopEvent(result=1)

    class Gives(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Done:
            return Done()

    for kind, keys in ((Takes, ("pin",)), (Gives, ("password",))):
        house = House()
        await kind(dispatcher=house.dispatcher).run()
        house.end()
        assert house.step("begin").attributes["otflow.payload.redacted_keys"] == keys


async def test_spans_are_those_of_the_records():
    """What spans say can be made again from records that were written down, hidden parts and all."""
    house = House()
    with pytest.raises(ValueError, match=SECRET):
        await Failing(dispatcher=house.dispatcher).run(start_event=Login())
    house.end()
    read = [decode(line) for line in house.journal().splitlines()]
    assert read == house.records
    assert from_spans(house.spans()) == read
    assert {(s.name, tuple(s.attributes.items())) for s in to_spans(read)} == {
        (s.name, tuple(s.attributes.items())) for s in to_spans(house.records)
    }


async def test_switched_off():
    """Without redaction everything is told as it is."""
    house = House(OFF)
    handler = Everything(dispatcher=house.dispatcher).run(start_event=Login())
    assert (await answer(handler, house)).password == SECRET
    house.end()
    assert R not in house.text()
    assert house.text().count(SECRET) > 20
    again = House(OFF)
    flow = Everything(dispatcher=again.dispatcher)
    handler = flow.run(start_event=Login())
    saved = await leave(handler, again)
    last = House(OFF)
    flow = Everything(dispatcher=last.dispatcher)
    handler = flow.run(ctx=Context.from_dict(flow, saved))
    await answer(handler, last)
    [resumed] = [record for record in last.of(RunResumed) if record.snapshot]
    assert SECRET in resumed.snapshot.json.decode()


async def test_inputs_and_outputs():
    """What goes into steps, or what comes out of them, can be hidden as a whole, and so is the state."""
    for policy, taken, made in [
        (Redaction(hide_inputs=True), R, {"password": R}),
        (Redaction(hide_outputs=True), {"user": "bob", "pin": R}, R),
        (Redaction(hide_inputs=True, hide_outputs=True), R, R),
    ]:

        class Named(Workflow):
            @step
            async def begin(self, ctx: Context, ev: Login) -> Done:
                await ctx.store.set("a", "visible")
                return Done()

        house = House(policy)
        assert (await Named(dispatcher=house.dispatcher).run(start_event=Login())).password == SECRET
        house.end()
        attributes = house.step("begin").attributes
        shown = json.loads(attributes["output.value"])
        shown = {"password": shown["password"]} if isinstance(shown, dict) else shown
        assert (json.loads(attributes["input.value"]), shown) == (taken, made)
        assert "visible" not in house.text()


async def test_what_a_run_belongs_to():
    """Metadata of a run is redacted like any payload, also when the run is restored."""
    house = House()
    with otflow.tagged(session="s", metadata={"api_key": SECRET, "team": "blue"}):
        handler = Everything(dispatcher=house.dispatcher).run(start_event=Login())
    saved = await leave(handler, house)
    again = House()
    flow = Everything(dispatcher=again.dispatcher)
    handler = flow.run(ctx=Context.from_dict(flow, saved))
    await answer(handler, again)
    for each in (house, again):
        each.end()
        assert SECRET not in each.text()
        assert "blue" in each.text()


async def test_events_of_unknown_classes():
    """A saved event whose class cannot be found, or refuses its data, is not told at all."""
    house = House()
    handler = Everything(dispatcher=house.dispatcher).run(start_event=Login())
    saved = await leave(handler, house)
    [step_event] = [event for event in saved["run"]["events"] if event["type"].endswith(":Step")]
    step_event["body"] = {"data": f"not a dict, {SECRET}"}
    [wait] = saved["run"]["waits"]
    wait["type"] = "nowhere:Answer"
    again = House()
    flow = Everything(dispatcher=again.dispatcher)
    with pytest.raises(otflow.OtflowError):
        await flow.run(ctx=Context.from_dict(flow, saved))
    again.end()
    [resumed] = [record for record in again.of(RunResumed) if record.snapshot]
    told = msgspec.json.decode(resumed.snapshot.json)
    assert R in [event["body"] for event in told["events"]]
    assert told["waits"][0]["requirements"] == R
    assert SECRET not in again.text()


def test_saved_data_that_cannot_be_read():
    """Of data that is no saved run nothing is told."""
    flow = Everything()
    body = tell_snapshot(flow._ready(), House().dispatcher.redact, b'{"password": "visible"}')
    assert body.json == b'"__REDACTED__"'
    assert body.whole == b'{"password": "visible"}'


async def test_names_of_waits():
    """A wait is named by what is required, as far as that may be told."""

    class Waiting(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(Answer, requirements={"pin": "1"}, timeout=0)
            return StopEvent()

    house = House()
    with pytest.raises(TimeoutError):
        await Waiting(dispatcher=house.dispatcher).run()
    [wait] = house.of(WaitStarted)
    assert wait.waiter.endswith('Answer_{"pin":"__REDACTED__"}')


class Reveal(Event):
    key: SecretStr

    @field_serializer("key", when_used="json")
    def write(self, value: SecretStr) -> str:
        return value.get_secret_value()


async def test_secrets_that_survive_saving():
    """A serializer that writes a secret out for saved data does not tell it to anyone else."""

    class Keeping(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Reveal:
            return Reveal(key=SECRET)

        @step
        async def use(self, ctx: Context, ev: Reveal) -> StopEvent:
            await ctx.wait_for_event(Answer, waiter_event=Question(password="x"))
            return StopEvent(result=ev.key)

    house = House()
    flow = Keeping(dispatcher=house.dispatcher)
    handler = flow.run()
    saved = await leave(handler, house)
    assert SECRET in json.dumps(saved)
    again = House()
    flow = Keeping(dispatcher=again.dispatcher)
    handler = flow.run(ctx=Context.from_dict(flow, saved))
    assert (await answer(handler, again)).get_secret_value() == SECRET
    assert SECRET not in house.text() + again.text()


# ---- any payload ----

KEYS = st.sampled_from(["password", "apiKey", "client-secret", "AUTHORIZATION", "jwt", "credit_card"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", max_size=4), inner, max_size=3),
    max_leaves=6,
)


class Bag(BaseModel):
    pin: Any = Field(None, **HIDDEN)
    rest: Any = None


def plant(noise: Any, key: str, secret: str, marked: bool, depth: list[int]) -> Any:
    """Put a secret under a sensitive key or into a marked field, somewhere below a random value."""
    value: Any = Bag(pin=secret, rest=noise) if marked else {key: secret, "rest": noise}
    for way in depth:
        match way:
            case 0:
                value = [noise, value]
            case 1:
                value = {"in": value, "noise": noise}
            case 2:
                value = (value, {"x": noise})
            case _:
                value = Bag(rest=value)
    return value


class Carry(Event):
    payload: Any = None


class Carrying(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Carry:
        await ctx.store.set("kept", ev.payload)
        ctx.write_event_to_stream(Carry(payload=ev.payload))
        return Carry(payload=ev.payload, more=ev.payload)

    @step
    async def fail(self, ctx: Context, ev: Carry) -> StopEvent:
        if ctx.attempt == 1 and await ctx.store.get("fails", default=False):
            raise RuntimeError(f"cannot use {ev.payload!r}")
        return StopEvent(result=ev.payload)


@settings(max_examples=60)
@given(PLAIN, KEYS, st.integers(0), st.booleans(), st.lists(st.integers(0, 3), max_size=4), st.booleans())
async def test_no_payload_tells_a_secret(noise, key, number, marked, depth, fails):
    """Wherever in whatever payload a secret stands, it leaves by no record, span, attribute or error."""
    secret = f"sk-{number:012d}-xyz"
    payload = plant(noise, key, secret, marked, depth)
    house = House()
    flow = Carrying(dispatcher=house.dispatcher)
    ctx = Context(flow)
    await ctx.store.set("fails", fails)
    handler = flow.run(ctx=ctx, payload=payload)
    if fails:
        with pytest.raises(RuntimeError, match=secret):
            await handler
    else:
        assert await handler is payload
    saved = json.dumps(ctx.to_dict())
    assert secret in saved
    assert R not in saved
    house.end()
    assert secret not in house.text()
    assert R in house.text()
    assert all(record == decode(encode(record)) for record in house.records)


@settings(max_examples=40)
@given(PLAIN)
async def test_plain_payloads_are_told_as_they_are(noise):
    """A payload without secrets looks the same with and without redaction."""
    told = []
    for policy in (None, OFF):
        house = House(policy)
        await Carrying(dispatcher=house.dispatcher).run(payload=noise)
        told.append([getattr(record, "body", Body(1)).json for record in house.records])
        house.end()
    assert told[0] == told[1]


def test_a_body_keeps_one_json_when_nothing_is_hidden():
    """Nobody pays with memory for what is not hidden."""
    body = Body(Part(api_key=""), None, House().dispatcher.redact)
    body.fix()
    plain = Body(Step(data={"a": deque()}), None, House().dispatcher.redact)
    plain.fix()
    assert plain._whole is None
    assert plain.whole is plain.json
