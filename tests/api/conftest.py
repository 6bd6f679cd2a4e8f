"""Every async test of this folder is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bounds import bound_tests, forget_what_is_loaded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound the tests of this folder."""
    bound_tests(items, Path(__file__).parent)


def pytest_collection_finish() -> None:
    """Make the collections after each test short."""
    forget_what_is_loaded()
