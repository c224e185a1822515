"""Where the boxes of a drawn graph stand and how its arrows run: the layered method of Sugiyama, Tagawa and Toda.

Works on sizes and pairs of numbers; knows nothing of tensors and of SVG. Arrows run downwards. The steps are those of
the method: layers by longest paths, a way through every layer for arrows that are longer than one, an order in each
layer with few crossings (barycenters and exchanges), then positions (least squares with the order as a constraint). All
arrows that leave a box share one way until they branch, so that a parameter used in a hundred places costs one line.
Start reading at `arrange`. Everything is deterministic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]

BETWEEN_BOXES = 28.0
BETWEEN_WAYS = 14.0  # an arrow that passes a layer, from what stands beside it
SHORTEST_GAP, LONGEST_GAP = 40.0, 110.0  # between layers; more where arrows run far sideways
WIDEST_PORT = 18.0  # between arrows that end on the same box
# Past so many places where arrows cross a layer, the longest arrows run straight and may cross boxes.
MOST_WAYS = 20_000


@dataclass(slots=True)
class Layout:
    """Positions: the centres of the boxes in the order given, and a route for each link.

    A route is a list of points from the lower edge of a box to the upper edge of another. Between two points it runs
    straight down if they stand above each other, else as a curve that starts and ends vertically.
    """

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def arrange(sizes: Sequence[tuple[float, float]], links: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes so that all links run downwards.

    Args:
        sizes: width and height of each box.
        links: (from, to) in numbers of boxes, without circles; the same pair may occur several times.

    Returns:
        The layout, with its upper left corner at (0, 0).
    """
    graph = _Graph(sizes, links)
    _reduce_crossings(graph)
    ports = _ports(graph)
    for chain, port in zip(graph.chains, ports, strict=True):
        graph.ports[chain[-2], chain[-1]] = port
    return _vertical(graph, _horizontal(graph), ports)


