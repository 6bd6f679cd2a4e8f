"""A receiver of spans over HTTP that writes down their ids before it answers, so that killing it loses no answer.

Arguments: port, file, and what to do: `keep`, `slow:SECONDS`, `503`, or `503:COUNT:STATUS` (another status after so
many requests).
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

port, place, manner = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(":")
file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
never = Event()
requests = [0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        requests[0] += 1
        match manner:
            case ["keep"]:
                pass
            case ["slow", seconds]:
                never.wait(float(seconds))
            case [status]:
                return self.answer(int(status))
            case [status, count, following]:
                return self.answer(int(status if requests[0] <= int(count) else following))
        request = ExportTraceServiceRequest.FromString(body)
        ids = [s.span_id.hex() for group in request.resource_spans for part in group.scope_spans for s in part.spans]
        os.write(file, "".join(f"{one}\n" for one in ids).encode())
        return self.answer(200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *values: object) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    allow_reuse_address = True


Server(("127.0.0.1", port), Handler).serve_forever()
