"""A relay between a program and several servers: each request goes on to all of them as it came, and into a file.

So one run of a program is told to every backend, byte for byte, and the file is what a collector would have written.
"""

from __future__ import annotations

import gzip
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

from stack.process import LOOPBACK

__all__ = ["Relay", "relay"]

_PATIENCE = 120.0
_PASSED = ("Content-Type", "Content-Encoding")


@dataclass
class Relay:
    """Where it listens, the file that it writes, and what the servers refused."""

    endpoint: str
    file: Path
    refused: list[str] = field(default_factory=list)


@contextmanager
def relay(endpoints: Sequence[str], file: Path) -> Iterator[Relay]:
    """Pass on what comes until the block ends.

    Args:
        endpoints: the base URLs of those who take OTLP over HTTP.
        file: gets the requests as protobuf, each with its length before it.
    """
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                self.pass_on(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def pass_on(self, body: bytes) -> None:
            """Write a request down, and send it to everybody."""
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            with lock, file.open("ab") as out:
                out.write(len(plain).to_bytes(4) + plain)
            named = {name: self.headers[name] for name in _PASSED if name in self.headers}
            for endpoint in endpoints:
                request = urllib.request.Request(endpoint + self.path, body, named)
                try:
                    urllib.request.urlopen(request, timeout=_PATIENCE).close()
                except OSError as error:
                    made.refused.append(f"{endpoint}: {error}")

        def log_message(self, *values: object) -> None:
            """Keep quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server((LOOPBACK, 0), Handler)
    made = Relay(f"http://{LOOPBACK}:{server.server_port}", file)
    file.touch()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
