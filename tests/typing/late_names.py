"""What a type checker sees of the names that are loaded late: what they are, and that others are none."""

from __future__ import annotations

from typing import assert_type

import otflow
from otflow.readers import Source
from otflow.records.execution import Execution
from otflow.visualize import Drawing


def read(path: str) -> Execution:
    """Runs are read back with their types."""
    source = otflow.open(path, limit=1024)
    assert_type(source, Source)
    return source.run("first")


def draw(path: str) -> str:
    """Drawings are known as such."""
    drawing = otflow.draw_execution(read(path), None)
    assert_type(drawing, Drawing)
    assert_type(otflow.draw_all_possible_flows(otflow.Workflow), Drawing)
    assert_type(otflow.draw_most_recent_execution("first"), Drawing)
    return drawing.svg()


otflow.draw_everything  # type: ignore[attr-defined]
