"""Messages: what was said to a language model and what it answered, as spans of other libraries tell it.

There are several ways to write it: GenAI of OpenTelemetry, its older attributes with a number for each message, and
OpenInference. This room reads attributes and knows nothing of calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

__all__ = ["Said", "read_answer", "read_question", "read_tokens"]

_TOKENS = (
    ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
)
_MANY = 1000  # messages of a conversation


class Said(NamedTuple):
    """A message.

    Args:
        text: its text.
        tools: the tools that it asks for: name and arguments as JSON.
    """

    text: str
    tools: tuple[tuple[str, str], ...] = ()


def read_question(attributes: Mapping[str, object]) -> Said | None:
    """Return the last message to a model; None if the span does not have it."""
    found = _read_parts(attributes.get("gen_ai.input.messages"), last=True)
    for form in ("llm.input_messages.{}.message", "gen_ai.prompt.{}"):
        numbers = [place for place in range(_MANY) if f"{form.format(place)}.role" in attributes]
        found = found or (_read_numbered(attributes, form.format(numbers[-1])) if numbers else None)
    return found


def read_answer(attributes: Mapping[str, object]) -> Said | None:
    """Return what a model answered; None if the span does not have it."""
    return (
        _read_parts(attributes.get("gen_ai.output.messages"), last=False)
        or _read_numbered(attributes, "llm.output_messages.0.message")
        or _read_numbered(attributes, "gen_ai.completion.0")
    )


def read_tokens(attributes: Mapping[str, object]) -> tuple[int, int]:
    """Return how many tokens went in and came out; zeros where nobody says."""
    used, made = (next((_count(attributes[key]) for key in keys if key in attributes), 0) for keys in _TOKENS)
    return used, made


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 53 else 0


def _read_parts(value: object, *, last: bool) -> Said | None:
    """Read messages made of parts, which come as JSON or as they are."""
    messages = _load(value)
    message = messages[-1 if last else 0] if isinstance(messages, list) and messages else None
    parts = message.get("parts") if isinstance(message, dict) else None
    if not isinstance(parts, list):
        return None
    known = [part for part in parts if isinstance(part, dict)]
    text = "".join(f"{part.get('content') or ''}" for part in known if part.get("type") == "text")
    tools = [(f"{part.get('name')}", _dump(part.get("arguments"))) for part in known if part.get("type") == "tool_call"]
    return Said(text, tuple(tools)) if text or tools else None


def _read_numbered(attributes: Mapping[str, object], start: str) -> Said | None:
    """Read a message whose parts are attributes of their own."""
    texts = [attributes.get(f"{start}.content")]
    texts += [attributes.get(f"{start}.contents.{place}.message_content.text") for place in range(_MANY)]
    text = "".join(each for each in texts if isinstance(each, str))
    tools = []
    for form in (f"{start}.tool_calls.{{}}.tool_call.function", f"{start}.tool_calls.{{}}"):
        place = 0
        while (name := attributes.get(f"{form.format(place)}.name")) is not None:
            tools.append((f"{name}", _dump(attributes.get(f"{form.format(place)}.arguments"))))
            place += 1
    return Said(text, tuple(tools)) if text or tools else None


def _load(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _dump(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value if value is not None else {}).decode()
