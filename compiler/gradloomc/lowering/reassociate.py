"""Sums by their linearity: what does not vary along the summed axes is taken out of a sum.

Two rewrites, both of which the gradients of everything that is broadcast ask for (a mean that is subtracted, a scale, a
bias). The sum of a matrix product's rows is the product of the summed rows, and takes a fraction of the work:
`sum_n (X_n Y) = (sum_n X_n) Y`. And `sum_j (f a_j + g b_j) = f sum_j a_j + g sum_j b_j`: if f and g are known only
after another pass over the arrays (a variance, the normalizer of a softmax) but a and b before, then the sums can be
found in that other pass, and one pass over memory is saved. Nor is `sum_j f a_j` added up beside `sum_j a_j`.

Each side rounds as often or less. Values differ where a sum overflows but the scaled one would not.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.dialects.nd.product import free_axes
from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import TensorType
from gradloomc.lowering.sums import rewrite_sums
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code

Ints = tuple[int, ...]


def move_sums_into_products(function: Op) -> Op:
    """Rewrite sums over free axes of products that nobody else needs, in place; return the function."""
    body = body_of(function)
    if not any(op.kind is nd.dot for op in body.ops):
        return function
    if rewrite_sums(function, lambda op: _summed(op.operands[0], op.attributes["axes"])):
        eliminate_dead_code(function)
    return function


def _summed(value: Value, axes: Ints) -> Value | None:
    """Return the sum of `value` over axes if a product comes out smaller, else None."""
    op = value.op
    if op is None or sum(value.uses.values()) != 1:
        return None
    if op.kind is nd.neg:
        inner = _summed(op.operands[0], axes)
        return None if inner is None else nd.neg(inner)
    if op.kind in (nd.add, nd.sub):
        parts = [_summed(operand, axes) for operand in op.operands]
        if parts[0] is None and parts[1] is None:
            return None
        x, y = (
            nd.reduce_sum(operand, axes=axes) if part is None else part
            for operand, part in zip(op.operands, parts, strict=True)
        )
        return op.kind(x, y)
    if op.kind is nd.transpose:
        order = op.attributes["permutation"]
        inner = _summed(op.operands[0], tuple(sorted(order[axis] for axis in axes)))
        if inner is None:
            return None
        kept = [order[axis] for axis in range(len(order)) if axis not in axes]
        return nd.transpose(inner, permutation=tuple(sorted(kept).index(axis) for axis in kept))
    return _summed_product(op, axes) if op.kind is nd.dot else None


def _summed_product(op: Op, axes: Ints) -> Value | None:
    (x, y), a = op.operands, op.attributes
    x_free = free_axes(x.type.rank, a["x_batch"], a["x_contract"])
    y_free = free_axes(y.type.rank, a["y_batch"], a["y_contract"])
    first_x, first_y = len(a["x_batch"]), len(a["x_batch"]) + len(x_free)
    if any(axis < first_x for axis in axes):
        return None
    of_x = tuple(x_free[axis - first_x] for axis in axes if axis < first_y)
    of_y = tuple(y_free[axis - first_y] for axis in axes if axis >= first_y)
    return nd.dot(
        nd.reduce_sum(x, axes=of_x),
        nd.reduce_sum(y, axes=of_y),
        x_contract=_renumbered(a["x_contract"], of_x),
        y_contract=_renumbered(a["y_contract"], of_y),
        x_batch=_renumbered(a["x_batch"], of_x),
        y_batch=_renumbered(a["y_batch"], of_y),
    )


def _renumbered(axes: Ints, gone: Sequence[int]) -> Ints:
    return tuple(axis - sum(other < axis for other in gone) for axis in axes)


# A sum is split into at most so many.
MOST_SUMS = 4


class _Term(NamedTuple):
    """A part of a sum: `core`, scaled by factors that do not vary along the summed axes, each with its op."""

    core: Value
    factors: tuple[tuple[OpDef, Value], ...]
    negative: bool


def split_sums(function: Op) -> Op:
    """Take factors out of sums that would need a pass over memory of their own, in place; return the function."""
    body = body_of(function)
    if sum("reduction" in op.kind.tags for op in body.ops) < 2:
        return function
    passes: dict[Value, int] = {}
    summed = {(op.operands[0], op.attributes["axes"]) for op in body.ops if op.kind is nd.reduce_sum}

    def rewrite(op: Op) -> Value | None:
        return _split(op, passes) or _scaled(op, summed)

    if rewrite_sums(function, rewrite, lambda op: _count_passes(op, passes)):
        eliminate_common_subexpressions(function)
        eliminate_dead_code(function)
    return function


def _count_passes(op: Op, passes: dict[Value, int]) -> None:
    """Note how many passes over memory have to be over before an op's results are known."""
    before = max([passes.get(operand, 0) for operand in op.operands], default=0)
    ends_pass = "reduction" in op.kind.tags or "extern" in op.kind.tags
    for result in op.results:
        passes[result] = before + ends_pass


