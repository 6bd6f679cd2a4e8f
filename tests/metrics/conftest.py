"""Every async test of this folder is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bounds import bound_tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound the tests of this folder."""
    bound_tests(items, Path(__file__).parent)
