"""Where telemetry is sent and how, as data, and what may come of sending.

It knows no variable of the environment and no library for sending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, TypeAlias

__all__ = ["Answer", "Limits", "Refused", "Retry", "Sender", "Sent", "Target", "TooLarge", "Transport"]

Transport: TypeAlias = Literal["http/protobuf", "grpc"]


class Target(NamedTuple):
    """An OTLP receiver.

    Args:
        endpoint: for HTTP the whole URL of the signal, for gRPC scheme://host:port or host:port.
        protocol: "http/protobuf" or "grpc".
        headers: sent with each request.
        timeout: seconds for one request.
        compression: "none", "gzip" or "deflate" (gRPC: not deflate).
        certificate: file of the authority that the receiver's certificate is checked with; "" for those of the system.
        client_certificate, client_key: files with which this process identifies itself; "" for none.
        insecure: for gRPC without a scheme: whether the connection is in the clear.
        named: whether somebody named the endpoint, so that it is not just where receivers mostly are.
    """

    endpoint: str
    protocol: Transport = "http/protobuf"
    headers: Mapping[str, str] = {}
    timeout: float = 10.0
    compression: str = "none"
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    insecure: bool = False
    named: bool = False

    @property
    def place(self) -> str:
        """The endpoint as it may be told: without a login, and without a query, in which keys stand."""
        scheme, slashes, rest = self.endpoint.rpartition("://")
        host, slash, path = rest.partition("?")[0].partition("/")
        return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


class Limits(NamedTuple):
    """What the way out may take.

    Args:
        memory: bytes of encoded spans that may wait.
        spans: how many may wait; 0 for as many as fit.
        batch_spans, batch_bytes: what goes into one request, at most.
        interval: seconds after which a span that waits is sent, however few there are.
        max_block: seconds for which code that ends a span may be held back when the memory is full.
        exit_timeout: seconds that the end of the process may take for sending what still waits.
    """

    memory: int = 32 * 1024 * 1024
    spans: int = 0
    batch_spans: int = 2048
    batch_bytes: int = 512 * 1024
    interval: float = 1.0
    max_block: float = 2.0
    exit_timeout: float = 5.0


class Sent(NamedTuple):
    """The receiver took the request, but for so many spans of it, for the reason that it gives."""

    rejected: int = 0
    reason: str = ""


class Retry(NamedTuple):
    """It may be tried again, after so many seconds if the receiver says so."""

    reason: str
    after: float | None = None


class TooLarge(NamedTuple):
    """The receiver takes smaller requests only."""

    reason: str


class Refused(NamedTuple):
    """Trying again is of no use."""

    reason: str


Answer: TypeAlias = Sent | Retry | TooLarge | Refused


class Sender(Protocol):
    """Sends requests to one receiver."""

    def send(self, request: bytes, timeout: float) -> Answer:
        """Send one, within so many seconds; never raises."""

    def close(self) -> None:
        """Close its connections."""
