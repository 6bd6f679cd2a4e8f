"""What Jaeger shows, by both its query interfaces.

Inside it has one kind of span for both, which knows no arrays (they become JSON) and no attributes of links. The older
interface tells times in microseconds, and a link to the parent in the place of the parent.
"""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stack.servers import Jaeger
from tests.integration.readback.seen import Seen, attribute, compact
from tests.integration.reading import read_json

__all__ = ["blur", "blur_v3", "find", "find_v3", "read", "read_v3", "show", "show_v3"]

OWN = {"internal.span.format", "otel.scope.name", "otel.scope.version", "span.kind", "w3c.tracestate"}
"""Tags that Jaeger adds to each span."""
STATUS = {"error", "otel.status_code", "otel.status_description"}
"""Tags by which the older interface tells a status."""


def blur_v3(sent: Seen) -> Seen:
    """Give what the newer interface can know of a span."""
    known = {key: compact(value) if isinstance(value, list) else value for key, value in sent.attributes.items()}
    return replace(sent, attributes=known)


def blur(sent: Seen) -> Seen:
    """Give what the older interface can know of a span: less."""
    start = sent.start // 1000 * 1000
    return replace(
        blur_v3(sent),
        parent="" if (sent.trace, sent.parent) in sent.links else sent.parent,
        start=start,
        end=start + (sent.end - sent.start) // 1000 * 1000,
        events=[(name, at // 1000 * 1000, attributes) for name, at, attributes in sent.events],
    )


def read(jaeger: Jaeger, trace: str) -> list[dict]:
    """Give a trace as the older interface tells it: a list of one, or of none."""
    try:
        return read_json(f"{jaeger.url}/api/traces/{trace}")["data"]
    except urllib.error.HTTPError as answer:
        answer.close()
        return []


def find(jaeger: Jaeger, service: str, **tags: object) -> set[str]:
    """Give the ids of traces of a service of which one span has all these tags."""
    wanted = json.dumps({key: str(value).lower() if value is True else str(value) for key, value in tags.items()})
    found = read_json(f"{jaeger.url}/api/traces", service=service, tags=wanted, limit="100", lookback="1h")
    return {trace["traceID"].zfill(32) for trace in found["data"]}


def show(trace: Mapping[str, list]) -> Iterator[Seen]:
    """Translate a trace of the older interface."""
    for span in trace["spans"]:
        tags = {tag["key"]: tag["value"] for tag in span["tags"]}
        to = [(each["refType"], each["traceID"].zfill(32), each["spanID"].zfill(16)) for each in span["references"]]
        yield Seen(
            span["operationName"],
            span["traceID"].zfill(32),
            span["spanID"].zfill(16),
            next((span_id for kind, _, span_id in to if kind == "CHILD_OF"), ""),
            span["startTime"] * 1000,
            (span["startTime"] + span["duration"]) * 1000,
            {key: value for key, value in tags.items() if key not in OWN | STATUS},
            tags.get("error") is True and tags.get("otel.status_code") == "ERROR",
            str(tags.get("otel.status_description", "")),
            [_read_log(log) for log in span["logs"]],
            frozenset((trace_id, span_id) for kind, trace_id, span_id in to if kind == "FOLLOWS_FROM"),
        )


def _read_log(log: Mapping[str, object]) -> tuple[str, int, dict[str, object]]:
    fields = {each["key"]: each["value"] for each in log["fields"]}
    return fields.pop("event"), log["timestamp"] * 1000, fields


def read_v3(jaeger: Jaeger, trace: str) -> dict:
    """Give a trace as the newer interface tells it; nothing when there is none."""
    try:
        return read_json(f"{jaeger.url}/api/v3/traces/{trace}")["result"]
    except urllib.error.HTTPError as answer:
        answer.close()
        return {}


def find_v3(jaeger: Jaeger, service: str) -> dict:
    """Search for the traces of a service of the last hour with the newer interface."""
    now = datetime.now(UTC)
    times = {"min": now - timedelta(hours=1), "max": now + timedelta(minutes=1)}
    query = {f"query.start_time_{name}": f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()}
    query |= {"query.service_name": service, "query.num_traces": "100"}
    return read_json(f"{jaeger.url}/api/v3/traces", **query)["result"]


def show_v3(result: Mapping[str, list]) -> Iterator[Seen]:
    """Translate what the newer interface tells, which is OTLP-JSON."""
    for resource in result.get("resourceSpans", []):
        for scope in resource["scopeSpans"]:
            yield from map(_show_otlp, scope["spans"])


def _show_otlp(span: Mapping[str, object]) -> Seen:
    status, attributes = span.get("status", {}), _read_attributes(span)
    return Seen(
        span["name"],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        {key: value for key, value in attributes.items() if key not in OWN},
        status.get("code") == 2,
        status.get("message", ""),
        [(each["name"], int(each["timeUnixNano"]), _read_attributes(each)) for each in span.get("events", [])],
        frozenset((link["traceId"], link["spanId"]) for link in span.get("links", [])),
    )


def _read_attributes(of: Mapping[str, list]) -> dict[str, object]:
    return {each["key"]: attribute(each["value"]) for each in of.get("attributes", [])}
