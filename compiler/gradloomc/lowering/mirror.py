"""Mirrored sums: of two sums that are equal because what they add up is symmetric, one is computed.

A program on pairs writes `d[i, j] = x[i] - x[j]`, and its gradient adds up a term t(d) over j for the first x and
`-t(d)` over i for the second. Since t[j, i] = -t[i, j], both sums are one: `sum_i -t[i, j] = sum_j t[j, i]`. This file
proves such relations op by op: it asks whether a value with two of its axes exchanged is another value, or its
negative. It knows values and index maps, and nothing of loops.

The sums of an nd function may afterwards add up the same terms in another order.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.lowering.index_maps import IndexMap, operand_map
from gradloomc.passes.canonicalize import canonicalize_function
from gradloomc.passes.dce import eliminate_dead_code

# So many pairs of values are compared for two sums: gradients of pairwise terms have some tens.
MOST_COMPARISONS = 400

# With so many others of its shape a sum is compared: what a function does to one array is mostly close together.
MOST_PARTNERS = 8

# Moves that are nothing but another index map.
MOVES = frozenset({nd.broadcast, nd.transpose, nd.slice_, nd.reverse})

EVEN = frozenset({nd.square, nd.abs_, nd.cos, nd.cosh})
ODD = frozenset({nd.sin, nd.tan, nd.sinh, nd.tanh, nd.arcsin, nd.arctan, nd.arcsinh, nd.erf, nd.cbrt, nd.sign})
ADDITIVE = frozenset({nd.add, nd.sub})
COMPARISONS = frozenset({nd.eq, nd.ne, nd.lt, nd.le, nd.gt, nd.ge})


class Relation(NamedTuple):
    """How two values are related: the first is `sign` times the second; `exact` if zeros have the same sign too."""

    sign: int
    exact: bool


SAME = Relation(1, True)


def share_mirrored_sums(function: Op) -> Op:
    """Replace sums over one axis by equal ones over another, in place; return the function."""
    body = body_of(function)
    changed = False
    for first, second in _candidates(body):
        (kept, a), (other, b) = sorted(
            ((first, _own_axis(first, second)), (second, _own_axis(second, first))), key=lambda pair: -pair[1]
        )
        relation = _Comparison().of_exchanged(other.operands[0], kept.operands[0], a, b)
        if relation is None:
            continue
        value = kept.results[0]
        if relation.sign < 0:
            with at(body):
                insertion.location = other.location
                value = nd.neg(value)
        other.results[0].replace_all_uses_with(value)
        changed = True
    if changed:
        sort_by_definition(body)
        eliminate_dead_code(function)
        canonicalize_function(function)
    return function


def _candidates(body: Block) -> Iterator[tuple[Op, Op]]:
    """Yield pairs of sums that differ in one axis, with neighbouring axes of the same length; each sum goes once."""
    groups: dict[object, list[Op]] = {}
    for op in list(body.ops):
        if op.kind is not nd.reduce_sum or op.results[0].type.element.kind != "f":
            continue
        type = op.operands[0].type
        rest = groups.setdefault((type, len(op.attributes["axes"])), [])
        for other in rest[-MOST_PARTNERS:]:
            axes, others = op.attributes["axes"], other.attributes["axes"]
            common = set(axes) & set(others)
            if len(common) != len(axes) - 1 or op.results[0].type is not other.results[0].type:
                continue
            a, b = _own_axis(op, other), _own_axis(other, op)
            between = [axis for axis in range(min(a, b) + 1, max(a, b)) if axis not in common]
            if type.shape[a] == type.shape[b] and type.shape[a] != 1 and not between:
                used = len(op.results[0].uses), len(other.results[0].uses)
                if 0 not in used:
                    yield other, op
        rest.append(op)


def _own_axis(op: Op, other: Op) -> int:
    """Return the axis that one sum runs over and the other does not."""
    (axis,) = set(op.attributes["axes"]) - set(other.attributes["axes"])
    return axis


def sort_by_definition(block: Block) -> None:
    """Bring the ops of a block into an order in which values are defined before they are used; else keep theirs."""
    sorted_ops: list[Op] = []
    placed: set[Op] = set()
    for op in block.ops:
        stack = [op]
        while stack:
            top = stack[-1]
            missing = [v.op for v in top.operands if v.op is not None and v.op.parent is block and v.op not in placed]
            if missing and top not in placed:
                stack += missing
                continue
            stack.pop()
            if top not in placed:
                placed.add(top)
                sorted_ops.append(top)
    block.ops = sorted_ops


class _Comparison:
    """Finds out how two values are related, each seen through an index map of its own."""

    def __init__(self) -> None:
        self.known: dict[tuple[Value, IndexMap, Value, IndexMap], Relation | None] = {}

    def of_exchanged(self, x: Value, y: Value, a: int, b: int) -> Relation | None:
        """Return how x with its axes a and b exchanged is related to y."""
        place = {a: b, b: a}
        axes = range(x.type.rank)
        exchanged = tuple((place.get(axis, axis), 1, 0) for axis in axes)
        return self.of(x, exchanged, y, tuple((axis, 1, 0) for axis in axes))

    def of(self, x: Value, x_map: IndexMap, y: Value, y_map: IndexMap) -> Relation | None:
        """Return r if x at every mapped point is r.sign times y at its mapped point."""
        sign = 1
        while True:  # what stands in the way of comparing ops: moves and signs
            x_op, y_op = x.op, y.op
            if x_op is not None and _is_move(x_op):
                x, x_map = x_op.operands[0], operand_map(x_op, x_map)
            elif y_op is not None and _is_move(y_op):
                y, y_map = y_op.operands[0], operand_map(y_op, y_map)
            elif x_op is not None and x_op.kind is nd.neg:
                x, sign = x_op.operands[0], -sign
            elif y_op is not None and y_op.kind is nd.neg:
                y, sign = y_op.operands[0], -sign
            else:
                break
        if x is y and x_map == y_map:
            return Relation(sign, True)
        if x_op is None or y_op is None or not (x_op.kind is y_op.kind or {x_op.kind, y_op.kind} == ADDITIVE):
            return None
        key = (x, x_map, y, y_map)
        if key not in self.known:
            if len(self.known) >= MOST_COMPARISONS:
                return None
            self.known[key] = None
            self.known[key] = self.of_ops(x_op, x_map, y_op, y_map)
        found = self.known[key]
        return None if found is None else Relation(sign * found.sign, found.exact)

    def of_ops(self, x: Op, x_map: IndexMap, y: Op, y_map: IndexMap) -> Relation | None:
        """Compare the results of two ops of one kind."""
        kind = x.kind
        if kind is nd.constant:
            return _of_constants(x.attributes["value"], x_map, y.attributes["value"], y_map)
        if kind is nd.iota:
            positions = [index_map[op.attributes["axis"]] for op, index_map in ((x, x_map), (y, y_map))]
            return SAME if positions[0] == positions[1] and x.result.type.element is y.result.type.element else None
        if x.attributes != y.attributes:
            return None
        if kind is nd.extent:
            return SAME
        if "reduction" in kind.tags:
            found = self.of(x.operands[0], _with_axes(x, x_map), y.operands[0], _with_axes(y, y_map))
            return found if kind is nd.reduce_sum or found == SAME else None
        if "elementwise" not in kind.tags:
            return None
        if kind in ADDITIVE:
            return self.of_sums(x, x_map, y, y_map)
        straight = [self.of(p, x_map, q, y_map) for p, q in zip(x.operands, y.operands, strict=True)]
        if kind is nd.select:
            straight = _with_free_zeros(x, y, straight)
        found = _of_results(kind, straight)
        if found is not None or not kind.commutative:
            return found
        crossed = [self.of(p, x_map, q, y_map) for p, q in zip(x.operands, reversed(y.operands), strict=True)]
        return _of_results(kind, crossed)

    def of_sums(self, x: Op, x_map: IndexMap, y: Op, y_map: IndexMap) -> Relation | None:
        """Compare two sums or differences of two terms, whose order does not matter."""
        signs = [-1 if op.kind is nd.sub else 1 for op in (x, y)]
        (p, q), (r, s) = x.operands, y.operands
        for first, second, first_sign, second_sign in ((r, s, 1, signs[0] * signs[1]), (s, r, signs[1], signs[0])):
            one, other = self.of(p, x_map, first, y_map), self.of(q, x_map, second, y_map)
            if one is None or other is None or one.sign * first_sign != other.sign * second_sign:
                continue
            exact = one == other == SAME and x.kind is y.kind and first_sign == 1
            return Relation(one.sign * first_sign, exact)
        return None


def _is_move(op: Op) -> bool:
    if op.kind is nd.reshape:
        old, new = op.operands[0].type.shape, op.attributes["shape"]
        return [n for n in old if n != 1] == [n for n in new if n != 1]
    return op.kind in MOVES


def _with_axes(op: Op, index_map: IndexMap) -> IndexMap:
    """Return the map of what a reduction adds up: the axes that it runs over are dimensions that no result has."""
    kept = iter(index_map)
    rank, axes = op.operands[0].type.rank, op.attributes["axes"]
    return tuple((1000 + axis, 1, 0) if axis in axes else next(kept) for axis in range(rank))


def _with_free_zeros(x: Op, y: Op, operands: list[Relation | None]) -> list[Relation | None]:
    """Return the relations of a select's operands where zero, which is its own negative, takes the other one's sign."""
    for zero, other in ((1, 2), (2, 1)):
        both = [nd.splat_of(op.operands[zero]) == 0 for op in (x, y)]
        relation = operands[other]
        if all(both) and relation is not None and relation.sign < 0:
            operands[zero] = relation
    return operands


def _of_results(kind: object, operands: list[Relation | None]) -> Relation | None:
    """Return how the results of an elementwise op are related if its operands are related like this."""
    related = [relation for relation in operands if relation is not None]
    if len(related) < len(operands):
        return None
    signs = {relation.sign for relation in related}
    exact = signs == {1} and all(relation.exact for relation in related)
    if kind in EVEN:
        return SAME
    if exact:
        return SAME
    if kind in (nd.mul, nd.mul_no_nan):
        return Relation(related[0].sign * related[1].sign, False)
    if kind is nd.div:  # a zero below decides by its sign
        return Relation(related[0].sign, False) if related[1] == SAME else None
    if kind in ODD:
        return Relation(related[0].sign, False)
    if kind is nd.select:
        same = len({relation.sign for relation in related[1:]}) == 1
        return Relation(related[1].sign, False) if related[0] == SAME and same else None
    if kind in COMPARISONS:  # zeros are equal, whatever their sign
        return SAME if signs == {1} or (signs == {-1} and kind in (nd.eq, nd.ne)) else None
    return None


def _of_constants(x: Dense, x_map: IndexMap, y: Dense, y_map: IndexMap) -> Relation | None:
    if x.is_splat and y.is_splat:
        p, q = x.array[()], y.array[()]
        if p.tobytes() == q.tobytes():
            return SAME
        return Relation(-1, True) if p.dtype.kind == "f" and (-p).tobytes() == q.tobytes() else None
    if x.is_splat or y.is_splat:
        return None
    tables = [_in_order(x, x_map), _in_order(y, y_map)]
    if tables[0] is None or tables[1] is None or tables[0][0] != tables[1][0]:
        return None
    first, second = tables[0][1], tables[1][1]
    if first.shape == second.shape and np.array_equal(first, second):
        return Relation(1, first.dtype.kind != "f" or bool((np.signbit(first) == np.signbit(second)).all()))
    if first.shape == second.shape and first.dtype.kind == "f" and np.array_equal(first, -second):
        return Relation(-1, False)
    return None


def _in_order(constant: Dense, index_map: IndexMap) -> tuple[list[int], np.ndarray] | None:
    """Return the dimensions that a table runs along, ascending, and the table with its axes in that order."""
    if any(dim >= 0 and (coefficient, offset) != (1, 0) for dim, coefficient, offset in index_map):
        return None
    table = constant.to_array()[tuple(offset if dim < 0 else slice(None) for dim, _, offset in index_map)]
    dims = [dim for dim, _, _ in index_map if dim >= 0]
    return sorted(dims), table.transpose(sorted(range(len(dims)), key=dims.__getitem__))
