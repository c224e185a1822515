"""Move sums into products: the sum of a matrix product's rows is the product of the summed rows, and takes a fraction of
the work.

It is what the gradient of anything that is broadcast before a product asks for: of a mean that is subtracted, of a bias
that is added. With X for what is summed over n, `sum_n (X_n Y) = (sum_n X_n) Y`. Only a product that nobody else needs
is replaced; both ways round the same number of roundings or fewer.
"""

from collections.abc import Sequence

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.dialects.nd.product import free_axes
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value

Ints = tuple[int, ...]


def move_sums_into_products(function: Op) -> Op:
    """Rewrite sums over free axes of products that nobody else needs, in place; return the function."""
    body = body_of(function)
    if not any(op.kind is nd.dot for op in body.ops):
        return function
    operations, body.ops = body.ops, []
    moved = False
    with at(body):
        for op in operations:
            if op.kind is nd.reduce_sum and op.results[0].type.element.kind == "f":
                insertion.location = op.location
                result = _summed(op.operands[0], op.attributes["axes"])
                if result is not None:
                    op.results[0].replace_all_uses_with(result)
                    moved = True
            body.ops.append(op)
    if moved:
        from gradloomc.passes.dce import eliminate_dead_code

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
