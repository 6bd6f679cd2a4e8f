"""Visualize: draw a workflow or a run of it, into a file or a notebook.

From the moment that this module is imported the last runs of the process are kept in memory (100 of them, 64 MiB at
most), so that `draw_most_recent_execution` finds them; programs that do not import it pay nothing. What is drawn, and
how, is known in `otflow.drawing`: this room finds the graph or the records, and writes the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from otflow.decorators import step_config
from otflow.dispatcher import Dispatcher, default_dispatcher
from otflow.drawing.execution import picture_run
from otflow.drawing.facts import Payloads
from otflow.drawing.flows import picture_flows
from otflow.drawing.layers import lay_out_picture
from otflow.drawing.line import plain
from otflow.drawing.mermaid import draw_mermaid
from otflow.drawing.page import draw_page, frame_page
from otflow.drawing.picture import Picture
from otflow.drawing.sugiyama import place_by_library
from otflow.drawing.svg import draw_svg
from otflow.drawing.tree import draw_run
from otflow.errors import OtflowError
from otflow.graph import WorkflowGraph, build_graph
from otflow.handler import WorkflowHandler
from otflow.records.history import Run, read_runs
from otflow.records.record import Record
from otflow.sinks.memory import MemorySink
from otflow.steps import list_functions
from otflow.workflow import Workflow

__all__ = [
    "Drawing",
    "UnknownRunError",
    "draw_all_possible_flows",
    "draw_all_possible_flows_mermaid",
    "draw_execution",
    "draw_execution_mermaid",
    "draw_most_recent_execution",
    "draw_most_recent_execution_mermaid",
    "forget_history",
    "keep_history",
    "recent_runs",
]

_MAX_IN_NOTEBOOK = 3_000_000  # characters of a page; more of them make the notebook itself slow
_WIDTH = 100
_MAX_REMARKS = 4  # about what is missing; a page has a picture to show


class UnknownRunError(OtflowError, LookupError):
    """Of the run that was asked for nothing is known in this process."""


@runtime_checkable
class Told(Protocol):
    """An execution: whatever has a history."""

    @property
    def history(self) -> Run:
        """The run."""


class Drawing:
    """A drawing, in every form there is; each is made when it is asked for.

    A notebook shows it where it is the last word of a cell.

    Args:
        picture: what is to be seen.
        run: the run that it is of; default None: it is of a workflow.
        notebook: whether a notebook shows the interactive page; default True.
    """

    def __init__(self, picture: Picture, run: Run | None = None, *, notebook: bool = True) -> None:
        self.picture = picture
        self._run = run
        self._notebook = notebook

    def html(self) -> str:
        """Return the interactive page: one file that needs nothing else."""
        return draw_page(self.picture, lay_out_picture(self.picture, place_by_library))

    def svg(self) -> str:
        """Return the still image."""
        return draw_svg(self.picture, lay_out_picture(self.picture, place_by_library))

    def mermaid(self) -> str:
        """Return a Mermaid flowchart."""
        return draw_mermaid(self.picture)

    def text(self, width: int = _WIDTH) -> str:
        """Return the causal tree of the run as lines of text; of a workflow its arrows.

        Args:
            width: columns; default 100.
        """
        if self._run is not None:
            return "\n".join(map(plain, draw_run(self._run, width=width))) + "\n"
        nodes = self.picture.nodes
        return "".join(f"{nodes[edge.source].title} -> {nodes[edge.target].title}\n" for edge in self.picture.edges)

    def save(self, filename: str | os.PathLike[str]) -> Path:
        """Write the drawing into a file and return its path; the ending of its name says in which form.

        Args:
            filename: `.svg`, `.mmd` or `.mermaid`, `.txt`; anything else becomes the interactive page.
        """
        path = Path(filename)
        forms: dict[str, Callable[[], str]] = {".svg": self.svg, ".mmd": self.mermaid, ".mermaid": self.mermaid}
        forms[".txt"] = self.text
        path.write_text(forms.get(path.suffix.lower(), self.html)(), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        return f"<Drawing of {self.picture.title}: {self.picture.subtitle}>"

    def _repr_html_(self) -> str | None:
        """Show the interactive page in a notebook; of a run that is too large for one, what it is."""
        if not self._notebook:
            return None
        page = self.html()
        if len(page) <= _MAX_IN_NOTEBOOK:
            return frame_page(page)
        return "<p>This drawing is too large for a notebook: write it into a file with <code>save(name)</code>.</p>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Give a notebook the page, and everything that shows no pages a text."""
        bundle = {"text/plain": repr(self)}
        page = self._repr_html_()
        if page is not None:
            bundle["text/html"] = page
        return bundle


# ---------------------------------------------------------------- the history of this process

_memories: dict[MemorySink, Callable[[], None]] = {}  # with the functions that take them off


