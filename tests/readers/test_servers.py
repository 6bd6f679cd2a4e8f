"""What servers answer is read within limits, and whatever else they answer is an error that says so.

The server here gives what it is told to; what the real ones answer is tested in tests/integration.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

import otflow
from otflow.errors import ReaderError
from otflow.readers import jaeger, read_all, read_foreign, web
from otflow.records.span import derive_ids

GOLDEN = Path(__file__).parents[1] / "integration" / "golden"
TRACE = f"{derive_ids('small-run')[0]:032x}"

HEADERS: ContextVar[Mapping[str, str]] = ContextVar("headers")  # of the request that is answered
Answer = Callable[[str, dict[str, str]], object]


def golden(name: str) -> dict[str, object]:
    """Give what a real server answered."""
    return json.loads((GOLDEN / name).read_text())


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """Serve what a function gives for a path and a query: JSON, bytes, a number for a status, or a place to go to."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            HEADERS.set(self.headers)
            given = answer(parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()})
            status = given if isinstance(given, int) else 302 if isinstance(given, str) else 200
            body = given if isinstance(given, bytes) else b"" if status != 200 else json.dumps(given).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if isinstance(given, str):
                self.send_header("Location", given)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_jaeger(*, newer: bool = True, older: bool = True) -> Answer:
    """Answer as a Jaeger with one trace does."""

    def answer(path: str, query: dict[str, str]) -> object:
        match path:
            case "/api/services" if older:
                return {"data": ["shop"], "total": 1}
            case "/api/v3/services" if newer:
                return {"services": ["shop"]}
            case "/api/traces" if older:
                wanted = json.loads(query.get("tags", "{}")).get("otflow.run.id", "small-run")
                return {"data": golden("jaeger-legacy.json")["data"] if wanted == "small-run" else []}
            case "/api/v3/traces" if newer:
                return golden("jaeger-v3.json")
        if path == f"/api/traces/{TRACE}" and older:
            return golden("jaeger-legacy.json")
        if path == f"/api/v3/traces/{TRACE}" and newer:
            return golden("jaeger-v3.json")
        return 404

    return answer


def as_phoenix(path: str, query: dict[str, str]) -> object:
    """Answer as a Phoenix with two projects does, two spans a page."""
    if path == "/v1/projects":
        return {
            "data": [{"id": f"id-{query.get('cursor', 'a')}", "name": "p"}],
            "next_cursor": None if "cursor" in query else "b",
        }
    if path not in {"/v1/projects/id-a/spans", "/v1/projects/id-b/spans"}:
        return 404
    if path.startswith("/v1/projects/id-b"):
        return {"data": [], "next_cursor": None}
    spans = golden("phoenix-spans.json")["data"]
    if "attribute" in query and query["attribute"] != 'otflow.run.id:"small-run"':
        spans = []
    if "trace_id" in query:
        spans = [span for span in spans if span["context"]["trace_id"] == query["trace_id"]]
    start = int(query.get("cursor", 0))
    following = start + 2 if start + 2 < len(spans) else None
    return {"data": spans[start : start + 2], "next_cursor": None if following is None else str(following)}


@pytest.mark.parametrize(
    "answer",
    [as_jaeger(), as_jaeger(newer=False), as_jaeger(older=False), as_phoenix],
    ids=["both", "older", "newer", "phoenix"],
)
def test_servers_give_their_runs(answer: Answer) -> None:
    """By its URL a server lists its runs and gives them, by whichever interface it has."""
    expected = otflow.open(GOLDEN / "collector-file.jsonl").run("small-run")
    with serve(answer) as url:
        source = otflow.open(url + "/")
        [info] = source.runs()
        assert (info.id, info.records, info.place) == ("small-run", 28, url + "/")
        assert source.run("small-run") == source.run("smal") == expected
        assert list(read_all(source)) == [expected]
        with pytest.raises(ReaderError, match="There is no run 'other'"):
            source.run("other")
        assert url in repr(source)


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (as_jaeger(), f"/trace/{TRACE}"),
        (as_jaeger(), f"/trace/{TRACE.upper()}?uiFind=price"),
        (as_jaeger(newer=False), f"/api/traces/{TRACE}"),
        (as_phoenix, f"/projects/id-a/traces/{TRACE}"),
        (as_phoenix, "/projects/id-a"),
        (as_phoenix, f"/redirects/traces/{TRACE}"),
    ],
)
def test_a_page_is_its_trace(answer: Answer, page: str) -> None:
    """The URL of a page that shows a trace gives its runs."""
    with serve(answer) as url:
        assert otflow.open(url + page).run("small").complete


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (as_jaeger(), "/trace/abcdef"),
        (as_phoenix, f"/projects/id-a/traces/{'ab' * 16}"),
        (as_phoenix, "/projects/nobody"),
    ],
)
def test_a_page_of_nothing_is_an_error(answer: Answer, page: str) -> None:
    """A trace or a project that is not there is an error that names it."""
    with serve(answer) as url, pytest.raises(ReaderError, match=r"has no (trace|spans of runs|project)"):
        list(otflow.open(url + page).runs())


