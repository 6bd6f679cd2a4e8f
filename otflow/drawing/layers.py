"""Layers: where the nodes of a picture stand, computed in O(n log n).

Every arrow leads one layer or more to the right; the few that lead back, in a workflow with loops, are found and left
out of account. Within a layer nodes stand as near to those that they are connected with as they can: a few sweeps to
and fro, each of which sorts a layer and then places it by least squares. This needs no library;
`otflow.drawing.sugiyama` is for who has one. A layer that is very tall is folded into columns, with alleys between them
for the arrows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from otflow.drawing.line import measure
from otflow.drawing.picture import Edge, Kind, Node, Picture

__all__ = ["Box", "Layout", "Order", "Way", "lay_out_picture", "place_layers", "rank_nodes"]

_SIZES: dict[Kind, tuple[int, int]] = {
    "step": (190, 46),
    "aside": (140, 34),
    "event": (160, 38),
    "wait": (170, 38),
    "end": (170, 42),
    "gap": (160, 38),
}
_GAP = 18
_MARGIN = 30
_MIN_SPACE = 56  # between columns: the arrows
_LABEL = 6.3  # pixels of a character of a label
_MAX_LABEL = 18
_TALL = 60  # nodes
_SWEEPS = 6
_TRUNK = 8.0
_LINE = 16.0  # the room of an arrow that passes a layer
_MAX_SKIPPED = 5_000

Order: TypeAlias = Callable[[int, Sequence[Edge], Sequence[int], Sequence[float]], Sequence[float]]
"""Says where nodes stand across their layers, given number of nodes, edges, layers and heights."""


class Box(NamedTuple):
    """Where a node stands, in pixels."""

    x: float
    y: float
    width: float
    height: float


class Way(NamedTuple):
    """Where an arrow passes a layer: straight from `left` to `right`."""

    left: float
    right: float
    y: float


class Column(NamedTuple):
    """Where a layer stands, from left to right, and whether it is folded."""

    left: float
    right: float
    folded: bool


class Layout(NamedTuple):
    """Where everything stands.

    Args:
        boxes: one for each node.
        width, height: of the whole.
        back: the arrows that lead back, by place.
        ways: where arrows pass the layers that they skip, by place.
    """

    boxes: tuple[Box, ...]
    width: float
    height: float
    back: frozenset[int] = frozenset()
    ways: Mapping[int, tuple[Way, ...]] = MappingProxyType({})


def rank_nodes(size: int, edges: Sequence[Edge]) -> tuple[list[int], frozenset[int]]:
    """Give each node its layer, behind everything that leads to it, and the places of the edges that lead back.

    Args:
        size: how many nodes there are.
        edges: the arrows.
    """
    following: list[list[int]] = [[] for _ in range(size)]
    open_edges = [0] * size
    for place, edge in enumerate(edges):
        following[edge.source].append(place)
        open_edges[edge.target] += 1
    layers, back = [0] * size, set[int]()
    done = [False] * size
    ready = [node for node in range(size) if not open_edges[node]][::-1]
    reached: deque[int] = deque()
    unseen = iter(range(size))
    while True:
        while ready:
            node = ready.pop()
            done[node] = True
            for place in following[node]:
                target = edges[place].target
                if done[target]:
                    back.add(place)
                    continue
                layers[target] = max(layers[target], layers[node] + 1)
                reached.append(target)
                open_edges[target] -= 1
                if not open_edges[target]:
                    ready.append(target)
        # what is left stands in circles, or behind them: enter the circle where it is reached first
        while reached and done[reached[0]]:
            reached.popleft()
        node = reached[0] if reached else next((each for each in unseen if not done[each]), -1)
        if node < 0:
            return layers, frozenset(back)
        ready.append(node)


def place_layers(
    size: int,
    edges: Sequence[Edge],
    layers: Sequence[int],
    heights: Sequence[float],
    order: Sequence[float] | None = None,
) -> list[float]:
    """Say where nodes stand across their layers: the plain way.

    Args:
        size: how many nodes there are.
        edges: the arrows.
        layers: the layer of each node.
        heights: the room that each node takes.
        order: the order in each layer to begin with; default that of the nodes.

    Returns:
        The middle of each node.
    """
    rows = _group(layers)
    before: list[list[int]] = [[] for _ in range(size)]
    after: list[list[int]] = [[] for _ in range(size)]
    for edge in edges:
        if layers[edge.source] < layers[edge.target]:
            before[edge.target].append(edge.source)
            after[edge.source].append(edge.target)
    # what goes on keeps its line, what ends there makes room for it
    weights = [_TRUNK if after[node] and before[node] else 1.0 for node in range(size)]
    middles = [0.0] * size
    for row in rows:
        if order is not None:
            row.sort(key=order.__getitem__)
        _settle(row, [0.0] * len(row), heights, weights, middles)
    for sweep in range(_SWEEPS):
        sides = (before, after)[sweep % 2]
        for row in rows if sides is before else reversed(rows):
            wanted = {node: _mean([middles[each] for each in sides[node]], middles[node]) for node in row}
            row.sort(key=wanted.__getitem__)
            _settle(row, [wanted[node] for node in row], heights, weights, middles)
    for row in rows:  # and once with both sides, without changing the order
        both = [_mean([middles[each] for each in before[node] + after[node]], middles[node]) for node in row]
        _settle(row, both, heights, weights, middles)
    return middles


def _group(layers: Sequence[int]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for node, layer in enumerate(layers):
        rows[layer].append(node)
    return rows


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _settle(
    row: Sequence[int],
    wanted: Sequence[float],
    heights: Sequence[float],
    weights: Sequence[float],
    middles: list[float],
) -> None:
    """Place nodes in this order as near to where they are wanted as they fit: least squares, by pooling neighbours."""
    pools: list[list[float]] = []  # sum of weighted wishes, sum of weights, number of nodes
    offsets: list[float] = []
    offset = 0.0
    for place, node in enumerate(row):
        if place:
            offset += (heights[row[place - 1]] + heights[node]) / 2
        offsets.append(offset)
        weight = weights[node]
        pools.append([(wanted[place] - offset) * weight, weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            pools[-2:] = [[one + other for one, other in zip(*pools[-2:], strict=True)]]
    place = 0
    for total, weight, number in pools:
        for _ in range(int(number)):
            middles[row[place]] = total / weight + offsets[place]
            place += 1


class _Chains(NamedTuple):
    """Arrows cut into pieces of one layer each: what holds the pieces together are more nodes, from `size` on."""

    size: int
    edges: list[Edge]
    layers: list[int]
    heights: list[float]
    ways: dict[int, list[int]]


def _cut_edges(edges: Sequence[Edge], layers: list[int], heights: list[float], back: frozenset[int]) -> _Chains:
    """Give arrows that skip layers a place in each of them, so that they lead around what stands there.

    In a picture in which very much is skipped they keep their way through everything: it would not be seen anyway.
    """
    skipped = sum(max(0, layers[edge.target] - layers[edge.source] - 1) for edge in edges)
    if skipped > _MAX_SKIPPED:
        return _Chains(
            len(layers), [edge for place, edge in enumerate(edges) if place not in back], layers, heights, {}
        )
    pieces: list[Edge] = []
    ways: dict[int, list[int]] = {}
    layers, heights = layers.copy(), heights.copy()
    for place, edge in enumerate(edges):
        before = edge.source
        for layer in range(layers[edge.source] + 1, layers[edge.target]):
            ways.setdefault(place, []).append(len(layers))
            pieces.append(Edge(before, len(layers)))
            before = len(layers)
            layers.append(layer)
            heights.append(_LINE)
        if place not in back:
            pieces.append(Edge(before, edge.target))
    return _Chains(len(layers), pieces, layers, heights, ways)


def lay_out_picture(picture: Picture, order: Order = place_layers) -> Layout:
    """Say where everything stands.

    Args:
        picture: the picture.
        order: who says where nodes stand across their layers; default `place_layers`.
    """
    nodes, edges = picture.nodes, picture.edges
    layers, back = rank_nodes(len(nodes), edges)
    chains = _cut_edges(edges, layers, [float(_SIZES[node.kind][1] + _GAP) for node in nodes], back)
    middles = order(chains.size, chains.edges, chains.layers, chains.heights)
    rows = [sorted(row, key=lambda node: (middles[node], node)) for row in _group(layers)]
    boxes: list[Box] = [Box(0, 0, 0, 0)] * len(nodes)
    x = float(_MARGIN)
    columns: list[Column] = []
    for row, space in zip(rows, _measure_spaces(edges, layers, len(rows)), strict=True):
        end = _place_row(row, nodes, middles, x + space, boxes)
        columns.append(Column(x + space, end, len(row) > _TALL))
        x = end
    points = {
        place: _lead_around(edge, chains.ways.get(place, ()), chains.layers, middles, boxes, columns)
        for place, edge in enumerate(edges)
        if place not in back
    }
    low = min([*(box.y for box in boxes), *(way.y for some in points.values() for way in some)], default=0) - _MARGIN
    ways = {
        place: tuple(Way(round(way.left), round(way.right), round(way.y - low)) for way in some)
        for place, some in points.items()
        if some
    }
    placed = tuple(Box(round(box.x), round(box.y - low), box.width, box.height) for box in boxes)
    bottom = max([*(box.y + box.height for box in placed), *(w.y for some in ways.values() for w in some)], default=0)
    return Layout(placed, x + _MARGIN, bottom + _MARGIN + (40 if back else 0), back, ways)


def _lead_around(
    edge: Edge,
    passed: Sequence[int],
    layers: Sequence[int],
    middles: Sequence[float],
    boxes: Sequence[Box],
    columns: Sequence[Column],
) -> list[Way]:
    """Say where an arrow passes the layers that it skips, and through which alley it leads within a folded one."""
    ways = []
    source, target = boxes[edge.source], boxes[edge.target]
    alley = _SIZES["step"][1] / 2 + _GAP / 2
    column = columns[layers[edge.source]]
    if column.folded and column.right - source.x - source.width > source.width:
        ways.append(Way(source.x + source.width + _GAP / 2, column.right, source.y + source.height / 2 + alley))
    for node in passed:
        column = columns[layers[node]]
        if not column.folded:
            ways.append(Way(column.left, column.right, middles[node]))
    column = columns[layers[edge.target]]
    if column.folded and target.x - column.left > target.width:
        ways.append(Way(column.left, target.x - _GAP / 2 - 5, target.y + target.height / 2 - alley))
    return ways


def _measure_spaces(edges: Sequence[Edge], layers: Sequence[int], number: int) -> list[float]:
    """Give the room before each layer: as much as the labels of the arrows that end there need."""
    spaces = [0.0] + [float(_MIN_SPACE)] * (number - 1)
    for edge in edges:
        layer = layers[edge.target]
        if edge.label and layer:
            spaces[layer] = max(spaces[layer], min(measure(edge.label), _MAX_LABEL) * _LABEL + 44)
    return spaces[:number]


def _place_row(
    row: Sequence[int], nodes: Sequence[Node], middles: Sequence[float], x: float, boxes: list[Box]
) -> float:
    """Place a layer, folded into columns if it is tall; return where it ends."""
    width = max((_SIZES[nodes[node].kind][0] for node in row), default=0)
    most = len(row) if len(row) <= _TALL else max(_TALL // 2, math.ceil(2 * math.sqrt(len(row))))
    middle = (middles[row[0]] + middles[row[-1]]) / 2 if row else 0.0
    for place, node in enumerate(row):
        wide, high = _SIZES[nodes[node].kind]
        column, line = divmod(place, most)
        y = middles[node] if len(row) <= _TALL else middle + (line - (most - 1) / 2) * (46 + _GAP)
        left = x + column * (width + _GAP) + (width - wide) / 2
        boxes[node] = Box(left, y - high / 2, wide, high)
    columns = math.ceil(len(row) / most) if row else 1
    return x + columns * width + (columns - 1) * _GAP
