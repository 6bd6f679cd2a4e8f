"""A server that wants to know who asks: commands send along what it wants, and show it to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from otflow.cli.app import main
from tests.readers.test_servers import KEY, as_jaeger, guarded, serve

SECRET = f"Authorization={KEY['Authorization']}"
COMMANDS = [
    ["list", "URL"],
    ["list", "--from", "URL", "--json"],
    ["show", "URL"],
    ["show", "small", "--from", "URL"],
    ["tree", "URL#small"],
    ["draw", "URL", "-o", "run.html"],
    ["diff", "URL", "URL"],
    ["stats", "URL"],
    ["watch", "small", "--from", "URL", "--once"],
    ["export", "URL", "--to", "run.jsonl"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_headers_go_to_the_server(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the header the command works, without it the server is said to refuse; the value is shown nowhere."""
    monkeypatch.chdir(tmp_path)
    with serve(guarded(as_jaeger())) as url:
        arguments = [each.replace("URL", url) for each in command]
        option = "--from-header" if command[0] == "export" else "--header"
        assert main([*arguments, option, SECRET, option, "X-Other=1"]) == 0
        assert main([*arguments, option, SECRET + "9"]) == 3
        assert main([*arguments, option, KEY["Authorization"]]) == 2
    said = capsys.readouterr()
    assert "answers with 401" in said.err
    assert "who asks" in said.err
    assert "header number 1 is no pair: write NAME=VALUE" in said.err
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "0123456789" not in said.out + said.err + written


def test_a_password_in_a_url_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL is shown in many places, so no password may stand in it."""
    assert main(["list", "http://me:0123456789@127.0.0.1:9"]) == 3
    said = capsys.readouterr()
    assert "A URL with a password" in said.err
    assert "0123456789" not in said.err