@pytest.mark.parametrize("told", [True, False])
def test_where_there_is_more_than_a_page_time_is_parted(monkeypatch: pytest.MonkeyPatch, *, told: bool) -> None:
    """Of more traces than one answer may have each is found, as far as times tell them apart; the rest is named.

    Where an answer tells times, few questions are enough, however long the time is that is searched.
    """
    times = {f"{number:032x}": 1_000_000 * number for number in range(1, 40)}
    asked: list[int] = []

    def answer(path: str, query: dict[str, str]) -> object:
        if path == "/api/services":
            return {"data": ["shop"]}
        if path == "/api/traces":
            within = [trace for trace, at in times.items() if int(query["start"]) <= at <= int(query["end"])]
            asked.append(len(within))
            spans = {trace: {"spans": [{"startTime": times[trace]}]} if told else {} for trace in within}
            return {"data": [{"traceID": trace, **spans[trace]} for trace in within[-int(query["limit"]) :]]}
        return 404

    monkeypatch.setattr(jaeger, "_PAGE", 4)
    with serve(answer) as url:
        look = jaeger.JaegerLook(jaeger.Web(url, {}, 10, 1 << 20), 10**12)
        faults: list[str] = []
        assert look._search(faults, {}) == times.keys()
        assert faults == []
        assert len(asked) < 45 or not told
        times = {f"{number:032x}": 1_000_000 for number in range(1, 9)}
        assert len(look._search(faults, {})) == 4
        assert [fault for fault in faults if "shows no more than 4 of the traces of service 'shop'" in fault]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"<html>", "neither a Jaeger nor a Phoenix"),
        ([1, 2], "neither a Jaeger nor a Phoenix"),
        ({"data": 5}, "neither a Jaeger nor a Phoenix"),
        (b"[" * 100_000, "neither a Jaeger nor a Phoenix"),
        (500, "answers with 500"),
        (403, "answers with 403"),
        ("http://127.0.0.2:1/", "answers with 302"),
        ("file:///etc/passwd", "answers with 302"),
        ("/", "redirect"),
    ],
)
def test_other_servers_are_refused(given: object, said: str) -> None:
    """A server that answers anything else is refused, with what it answers."""
    with serve(lambda path, query: given) as url, pytest.raises(ReaderError, match=said):
        otflow.open(url)


@pytest.mark.parametrize("given", [b"<html>", {"data": 5}, {}, [1], b"[" * 100_000, 500, {"result": 5}])
def test_answers_that_make_no_sense_are_errors(given: object) -> None:
    """A server that was right at first and then answers anything else is an error, and nothing else."""

    def jaeger_then(path: str, query: dict[str, str]) -> object:
        return {"data": ["shop"]} if path == "/api/services" else given

    def phoenix_then(path: str, query: dict[str, str]) -> object:
        return as_phoenix(path, query) if path == "/v1/projects" else given

    def projects_then(path: str, query: dict[str, str]) -> object:
        return as_phoenix(path, query) if path == "/v1/projects" and query["limit"] == "1" else given

    for answer in (jaeger_then, phoenix_then, projects_then):
        with serve(answer) as url:
            source = otflow.open(url)
            with suppress(ReaderError):
                assert list(source.runs()) == []


def test_answers_have_a_limit() -> None:
    """What is larger than the limit is not read to its end."""
    with (
        serve(lambda path, query: {"data": ["x" * 5000]}) as url,
        pytest.raises(ReaderError, match="more than 1000 bytes"),
    ):
        otflow.open(url, limit=1000)


KEY = {"Authorization": "Bearer 0123456789"}


def guarded(answer: Answer) -> Answer:
    """Answer only who has the key."""
    return lambda path, query: (
        answer(path, query) if HEADERS.get().get("Authorization") == KEY["Authorization"] else 401
    )


@pytest.mark.parametrize("answer", [as_jaeger(), as_phoenix], ids=["jaeger", "phoenix"])
def test_headers_go_along(answer: Answer) -> None:
    """What the server wants to know of who asks is sent with each question, and stands in no message."""
    with serve(guarded(answer)) as url:
        source = otflow.open(url, headers=KEY)
        found = source.run("small-run")
        assert found.complete
        assert read_foreign(source, found) == ((), ())
        for wrong in ({}, {"Authorization": "Bearer 9876543210"}):
            with pytest.raises(ReaderError, match="answers with 401 Unauthorized") as caught:
                otflow.open(url, headers=wrong)
            assert "9876543210" not in str(caught.value)
        assert "0123456789" not in repr(source)


def test_no_header_goes_into_the_open() -> None:
    """A redirect from a secret place to an open one is not followed, even on the same host."""
    request = urllib.request.Request("https://a.example:1/x", headers=KEY)
    follow = web._SameScheme().redirect_request
    for place in ("http://a.example:1/x", "https://b.example:1/x"):
        assert follow(request, None, 302, "", {}, place) is None
    assert follow(request, None, 302, "", {}, "https://a.example:1/y") is not None