class _Graph:
    """Boxes and ways in layers.

    Attributes:
        layers: the vertices of each layer from left to right; numbers past the last box are ways.
        above, below: the neighbours of a vertex in the layers next to its own.
        chains: for each link the vertices that it passes, both ends included.
        ports: how far from the middle of a box (the second of the pair) an arrow from a vertex ends.
    """

    def __init__(self, sizes: Sequence[tuple[float, float]], links: Sequence[tuple[int, int]]):
        self.sizes, self.links = sizes, links
        self.boxes = len(sizes)
        self.layer = _layers_of(len(sizes), links)
        self.ports: dict[tuple[int, int], float] = {}
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.chains = self._chains()
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for vertex in self._first_order():
            self.layers[self.layer[vertex]].append(vertex)

    def width(self, vertex: int) -> float:
        return self.sizes[vertex][0] if vertex < self.boxes else 0.0

    def _chains(self) -> list[list[int]]:
        lengths = [self.layer[target] - self.layer[source] for source, target in self.links]
        longest = max(lengths, default=0)
        reach = [0] * self.boxes
        for (source, _), length in zip(self.links, lengths, strict=True):
            reach[source] = max(reach[source], length)
        while sum(min(each, longest) for each in reach) > MOST_WAYS and longest > 1:
            longest = longest * 3 // 4
        ways: dict[int, list[int]] = {}  # by source: the vertices of its arrows in the layers below it
        chains: list[list[int]] = []
        for (source, target), length in zip(self.links, lengths, strict=True):
            if length > longest:
                chains.append([source, target])
                continue
            way = ways.setdefault(source, [source])
            while len(way) < length:
                self._connect(way[-1], self._new_way(self.layer[way[-1]] + 1))
                way.append(len(self.layer) - 1)
            self._connect(way[length - 1], target)
            chains.append([*way[:length], target])
        return chains

    def _new_way(self, layer: int) -> int:
        self.layer.append(layer)
        self.above.append([])
        self.below.append([])
        return len(self.layer) - 1

    def _connect(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _first_order(self) -> list[int]:
        """Walk up from the lowest boxes, so that what is computed from stands in the order of the operands."""
        order: list[int] = []
        seen: set[int] = set()
        for start in range(len(self.layer)):
            if self.below[start]:
                continue
            stack = [start]
            while stack:
                vertex = stack.pop()
                if vertex not in seen:
                    seen.add(vertex)
                    order.append(vertex)
                    stack += reversed(self.above[vertex])
        return order


def _layers_of(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each box: as far down as the longest path to the lowest ones allows."""
    below: list[list[int]] = [[] for _ in range(count)]
    above: list[list[int]] = [[] for _ in range(count)]
    for source, target in links:
        below[source].append(target)
        above[target].append(source)
    distance = [0] * count
    missing = [len(each) for each in below]
    ready = [vertex for vertex in range(count) if not missing[vertex]]
    for vertex in ready:  # grows while it is walked
        for source in above[vertex]:
            distance[source] = max(distance[source], distance[vertex] + 1)
            missing[source] -= 1
            if not missing[source]:
                ready.append(source)
    if len(ready) != count:
        raise ValueError("the links run in a circle")
    deepest = max(distance, default=0)
    return [deepest - each for each in distance]


# --- order ------------------------------------------------------------------------------------------------------------


def _reduce_crossings(graph: _Graph) -> None:
    """Reorder the layers; the best order met is kept."""
    size = sum(map(len, graph.above))
    rounds = 16 if size < 500 else 6 if size < 4000 else 2
    best, fewest = [list(layer) for layer in graph.layers], _crossings(graph)
    for _ in range(rounds):
        if not fewest:
            break
        _sweep(graph, graph.layers[1:], graph.above)
        _sweep(graph, graph.layers[-2::-1], graph.below)
        if size < 500:
            _exchange(graph)
        crossings = _crossings(graph)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in graph.layers], crossings
    graph.layers = best


def _sweep(graph: _Graph, layers: Sequence[list[int]], neighbours: list[list[int]]) -> None:
    """Sort each layer by the mean place of its neighbours in the layer before."""
    place = _places(graph)
    for layer in layers:
        keys = {}
        for vertex in layer:
            near = neighbours[vertex]
            keys[vertex] = sum([place[each] for each in near]) / len(near) if near else place[vertex]
        layer.sort(key=keys.__getitem__)
        for i, vertex in enumerate(layer):
            place[vertex] = i


def _places(graph: _Graph) -> dict[int, int]:
    return {vertex: i for layer in graph.layers for i, vertex in enumerate(layer)}


def _exchange(graph: _Graph) -> None:
    """Exchange neighbours in a layer where that removes crossings."""
    place = _places(graph)

    def crossings(left: int, right: int) -> int:
        return sum(
            place[a] > place[b] for sides in (graph.above, graph.below) for a in sides[left] for b in sides[right]
        )

    for layer in graph.layers:
        for i in range(len(layer) - 1):
            left, right = layer[i], layer[i + 1]
            if crossings(right, left) < crossings(left, right):
                layer[i], layer[i + 1] = right, left
                place[left], place[right] = i + 1, i


def _crossings(graph: _Graph) -> int:
    """Count crossings: pairs of arrows between two layers whose ends stand in opposite orders."""
    total = 0
    for upper, lower in pairwise(graph.layers):
        place = {vertex: i for i, vertex in enumerate(lower)}
        tree = [0] * (len(lower) + 1)  # Fenwick's: how many ends stand at or left of a place
        ends = 0
        for vertex in upper:
            targets = [place[each] for each in graph.below[vertex] if each in place]
            for target in targets:
                total += ends
                i = target + 1
                while i:
                    total -= tree[i]
                    i &= i - 1
            for target in targets:
                i = target + 1
                while i < len(tree):
                    tree[i] += 1
                    i += i & -i
            ends += len(targets)
    return total


# --- positions --------------------------------------------------------------------------------------------------------


def _horizontal(graph: _Graph) -> list[float]:
    """Return the x of each vertex: near its neighbours, with room between those of a layer."""
    x = [0.0] * len(graph.layer)
    for layer in graph.layers:
        offsets = _offsets(graph, layer)
        for vertex, offset in zip(layer, offsets, strict=True):
            x[vertex] = offset - offsets[-1] / 2
    rounds = 8 if len(x) < 4000 else 4
    for _ in range(rounds):
        _settle(graph, x, graph.layers[1:], (graph.above,))
        _settle(graph, x, graph.layers[-2::-1], (graph.below,))
    for _ in range(rounds):
        _settle(graph, x, graph.layers, (graph.above, graph.below))
        _settle(graph, x, graph.layers[::-1], (graph.above, graph.below))
    _straighten(graph, x)
    _straighten(graph, x)
    left = min((x[vertex] - graph.width(vertex) / 2 for vertex in range(len(x))), default=0.0)
    return [each - left for each in x]


def _offsets(graph: _Graph, layer: Sequence[int]) -> list[float]:
    """Return how far each vertex of a layer stands from the first one at least."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + _distance(graph, left, right))
    return offsets[: len(layer)]


def _distance(graph: _Graph, left: int, right: int) -> float:
    """Return how far the centres of two neighbours in a layer stand apart at least."""
    gap = BETWEEN_BOXES if max(left, right) < graph.boxes else BETWEEN_WAYS
    return (graph.width(left) + graph.width(right)) / 2 + gap


def _settle(graph: _Graph, x: list[float], layers: Sequence[list[int]], sides: Sequence[list[list[int]]]) -> None:
    """Move each layer's vertices to their neighbours, as far as their order and their widths allow.

    What is solved for each layer, exactly, is least squares under a fixed order: isotonic regression by pooling.
    """
    ports = graph.ports
    for layer in layers:
        offsets = _offsets(graph, layer)
        pools: list[tuple[float, float, int]] = []  # mean, weight, count
        for vertex, offset in zip(layer, offsets, strict=True):
            total, weight = 1e-3 * x[vertex], 1e-3
            for side in sides:
                for other in side[vertex]:
                    # Ways are to be straight before anything else.
                    strength = 8.0 if vertex >= graph.boxes and other >= graph.boxes else 1.0
                    port = ports.get((vertex, other)) or -ports.get((other, vertex), 0.0)
                    total += strength * (x[other] + port)
                    weight += strength
            mean, count = total / weight - offset, 1
            while pools and pools[-1][0] >= mean:
                before, heaviness, number = pools.pop()
                mean = (before * heaviness + mean * weight) / (heaviness + weight)
                weight += heaviness
                count += number
            pools.append((mean, weight, count))
        means = [mean for mean, _, count in pools for _ in range(count)]
        for vertex, offset, mean in zip(layer, offsets, means, strict=True):
            x[vertex] = mean + offset


def _straighten(graph: _Graph, x: list[float]) -> None:
    """Let arrows that are nearly straight be straight, where the neighbours leave room."""
    place = _places(graph)
    following = {}  # each vertex's straightest arrow downwards, if it is also the straightest that arrives there
    for vertex in range(len(x)):
        if not graph.above[vertex]:
            continue  # a leaf goes where the rest leaves room
        lower = _straightest(graph, x, vertex, graph.below[vertex])
        if lower is not None and _straightest(graph, x, lower, graph.above[lower]) == vertex:
            following[vertex] = lower
    started = set(following.values())
    for first in range(len(x)):
        if first in started:
            continue
        vertex, shift = first, 0.0
        run: list[tuple[int, float]] = []
        low, high = -math.inf, math.inf
        while vertex is not None:
            left, right = _room(graph, x, vertex, place[vertex])
            if run and max(low, left - shift) > min(high, right - shift):
                _line_up(graph, x, run, low, high)
                run, low, high, shift = [], -math.inf, math.inf, 0.0
            low, high = max(low, left - shift), min(high, right - shift)
            run.append((vertex, shift))
            lower = following.get(vertex)
            if lower is not None:
                shift -= graph.ports.get((vertex, lower), 0.0)
            vertex = lower
        _line_up(graph, x, run, low, high)


def _straightest(graph: _Graph, x: list[float], vertex: int, neighbours: list[int]) -> int | None:
    """Return the neighbour that an arrow runs to with the least way sideways; ways go on to ways, boxes to no leaf."""

    def sideways(other: int) -> tuple[bool, bool, float]:
        port = graph.ports.get((vertex, other)) or -graph.ports.get((other, vertex), 0.0)
        return (vertex >= graph.boxes > other, not graph.above[other], abs(x[other] + port - x[vertex]))

    return min(neighbours, key=sideways, default=None)


def _room(graph: _Graph, x: list[float], vertex: int, place: int) -> tuple[float, float]:
    """Return how far a vertex can be moved to the left and to the right."""
    layer = graph.layers[graph.layer[vertex]]
    left = x[layer[place - 1]] + _distance(graph, layer[place - 1], vertex) if place else -math.inf
    last = place + 1 == len(layer)
    right = math.inf if last else x[layer[place + 1]] - _distance(graph, vertex, layer[place + 1])
    return left, right


def _line_up(graph: _Graph, x: list[float], run: Sequence[tuple[int, float]], low: float, high: float) -> None:
    """Put the vertices of a run below each other, shifted as given; one alone goes to its neighbours."""
    wanted = [x[vertex] - shift for vertex, shift in run]
    if len(run) == 1:
        vertex = run[0][0]
        wanted = [x[other] + graph.ports.get((vertex, other), 0.0) for other in graph.below[vertex]]
        wanted += [x[other] - graph.ports.get((other, vertex), 0.0) for other in graph.above[vertex]]
    base = min(max(sum(wanted) / max(len(wanted), 1), low), high)
    for vertex, shift in run:
        x[vertex] = base + shift


def _vertical(graph: _Graph, x: list[float], ports: Sequence[float]) -> Layout:
    """Place the layers below each other and draw the routes through them."""
    heights = [
        max((graph.sizes[vertex][1] for vertex in layer if vertex < graph.boxes), default=0.0) for layer in graph.layers
    ]
    tops, y = [], 0.0
    sideways = _sideways(graph, x)
    for height, far in zip(heights, sideways, strict=True):
        tops.append(y)
        y += height + min(max(SHORTEST_GAP, 24 + 0.12 * far), LONGEST_GAP)
    bottoms = [top + height for top, height in zip(tops, heights, strict=True)]
    centres = [
        (x[vertex], (tops[graph.layer[vertex]] + bottoms[graph.layer[vertex]]) / 2) for vertex in range(graph.boxes)
    ]
    routes = [
        _route(graph, x, chain, x[chain[-1]] + port, centres, tops, bottoms)
        for chain, port in zip(graph.chains, ports, strict=True)
    ]
    width = max((x[vertex] + graph.width(vertex) / 2 for vertex in range(len(x))), default=0.0)
    return Layout(centres, routes, width, max(bottoms, default=0.0))


def _route(
    graph: _Graph,
    x: list[float],
    chain: Sequence[int],
    end: float,
    centres: Sequence[Point],
    tops: Sequence[float],
    bottoms: Sequence[float],
) -> list[Point]:
    """Return the points of one arrow: straight down through each layer, so that it touches no box there."""
    source, target = chain[0], chain[-1]
    layer, last = graph.layer[source], graph.layer[target]
    route = [(x[source], centres[source][1] + graph.sizes[source][1] / 2)]
    lowest = bottoms[layer]
    for way in chain[1:-1]:
        layer += 1
        if x[way] != route[-1][0]:
            _go_down(route, lowest)
            route.append((x[way], tops[layer]))
        lowest = bottoms[layer]
    if end != route[-1][0]:
        _go_down(route, lowest)
        route.append((end, tops[last]))
    _go_down(route, centres[target][1] - graph.sizes[target][1] / 2)
    return route


def _go_down(route: list[Point], y: float) -> None:
    if y != route[-1][1]:
        route.append((route[-1][0], y))


def _ports(graph: _Graph) -> list[float]:
    """Return how far from the middle of its box each link ends: side by side, in the order in which they come."""
    place = _places(graph)
    arriving: dict[int, list[int]] = {}
    for i, chain in enumerate(graph.chains):
        arriving.setdefault(chain[-1], []).append(i)
    ports = [0.0] * len(graph.chains)
    for target, links in arriving.items():
        links.sort(key=lambda i: place[graph.chains[i][-2]])
        spread = min(WIDEST_PORT, 0.7 * graph.width(target) / max(len(links) - 1, 1))
        for i, link in enumerate(links):
            ports[link] = (i - (len(links) - 1) / 2) * spread
    return ports


def _sideways(graph: _Graph, x: list[float]) -> list[float]:
    """Return, for the gap below each layer, how far an arrow runs sideways in it at most."""
    far = [0.0] * len(graph.layers)
    for vertex, below in enumerate(graph.below):
        for lower in below:
            layer = graph.layer[vertex]
            far[layer] = max(far[layer], abs(x[lower] + graph.ports.get((vertex, lower), 0.0) - x[vertex]))
    return far
