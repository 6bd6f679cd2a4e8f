"""A receiver of OTLP over HTTP on loopback: decodes what it is sent, and keeps it for a test to look at."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

GENEROUS = 60.0
"""Seconds after which what has not come never will."""


class Received(NamedTuple):
    """A span or a log record, with what stands around it."""

    resource: dict[str, object]
    scope: str
    data: object

    @property
    def attributes(self) -> dict[str, object]:
        """Its attributes, as values of Python."""
        return plain(self.data.attributes)

    @property
    def ids(self) -> tuple[str, str]:
        """Its trace id and its span id, hexadecimal."""
        return self.data.trace_id.hex(), self.data.span_id.hex()


class Sink:
    """What came, and a way to wait for more."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.spans: list[Received] = []
        self.logs: list[Received] = []
        self.metrics: list[Received] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answers: dict[str, int] = {}  # paths that are answered with another status than 200
        self.silent: set[str] = set()  # paths that are not answered before the end
        self.over = Event()
        self.endpoint = ""

    def take(self, path: str, body: bytes) -> None:
        """Keep what a request says."""
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scoped in group.scope_spans:
                    self.spans += unfold(group, scoped, scoped.spans)
        elif path == "/v1/logs":
            for group in ExportLogsServiceRequest.FromString(body).resource_logs:
                for scoped in group.scope_logs:
                    self.logs += unfold(group, scoped, scoped.log_records)
        else:
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scoped in group.scope_metrics:
                    self.metrics += unfold(group, scoped, scoped.metrics)

    def wait_for(self, enough: Callable[[Sink], object]) -> None:
        """Wait until enough has come."""
        with self.changed:
            if not self.changed.wait_for(lambda: enough(self), GENEROUS):
                names = sorted(each.data.name for each in self.spans)
                raise AssertionError(f"too little came: spans {names}, {len(self.logs)} log records")

    def tree(self) -> dict[str, str]:
        """Give the name of each span's parent: "" for none, "?" for one that never came."""
        names = {each.data.span_id: each.data.name for each in self.spans}
        return {
            each.data.name: names.get(each.data.parent_span_id, "?") if each.data.parent_span_id else ""
            for each in self.spans
        }


def unfold(group: object, scoped: object, items: object) -> Iterator[Received]:
    """Put each item beside what stands around it."""
    resource = plain(group.resource.attributes)
    return (Received(resource, scoped.scope.name, item) for item in items)


def plain(pairs: Iterator[KeyValue]) -> dict[str, object]:
    """Turn the attributes of OTLP into values of Python."""
    return {pair.key: bare(pair.value) for pair in pairs}


def bare(value: AnyValue) -> object:
    """Turn a value of OTLP into one of Python."""
    match value.WhichOneof("value"):
        case "array_value":
            return [bare(each) for each in value.array_value.values]
        case "kvlist_value":
            return plain(value.kvlist_value.values)
        case None:
            return None
        case kind:
            return getattr(value, kind)


@contextmanager
def receiving() -> Iterator[Sink]:
    """Receive at `endpoint`, until the block ends."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = sink.answers.get(self.path, 200)
            if self.path in sink.silent:
                sink.over.wait()
                return
            with sink.changed:
                sink.headers.append({name.lower(): value for name, value in self.headers.items()})
                sink.paths.append(self.requestline.split()[1])  # `path` is already made nicer
                if status == 200:
                    sink.take(self.path, body)
                sink.changed.notify_all()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *values: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sink.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            sink.over.set()
            server.shutdown()
            thread.join()
