"""Spans in the words of those who keep them: the collector, protobuf, Jaeger by both its interfaces, and Phoenix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otflow.records.span import SpanData

FOREIGN = {"http.method": "GET", "http.status_code": 200, "ratio": 0.5, "otflow.like": True}
"""Attributes of a span of another library."""


def foreign(place: int) -> SpanData:
    """Give a span of another library."""
    return SpanData(f"GET {place}", 7, place + 1, 0, 0, 1, FOREIGN)


# --- OTLP ----------------------------------------------------------------------------------------------------------


def otlp_value(value: object) -> dict[str, object]:
    """Write a value as OTLP-JSON has it."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case tuple() | list():
            return {"arrayValue": {"values": [otlp_value(each) for each in value]}}
        case _:
            return {"stringValue": value}


def otlp_span(span: SpanData) -> dict[str, object]:
    """Write a span as OTLP-JSON has it."""
    return {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        "parentSpanId": f"{span.parent_id:016x}" if span.parent_id else "",
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": [{"key": key, "value": otlp_value(value)} for key, value in span.attributes.items()],
        "status": {},
    }


def otlp(spans: Iterable[SpanData]) -> dict[str, object]:
    """Write spans as one object of OTLP-JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scope = {"scope": {"name": "otflow"}, "spans": [otlp_span(span) for span in spans]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def write_lines(path: Path, spans: Sequence[SpanData], size: int = 3) -> None:
    """Write a file as the collector's exporter does: one object for each batch."""
    batches = [spans[start : start + size] for start in range(0, len(spans), size)]
    path.write_text("".join(json.dumps(otlp(batch)) + "\n" for batch in batches), encoding="utf-8")


def write_otlp_document(path: Path, spans: Sequence[SpanData]) -> None:
    """Write one object over many lines."""
    path.write_text(json.dumps(otlp(spans), indent=2), encoding="utf-8")


# --- protobuf ------------------------------------------------------------------------------------------------------


def any_value(value: object) -> AnyValue:
    """Write a value as protobuf has it."""
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case tuple() | list():
            return AnyValue(array_value=ArrayValue(values=[any_value(each) for each in value]))
        case _:
            return AnyValue(string_value=str(value))


def request(spans: Iterable[SpanData]) -> bytes:
    """Write spans as one request."""
    found = [
        Span(
            name=span.name,
            trace_id=span.trace_id.to_bytes(16),
            span_id=span.span_id.to_bytes(8),
            parent_span_id=span.parent_id.to_bytes(8) if span.parent_id else b"",
            start_time_unix_nano=span.start,
            attributes=[KeyValue(key=key, value=any_value(value)) for key, value in span.attributes.items()],
        )
        for span in spans
    ]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=found)])]
    ).SerializeToString()


def varint(number: int) -> bytes:
    """Write a length as protobuf does."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def write_request(path: Path, spans: Sequence[SpanData]) -> None:
    """Write one request."""
    path.write_bytes(request(spans))


def write_delimited(path: Path, spans: Sequence[SpanData], size: int = 3) -> None:
    """Write requests, each with its length before it as protobuf does."""
    batches = [request(spans[start : start + size]) for start in range(0, len(spans), size)]
    path.write_bytes(b"".join(varint(len(batch)) + batch for batch in batches))


def write_framed(path: Path, spans: Sequence[SpanData], size: int = 3) -> None:
    """Write requests, each with its length before it as the collector does."""
    batches = [request(spans[start : start + size]) for start in range(0, len(spans), size)]
    path.write_bytes(b"".join(len(batch).to_bytes(4) + batch for batch in batches))


# --- servers -------------------------------------------------------------------------------------------------------


def write_jaeger(path: Path, spans: Sequence[SpanData]) -> None:
    """Write what Jaeger's page downloads: times in microseconds, arrays as JSON, types beside values."""
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64", tuple: "string"}
    found = [
        {
            "traceID": f"{span.trace_id:032x}",
            "spanID": f"{span.span_id:016x}",
            "operationName": span.name,
            "references": [
                {"refType": "CHILD_OF", "traceID": f"{span.trace_id:032x}", "spanID": f"{span.parent_id:016x}"}
            ][: 1 if span.parent_id else 0],
            "startTime": span.start // 1000,
            "duration": (span.end - span.start) // 1000,
            "tags": [
                {
                    "key": key,
                    "type": kinds[type(value)],
                    "value": json.dumps(value) if isinstance(value, tuple) else value,
                }
                for key, value in span.attributes.items()
            ],
            "logs": [],
            "processID": "p1",
        }
        for span in spans
    ]
    traces = [
        {"traceID": trace, "spans": [each for each in found if each["traceID"] == trace], "processes": {"p1": {}}}
        for trace in sorted({str(each["traceID"]) for each in found})
    ]
    path.write_text(json.dumps({"data": traces, "total": 0, "errors": None}, indent=1), encoding="utf-8")


def write_jaeger_newer(path: Path, spans: Sequence[SpanData]) -> None:
    """Write what Jaeger's newer interface answers."""
    path.write_text(json.dumps({"result": otlp(spans)}), encoding="utf-8")


def write_phoenix(path: Path, spans: Sequence[SpanData]) -> None:
    """Write what Phoenix answers."""
    data = [
        {
            "name": span.name,
            "context": {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"},
            "parent_id": f"{span.parent_id:016x}" if span.parent_id else None,
            "span_kind": "UNKNOWN",
            "start_time": datetime.fromtimestamp(span.start / 1e9, UTC).isoformat(),
            "attributes": dict(span.attributes),
        }
        for span in spans
    ]
    path.write_text(json.dumps({"data": data, "next_cursor": None}), encoding="utf-8")


FORMATS: dict[str, Callable[[Path, Sequence[SpanData]], None]] = {
    "lines.jsonl": write_lines,
    "document.json": write_otlp_document,
    "request.pb": write_request,
    "delimited.pb": write_delimited,
    "framed.pb": write_framed,
    "jaeger.json": write_jaeger,
    "jaeger-newer.json": write_jaeger_newer,
    "phoenix.json": write_phoenix,
}
"""How spans are written, by the name of a file."""
