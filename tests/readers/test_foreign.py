"""What other libraries recorded below the steps of a run comes back with the run, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import otflow
import otflow.readers
from otflow import StartEvent, StopEvent, Workflow, step
from otflow.journal import Journal
from otflow.readers import Execution, ForeignSpan, read_foreign
from otflow.readers import foreign as room
from otflow.records.record import Record
from otflow.records.span import SpanData
from otflow.records.spans import to_spans
from otflow.telemetry import configure
from otflow.testing import capture_records
from tests.laws.strategies import histories
from tests.readers.test_servers import serve
from tests.readers.writing import FORMATS, otlp, write_jaeger, write_phoenix

TEXTS = {"http.request.method": "GET", "url.full": 'http://x.example/"ü"', "http.response.status_code": 200}
VALUES = {**TEXTS, "ratio": 0.5, "ok": True}


class Fetch(Workflow):
    @step
    async def fetch(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def record() -> list[Record]:
    """Record a run."""

    async def main() -> None:
        await Fetch().run(run_id="fetch-1")

    with capture_records() as records:
        asyncio.run(main())
    return records


def below(spans: list[SpanData]) -> SpanData:
    """Give the span of an attempt."""
    return next(span for span in spans if span.invocation)


def make(id: int, above: SpanData | int, trace: int = 0, **attributes: object) -> SpanData:
    """Make a span of another library, under a span of otflow or under another one."""
    parent = above if isinstance(above, int) else above.span_id
    trace = trace or (0 if isinstance(above, int) else above.trace_id)
    return SpanData(f"call {id}", trace, id, parent, 1_000_000_000 + id * 1000, 0, attributes or VALUES)


def seen(found: tuple[ForeignSpan, ...]) -> dict[int, int]:
    """Give the ids that were found, each with the one above it."""
    return {span.span_id: span.parent_id for span in found}


def kept(attributes: Mapping[str, object]) -> dict[str, object]:
    """Give the attributes of a span but those that readers add."""
    return {key: value for key, value in attributes.items() if key in VALUES}


def story() -> tuple[Execution, list[SpanData], dict[int, int]]:
    """Give a run, its spans between those of other libraries, and which of these stand below its step, and where."""
    execution = Execution(record())
    own = to_spans(execution.records)
    step, segment = below(own), next(span for span in own if not span.invocation)
    trace = step.trace_id
    inner = [
        msgspec.structs.replace(span, trace_id=trace, parent_id=2 if span.parent_id == 0 else span.parent_id)
        for span in to_spans([msgspec.structs.replace(each, run="inner") for each in execution.records])
    ]
    others = [
        make(1, step),
        make(2, 1, trace),
        make(3, below(inner).span_id, trace),
        make(4, segment),  # above the step
        make(5, 404, trace),  # under something that is not there
        make(6, 7, trace),  # a circle
        make(7, 6, trace),
        make(8, step, trace + 1),  # of another trace
        make(9, 0, trace),
    ]
    return execution, [*own, *inner, *others], {1: step.span_id, 2: 1, 3: 2}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_stands_below_a_step_is_given(tmp_path: Path, name: str) -> None:
    """In whatever form and order they come, and twice, spans below the step are given with all they say; others not."""
    execution, spans, expected = story()
    for seed in range(5):
        mixed = [*spans, *spans[::2]]
        Random(seed).shuffle(mixed)
        FORMATS[name](tmp_path / name, mixed)
        source = otflow.open(tmp_path / name)
        assert source.run("fetch-1") == execution
        found = read_foreign(source, execution)
        assert seen(found.spans) == expected
        assert [kept(span.attributes) for span in found.spans] == [VALUES] * 3
        assert [(span.name, span.start) for span in found.spans] == [
            (f"call {id}", 1_000_000_000 + id * 1000) for id in (1, 2, 3)
        ]
        assert found.faults == ()


def test_spans_in_memory_are_looked_through() -> None:
    """Of spans that are given as they are, those of otflow or of the SDK, the same is told."""
    execution, spans, expected = story()
    assert seen(read_foreign(otflow.open(spans), execution).spans) == expected
    assert read_foreign(otflow.open(execution.records), execution).spans == ()
    odd = [type("Odd", (), {"name": "x", "attributes": {}})()]
    assert read_foreign(otflow.open([*execution.records, *odd]), execution) == ((), ())


async def test_spans_of_the_sdk_say_all() -> None:
    """A span that user code makes within a step is found, with its kind, its scope and its error."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("library")

    class Mine(Workflow):
        @step
        async def call(self, ev: StartEvent) -> StopEvent:
            with tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
                span.set_status(StatusCode.ERROR, "no line")
            return StopEvent()

    undo = configure(tracer_provider=provider)
    try:
        with tracer.start_as_current_span("of the caller"):  # the run stands in this trace
            await Mine().run(run_id="mine")
    finally:
        undo()
    source = otflow.open(exporter.get_finished_spans())
    [span] = read_foreign(source, source.run("mine")).spans
    assert span.attributes == {
        "a": 1,
        "span.kind": "client",
        "otel.scope.name": "library",
        "otel.status_code": "ERROR",
        "otel.status_description": "no line",
    }


