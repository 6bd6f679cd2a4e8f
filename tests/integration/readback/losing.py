"""Loss on the way: spans taken out of what a file or a server has, and what that leaves of each run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from random import Random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otflow.records.semconv import BRANCH, RECORDS, RUN_ID
from stack.servers import Jaeger, Phoenix
from tests.integration.reading import read_json, read_phoenix

__all__ = ["Sent", "draw_loss", "read_sent", "thin_file", "thin_jaeger", "thin_phoenix"]


@dataclass(frozen=True)
class Sent:
    """Spans of runs by id, each with its run and the branch of it; and the trace of the last one."""

    spans: Mapping[str, tuple[str, str]]
    last: str

    def leaves(self, lost: AbstractSet[str]) -> dict[str, bool]:
        """Tell of each run whether something is left of each process that went on with it; `lost` are ids of spans."""
        before, after = defaultdict(set), defaultdict(set)
        for span, (run, branch) in self.spans.items():
            before[run].add(branch)
            if span not in lost:
                after[run].add(branch)
        return {run: after[run] == branches for run, branches in before.items()}


def _requests(file: Path) -> Iterator[ExportTraceServiceRequest]:
    data, start = file.read_bytes(), 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4])
        yield ExportTraceServiceRequest.FromString(data[start + 4 : end])
        start = end


def read_sent(file: Path) -> Sent:
    """Read which spans a relay passed on."""
    spans, last = {}, ""
    for request in _requests(file):
        for group in request.resource_spans:
            for scope in group.scope_spans:
                for span in scope.spans:
                    found = {each.key: each.value.string_value for each in span.attributes}
                    if RUN_ID in found and RECORDS in found:
                        spans[span.span_id.hex()] = found[RUN_ID], found.get(BRANCH, "")
                        last = span.trace_id.hex()
    return Sent(spans, last)


def draw_loss(sent: Sent, dice: Random, share: float = 0.1) -> frozenset[str]:
    """Choose the spans that are lost."""
    return frozenset(span for span in sorted(sent.spans) if dice.random() < share)


def thin_file(file: Path, lost: AbstractSet[str], out: Path) -> Path:
    """Write what a relay wrote down, without the spans that are lost."""
    with out.open("wb") as target:
        for request in _requests(file):
            for group in request.resource_spans:
                for scope in group.scope_spans:
                    kept = [span for span in scope.spans if span.span_id.hex() not in lost]
                    del scope.spans[:]
                    scope.spans.extend(kept)
            data = request.SerializeToString()
            target.write(len(data).to_bytes(4) + data)
    return out


def thin_jaeger(jaeger: Jaeger, service: str, lost: AbstractSet[str], out: Path) -> Path:
    """Write what Jaeger answers of a service, without the spans that are lost."""
    answer = read_json(f"{jaeger.url}/api/traces", service=service, limit="20000", lookback="2h")
    for each in answer["data"]:
        each["spans"] = [span for span in each["spans"] if span["spanID"].zfill(16) not in lost]
    out.write_text(json.dumps(answer), encoding="utf-8")
    return out


def thin_phoenix(phoenix: Phoenix, project: str, lost: AbstractSet[str], out: Path) -> Path:
    """Write what Phoenix answers of a project, without the spans that are lost."""
    spans = [span for span in read_phoenix(phoenix, project) if span["context"]["span_id"] not in lost]
    out.write_text(json.dumps({"data": spans, "next_cursor": None}), encoding="utf-8")
    return out