def keep_history(dispatcher: Dispatcher | None = None, *, runs: int = 100, size: int = 64 * 1024 * 1024) -> MemorySink:
    """Keep the last runs of a dispatcher in memory from now on. The shared one is kept when this module is imported.

    Args:
        dispatcher: whose runs; default those of the dispatcher that all workflows share which are not given another.
        runs: how many are kept; default 100.
        size: how many bytes of records are kept; default 64 MiB.

    Returns:
        What keeps them; the same one for the same dispatcher.
    """
    of = dispatcher or default_dispatcher
    memory = next((sink for sink in of.patient if isinstance(sink, MemorySink)), None)
    if memory is None:
        memory = MemorySink(runs, size)
        _memories[memory] = of.attach(memory, patient=True)
    return memory


def forget_history(dispatcher: Dispatcher | None = None) -> None:
    """Keep no runs of a dispatcher any more, and forget those that were kept.

    Args:
        dispatcher: whose runs; default those of the dispatcher that all workflows share which are not given another.
    """
    of = dispatcher or default_dispatcher
    for memory in [memory for memory in _memories if memory in of.patient]:
        _memories.pop(memory)()


def recent_runs(workflow: str | None = None) -> list[str]:
    """Return the ids of the runs that are kept in memory, the latest first.

    Args:
        workflow: only those of workflows of this name; default all.
    """
    return [run for memory in _memories for run in memory.runs(workflow)]


def _recall(of: WorkflowHandler | Workflow | type[Workflow] | str) -> Run:
    """Find the run of a handler, or the latest one of a workflow."""
    if isinstance(of, WorkflowHandler | str):
        wanted = of if isinstance(of, str) else of.run_id
        name, what = None, f"the run {wanted}"
    else:
        wanted, name = "", of.workflow_name if isinstance(of, Workflow) else of.__name__
        what = f"a run of {name}"
    for memory in _memories:
        found = [wanted] if wanted else memory.runs(name)[:1]
        records = memory.read(found[0]) if found else []
        if records:
            return read_runs(records)[0]
    raise UnknownRunError(
        f"Nothing is known of {what}. Runs are kept from the moment that otflow.visualize is imported, and the last "
        "100 of them only; those of a workflow with a dispatcher of its own after keep_history(dispatcher). A run "
        "that was recorded elsewhere can be drawn with draw_execution(otflow.open(source).run(id))."
    )


keep_history()


# ---------------------------------------------------------------- what is drawn


def draw_all_possible_flows(
    workflow: Workflow | type[Workflow],
    filename: str | os.PathLike[str] = "workflow_all_flows.html",
    notebook: bool = False,
    max_label_length: int | None = None,
    include_child_workflows: bool = True,
) -> Drawing:
    """Draw the steps of a workflow and the events between them, as their annotations say.

    Args:
        workflow: the workflow, or its class.
        filename: where the drawing is written; the ending says in which form (see `Drawing.save`).
        notebook: whether a notebook shows what is returned; default False.
        max_label_length: characters of a label; default as many as there is room for.
        include_child_workflows: whether workflows that steps call are drawn too; default True.

    Returns:
        The drawing.
    """
    drawing = Drawing(_picture_workflow(workflow, max_label_length, include_child_workflows), notebook=notebook)
    drawing.save(filename)
    return drawing


def draw_all_possible_flows_mermaid(
    workflow: Workflow | type[Workflow],
    filename: str | os.PathLike[str] | None = None,
    max_label_length: int | None = None,
    include_child_workflows: bool = True,
) -> str:
    """Return the steps of a workflow and the events between them as a Mermaid flowchart.

    Args:
        workflow: the workflow, or its class.
        filename: where it is written too; default nowhere.
        max_label_length: characters of a label; default as many as there is room for.
        include_child_workflows: whether workflows that steps call are drawn too; default True.
    """
    return _tell(draw_mermaid(_picture_workflow(workflow, max_label_length, include_child_workflows)), filename)


def draw_most_recent_execution(
    workflow: WorkflowHandler | Workflow | type[Workflow] | str,
    filename: str | os.PathLike[str] = "workflow_recent_execution.html",
    notebook: bool = False,
    max_label_length: int | None = None,
) -> Drawing:
    """Draw the latest run of a workflow in this process, or the run of a handler.

    Args:
        workflow: the workflow, its class, the handler of a run, or the id of a run.
        filename: where the drawing is written; the ending says in which form (see `Drawing.save`).
        notebook: whether a notebook shows what is returned; default False.
        max_label_length: characters of a label; default as many as there is room for.

    Returns:
        The drawing.

    Raises:
        UnknownRunError: no such run is kept in memory.
    """
    return draw_execution(_recall(workflow), filename, notebook, max_label_length)