@pytest.mark.parametrize("kind", ["jaeger", "newer", "phoenix"])
def test_servers_are_asked_for_the_trace(tmp_path: Path, kind: str) -> None:
    """A server is asked for the traces of the run, and gives what stands below its steps."""
    execution, spans, expected = story()
    trace = f"{below(spans).trace_id:032x}"
    write_jaeger(tmp_path / "jaeger", [span for span in spans if f"{span.trace_id:032x}" == trace])
    write_phoenix(tmp_path / "phoenix", spans)

    def answer(path: str, query: dict[str, str]) -> object:
        match kind, path:
            case "jaeger", "/api/services":
                return {"data": ["shop"]}
            case "newer", "/api/v3/services":
                return {"services": ["shop"]}
            case "phoenix", "/v1/projects":
                return {"data": [{"id": "p", "name": "p"}], "next_cursor": None}
        if (kind, path) == ("jaeger", f"/api/traces/{trace}"):
            return (tmp_path / "jaeger").read_bytes()
        if (kind, path) == ("newer", f"/api/v3/traces/{trace}"):
            return {"result": otlp(spans)}
        if (kind, path) == ("phoenix", "/v1/projects/p/spans"):
            assert query.get("trace_id", trace) == trace
            return (tmp_path / "phoenix").read_bytes()
        return 404

    with serve(answer) as url:
        source = otflow.open(url)
        found = source.run("fetch-1")
        assert found == execution
        assert seen(read_foreign(source, found).spans) == expected


def test_what_otlp_has_no_attribute_for_is_one(tmp_path: Path) -> None:
    """Kind, scope and error are told as attributes; values that hold others come as they are."""
    execution = Execution(record())
    spans = to_spans(execution.records)
    document = otlp([*spans, make(1, below(spans), a=1)])
    [scope] = document["resourceSpans"][0]["scopeSpans"]
    [*_, last] = scope["spans"]
    last |= {"kind": 3, "status": {"code": 2, "message": "no line"}}
    nested = {"kvlistValue": {"values": [{"key": "b", "value": {"arrayValue": {"values": [{"intValue": "-2"}]}}}]}}
    last["attributes"] += [{"key": "deep", "value": nested}, {"key": 5}, 7, {"key": "odd", "value": {}}]
    wrong = [
        {"kvlistValue": {"values": [{"key": "b", "value": 5}, 5]}},
        {"arrayValue": {"values": 5}},
        {"intValue": "x"},
    ]
    last["attributes"] += [{"key": f"wrong{place}", "value": value} for place, value in enumerate(wrong)]
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(document))
    [span] = read_foreign(otflow.open(tmp_path / "run.json"), execution).spans
    assert span.attributes == {
        "a": 1,
        "deep": {"b": [-2]},
        "odd": None,
        "wrong0": {"b": None},
        "wrong1": [],
        "wrong2": "x",
        "span.kind": "client",
        "otel.scope.name": "otflow",
        "otel.status_code": "ERROR",
        "otel.status_description": "no line",
    }


def test_phoenix_tells_kinds_and_nests(tmp_path: Path) -> None:
    """Phoenix has the kind beside the attributes, and some versions make objects and lists of dots."""
    execution = Execution(record())
    spans = to_spans(execution.records)
    write_phoenix(tmp_path / "p.json", [*spans, make(1, below(spans))])
    document = msgspec.json.decode((tmp_path / "p.json").read_bytes())
    document["data"][-1] |= {
        "span_kind": "LLM",
        "status_code": "ERROR",
        "status_message": "no",
        "attributes": {"llm": {"output_messages": [{"message": {"content": "hi"}}], "tags": ["a"]}},
    }
    (tmp_path / "p.json").write_bytes(msgspec.json.encode(document))
    [span] = read_foreign(otflow.open(tmp_path / "p.json"), execution).spans
    assert span.attributes == {
        "llm.output_messages.0.message.content": "hi",
        "llm.tags": ["a"],
        "openinference.span.kind": "LLM",
        "otel.status_code": "ERROR",
        "otel.status_description": "no",
    }


