"""Reflections: how the scalars of a nest over pairs change when its two dimensions are exchanged.

Two points have one distance, whichever comes first, but their difference changes its sign. `Reflection` proves such
relations op by op for what a nest over (i, j) computes: is a value at (j, i) another value's number at (i, j), or the
negative of it? It looks through copies of arrays: points that were transposed to be read in vectors are the same.
It knows scalars, loads and index maps, and nothing of what is done with its answers.
"""

from collections.abc import Iterable

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.index_maps import IndexMap
from gradloomc.lowering.mirror import SAME, Relation

__all__ = ["Copies", "Reflection"]

# So many pairs of values are compared for a nest: gradients of pairwise terms have some tens.
MOST_COMPARISONS = 400

EVEN = frozenset({s.math["absf"], s.math["cos"], s.math["cosh"]})
ODD = frozenset([s.math[name] for name in ("sin", "tan", "sinh", "tanh", "asin", "atan", "asinh", "erf", "cbrt")])
ADDITIVE = frozenset({s.addf, s.subf})
COMPARISONS = frozenset({s.cmpf, s.cmpi})
EQUALITIES = frozenset({"oeq", "une", "eq", "ne"})


class Copies:
    """Which buffers of a loops-level function hold elements of other buffers, and where these come from."""

    def __init__(self, ops: Iterable[Op]):
        """Look at the ops of a function's body."""
        self.sources: dict[Value, tuple[Value, IndexMap, tuple[int, ...]]] = {}
        written: set[Value] = set()
        for op in loops.untiled(ops):
            if op.kind is not loops.nest:
                continue
            for sink in op.regions[0].block.ops:
                if sink.kind in loops.SINKS:
                    target = sink.operands[1]
                    copied = None if target in written else _copied(sink, op.attributes["extents"])
                    written.add(target)
                    self.sources.pop(target, None)
                    if copied is not None:
                        self.sources[target] = copied

    def origin(self, buffer: Value, index_map: IndexMap) -> tuple[Value, IndexMap]:
        """Return where the element of a buffer at a map was first: the buffer, and the map without axes of extent 1."""
        while True:
            op = buffer.op
            if buffer in self.sources:
                source, loaded, dims = self.sources[buffer]
                places = dict(zip(dims, index_map, strict=True))
                buffer, index_map = source, tuple(_through(entry, places) for entry in loaded)
            elif op is not None and op.kind is loops.view and _long(op.operands[0]) == _long(buffer):
                kept = iter(_along_long(buffer, index_map))
                buffer = op.operands[0]
                index_map = tuple([(-1, 0, 0) if extent == 1 else next(kept) for extent in buffer.type.shape])
            else:
                return buffer, _along_long(buffer, index_map)


def _copied(sink: Op, extents: tuple[int, ...]) -> tuple[Value, IndexMap, tuple[int, ...]] | None:
    """Return what a store of a whole nest copies: (source, its map, the nest's dimension along each axis)."""
    loaded, dims = sink.operands[0].op, sink.attributes["dims"]
    if sink.kind is not loops.store or loaded is None or loaded.kind is not loops.load or loaded.operands[1:]:
        return None
    if sorted(dims) != list(range(len(extents))) or sink.attributes["high"] != extents or any(sink.attributes["low"]):
        return None
    if sink.operands[1].type.element is not loaded.operands[0].type.element:
        return None
    return loaded.operands[0], loaded.attributes["map"], dims


