"""Requests over HTTP and gRPC: what receivers answer is understood as the OTLP specification means it."""

from __future__ import annotations

import gzip
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.resources import Resource

from otflow.pipeline.encoding import Origin, encode_request
from otflow.pipeline.exporter import Exporter
from otflow.pipeline.grpc import GrpcSender
from otflow.pipeline.http import HttpSender
from otflow.pipeline.partial import read_rejected, split_request
from otflow.pipeline.target import Limits, Refused, Retry, Sent, Target, TooLarge
from otflow.pipeline.wire import field
from tests.pipeline.receiver import GENEROUS, Reply, make_certificate, names_of, receiving

HERE = Origin(Resource({"service.name": "here"}), None)
PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
).SerializeToString()


def request_of(*names: str) -> bytes:
    """Write a request with spans of these names."""
    return encode_request({HERE: [field(b"\x12", field(b"\x2a", name.encode())) for name in names]})


REQUEST = request_of("a", "b", "c")

# ---------------------------------------------------------------- HTTP


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (Reply(200), Sent()),
        (Reply(202), Sent()),
        (Reply(200, body=PARTIAL), Sent(2, "too old")),
        (Reply(200, body=b"<html>all is well</html>"), Sent()),
        (Reply(429, {"Retry-After": "3"}), Retry("HTTP 429 Too Many Requests", 3.0)),
        (Reply(502), Retry("HTTP 502 Bad Gateway")),
        (Reply(503, {"Retry-After": "0.5"}, b"busy"), Retry("HTTP 503 Service Unavailable: busy", 0.5)),
        (Reply(503, {"Retry-After": "-1"}), Retry("HTTP 503 Service Unavailable", 0.0)),
        (Reply(503, {"Retry-After": "nan"}), Retry("HTTP 503 Service Unavailable")),
        (Reply(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), Retry("HTTP 503 Service Unavailable")),
        (Reply(504), Retry("HTTP 504 Gateway Timeout")),
        (Reply(413), TooLarge("HTTP 413 Request Entity Too Large")),
        (Reply(400, body=b"what is this"), Refused("HTTP 400 Bad Request: what is this")),
        (Reply(401), Refused("HTTP 401 Unauthorized")),
        (Reply(404), Refused("HTTP 404 Not Found")),
        (Reply(500), Refused("HTTP 500 Internal Server Error")),
        (Reply(307, {"Location": "http://example.invalid/"}), Refused("HTTP 307 Temporary Redirect")),
    ],
)
def test_answers_over_http(reply: Reply, answer: object) -> None:
    """Each status is an answer: taken, to be tried again, too large, or refused; redirects are not followed."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: reply
        sender = HttpSender(Target(receiver.endpoint))
        assert sender.send(REQUEST, 10.0) == answer
        assert len(receiver.sizes) == 1
        sender.close()


def test_a_long_reason_is_cut() -> None:
    """What a receiver says at length is said in short."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: Reply(400, body=b"x" * 100_000)
        sender = HttpSender(Target(receiver.endpoint))
        answer = sender.send(REQUEST, 10.0)
        sender.close()
    assert isinstance(answer, Refused)
    assert len(answer.reason) == 300


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_what_goes_over_http(compression: str) -> None:
    """A request is protobuf with the headers that were asked for, compressed if that was asked for."""
    with receiving() as receiver:
        target = Target(receiver.endpoint, headers={"authorization": "Bearer x"}, compression=compression)
        sender = HttpSender(target)
        assert sender.send(REQUEST, 10.0) == Sent()
        assert sender.send(request_of("d"), 10.0) == Sent()
        sender.close()
        assert receiver.names == ["a", "b", "c", "d"]
        headers = receiver.headers[0]
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["authorization"] == "Bearer x"
    assert headers.get("content-encoding", "none") == compression


def test_a_receiver_that_never_answers_over_http() -> None:
    """A request ends after the time that it was given, and may be tried again."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: Reply(0)
        sender = HttpSender(Target(receiver.endpoint))
        answer = sender.send(REQUEST, 0.05)
        assert isinstance(answer, Retry)
        assert answer.reason.startswith("ReadTimeout")
        sender.close()


def test_a_connection_that_was_given_up() -> None:
    """A receiver that closes the connections that it kept open is not one that is away."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: Reply(0, cut=True) if number == 1 else Reply()
        sender = HttpSender(Target(receiver.endpoint))
        assert sender.send(REQUEST, 10.0) == Sent()
        assert sender.send(REQUEST, 10.0) == Sent()
        assert receiver.names == ["a", "b", "c"] * 2
        receiver.answer = lambda number, size: Reply(0, cut=True)
        assert isinstance(sender.send(REQUEST, 10.0), Retry)
        sender.close()


def test_a_receiver_that_ends_in_the_middle_of_its_answer() -> None:
    """Half an answer is none: the request is sent again, because a span that comes twice is better than none."""
    with receiving() as receiver:
        receiver.answer = lambda number, size: Reply(200, {"Content-Length": "100"}, b"half")
        sender = HttpSender(Target(receiver.endpoint))
        receiver.released.set()
        assert isinstance(sender.send(REQUEST, 0.5), Retry)
        sender.close()


