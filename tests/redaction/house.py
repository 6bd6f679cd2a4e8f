"""A house for runs that have something to hide: all that leaves it is gathered as one text."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow.dispatcher import Dispatcher
from otflow.records.capture import FULL, Capture
from otflow.records.codec import encode
from otflow.records.record import Record
from otflow.redaction import Redaction, Redactor
from otflow.sinks.spans import attach

OFF = object()


class House:
    """A dispatcher with a policy, whose records go into a list and, as spans, into memory."""

    def __init__(self, policy: Redaction | object = None, capture: Capture = FULL) -> None:
        self.dispatcher = Dispatcher()
        if policy is OFF:
            self.dispatcher.redact = None
        elif isinstance(policy, Redaction):
            self.dispatcher.redact = Redactor(policy)
        self.records: list[Record] = []
        self.dispatcher.attach(self.records.extend)
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.end = attach(self.dispatcher, provider, capture)

    def spans(self) -> list[ReadableSpan]:
        """Return the finished spans."""
        return list(self.exporter.get_finished_spans())

    def step(self, name: str) -> ReadableSpan:
        """Return the only span of a step."""
        [span] = [span for span in self.spans() if span.name == f"step {name}"]
        return span

    def of(self, kind: type) -> list[Any]:
        """Return the records of a kind."""
        return [record for record in self.records if isinstance(record, kind)]

    def journal(self) -> str:
        """Return all records as JSON."""
        return "\n".join(encode(record).decode() for record in self.records)

    def text(self) -> str:
        """Return all that has left: records as JSON, as `repr`, and all that spans say."""
        told = [self.journal(), *map(repr, self.records)]
        for span in self.spans():
            told += [span.name, str(span.status.description), repr(dict(span.attributes or {})), span.to_json()]
            for event in span.events:
                told += [event.name, repr(dict(event.attributes or {}))]
            told += [repr(dict(link.attributes or {})) for link in span.links]
        return "\n".join(told)
