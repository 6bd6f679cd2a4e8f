"""`otflow.open` finds the reader for whatever it is given, and says what to do where there is none."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otflow
from otflow import Context, StartEvent, StopEvent, Workflow, step
from otflow.errors import OtflowError, ReaderError
from otflow.journal import Journal
from otflow.readers import read_all
from otflow.readers.source import choose_run
from otflow.records.spans import to_spans
from otflow.testing import capture_records
from tests.readers.writing import FORMATS

GOLDEN = Path(__file__).parents[1] / "integration" / "golden"


class Count(Workflow):
    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.store.set("seen", 1)
        return StopEvent()


async def run_twice() -> None:
    """Run it under two ids."""
    for name in ("one", "other"):
        await Count().run(run_id=name)


def test_memory_is_a_source() -> None:
    """Records that were captured are a source, which grows with the list."""
    with capture_records() as records:
        source = otflow.open(records)
        assert list(source.runs()) == []
        asyncio.run(run_twice())
        assert [(info.id, info.workflow, info.outcome) for info in source.runs()] == [
            ("one", "Count", "completed"),
            ("other", "Count", "completed"),
        ]
    found = source.run("one")
    assert (found.complete, found.state()) == (True, {"seen": 1})
    assert [each.run_id for each in read_all(source)] == ["one", "other"]
    assert list(otflow.open(iter(records[::-1])).run("one").records) == list(found.records)


def test_finished_spans_are_a_source() -> None:
    """Spans of the OpenTelemetry SDK are read as they are."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("app").start_as_current_span("of the user"):
        pass
    assert list(otflow.open(exporter.get_finished_spans()).runs()) == []


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    """A folder is read as one source, as the files that a collector has rotated."""
    lines = (GOLDEN / "collector-file.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "spans.jsonl").write_text("".join(lines[:3]))
    (tmp_path / "spans-2026.jsonl").write_text("".join(lines[3:]))
    (tmp_path / ".hidden").write_text("something else")
    assert otflow.open(tmp_path).run("small").complete
    (tmp_path / "inner").mkdir()
    with pytest.raises(ReaderError, match="There is no file in"):
        otflow.open(tmp_path / "inner")


def test_a_folder_with_a_journal(tmp_path: Path) -> None:
    """A folder that holds a journal and what stands beside it while it is written is that journal; mixed ones are not.

    The journal is open for writing all the time, and stays so.
    """
    with capture_records() as records:
        asyncio.run(run_twice())
    journal = Journal(tmp_path / "runs.db")
    journal([each for each in records if each.run == "one"])
    assert (tmp_path / "runs.db-wal").exists()
    (tmp_path / ".gitignore").write_text("*")
    assert [info.id for info in otflow.open(tmp_path).runs()] == ["one"]
    shutil.copy(GOLDEN / "collector-file.jsonl", tmp_path / "spans.jsonl")
    with pytest.raises(ReaderError, match=r"holds a journal \(.*runs.db\) beside 1 other files.* by its own path"):
        otflow.open(tmp_path)
    (tmp_path / "spans.jsonl").unlink()
    Journal(tmp_path / "more.db").close()
    with pytest.raises(ReaderError, match=r"holds 2 journals \(.*more.db, .*runs.db\), which are not read together"):
        otflow.open(tmp_path)
    journal([each for each in records if each.run == "other"])
    assert [info.id for info in otflow.open(tmp_path / "runs.db").runs()] == ["one", "other"]
    journal.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no such format", "it is text that begins with 'no such format'"),
        (b"a,b,c\n1,2,3\n", "it is text that begins with 'a,b,c'"),
        (b"\x89PNG\r\n\x1a\n", "it is a picture"),
        (b"\x01\x02\x03", "it begins with the bytes 01 02 03"),
        (b'{"level": "info", "message": "hi"}\n' * 3, "it is JSON with the keys 'level', 'message'"),
        (b"{}", "it is JSON without any key"),
        (b'{"resourceMetrics": []}\n' * 2, "has metrics of OTLP and no spans"),
        (b'{"resourceLogs": []}', "has logs of OTLP and no spans"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    """Of a file without spans it is said what it has to be, and what it is."""
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ReaderError, match=said) as caught:
        otflow.open(tmp_path / "file").runs()
    assert "no spans" in said or "It has to be OTLP, as JSON lines or protobuf" in str(caught.value)


def test_other_signals_between_spans_are_no_fault(tmp_path: Path) -> None:
    """A collector may write logs and metrics into the same file; that is nothing that is missing."""
    lines = (GOLDEN / "collector-file.jsonl").read_text().splitlines()
    (tmp_path / "all.jsonl").write_text("\n".join(['{"resourceMetrics": []}', *lines[:-1], '{"resourceLogs": [{}]}']))
    assert not any("no known kind" in gap.reason for gap in otflow.open(tmp_path / "all.jsonl").run("small").gaps)


def test_names_tell_nothing(tmp_path: Path) -> None:
    """A file is told by what is in it, whatever it is called."""
    shutil.copy(GOLDEN / "jaeger-legacy.json", tmp_path / "trace.sqlite")
    shutil.copy(GOLDEN / "phoenix-spans.json", tmp_path / "spans.pb")
    assert otflow.open(tmp_path / "trace.sqlite").run("small") == otflow.open(tmp_path / "spans.pb").run("small")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no/such/file", "cannot be read: No such file"),
        ("nul\0byte", "cannot be read"),
        (5, "Nothing can be read from int"),
        (b"bytes", "Nothing can be read from bytes"),
        ("http://", "names no server"),
        ("http://[bad", "is no URL"),
        ("http://localhost:99999", "is no URL"),
        ("http://127.0.0.1:9/search", "neither a Jaeger nor a Phoenix that answers"),
        ("http://127.0.0.1:9", "Is the server up, and the URL right"),
        ("http://me:secret@127.0.0.1:9", "A URL with a password"),
    ],
)
def test_what_is_no_source_is_refused(source: object, said: str) -> None:
    """What cannot be read is an error that says why, and what to give."""
    with pytest.raises(ReaderError, match=said) as caught:
        otflow.open(source)
    assert isinstance(caught.value, OtflowError)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Authorization": "secret\nX: y"}, "The value of the header Authorization cannot be sent"),
        ({"Authorization": "secret ☃"}, "The value of the header Authorization cannot be sent"),
        ({"Authorization": 5}, "The value of the header Authorization cannot be sent"),
        ({"secret: x": "y"}, "A header has a name that is none"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str], said: str) -> None:
    """A header that would break a request is an error that does not show it."""
    with pytest.raises(ReaderError, match=said) as caught:
        otflow.open("http://127.0.0.1:9", headers=headers)
    assert "secret" not in str(caught.value)


