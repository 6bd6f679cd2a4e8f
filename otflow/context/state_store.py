"""The state of a run, and the store through which steps read and write it.

Every write is reported to one listener, so that whoever records the reports can build the state again by
`apply_write`. This room knows models, locks and serializers; it knows no run, no step and no record.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar, cast

from pydantic import BaseModel, ValidationError

from otflow.context.class_names import DeserializationError
from otflow.context.serializers import BaseSerializer, SerializationError
from otflow.context.state_paths import (
    DELETED,
    MAX_DEPTH,
    StatePathError,
    apply_write,
    get_by_path,
    set_by_path,
)
from otflow.context.state_undo import Snapshot, entries, pour
from otflow.errors import OtflowError, WorkflowRuntimeError
from otflow.events import DictLikeModel

__all__ = [
    "DELETED",
    "MAX_DEPTH",
    "DictState",
    "InMemoryStateStore",
    "StateDefaultsError",
    "StatePathError",
    "StateTypeError",
    "UnserializableKeyWarning",
    "apply_write",
    "get_by_path",
    "make_state",
    "set_by_path",
]

_DATA = "_data"
_MAY_BE_LEFT_OUT = ("memory",)
"""Keys under which known agents keep objects that cannot always be serialised."""


class DictState(DictLikeModel):
    """The state of a workflow that declares none: any keys, any values.

    Example:
        >>> state = DictState(count=1)
        >>> state["name"] = "Ada"
        >>> state.count, state["name"]
        (1, 'Ada')
    """


StateT = TypeVar("StateT", bound=BaseModel)


class StateDefaultsError(WorkflowRuntimeError, ValueError):
    """A state cannot be made, because its class has a field without a default."""


class StateTypeError(OtflowError, ValueError):
    """A state was given that is not of the class of the one it is to replace."""


class UnserializableKeyWarning(UserWarning):
    """A key was left out when the state was saved, because its value cannot be serialised."""


def make_state(kind: type[StateT]) -> StateT:
    """Make the state that a run begins with.

    Args:
        kind: its class.

    Raises:
        WorkflowRuntimeError: a field of the class has no default.
    """
    try:
        return kind()
    except (TypeError, ValidationError) as error:
        raise StateDefaultsError(
            f"State must have defaults for all fields, but {kind.__name__}() fails: {error}. "
            f"Give every field of {kind.__module__}.{kind.__qualname__} a default."
        ) from error


class InMemoryStateStore(Generic[StateT]):
    """Holds one state, and lets many steps read and write it.

    Values are not copied: who changes a list that `get` returned changes the state, unseen by the listener.

    Args:
        initial_state: the state.
        written: called after each write with its path and value: ("a.b", 1) for `set`; ("", state) for
            `set_state` and `clear`; for an edit, one call for each top-level key that it changed, with
            `DELETED` as the value of a key that it removed. Default None. It can be set later.
    """

    def __init__(self, initial_state: StateT, written: Callable[[str, object], None] | None = None) -> None:
        self.written = written
        self._state = initial_state
        # how many hold the lock or wait for it; while there are any, everyone goes the long way
        self._claims = 0
        self._lock: asyncio.Lock | None = None
        self._editor: asyncio.Task[object] | None = None
        self._snapshot: Snapshot | None = None
        self._plain: dict[str, object] | None = None
        self._open_short_way()

    @property
    def state_type(self) -> type[StateT]:
        """The class of the state."""
        return type(self._state)

    @property
    def current(self) -> StateT:
        """The state itself, as the task that runs may see it; to look at, not to change."""
        return self._visible()

    @property
    def lock_free(self) -> bool:
        """Whether nobody edits the state, so that a write would not have to wait."""
        return self._claims == 0

    async def get(self, path: str, default: object = ...) -> Any:  # the type is that of what was put there
        """Return what stands at a path; never waits.

        Args:
            path: keys, indexes and names with dots between them.
            default: what to return when nothing stands there; default `...`: something has to.

        Raises:
            ValueError: nothing stands there, and no default was given.
        """
        plain = self._plain
        if plain is not None and path in plain and "." not in path:
            return plain[path]
        return get_by_path(self._visible(), path, default)

    async def set(self, path: str, value: object) -> None:
        """Put a value at a path; dicts are made where the way to it is missing.

        Args:
            path: keys, indexes and names with dots between them.
            value: what to put there; a declared field validates it.

        Raises:
            ValueError: the path is empty, too long, or ends where nothing can be put.
            pydantic.ValidationError: a declared field does not take the value.
        """
        plain = self._plain
        if plain is not None and path and "." not in path:
            plain[path] = value
            if self.written is not None:
                self.written(path, value)
            return

        def put() -> object:
            set_by_path(self._state, path, value)
            return value

        await self._write(path, put)

    async def get_state(self) -> StateT:
        """Return a shallow copy of the state: its own keys, but the same values."""
        return self._visible().model_copy()

    async def set_state(self, state: StateT) -> None:
        """Put another state in the place of this one.

        Args:
            state: a state of the same class, or of a subclass; or of a base class: then its fields only.

        Raises:
            ValueError: it is of another class.
        """
        await self._write("", lambda: self._replace(_fit(state, self._state)))

    async def clear(self) -> None:
        """Make the state anew, with the defaults of its class.

        Raises:
            WorkflowRuntimeError: a field of the class has no default.
        """
        await self._write("", lambda: self._replace(make_state(self.state_type)))

    @asynccontextmanager
    async def edit_state(self) -> AsyncIterator[StateT]:
        """Give the state for an edit of several steps, which counts as a whole or not at all.

        While it lasts, writes of other tasks wait, and other tasks read the state as it was. When the body
        raises, everything it did is taken back, also what it did by `set`; objects that are no dicts, lists,
        sets, models or dataclasses stay as they are.
        """
        if self._editing():
            part = Snapshot(self._state)
            try:
                yield self._state
            except BaseException:  # a cancelled edit is taken back too
                self._state = cast("StateT", part.restore())
                raise
            return
        await self._claim()
        try:
            self._editor, self._snapshot = _running_task(), (snapshot := Snapshot(self._state))
            try:
                yield self._state
            except BaseException:  # a cancelled edit is taken back too
                self._state = cast("StateT", snapshot.restore())
                raise
            finally:
                self._editor = self._snapshot = None
            # still alone, so that reports come in the order of the writes
            for path, value in _changes(snapshot, self._state):
                self._report(path, value)
        finally:
            self._release()

    def to_dict(self, serializer: BaseSerializer) -> dict[str, object]:
        """Return the state as plain data: by key for a `DictState`, as a whole for any other class.

        Args:
            serializer: writes the values.

        Raises:
            ValueError: a value cannot be written; the message names its key.
        """
        state = self._visible()
        kind = type(state)
        data = _dump_keys(state, serializer) if kind is DictState else serializer.serialize(state)
        return {"state_type": kind.__name__, "state_module": kind.__module__, "state_data": data}

    @classmethod
    def from_dict(
        cls,
        serialized_state: Mapping[str, object],
        serializer: BaseSerializer,
        written: Callable[[str, object], None] | None = None,
    ) -> Self:
        """Make a store from what `to_dict` returned.

        Args:
            serialized_state: the data; empty for an empty `DictState`.
            serializer: reads the values; it has to know the class of the state.
            written: as for the class.

        Raises:
            ContextSerdeError: the data is not of that shape, or its values cannot be read.
        """
        return cls(cast("StateT", _load_state(serialized_state, serializer)), written)

    # ---- one writer at a time ----

    def _editing(self) -> bool:
        """Tell whether the task that runs is the one that edits."""
        return self._editor is not None and self._editor is _running_task()

    def _visible(self) -> StateT:
        """Return the state as the task that runs may see it."""
        if self._snapshot is None or self._editing():
            return self._state
        return cast("StateT", self._snapshot.view())

    async def _write(self, path: str, change: Callable[[], object]) -> None:
        """Do a write that gives the value to report, as soon as nobody else writes."""
        if self._editing():
            change()  # a part of the edit, which reports when it ends
        elif self._claims:
            await self._claim()
            try:
                self._report(path, change())
            finally:
                self._release()
        else:
            value = change()
            self._open_short_way()
            self._report(path, value)

    async def _claim(self) -> None:
        """Wait until nobody else writes; `_release` ends what this begins."""
        self._plain = None
        self._claims += 1
        # a lock belongs to the loop in which somebody first waited for it, a store to no loop
        self._lock = self._lock or asyncio.Lock()
        try:
            await self._lock.acquire()
        except BaseException:  # who was cancelled waits no longer
            self._claims -= 1
            self._open_short_way()
            raise

    def _release(self) -> None:
        assert self._lock is not None  # _claim made it, and it stays while there are claims
        self._lock.release()
        self._claims -= 1
        self._open_short_way()

    def _open_short_way(self) -> None:
        """Let plain keys of a plain state be read and written at once, while nobody edits."""
        if self._claims == 0:
            self._lock = None
            state: BaseModel = self._state
            self._plain = state.to_dict() if type(state) is DictState else None

    def _replace(self, state: StateT) -> StateT:
        if self._snapshot is not None and type(state) is self.state_type:
            pour(state, self._state)  # the editor goes on with the object that it has
        else:
            self._state = state
        return self._state

    def _report(self, path: str, value: object) -> None:
        if self.written is not None:
            self.written(path, value)


def _running_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop: somebody drives the coroutine by hand
        return None


def _fit(state: BaseModel, current: StateT) -> StateT:
    """Return a copy of a state, as one that may stand in the place of the current one."""
    kind = type(current)
    if isinstance(state, kind):
        return state.model_copy()
    if not isinstance(state, BaseModel) or not issubclass(kind, type(state)):
        raise StateTypeError(
            f"State must be of type {kind.__name__} or a parent type, got {type(state).__name__}. "
            "The class of the state is the one in the steps' annotation Context[...]."
        )
    return kind.model_validate(entries(current) | entries(state), by_alias=True, by_name=True)


def _changes(snapshot: Snapshot, state: BaseModel) -> list[tuple[str, object]]:
    """Return what an edit has to report."""
    changed = snapshot.changes(state)
    now = entries(state)
    gone = [key for key in snapshot.entries() if key not in now]
    # a key that reads like a path would be taken for one: then the whole state is reported
    if changed is None or any(not isinstance(key, str) or not key or "." in key for key in (*changed, *gone)):
        return [("", state)]
    return [*changed.items(), *((key, DELETED) for key in gone)]


def _dump_keys(state: BaseModel, serializer: BaseSerializer) -> dict[str, dict[str, str]]:
    dump: dict[str, str] = {}
    for key, value in entries(state).items():
        try:
            dump[key] = serializer.serialize(value)
        except Exception as error:  # a serializer of a user may raise anything
            if key not in _MAY_BE_LEFT_OUT:
                raise SerializationError(f"Failed to serialize state value for key {key}: {error}") from error
            warnings.warn(
                f"The state's key '{key}' is left out, because it cannot be serialised; set it again after loading.",
                UnserializableKeyWarning,
                stacklevel=3,
            )
    return {_DATA: dump}


def _load_state(data: Mapping[str, object], serializer: BaseSerializer) -> BaseModel:
    dump = data.get("state_data") if isinstance(data, Mapping) else None
    if isinstance(data, Mapping) and not data:
        return DictState()
    if isinstance(dump, Mapping) and isinstance(dump.get(_DATA), Mapping):
        return DictState(**{_DATA: {key: _load_key(key, each, serializer) for key, each in dump[_DATA].items()}})
    state = serializer.deserialize(dump) if isinstance(dump, str) else None
    if isinstance(state, BaseModel):
        return state
    raise DeserializationError(
        f"This is no saved state: {data!r:.200}. Give what to_dict() of a state store returned, and the "
        "serializer that it was given."
    )


def _load_key(key: str, text: str, serializer: BaseSerializer) -> object:
    try:
        return serializer.deserialize(text)
    except Exception as error:  # a serializer of a user may raise anything
        raise DeserializationError(f"Failed to deserialize state value for key {key}: {error}") from error
