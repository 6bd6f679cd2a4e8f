"""What leaves the command: nothing that a terminal would obey, no secret, and no traceback because of the stream."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from otflow.cli.app import main
from otflow.cli.outlet import escape
from tests.cli.test_demo import ROOT, environment

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e\x7f"
GOLDEN = ROOT / "tests" / "integration" / "golden" / "collector-file.jsonl"
SECRETS = """
from otflow import Context, Event, StartEvent, StopEvent, Workflow, step

class Told(Event):
    note: str
    api_key: str

class Leaky(Workflow):
    @step
    async def tell(self, ctx: Context, ev: StartEvent) -> Told:
        await ctx.store.set("größe", "Bearer sk-abcdefghijklmnopqrstuvwxyz")
        return Told(note="see https://ada:sesame123@host/ with password=hunter2hunter2", api_key="key-1234567890")

    @step
    async def fail(self, ev: Told) -> StopEvent:
        raise ValueError(f"no: Authorization: Bearer sk-{ev.api_key}")

class Fine(Workflow):
    @step
    async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("größe", "漢字")
        return StopEvent(result="ü✓")
"""
SECRET = re.compile("sk-abc|sesame123|hunter2|key-1234567890")


def run(folder: Path, line: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command of a shell, in which $otflow is the command."""
    setting = {**environment(), "otflow": f"{shlex.quote(sys.executable)} -m otflow", "PYTHONPATH": str(ROOT)}
    command = line.replace("otflow ", "$otflow ", 1)
    return subprocess.run(["bash", "-c", command], check=False, cwd=folder, env=setting | settings, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a workflow that knows secrets."""
    (tmp_path / "leaky.py").write_text(SECRETS, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_means_the_same_when_it_is_spelt_out(encoding: str) -> None:
    """JSON for machines has no character that a terminal obeys or the encoding lacks, and says the same."""
    value = {"a": f"{HOSTILE}ü✓漢字\U0001f600\U000e0041", "b": 1}
    text = escape(json.dumps(value, indent=2, ensure_ascii=False), encoding)
    assert json.loads(text) == value
    assert not set("\x1b\x07\x9b\u202e\x7f\U000e0041") & set(text)
    text.encode(encoding)


def test_nothing_of_a_trace_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and ids of a trace, in whichever field, are shown and not obeyed; in complaints too."""
    monkeypatch.chdir(tmp_path)
    records = []
    for line in GOLDEN.read_text().splitlines():
        for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for each in span["attributes"]:
                if each["key"] == "otflow.records":
                    records += json.loads(each["value"]["stringValue"])

    def poison(value: object) -> object:
        if isinstance(value, dict):
            return {key: each if key == "record" else poison(each) for key, each in value.items()}
        if isinstance(value, list):
            return [poison(each) for each in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) else value

    Path("t.jsonl").write_text("\n".join(json.dumps(poison(each)) for each in records))
    calls = [
        "list t.jsonl",
        "show zz --from t.jsonl",
        "draw last --from t.jsonl -o d.txt",
        "draw last --from t.jsonl -o d.mmd",
    ]
    for name in ("show", "show --records", "show --json --records", "tree", "tree --json", "stats", "watch --once"):
        first, *rest = name.split()
        calls.append(" ".join([first, "last", *rest, "--from", "t.jsonl"]))
    for call in calls:
        main(call.split())
        said = capsys.readouterr()
        assert not set("\x1b\x07\x9b\u202e\x7f") & set(said.out + said.err), call
        assert said.out + said.err, call
    assert not set("\x1b\x07\x9b\u202e\x7f") & set(Path("d.txt").read_text() + Path("d.mmd").read_text())


def test_what_is_shown_has_no_form_of_a_secret(folder: Path) -> None:
    """A run that fails tells its recorded error, and pages show no text with the form of a secret; exports keep it."""
    for more in ("", " --json"):
        failed = run(folder, f"otflow run leaky.py:Leaky --run-id r{len(more)} -q{more}")
        assert failed.returncode == 1
        assert b"Error in step 'fail'" in failed.stderr
        assert not SECRET.search((failed.stdout + failed.stderr).decode())
    for line in ("show r0", "show r0 --records --json", "tree r0", "stats r0 --blame ''", "draw r0 -o r.html"):
        said = run(folder, f"otflow {line}")
        assert said.returncode == 0
        assert not SECRET.search(said.stdout.decode()), line
    assert not SECRET.search((folder / "r.html").read_text())
    assert run(folder, "otflow export r0 --to r.jsonl").returncode == 0
    exported = (folder / "r.jsonl").read_text()
    assert "hunter2" in exported
    assert "key-1234567890" not in exported


def test_streams_of_any_encoding_take_any_text(folder: Path) -> None:
    """Where the encoding lacks a character it is spelt out; JSON says the same."""
    for settings in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = run(folder, "otflow run leaky.py:Fine -q", **settings)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"\\xfc\\u2713\n", b"")
        shown = run(folder, "otflow show last --json", **settings)
        assert shown.stdout.isascii()
        assert json.loads(shown.stdout)["state"] == {"größe": "漢字"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_has_its_code(folder: Path) -> None:
    """A full disk and a closed stream give 5 and one line; a closed error stream is no matter of the result."""
    assert run(folder, "otflow run leaky.py:Fine -q").returncode == 0
    for line in (
        "otflow show last > /dev/full",
        "otflow list --json > /dev/full",
        "otflow run leaky.py:Fine > /dev/full",
    ):
        full = run(folder, line)
        assert full.returncode == 5
        assert b"cannot be written: No space left on device" in full.stderr.splitlines()[-1]
        assert b"Traceback" not in full.stderr
    closed = run(folder, "otflow list >&-")
    assert (closed.returncode, len(closed.stderr.splitlines())) == (5, 1)
    for more in ("2>&-", "2>/dev/full"):
        mute = run(folder, f"otflow run leaky.py:Fine {more}")
        assert (mute.returncode, mute.stdout) == (0, "ü✓\n".encode())


def test_who_stops_reading_ends_the_command(folder: Path) -> None:
    """When nobody reads the output the code is 141, as of any command, and nothing is said."""
    assert run(folder, "otflow run leaky.py:Fine -q").returncode == 0
    setting = environment() | {"PYTHONPATH": str(ROOT)}
    for line in ("list", "list --json", "show last", "tree", "stats", "doctor", "--help"):
        reading, writing = os.pipe()
        os.close(reading)  # before anything is written
        command = [sys.executable, "-m", "otflow", *line.split()]
        done = subprocess.run(command, check=False, cwd=folder, env=setting, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, b""), line
