"""Decide how each matrix product is computed: by a call of the BLAS, or inside a nest.

What the BLAS computes becomes a `kernel.product`: its operands lie in memory as matrices that a BLAS can read in place
(where the axes are mixed otherwise, a transposed copy is made first), numbers that scale it are its factors, and a sum
of products that nobody else reads is one op, which adds into one buffer. All other products are elementwise products
that are added up, which fuse with what is around them. Products of integers stay library calls in `nd`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradloomc.dialects import kernel, nd
from gradloomc.dialects.func import body_of
from gradloomc.dialects.nd.product import expand_dot, free_axes
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import is_symbolic
from gradloomc.lowering.index_maps import identity_map
from gradloomc.lowering.materialize import is_inlined
from gradloomc.lowering.matrices import matrix_of
from gradloomc.lowering.reassociate import move_sums_into_products
from gradloomc.lowering.unroll import LEAST_POINTS, MOST_PARTS, MOST_TERMS, is_reduction, leaves_of, reduced_extent

Ints = tuple[int, ...]

# Extents but the longest, and multiply-adds for each of its points, of products that are written out: where a BLAS
# would be called for each of a batch, and where it would be called once.
TINY_EXTENT = 8
TINY_WORK, TINY_WORK_OF_ONE_CALL = 64, 16
# What a BLAS multiplies.
ELEMENTS = (ir_types.f32, ir_types.f64)


def belongs_into_nest(batch: int, m: int, n: int, k: int) -> bool:
    """Tell whether `batch` products of (m, k) by (k, n) matrices are computed by a nest rather than by calls.

    A product with a vector reads its matrix once and is done: there is nothing that a BLAS could use again, and a nest
    shares its walk over the matrix with whatever else reads it. Of nothing, there is nothing to call for.
    """
    return batch == 0 or m <= 1 or n <= 1 or k <= 1


def is_tiny(batch: int, m: int, n: int, k: int) -> bool:
    """Tell whether products are written out for each point of their one long extent: a batch, rows, or what is summed.

    What is written out fuses with what is before and after it, forward and backward, and its vectors hold the same
    element of neighbouring matrices (`unroll.tiny_axes`). For a batch, a BLAS is called for each product, which takes
    100 ns or more, as long as some 64 multiply-adds in such vectors; for one long matrix it is one call.
    """
    # Of an extent that is not fixed, as little is asked as can be: it narrows where the program fits.
    axes = sorted(enumerate((batch, m, n, k)), key=lambda axis: is_symbolic(axis[1]))
    long = next((axis for axis in axes if axis[1] > TINY_EXTENT), None)
    if long is None:
        return False
    others = [extent for axis, extent in axes if axis != long[0]]  # which may be as long
    if any(extent > TINY_EXTENT for extent in others):
        return False
    work = TINY_WORK if long[0] == 0 else TINY_WORK_OF_ONE_CALL
    return math.prod(others) <= work and long[1] >= LEAST_POINTS


def pairs_small_things(op: Op) -> bool:
    """Tell whether a product is of operands that are computed for pairs: of points and centres, of bodies.

    Such operands are much larger than what they are computed from, so it is better not to store them; and where the
    contracted axes or all free ones are short, the loops that compute them can multiply them as well (unroll.py).
    """
    _, m, n, k = _extents(op)
    if k > MOST_TERMS and m * n > MOST_PARTS:
        return False
    return any(_is_computed_for_pairs(operand) for operand in op.operands)


def _is_computed_for_pairs(value: Value) -> bool:
    """Tell whether an array is much larger than all arrays in memory that its elements are computed from."""
    if value.type.size < LEAST_POINTS**2:
        return False

    def is_loaded(source: Value) -> bool:
        op = source.op
        if op is not None and is_reduction(op):
            return reduced_extent(op) > MOST_TERMS
        return op is None or not is_inlined(op)

    leaves = leaves_of(value, identity_map([0] * value.type.rank), is_loaded)
    return all(4 * leaf.type.size <= value.type.size for leaf, _ in leaves)


def expand_in_order(x: Value, y: Value, x_contract: Ints, y_contract: Ints, x_batch: Ints, y_batch: Ints) -> Value:
    """Return a dot as elementwise products that are added up, with axes in the order of the larger operand.

    That is the order in which its elements are computed elsewhere, so that one nest can do both.
    """
    names_x = {axis: ("x", axis) for axis in range(x.type.rank)}
    names_y = {axis: ("y", axis) for axis in range(y.type.rank)}
    names_y.update({v: names_x[u] for u, v in zip((*x_batch, *x_contract), (*y_batch, *y_contract), strict=True)})
    first, second = (names_x, names_y) if x.type.size >= y.type.size else (names_y, names_x)
    order = list(dict.fromkeys([*first.values(), *second.values()]))
    extents = {name: x.type.shape[axis] for axis, name in names_x.items()}
    extents.update({name: y.type.shape[axis] for axis, name in names_y.items()})
    shape = tuple(extents[name] for name in order)

    def spread(value: Value, names: dict[int, tuple[str, int]]) -> Value:
        axes = sorted(names, key=lambda axis: order.index(names[axis]))
        turned = nd.transpose(value, permutation=tuple(axes))
        return nd.broadcast(turned, shape=shape, dims=tuple(order.index(names[axis]) for axis in axes))

    product = nd.mul(spread(x, names_x), spread(y, names_y))
    contracted = [names_x[axis] for axis in x_contract]
    total = nd.reduce_sum(product, axes=tuple(sorted(order.index(name) for name in contracted)))
    kept = [name for name in order if name not in contracted]
    wanted = [names_x[axis] for axis in (*x_batch, *free_axes(x.type.rank, x_batch, x_contract))]
    wanted += [names_y[axis] for axis in free_axes(y.type.rank, y_batch, y_contract)]
    return nd.transpose(total, permutation=tuple(kept.index(name) for name in wanted))


class Choice(NamedTuple):
    """How a product is computed: by what `expand` returns, in nests, or, without it, by a BLAS or the library; why."""

    expand: Callable[..., Value] | None
    reason: str
    is_call: bool = False


def choose(op: Op) -> Choice:
    """Return how a floating-point `nd.dot` is computed."""
    extents = _extents(op)
    if belongs_into_nest(*extents):
        return Choice(expand_dot, "in kernels: with a vector, a matrix is read once whoever does it")
    if is_tiny(*extents):
        return Choice(expand_in_order, "written out in kernels: so tiny that a call of a BLAS would take longer")
    if pairs_small_things(op):
        return Choice(expand_in_order, "in kernels: of operands that are computed for pairs, and never stored")
    if any(size > np.iinfo(np.int32).max for size in (*extents, *(x.type.size for x in op.operands))):
        return Choice(None, "np.matmul: more elements than some BLAS count to")
    return Choice(None, "by a BLAS, called for each of them" if extents[0] != 1 else "by a BLAS", is_call=True)


def explain_products(function: Op) -> list[tuple[str, str, Op]]:
    """Return the products of a clean nd function, which may be changed: extents, how they are computed, the op."""
    found = []
    for op in body_of(move_sums_into_products(function)).ops:
        if op.kind is nd.dot and op.results[0].type.element in ELEMENTS:
            batch, m, n, k = _extents(op)
            text = f"{m} x {k} by {k} x {n}"
            found.append((text if batch == 1 else f"{batch} of {text}", choose(op).reason, op))
    return found


def lower_products(function: Op) -> Op:
    """Replace the floating-point products of an nd function, in place; return it."""
    body = body_of(function)
    if any(op.kind is nd.dot and op.results[0].type.element in ELEMENTS for op in body.ops):
        move_sums_into_products(function)
        _ProductLowering(function).run()
    return function


class _ProductLowering:
    """One walk over a function."""

    def __init__(self, function: Op):
        self.block = body_of(function)
        # Products that one op alone reads: what it does to them can become part of the product.
        self.private: set[Value] = set()
        self.merged: set[Op] = set()

    def run(self) -> None:
        operations, self.block.ops = self.block.ops, []
        replaced: dict[Value, Value] = {}
        rules = RULES
        with at(self.block):
            for op in operations:
                if any(operand in replaced for operand in op.operands):
                    op.set_operands([replaced.get(operand, operand) for operand in op.operands])
                rule = rules.get(op.kind)
                result = None
                if rule is not None:
                    insertion.location = op.location
                    result = rule(self, op)
                if result is None:
                    self.block.ops.append(op)
                    continue
                old = op.results[0]
                result.hint = result.hint or old.hint
                if sum(old.uses.values()) == 1:
                    self.private.add(result)
                replaced[old] = result
                op.drop_uses()
                op.parent = None
        self.block.remove(lambda op: op in self.merged)

    def private_product(self, value: Value) -> Op | None:
        op = value.op
        return op if op is not None and op.kind is kernel.product and value in self.private else None

    def scaled(self, product: Op, factor: float) -> Value:
        """Return a product, which is not needed any more, times a number."""
        return self.replace((product,), _terms(product, factor))

    def replace(self, products: Sequence[Op], terms: Any) -> Value:
        self.merged.update(products)
        operands = [operand for product in products for operand in product.operands]
        return kernel.product(*operands, terms=terms)

    def multiply(self, op: Op) -> Value | None:
        """Product of two arrays: choose."""
        element = op.results[0].type.element
        if element not in ELEMENTS:
            return None
        (x, y), a = op.operands, op.attributes
        choice = choose(op)
        if choice.expand is not None:
            return choice.expand(x, y, **a)
        if not choice.is_call:
            return None
        (c, x), (d, y) = unscaled(x), unscaled(y)
        x, y, a = readable(x, y, a)
        return kernel.product(x, y, terms=((c * d, a["x_contract"], a["y_contract"], a["x_batch"], a["y_batch"]),))

    def scale(self, op: Op) -> Value | None:
        """(x y) c: the product can be scaled as it is stored. A factor of 0 would lose what is nan or infinite."""
        for value, other in (op.operands, tuple(reversed(op.operands))):
            product, factor = self.private_product(value), factor_of(other)
            if product is not None and factor is not None:
                return self.scaled(product, factor)
        return None

    def negate(self, op: Op) -> Value | None:
        product = self.private_product(op.operands[0])
        return None if product is None else self.scaled(product, -1.0)

    def accumulate(self, op: Op) -> Value | None:
        """A sum or difference of two products is computed in one buffer."""
        left, right = (self.private_product(value) for value in op.operands)
        if left is None or right is None or left is right:
            return None
        sign = -1.0 if op.kind is nd.sub else 1.0
        return self.replace((left, right), (*left.attributes["terms"], *_terms(right, sign)))


RULES: dict[Any, Callable[[_ProductLowering, Op], Value | None]] = {
    nd.dot: _ProductLowering.multiply,
    nd.mul: _ProductLowering.scale,
    nd.neg: _ProductLowering.negate,
    nd.add: _ProductLowering.accumulate,
    nd.sub: _ProductLowering.accumulate,
}


def _terms(product: Op, factor: float) -> Any:
    return tuple((term[0] * factor, *term[1:]) for term in product.attributes["terms"])


def _extents(op: Op) -> tuple[int, int, int, int]:
    """Return the number of products of an `nd.dot`, and rows, columns and contracted extent of each."""
    (x, y), a = op.operands, op.attributes

    def size(value: Value, axes: Ints) -> int:
        return math.prod(value.type.shape[axis] for axis in axes)

    rows = free_axes(x.type.rank, a["x_batch"], a["x_contract"])
    columns = free_axes(y.type.rank, a["y_batch"], a["y_contract"])
    return size(x, a["x_batch"]), size(x, rows), size(y, columns), size(x, a["x_contract"])


def factor_of(value: Value) -> float | None:
    """Return the number that fills a constant, if a BLAS may scale by it: it takes 0 for a reason not to multiply."""
    number = nd.splat_of(value)
    return None if number is None or not np.isfinite(number) or number == 0 else float(number)


def unscaled(value: Value) -> tuple[float, Value]:
    """Return c and x of an operand c x where x is in memory as it is, so that no scaled copy need be made; else 1."""
    op = value.op
    if op is not None and op.kind in (nd.mul, nd.neg):
        factors = [(-1.0, op.operands[0])] if op.kind is nd.neg else []
        factors += [(factor_of(c), x) for c, x in zip(op.operands, reversed(op.operands), strict=True)]
        for factor, x in factors:
            if factor is not None and (x.op is None or "extern" in x.op.kind.tags):
                return factor, x
    return 1.0, value


def readable(x: Value, y: Value, a: dict[str, Ints]) -> tuple[Value, Value, dict[str, Ints]]:
    """Return the operands and axes of an equal product that a BLAS can read in place, copying what it cannot."""
    x_free = free_axes(x.type.rank, a["x_batch"], a["x_contract"])
    y_free = free_axes(y.type.rank, a["y_batch"], a["y_contract"])
    best: tuple[int, Ints, Ints, bool, bool] | None = None
    for x_contract, y_contract in _orders(a["x_contract"], a["y_contract"]):
        copy_x = matrix_of(x.type.shape, x_free, x_contract) is None
        copy_y = matrix_of(y.type.shape, y_contract, y_free) is None
        copied = copy_x * x.type.size + copy_y * y.type.size
        if best is None or copied < best[0]:
            best = (copied, x_contract, y_contract, copy_x, copy_y)
    assert best is not None
    _, x_contract, y_contract, copy_x, copy_y = best
    a = {**a, "x_contract": x_contract, "y_contract": y_contract}
    if copy_x:
        x, a["x_batch"], a["x_contract"] = _ordered(x, a["x_batch"], x_free, x_contract)
    if copy_y:
        y, a["y_batch"], a["y_contract"] = _ordered(y, a["y_batch"], y_free, y_contract)
    return x, y, a


def _orders(x_contract: Ints, y_contract: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield the orders in which the contracted axes may be walked: as given, as they lie in x, as they lie in y."""
    pairs = list(zip(x_contract, y_contract, strict=True))
    orders = [pairs, sorted(pairs), sorted(pairs, key=lambda pair: pair[1])] if len(pairs) > 1 else [pairs]
    for order in orders:
        yield tuple(p for p, _ in order), tuple(q for _, q in order)


def _ordered(value: Value, batch: Ints, free: Ints, contract: Ints) -> tuple[Value, Ints, Ints]:
    """Return a copy with its axes in the order batch, free, contracted, and where batch and contracted are then."""
    moved = nd.transpose(value, permutation=(*batch, *free, *contract))
    first = len(batch) + len(free)
    return moved, tuple(range(len(batch))), tuple(range(first, first + len(contract)))