def test_what_is_no_record_is_refused() -> None:
    """A list with something else in it is an error that shows it."""
    with pytest.raises(ReaderError, match="neither a record nor a span: 'text'"):
        otflow.open(["text"]).runs()


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("a", "2 runs in here begin with 'a': ab, ac. Give more of the id."),
        ("x", "There is no run 'x' in here. The runs that are there: ab, ac, b."),
        ("", "There is no run '' in here. The runs that are there: ab, ac, b."),
    ],
)
def test_a_run_has_to_be_named_well(id: str, said: str) -> None:
    """A beginning that several runs share, or none has, is an error that names runs."""
    with pytest.raises(ReaderError) as caught:
        choose_run(id, ["ac", "ab", "b"], "here")
    assert str(caught.value) == said
    assert (choose_run("ab", ["ab", "abc"], ""), choose_run("b", ["ab", "b2"], "")) == ("ab", "b2")


def test_ids_with_quotes_are_found(tmp_path: Path) -> None:
    """A run id may be any text."""
    with capture_records() as records:
        name = 'say "ü\\'

        async def main() -> None:
            await Count().run(run_id=name)

        asyncio.run(main())
    for kind, write in FORMATS.items():
        write(tmp_path / kind, to_spans(records))
        assert otflow.open(tmp_path / kind).run('say "').records == tuple(records), kind
        assert otflow.open(tmp_path / kind).run(name).complete


def test_open_is_loaded_late() -> None:
    """Who imports otflow loads no reader; `from otflow import *` does not hide the function that opens files."""
    program = (
        "import sys, builtins; from otflow import *; assert open is builtins.open; "
        "import otflow; assert 'otflow.readers' not in sys.modules; assert otflow.open([]).runs() == []; "
        "assert 'opentelemetry.proto' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
