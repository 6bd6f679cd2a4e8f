"""What a step asked of the outside is read from the spans of other libraries, whatever convention they follow."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step
from otflow.records.execution import Execution
from otflow.records.span import SpanData
from otflow.records.spans import to_spans
from otflow.replay.outside import Call, find_calls
from otflow.replay.testing import write_test
from otflow.testing import HttpCall, ModelCall, capture_records


class Loud(Event):
    body: str


class Echo(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Loud:
        return Loud(body=ev.body)

    @step
    async def end(self, ev: Loud) -> StopEvent:
        return StopEvent(result=ev.body)


@pytest.fixture(scope="module")
def execution():
    """Record a run."""

    async def main():
        await Echo(timeout=None).run(body="x")

    with capture_records() as records:
        asyncio.run(main())
    return Execution(records)


def span(id, parent, name="x", **attributes):
    """Make a span of another library."""
    return SpanData(name, 1, id, parent, id, 0, {key.replace("__", "."): value for key, value in attributes.items()})


def attempt(execution, step="end"):
    """Give the id of the span of a step."""
    return next(each.span_id for each in to_spans(execution.records) if each.name == f"step {step}")


def calls(execution, *spans):
    """Give the calls of the step `end`."""
    found = find_calls(execution, spans)
    assert len(found) <= 1
    return next(iter(found.values()), [])


def only(execution, **attributes):
    """Give the only call that a span is read as; None if it is none."""
    found = calls(execution, span(5, attempt(execution), "call", **attributes))
    return found[0] if found else None


NEW = {"http__request__method": "GET", "url__full": "https://x.org/a", "http__response__status_code": 200}
OLD = {"http__method": "GET", "http__url": "https://x.org/a", "http__status_code": 200}


@pytest.mark.parametrize("attributes", [NEW, OLD, {**NEW, **OLD}, {**NEW, "span__kind": "client"}])
def test_requests_are_read_in_both_conventions(execution, attributes):
    """A request is known by the attributes of the old and of the new convention."""
    assert only(execution, **attributes) == Call("GET https://x.org/a answered 200", HttpCall("GET", "https://x.org/a"))


def test_a_request_that_failed_says_how(execution):
    """Where there was no answer the client raises again what it raised."""
    found = only(execution, http__request__method="GET", url__full="https://x.org/a", error__type="ConnectError")
    assert found == Call(
        "GET https://x.org/a failed with ConnectError", HttpCall("GET", "https://x.org/a", error="ConnectError")
    )


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (
            {**NEW, "otel__scope__name": "lib.aiohttp_client"},
            "GET https://x.org/a answered 200 (by lib.aiohttp_client)",
        ),
        ({"http__method": "GET"}, "GET call"),
        ({"db__system": "postgresql", "db__statement": "SELECT 1"}, "postgresql: call SELECT 1"),
        ({"db__system__name": "redis", "db__operation__name": "GET"}, "redis: call GET"),
        ({"rpc__system": "grpc", "rpc__method": "Say"}, "grpc: call Say"),
        ({"openinference__span__kind": "RETRIEVER"}, "call: call"),
        ({"gen_ai__operation__name": "embeddings", "gen_ai__request__model": "m"}, "call: call"),
        ({"openinference__span__kind": "LLM", "llm__model_name": "m", "llm__system": "anthropic"}, "call: the model m"),
        ({"gen_ai__request__model": "m", "error__type": "Timeout"}, "call: the model m failed"),
        ({"gen_ai__operation__name": "chat", "output__value": "y" * 300}, f"call: the model ? answered {'y' * 200}..."),
    ],
)
def test_what_a_test_cannot_answer_is_told(execution, attributes, words):
    """A call that no stub can stand for is put into words."""
    assert only(execution, **attributes) == Call(words)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"openinference__span__kind": "CHAIN", "llm__model_name": "m"},
        {"gen_ai__operation__name": "invoke_agent", "gen_ai__request__model": "m"},
        {**NEW, "http__route": "/a"},
        {**NEW, "span__kind": "server"},
        {"messaging__system": "kafka", "span__kind": "consumer"},
    ],
)
def test_what_is_no_call_is_not_told(execution, attributes):
    """Spans of agents and chains, and those of servers, are no calls of the step."""
    assert only(execution, **attributes) is None


PARTS = msgspec.json.encode(
    [
        {"role": "assistant", "parts": [{"type": "text", "content": "Tea"}, {"type": "reasoning", "content": "hm"}]},
    ]
).decode()
ASKED = msgspec.json.encode(
    [{"role": "system", "parts": []}, {"role": "user", "parts": [{"type": "text", "content": "What  now?"}]}]
).decode()
TOOL = [{"role": "assistant", "parts": [{"type": "tool_call", "name": "find", "arguments": {"q": 1}}]}]
NUMBERED = {
    "llm__input_messages__0__message__role": "system",
    "llm__input_messages__0__message__content": "Be brief.",
    "llm__input_messages__1__message__role": "user",
    "llm__input_messages__1__message__contents__0__message_content__text": "What now?",
}
OPENINFERENCE = {"openinference__span__kind": "LLM", "llm__model_name": "m", "llm__system": "openai"}


@pytest.mark.parametrize(
    ("attributes", "stub"),
    [
        ({"gen_ai__operation__name": "chat", "gen_ai__request__model": "m"}, ModelCall("m")),
        (
            {
                "gen_ai__operation__name": "chat",
                "gen_ai__request__model": "m",
                "gen_ai__response__model": "m-2",
                "gen_ai__provider__name": "openai",
                "gen_ai__input__messages": ASKED,
                "gen_ai__output__messages": PARTS,
                "gen_ai__usage__input_tokens": 7,
                "gen_ai__usage__output_tokens": 3,
            },
            ModelCall("m-2", "What now?", "Tea", tokens=(7, 3)),
        ),
        (
            {"gen_ai__system": "az.ai.openai", "gen_ai__request__model": "m", "gen_ai__output__messages": TOOL},
            ModelCall("m", tools=(("find", '{"q":1}'),)),
        ),
        (
            {"gen_ai__request__model": "m", "gen_ai__prompt__0__role": "user", "gen_ai__prompt__0__content": "Hi"}
            | {"gen_ai__completion__0__content": "Ho", "gen_ai__usage__prompt_tokens": 1},
            ModelCall("m", "Hi", "Ho", tokens=(1, 0)),
        ),
        (
            OPENINFERENCE
            | NUMBERED
            | {"llm__output_messages__0__message__content": "Tea", "llm__token_count__prompt": 2},
            ModelCall("m", "What now?", "Tea", tokens=(2, 0)),
        ),
        (
            OPENINFERENCE
            | {
                "llm__output_messages__0__message__tool_calls__0__tool_call__function__name": "find",
                "llm__output_messages__0__message__tool_calls__0__tool_call__function__arguments": "{}",
            },
            ModelCall("m", tools=(("find", "{}"),)),
        ),
        (OPENINFERENCE | {"gen_ai__output__messages": "no JSON", "gen_ai__input__messages": 5}, ModelCall("m")),
    ],
)
def test_models_are_read_in_all_conventions(execution, attributes, stub):
    """What a model was asked and what it answered is known by GenAI, new and old, and by OpenInference."""
    found = only(execution, **attributes)
    assert found is not None
    assert found.stub == stub
    assert found.words.startswith(f"call: the model {stub.model}")


def test_what_stands_beneath_a_call_belongs_to_it(execution):
    """The request of a model's client, and what a server did, are no calls of the step; others stand for themselves."""
    own = attempt(execution)
    found = calls(
        execution,
        span(10, 9, "GET", **{**NEW, "url__full": "https://x.org/within"}),  # under a span of the user
        span(9, own, "mine"),
        span(11, own, "chat", **OPENINFERENCE),
        span(12, 11, "POST", **NEW),
        span(13, own, "GET", **NEW),
        span(14, 13, "GET /a", span__kind="server", **NEW),
        span(15, 14, "SELECT", db__system="sqlite"),
        span(16, own, "chat", **{**OPENINFERENCE, "llm__system": "anthropic"}),
        span(17, 16, "POST", **{**NEW, "url__full": "https://x.org/anthropic"}),  # which a stub can stand for
        span(20, 21, "circle", **NEW),
        span(21, 20, "circle"),
        span(22, 404, "lost", **NEW),
    )
    assert [call.words for call in found] == [
        "GET https://x.org/within answered 200",
        "chat: the model m",
        "GET https://x.org/a answered 200",
        "chat: the model m",
        "GET https://x.org/anthropic answered 200",
    ]
    assert find_calls(execution, ()) == {}


