"""Recorded calls are answered without a network, by whichever client they are made; anything else is an error."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import suppress
from urllib.error import HTTPError, URLError

import httpx
import pytest
import requests
import urllib3
from openai import AsyncOpenAI, OpenAI

from otflow.testing import HttpCall, ModelCall, answer_calls

URL = "http://shop.example/tea?n=1"  # no such host exists
PATIENT = {"base_url": "http://model.example/v1", "api_key": "none", "max_retries": 0}


def by_httpx(method, url):
    """Ask by httpx."""
    answer = httpx.request(method, url)
    return answer.status_code, answer.text, answer.headers["content-type"]


def by_httpx_async(method, url):
    """Ask by httpx, in a loop."""

    async def main():
        async with httpx.AsyncClient() as client:
            answer = await client.request(method, url)
        return answer.status_code, answer.text, answer.headers["content-type"]

    return asyncio.run(main())


def by_requests(method, url):
    """Ask by requests."""
    answer = requests.request(method, url, timeout=5)
    return answer.status_code, answer.text, answer.headers["content-type"]


def by_urllib3(method, url):
    """Ask by urllib3."""
    answer = urllib3.request(method, url, retries=False)
    return answer.status, answer.data.decode(), answer.headers["content-type"]


def by_urllib(method, url):
    """Ask by what comes with Python."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
            return answer.status, answer.read().decode(), answer.headers["content-type"]
    except HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers["content-type"]


CLIENTS = [by_httpx, by_httpx_async, by_requests, by_urllib3, by_urllib]
ERRORS = {
    by_httpx: (httpx.ConnectError, httpx.ReadTimeout),
    by_httpx_async: (httpx.ConnectError, httpx.ReadTimeout),
    by_requests: (requests.ConnectionError, requests.ReadTimeout),
    by_urllib3: (urllib3.exceptions.MaxRetryError, urllib3.exceptions.ReadTimeoutError),
    by_urllib: (URLError, TimeoutError),
}


@pytest.mark.parametrize("ask", CLIENTS)
def test_requests_are_answered(ask):
    """Status, body and headers come as they are given; afterwards the client is what it was."""
    calls = [
        HttpCall("GET", URL, body="two bägs"),
        HttpCall("POST", URL, 404, {"error": "none"}),
        HttpCall("GET", URL, body=b"\x31", headers={"content-type": "x/y"}),
    ]
    before = httpx.HTTPTransport.handle_request, urllib3.HTTPConnectionPool.urlopen
    with answer_calls(calls):
        assert ask("GET", URL) == (200, "two bägs", "text/plain; charset=utf-8")
        assert ask("POST", URL) == (404, '{"error":"none"}', "application/json")
        assert ask("GET", URL) == (200, "1", "x/y")
    assert before == (httpx.HTTPTransport.handle_request, urllib3.HTTPConnectionPool.urlopen)


@pytest.mark.parametrize("ask", CLIENTS)
def test_failures_are_raised(ask):
    """Where the recorded request failed, the client raises; an exception that is not known is one of the network."""
    refused, late = ERRORS[ask]
    for name, error in (("ConnectError", refused), ("ReadTimeout", late), ("Unheard", refused)):
        with answer_calls([HttpCall("GET", URL, error=name)]), pytest.raises(error):
            ask("GET", URL)


@pytest.mark.parametrize("ask", CLIENTS)
def test_nothing_else_is_answered(ask):
    """A request that was not recorded fails the test, even if the step makes nothing of it."""
    said = "It asked for GET http://shop.example/milk"
    with pytest.raises(AssertionError, match=said), answer_calls([]), suppress(Exception):
        ask("GET", "http://shop.example/milk")
    calls = [HttpCall("GET", URL)]
    with pytest.raises(AssertionError, match="which no recorded call is left for"), answer_calls(calls):  # noqa: PT012
        ask("GET", URL)
        ask("GET", URL)