def test_a_journal_has_none(tmp_path: Path) -> None:
    """A journal holds the records of otflow alone."""
    records = record()
    journal = Journal(tmp_path / "runs.db")
    journal(records)
    journal.close()
    source = otflow.open(tmp_path / "runs.db")
    assert read_foreign(source, source.run("fetch-1")) == ((), ())


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than is kept the rest is left out, and that is said."""
    execution = Execution(record())
    spans = to_spans(execution.records)
    many = [make(place, below(spans), text="x" * 100) for place in range(1, 21)]
    FORMATS["lines.jsonl"](tmp_path / "lines.jsonl", [*spans, *many])
    source = otflow.open(tmp_path / "lines.jsonl")
    monkeypatch.setattr(room, "_MOST", 5)
    found = read_foreign(source, execution)
    assert len(found.spans) == 5
    assert found.faults[0].startswith("15 spans of other libraries were left out")
    monkeypatch.setattr(room, "_MOST", 100)
    monkeypatch.setattr(room, "_MOST_BYTES", 1000)
    assert 0 < len(read_foreign(source, execution).spans) < 10


def test_a_long_way_is_no_trouble() -> None:
    """However deep a span stands, it is found in reasonable time."""
    execution = Execution(record())
    spans = to_spans(execution.records)
    step = below(spans)
    chain = [make(1, step), *(make(id, id - 1, step.trace_id) for id in range(2, 20_000))]
    assert len(read_foreign(otflow.open([*spans, *chain]), execution).spans) == 19_999


@settings(max_examples=30)
@given(histories(inputs=20), st.randoms(use_true_random=False))
def test_gaps_do_no_harm(records: list[Record], dice) -> None:
    """Of a run of which records are missing, what stands below its known attempts is given, or less."""
    some = [each for each in records if dice.random() < 0.7] or records[:1]
    spans = to_spans(records)
    others = [make(place + 1, span) for place, span in enumerate(spans) if span.invocation]
    found = read_foreign(otflow.open([*spans, *others]), Execution(some))
    assert {span.span_id for span in found.spans} <= {span.span_id for span in others}


def hostile() -> st.SearchStrategy[object]:
    """Draw JSON with the names that matter, and ids that match, in all kinds of wrong places."""
    names = (
        "resourceSpans scopeSpans scope spans attributes key value intValue arrayValue kvlistValue values data result "
        "traceId spanId parentSpanId traceID spanID operationName references refType tags context trace_id span_id "
        "start_time status code kind name otflow.run.id startTimeUnixNano startTime parent_id CHILD_OF"
    )
    keys = st.sampled_from(names.split())
    leaf = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | keys | st.just("ab")
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6))


@settings(max_examples=300)
@given(st.lists(hostile(), min_size=1, max_size=3))
def test_hostile_json_is_survived(tmp_path_factory: pytest.TempPathFactory, documents: list[object]) -> None:
    """JSON with the right names in the wrong places gives spans or none, or is refused, and never anything else."""
    path = tmp_path_factory.getbasetemp() / "foreign.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, documents)))
    kin = room.Kin(frozenset({0xAB}), frozenset(), frozenset({0, 1, 0xAB}))
    try:
        found = room.gather(otflow.open(path)._sketch(kin, []), kin, [])
    except otflow.readers.ReaderError:
        return
    assert all(span.trace_id == 0xAB for span in found.spans)


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_flipped_bytes_are_survived(
    tmp_path_factory: pytest.TempPathFactory, name: str, flips: list[tuple[int, int]]
) -> None:
    """Of a file in which some bytes are others, what stands below the step is given, or less, or it is refused."""
    path = tmp_path_factory.getbasetemp() / name
    execution, spans, expected = story()
    FORMATS[name](path, spans)
    changed = bytearray(path.read_bytes())
    for place, byte in flips:
        changed[place % len(changed)] = byte  # how long the file is differs from time to time
    path.write_bytes(changed)
    try:
        found = read_foreign(otflow.open(path), execution)
    except otflow.readers.ReaderError:
        return
    assert len(found.spans) <= len(spans)
    assert expected
