"""A server on loopback that speaks as much of the OpenAI API as a chat needs, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple

MODEL = "small-1"
WORDS = ["Tea ", "is ", "ready."]
ANSWER = "".join(WORDS)


class Request(NamedTuple):
    """What came in: the path, the last message, and the span it came from, as the client's headers say."""

    path: str
    message: str
    span_id: str


class Stub:
    """What was asked, and how to answer."""

    def __init__(self) -> None:
        self.url = ""
        self.lock = Lock()
        self.requests: list[Request] = []
        self.failures: dict[str, int] = {}  # messages, and how often they are answered with an error

    def note(self, path: str, message: str, traceparent: str) -> bool:
        """Remember a request; tell whether it is answered."""
        with self.lock:
            self.requests.append(Request(path, message, traceparent.split("-")[2] if traceparent else ""))
            left = self.failures.get(message, 0)
            self.failures[message] = max(left - 1, 0)
        return not left


def chunk(**choice: object) -> dict[str, object]:
    """Make one part of a streamed answer."""
    return {
        "id": "chat-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": None, **choice}] if choice else [],
    }


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
WHOLE = {
    "id": "chat-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
    "usage": USAGE,
}
PARTS = [
    chunk(delta={"role": "assistant", "content": ""}),
    *(chunk(delta={"content": word}) for word in WORDS),
    chunk(delta={}, finish_reason="stop"),
    {**chunk(), "usage": USAGE},
]


@contextmanager
def answering() -> Iterator[Stub]:
    """Answer at `url`, until the block ends."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = stub.note(self.path, "", self.headers.get("traceparent", ""))
            self.answer(200 if known else 500, "text/plain", b"hello")

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = asked["messages"][-1]["content"]
            if not stub.note(self.path, message, self.headers.get("traceparent", "")):
                self.answer(400, "application/json", b'{"error": {"message": "not now"}}')
            elif asked.get("stream"):
                lines = [*map(json.dumps, PARTS), "[DONE]"]
                self.answer(200, "text/event-stream", "".join(f"data: {line}\n\n" for line in lines).encode())
            else:
                self.answer(200, "application/json", json.dumps(WHOLE).encode())

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *values: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
