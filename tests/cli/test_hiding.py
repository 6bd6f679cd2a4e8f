"""What looks like a secret in spans of other libraries stands in no test that is written from them."""

from __future__ import annotations

import pytest

from otflow.cli.hiding import hide_foreign
from otflow.readers import ForeignSpan

SECRET = "0123456789abcdef"
MESSAGES = [{"role": "user", "parts": [{"type": "text", "content": f"my password={SECRET}"}], "api_key": SECRET}]
SPAN = ForeignSpan(
    "GET",
    1,
    2,
    3,
    0,
    {
        "url.full": f"https://me:{SECRET}@a.example/tea?token={SECRET}&kind=green",
        "http.request.header.authorization": SECRET,
        "gen_ai.input.messages": MESSAGES,
        "input.value": f'{{"api_key": "{SECRET}", "model": "m"}}',
        "llm.token_count.prompt": 7,
        "llm.input_messages.0.message.content": f"Authorization: Bearer {SECRET}",
        "odd": "[no JSON",
    },
)


def test_secrets_are_hidden() -> None:
    """By their names or their form, in URLs, in texts and in messages; all else stays."""
    [span] = hide_foreign([SPAN])
    assert SECRET not in f"{span}"
    assert "kind=green" in str(span.attributes["url.full"])
    assert '"model":"m"' in str(span.attributes["input.value"])
    assert span.attributes["llm.token_count.prompt"] == 7
    assert span.attributes["odd"] == "[no JSON"


def test_they_are_shown_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTFLOW_REDACT=false shows everything."""
    monkeypatch.setenv("OTFLOW_REDACT", "false")
    assert hide_foreign([SPAN]) == [SPAN]
