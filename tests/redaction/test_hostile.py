"""Texts that somebody made to be slow, and plain references of what the fast ways do."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otflow
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.records.body import Body
from otflow.records.record import RunFailed, StepFailed
from otflow.redaction import Redactor
from otflow.redaction.texts import KEPT, scrub, scrub_ends
from otflow.redaction.words import DEFAULT_KEYS, Words
from tests.redaction.house import House

WORDS = Words(DEFAULT_KEYS)
NO_WORDS = Words(())
R = "__REDACTED__"
LARGE = 1 << 20

HOSTILE = [
    ("", "a-", "://"),
    ("", "http://a", ""),
    ("http://", "a@", " "),
    ("", "input_value=", ""),
    ("", "a ", "="),
    ("", "a.", ""),
    ("", "-", "password"),
    ("a", "\\", "="),
    ("password=[", "\\", ""),
    ("password='", "\\'", ""),
    ("password=", "[", ""),
    ("", "password=[ ", ""),
    ("", "'Cookie: a=b' ", ""),
    ("", '\\"Cookie: a=b ', ""),
    ("", "('password', [", ""),
    ("", "('password', 'x' ", ""),
    ("", "--password ", ""),
    ("", "digest a=", ""),
    ("Digest ", "a", ""),
    ("", "-----BEGIN PRIVATE KEY-----", ""),
    ("-----BEGIN ", "A ", "PRIVATE KEY-----"),
    ("bearer", " ", ""),
]


@pytest.mark.parametrize(("before", "part", "after"), HOSTILE)
def test_a_hostile_text_comes_to_an_end(before, part, after):
    """A megabyte of what patterns like least is looked through while one waits: the time grows with the length."""
    assert scrub(before + part * (LARGE // len(part)) + after, WORDS)


def join(*parts: str) -> st.SearchStrategy[str]:
    """Return texts that are made of some parts."""
    return st.lists(st.sampled_from(parts), max_size=20).map("".join)


@given(join("input_value=", ", input_type=", "input", "a", " ", "\n", "="))
def test_quoted_inputs(text):
    """What pydantic quotes ends at the next word about its type, and stays if there is none."""
    told = re.sub(r"input_value=.*?(?=, input_type=)", f"input_value={R}", text, flags=re.DOTALL)
    assert scrub(text, NO_WORDS) == told


def hide_logins(text: str) -> str:
    """Hide logins letter by letter."""
    told, place = "", 0
    while place < len(text):
        told += text[place]
        place += 1
        if told.endswith("://") and re.search("[a-z]$", told[:-3]):
            segment = re.split(r"[\s/\"']", text[place:])[0]
            if segment.rfind("@") > 0:
                told += R
                place += segment.rfind("@")
    return told


@given(join("http", "a", "@", "://", "/", ":", " ", "'", ".", "?"))
def test_logins(text):
    """A login is what stands between an address's scheme and the last @ before a slash, a space or a quote."""
    assert scrub(text, NO_WORDS) == hide_logins(text)


def find_end(text: str) -> int:
    """Return where the first bracket is closed, letter by letter."""
    closing = {"(": ")", "[": "]", "{": "}"}
    expected: list[str] = []
    place = 0
    while place < len(text):
        quote = re.compile(r"\\*[\"']").match(text, place)
        if quote is not None:
            end = re.compile(rf"(?<!\\)(?:\\\\)*{re.escape(quote[0])}" if len(quote[0]) == 1 else re.escape(quote[0]))
            rest = end.search(text, quote.end())
            if rest is None:
                return len(text)
            place = rest.end()
            continue
        if text[place] in closing:
            expected.append(closing[text[place]])
        elif expected and text[place] == expected[-1]:
            expected.pop()
            if not expected:
                return place + 1
        place += 1
    return len(text)


@given(st.sampled_from("([{"), join("(", ")", "[", "]", "{", "}", "'", '"', "\\", "a", " "))
def test_brackets(first, rest):
    """A value in brackets ends where they are closed; what is quoted closes none."""
    text = first + rest
    assert scrub(f"password={text}", WORDS) == f"password={R}{text[find_end(text) :]}"


def test_long_texts_lose_their_middle():
    """Of a long text the beginning and the end are told, and how much is left out."""
    short = "x" * (2 * KEPT)
    assert scrub_ends(short, str) == short
    text = "".join(f"{number:08}" for number in range(20_000))
    assert scrub_ends(text, str) == f"{text[:KEPT]}[... {160_000 - 2 * KEPT} characters are left out ...]{text[-KEPT:]}"


@pytest.mark.parametrize("shift", range(-25, 26))
def test_half_a_secret_is_none_to_show(shift):
    """A secret that stands where a long text is cut does not show in part, and neither does what a key is cut from."""
    redact, secret = Redactor(), "s3cr3t-Value!"
    redact(None, b'{"api_key":"s3cr3t-Value!"}')
    for word in (secret, f"password={'hunter22' * 3}"):
        for place in (KEPT + shift, 3 * KEPT + shift):
            text = ("." * place + word).ljust(4 * KEPT, ".")
            told = redact.text(text)
            assert "s3c" not in told
            assert "lue!" not in told
            assert "hunter" not in told
            assert "unter22" not in told


async def test_a_step_that_fails_with_a_hostile_text():
    """Who decides about the message of an error does not have to wait for what has been told of it."""

    class Failing(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise ValueError(ev.text)

    for text in ("a-" * LARGE + "://", "input_value=" * (LARGE // 12)):
        house = House()
        with pytest.raises(ValueError, match=re.escape(text[:8])):
            await Failing(dispatcher=house.dispatcher).run(text=text)
        house.end()
        for record in (*house.of(StepFailed), *house.of(RunFailed)):
            assert len(record.error.message) < 3 * KEPT
            assert "characters are left out" in record.error.message


def test_a_payload_of_many_texts():
    """Texts of errors in payloads are looked through as a whole, however long."""
    body = Body({"error": ValueError("a-" * (LARGE // 2) + "://")}, None, Redactor())
    assert len(body.json) > 0
    assert otflow.redaction.DEFAULT.text("", body) == ""
