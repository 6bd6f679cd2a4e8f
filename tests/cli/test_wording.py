"""The endpoint that may put quotes into words: a stub on this machine that speaks its protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from otflow.cli import main

ROOT = Path(__file__).resolve().parents[2]
Reply = Callable[[], tuple[int, dict[str, str], bytes]]


class Stub:
    """An endpoint that keeps what it was asked, and answers what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, dict[str, object]]] = []
        self.reply: Reply = lambda: said("Water of eighty degrees [1].")
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is http.server's
                data = self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked.append((self.path, self.headers["Authorization"], json.loads(data)))
                status, headers, body = stub.reply()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


def said(text: object) -> tuple[int, dict[str, str], bytes]:
    """Give the reply of an endpoint that answers with a text."""
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Start an endpoint, and let the environment name it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    stub = Stub()
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_MODEL", "a-model")
    monkeypatch.setenv("COLUMNS", "100")
    thread = Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with one text, of which the second half is nobody's business."""
    text = "Green tea is brewed with water of eighty degrees.\n\n## Other\n\nThe safe is behind the painting.\n"
    (tmp_path / "tea.md").write_text(text)
    return tmp_path


def ask(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Ask the demo how tea is brewed; gives what it shows, on one line."""
    assert main(["demo", "-p", str(folder), "-q", "How is green tea brewed?", *more]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_words_of_the_endpoint_are_shown(stub, folder, capsys):
    """What the endpoint says stands above the quotes that it cites."""
    shown = ask(folder, capsys)
    assert "wording a-model at 127.0.0.1:" in shown
    assert "put the quotations into words ✓ word a-model at 127.0.0.1:" in shown
    assert "Water of eighty degrees [1]. [1] Green tea is brewed with water of eighty degrees." in shown


def test_only_quotes_are_sent(stub, folder, capsys):
    """The endpoint gets the question and the quotes with the key, and nothing else of the files."""
    ask(folder, capsys)
    ((path, key, request),) = stub.asked
    assert (path, key, request["model"]) == ("/v1/chat/completions", "Bearer the-key", "a-model")
    assert "How is green tea brewed?" in str(request)
    assert "[1] Green tea is brewed with water of eighty degrees." in str(request)
    assert "painting" not in str(request)
    assert str(folder) not in str(request)


def test_the_key_is_not_recorded(stub, folder, capsys):
    """The key is in nothing that is shown."""
    assert "the-key" not in ask(folder, capsys)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (lambda: (500, {}, b"no"), "failed: HTTP Error 500: Internal Server Error"),
        (lambda: (401, {}, b"{}"), "failed: HTTP Error 401: Unauthorized"),
        (lambda: (200, {}, b"<html>"), "answered something that is no chat completion"),
        (lambda: (200, {}, b'{"choices": []}'), "answered something that is no chat completion"),
        (lambda: (200, {}, b"[1]"), "answered something that is no chat completion"),
        (lambda: said(" "), "answered nothing"),
        (lambda: said(None), "answered nothing"),
        (lambda: said("It is so [2]."), "cited other sources than the quotes that it was given"),
        (lambda: said("It is so."), "cited other sources than the quotes that it was given"),
        (lambda: (302, {"Location": "/v1/elsewhere"}, b""), "failed: HTTP Error 302: Found"),
    ],
)
def test_a_useless_endpoint(stub, folder, capsys, reply, reason):
    """If the endpoint fails, says nothing useful or sends us elsewhere, the quotes are the answer, and it is said."""
    stub.reply = reply
    shown = ask(folder, capsys)
    assert f"{reason}; the quotations are the answer" in shown
    assert "[1] Green tea is brewed with water of eighty degrees." in shown
    assert "Quotations only: 127.0.0.1:" in shown
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc", "OPENAI_BASE_URL is file:///etc, which is no address of the kind https://host/v1"),
        ("http://127.0.0.1:1/v1", "127.0.0.1:1 failed: <urlopen error [Errno 111] Connection refused>"),
        ("http://127.0.0.1:x/v1", "127.0.0.1:x failed: InvalidURL("),
    ],
)
def test_an_impossible_endpoint(stub, folder, capsys, monkeypatch, url, reason):
    """An address that leads nowhere is named, and the quotes are the answer."""
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    shown = ask(folder, capsys)
    assert reason in shown
    assert "[1] Green tea is brewed with water of eighty degrees." in shown


def test_an_interrupted_reply(stub, folder, capsys):
    """A reply that breaks off is no answer."""
    stub.reply = lambda: (200, {"Content-Length": "1000", "Connection": "close"}, b"{")
    assert "the quotations are the answer" in ask(folder, capsys)


def test_nobody_is_asked(stub, folder, capsys, monkeypatch):
    """Offline, without a key, or without anything to put into words no endpoint is asked."""
    assert "wording" not in ask(folder, capsys, "--offline")
    assert main(["demo", "-p", str(folder), "-q", "Who won the regatta?"]) == 0
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    capsys.readouterr()
    assert "wording" not in ask(folder, capsys)
    assert stub.asked == []


def test_what_the_endpoint_says_harms_no_terminal(stub, folder, capsys):
    """Control characters in the words of the endpoint are shown, not obeyed."""
    stub.reply = lambda: said("Hot\x1b[31m water [1].")
    assert "Hot\N{REPLACEMENT CHARACTER}[31m water [1]." in ask(folder, capsys)


def test_interruption(stub, folder):
    """Who interrupts the demo gets one line, and exit code 130."""
    command = [sys.executable, "-m", "otflow", "demo", "-p", str(folder), "-q", "How is green tea brewed?"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:

        def interrupt() -> tuple[int, dict[str, str], bytes]:
            process.send_signal(signal.SIGINT)
            return said("Too late [1].")

        stub.reply = interrupt
        _, complaint = process.communicate()
    assert (process.returncode, complaint) == (130, b"otflow: interrupted.\n")