def test_all_that_was_recorded_has_to_be_asked_for():
    """A step that no longer makes a call is told so; its own error comes first."""
    calls = [HttpCall("GET", URL), ModelCall("m", "What?")]
    said = r"did not ask for GET .*tea.* did not ask for the model m \('What\?'\)"
    with pytest.raises(AssertionError, match=said), answer_calls(calls):
        pass
    with pytest.raises(ZeroDivisionError), answer_calls(calls):
        raise ZeroDivisionError


def test_another_host_may_be_asked():
    """What has the same URL comes first, then what differs in the host, then what differs in the query."""
    calls = [
        HttpCall("GET", "http://a.example/tea?n=2", body="query"),
        HttpCall("GET", "http://a.example/tea?n=1", body="host"),
        HttpCall("GET", URL, body="whole"),
    ]
    with answer_calls(calls):
        assert [by_httpx("GET", URL)[1] for _ in calls] == ["whole", "host", "query"]


def test_files_are_opened_as_ever(tmp_path):
    """What is no request is not touched."""
    (tmp_path / "a").write_text("here")
    with answer_calls([]), urllib.request.urlopen((tmp_path / "a").as_uri()) as file:
        assert file.read() == b"here"


def ask(client, text, **options):
    """Ask a model."""
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **options)


def test_models_are_answered():
    """A chat gets the recorded answer, its tokens and its tools."""
    calls = [ModelCall("m-2", answered="Tea.", tokens=(7, 3)), ModelCall("m", tools=[("find", '{"q":1}')])]
    with answer_calls(calls), OpenAI(**PATIENT) as client:
        answer, other = ask(client, "one"), ask(client, "two")
    assert (answer.model, answer.choices[0].message.content, answer.choices[0].finish_reason) == ("m-2", "Tea.", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    [tool] = other.choices[0].message.tool_calls
    assert (tool.function.name, tool.function.arguments, other.choices[0].finish_reason) == (
        "find",
        '{"q":1}',
        "tool_calls",
    )


async def test_streamed_answers_come_in_parts():
    """A chat that is streamed gets the same answer in parts, with its tokens if they are asked for."""
    calls = [ModelCall("m", answered="Tea.", tools=[("find", "{}")], tokens=(7, 3)), ModelCall("m", answered="Tea.")]
    with answer_calls(calls):
        async with AsyncOpenAI(**PATIENT) as client:
            parts = [part async for part in await ask(client, "a", stream=True, stream_options={"include_usage": True})]
            plain = [part async for part in await ask(client, "b", stream=True)]
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "Tea."
    [tool] = [each for part in parts if part.choices for each in part.choices[0].delta.tool_calls or ()]
    assert tool.function.name == "find"
    assert parts[-1].usage.total_tokens == 10
    assert plain[-1].choices[0].finish_reason == "stop"


def test_responses_are_answered():
    """So is the newer interface, in one piece."""
    calls = [ModelCall("m", "hi", "Tea.", tools=[("find", "{}")], tokens=(7, 3))]
    with answer_calls(calls), OpenAI(**PATIENT) as client:
        answer = client.responses.create(model="m", input="oh hi")
    assert (answer.output_text, answer.usage.total_tokens) == ("Tea.", 10)
    assert answer.output[1].name == "find"


def test_other_forms_are_refused():
    """A form that cannot be answered is an error that says what to do."""
    said = "Put an HttpCall with the body of the answer there"
    with pytest.raises(AssertionError, match=said), answer_calls([ModelCall("m")]), OpenAI(**PATIENT) as client:
        client.responses.create(model="m", input="hi", stream=True)


async def test_the_question_says_which_answer_is_meant():
    """Of several calls at once each gets the answer to its own question."""
    calls = [ModelCall("m", asked=f"question {n}?", answered=f"answer {n}") for n in range(5)]
    with answer_calls([*calls, ModelCall("m", answered="any")]):
        async with AsyncOpenAI(**PATIENT) as client:
            texts = [f"My question {n}?" for n in (3, 1, 4, 0, 2)]
            found = await asyncio.gather(*(ask(client, text) for text in texts))
            other = await ask(client, [{"type": "text", "text": "Something else"}])
    assert [each.choices[0].message.content for each in found] == [f"answer {n}" for n in (3, 1, 4, 0, 2)]
    assert other.choices[0].message.content == "any"
