"""How kernels walk rows: which arrays they read or write row by row along the outermost dimension, and which whole.

A nest walks the points of its outermost dimension; a matrix product walks the rows of its left operand, which are those
of its result, or, where it contracts them, adds up over the rows of both operands.
"""

from typing import NamedTuple

from gradloomc.dialects import kernel
from gradloomc.dialects.nd.product import free_axes
from gradloomc.ir.core import Op, Value


class Walk(NamedTuple):
    """The way of a kernel along rows.

    Attributes:
        extent: how many rows there are.
        own: values of which it needs only the row that it is at; `whole`: those that it reads beyond.
        rows: results with one entry per row; `totals`: results that are complete only after the last row.
        buffers: the arrays that it walks row by row.
    """

    extent: int
    own: set[Value]
    whole: set[Value]
    rows: set[Value]
    totals: set[Value]
    buffers: set[Value]


def walk_of(op: Op) -> Walk | None:
    """Return how a kernel walks rows, or None if it cannot run on some rows at a time."""
    if op.kind is kernel.nest:
        return _nest_walk(op)
    return _product_walk(op) if op.kind is kernel.product else None


def _nest_walk(op: Op) -> Walk | None:
    extents = op.attributes["extents"]
    if not extents or 0 in extents:
        return None
    if any(inner.kind is kernel.inside and inner.attributes["dim"] == 0 for inner in op.regions[0].block.ops):
        return None
    outputs = kernel.outputs_of(op)
    if any(
        low[0] != 0 or high[0] != extents[0] or (0 in dims and dims[0] != 0) for _, dims, low, high, _ in outputs
    ):
        return None
    walk = Walk(extents[0], set(), set(), set(), set(), set())
    for operand, index_map in kernel.reads_of(op):
        value = op.operands[operand]
        along = bool(index_map) and index_map[0] == (0, 1, 0)
        (walk.own if along and all(dim != 0 for dim, _, _ in index_map[1:]) else walk.whole).add(value)
        if along:
            walk.buffers.add(value)
    for _, dims, _, _, result in outputs:
        (walk.rows if 0 in dims else walk.totals).add(result)
    walk.buffers.update(walk.rows)
    return walk


def _product_walk(op: Op) -> Walk | None:
    roles = {term_role(op, position) for position in range(len(op.attributes["terms"]))}
    extents = {x.type.shape[0] for x in op.operands[::2] if x.type.rank}
    if len(roles) != 1 or len(extents) != 1 or None in roles:
        return None
    left, right, results = set(op.operands[::2]), set(op.operands[1::2]), set(op.results)
    if roles == {"rows"}:
        return Walk(extents.pop(), left, right, results, set(), left | results)
    return Walk(extents.pop(), left | right, set(), set(), results, left | right)


def term_role(op: Op, position: int) -> str | None:
    """Return what the rows of the left operand of a term are: "rows" of the result, or "contracted"; else None."""
    x = op.operands[2 * position]
    axes = kernel.term_attributes(op.attributes["terms"][position])
    free = free_axes(x.type.rank, axes["x_batch"], axes["x_contract"])
    if axes["x_batch"]:
        return None
    if free and free[0] == 0:
        return "rows"
    return "contracted" if axes["x_contract"][0] == 0 == axes["y_contract"][0] else None
