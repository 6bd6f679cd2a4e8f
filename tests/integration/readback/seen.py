"""What was sent, and what a backend shows of it, in the same words, so that they can be compared.

Each backend has an adapter that turns its answers into these; what the backend cannot hold is left out there, and said.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otflow.records.codec import decode
from otflow.records.record import Record
from otflow.records.semconv import PENDING, RUN_ID
from otflow.records.span import SpanData
from otflow.records.spans import from_spans, to_spans
from stack.recipes import ROOT
from tests.integration.reading import unique

__all__ = ["Seen", "Told", "attribute", "compact", "expect", "of_runs", "records_of", "tell"]


@dataclass(frozen=True)
class Seen:
    """A span; times are nanoseconds since the epoch, ids are in hexadecimal, `parent` is empty for a root."""

    name: str
    trace: str
    span: str
    parent: str
    start: int
    end: int
    attributes: Mapping[str, object]
    error: bool = False
    message: str = ""
    events: Sequence[tuple[str, int, Mapping[str, object]]] = ()
    links: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it stands: trace, parent, name."""
        return self.trace, self.parent, self.name


@dataclass(frozen=True)
class Told:
    """A story that was sent: the service (and project) it is found under, its records, and its spans by id."""

    service: str
    records: Sequence[Record]
    spans: Mapping[str, Seen]

    def run(self, workflow: str) -> str:
        """Give the id of the first run of a workflow."""
        return next(each.run for each in self.records if getattr(each, "workflow", "") == workflow)

    def named(self, name: str) -> list[Seen]:
        """Give the spans of a name, in the order of their start."""
        return sorted((each for each in self.spans.values() if each.name == name), key=lambda each: each.start)


def tell(story: str, endpoint: str, protocol: str, folder: Path, service: str = "") -> Told:
    """Run a story in a process of its own, which sends its spans by otflow's pipeline, and tell what it sent.

    Args:
        story: a name in `program.STORIES`.
        endpoint: the base URL of who takes OTLP.
        protocol: "http/protobuf" or "grpc".
        folder: where the process may write.
        service: name of service and project; default one that nobody else has.
    """
    service = service or unique(story)
    told = folder / f"{service}.jsonl"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={service}",
    }
    module = "tests.integration.readback.program"
    command = [sys.executable, "-W", "error", "-m", module, story, endpoint, protocol, str(told)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [decode(line) for line in told.read_bytes().splitlines()]
    return Told(service, records, {each.span: each for each in expect(records)})


def expect(records: Iterable[Record]) -> list[Seen]:
    """Give the spans that records become."""
    return [_translate(span) for span in to_spans(records)]


def _translate(span: SpanData) -> Seen:
    trace = f"{span.trace_id:032x}"
    return Seen(
        span.name,
        trace,
        f"{span.span_id:016x}",
        f"{span.parent_id:016x}" if span.parent_id else "",
        span.start,
        span.end,
        {key: list(value) if isinstance(value, tuple) else value for key, value in span.attributes.items()},
        span.status == "error",
        span.status_message,
        [(each.name, each.at, dict(each.attributes)) for each in span.events],
        frozenset((f"{link.trace_id:032x}" if link.trace_id else trace, f"{link.span_id:016x}") for link in span.links),
    )


def records_of(spans: Iterable[Seen]) -> list[Record]:
    """Read the records of spans, as whoever reads traces would."""
    return from_spans(spans)


def of_runs(spans: Iterable[Seen]) -> dict[str, Seen]:
    """Give the spans of runs by id: not those of others, and no marks of what was still open on a slow machine."""
    return {each.span: each for each in spans if RUN_ID in each.attributes and PENDING not in each.attributes}


def attribute(value: Mapping[str, object]) -> object:
    """Read a value of OTLP-JSON."""
    [(kind, given)] = value.items()
    match kind, given:
        case "intValue", _:
            return int(str(given))
        case "doubleValue", _:
            return float(str(given))
        case "arrayValue", {"values": list(values)}:
            return [attribute(each) for each in values]
        case "arrayValue", _:
            return []
        case _:
            return given


def compact(value: object) -> str:
    """Write JSON as short as it gets, as Jaeger does with arrays."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
