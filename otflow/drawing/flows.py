"""Flows: the graph of a workflow as a picture: its steps, its events, and who takes and gives what.

What the annotations say is drawn, and no more. An event that is accepted but returned by no step comes from outside or
from `send_event`; which of the two, no annotation tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otflow.drawing.picture import Edge, EdgeStyle, Fact, Node, Picture, Tone
from otflow.drawing.quantities import count
from otflow.events import Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StepFailedEvent, StopEvent
from otflow.graph import WorkflowGraph, resolve
from otflow.signature import StepConfig, type_key

__all__ = ["picture_flows"]


class _Canvas:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: dict[Edge, None] = {}

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def link(self, source: int, target: int, label: str = "", style: EdgeStyle = "event") -> None:
        self.edges[Edge(source, target, label, style)] = None


def picture_flows(graph: WorkflowGraph, children: Mapping[str, WorkflowGraph] | None = None) -> Picture:
    """Make the picture of a workflow.

    Args:
        graph: its graph.
        children: the graphs of the workflows that its steps may call, by the name of the parameter; default none.
    """
    canvas = _Canvas()
    _add_graph(canvas, graph, children or {}, "")
    steps = count(len(graph.steps), "step")
    return Picture(graph.name, f"all possible flows · {steps}", tuple(canvas.nodes), tuple(canvas.edges))


def _add_graph(
    canvas: _Canvas, graph: WorkflowGraph, children: Mapping[str, WorkflowGraph], prefix: str
) -> tuple[list[int], list[int]]:
    """Add the steps and events of a graph, and give the nodes of the events that start it and that end it."""
    events = {kind: canvas.add(_show_event(graph, kind)) for kind in _list_events(graph)}
    steps = {
        name: canvas.add(Node("step", f"{prefix}{name}", _note(config), lane=name, facts=_describe(graph, config)))
        for name, config in graph.steps.items()
    }
    for kind, node in events.items():
        style: EdgeStyle = "error" if issubclass(kind, StepFailedEvent) else "event"
        for name in resolve(graph, kind):
            canvas.link(node, steps[name], "", style)
    for name, config in graph.steps.items():
        for kind in config.returns:
            canvas.link(steps[name], events[kind])
    for name, handler in graph.handlers.items():
        canvas.link(steps[name], steps[handler], "when it fails", "error")
    _add_outside(canvas, events)
    for name, config in graph.steps.items():
        _add_children(canvas, steps[name], [each.name for each in config.services], children)
    starts = [node for kind, node in events.items() if issubclass(kind, StartEvent)]
    return starts, [node for kind, node in events.items() if issubclass(kind, StopEvent)]


def _add_children(canvas: _Canvas, step: int, services: Iterable[str], children: Mapping[str, WorkflowGraph]) -> None:
    """Add the workflows that a step calls; what these call in turn is left to drawings of their own."""
    for service in services:
        if service in children:
            starts, stops = _add_graph(canvas, children[service], {}, f"{service}.")
            for start in starts:
                canvas.link(step, start, "calls", "answer")
            for stop in stops:
                canvas.link(stop, step, "", "answer")


def _list_events(graph: WorkflowGraph) -> list[type[Event]]:
    """List what steps accept and give; what handlers of errors accept is drawn as an arrow."""
    found: dict[type[Event], None] = {}
    for config in graph.steps.values():
        accepted = [kind for kind in config.accepts if not issubclass(kind, StepFailedEvent)]
        found |= dict.fromkeys((*accepted, *config.returns))
    ranks = {kind: (not issubclass(kind, StartEvent), issubclass(kind, StopEvent)) for kind in found}
    return sorted(found, key=ranks.__getitem__)


def _show_event(graph: WorkflowGraph, kind: type[Event]) -> Node:
    note, tone = "", ""
    if issubclass(kind, StartEvent):
        note = "starts the run"
    elif issubclass(kind, StopEvent):
        note = "ends the run"
    elif issubclass(kind, InputRequiredEvent):
        note = "asks the outside"
    elif kind in graph.external:
        note, tone = (
            ("an answer from outside" if issubclass(kind, HumanResponseEvent) else "sent, not returned"),
            "wait",
        )
    fields = tuple(Fact(name, _show_type(field.annotation)) for name, field in kind.model_fields.items())
    facts = (Fact("event", type_key(kind)), *fields)
    shown: Tone = "wait" if tone else ""
    return Node("end" if issubclass(kind, StopEvent) else "event", kind.__name__, note, shown, facts=facts)


def _show_type(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _note(config: StepConfig) -> str:
    notes = [count(config.num_workers, "worker")]
    if config.retry_policy is not None:
        notes.append("retries")
    if config.catches is not None:
        notes.append("handles errors")
    return " · ".join(notes)


def _describe(graph: WorkflowGraph, config: StepConfig) -> tuple[Fact, ...]:
    facts = [Fact("step", config.name), Fact("workers", str(config.num_workers))]
    facts += [Fact("accepts", type_key(kind)) for kind in config.accepts]
    facts += [Fact("returns", type_key(kind)) for kind in config.returns]
    if config.returns_none:
        facts.append(Fact("returns", "None"))
    if config.returns_list:
        facts.append(Fact("may return", "a list of events"))
    if config.retry_policy is not None:
        facts.append(Fact("retry policy", type(config.retry_policy).__name__))
    if config.name in graph.handlers:
        facts.append(Fact("errors are handled by", graph.handlers[config.name]))
    facts += [Fact("resource", each.name) for each in config.resources]
    facts += [Fact("service", each.name) for each in config.services]
    return tuple(facts)


def _add_outside(canvas: _Canvas, events: Mapping[type[Event], int]) -> None:
    """Show who answers: a question leads outside, its answer comes from there."""
    asked = [node for kind, node in events.items() if issubclass(kind, InputRequiredEvent)]
    answers = [node for kind, node in events.items() if issubclass(kind, HumanResponseEvent)]
    if asked or answers:
        outside = canvas.add(Node("wait", "outside", "a person, another program", "wait"))
        for node in asked:
            canvas.link(node, outside, "", "answer")
        for node in answers:
            canvas.link(outside, node, "", "answer")
