"""Cells as a notebook runs them: in a shell of IPython, within a loop that runs all the time.

The arguments are the address of an OTLP receiver and that of the stub.
"""

from __future__ import annotations

import asyncio
import sys

from IPython.core.interactiveshell import InteractiveShell

CELLS = [
    f"collector, stub = {sys.argv[1]!r}, {sys.argv[2]!r}",
    """
import otflow
from otflow import Event, StartEvent, StopEvent, Workflow, step
otflow.configure(endpoint=collector, service_name="notebook")
""",
    """
class Cell(Workflow):
    @step
    async def work(self, ev: StartEvent) -> StopEvent:
        with trace.get_tracer("mine").start_as_current_span(f"inside {ev.name}"):
            return StopEvent(result=ev.name.upper())
""",
    "from opentelemetry import trace",
    'assert await Cell().run(name="awaited") == "AWAITED"',
    'handler = Cell().run(name="later")',
    'assert await handler == "LATER"',
    """
with trace.get_tracer("mine").start_as_current_span("cell"):
    handler = Cell().run(name="streamed")
    events = [event async for event in handler.stream_events()]
    assert await handler == "STREAMED"
""",
    "assert not trace.get_current_span().get_span_context().is_valid",
    "assert otflow.telemetry.flush(60)",
]


async def main() -> None:
    """Run the cells, each as a task of its own; stop at the first that fails."""
    shell = InteractiveShell.instance()
    for cell in CELLS:
        source = shell.transform_cell(cell)
        result = await asyncio.create_task(shell.run_cell_async(source, transformed_cell=source))
        result.raise_error()


asyncio.run(main())
