"""What tests ask of the servers: small questions, each answered with plain data."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from stack.process import poll
from stack.servers import Jaeger, Phoenix, Prometheus

T = TypeVar("T")


def unique(name: str) -> str:
    """Make a name that no other test has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def wait_for(question: Callable[[], T], patience: float = 180.0) -> T:
    """Ask until the answer is true in the sense of Python, and give it; fail when `patience` seconds are over.

    A server that cannot answer yet, or says that what is asked for is not there, is asked again.
    """
    answers: list[T] = []
    faults: list[Exception] = []

    def ask() -> bool:
        try:
            answers[:] = [question()]
        except OSError as fault:
            faults[:] = [fault]
            if isinstance(fault, urllib.error.HTTPError):
                fault.close()
            return False
        return bool(answers[0])

    if not poll(ask, patience):
        raise AssertionError(f"nothing after {patience:.0f} s; the last answer: {answers}, the last fault: {faults}")
    return answers[0]


def wait_for_spans(question: Callable[[], Iterable[dict] | None], number: int, patience: float = 180.0) -> list[dict]:
    """Ask for spans until there are as many as are expected, or more; spans of a trace come one after another."""

    def ask() -> list[dict]:
        found = list(question() or ())
        return found if len(found) >= number else []

    return wait_for(ask, patience)


def read_json(url: str, **query: str) -> dict[str, object]:
    """Read a JSON object from a URL."""
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
        return json.load(answer)


def read_text(url: str, accept: str = "*/*") -> str:
    """Read text from a URL."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=30) as answer:
        return answer.read().decode()


# --- Jaeger ---------------------------------------------------------------------------------------------------


def read_jaeger(jaeger: Jaeger, service: str, **query: str) -> dict[str, list[dict]]:
    """Give the spans that Jaeger has of a service, by trace id."""
    answer = read_json(f"{jaeger.url}/api/traces", service=service, **{"limit": "20000", "lookback": "1h", **query})
    return {trace["traceID"].zfill(32): trace["spans"] for trace in answer["data"]}


def span_ids(traces: Mapping[str, list[dict]]) -> set[str]:
    """Give the ids of spans as Jaeger tells them."""
    return {span["spanID"].zfill(16) for spans in traces.values() for span in spans}


def tags(span: Mapping[str, list[dict]]) -> dict[str, object]:
    """Give the tags of a span of Jaeger's legacy API by key."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


# --- Phoenix --------------------------------------------------------------------------------------------------


def read_phoenix(phoenix: Phoenix, project: str) -> list[dict]:
    """Give all spans of a project, page by page; none when there is no such project yet."""
    spans: list[dict] = []
    cursor: dict[str, str] = {}
    while True:
        answer = read_json(f"{phoenix.url}/v1/projects/{project}/spans", limit="1000", **cursor)
        spans += answer["data"]
        if not answer.get("next_cursor"):
            return spans
        cursor = {"cursor": answer["next_cursor"]}


# --- Prometheus -----------------------------------------------------------------------------------------------


def ask_prometheus(prometheus: Prometheus, query: str) -> list[dict]:
    """Give the result of an instant query, without looking at warnings."""
    answer = read_json(f"{prometheus.url}/api/v1/query", query=query)
    return answer["data"]["result"]


# --- the collector's file -------------------------------------------------------------------------------------


def read_archive(archive: Path, service: str) -> Iterator[dict]:
    """Give the spans of a service that stand in a collector's file, with their attributes by key."""
    if not archive.exists():
        return
    for line in archive.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            if attributes(resource["resource"]).get("service.name") == service:
                for scope in resource["scopeSpans"]:
                    yield from scope["spans"]


def attributes(holder: Mapping[str, list[dict]]) -> dict[str, object]:
    """Give the attributes of a span or resource in OTLP-JSON by key; numbers are as the file has them, as text."""
    return {each["key"]: next(iter(each["value"].values()), None) for each in holder.get("attributes", ())}
