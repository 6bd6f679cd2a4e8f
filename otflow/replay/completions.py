"""Completions: what a model answered, in the form in which the client of OpenAI takes it over HTTP.

It knows forms only, and neither who asks nor how a request comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from otflow.errors import OtflowError

__all__ = ["Answer", "UnknownFormError", "complete"]


class UnknownFormError(OtflowError):
    """A model is asked in a form that is not known."""


class Answer(Protocol):
    """What a model answered."""

    @property
    def model(self) -> str:
        """The name of the model."""

    @property
    def answered(self) -> str:
        """The text."""

    @property
    def tools(self) -> Sequence[tuple[str, str]]:
        """The tools that it asks for: name and arguments as JSON."""

    @property
    def tokens(self) -> tuple[int, int]:
        """How many tokens went in and came out."""


def complete(answer: Answer, path: str, asked: Mapping[str, object]) -> tuple[bytes, Mapping[str, str]]:
    """Write an answer in the form that was asked for; return the body and its headers.

    Args:
        answer: the answer.
        path: the path of the URL.
        asked: what was asked.

    Raises:
        UnknownFormError: it is a form that is not known here.
    """
    streamed = asked.get("stream") is True
    if path.endswith("/chat/completions") and streamed:
        lines = [*(msgspec.json.encode(each) for each in _stream(answer, asked)), b"[DONE]"]
        return b"".join(b"data: %s\n\n" % line for line in lines), {"content-type": "text/event-stream"}
    if path.endswith("/chat/completions"):
        return _json(_chat(answer))
    if path.endswith("/responses") and not streamed:
        return _json(_response(answer))
    raise UnknownFormError(
        f"It asked a model at {path}{', streamed' if streamed else ''}: only chat completions of OpenAI, and its "
        "responses in one piece, can be answered by a ModelCall. Put an HttpCall with the body of the answer there."
    )


def _json(value: object) -> tuple[bytes, Mapping[str, str]]:
    return msgspec.json.encode(value), {"content-type": "application/json"}


def _chat(answer: Answer) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": answer.answered or None}
    if answer.tools:
        message["tool_calls"] = _tools(answer)
    choice: dict[str, object] = {"index": 0, "message": message, "finish_reason": _reason(answer), "logprobs": None}
    return _frame(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}


def _stream(answer: Answer, asked: Mapping[str, object]) -> list[dict[str, object]]:
    frame = _frame(answer, "chat.completion.chunk")
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": answer.answered}] if answer.answered else []
    deltas += [{"tool_calls": [{"index": place} | tool]} for place, tool in enumerate(_tools(answer))]
    choices: list[dict[str, object]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _reason(answer)})
    chunks = [frame | {"choices": [choice]} for choice in choices]
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        chunks.append(frame | {"choices": [], "usage": _usage(answer)})
    return chunks


def _frame(answer: Answer, kind: str) -> dict[str, object]:
    return {"id": "recorded", "object": kind, "created": 0, "model": answer.model}


def _tools(answer: Answer) -> list[dict[str, object]]:
    return [
        {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, (name, arguments) in enumerate(answer.tools)
    ]


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.tools else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    used, made = answer.tokens
    return {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made}


def _response(answer: Answer) -> dict[str, object]:
    output: list[dict[str, object]] = []
    if answer.answered:
        content = {"type": "output_text", "text": answer.answered, "annotations": []}
        told: dict[str, object] = {"role": "assistant", "status": "completed", "content": [content]}
        output.append({**told, "type": "message", "id": "message_0"})
    for place, (name, arguments) in enumerate(answer.tools):
        ids = {"id": f"item_{place}", "call_id": f"call_{place}", "status": "completed"}
        output.append({**ids, "type": "function_call", "name": name, "arguments": arguments})
    used, made = answer.tokens
    usage = {
        "input_tokens": used,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used + made,
    }
    return {
        "id": "recorded",
        "object": "response",
        "created_at": 0,
        "model": answer.model,
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }
