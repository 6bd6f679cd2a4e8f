"""Whatever happened to spans on their way: nothing false is told, and what cannot be read is named."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otflow
from otflow.errors import ReaderError
from otflow.records.body import Body
from otflow.records.capture import Capture
from otflow.records.execution import Execution
from otflow.records.record import ContextWritten, Record, RunPaused
from otflow.records.semconv import RECORDS
from otflow.records.span import SpanData
from otflow.records.spans import from_spans, to_spans
from tests.laws.strategies import histories
from tests.readers.writing import FORMATS, otlp, write_framed, write_lines

GOLDEN = Path(__file__).parents[1] / "integration" / "golden"
STORY = GOLDEN / "collector-file.jsonl"


@dataclass
class Plain:
    """A span of any library."""

    name: str
    attributes: dict[str, object]


def story() -> list[Record]:
    """Give the records of the golden run."""
    return list(otflow.open(STORY).run("small-run").records)


def spans() -> list[SpanData]:
    """Give its spans."""
    return to_spans(story())


def changed(span: SpanData, **attributes: object) -> SpanData:
    """Give a span with other attributes; dots are written as two underlines, None removes one."""
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    found = {key: value for key, value in {**span.attributes, **named}.items() if value is not None}
    return msgspec.structs.replace(span, attributes=found)


def read(found: list[SpanData], path: Path, name: str = "lines.jsonl") -> Execution:
    """Write spans to a file, and read the run."""
    FORMATS[name](path / name, found)
    return otflow.open(path / name).run("small-run")


def test_attributes_that_were_cut_give_what_stands_before(tmp_path: Path) -> None:
    """From records that were cut the first ones are read; the others are a gap which says that, in every place."""
    whole, cut_some = story(), 0
    for place, span in enumerate(spans()):
        text = str(span.attributes[RECORDS])
        for length in range(0, len(text), 37):
            cut = [*spans()[:place], changed(span, otflow__records=text[:length]), *spans()[place + 1 :]]
            found = read(cut, tmp_path)
            assert all(record == whole[record.seq - 1] for record in found.records)
            missing = {record.seq for record in whole} - {record.seq for record in found.records}
            cut_some += len(missing) < len(from_spans([span]))
            assert missing
            assert not found.complete
            assert all("cannot be read in full" in gap.reason for gap in found.gaps if gap.last)
    assert cut_some


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_omitted_records_are_named(tmp_path: Path, name: str) -> None:
    """What a span had no room for stands in the gap that it leaves, with how much it was."""
    records = [
        *story()[:20],
        *(
            ContextWritten(0, "small-run", 1, 0, f"key{place}", Body(json=b'"%s"' % (b"x" * 200)))
            for place in range(99)
        ),
        *story()[20:],
    ]
    records = [msgspec.structs.replace(record, seq=seq) for seq, record in enumerate(records, 1)]
    small = Capture(4096, 4096, full=4000, bulk=5000, records=6000)
    found = read(to_spans(records, small), tmp_path, name)
    assert not found.complete
    assert any("were left out, because it would have become too large" in gap.reason for gap in found.gaps)
    missing = set(range(1, len(records) + 1)) - {record.seq for record in found.records}
    assert missing == {seq for gap in found.gaps if gap.last for seq in range(gap.first, gap.last + 1)}


def test_payloads_that_were_left_out_are_losses(tmp_path: Path) -> None:
    """A run whose payloads were too large has all its records and says which payloads it lacks."""
    found = read(to_spans(story(), Capture(10, 10)), tmp_path)
    assert found.complete
    assert [record.seq for record in found.records] == list(range(1, 29))
    assert found.losses
    assert all("was left out: it has" in loss.reason for loss in found.losses)


def test_an_announcement_explains_what_never_came(tmp_path: Path) -> None:
    """A marker of a span that never ended says with which record it began."""
    first, *others = sorted(spans(), key=lambda span: span.attributes["otflow.seq.start"])
    start = first.attributes["otflow.seq.start"]
    marker = Plain(
        "run_started Small", {"otflow.run.id": "small-run", "otflow.pending": True, "otflow.seq.start": start}
    )
    found = otflow.open([*others, marker]).run("small-run")
    assert found.gaps[0].first == start
    assert "announcement of a span ('run_started Small')" in found.gaps[0].reason


def test_the_last_number_is_believed(tmp_path: Path) -> None:
    """Where a span names the last record of the run, a missing end is a gap up to there."""
    records = [record for record in story() if record.seq < 26]
    last = changed(to_spans(records)[-1], otflow__seq__last=28)
    found = read([*to_spans(records)[:-1], last], tmp_path)
    assert [(gap.first, gap.last) for gap in found.gaps] == [(26, 28), (29, 0)]


def test_attributes_of_other_types_do_no_harm(tmp_path: Path) -> None:
    """Numbers may come as text, and what makes no sense is passed over."""
    odd = {
        "otflow__branch": "x@y",
        "otflow__seq__start": "1",
        "otflow__seq__end": -5,
        "otflow__seq__last": 2**60,
        "otflow__omitted": "many",
    }
    found = read([changed(span, **odd) for span in spans()], tmp_path)
    assert (list(found.records), found.complete) == (story(), True)
    texts = [json.loads(json.dumps(otlp([span]))) for span in spans()]
    for text in texts:
        for each in text["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]:
            if each["key"] == "otflow.seq.start":
                each["value"] = None
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, texts)))
    assert list(otflow.open(tmp_path / "odd.jsonl").run("small").records) == story()


def test_one_bad_span_spares_the_others(tmp_path: Path) -> None:
    """A span that is not as it should be costs no other span of its batch."""
    batch = otlp(spans())
    batch["resourceSpans"][0]["scopeSpans"][0]["spans"] += [5, {"name": 7, "attributes": "none"}, {"attributes": [3]}]
    batch["resourceSpans"] += [None, {"scopeSpans": 5}, {"scopeSpans": [{"spans": None}]}]
    (tmp_path / "odd.jsonl").write_text(json.dumps(batch))
    assert list(otflow.open(tmp_path / "odd.jsonl").run("small-run").records) == story()


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A line that was cut costs its spans and no others, and the gaps say which line that is."""
    path = tmp_path / "cut.jsonl"
    write_lines(path, spans(), 1)
    lines = path.read_text().splitlines()
    for place in range(len(lines)):
        cut = [*lines[:place], lines[place][: len(lines[place]) // 2], *lines[place + 1 :]]
        path.write_text("\n".join(cut))
        found = otflow.open(path).run("small-run")
        assert not found.complete
        assert all(f"Line {place + 1} of {path} cannot be read" in gap.reason for gap in found.gaps)
        assert all(record == story()[record.seq - 1] for record in found.records)


def test_a_file_that_ends_in_the_middle_gives_what_it_has(tmp_path: Path) -> None:
    """Of a file whose writer was killed everything before the last piece is read, in each form."""
    whole = story()
    for write, name in ((write_lines, "a.jsonl"), (write_framed, "a.pb")):
        path = tmp_path / name
        write(path, spans(), 1)
        data = path.read_bytes()
        path.write_bytes(data[:-20])
        found = otflow.open(path).run("small-run")
        assert all(record == whole[record.seq - 1] for record in found.records)
        assert found.gaps
        assert all("cannot be read" in gap.reason for gap in found.gaps)
    packed = gzip.compress((tmp_path / "a.jsonl").read_bytes() * 400)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert otflow.open(tmp_path / "a.jsonl.gz").runs()


def test_compressed_files_are_read(tmp_path: Path) -> None:
    """A file that is compressed with gzip is read as it stands; for zstd it is said what to do."""
    (tmp_path / "a").write_bytes(gzip.compress(STORY.read_bytes()))
    assert list(otflow.open(tmp_path / "a").run("small").records) == story()
    (tmp_path / "b").write_bytes(b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(ReaderError, match="zstd -d"):
        otflow.open(tmp_path / "b").runs()
    (tmp_path / "c").write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(ReaderError, match="damaged"):
        otflow.open(tmp_path / "c").runs()


def test_what_is_too_large_is_passed_over(tmp_path: Path) -> None:
    """A line over the limit is named and costs only itself; a document over the limit is an error."""
    path = tmp_path / "large.jsonl"
    path.write_text(
        STORY.read_text() + json.dumps({"resourceSpans": [], "pad": "x" * 20_000}) + "\n" + STORY.read_text()
    )
    found = otflow.open(path, limit=10_000).run("small-run")
    assert (list(found.records), found.complete) == (story(), True)
    for name in ("jaeger-legacy.json", "phoenix-spans.json"):
        with pytest.raises(ReaderError, match="more than 1000 bytes"):
            otflow.open(GOLDEN / name, limit=1000).runs()
    write_framed(tmp_path / "a.pb", spans(), 1)
    with pytest.raises(ReaderError, match="more than 50"):
        otflow.open(tmp_path / "a.pb", limit=50).runs()


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "otflow.run.id"',
        "[" * 100_000,
        '{"result": ' * 100_000,
        '{"data": [{"spans": ' + "[" * 50_000,
        '{"some": "thing"}',
        "{}",
        '"text"',
        "\x00\x00\x00\x05hello",
        "no such format",
        "\xff\xfe",
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    """A file of another kind is an error that says what it has to be."""
    path = tmp_path / "other"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ReaderError, match="It has to be OTLP"):
        otflow.open(path).runs()


def test_an_empty_file_has_no_runs(tmp_path: Path) -> None:
    """A file into which nothing was written yet is no error; a run in it is."""
    (tmp_path / "empty.jsonl").write_text(" \n")
    assert list(otflow.open(tmp_path / "empty.jsonl").runs()) == []
    with pytest.raises(ReaderError, match="There is no run 'x'"):
        otflow.open(tmp_path / "empty.jsonl").run("x")


def test_records_alone_are_read(tmp_path: Path) -> None:
    """Lines of records, as a journal is written out, give the runs too."""
    path = tmp_path / "records.jsonl"
    encoded = [otflow.records.codec.encode(record) for record in story()]
    path.write_bytes(b"\n".join(encoded[::-1]))
    assert list(otflow.open(path).run("small").records) == story()


def hostile() -> st.SearchStrategy[object]:
    """Draw JSON with the names that matter in all kinds of wrong places."""
    names = (
        "resourceSpans scopeSpans spans attributes key value stringValue data result tags operationName name record seq"
    )
    known = "otflow otflow.run.id otflow.records otflow.branch otflow.seq.start otflow.omitted"
    keys = st.sampled_from([*names.split(), *known.split()])
    leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | keys
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5))


