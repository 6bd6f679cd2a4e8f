"""Where nodes stand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.layers import lay_out_picture, place_layers, rank_nodes
from otflow.drawing.picture import Edge, Node, Picture
from otflow.drawing.sugiyama import count_crossings, has_library, place_by_library

ORDERS = [place_layers, place_by_library]


def picture(size: int, pairs: list[tuple[int, int]]) -> Picture:
    """Make a picture of alike nodes."""
    nodes = tuple(Node("step", f"n{number}") for number in range(size))
    return Picture("p", nodes=nodes, edges=tuple(Edge(source, target) for source, target in pairs))


@st.composite
def graphs(draw):
    """Draw any graph, with circles."""
    size = draw(st.integers(1, 12))
    ends = st.integers(0, size - 1)
    return picture(size, draw(st.lists(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]), max_size=30)))


@given(graphs())
def test_arrows_lead_to_the_right(drawn):
    """Every arrow leads to a later layer, but those that are said to lead back; without circles none does."""
    layers, back = rank_nodes(len(drawn.nodes), drawn.edges)
    for place, edge in enumerate(drawn.edges):
        assert place in back or layers[edge.source] < layers[edge.target]
    forward = [edge for edge in drawn.edges if edge.source < edge.target]
    assert rank_nodes(len(drawn.nodes), forward)[1] == frozenset()


@pytest.mark.parametrize("order", ORDERS)
@given(drawn=graphs())
def test_nodes_do_not_overlap(order, drawn):
    """Each node has its place, inside of the picture, and nobody else's."""
    layout = lay_out_picture(drawn, order)
    for place, one in enumerate(layout.boxes):
        assert one.x >= 0
        assert one.y >= 0
        assert one.x + one.width <= layout.width
        assert one.y + one.height <= layout.height
        for other in layout.boxes[place + 1 :]:
            assert (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )


@pytest.mark.parametrize("order", ORDERS)
def test_arrows_lead_around_nodes(order):
    """An arrow that skips a layer passes it where no node stands."""
    layout = lay_out_picture(picture(3, [(0, 1), (1, 2), (0, 2)]), order)
    (way,) = layout.ways[2]
    middle = layout.boxes[1]
    assert not middle.y <= way.y <= middle.y + middle.height


@given(graphs())
def test_the_library_never_makes_it_worse(drawn):
    """With the library no more arrows cross than without it; and a crossing is counted as one."""
    layers, _ = rank_nodes(len(drawn.nodes), drawn.edges)
    edges = [edge for edge in drawn.edges if layers[edge.target] - layers[edge.source] == 1]
    pairs = [(edge.source, edge.target) for edge in edges]
    found = []
    for order in ORDERS:
        middles = order(len(layers), edges, layers, [64.0] * len(layers))
        found.append(count_crossings(pairs, layers, middles))
        slow = [
            (middles[a] - middles[c]) * (middles[b] - middles[d]) < 0
            for place, (a, b) in enumerate(pairs)
            for c, d in pairs[:place]
            if layers[a] == layers[c]
        ]
        assert found[-1] == sum(slow)
    assert found[1] <= found[0]


def test_the_same_picture_is_drawn_the_same():
    """A layout depends on the picture alone."""
    drawn = picture(9, [(0, 1), (0, 2), (1, 3), (2, 4), (4, 5), (0, 6), (6, 7), (7, 8), (3, 8)])
    for order in ORDERS:
        assert lay_out_picture(drawn, order) == lay_out_picture(drawn, order)


@pytest.mark.parametrize("order", ORDERS)
def test_tall_layers_are_folded(order):
    """A fan of thousands is about as wide as it is tall."""
    size = 3_000
    fan = [(0, number) for number in range(1, size + 1)] + [(number, size + 1) for number in range(1, size + 1)]
    layout = lay_out_picture(picture(size + 2, fan), order)
    assert 0.3 < layout.width / layout.height < 3


def test_long_skips_are_not_cut():
    """Arrows that skip thousands of layers each cost no node for each of them."""
    size = 2_000
    pairs = [(number, number + 1) for number in range(size - 1)] + [(number, size - 1) for number in range(size - 2)]
    layout = lay_out_picture(picture(size, pairs))
    assert len(layout.boxes) == size
    assert layout.ways == {}


def test_the_library_is_optional():
    """Without the library there is a picture too."""
    code = (
        "import sys; sys.modules['igraph'] = None\n"
        "from otflow.drawing.sugiyama import count_crossings, has_library, place_by_library\n"
        "from otflow.drawing.picture import Edge\n"
        "print(has_library(), place_by_library(2, [Edge(0, 1)], [0, 1], [1, 1]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "False [0.0, 0.0]\n"
    assert has_library()
