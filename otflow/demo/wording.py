"""Wording: a language model may put the quotes into words, if the usual environment variables name an endpoint.

Nothing but the question and the quotes is sent, and only to that endpoint. The answer may cite nothing but the quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from otflow.demo.quotes import Quote
from otflow.errors import OtflowError

__all__ = ["Endpoint", "WordingError", "find_endpoint", "put_into_words"]

_TIMEOUT = 30.0  # seconds
_MAX_REPLY = 200_000  # bytes
_TASK = (
    "Answer the question in at most four sentences, using nothing but the numbered quotations. "
    "Cite them by number, like [1]. Plain text, no headings and no lists."
)


class WordingError(OtflowError):
    """The endpoint gave no usable answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that speaks the chat completions protocol of OpenAI."""

    url: str
    key: str
    model: str

    @property
    def host(self) -> str:
        """The host that is asked."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def find_endpoint(environment: Mapping[str, str]) -> Endpoint | None:
    """Find the endpoint that OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL name; None without a key."""
    key = environment.get("OPENAI_API_KEY", "").strip()
    if not key:
        return None
    url = environment.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1"
    model = environment.get("OPENAI_MODEL", "").strip() or "gpt-4o-mini"
    return Endpoint(url.rstrip("/"), key, model)


class _NoRedirect(HTTPRedirectHandler):
    """The key is for the host that was named, and for no other."""

    def redirect_request(self, *_args: object) -> None:
        """Follow none."""


def put_into_words(endpoint: Endpoint, question: str, quotes: Sequence[Quote]) -> str:
    """Ask the endpoint for an answer made of the quotes; waits up to half a minute.

    Raises:
        WordingError: it cannot be reached, refuses, or answers something that cannot be used.
    """
    if urlsplit(endpoint.url).scheme not in ("http", "https"):
        raise WordingError(f"OPENAI_BASE_URL is {endpoint.url}, which is no address of the kind https://host/v1")
    numbered = "\n".join(f"[{number}] {quote.text}" for number, quote in enumerate(quotes, start=1))
    messages = [
        {"role": "system", "content": _TASK},
        {"role": "user", "content": f"Question: {question}\n\nQuotations:\n{numbered}"},
    ]
    request = Request(  # noqa: S310  # the scheme was checked
        f"{endpoint.url}/chat/completions",
        data=json.dumps({"model": endpoint.model, "messages": messages}).encode(),
        headers={"Authorization": f"Bearer {endpoint.key}", "Content-Type": "application/json"},
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT) as reply:
            data = reply.read(_MAX_REPLY)
    except URLError as error:  # that of HTTP with its status, that of the network with its reason
        raise WordingError(f"{endpoint.host} failed: {error}") from error
    except (HTTPException, OSError, ValueError) as error:
        raise WordingError(f"{endpoint.host} failed: {error!r}") from error
    return _read_reply(endpoint, data, len(quotes))


def _read_reply(endpoint: Endpoint, data: bytes, quotes: int) -> str:
    try:
        text = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise WordingError(f"{endpoint.host} answered something that is no chat completion") from error
    if not isinstance(text, str) or not text.strip():
        raise WordingError(f"{endpoint.host} answered nothing")
    cited = {int(number) for number in re.findall(r"\[(\d{1,4})\]", text)}
    if not cited or max(cited) > quotes or min(cited) < 1:
        raise WordingError(f"{endpoint.host} cited other sources than the quotes that it was given")
    return text.strip()
