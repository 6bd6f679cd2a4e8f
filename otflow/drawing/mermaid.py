"""Mermaid: a picture as the text that many pages and tools draw.

Names of users stand in quotes, with every character that Mermaid or a browser could obey as its number.
"""

from __future__ import annotations

from otflow.drawing.line import clean
from otflow.drawing.picture import Edge, EdgeStyle, Kind, Node, Picture

__all__ = ["draw_mermaid"]

_SHAPES: dict[Kind, tuple[str, str]] = {
    "step": ("[", "]"),
    "aside": ("(", ")"),
    "event": ("([", "])"),
    "wait": ("{{", "}}"),
    "end": ("(((", ")))"),
    "gap": ("[/", "/]"),
}
_ARROWS: dict[EdgeStyle, str] = {
    "event": "-->",
    "retry": "-.->",
    "collect": "==>",
    "answer": "-.->",
    "gap": "-.->",
    "error": "-->",
}
_PLAIN = frozenset(" .,:_-+/·…()@\N{MULTIPLICATION SIGN}\N{EN DASH}")
_CLASSES = (
    "classDef bad stroke:#c62f3b,color:#c62f3b",
    "classDef good stroke:#1a7f4b,color:#1a7f4b",
    "classDef wait stroke:#a15c00,stroke-dasharray:5 3",
    "classDef faint stroke-dasharray:2 3,color:#5b6675",
)
_MAX_LABEL = 120


def draw_mermaid(picture: Picture, max_nodes: int = 400, max_label_length: int | None = None) -> str:
    """Draw a picture as a Mermaid flowchart.

    Args:
        picture: the picture.
        max_nodes: how many nodes are drawn; more than Mermaid's own limit of 500 arrows help nobody. Default 400.
        max_label_length: characters of a label; default 120.
    """
    nodes = picture.nodes[: max(0, max_nodes)]
    most = max(1, max_label_length or _MAX_LABEL)
    lines = ["flowchart LR", f"    %% {_escape(picture.title, most)} · {_escape(picture.subtitle, most)}"]
    lines += [f"    %% {_escape(remark, _MAX_LABEL)}" for remark in picture.remarks]
    lines += [_draw_node(number, node, most) for number, node in enumerate(nodes)]
    edges = [(place, edge) for place, edge in enumerate(picture.edges) if max(edge.source, edge.target) < len(nodes)]
    lines += [_draw_edge(edge, most) for _, edge in edges]
    if len(nodes) < len(picture.nodes):
        lines.append(f'    more["… {len(picture.nodes) - len(nodes):,} more"]:::faint')
    red = [str(number) for number, (_, edge) in enumerate(edges) if edge.style in ("retry", "error")]
    if red:
        lines.append(f"    linkStyle {','.join(red)} stroke:#c62f3b")
    return "\n".join([*lines, *(f"    {each}" for each in _CLASSES)]) + "\n"


def _draw_node(number: int, node: Node, most: int) -> str:
    first, last = _SHAPES[node.kind]
    label = _escape(node.title, most)
    if node.note:
        label += f"<br/>{_escape(node.note, most)}"
    tone = f":::{node.tone}" if node.tone else ""
    return f'    n{number}{first}"{label}"{last}{tone}'


def _draw_edge(edge: Edge, most: int) -> str:
    label = f'|"{_escape(edge.label, most)}"|' if edge.label else ""
    return f"    n{edge.source} {_ARROWS[edge.style]}{label} n{edge.target}"


def _escape(text: str, most: int) -> str:
    text = clean(text)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)