def _scaled(op: Op, summed: Collection[tuple[Value, Ints]]) -> Value | None:
    """Return a sum of multiples as a multiple of the sum that is computed anyway, if there is one."""
    (value,), axes = op.operands, op.attributes["axes"]
    if value.op is None or value.op.kind is not nd.mul:
        return None
    for factor, rest in (value.op.operands, value.op.operands[::-1]):
        if (rest, axes) in summed and _is_constant_along(factor, axes):
            kept = [axis for axis in range(value.type.rank) if axis not in axes]
            return nd.mul(_on_kept_axes(factor, kept, op.results[0].type), nd.reduce_sum(rest, axes=axes))
    return None


def _split(op: Op, passes: dict[Value, int]) -> Value | None:
    (value,), axes = op.operands, op.attributes["axes"]
    last = passes.get(value, 0)
    if last == 0:
        return None
    terms: list[_Term] = []
    if not _collect(value, axes, (), False, last, passes, terms):
        return None
    kept = [axis for axis in range(value.type.rank) if axis not in axes]
    type = op.results[0].type
    built = len(insertion.block.ops) if insertion.block else 0
    total: Value | None = None
    for term in terms:
        part = nd.reduce_sum(term.core, axes=axes)
        for kind, factor in reversed(term.factors):
            scale = _on_kept_axes(factor, kept, type)
            part = kind(part, scale) if kind is nd.div else kind(scale, part)
        if term.negative:
            part = nd.neg(part)
        total = part if total is None else nd.add(total, part)
    if insertion.block:
        for made in insertion.block.ops[built:]:
            _count_passes(made, passes)
    return total


def _collect(
    value: Value,
    axes: Ints,
    factors: tuple[tuple[OpDef, Value], ...],
    negative: bool,
    last: int,
    passes: dict[Value, int],
    terms: list[_Term],
) -> bool:
    """Take a value that is known only in pass `last` apart, down to parts that are known earlier; tell if it can be."""
    if passes.get(value, 0) < last:
        terms.append(_Term(value, factors, negative))
        return bool(factors) and len(terms) <= MOST_SUMS
    op = value.op
    if op is None:
        return False
    if op.kind is nd.neg:
        return _collect(op.operands[0], axes, factors, not negative, last, passes, terms)
    if op.kind in (nd.add, nd.sub):
        x, y = op.operands
        flipped = negative != (op.kind is nd.sub)
        return _collect_added(x, axes, factors, negative, last, passes, terms) and _collect_added(
            y, axes, factors, flipped, last, passes, terms
        )
    if op.kind in (nd.mul, nd.mul_no_nan, nd.div):
        x, y = op.operands
        if op.kind is nd.mul and _is_constant_along(y, axes):
            x, y = y, x
        if op.kind is nd.div:
            x, y = y, x
        if _is_constant_along(x, axes):
            return _collect(y, axes, (*factors, (op.kind, x)), negative, last, passes, terms)
    return False


def _collect_added(value: Value, axes: Ints, factors: Any, negative: bool, last: int, passes: Any, terms: Any) -> bool:
    """Collect an addend; one that is known early needs no factor."""
    if passes.get(value, 0) < last:
        terms.append(_Term(value, factors, negative))
        return len(terms) <= MOST_SUMS
    return _collect(value, axes, factors, negative, last, passes, terms)


def _is_constant_along(value: Value, axes: Ints) -> bool:
    """Tell whether a value is broadcast along all of these axes."""
    op = value.op
    if op is None:
        return False
    if op.kind is nd.constant:
        return op.attributes["value"].is_splat
    if op.kind is not nd.broadcast:
        return False
    extents = op.operands[0].type.shape
    return all(extent == 1 for extent, dim in zip(extents, op.attributes["dims"], strict=True) if dim in axes)


def _on_kept_axes(value: Value, kept: Sequence[int], type: TensorType) -> Value:
    """Return a value that is broadcast along the summed axes on the others alone."""
    op: Op = value.owner
    if op.kind is nd.constant:
        return nd.splat(op.attributes["value"].array.item(), type)
    source, dims = op.operands[0], op.attributes["dims"]
    shape = tuple(extent for extent, dim in zip(source.type.shape, dims, strict=True) if dim in kept)
    left = tuple(kept.index(dim) for dim in dims if dim in kept)
    return nd.broadcast(nd.reshape(source, shape=shape), shape=type.shape, dims=left)
