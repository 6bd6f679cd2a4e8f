"""Answers of servers: JSON over HTTP, with a limit for everything.

It knows neither what is asked for nor by whom.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPMessage
from typing import IO

import msgspec

from otflow.errors import ReaderError

__all__ = ["MissingError", "Web"]

_CHUNK = 1 << 20


class MissingError(ReaderError):
    """A server says that there is no such thing."""


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows no redirect away from HTTP, and takes no credentials to another host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
            ReaderError: the server does not answer, or with an error, or with too much.
        """
        named = {name.rstrip("_").replace("__", "."): value for name, value in query.items()}
        url = f"{self.base}{path}" + (f"?{urllib.parse.urlencode(named)}" if named else "")
        try:
            request = urllib.request.Request(url, headers=self._headers)  # noqa: S310  who calls checks the scheme
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._read(answer, url)
        except urllib.error.HTTPError as error:
            with error:
                kind = MissingError if error.code == http.client.NOT_FOUND else ReaderError
                raise kind(f"{url} answers with {error.code} {error.reason}.") from error
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
