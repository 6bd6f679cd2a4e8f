"""What Phoenix shows, by REST and by GraphQL.

It keeps no links, no resource and no scope, and times in microseconds. The kind of a span stands beside its attributes,
and the JSON of `metadata` is read, so that its values stand under `metadata.`.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from stack.servers import Phoenix
from tests.integration.readback.seen import Seen

__all__ = ["ask", "blur", "read_project", "read_spans", "show"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PROJECT = """query ($name: String!) { getProjectByName(name: $name) {
  id recordCount traceCount
  sessions(first: 100) { edges { node {
    sessionId numTraces numTracesWithError userId firstInput { value } traces(first: 100) { edges { node { traceId } } }
  } } }
  spans(first: 1000) { edges { node {
    id name spanId parentId spanKind statusCode statusMessage startTime endTime attributes metadata userId numChildSpans
    input { value mimeType } output { value mimeType } events { name message timestamp attributes }
    trace { traceId numSpans errorCount rootSpan { spanId } session { sessionId } }
  } } }
} }"""


def show(span: Mapping[str, object]) -> Seen:
    """Translate a span as the REST interface tells it."""
    context, attributes = span["context"], dict(span["attributes"])
    kind = span["span_kind"]
    return Seen(
        span["name"],
        context["trace_id"],
        context["span_id"],
        span["parent_id"] or "",
        _moment(span["start_time"]),
        _moment(span["end_time"]),
        {**attributes, "openinference.span.kind": kind},
        span["status_code"] == "ERROR",
        span["status_message"],
        [(each["name"], _moment(each["timestamp"]), each["attributes"]) for each in span["events"]],
    )


def blur(sent: Seen) -> Seen:
    """Give what Phoenix can know of a span; its times are left out, because it works them out with floats."""
    known = dict(sent.attributes)
    known |= {f"metadata.{key}": value for key, value in json.loads(known.pop("metadata", "{}")).items()}
    events = [(name, 0, attributes) for name, _, attributes in sent.events]
    return replace(sent, start=0, end=0, attributes=known, events=events, links=frozenset())


def ask(phoenix: Phoenix, query: str, **variables: object) -> dict:
    """Ask by GraphQL."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{phoenix.url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    assert not found.get("errors"), found["errors"]
    return found["data"]


def read_project(phoenix: Phoenix, name: str) -> dict:
    """Give what GraphQL tells of a project; lists are plain lists."""
    return _unfold(ask(phoenix, _PROJECT, name=name)["getProjectByName"])


def read_spans(project: Mapping[str, list]) -> Iterator[Seen]:
    """Translate the spans of a project as GraphQL tells them."""
    for span in project["spans"]:
        yield Seen(
            span["name"],
            span["trace"]["traceId"],
            span["spanId"],
            span["parentId"] or "",
            _moment(span["startTime"]),
            _moment(span["endTime"]),
            _flatten(json.loads(span["attributes"])),
            span["statusCode"] == "ERROR",
            span["statusMessage"],
            [(each["name"], _moment(each["timestamp"]), each["attributes"]) for each in span["events"]],
        )


def _moment(text: str) -> int:
    """Read a time, in nanoseconds; a float would not hold it."""
    passed = datetime.fromisoformat(text) - _EPOCH
    return ((passed.days * 86400 + passed.seconds) * 1_000_000 + passed.microseconds) * 1000


def _unfold(value: object) -> object:
    """Make plain lists of the pages of GraphQL."""
    match value:
        case {"edges": list(edges)}:
            return [_unfold(edge["node"]) for edge in edges]
        case dict():
            return {key: _unfold(inner) for key, inner in value.items()}
        case list():
            return [_unfold(inner) for inner in value]
        case _:
            return value


def _flatten(value: Mapping[str, object], head: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, inner in value.items():
        found.update(_flatten(inner, f"{head}{key}.") if isinstance(inner, dict) else {head + key: inner})
    return found
