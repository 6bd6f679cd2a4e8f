"""Sending over gRPC. The codes that allow another attempt are those of the OTLP specification (OTLP/gRPC Failures).

Imported when the first request is due, because the library takes its time to load.
"""

from __future__ import annotations

from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import RetryInfo

from otflow.pipeline.partial import read_rejected
from otflow.pipeline.target import Answer, Refused, Retry, Sent, Target, TooLarge

__all__ = ["METRICS", "TRACES", "GrpcSender"]

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_AGAIN = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_MAX_REASON = 300  # characters
_RETRY_INFO = "google.rpc.retryinfo-bin"
_NS = 1_000_000_000
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5000)]


class GrpcSender:
    """Calls a service of one receiver.

    Args:
        target: the receiver.
        method: which method is called: `TRACES` or `METRICS`.

    Raises:
        OSError: a certificate cannot be read.
    """

    def __init__(self, target: Target, method: str = TRACES) -> None:
        self._channel = _connect(target)
        self._call = self._channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        self._metadata = tuple((key.lower(), text) for key, text in target.headers.items())
        gzip = target.compression == "gzip"
        self._compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression

    def send(self, request: bytes, timeout: float) -> Answer:
        """Send one request, within so many seconds."""
        try:
            answer = self._call(request, timeout=timeout, metadata=self._metadata, compression=self._compression)
        except grpc.RpcError as error:
            return _read(error)
        return Sent(*read_rejected(answer))

    def close(self) -> None:
        """Close its connection."""
        self._channel.close()


def _connect(target: Target) -> grpc.Channel:
    scheme, separator, place = target.endpoint.partition("://")
    if not separator:
        scheme, place = "http" if target.insecure else "https", target.endpoint
    place = place.split("/", 1)[0]
    if scheme != "https":
        return grpc.insecure_channel(place, options=_RECONNECT)
    credentials = grpc.ssl_channel_credentials(
        _content(target.certificate), _content(target.client_key), _content(target.client_certificate)
    )
    return grpc.secure_channel(place, credentials, options=_RECONNECT)


def _content(file: str) -> bytes | None:
    return Path(file).read_bytes() if file else None


def _read(error: grpc.RpcError) -> Answer:
    code: grpc.StatusCode = error.code()
    reason = f"gRPC {code.name}: {error.details()}"[:_MAX_REASON]
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in reason:
        return TooLarge(reason)
    return Retry(reason, _seconds(error)) if code in _AGAIN else Refused(reason)


def _seconds(error: grpc.RpcError) -> float | None:
    """Return the seconds after which the receiver wants to be asked again (google.rpc.RetryInfo), if it says so."""
    for key, given in error.trailing_metadata() or ():
        if key == _RETRY_INFO:
            try:
                info = RetryInfo.FromString(given)
            except Exception:  # whatever stands there: it is a wish
                return None
            return float(info.retry_delay.seconds + info.retry_delay.nanos / _NS)
    return None
