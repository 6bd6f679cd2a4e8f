"""Picture: what is to be seen, before anybody says where it stands.

Nodes, the edges between them, and what there is to read about each node. A picture is made of a graph or of a history,
and drawn as SVG, as Mermaid or as a page; neither side knows the other. Texts are those of users: who draws escapes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Bar", "Edge", "EdgeStyle", "Fact", "Kind", "Node", "Picture", "Span", "Tone"]

Kind: TypeAlias = Literal["step", "aside", "event", "wait", "end", "gap"]
"""A step or an attempt of one; a step that only put its event aside; an event; a wait; an end; what is not known."""
Tone: TypeAlias = Literal["", "good", "bad", "wait", "faint"]
EdgeStyle: TypeAlias = Literal["event", "retry", "collect", "answer", "gap", "error"]


class Fact(NamedTuple):
    """One thing to read about a node.

    Args:
        name: what it is.
        text: the thing itself; several lines if it has a form.
        form: "json" for a payload, "stack" for the stack of an error; default a plain line.
    """

    name: str
    text: str
    form: Literal["", "json", "stack"] = ""


class Node(NamedTuple):
    """A node of a picture; its number is its place in `Picture.nodes`.

    Args:
        kind: what it stands for.
        title: its name.
        note: the smaller line below.
        tone: how it is to be taken.
        lane: the step that it belongs to; default none.
        facts: what there is to read about it.
        of: what it shows of a history: ("attempt", invocation, which of its attempts), ("wait", id, 0) or
            ("event", id, 0); default nothing.
    """

    kind: Kind
    title: str
    note: str = ""
    tone: Tone = ""
    lane: str = ""
    facts: tuple[Fact, ...] = ()
    of: tuple[str, int, int] = ("", 0, 0)


class Edge(NamedTuple):
    """An arrow between two nodes, by number."""

    source: int
    target: int
    label: str = ""
    style: EdgeStyle = "event"


class Span(NamedTuple):
    """A stretch of time, in nanoseconds since the epoch."""

    start: int
    end: int


class Bar(NamedTuple):
    """An attempt in time; nanoseconds since the epoch.

    Args:
        node: the number of its node.
        lane: the step.
        ready: from when on it waited for a worker; `start` if it did not.
        start, end: from when to when it went.
        tone: how it ended.
        stood: when it stood still.
        open: whether its end is not recorded, and nobody knows how long it went; `end` is `start` then.
    """

    node: int
    lane: str
    ready: int
    start: int
    end: int
    tone: Tone
    stood: tuple[Span, ...] = ()
    open: bool = False


class Picture(NamedTuple):
    """What is to be seen.

    Args:
        title, subtitle: what it is of.
        nodes: the nodes; those that come earlier are drawn above those that come later.
        edges: the arrows between them.
        bars: the attempts in time; none for a workflow that did not run.
        pauses: when nothing executed, with the reason.
        remarks: what else has to be said, above all what is missing.
        tone: how it ended.
    """

    title: str
    subtitle: str = ""
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    bars: tuple[Bar, ...] = ()
    pauses: tuple[tuple[Span, str], ...] = ()
    remarks: tuple[str, ...] = ()
    tone: Tone = ""