def _through(entry: tuple[int, int, int], places: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return where an entry of a copy's load leads if its dimensions stand at these places."""
    dim, factor, offset = entry
    if dim < 0:
        return entry
    at, by, first = places[dim]
    return (at, factor * by, factor * first + offset) if at >= 0 else (-1, 0, factor * first + offset)


def _long(buffer: Value) -> list[int]:
    return [extent for extent in buffer.type.shape if extent != 1]


def _along_long(buffer: Value, index_map: IndexMap) -> IndexMap:
    return tuple([entry for entry, extent in zip(index_map, buffer.type.shape, strict=True) if extent != 1])


class Reflection:
    """Finds out how a value of a nest, at points with its two dimensions exchanged, is related to another."""

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.known: dict[tuple[Value, Value], Relation | None] = {}

    def of(self, x: Value, y: Value) -> Relation | None:
        """Return r if x at every point (j, i) is r.sign times y at (i, j); None if that is not known."""
        sign = 1
        while x.op is not None and x.op.kind is s.negf:
            x, sign = x.op.operands[0], -sign
        while y.op is not None and y.op.kind is s.negf:
            y, sign = y.op.operands[0], -sign
        if x.op is None or y.op is None or not (x.op.kind is y.op.kind or {x.op.kind, y.op.kind} == ADDITIVE):
            return None
        if (x, y) not in self.known:
            if len(self.known) >= MOST_COMPARISONS:
                return None
            self.known[x, y] = None
            self.known[x, y] = self.of_ops(x.op, y.op)
        found = self.known[x, y]
        return None if found is None else Relation(sign * found.sign, found.exact)

    def of_ops(self, x: Op, y: Op) -> Relation | None:
        """Compare the results of two ops of one kind, which are not negations."""
        kind = x.kind
        if kind is loops.load:
            return self.of_loads(x, y)
        if kind is kernel.index:
            return SAME if x.attributes["dim"] == 1 - y.attributes["dim"] else None
        if kind is s.constant:
            return _of_constants(x, y)
        if x.attributes != y.attributes or "scalar" not in kind.tags or kind is kernel.inside:
            return None
        if kind is kernel.extent:
            return SAME
        if kind in ADDITIVE:
            return self.of_sums(x, y)
        straight = [self.of(p, q) for p, q in zip(x.operands, y.operands, strict=True)]
        if kind is s.mulf and x.operands[0] is x.operands[1] and y.operands[0] is y.operands[1]:  # a square is even
            return straight[0] and SAME
        found = _of_results(x, y, straight)
        either_order = kind.commutative or (kind in COMPARISONS and x.attributes["predicate"] in EQUALITIES)
        if found is not None or not either_order:
            return found
        return _of_results(x, y, [self.of(p, q) for p, q in zip(x.operands, reversed(y.operands), strict=True)])

    def of_loads(self, x: Op, y: Op) -> Relation | None:
        """Compare two elements of arrays."""
        exchanged = tuple([(1 - dim if dim >= 0 else dim, *rest) for dim, *rest in x.attributes["map"]])
        if x.operands[1:]:  # picked by integers
            same = x.operands[0] is y.operands[0] and exchanged == y.attributes["map"]
            pairs = zip(x.operands[1:], y.operands[1:], strict=True)
            return SAME if same and all(self.of(p, q) == SAME for p, q in pairs) else None
        source, place = self.copies.origin(x.operands[0], exchanged)
        other, other_place = self.copies.origin(y.operands[0], y.attributes["map"])
        return SAME if source is other and place == other_place else None

    def of_sums(self, x: Op, y: Op) -> Relation | None:
        """Compare two sums or differences of two terms, whose order does not matter."""
        signs = [-1 if op.kind is s.subf else 1 for op in (x, y)]
        (p, q), (first, second) = x.operands, y.operands
        orders = ((first, second, 1, signs[0] * signs[1]), (second, first, signs[1], signs[0]))
        for a, b, a_sign, b_sign in orders:
            one, other = self.of(p, a), self.of(q, b)
            if one is None or other is None or one.sign * a_sign != other.sign * b_sign:
                continue
            exact = one == other == SAME and x.kind is y.kind and a_sign == 1
            return Relation(one.sign * a_sign, exact)
        return None


def _of_constants(x: Op, y: Op) -> Relation | None:
    if x.attributes["type"] is not y.attributes["type"]:
        return None
    dtype = x.attributes["type"].dtype
    p, q = (dtype.type(op.attributes["value"]) for op in (x, y))
    if p.tobytes() == q.tobytes():
        return SAME
    return Relation(-1, True) if dtype.kind == "f" and (-p).tobytes() == q.tobytes() else None


def _is_zero(value: Value) -> bool:
    return value.op is not None and value.op.kind is s.constant and value.op.attributes["value"] == 0


def _with_free_zeros(x: Op, y: Op, operands: list[Relation | None]) -> list[Relation | None]:
    """Return the relations of the last two operands where zero, its own negative, takes the other one's sign."""
    found = list(operands)
    for zero, other in ((-2, -1), (-1, -2)):
        relation = operands[other]
        if _is_zero(x.operands[zero]) and _is_zero(y.operands[zero]) and relation is not None and relation.sign < 0:
            found[zero] = relation
    return found


def _of_results(x: Op, y: Op, operands: list[Relation | None]) -> Relation | None:
    """Return how the results of two ops of one kind are related if their operands are related like this."""
    kind = x.kind
    equality = kind in COMPARISONS and x.attributes["predicate"] in EQUALITIES
    if kind is s.select or equality:
        operands = _with_free_zeros(x, y, operands)
    related = [relation for relation in operands if relation is not None]
    if len(related) < len(operands):
        return None
    signs = {relation.sign for relation in related}
    if kind in EVEN or (signs == {1} and all(relation.exact for relation in related)):
        return SAME
    if kind is s.mulf:
        return Relation(related[0].sign * related[1].sign, False)
    if kind is s.divf:  # a zero below decides by its sign
        return Relation(related[0].sign, False) if related[1] == SAME else None
    if kind in ODD:
        return Relation(related[0].sign, False)
    if kind is s.select:
        same = related[1].sign == related[2].sign
        return Relation(related[1].sign, False) if related[0] == SAME and same else None
    if kind in COMPARISONS:  # zeros are equal, whatever their sign
        return SAME if signs == {1} or (signs == {-1} and equality) else None
    return None