def test_calls_stand_in_the_test(execution):
    """What can be answered is answered in the test of its step, and what cannot is named there."""
    own = attempt(execution)
    text = write_test(
        execution,
        f"{__name__}:Echo",
        [
            span(5, own, **NEW),
            span(6, own, http__method="PUT", http__url="https://x.org/b", error__type="ReadTimeout"),
            span(7, own, "chat", **OPENINFERENCE, llm__output_messages__0__message__content='say "Tea"\n'),
            span(8, own, "chat", **OPENINFERENCE),
            span(9, own, "SELECT", db__system="sqlite"),
        ],
    )
    begin, end = text.split("def test_begin")[1].split("def test_end")
    assert "calls" not in begin
    for line in (
        "from otflow.testing import HttpCall, ModelCall, answer_calls, run_step",
        'HttpCall("GET", "https://x.org/a", status=200, body=""),',
        'HttpCall("PUT", "https://x.org/b", error="ReadTimeout"),',
        """ModelCall("m", answered='say "Tea"\\n'),""",
        'ModelCall("m", answered=""),',
        "# - sqlite: SELECT",
        "# this trace does not have what the model answered, so put it in.",
    ):
        assert line in text
    assert "    with answer_calls(calls):\n        called = run_step(" in end
    compile(text, "written", "exec")
