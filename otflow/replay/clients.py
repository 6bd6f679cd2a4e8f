"""Clients: libraries for HTTP whose requests are answered here instead of by a server, for the length of a test.

Each is changed at the place where a request would leave it, so that all that is above works as ever. What is answered
is decided by who asks for it; libraries that are not installed are left out.
"""

from __future__ import annotations

import http.client
import importlib.util
import io
import urllib.request
import urllib.response
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias
from urllib.error import HTTPError, URLError

__all__ = ["Reply", "replace_clients"]


class Reply(NamedTuple):
    """What a client gets.

    Args:
        status: the status.
        body: the body.
        headers: the headers.
        error: the name of the exception that the client raises instead; default "": none.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    error: str = ""


Ask: TypeAlias = Callable[[str, str, bytes], Reply]
"""Answers a request: its method, URL and body."""


def replace_clients(ask: Ask) -> Iterator[AbstractContextManager[None]]:
    """Give what replaces the ways out of the clients that are installed, each for the length of a block.

    Args:
        ask: answers a request.
    """
    for name in ("httpx", "httpx2"):
        if importlib.util.find_spec(name) is not None:
            module = import_module(name)
            yield _replaced(module.HTTPTransport, "handle_request", _make_httpx(module, ask))
            yield _replaced(module.AsyncHTTPTransport, "handle_async_request", _make_httpx_async(module, ask))
    if importlib.util.find_spec("urllib3") is not None:
        module = import_module("urllib3")
        yield _replaced(module.HTTPConnectionPool, "urlopen", _make_urllib3(module, ask))
    yield _replaced(urllib.request.OpenerDirector, "open", _make_urllib(ask))


@contextmanager
def _replaced(owner: type, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _make_httpx(module: ModuleType, ask: Ask) -> Callable[..., object]:
    def handle_request(_: object, request: Any) -> object:
        return _respond(module, ask(request.method, str(request.url), request.read()), request)

    return handle_request


def _make_httpx_async(module: ModuleType, ask: Ask) -> Callable[..., object]:
    async def handle_async_request(_: object, request: Any) -> object:
        return _respond(module, ask(request.method, str(request.url), await request.aread()), request)

    return handle_async_request


def _respond(module: ModuleType, reply: Reply, request: object) -> object:
    if reply.error:
        kind = getattr(module, reply.error.rpartition(".")[2], None)
        if not (isinstance(kind, type) and issubclass(kind, module.RequestError)):
            kind = module.ConnectError
        raise kind("as it was when it was recorded", request=request)
    return module.Response(reply.status, headers=dict(reply.headers), content=reply.body, request=request)


def _make_urllib3(module: ModuleType, ask: Ask) -> Callable[..., object]:
    def urlopen(pool: Any, method: str, url: str, body: object = None, *_: object, **options: Any) -> object:
        whole = url
        if not url.startswith(("http://", "https://")):
            usual = http.client.HTTPS_PORT if pool.scheme == "https" else http.client.HTTP_PORT
            port = f":{pool.port}" if pool.port not in (None, usual) else ""
            whole = f"{pool.scheme}://{pool.host}{port}{url}"
        reply = ask(method, whole, _read(body))
        if "Timeout" in reply.error:
            raise module.exceptions.ReadTimeoutError(pool, url, "as it was when it was recorded")
        if reply.error:
            raise module.exceptions.MaxRetryError(pool, url, OSError("as it was when it was recorded"))
        return module.HTTPResponse(
            body=io.BytesIO(reply.body),
            headers=dict(reply.headers),
            status=reply.status,
            reason=http.client.responses.get(reply.status, ""),
            preload_content=options.get("preload_content", True),
            request_method=method,
        )

    return urlopen


def _make_urllib(ask: Ask) -> Callable[..., object]:
    before = urllib.request.OpenerDirector.open

    def open_(
        opener: urllib.request.OpenerDirector, fullurl: Any, data: Any = None, *rest: Any, **options: Any
    ) -> object:
        request = fullurl if isinstance(fullurl, urllib.request.Request) else urllib.request.Request(fullurl, data)  # noqa: S310  only asked for its parts
        if request.type not in {"http", "https"}:
            return before(opener, fullurl, data, *rest, **options)
        reply = ask(request.get_method(), request.full_url, _read(request.data if data is None else data))
        if "Timeout" in reply.error:
            raise TimeoutError("as it was when it was recorded")
        if reply.error:
            raise URLError("as it was when it was recorded")
        headers = http.client.HTTPMessage()
        for name, value in reply.headers.items():
            headers[name] = value
        if reply.status >= http.client.BAD_REQUEST:
            reason = http.client.responses.get(reply.status, "")
            raise HTTPError(request.full_url, reply.status, reason, headers, io.BytesIO(reply.body))
        return urllib.response.addinfourl(io.BytesIO(reply.body), headers, request.full_url, reply.status)

    return open_


def _read(body: object) -> bytes:
    """Return the bytes of a body as far as they can be had without using it up."""
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else b""