def draw_most_recent_execution_mermaid(
    workflow: WorkflowHandler | Workflow | type[Workflow] | str,
    filename: str | os.PathLike[str] | None = None,
    max_label_length: int | None = None,
) -> str:
    """Return the latest run of a workflow in this process, or the run of a handler, as a Mermaid flowchart.

    Args:
        workflow: the workflow, its class, the handler of a run, or the id of a run.
        filename: where it is written too; default nowhere.
        max_label_length: characters of a label; default as many as there is room for.

    Raises:
        UnknownRunError: no such run is kept in memory.
    """
    return draw_execution_mermaid(_recall(workflow), filename, max_label_length)


def draw_execution(
    execution: Told | Run | Iterable[Record],
    filename: str | os.PathLike[str] | None = "workflow_execution.html",
    notebook: bool = False,
    max_label_length: int | None = None,
    max_payload: int = 4_000,
) -> Drawing:
    """Draw a run, from wherever its records were read.

    Args:
        execution: the execution, its history, or its records.
        filename: where the drawing is written; the ending says in which form (see `Drawing.save`); None: nowhere.
        notebook: whether a notebook shows what is returned; default False.
        max_label_length: characters of a label; default as many as there is room for.
        max_payload: characters of a payload that are shown; default 4,000.

    Returns:
        The drawing.

    Raises:
        ValueError: there are no records, or records of several runs.
    """
    run = _read(execution)
    picture = _shorten(_remark(picture_run(run, payloads=Payloads(max_payload)), execution), max_label_length)
    drawing = Drawing(picture, run, notebook=notebook)
    if filename is not None:
        drawing.save(filename)
    return drawing


def draw_execution_mermaid(
    execution: Told | Run | Iterable[Record],
    filename: str | os.PathLike[str] | None = None,
    max_label_length: int | None = None,
) -> str:
    """Return a run as a Mermaid flowchart.

    Args:
        execution: the execution, its history, or its records.
        filename: where it is written too; default nowhere.
        max_label_length: characters of a label; default as many as there is room for.
    """
    return _tell(draw_execution(execution, None, max_label_length=max_label_length).mermaid(), filename)


def _tell(text: str, filename: str | os.PathLike[str] | None) -> str:
    if filename is not None:
        Path(filename).write_text(text, encoding="utf-8")
    return text


def _read(execution: Told | Run | Iterable[Record]) -> Run:
    if isinstance(execution, Run):
        return execution
    if isinstance(execution, Told):
        return execution.history
    runs = read_runs(execution)
    if len(runs) != 1:
        raise ValueError(f"A drawing is made of the records of one run; these are of {len(runs)}.")
    return runs[0]


def _remark(picture: Picture, execution: object) -> Picture:
    """Add what an execution knows to be missing to what its history tells."""
    reasons = [reason for gap in getattr(execution, "gaps", ()) if (reason := getattr(gap, "reason", ""))]
    remarks = list(dict.fromkeys((*picture.remarks, *reasons)))
    more = len(remarks) - len(picture.remarks) - _MAX_REMARKS
    if more > 0:
        remarks = [*remarks[:-more], f"and {more:,} more gaps."]
    return picture._replace(remarks=tuple(remarks))


def _picture_workflow(workflow: Workflow | type[Workflow], most: int | None, children: bool) -> Picture:
    graph = _read_graph(workflow)
    return _shorten(picture_flows(graph, _find_children(workflow, graph) if children else None), most)


def _read_graph(workflow: Workflow | type[Workflow]) -> WorkflowGraph:
    if isinstance(workflow, Workflow):
        return workflow.graph
    configs = [config for func in list_functions(workflow).values() if (config := step_config(func)) is not None]
    return build_graph(workflow.__name__, configs)


def _find_children(workflow: Workflow | type[Workflow], graph: WorkflowGraph) -> Mapping[str, WorkflowGraph]:
    """Find the workflows that steps call: those that were added, or those that their parameters name."""
    found: dict[str, WorkflowGraph] = {}
    added = workflow.nested_workflows if isinstance(workflow, Workflow) else {}
    for config in graph.steps.values():
        for service in config.services:
            for child in (service.annotation, service.default, added.get(service.name)):  # the last one counts
                is_workflow = isinstance(child, Workflow) or (isinstance(child, type) and issubclass(child, Workflow))
                if is_workflow and list_functions(child):
                    found[service.name] = _read_graph(child)  # type: ignore[arg-type]  # the line above asked
    return found


def _shorten(picture: Picture, most: int | None) -> Picture:
    if most is None:
        return picture

    def cut(text: str) -> str:
        return text if len(text) <= most else f"{text[: max(0, most - 1)]}…"

    nodes = tuple(node._replace(title=cut(node.title)) for node in picture.nodes)
    return picture._replace(nodes=nodes, edges=tuple(edge._replace(label=cut(edge.label)) for edge in picture.edges))
