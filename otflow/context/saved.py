"""The saved form of a context: one dict that JSON can hold, with a version.

A run inside it is the core's snapshot. The state is written by the serializer of the caller, events as JSON; an event
that JSON cannot say in full makes saving fail, because a run without it could not go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from otflow.errors import ContextSerdeError
from otflow.records.body import Body

__all__ = ["SavedContext", "StreamItem", "pack_context", "repack_context", "unpack_context"]

_FORMAT = 1


class StreamItem(msgspec.Struct):
    """An event of the stream that nobody has read yet."""

    type: str
    body: Any


class SavedContext(msgspec.Struct, omit_defaults=True):
    """A context between two runs, or in the middle of one (`run`)."""

    otflow_context: int
    is_running: bool
    state: dict[str, Any]
    run: dict[str, Any] | None = None
    leftovers: dict[str, Any] | None = None
    stream: list[StreamItem] = []


def pack_context(
    state: dict[str, Any],
    *,
    run: Body | None,
    leftovers: Body | None,
    stream: Sequence[tuple[str, Body]],
) -> dict[str, Any]:
    """Write the parts of a context as one dict.

    Raises:
        ValueError: an event cannot be serialised.
    """
    saved = SavedContext(_FORMAT, run is not None, state)
    if run is not None:
        saved.run = msgspec.json.decode(_checked(run, "a queued or running event"))
    if leftovers is not None:
        saved.leftovers = msgspec.json.decode(_checked(leftovers, "a collected event"))
    saved.stream = [
        StreamItem(kind, msgspec.json.decode(_checked(body, f"the streamed {kind}"))) for kind, body in stream
    ]
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(saved))
    return data


def repack_context(state: dict[str, Any], saved: SavedContext) -> dict[str, Any]:
    """Write saved data again that no run has taken up yet, with the state of now."""
    again = msgspec.structs.replace(saved, state=state)
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(again))
    return data


def unpack_context(data: object) -> SavedContext:
    """Read the parts of a context.

    Raises:
        ContextSerdeError: the data is of another shape or version.
    """
    version = data.get("otflow_context") if isinstance(data, dict) else None
    if version != _FORMAT:
        found = f"version {version}" if version is not None else "no version"
        raise ContextSerdeError(
            f"This is no context data that otflow {_FORMAT} can read: it has {found} under 'otflow_context'. Data of "
            "another library or release cannot be taken over; start a new run instead."
        )
    try:
        return msgspec.json.decode(msgspec.json.encode(data), type=SavedContext)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ContextSerdeError(
            f"Context data is damaged: {error}. It has to be what Context.to_dict() gave, unchanged."
        ) from error


def _checked(body: Body, what: str) -> bytes:
    if body.opaque:
        where = _find_opaque(msgspec.json.decode(body.whole))
        raise ValueError(
            f"The context cannot be saved: {what} has a part that cannot be serialised{where}. "
            "Give that field a type that JSON can hold, or exclude it from the event."
        )
    return body.whole


def _find_opaque(value: object, event: str = "", way: str = "") -> str:
    """Say of which class the first part that could not be serialised is, and where in which event it stands."""
    parts: Iterable[tuple[object, object]] = ()
    match value:
        case {"$opaque": str(kind)}:
            return ": " + " of ".join(filter(None, (f"a {kind}", way and f"at {way}", event)))
        case {"type": str(event), "body": body}:
            return _find_opaque(body, event)
        case dict():
            parts = value.items()
        case list():
            parts = enumerate(value)
        case _:
            pass
    return next((found for key, part in parts if (found := _find_opaque(part, event, f"{way}.{key}".strip(".")))), "")
