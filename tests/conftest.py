"""What every test stands on: no settings of the machine, and the same random examples everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# An example that fails here fails everywhere: no luck in the gate, and no clock, since machines are busy.
settings.register_profile("gate", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# Plugins of pydantic that happen to be installed are loaded with the first model: Logfire's brings the SDK along.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


@pytest.fixture(autouse=True)
def _settings_of_the_machine_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables by which telemetry would be exported from a test."""
    for name in os.environ:
        if name.startswith(("OTEL_", "OTFLOW_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_history_is_kept() -> Iterator[None]:
    """Take off what keeps the last runs for drawing, once a test has imported that room."""
    yield
    if (room := sys.modules.get("otflow.visualize")) is not None:
        room.forget_history()
