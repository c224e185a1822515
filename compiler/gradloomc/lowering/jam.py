"""Jam: run light nests on several rows at once, so that what the rows share is read and written once for all of them.

A matrix-vector product reads the vector again for every row, and its transpose adds every row to the same result; both
start and finish a loop for each row. Where the arithmetic is as light as that, several rows in one loop take about two
thirds of the time: each vector of what does not vary with the rows serves all of them, their sums run side by side, and
what they add to a common result is added up first.

A nest is marked with `jam`, its number of rows; `jammed` makes the nest for so many rows at once, which code generation
writes before the nest for the rows that are left.
"""

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.inline import copy_op
from gradloomc.ir.types import f32, f64
from gradloomc.lowering.parallelize import loop_depths

ROWS = 4
# In a heavier nest, in additions for each element, loads and stores are hidden behind arithmetic.
LIGHT = 8.0
# Sums of rows that stay in registers, for all rows together.
MOST_SUMS = 8
LEAST_ROWS = 8 * ROWS


def jam_rows(function: Op) -> Op:
    """Mark the nests of a loops-level function, in place, that gain by several rows at once; return it."""
    for op in body_of(function).ops:
        for nest in op.regions[0].block.ops if op.kind is loops.tiles else [op]:
            if nest.kind is loops.nest and _gains(nest):
                nest.attributes = {**nest.attributes, "jam": ROWS}
    return function


def _gains(nest: Op) -> bool:
    """Tell whether a nest is light, reduces its rows or adds them up, and reads or adds to what all rows share."""
    extents = nest.attributes["extents"]
    if len(extents) != 2 or nest.attributes["width"] == 1 or "halved" in nest.attributes or extents[0] < LEAST_ROWS:
        return False
    ops = nest.regions[0].block.ops[:-1]
    if any(op.kind in (kernel.index, kernel.inside, loops.store, loops.scatter) for op in ops):
        return False
    if any(op.kind is loops.load and len(op.operands) > 1 for op in ops):  # what rows pick has nothing in common
        return False
    depths = loop_depths(ops)
    if sum(op.kind.cost for op in ops if not op.results or depths[op.results[0]] == 1) > LIGHT:
        return False
    reductions = [op for op in ops if op.kind is loops.reduce]
    if any(op.attributes["low"] != (0, 0) or op.attributes["high"] != extents for op in reductions):
        return False
    by_row = [op for op in reductions if op.attributes["dims"] == (0,)]
    added = [op for op in reductions if op.attributes["dims"] == (1,) and _is_float_sum(op)]
    if len(by_row) + len(added) < len(reductions) or len(by_row) * ROWS > MOST_SUMS:
        return False
    return bool(added) or any(op.kind is loops.load and op.attributes["map"] == ((1, 1, 0),) for op in ops)


def _is_float_sum(op: Op) -> bool:
    return op.attributes["combine"] == "add" and op.operands[0].type in (f32, f64)


def jammed(nest: Op) -> Op:
    """Return the nest that does at a row what `nest` does there and at the next rows, `jam` in all.

    It is to be run on every `jam`-th row. Its ops use the same buffers: drop its uses when it has been written.
    """
    count, extents = nest.attributes["jam"], nest.attributes["extents"]
    fewer = (extents[0] - count + 1, extents[1])
    block = Block()
    added: dict[Op, Value] = {}  # what goes into a common result, of the rows so far
    shared: dict[Value, Value] = {}
    with at(block, nest.location):
        for row in range(count):
            values = dict(shared)
            for op in nest.regions[0].block.ops[:-1]:
                _copy(op, row, values, shared, added, block, fewer)
        for op, value in added.items():
            loops.reduce(value, op.operands[1], combine="add", dims=(1,), low=(0, 0), high=fewer)
        loops.end()
    attributes = {"extents": fewer, "width": nest.attributes["width"], "step": count}
    return Op(loops.nest, nest.operands, attributes, (), nest.location, (Region(block),))


def _copy(
    op: Op,
    row: int,
    values: dict[Value, Value],
    shared: dict[Value, Value],
    added: dict[Op, Value],
    block: Block,
    extents: tuple[int, ...],
) -> None:
    """Append what an op does `row` rows further on, unless it is the same there."""
    if op.results and op.result in values:
        return
    if op.kind is loops.reduce:
        value = values[op.operands[0]]
        if op.attributes["dims"] == (0,):
            low, how = (-row, 0), op.attributes["combine"]
            loops.reduce(value, op.operands[1], combine=how, dims=(0,), low=low, high=extents)
        else:
            added[op] = value if op not in added else _sum(added[op], value)
        return
    copy = copy_op(op, values, block)
    if op.kind in (loops.load, loops.prefetch):
        index_map = op.attributes["map"]
        moved = tuple((dim, by, at_ + row * by) if dim == 0 else (dim, by, at_) for dim, by, at_ in index_map)
        copy.attributes = {**op.attributes, "map": moved}
        alike = all(dim != 0 for dim, _, _ in index_map)
    else:
        alike = all(operand in shared for operand in op.operands)
    if alike and op.results:
        shared[op.result] = values[op.result]


def _sum(total: Value, value: Value) -> Value:
    """Return a sum; of a product, with one rounding."""
    product = value.op
    if product is not None and product.kind is s.mulf and not value.uses:
        return s.math["fma"](*product.operands, total)
    return s.addf(total, value)
