"""A test that is written from a trace with other libraries' spans runs without a network: each call is answered."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict
from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInferenceInstrumentor
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as OpenTelemetryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otflow
from otflow.cli.app import main
from tests.instrumentation.launch import ROOT, surround
from tests.instrumentation.stub import answering

CLERK = '''
"""A clerk who looks something up, and asks a model about it."""

import httpx
from openai import AsyncOpenAI, OpenAI

from otflow import Context, Event, StartEvent, StopEvent, Workflow, step


class Page(Event):
    status: int
    text: str


class Note(Event):
    text: str
    url: str


class Clerk(Workflow):
    @step
    async def look(self, ctx: Context, ev: StartEvent) -> Page:
        await ctx.store.set("url", ev.url)
        async with httpx.AsyncClient() as client:
            found = await client.get(f"{ev.url}/tea?kind=green&token=0123456789abcdef")
            try:
                await client.get("http://127.0.0.1:9/closed")
            except httpx.ConnectError:
                return Page(status=found.status_code, text=found.text)

    @step
    async def ask(self, ctx: Context, ev: Page) -> Note:
        url = f"{await ctx.store.get('url')}/v1"
        async with httpx.AsyncClient() as http:
            async with AsyncOpenAI(base_url=url, api_key="none", http_client=http) as client:
                answer = await client.chat.completions.create(
                    model="small-1", messages=[{"role": "user", "content": f"What of {ev.text}?"}]
                )
        return Note(text=answer.choices[0].message.content, url=url)

    @step
    def stream(self, ev: Note) -> StopEvent:
        with OpenAI(base_url=ev.url, api_key="none") as client:
            parts = client.chat.completions.create(
                model="small-1", messages=[{"role": "user", "content": "And now?"}], stream=True
            )
            text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        return StopEvent(result=[ev.text, text])
'''

Write = Callable[[Path, Sequence[ReadableSpan]], None]


def write_protobuf(path: Path, spans: Sequence[ReadableSpan]) -> None:
    """Write what an exporter sends."""
    path.write_bytes(encode_spans(spans).SerializeToString())


def write_lines(path: Path, spans: Sequence[ReadableSpan]) -> None:
    """Write lines as the collector does: ids are hexadecimal, numbers stand for enumerations."""
    lines = []
    for span in spans:
        message = encode_spans([span])
        [told] = MessageToDict(message, use_integers_for_enums=True)["resourceSpans"][0]["scopeSpans"][0]["spans"]
        [known] = message.resource_spans[0].scope_spans[0].spans
        ids = {"traceId": known.trace_id, "spanId": known.span_id, "parentSpanId": known.parent_span_id}
        scope = {"name": span.instrumentation_scope.name}
        spans_told = [told | {name: value.hex() for name, value in ids.items()}]
        lines.append(msgspec.json.encode({"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": spans_told}]}]}))
    path.write_bytes(b"\n".join(lines))


@pytest.fixture
def clerk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give a module with a workflow that a test can import, in a folder that is the current one."""
    (tmp_path / "clerk.py").write_text(CLERK, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("clerk")
    del sys.modules["clerk"]


@pytest.fixture(params=[OpenTelemetryInstrumentor, OpenInferenceInstrumentor])
def _instrumented(
    request: pytest.FixtureRequest, provider: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Trace httpx, and the client of OpenAI in one way or the other, with what is said."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    kinds = [HTTPXClientInstrumentor(), request.param()]
    for kind in kinds:
        kind.instrument(tracer_provider=provider)
    yield
    for kind in kinds:
        kind.uninstrument()


def run_pytest() -> subprocess.CompletedProcess[str]:
    """Run the written test in a process in which nothing is instrumented, and which may leave the machine nowhere."""
    plugins = [
        word for name in ("asyncio", "logfire", "cacheprovider", "anyio", "otflow") for word in ("-p", f"no:{name}")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, "test_clerk.py"]
    environment = surround(PYTHONPATH=os.pathsep.join([str(ROOT), "."]), PYTHONIOENCODING="utf-8")
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(("name", "write"), [("run.binpb", write_protobuf), ("run.jsonl", write_lines)])
@pytest.mark.usefixtures("_instrumented")
def test_recorded_calls_are_answered(
    clerk: ModuleType,
    exporter: InMemorySpanExporter,
    capsys: pytest.CaptureFixture[str],
    name: str,
    write: Write,
) -> None:
    """From a file of OTLP `otflow test` writes a test that passes when the server is gone and bodies are filled in."""
    with answering() as stub:

        async def go() -> list[str]:
            return await clerk.Clerk().run(url=stub.url, run_id="monday")

        assert asyncio.run(go()) == ["Tea is ready."] * 2
    write(Path(name), exporter.get_finished_spans())
    assert otflow.open(name).run("monday").complete
    assert main(["test", name, "-o", "test_clerk.py", "--workflow", "clerk:Clerk"]) == 0
    assert "3 tests" in capsys.readouterr().out
    text = Path("test_clerk.py").read_text(encoding="utf-8")
    assert f'"{stub.url}/tea?kind=green&token=__REDACTED__"' in text
    assert '"http://127.0.0.1:9/closed", error="ConnectError"' in text
    assert text.count("ModelCall(") == 2
    assert "/chat/completions" not in text
    assert '"What of hello?"' in text

    for check in (["check"], ["format", "--diff"]):
        command = [sys.executable, "-m", "ruff", *check, "--isolated", "--no-cache", "test_clerk.py"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0

    first = run_pytest()
    assert "1 failed, 2 passed" in first.stdout, first.stdout + text  # nobody knows what the server said
    assert text.count('body=""') == 1
    Path("test_clerk.py").write_text(text.replace('body=""', 'body="hello"'), encoding="utf-8")
    second = run_pytest()
    assert "3 passed" in second.stdout, second.stdout + text

    changed = CLERK.replace("What of", "What about").replace("/tea?", "/milk?")
    Path("clerk.py").write_text(changed, encoding="utf-8")
    third = run_pytest()
    assert "It asked for GET" in third.stdout
    assert "1 failed, 2 passed" in third.stdout  # another question is asked, but there is only one answer
