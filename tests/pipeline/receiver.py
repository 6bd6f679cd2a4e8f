"""Receivers of spans on loopback that answer as a test wishes, and remember what they took."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GENEROUS = 60.0
"""Seconds after which what has not come never will."""


class Reply(NamedTuple):
    """What to answer over HTTP; status 0 is none at all: the connection is kept, or cut with `cut`."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    cut: bool = False


class Receiver:
    """What came, and what is answered.

    Attributes:
        answer: gives the reply to a request, by its number from 0, and its size.
        names: of the spans that were taken, in order.
        sizes, headers: of all requests.
        released: until it is set, requests with status 0 hang.
    """

    def __init__(self) -> None:
        self.answer: Callable[[int, int], Reply] = lambda number, size: Reply()
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.changed = Condition()
        self.released = Event()
        self.endpoint = ""

    def hear(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Take a request, or not."""
        with self.changed:
            number = len(self.sizes)
            self.sizes.append(len(body))
            self.headers.append({name.lower(): value for name, value in headers.items()})
            reply = self.answer(number, len(body))
            if reply.status == 200:
                self.names += names_of(body)
            self.changed.notify_all()
        return reply

    def wait_for(self, enough: Callable[[Receiver], object]) -> None:
        """Wait until enough has come."""
        with self.changed:
            assert self.changed.wait_for(lambda: enough(self), GENEROUS), (self.names, self.sizes)


def names_of(body: bytes) -> list[str]:
    """Return the names of the spans in a request."""
    request = ExportTraceServiceRequest.FromString(body)
    return [span.name for group in request.resource_spans for scoped in group.scope_spans for span in scoped.spans]


@contextmanager
def receiving(certificate: Path | None = None, port: int = 0) -> Iterator[Receiver]:
    """Receive over HTTP, with TLS if there is a certificate (with its key), until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            match self.headers.get("Content-Encoding"):
                case "gzip":
                    body = gzip.decompress(body)
                case "deflate":
                    body = zlib.decompress(body)
            status, headers, answer, cut = receiver.hear(body, self.headers)
            if not status:
                if not cut:
                    receiver.released.wait(GENEROUS)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *values: object) -> None:
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Keep quiet: senders go away in tests."""

    with Server(("127.0.0.1", port), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        receiver.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}/v1/traces"
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


def make_certificate(folder: Path) -> Path:
    """Make a certificate for loopback that nobody but this test trusts, with its key in the same file."""
    place = folder / "certificate.pem"
    key = folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", place),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    place.write_text(place.read_text() + key.read_text())
    return place
