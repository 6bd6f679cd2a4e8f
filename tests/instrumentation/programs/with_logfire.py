"""A program whose telemetry is Logfire's: prints what its exporter got, for each of two configurations."""

from __future__ import annotations

import asyncio
import json
import sys

import logfire
from logfire.testing import TestExporter
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.instrumentation.programs.shop import main


def configure() -> TestExporter:
    """Let Logfire export to memory, spans that are pending too."""
    exporter = TestExporter()
    logfire.configure(
        send_to_logfire=False,
        console=False,
        inspect_arguments=False,
        service_name="shop",
        additional_span_processors=[SimpleSpanProcessor(exporter)],
    )
    return exporter


async def request() -> None:
    """Run the workflow within a span of Logfire."""
    with logfire.span("request {path}", path="/order"):
        assert await main(sys.argv[1]) == ["hello", "hello"]
    assert not trace.get_current_span().get_span_context().is_valid


first = configure()
logfire.instrument_httpx()
asyncio.run(request())
second = configure()
asyncio.run(request())
print(
    json.dumps(
        [
            [
                {
                    "name": span.name,
                    "scope": span.instrumentation_scope.name,
                    "id": span.context.span_id,
                    "trace": span.context.trace_id,
                    "parent": span.parent.span_id if span.parent else 0,
                    "pending": span.attributes.get("logfire.span_type") == "pending_span",
                    "real": span.attributes.get("logfire.pending_parent_id", ""),
                    "service": span.resource.attributes["service.name"],
                    "attributes": dict(span.attributes),
                }
                for span in exporter.exported_spans
            ]
            for exporter in (first, second)
        ]
    )
)
