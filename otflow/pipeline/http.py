"""Sending over HTTP. The answers that allow another attempt are those of the OTLP specification (OTLP/HTTP Response).

Imported when the first request is due, because the library takes its time to load.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from http import HTTPStatus

import requests

from otflow.pipeline.partial import read_rejected
from otflow.pipeline.target import Answer, Refused, Retry, Sent, Target, TooLarge

__all__ = ["HttpSender"]

_AGAIN = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_BROKEN = (
    requests.exceptions.ConnectionError,  # and what is wrong with certificates: it is mended without a new request
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,  # the receiver ended in the middle of its answer
)
_MAX_REASON = 300  # characters
_FAST = 1  # of the levels of compression: most of the gain for a third of the work


class HttpSender:
    """Sends protobuf requests to one URL.

    Args:
        target: the receiver.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": "application/x-protobuf", "User-Agent": "otflow"})
        self._session.headers.update(target.headers)
        if target.compression != "none":
            self._session.headers["Content-Encoding"] = target.compression
        # said with each request, because what is said of the session gives way to REQUESTS_CA_BUNDLE
        self._authority = target.certificate or None
        if target.client_certificate:
            key = target.client_key
            self._session.cert = (target.client_certificate, key) if key else target.client_certificate

    def send(self, request: bytes, timeout: float) -> Answer:
        """Send one request, within so many seconds for connecting and for each answer."""
        match self._target.compression:
            case "gzip":
                request = gzip.compress(request, _FAST)
            case "deflate":
                request = zlib.compress(request, _FAST)
            case _:
                pass
        try:
            return _read(self._post(request, timeout))
        except _BROKEN as error:
            return Retry(f"{type(error).__name__}: {_innermost(error)}"[:_MAX_REASON])
        except requests.exceptions.RequestException as error:
            return Refused(f"{type(error).__name__}: {error}"[:_MAX_REASON])

    def _post(self, request: bytes, timeout: float) -> requests.Response:
        post = partial(
            self._session.post,
            self._target.endpoint,
            data=request,
            timeout=timeout,
            allow_redirects=False,
            verify=self._authority,
        )
        try:
            return post()
        except requests.exceptions.Timeout:
            raise
        except requests.exceptions.ConnectionError:  # a connection that was kept open, and that the receiver gave up
            return post()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()


def _read(response: requests.Response) -> Answer:
    status = response.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Sent(*read_rejected(response.content))
    reason = f"HTTP {status} {response.reason}: {response.text}"[:_MAX_REASON].rstrip(": ")
    if status in _AGAIN:
        return Retry(reason, _seconds(response.headers.get("Retry-After", "")))
    return TooLarge(reason) if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else Refused(reason)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:  # a date: rare enough to wait as without one
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _innermost(error: BaseException) -> str:
    """Return what lies at the bottom: the outer texts are long and say less."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
