"""How a file begins: whatever was lost or put there, the rest is read, in a room that its size pays for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import otflow
from otflow.errors import ReaderError
from otflow.readers import files, otlp_protobuf
from otflow.records.spans import to_spans
from tests.readers.writing import FORMATS

STORY = Path(__file__).parents[1] / "integration" / "golden" / "collector-file.jsonl"
LINES = STORY.read_bytes()
WHOLE = [(info.id, info.records) for info in otflow.open(STORY).runs()]


def found(path: Path) -> list[tuple[str, int]]:
    """Give the runs of a file."""
    return [(info.id, info.records) for info in otflow.open(path).runs()]


@pytest.mark.parametrize(
    ("head", "faults"),
    [
        (b"", 0),
        (b"\n" * 5000, 0),
        (b" \t\r\n" * 300_000, 0),
        (b'{"cut\n', 1),
        (b'{"cut\n{"cut again\n', 2),
        (b'{"resourceSpans":\n{"resourceSpans":[\n', 2),
        (b'ue":"x"}}]}\n', 1),
        (b"\xef\xbb\xbf", 0),
        (b"not JSON\n" * 500, 500),
    ],
    ids=["whole", "lines", "blanks", "cut", "two cut", "open", "tail", "mark", "many"],
)
def test_damage_at_the_begin_costs_the_damaged_lines(tmp_path: Path, head: bytes, faults: int) -> None:
    """Lines that cannot be read are passed over and named wherever they stand; blanks are nothing."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(head + LINES)
    assert found(path) == WHOLE
    told: list[str] = []
    lens = files._Lens(files.LIMIT, (), files.read_document, files.read_piece)
    assert list(files._look_into([path], lens, told))
    named = [fault for fault in told if fault.startswith("Line ")]
    assert len(named) == min(faults, 100)
    assert sum("400 more pieces" in fault for fault in told) == (faults > 100)


@pytest.mark.parametrize("indent", [1, 4])
def test_a_document_over_many_lines_is_one(tmp_path: Path, indent: int) -> None:
    """A document is read as a whole, whatever lines it has; one that is cut is an error that says so."""
    spans = [each for line in LINES.splitlines() for each in json.loads(line)["resourceSpans"]]
    text = json.dumps({"resourceSpans": spans}, indent=indent)
    path = tmp_path / "one.json"
    path.write_text(text)
    assert found(path) == WHOLE
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ReaderError, match=r"The whole of .* cannot be read: Input data was truncated"):
        otflow.open(path).runs()


@pytest.mark.parametrize(
    "parts",
    [
        [b"{", b" " * (1 << 20), b"\n{}"],
        [b'{"a":"', b"a" * (1 << 20), b'"}\n'],
    ],
)
def test_a_small_file_that_unpacks_to_a_huge_line_is_refused(tmp_path: Path, parts: list[bytes]) -> None:
    """What a line of a compressed file may take depends on the size of the file; the message says what to do."""
    path = tmp_path / "bomb.gz"
    first, many, last = parts
    with gzip.open(path, "wb", 1) as file:
        file.write(first)
        for _ in range(64):
            file.write(many)
        file.write(last)
    with pytest.raises(ReaderError, match=r"more than 33554432 bytes, .* decompress it first"):
        otflow.open(path).runs()


def _sized(tag: int, data: bytes) -> bytes:
    size, head = len(data), bytearray([tag])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + data


@pytest.mark.parametrize(
    "spans",
    [
        b"\x12\x00" * 1_000_000,
        _sized(0x12, b"\x4a\x00" * 1_000_000),
    ],
    ids=["spans", "attributes"],
)
def test_millions_of_empty_parts_are_refused(tmp_path: Path, spans: bytes) -> None:
    """A message is not parsed if it would take a hundred times its size."""
    path = tmp_path / "empty.binpb"
    path.write_bytes(_sized(0x0A, _sized(0x12, spans)))
    with pytest.raises(ReaderError, match="with nothing in them"):
        otflow.open(path).runs()


def test_large_messages_are_read_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is large gives what it gives as a whole, and a damaged one is named."""
    monkeypatch.setattr(otlp_protobuf, "_LARGE", 600)
    records = otflow.open(STORY).run("small-run").records
    for name, write in FORMATS.items():
        write(tmp_path / name, to_spans(records))
        assert found(tmp_path / name) == [("small-run", len(records))], name
    path = tmp_path / "damaged"
    for data in (b"\x0f" * 700, b"\x12\xff\xff" * 300, b"\x80" * 700, b"\x12\xff\x7f" + b"x" * 900):
        path.write_bytes(_sized(0x0A, data))
        with pytest.raises(ReaderError, match="is no OTLP"):
            otflow.open(path).runs()