@pytest.mark.parametrize("endpoint", ["http://", "nonsense", "ftp://localhost/", "http://[::1"])
def test_an_endpoint_that_is_none(endpoint: str) -> None:
    """An endpoint that cannot be one is refused, or raises, which the exporter takes for a refusal."""
    sender = HttpSender(Target(endpoint))
    with suppress(ValueError):
        assert isinstance(sender.send(REQUEST, 1.0), Refused)
    sender.close()


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables for proxies count, as for the exporters of the SDK."""
    with receiving() as receiver:
        monkeypatch.setenv("http_proxy", receiver.endpoint.removesuffix("/v1/traces"))
        sender = HttpSender(Target("http://collector.invalid/v1/traces"))
        assert sender.send(REQUEST, 10.0) == Sent()
        assert receiver.headers[0]["host"] == "collector.invalid"
        sender.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for this module."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_tls_over_http(certificate: Path) -> None:
    """A receiver is trusted whose certificate was named; another one gets nothing, and may be mended."""
    with receiving(certificate) as receiver:
        trusting, wary = (
            HttpSender(Target(receiver.endpoint, certificate=str(certificate))),
            HttpSender(Target(receiver.endpoint)),
        )
        assert trusting.send(REQUEST, 10.0) == Sent()
        answer = wary.send(REQUEST, 10.0)
        assert isinstance(answer, Retry)
        assert "certificate" in answer.reason
        assert receiver.names == ["a", "b", "c"]
        trusting.close()
        wary.close()


def test_certificates_of_the_client_over_http(certificate: Path) -> None:
    """The certificate with which this process identifies itself is used with its key, or holds it."""
    alone = HttpSender(Target("https://x", client_certificate=str(certificate)))
    with_key = HttpSender(Target("https://x", client_certificate="c.pem", client_key="k.pem"))
    assert (alone._session.cert, with_key._session.cert) == (str(certificate), ("c.pem", "k.pem"))


# ---------------------------------------------------------------- gRPC


class Traces(TraceServiceServicer):
    """A trace service that answers as a test wishes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.metadata: dict[str, str] = {}
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailer: bytes = b""
        self.response = ExportTraceServiceResponse()
        self.released = Event()
        self.released.set()
        self.endpoint = ""

    def Export(  # noqa: N802  gRPC's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self.metadata = dict(context.invocation_metadata())
        self.released.wait(GENEROUS)
        if self.code is not None:
            if self.trailer:
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", self.trailer),))
            context.abort(self.code, self.details)
        self.names += names_of(request.SerializeToString())
        return self.response


@contextmanager
def serving(certificate: Path | None = None, size: int = 4 << 20) -> Iterator[Traces]:
    """Serve traces by gRPC, until the block ends."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, options=[("grpc.max_receive_message_length", size)])
        service = Traces()
        add_TraceServiceServicer_to_server(service, server)
        if certificate is None:
            service.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        else:
            content = certificate.read_bytes()
            credentials = grpc.ssl_server_credentials([(content, content)])
            service.endpoint = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        server.start()
        try:
            yield service
        finally:
            service.released.set()
            server.stop(None).wait(GENEROUS)


def grpc_target(endpoint: str, **more: object) -> Target:
    """Make a target for gRPC."""
    return Target(endpoint, "grpc", **more)


CODES = [
    *((code, Retry) for code in ("CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED")),
    *((code, Retry) for code in ("OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")),
    *((code, Refused) for code in ("INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED")),
    *((code, Refused) for code in ("INTERNAL", "UNKNOWN", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS")),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_answers_over_grpc(code: str, kind: type) -> None:
    """Each code is an answer: to be tried again, or refused."""
    with serving() as service:
        service.code, service.details = grpc.StatusCode[code], "because"
        sender = GrpcSender(grpc_target(service.endpoint))
        answer = sender.send(REQUEST, 10.0)
        sender.close()
    assert (type(answer), answer.reason) == (kind, f"gRPC {code}: because")


@pytest.mark.parametrize(
    ("trailer", "after"),
    [(RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000)).SerializeToString(), 3.5), (b"\xff", None)],
)
def test_the_receiver_says_when_over_grpc(trailer: bytes, after: float | None) -> None:
    """The time after which the receiver wants to be asked again is read, if it can be."""
    with serving() as service:
        service.code, service.details, service.trailer = grpc.StatusCode.UNAVAILABLE, "busy", trailer
        sender = GrpcSender(grpc_target(service.endpoint))
        assert sender.send(REQUEST, 10.0) == Retry("gRPC UNAVAILABLE: busy", after)
        sender.close()


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_goes_over_grpc(compression: str) -> None:
    """A request arrives with its metadata, compressed or not, and what was rejected of it is read."""
    with serving() as service:
        service.response = ExportTraceServiceResponse.FromString(PARTIAL)
        target = grpc_target(service.endpoint, headers={"Authorization": "Bearer x"}, compression=compression)
        sender = GrpcSender(target)
        assert sender.send(REQUEST, 10.0) == Sent(2, "too old")
        sender.close()
        assert service.names == ["a", "b", "c"]
        assert service.metadata["authorization"] == "Bearer x"


@pytest.mark.parametrize("endpoint", ["{place}", "http://{place}", "http://{place}/some/path"])
def test_endpoints_of_grpc(endpoint: str) -> None:
    """An endpoint may have a scheme and a path; without a scheme it is said whether the connection is in the clear."""
    with serving() as service:
        place = service.endpoint.removeprefix("http://")
        sender = GrpcSender(grpc_target(endpoint.format(place=place), insecure=True))
        assert sender.send(REQUEST, 10.0) == Sent()
        sender.close()


def test_tls_over_grpc(certificate: Path) -> None:
    """A receiver is trusted whose certificate was named; without a scheme there is TLS, unless it is said otherwise."""
    with serving(certificate) as service:
        for endpoint in (service.endpoint, service.endpoint.removeprefix("https://")):
            sender = GrpcSender(grpc_target(endpoint, certificate=str(certificate)))
            assert sender.send(REQUEST, 10.0) == Sent()
            sender.close()
        wary = GrpcSender(grpc_target(service.endpoint))
        assert isinstance(wary.send(REQUEST, 10.0), Retry)
        wary.close()
    with pytest.raises(OSError, match="nowhere"):
        GrpcSender(grpc_target("https://x", certificate="nowhere.pem"))


def test_too_much_for_grpc() -> None:
    """What is over the receiver's limit is too large, and not to be tried again as it is."""
    with serving(size=1000) as service:
        sender = GrpcSender(grpc_target(service.endpoint))
        assert isinstance(sender.send(request_of("x" * 2000), 10.0), TooLarge)
        sender.close()


def test_a_receiver_that_never_answers_over_grpc() -> None:
    """A request ends after the time that it was given, and may be tried again."""
    with serving() as service:
        service.released.clear()
        sender = GrpcSender(grpc_target(service.endpoint))
        answer = sender.send(REQUEST, 0.05)
        assert isinstance(answer, Retry)
        assert answer.reason.startswith("gRPC DEADLINE_EXCEEDED")
        sender.close()


def test_nobody_over_grpc() -> None:
    """A receiver that is not there may be there later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sender = GrpcSender(grpc_target(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert isinstance(sender.send(REQUEST, 5.0), Retry)
        sender.close()


# ---------------------------------------------------------------- the whole way


def test_spans_over_both() -> None:
    """All spans arrive once, in order, by either way; over gRPC in batches that its usual limit takes."""
    padding = field(b"\x1a", b"p" * 3000)
    spans = [field(b"\x12", field(b"\x2a", b"%d" % number) + padding) for number in range(3000)]
    with receiving() as receiver, serving() as service:
        for endpoint, connect in (
            (receiver, lambda: HttpSender(Target(receiver.endpoint))),
            (service, lambda: GrpcSender(grpc_target(service.endpoint))),
        ):
            exporter = Exporter(connect, endpoint.endpoint, Limits())
            for span in spans:
                exporter.put(HERE, span)
            exporter.close(GENEROUS)
            assert exporter.status() == (3000, 3000, 0, 0, {}, True)
            assert endpoint.names == [str(number) for number in range(3000)]


def test_a_receiver_that_comes_later() -> None:
    """What was handed over before the receiver was there arrives when it is."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}/v1/traces"
    exporter = Exporter(lambda: HttpSender(Target(endpoint)), endpoint, Limits(interval=0.001))
    exporter.put(HERE, field(b"\x12", field(b"\x2a", b"early")))
    while exporter.status().reachable:
        assert not exporter.flush(0.01)
    with receiving(port=port) as receiver:
        assert exporter.flush(GENEROUS)
        assert receiver.names == ["early"]
        exporter.close(GENEROUS)


# ---------------------------------------------------------------- parts of requests


def test_no_message_is_no_rejection() -> None:
    """An answer that cannot be read rejects nothing."""
    assert read_rejected(b"") == read_rejected(gzip.compress(b"x")) == (0, "")
    assert read_rejected(PARTIAL) == (2, "too old")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_requests_are_cut_in_two(count: int) -> None:
    """Both halves of a request together hold its spans, each under its origin; one span cannot be halved."""
    there = Origin(Resource({"there": 1}), None)
    spans = [field(b"\x12", field(b"\x2a", b"%d" % number)) for number in range(count)]
    request = encode_request({HERE: spans[: count // 3], there: spans[count // 3 :]})
    halves = split_request(request)
    assert len(halves) == (2 if count > 1 else 0)
    if halves:
        assert [name for half, _ in halves for name in names_of(half)] == [str(number) for number in range(count)]
        assert [number for _, number in halves] == [count // 2, count - count // 2]
        assert names_of(halves[0][0]) == [str(number) for number in range(count // 2)]
