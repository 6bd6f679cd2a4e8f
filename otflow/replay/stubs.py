"""Stubs: recorded calls of the outside, answered in a test as they were answered then, without a network.

While `answer_calls` is open, no request leaves this process by httpx, requests, urllib3 or urllib: each gets the answer
of a recorded call, or is an error. Which calls a step made is read elsewhere; this room knows calls and clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlsplit

import msgspec

from otflow.replay.clients import Reply, replace_clients
from otflow.replay.completions import UnknownFormError, complete

__all__ = ["HttpCall", "ModelCall", "answer_calls"]


@dataclass(frozen=True)
class HttpCall:
    """A request, and what answers it.

    Args:
        method: its method.
        url: its whole URL. A request to another host with the same path is answered too, if none has the same URL.
        status: the status of the answer; default 200.
        body: the body of the answer: text, bytes, or a list or dict that is sent as JSON; default "".
        headers: the headers of the answer; default that of the type of `body`.
        error: the name of the exception that the client raises instead, like "ConnectError"; default "": none.
    """

    method: str
    url: str
    status: int = 200
    body: str | bytes | Sequence[object] | Mapping[str, object] = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class ModelCall:
    """A call of a language model by the client of OpenAI, and what the model answers.

    Chat completions are understood, in one piece or streamed, and responses in one piece.

    Args:
        model: the name of the model.
        asked: what the last message has in it; of several calls it says which one is meant. Default "": anything.
        answered: the text of the answer; default "".
        tools: the tools that the answer asks for: name and arguments as JSON; default none.
        tokens: how many tokens went in and came out; default zeros.
    """

    model: str
    asked: str = ""
    answered: str = ""
    tools: Sequence[tuple[str, str]] = ()
    tokens: tuple[int, int] = (0, 0)


@contextmanager
def answer_calls(calls: Iterable[HttpCall | ModelCall]) -> Iterator[None]:
    """Answer the requests of this process as they were answered when they were recorded.

    Args:
        calls: what may be asked for; each once, and in this order where several are alike.

    Raises:
        AssertionError: something else was asked for, or not all of it.

    Example:
        >>> import urllib.request
        >>> with answer_calls([HttpCall("GET", "http://shop.example/tea", body="two bags")]):
        ...     urllib.request.urlopen("http://shop.example/tea").read()
        b'two bags'
    """
    desk = _Desk(list(calls))
    with ExitStack() as undo:
        for patch in replace_clients(desk.answer):
            undo.enter_context(patch)
        try:
            yield
        except Exception as error:
            if desk.faults:  # the client may have made another error of it
                raise AssertionError(desk.complain()) from error
            raise
    if desk.faults or desk.left:
        raise AssertionError(desk.complain())


class _Desk:
    """Gives out answers, each once, to whichever thread asks."""

    def __init__(self, calls: list[HttpCall | ModelCall]) -> None:
        self.left = calls
        self.faults: dict[str, None] = {}
        self._lock = Lock()

    def answer(self, method: str, url: str, body: bytes) -> Reply:
        with self._lock:
            call = self._choose(method, url, body)
            if call is None:
                raise self._refuse(f"It asked for {method} {url}, which no recorded call is left for.")
            self.left.remove(call)
        if isinstance(call, HttpCall):
            return _reply(call)
        try:
            return Reply(200, *complete(call, urlsplit(url).path, _read(body)))
        except UnknownFormError as error:
            raise self._refuse(str(error)) from error

    def _refuse(self, fault: str) -> AssertionError:
        self.faults[fault] = None
        return AssertionError(self.complain())

    def _choose(self, method: str, url: str, body: bytes) -> HttpCall | ModelCall | None:
        requests = [call for call in self.left if isinstance(call, HttpCall) and call.method == method.upper()]
        for alike in (_whole, _local, _path):
            for call in requests:
                if alike(call.url) == alike(url):
                    return call
        asked = _read(body)
        if method.upper() != "POST" or not {"messages", "input"} & asked.keys():
            return None
        models = [call for call in self.left if isinstance(call, ModelCall)]
        last = " ".join(_last_text(asked).split())
        fitting = [call for call in models if call.asked and call.asked in last]
        return next(iter(fitting or [call for call in models if not call.asked] or models), None)

    def complain(self) -> str:
        told = [*self.faults, *(f"It did not ask for {_name(call)}." for call in self.left)]
        return "The step calls the outside otherwise than it did when it was recorded. " + " ".join(told)


def _name(call: HttpCall | ModelCall) -> str:
    return f"{call.method} {call.url}" if isinstance(call, HttpCall) else f"the model {call.model} ({call.asked!r})"


def _whole(url: str) -> str:
    return url


def _local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _path(url: str) -> str:
    return urlsplit(url).path


def _read(body: bytes) -> Mapping[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}


def _last_text(asked: Mapping[str, object]) -> str:
    """Return the text of the last message in a request."""
    messages = asked.get("messages", asked.get("input"))
    last = messages[-1] if isinstance(messages, list) and messages else messages
    content = last.get("content") if isinstance(last, dict) else last
    if isinstance(content, list):
        return "".join(f"{part.get('text') or ''}" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _reply(call: HttpCall) -> Reply:
    kind, body = "text/plain; charset=utf-8", call.body
    if isinstance(body, str):
        data = body.encode()
    elif isinstance(body, bytes):
        kind, data = "application/octet-stream", body
    else:
        kind, data = "application/json", msgspec.json.encode(body)
    return Reply(call.status, data, {"content-type": kind, **call.headers}, call.error)
