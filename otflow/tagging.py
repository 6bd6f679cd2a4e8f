"""What runs belong to: a conversation, a user, tags. Said around the code that starts them.

Who uses OpenInference has said it there already, in the OpenTelemetry context; that is understood too. This room knows
context variables, and no run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context as otel

from otflow.errors import WorkflowConfigurationError
from otflow.records.body import Body
from otflow.records.record import About

__all__ = ["add_about", "find_about", "tagged"]

_MAX_TEXT = 256  # characters of a name
_MAX_TAGS = 64
_MAX_METADATA = 8192  # bytes of JSON
_CURRENT: ContextVar[About | None] = ContextVar("otflow_about", default=None)

# where OpenInference puts these
_SESSION, _USER, _TAGS, _METADATA = "session.id", "user.id", "tag.tags", "metadata"


@contextmanager
def tagged(
    *,
    session: str = "",
    user: str = "",
    tags: Iterable[str] = (),
    metadata: Mapping[str, object] | None = None,
) -> Iterator[None]:
    """Say what the runs belong to that start within: in their `RunStarted`, and on the spans of their segments.

    Runs that their steps start inherit it, a run that is restored keeps what it began with, and one that is forked from
    another has that one's, with what is said here. An inner `tagged` adds
    to the one around it, and replaces its session and user if it names others.

    Args:
        session: the conversation, by which backends group traces; default "": each run is one of its own.
        user: the user; default "": nobody is named.
        tags: short words to filter by; default none.
        metadata: further values that JSON can say, up to 8 KiB; default none.

    Raises:
        WorkflowConfigurationError: an argument is of another kind than said above, or too long.

    Example:
        >>> import otflow
        >>> with otflow.tagged(session="chat-7", user="ada", tags=["beta"]):
        ...     pass  # await workflow.run(...)
    """
    around = _CURRENT.get()
    _CURRENT.set(_add(around or About(), session, user, tags, metadata))
    try:
        yield
    finally:
        # and not by its token, which would be refused where a generator ends in another context
        _CURRENT.set(around)


def find_about() -> About | None:
    """Return what a run belongs to that starts here, or None if nobody said."""
    found = _CURRENT.get()
    around = otel.get_current()
    if not around or not (_SESSION in around or _USER in around or _TAGS in around or _METADATA in around):
        return found
    tags, metadata = around.get(_TAGS), around.get(_METADATA)
    theirs = About(
        _name(around.get(_SESSION)),
        _name(around.get(_USER)),
        tuple(_name(tag) for tag in tags[:_MAX_TAGS]) if isinstance(tags, list | tuple) else (),
        _as_metadata(metadata),
    )
    if found is None:
        return theirs
    return About(
        found.session or theirs.session,
        found.user or theirs.user,
        found.tags or theirs.tags,
        found.metadata or theirs.metadata,
    )


def add_about(origin: About | None) -> About | None:
    """Return what a run belongs to that goes on from another one: what that one did, and what is said here.

    Args:
        origin: what the other one belongs to.

    Raises:
        WorkflowConfigurationError: both together are too long.
    """
    said = find_about()
    if origin is None or said is None:
        return said or origin
    return _add(origin, said.session, said.user, said.tags, _as_values(said.metadata.content) if said.metadata else {})


def _add(around: About, session: object, user: object, tags: object, metadata: object) -> About:
    """Add to what is said around; what is of another kind than it should be is refused, all at once."""
    faults = [
        f"{name}={value!r:.60} is no text of up to {_MAX_TEXT} characters"
        for name, value in (("session", session), ("user", user))
        if not _is_name(value)
    ]
    words: list[str] = list(around.tags)
    if not isinstance(tags, Iterable) or isinstance(tags, str):
        faults.append(f"tags={tags!r:.60} is no list of words")
    else:
        added = list(tags)
        faults += [f"tag={tag!r:.60} is no text of up to {_MAX_TEXT} characters" for tag in added if not _is_name(tag)]
        words += [tag for tag in added if tag not in words]
        if len(words) > _MAX_TAGS:
            faults.append(f"there are {len(words)} tags, and {_MAX_TAGS} are the most")
    values = _as_values(around.metadata.content) if around.metadata is not None else {}
    if metadata is not None and not (isinstance(metadata, Mapping) and all(isinstance(key, str) for key in metadata)):
        faults.append(f"metadata={metadata!r:.60} is no mapping from names to values")
    elif metadata:
        values |= metadata
    body = Body(values) if values else None
    if body is not None and (len(body.json) > _MAX_METADATA or body.opaque):
        faults.append(f"metadata has {len(body.json)} bytes of JSON; up to {_MAX_METADATA} bytes of plain values fit")
    if faults:
        raise WorkflowConfigurationError(f"tagged(): {'; '.join(faults)}.")
    return About(str(session or around.session), str(user or around.user), tuple(words), body)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _as_values(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, dict) else {}


def _name(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _as_metadata(value: object) -> Body | None:
    """Read the metadata of OpenInference: JSON, or what it is made of; None if that is no object, or too large."""
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(read, dict) or not read:
        return None
    body = Body(read)
    body.fix()
    return body if len(body.json) <= _MAX_METADATA else None
