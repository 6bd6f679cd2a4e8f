"""Answers of servers: JSON over HTTP, with a limit for everything.

It knows neither what is asked for nor by whom.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage
from typing import IO

import msgspec

from otflow.errors import ReaderError

__all__ = ["BrokenError", "MissingError", "Web", "check_headers"]

_CHUNK = 1 << 20
_REFUSALS = {http.client.UNAUTHORIZED, http.client.FORBIDDEN}
_WHO = ' It wants to know who asks: give open() headers={"Authorization": ...}, or the command --header NAME=VALUE.'
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class MissingError(ReaderError):
    """A server says that there is no such thing."""


class BrokenError(ReaderError):
    """A server says that something is wrong with it."""


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Takes what is sent along to no other host, and to none in the open that was asked for in secret."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        now, then = urllib.parse.urlsplit(newurl), urllib.parse.urlsplit(req.full_url)
        if now.netloc != then.netloc or (then.scheme == "https" and now.scheme != "https"):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_headers(headers: Mapping[str, str]) -> None:
    """Make sure that headers can be sent; their values are told to nobody.

    Args:
        headers: the headers.

    Raises:
        ReaderError: one of them cannot.
    """
    for name, value in headers.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise ReaderError("A header has a name that is none: write letters, digits and -, as in Authorization.")
        if not (isinstance(value, str) and _VALUE.fullmatch(value)):
            raise ReaderError(f"The value of the header {name} cannot be sent: write it as one line of Latin-1.")


class Web:
    """Asks one server.

    Args:
        base: the URL before all that is asked for, without a slash at its end.
        headers: sent along with each question, for example "Authorization".
        timeout: how many seconds an answer may take.
        limit: how many bytes an answer may have.
    """

    def __init__(self, base: str, headers: Mapping[str, str], timeout: float, limit: int) -> None:
        self.base = base
        self._headers = {"Accept": "application/json", **headers}
        self._timeout = timeout
        self._limit = limit
        self._opener = urllib.request.build_opener(_SameScheme)

    def get(self, path: str, **query: str | int) -> bytes:
        """Ask for something; return the bytes of the answer.

        Args:
            path: what stands in the URL after the base.
            query: parameters; underlines at the end of a name are left out, and two within it stand for a dot.

        Raises:
            MissingError: there is no such thing.
            BrokenError: something is wrong with the server.
            ReaderError: the server does not answer, or with another error, or with too much.
        """
        named = {name.rstrip("_").replace("__", "."): value for name, value in query.items()}
        url = f"{self.base}{path}" + (f"?{urllib.parse.urlencode(named)}" if named else "")
        try:
            request = urllib.request.Request(url, headers=self._headers)  # noqa: S310  who calls checks the scheme
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._read(answer, url)
        except urllib.error.HTTPError as error:
            with error:
                hint = _WHO if error.code in _REFUSALS else ""
                raise _kind_of(error.code)(f"{url} answers with {error.code} {error.reason}.{hint}") from error
        except urllib.error.URLError as error:
            raise ReaderError(f"{url} does not answer: {error.reason}. Is the server up, and the URL right?") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ReaderError(f"{url} cannot be read: {str(error) or type(error).__name__}.") from error

    def _read(self, answer: http.client.HTTPResponse, url: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := answer.read(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > self._limit:
                raise ReaderError(f"{url} answers with more than {self._limit} bytes; give open() a higher limit.")
        return b"".join(parts)

    def get_json(self, path: str, **query: str | int) -> dict[str, object]:
        """Ask for a JSON object.

        Args:
            path: as for `get`.
            query: as for `get`.

        Raises:
            MissingError: there is no such thing.
            ReaderError: as for `get`, or the answer is no JSON object.
        """
        data = self.get(path, **query)
        try:
            return msgspec.json.decode(data, type=dict[str, object])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ReaderError(f"{self.base}{path} does not answer with a JSON object: {error}.") from error


def _kind_of(status: int) -> type[ReaderError]:
    if status == http.client.NOT_FOUND:
        return MissingError
    return BrokenError if status >= http.client.INTERNAL_SERVER_ERROR else ReaderError
