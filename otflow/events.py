"""Events: the typed messages that steps take and give. They belong to the user.

An event is a pydantic model: declared fields are validated, undeclared keywords are kept beside them and
have a mapping face of their own. This room knows nothing of runs, steps or records.
"""

from __future__ import annotations

import builtins
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, field_serializer, field_validator

from otflow.errors import UnreconstructedException

__all__ = [
    "DictLikeModel",
    "Event",
    "EventType",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "StartEvent",
    "StepFailedEvent",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "UnhandledEvent",
    "UnreconstructedException",
    "WorkflowCancelledEvent",
    "WorkflowFailedEvent",
    "WorkflowIdleEvent",
    "WorkflowTimedOutEvent",
    "read_event",
]

_DATA = "_data"
_MISSING = object()


class DictLikeModel(BaseModel):
    """A pydantic model that also carries undeclared keywords.

    Attribute access sees declared fields and undeclared keywords; the mapping face (`[]`, `get`, `in`, `keys`,
    `len`, iteration, `to_dict`) sees the undeclared ones only. It is always true in a condition, even when empty.
    """

    model_config = ConfigDict(
        extra="allow",
        arbitrary_types_allowed=True,
        # JSON has no words for these; text keeps them, and pydantic reads it back
        ser_json_inf_nan="strings",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        # an event inside an event is written with the fields of its own class, not only with the declared ones
        polymorphic_serialization=True,
        # JSON has the names of fields, and who makes an event may have only their aliases
        validate_by_name=True,
        validate_by_alias=True,
    )

    if not TYPE_CHECKING:
        # The typed constructor stays pydantic's for type checkers. At run time this is BaseModel.__init__ with one
        # addition on the rare path: keywords that are private attributes, and `_data`, find their places.
        def __init__(self, /, **params):
            __tracebackhide__ = True
            self.__pydantic_validator__.validate_python(params, self_instance=self)
            if self.__pydantic_extra__:
                _settle_extras(self, self.__pydantic_extra__)

    @property
    def _undeclared(self) -> dict[str, Any]:
        extra = self.__pydantic_extra__
        if extra is None:  # model_construct() leaves it unset
            extra = {}
            object.__setattr__(self, "__pydantic_extra__", extra)
        return extra

    def __getitem__(self, key: str) -> Any:
        return self._undeclared[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._undeclared[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self._undeclared

    def __len__(self) -> int:
        return len(self._undeclared)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # the followed API iterates over keys
        return iter(self._undeclared)

    def __bool__(self) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """Return the undeclared value under `key`, or `default`."""
        return self._undeclared.get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the undeclared keys."""
        return self._undeclared.keys()

    def values(self) -> ValuesView[Any]:
        """Return the undeclared values."""
        return self._undeclared.values()

    def items(self) -> ItemsView[str, Any]:
        """Return the undeclared items."""
        return self._undeclared.items()

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the undeclared keywords as a dict."""
        return self._undeclared

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        """Return the declared fields, and the undeclared ones under `_data` when there are any.

        Args:
            **kwargs: as for `pydantic.BaseModel.model_dump`.
        """
        dump = super().model_dump(**kwargs)
        nested = {key: dump.pop(key) for key in self._undeclared if key in dump}
        if nested:
            dump[_DATA] = nested
        return dump


def _settle_extras(model: DictLikeModel, extra: dict[str, Any]) -> None:
    """Move what `model_dump` nested under `_data`, and private attributes, to where they belong."""
    nested = extra.pop(_DATA, None)
    if isinstance(nested, Mapping):
        extra.update(nested)
    private = type(model).__private_attributes__
    for key in [key for key in extra if key in private]:
        setattr(model, key, extra.pop(key))


class Event(DictLikeModel):
    """The base of all events.

    Args:
        **params: declared fields (validated), private attributes, and any other keyword (kept as it is).

    Raises:
        pydantic.ValidationError: a declared field is missing or has the wrong type.

    Example:
        >>> class Joke(Event):
        ...     text: str
        >>> joke = Joke(text="...", rating=3)
        >>> joke.text, joke.rating, joke.get("rating"), joke.get("text")
        ('...', 3, 3, None)
    """


class StartEvent(Event):
    """The event that starts a run; subclass it to declare the inputs of a workflow."""


class StopEvent(Event):
    """The event that ends a run.

    The result of a run is `result` for a plain StopEvent, and the event itself for a subclass.

    Args:
        result: the result of the run; default None.
        **params: as for `Event`.
    """

    result: Any = None

    if not TYPE_CHECKING:

        def __init__(self, result=_MISSING, /, **params):
            if result is not _MISSING:
                params["result"] = result
            super().__init__(**params)

    def _get_result(self) -> Any:
        """Return what `await handler` gives; subclasses may override it."""
        return self.result if type(self) is StopEvent else self

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        """Return the fields; a subclass that does not use `result` does not show it."""
        dump = super().model_dump(**kwargs)
        if type(self) is not StopEvent and "result" not in self.model_fields_set:
            dump.pop("result", None)
        return dump


class InputRequiredEvent(Event):
    """A question to the outside: returning it from a step writes it to the stream."""


class HumanResponseEvent(Event):
    """An answer from the outside; a step may accept it although no step produces it."""


class StepFailedEvent(Event):
    """What a `@catch_error` handler receives when a step has no retries left.

    Args:
        step_name: the step that failed.
        input_event: the event it was working on.
        exception: what its last attempt raised.
        attempts: how many attempts were made (the first is 1).
        elapsed_seconds: seconds from the start of the first attempt to the last failure.
        failed_at: time of the last failure, in seconds since the epoch.
    """

    step_name: str
    input_event: Event
    exception: Exception
    attempts: int
    elapsed_seconds: float
    failed_at: float

    @field_serializer("exception")
    def _dump_exception(self, error: Exception) -> dict[str, str]:
        return describe_exception(error)

    @field_validator("exception", mode="before")
    @classmethod
    def _load_exception(cls, value: object) -> object:
        return _revive_exception(value) if isinstance(value, Mapping) else value


class WorkflowTimedOutEvent(StopEvent):
    """The last item of the stream of a run that timed out: after `timeout` seconds, in `active_steps`."""

    timeout: float
    active_steps: list[str]


class WorkflowCancelledEvent(StopEvent):
    """The last item of the stream of a run that was cancelled."""


class WorkflowFailedEvent(StopEvent):
    """The last item of the stream of a run that failed.

    Args:
        step_name: the step that failed; empty when the run itself did (it stalled, or its journal failed).
        exception: the exception.
        attempts: how many attempts the step made.
        elapsed_seconds: seconds from the start of the first attempt to the last failure.
    """

    step_name: str
    exception: Exception
    attempts: int
    elapsed_seconds: float

    @field_serializer("exception")
    def _dump_exception(self, error: Exception) -> dict[str, str]:
        return describe_exception(error)

    @field_validator("exception", mode="before")
    @classmethod
    def _load_exception(cls, value: object) -> object:
        return _revive_exception(value) if isinstance(value, Mapping) else value


class InternalDispatchEvent(Event):
    """The base of the events that only `stream_events(expose_internal=True)` shows."""


class StepState(Enum):
    """Where an invocation of a step stands."""

    PREPARING = "preparing"
    RUNNING = "running"
    NOT_RUNNING = "not_running"


class StepStateChanged(InternalDispatchEvent):
    """An invocation waits for a worker, runs, or has ended.

    Args:
        name: the step.
        step_state: its new state.
        worker_id: the id of the invocation, as text.
        input_event_name: class name of the event it takes.
        output_event_name: class name of the event it returned, once it has.
    """

    name: str
    step_state: StepState
    worker_id: str
    input_event_name: str
    output_event_name: str | None = None


class WorkflowIdleEvent(InternalDispatchEvent):
    """Nothing runs: the run waits for an answer, an event from outside, or a retry delay."""


class UnhandledEvent(InternalDispatchEvent):
    """An event that no step accepts and nothing waits for.

    Args:
        event_type: class name of the event.
        qualified_name: module and qualified name of its class.
        step_name: the step that sent it; None when it came from outside.
        idle: whether nothing else was going on in the run.
    """

    event_type: str
    qualified_name: str
    step_name: str | None = None
    idle: bool = False


def describe_exception(error: BaseException) -> dict[str, str]:
    """Return type and message of an exception, for dumps of events that carry one."""
    kind = type(error)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "message": str(error)}


def _revive_exception(dump: Mapping[str, object]) -> Exception:
    """Make an exception of what `describe_exception` gave; only those of Python itself get their own type back."""
    name, message = str(dump.get("type")), str(dump.get("message"))
    kind = getattr(builtins, name.removeprefix("builtins."), None) if name.startswith("builtins.") else None
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and its like take more than a message
            pass
    return UnreconstructedException(message, original_type=name)


def read_event(kind: type[_E], json: bytes) -> _E:
    """Make an event of its JSON, in which fields, also those of models within, have their own names or their aliases.

    Args:
        kind: its class.
        json: the JSON.

    Raises:
        pydantic.ValidationError: the JSON does not fit the class.
    """
    if kind.__init__ not in _CONSTRUCTORS:
        return kind.model_validate_json(json, by_alias=True, by_name=True)
    # pydantic calls a constructor without word of how names are meant, so this is what the constructor does
    event = kind.__new__(kind)
    kind.__pydantic_validator__.validate_json(json, self_instance=event, by_alias=True, by_name=True)
    if event.__pydantic_extra__:
        _settle_extras(event, event.__pydantic_extra__)
    return event


_E = TypeVar("_E", bound=Event)
_CONSTRUCTORS = (DictLikeModel.__init__, StopEvent.__init__)

EventType: TypeAlias = type[Event]
