"""Outside: what a step asked of the world, as spans of other libraries tell of it.

An attempt is known by the spans that stand under its own. This room reads what conventions for HTTP, for language
models and for databases say; of calls that a test can answer it gives what they were and what came back, of all others
a line of words. It calls nobody.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from otflow.records.execution import Execution
from otflow.records.semconv import ATTEMPT, INVOCATION_ID, SPAN_KIND
from otflow.records.spans import to_spans
from otflow.replay.messages import read_answer, read_question, read_tokens
from otflow.replay.stubs import HttpCall, ModelCall

__all__ = ["Call", "ForeignSpan", "find_calls"]

_URL = ("url.full", "http.url")
_METHOD = ("http.request.method", "http.method")
_STATUS = ("http.response.status_code", "http.status_code")
_MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_OPERATION = "gen_ai.operation.name"
_CHATS = {"chat", "text_completion", "generate_content"}
_SPEAKER = ("otel.scope.name", "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_UNCAUGHT = re.compile("aiohttp|tornado|httplib2|pycurl|grpc")
_OTHERS = ("db.system.name", "db.system", "messaging.system", "rpc.system.name", "rpc.system")
_DETAILS = (
    "db.query.text",
    "db.statement",
    "db.operation.name",
    "db.operation",
    "messaging.destination.name",
    "rpc.method",
)
_KINDS = {"RETRIEVER", "EMBEDDING", "RERANKER"}
_MAX_SHOWN = 200
_MAX_ASKED = 60


class ForeignSpan(Protocol):
    """A span of another library."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def span_id(self) -> int:
        """Its id."""

    @property
    def parent_id(self) -> int:
        """The id of the span that it stands under; 0 if there is none."""

    @property
    def start(self) -> int:
        """When it began, in nanoseconds since the epoch."""

    @property
    def attributes(self) -> Mapping[str, object]:
        """What it says."""


class Call(NamedTuple):
    """A call of the outside.

    Args:
        words: what it was, and what came back, in words.
        stub: what answers it in a test; None if a test has to say that itself.
    """

    words: str
    stub: HttpCall | ModelCall | None = None


def find_calls(execution: Execution, foreign: Iterable[ForeignSpan]) -> dict[tuple[int, int], list[Call]]:
    """Say what attempts asked of the outside, by invocation and number of the attempt, in order.

    What a call does beneath itself belongs to it: the requests of a model's client, and all that a server did.

    Args:
        execution: the run.
        foreign: spans of other libraries, in any order; those that are no calls are used to find the way only.
    """
    spans = {span.span_id: span for span in sorted(foreign, key=lambda span: span.start)}
    if not spans:
        return {}
    own = {
        span.span_id: (invocation, attempt)
        for span in to_spans(execution.records)
        if isinstance(invocation := span.attributes.get(INVOCATION_ID), int)
        and isinstance(attempt := span.attributes.get(ATTEMPT), int)
    }
    found = {id: call for id, span in spans.items() if (call := _read(span)) is not None}
    covering = {id for id, call in found.items() if call.stub is not None} | {
        id for id, span in spans.items() if _serves(span)
    }
    calls: defaultdict[tuple[int, int], list[Call]] = defaultdict(list)
    for id, call in found.items():
        place = _find_attempt(spans[id], spans, own, covering)
        if place is not None:
            calls[place].append(call)
    return dict(calls)


def _find_attempt(
    span: ForeignSpan,
    spans: Mapping[int, ForeignSpan],
    own: Mapping[int, tuple[int, int]],
    covering: set[int],
) -> tuple[int, int] | None:
    """Return the attempt that a span stands under; None if there is none, or if a call that is told stands between."""
    seen = set()
    at = span
    while at.parent_id not in own:
        seen.add(at.span_id)
        if at.parent_id not in spans or at.parent_id in seen or at.parent_id in covering:
            return None
        at = spans[at.parent_id]
    return own[at.parent_id]


def _serves(span: ForeignSpan) -> bool:
    """Tell whether a span is of a server: what stands beneath it happened in another place."""
    kind = span.attributes.get("span.kind")
    return kind in {"server", "consumer"} or (not kind and "http.route" in span.attributes)


def _read(span: ForeignSpan) -> Call | None:
    """Read a call; None if the span is of none."""
    attributes = span.attributes
    if _serves(span):
        return None
    model = _first(attributes, _MODEL)
    operation, kind = attributes.get(_OPERATION), attributes.get(SPAN_KIND)
    if (kind == "LLM" or operation in _CHATS) or (model and kind is None and operation is None):
        return _read_model(span, model)
    method = _first(attributes, _METHOD)
    if method:
        return _read_http(span, method)
    system = _first(attributes, _OTHERS)
    if system or kind in _KINDS or operation == "embeddings":
        detail = _first(attributes, _DETAILS)
        return Call(" ".join(filter(None, (f"{system or 'call'}:", span.name, _cut(detail)))))
    return None


def _read_http(span: ForeignSpan, method: str) -> Call:
    attributes = span.attributes
    url, status, error = _first(attributes, _URL), _first(attributes, _STATUS), _name_error(attributes)
    scope = f"{attributes.get('otel.scope.name', '')}"
    outcome = f" answered {status}" if status else f" failed with {error}" if error else ""
    words = f"{method} {_cut(url) or span.name}{outcome}"
    if not url or not (status.isdecimal() or error) or _UNCAUGHT.search(scope):
        return Call(f"{words}{f' (by {scope})' if scope else ''}")
    stub = HttpCall(method, url, int(status)) if status.isdecimal() else HttpCall(method, url, error=error)
    return Call(words, stub)


def _name_error(attributes: Mapping[str, object]) -> str:
    """Return the name of the exception with which a call failed; empty if it did not."""
    if attributes.get("otel.status_code") != "ERROR" and "error.type" not in attributes:
        return ""
    told = _first(attributes, ("error.type", "otel.status_description")).partition(":")[
        0
    ]  # the name, then what it says
    return told if re.fullmatch(r"[A-Za-z_][\w.]*", told) else "ConnectError"


def _read_model(span: ForeignSpan, model: str) -> Call:
    attributes = span.attributes
    asked, answer = read_question(attributes), read_answer(attributes)
    failed = _name_error(attributes)
    told = answer.text if answer is not None else _first(attributes, ("output.value", "gen_ai.completion"))
    words = f"{span.name}: the model {model or '?'}" + (f" answered {_cut(told)}" if told else "")
    speaker = " ".join(f"{attributes.get(key, '')}" for key in _SPEAKER).lower()
    if failed or not model or (speaker.strip() and "openai" not in speaker):
        return Call(f"{words}{' failed' if failed else ''}")
    question = " ".join(asked.text.split())[:_MAX_ASKED].rstrip() if asked is not None else ""
    text, tools = answer if answer is not None else ("", ())
    return Call(words, ModelCall(model, question, text, tools, read_tokens(attributes)))


def _first(attributes: Mapping[str, object], keys: Iterable[str]) -> str:
    return next((f"{attributes[key]}" for key in keys if attributes.get(key) not in (None, "")), "")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
