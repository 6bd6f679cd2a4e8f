"""The context of a run: its state, how it is saved, and what a step may say to its run."""

from otflow.context.context import Context
from otflow.context.serializers import BaseSerializer, JsonPickleSerializer, JsonSerializer, PickleSerializer
from otflow.context.state_store import DictState, InMemoryStateStore

__all__ = [
    "BaseSerializer",
    "Context",
    "DictState",
    "InMemoryStateStore",
    "JsonPickleSerializer",
    "JsonSerializer",
    "PickleSerializer",
]
