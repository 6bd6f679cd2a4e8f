"""Sugiyama: where nodes stand across their layers, so that few arrows cross, with the help of a graph library.

The library is igraph, which is optional (`pip install otflow[draw]`) and loaded when it is wanted. It gives an order to
begin with; of what comes of that and of the plain way, the drawing with fewer crossings is taken. A large picture is
left to the plain way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from otflow.drawing.layers import place_layers
from otflow.drawing.picture import Edge

__all__ = ["count_crossings", "has_library", "place_by_library"]

_MAX_NODES = 3_000


def has_library() -> bool:
    """Tell whether the library is there."""
    try:
        import igraph  # noqa: F401, PLC0415  # it is optional, and takes a while to load
    except ImportError:
        return False
    return True


def place_by_library(
    size: int, edges: Sequence[Edge], layers: Sequence[int], heights: Sequence[float]
) -> Sequence[float]:
    """Say where nodes stand across their layers, by the library if it is there; else as `place_layers` does."""
    pairs = [(edge.source, edge.target) for edge in edges if layers[edge.source] < layers[edge.target]]
    skips = any(layers[target] - layers[source] > 1 for source, target in pairs)
    if not pairs or size > _MAX_NODES or skips or not has_library():
        return place_layers(size, edges, layers, heights)
    import igraph  # noqa: PLC0415  # as above

    graph = igraph.Graph(n=size, edges=pairs, directed=True)
    coordinates = graph.layout_sugiyama(layers=list(layers), hgap=1, vgap=1, maxiter=40).coords
    begun = place_layers(size, edges, layers, heights, [coordinates[node][0] for node in range(size)])
    plain = place_layers(size, edges, layers, heights)
    return min(plain, begun, key=lambda middles: count_crossings(pairs, layers, middles))


def count_crossings(pairs: Iterable[tuple[int, int]], layers: Sequence[int], middles: Sequence[float]) -> int:
    """Count how often arrows from one layer cross.

    Args:
        pairs: the ends of the arrows.
        layers: the layer of each node.
        middles: where each node stands across its layer.
    """
    levels: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for source, target in pairs:
        levels[layers[source]].append((middles[source], middles[target]))
    crossings = 0
    for level in levels.values():
        ends: list[float] = []
        for number, (_, end) in enumerate(sorted(level)):
            place = bisect_right(ends, end)
            crossings += number - place
            ends.insert(place, end)
    return crossings
