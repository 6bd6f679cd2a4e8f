"""What tests with other people's instrumentations share: a provider, a server to talk to, and no complaints."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otflow.dispatcher import default_dispatcher
from otflow.telemetry import configure
from tests.instrumentation.stub import Stub, answering
from tests.instrumentation.tree import Tree


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Answer requests."""
    with answering() as stub:
        yield stub


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keep what is exported."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter) -> Iterator[TracerProvider]:
    """Trace all runs, and whatever else is given this provider."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    undo = configure(tracer_provider=provider)
    yield provider
    undo()


@pytest.fixture
def tree(exporter) -> Tree:
    """Look at what was exported so far."""
    return Tree(exporter.get_finished_spans)


@pytest.fixture(autouse=True)
def _no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither OpenTelemetry nor otflow has anything to say, as it would of a context that cannot be detached."""
    failures = len(default_dispatcher.failures)
    yield
    said = [
        record.getMessage()
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if record.name.startswith(("opentelemetry", "otflow")) and record.levelno >= logging.WARNING
    ]
    assert said == []
    assert len(default_dispatcher.failures) == failures