def try_to_read(path: Path) -> None:
    """Read everything there is; the only error may be the one that says so."""
    try:
        source = otflow.open(path)
        infos = list(source.runs())
        for info in infos:
            found = source.run(info.id)
            assert found.run_id == info.id
            assert found.gaps is not None
            assert found.history.id == info.id
            found.state()
            found.doubts()
    except ReaderError:
        pass


@settings(max_examples=300)
@given(st.lists(hostile(), min_size=1, max_size=4))
def test_hostile_json_is_survived(tmp_path_factory: pytest.TempPathFactory, documents: list[object]) -> None:
    """JSON with the right names in the wrong places is read or refused, and never anything else."""
    path = tmp_path_factory.getbasetemp() / "hostile.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in documents), encoding="utf-8", errors="replace")
    try_to_read(path)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x0a", b"\x00\x00", b"{", b"[", b"\x1f\x8b\x08"]))
def test_hostile_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory, data: bytes, begin: bytes) -> None:
    """Any bytes are read or refused."""
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(begin + data)
    try_to_read(path)


@settings(max_examples=60)
@given(
    histories(inputs=20),
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_flipped_bytes_are_survived(tmp_path_factory: pytest.TempPathFactory, records, name, flips) -> None:
    """A file in which some bytes are others is read as far as it can be, or refused."""
    path = tmp_path_factory.getbasetemp() / name
    FORMATS[name](path, to_spans(records))
    changed_bytes = bytearray(path.read_bytes())
    for place, byte in flips:
        changed_bytes[place % len(changed_bytes)] = byte
    path.write_bytes(changed_bytes)
    try_to_read(path)


def paused(seq: int) -> str:
    """Give a record with a number, as JSON."""
    return json.dumps([{"record": "RunPaused", "seq": seq, "run": "r", "at": 1, "reason": "x"}])


def test_hostile_records_are_survived() -> None:
    """Records with absurd numbers, or with payloads nested without end, take no time and no memory."""
    deep = "[" * 100_000 + "]" * 100_000
    texts = [
        paused(10**15),
        paused(-1),
        paused(10**40),
        f'[{{"record":"ContextWritten","seq":2,"run":"r","at":1,"invocation":0,"path":"a","value":{deep}}}]',
        '[{"record":"ContextWritten","seq":3,"run":"r","at":1,"invocation":0,"path":"%s","value":1}]' % ("a." * 50_000),
        deep,
        "[" + "," * 100_000,
        '[{"record":"Unheard","seq":4,"run":"r","at":1}]',
    ]
    found = otflow.open([Plain("step x", {"otflow.run.id": "r", "otflow.records": text}) for text in texts]).run("r")
    assert [record.seq for record in found.records] == [3, 10**15]
    assert [(gap.first, gap.last) for gap in found.gaps] == [(1, 2), (4, 10**15 - 1), (10**15 + 1, 0)]
    assert isinstance(found.records[1], RunPaused)
    assert found.until(3).state()
